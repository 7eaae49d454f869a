"""How is a fault written down?

    EFFECT [ARGUMENT] @ POINT [key=value ...]      crash @ hsm.commit command=insert_masked nth=1
    SCENARIO [ARGUMENT ...] [key=value ...]        kill-mid-create after_copies=2

Values with blanks are quoted as in a shell.  `str()` of a `Fault` or `Scenario` is a spec that
parses back to an equal one.
"""

import fnmatch
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from .effects import EFFECTS, Corrupt, Effect, effect_of
from .points import CREATING, Point, nearest
from .when import NAMES, Facts, When, value_of
from .words import GRAMMAR, Mistake, SpecError, Word, pairs, quoted, words_of


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, where and when.

    Raises:
        UsageError: the fault could never act: the point cannot take the effect, or a passage
            there never has what `when` asks for.
    """

    effect: Effect
    point: Point
    when: When = field(default_factory=When)

    def __post_init__(self) -> None:
        for name, kind, what in (
            ("effect", Effect, "an effect"),
            ("point", Point, "a Point"),
            ("when", When, "a When"),
        ):
            if not isinstance(getattr(self, name), kind):
                raise UsageError(f"the {name} of a fault is {what}, got {getattr(self, name)!r}")
        wrong = [message for _, message in contradictions(self.effect, self.point, self.when)]
        if wrong:
            raise UsageError(f"{self} can never act: {'; '.join(wrong)}")

    def concerns(self, facts: Facts) -> bool:
        """Whether the fault is about a passage of its point: the names fit, and what it corrupts is carried."""
        if isinstance(self.effect, Corrupt) and self.effect.payload and facts.command != _MASKED.get(self.point):
            return False
        return self.when.matches(facts)

    def __str__(self) -> str:
        return " ".join([str(self.effect), "@", self.point, *pairs(self.when.given)])


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named hardship with its arguments, all still text: who knows the scenario reads them.

    Attributes:
        name: such as `kill-mid-create`.
        arguments: (key, text) pairs, in the order in which they were written.
        positional: texts without a key, such as `30s` in `delay-sync 30s`; they are written first.
    """

    name: str
    arguments: tuple[tuple[str, str], ...] = ()
    positional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for word in (self.name, *(key for key, _ in self.arguments)):
            if not _NAME.fullmatch(word):
                raise UsageError(f"a scenario's name and keys are words such as 'kill-mid-create', got {word!r}")

    def __str__(self) -> str:
        return " ".join([self.name, *(quoted(text) for text in self.positional), *pairs(self.arguments)])


def parse_fault(text: str) -> Fault:
    """Return the fault that is written as `EFFECT [ARGUMENT] @ POINT [key=value ...]`.

    Raises:
        SpecError: says everything that is wrong with it.
    """
    return _fault(words_of(text), text)


def parse_scenario(text: str) -> Scenario:
    """Return the scenario that is written as `SCENARIO [ARGUMENT ...] [key=value ...]`; any name will do.

    Raises:
        SpecError: no name, a key twice, or an argument without a key after one with.
    """
    return _scenario(words_of(text), text)


def parse_spec(text: str, scenarios: Collection[str]) -> Fault | Scenario:
    """Return what a spec says: a fault if it has an `@`, otherwise one of these scenarios.

    Raises:
        SpecError: neither; says the nearest spelling.
    """
    words = words_of(text)
    first = words[0]
    has_point = any(word.raw == "@" for word in words)
    if first.text in scenarios:
        if has_point:
            raise SpecError(text, (first.wrong(f"{first.text} is a scenario: it stands alone, without @ and a point"),))
        return _scenario(words, text)
    if has_point or first.text in EFFECTS or "@" in first.raw:
        return _fault(words, text)
    known = sorted(scenarios)
    hint = nearest(first.text, [*known, *EFFECTS])
    message = f"no scenario is called {first.text!r}{hint}; there are {', '.join(known)}; a fault is {GRAMMAR}"
    raise SpecError(text, (first.wrong(message),))


def contradictions(effect: Effect, point: Point, when: When) -> list[tuple[str, str]]:
    """Return why a fault could never act, as (part, reason): part is `effect`, `argument` or a key of `when`."""
    found = []
    if effect.name not in point.effects:
        found.append(("effect", f"{point} cannot take {effect.name}; it takes {', '.join(point.effects)}"))
    elif point is Point.CLIENT_ROUTE and getattr(effect, "target", None) in ("source", "here"):
        found.append(("argument", f"no HSM is chosen yet at {point}: name one, or leave the argument out"))
    found += [(name, _unseen(name, point)) for name in NAMES if getattr(when, name) and name not in point.facts]
    if when.per is not None and when.per not in point.facts:
        found.append(("per", _unseen(when.per, point)))
    creates_only = point in (Point.CLIENT_CLONE, Point.CLIENT_CLEANUP)
    if creates_only and when.op is not None and not _any_fits(CREATING, when.op):
        found.append(("op", f"only operations that create keys come to {point}: {', '.join(CREATING)}"))
    if isinstance(effect, Corrupt) and effect.payload and point in _MASKED and when.command is not None:
        carrier = _MASKED[point]
        if not _any_fits((carrier,), when.command):
            found.append(("command", f"corrupt payload needs a masked object; at {point} only {carrier} carries one"))
    return found


