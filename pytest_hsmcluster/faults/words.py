"""Which words is a spec made of, and where do they stand?"""

import io
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import UsageError

GRAMMAR = "EFFECT [ARGUMENT] @ POINT [key=value ...]"

_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=")
_NEEDS_QUOTES = re.compile(r"[\s'\"\\]")
_SHELL = re.compile(r"['\"\\]")
_PLAIN = re.compile(r"[^ \t\r\n]+")
"""Words between what `shlex` takes for white space."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with the characters from `start` to `end` of a spec."""

    start: int
    end: int
    message: str


class SpecError(UsageError):
    """A spec that cannot be used; shows where each mistake is.

    Attributes:
        spec: the whole text.
        mistakes: all that was found, in the order of the text.
    """

    def __init__(self, spec: str, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__(spec, mistakes)
        self.spec = spec
        self.mistakes = mistakes

    def __str__(self) -> str:
        # One character stays one character, so that the carets stand below what they mean.
        lines = ["this spec cannot be used:", "    " + re.sub(r"\s", " ", self.spec)]
        for mistake in self.mistakes:
            carets = "^" * max(1, mistake.end - mistake.start)
            lines.append(f"    {' ' * mistake.start}{carets} {mistake.message}")
        return "\n".join(lines)


class Word(NamedTuple):
    """One word of a spec: its text without quotes, its characters as written, and where they stand."""

    text: str
    raw: str
    start: int

    @property
    def key(self) -> str | None:
        """What stands before `=`, or None if the word is no `key=value`; a quoted `'a=b'` is none."""
        found = _KEY.match(self.raw)
        return found[1] if found else None

    @property
    def value(self) -> str:
        return self.text.partition("=")[2]

    def wrong(self, message: str) -> Mistake:
        return Mistake(self.start, self.start + len(self.raw), message)


def words_of(text: str) -> list[Word]:
    """Return the words of a spec, at least one, split by the rules of a shell."""
    if not isinstance(text, str):
        raise UsageError(f"a spec is text such as 'crash @ hsm.commit nth=1', got {text!r}")
    if not text.strip():
        raise SpecError(text, (Mistake(0, 0, f"an empty spec; write a scenario or {GRAMMAR}"),))
    if _SHELL.search(text) is None:  # nearly always: shlex is slow, and a sweep reads thousands
        return [Word(found[0], found[0], found.start()) for found in _PLAIN.finditer(text)]
    return list(_words(text))


def _words(text: str) -> Iterator[Word]:
    stream = io.StringIO(text)
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    stop = 0
    while True:
        start = len(text) - len(text[stop:].lstrip(lexer.whitespace))
        try:
            word = lexer.get_token()
        except ValueError as error:
            what = "a quote that is never closed" if "quot" in str(error) else "a backslash with nothing after it"
            raise SpecError(text, (Mistake(start, len(text), what),)) from error
        if word is None:
            return
        stop = stream.tell()
        yield Word(word, text[start:stop].rstrip(lexer.whitespace), start)


def pairs(given: Iterable[tuple[str, str]]) -> list[str]:
    """Return the words `key=value` of (key, text) pairs."""
    return [f"{key}={_bare_or_quoted(value)}" for key, value in given]


def quoted(text: str) -> str:
    """Return `text` as one word of a spec that is no `key=value`: bare where that reads back, else quoted."""
    return f"'{text}'" if _KEY.match(text) and not _NEEDS_QUOTES.search(text) else _bare_or_quoted(text)


def _bare_or_quoted(text: str) -> str:
    if text and text != "@" and not _NEEDS_QUOTES.search(text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"
