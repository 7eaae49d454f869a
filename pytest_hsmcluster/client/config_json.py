"""How is a configuration file read and written so that nothing in it is lost?"""

import json
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError

Document = dict[str, Any]
Steps = tuple[str | int, ...]

MISSING: Final = object()

_DEEPEST: Final = 64
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:"]+')


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys stood in the text more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: dict[str, int] = {}
        for key, _ in pairs:
            seen[key] = seen.get(key, 0) + 1
        self.repeated = [key for key, times in seen.items() if times > 1]


class _Unfit(Exception):
    """A number that Python would read but could not write again."""


def load(path: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        ConfigError: the file is missing, not a regular file, unreadable or not UTF-8.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a directory; give the file itself")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is not a regular file")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ConfigError(
            f"{path}: is not UTF-8 (byte 0x{byte:02x} at offset {error.start}); save it as UTF-8"
        ) from None
    except ValueError as error:  # a path with a null byte
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def parse(text: str, where: str) -> Document:
    """Return the object that the text is, its keys in their order.

    Raises:
        ConfigError: the text is empty, not JSON (with line and column), nested more than 64
            levels deep, not an object, or has a number that could not be written back.
    """
    if not text.strip():
        raise ConfigError(f"{where}: is empty; a configuration file is a JSON object")
    try:
        document = json.loads(
            text, object_pairs_hook=_Object, parse_int=_int, parse_float=_float, parse_constant=_float
        )
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except _Unfit as unfit:
        literal = str(unfit)
        at = next((token.start() for token in _TOKEN.finditer(text) if token.group() == literal), 0)
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        shown = literal if len(literal) <= 40 else f"{literal[:40]}…"
        raise ConfigError(
            f"{where}, line {line}, column {column}: {shown} is not a number that JSON can hold"
        ) from None
    except RecursionError:
        raise ConfigError(f"{where}: is nested more than {_DEEPEST} levels deep") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{where}: is {show(document)}; a configuration file is a JSON object")
    for _, _, depth in _objects(document, "", 1):
        if depth > _DEEPEST:
            raise ConfigError(f"{where}: is nested more than {_DEEPEST} levels deep")
    return document


def render(document: Document) -> str:
    """Return the document as the SDKs' own tools lay it out: four spaces, one key a line."""
    return json.dumps(document, indent=4, ensure_ascii=False, allow_nan=False) + "\n"


def save(text: str, path: Path) -> Path:
    """Put the text into the file, all of it or nothing, and return the file that was written.

    The text goes into a new file of the same folder, which then takes the old one's name and
    permissions: a program that reads meanwhile sees one or the other, and a write that fails
    leaves the old file as it was. A symbolic link stays one; the file that it names is written.

    Raises:
        ConfigError: the folder is missing or not writable, the disk is full, or `path` is a directory.
    """
    fresh = None
    try:
        target = Path(os.path.realpath(path))
        descriptor, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        with open(descriptor, "wb") as file:
            # A lone surrogate has no UTF-8; with "backslashreplace" it becomes the JSON escape that it was.
            file.write(text.encode("utf-8", "backslashreplace"))
        os.chmod(fresh, target.stat().st_mode & 0o7777 if target.exists() else 0o644)
        os.replace(fresh, target)
    except BaseException as error:
        if fresh is not None:
            with suppress(FileNotFoundError):
                os.unlink(fresh)
        if isinstance(error, OSError | ValueError):  # ValueError: a path with a null byte
            raise ConfigError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error
        raise
    return path


def find(document: Any, steps: Steps) -> Any:
    """Return what stands at the end of the steps, or `MISSING`."""
    for step in steps:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return document


def put(document: Any, steps: Steps, value: Any) -> None:
    """Set what stands at the end of the steps; objects on the way are made, a `MISSING` value is taken out."""
    for step, following in pairwise(steps):
        inner = find(document, (step,))
        if inner is MISSING and isinstance(document, dict) and isinstance(following, str) and value is not MISSING:
            inner = document[step] = {}
        document = inner
    if not isinstance(document, dict):
        return
    if value is MISSING:
        document.pop(steps[-1], None)
    else:
        document[steps[-1]] = value


def spelled(steps: Steps) -> str:
    """Return the steps as people write them: `clusters[0].cluster.cluster_id`."""
    path = ""
    for step in steps:
        path = join(path, step)
    return path


def join(path: str, step: str | int) -> str:
    """Return the path of what stands one step below `path`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def repeated(document: Document) -> Iterator[str]:
    """Yield a sentence for each key that stands twice in one object: only one of its values could be kept."""
    for inner, path, _ in _objects(document, "", 1):
        for key in getattr(inner, "repeated", ()):
            yield f"{join(path, key)} stands there more than once; keep one"


def show(value: object) -> str:
    """Return a value as it stands in the file, shortened."""
    match value:
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            text = json.dumps(value, ensure_ascii=False, default=repr)
            return text if len(text) <= 60 else f"{text[:59]}…"


def _objects(value: Any, path: str, depth: int) -> Iterator[tuple[Any, str, int]]:
    """Yield every object and array below and including `value`, with its path and depth, outermost first."""
    if not isinstance(value, dict | list):
        return
    yield value, path, depth
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _objects(inner, join(path, step), depth + 1)


def _float(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise _Unfit(literal)
    return value


def _int(literal: str) -> int:
    try:
        return int(literal)
    except ValueError:  # more digits than Python converts
        raise _Unfit(literal) from None