# A masked object travels in the answer of `extract_masked` and in the request of `insert_masked`.
_MASKED = {Point.WIRE_REQUEST: "insert_masked", Point.WIRE_RESPONSE: "extract_masked"}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def _fault(words: list[Word], text: str) -> Fault:
    at = next((index for index, word in enumerate(words) if word.raw == "@"), None)
    if at is None:
        raise SpecError(text, (_no_point(words, text),))
    mistakes: list[Mistake] = []
    effect = _effect(words[at], words[:at], mistakes)
    point = _point(words[at], words[at + 1 : at + 2], mistakes)
    keys, when = _when(words[at + 2 :], mistakes)
    if effect is not None and point is not None:
        parts = {"effect": words[0], "argument": words[at - 1], **keys}
        mistakes += [parts[part].wrong(message) for part, message in contradictions(effect, point, when)]
    if mistakes or effect is None or point is None:
        raise SpecError(text, tuple(sorted(mistakes, key=lambda mistake: mistake.start)))
    return Fault(effect, point, when)


def _scenario(words: list[Word], text: str) -> Scenario:
    mistakes: list[Mistake] = []
    if not _NAME.fullmatch(words[0].raw):
        mistakes.append(words[0].wrong("a scenario begins with its name: words joined by '-'"))
    positional: list[str] = []
    arguments: dict[str, str] = {}
    for word in words[1:]:
        if word.key is None:
            positional.append(word.text)
            if arguments:
                mistakes.append(word.wrong("an argument without a key stands before those with one"))
        elif word.key in arguments:
            mistakes.append(word.wrong(f"{word.key}= is given twice"))
        else:
            arguments[word.key] = word.value
    if mistakes:
        raise SpecError(text, tuple(mistakes))
    return Scenario(words[0].text, tuple(arguments.items()), tuple(positional))


def _no_point(words: list[Word], text: str) -> Mistake:
    for word in words:
        if "@" in word.raw.partition("=")[0]:
            return word.wrong("'@' stands alone, with blanks around it")
    return Mistake(len(text.rstrip()), len(text.rstrip()), f"no '@ POINT' in it; a fault is {GRAMMAR}")


def _effect(at: Word, words: list[Word], mistakes: list[Mistake]) -> Effect | None:
    if not words:
        mistakes.append(at.wrong(f"what happens is missing; effects are {', '.join(EFFECTS)}"))
        return None
    if len(words) > 2:
        mistakes += [word.wrong("an effect takes one argument at most") for word in words[2:]]
        return None
    try:
        return effect_of(*[word.text for word in words])
    except UsageError as error:
        wrong = words[-1] if words[0].text in EFFECTS else words[0]
        mistakes.append(wrong.wrong(str(error)))
        return None


def _point(at: Word, words: list[Word], mistakes: list[Mistake]) -> Point | None:
    if not words:
        mistakes.append(at.wrong(f"where it happens is missing; points are {', '.join(Point)}"))
        return None
    try:
        return Point.of(words[0].text)
    except UsageError as error:
        mistakes.append(words[0].wrong(str(error)))
        return None


def _when(words: list[Word], mistakes: list[Mistake]) -> tuple[dict[str, Word], When]:
    """Return the word of each key and the condition, as far as it can be read."""
    keys: dict[str, Word] = {}
    values: dict[str, Any] = {}
    for word in words:
        if word.key is None:
            mistakes.append(word.wrong(f"not key=value; a fault is {GRAMMAR}"))
            continue
        if word.key in keys:
            mistakes.append(word.wrong(f"{word.key}= is given twice"))
            continue
        keys[word.key] = word
        try:
            values[word.key] = value_of(word.key, word.value)
        except UsageError as error:
            mistakes.append(word.wrong(str(error)))
    try:
        return keys, When(**values)
    except UsageError as error:
        # Each value was good alone, so it is `per` that lacks its `nth`; a wrong `nth` was said already.
        if "nth" not in keys:
            mistakes.append(keys["per"].wrong(str(error)))
        del values["per"]
        return keys, When(**values)


def _unseen(name: str, point: Point) -> str:
    if not point.facts:
        return f"{name}= can never match at {point}: a passage there is about no single operation, HSM or key"
    known = f"there only {' '.join(point.facts)} are known"
    if name == "command":
        known += "; hsm.* and wire.* see the commands that are sent to an HSM"
    if name == "hsm" and point is Point.CLIENT_ROUTE:
        known += ", the HSM is about to be chosen"
    return f"{name}= can never match at {point}: {known}"


def _any_fits(names: tuple[str, ...], pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)
