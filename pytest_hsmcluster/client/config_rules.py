"""What may stand under a key of a configuration file, and which unknown key is probably a slip?"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from ..errors import ConfigError
from .config_json import MISSING, Document, Steps, find, join, parse, put, render, show


class ConfigWarning(UserWarning):
    """A configuration that can be used, though probably not as it was meant."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one value may be: in words for people, and as a question."""

    allowed: str
    admits: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Each:
    """An array whose entries all follow one shape."""

    shape: "Shape"


Shape: TypeAlias = Rule | Each | Mapping[str, "Shape"]


def whole(least: int, most: int | None = None, hint: str = "") -> Rule:
    """An integer in a range; true and false are no integers, whatever Python says."""
    span = f"{least} or more" if most is None else f"{least}…{most}"

    def admits(value: object) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return value >= least and (most is None or value <= most)

    return Rule(f"an integer, {span}{hint}", admits)


def one_of(*words: str) -> Rule:
    """One of some words, spelled exactly so."""
    return Rule(" or ".join(f'"{word}"' for word in words), lambda value: isinstance(value, str) and value in words)


PLACEHOLDER: Final = "%%HSM_IP_ADDRESS%%"
TEXT: Final = Rule("a text", lambda value: isinstance(value, str))
FLAG: Final = Rule("true or false", lambda value: isinstance(value, bool))
YES_NO: Final = one_of("yes", "no")
PORT: Final = whole(1, 65535)
HOSTNAME: Final = Rule(
    "one host name or IP address", lambda value: isinstance(value, str) and re.fullmatch(r"[^\s,%]+", value) is not None
)


def examine(value: object, shape: Shape, path: str = "") -> Iterator[str]:
    """Yield one sentence for each known key whose value is not allowed: key path, value, what is allowed."""
    match shape:
        case Rule():
            if not shape.admits(value):
                yield f"{path} is {show(value)}; allowed: {shape.allowed}"
        case Each():
            if not isinstance(value, list):
                yield f"{path} is {show(value)}; allowed: an array"
                return
            for index, inner in enumerate(value):
                yield from examine(inner, shape.shape, join(path, index))
        case _:
            if not isinstance(value, dict):
                yield f"{path} is {show(value)}; allowed: an object"
                return
            for key, inner in value.items():
                if key in shape:
                    yield from examine(inner, shape[key], join(path, key))


def misspelt(value: object, shape: Shape, path: str = "", homes: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield one sentence for each unknown key that looks like a known one, or like one of another place."""
    if homes is None:
        homes = _homes(shape)
    if isinstance(shape, Each) and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from misspelt(inner, shape.shape, join(path, index), homes)
    if not isinstance(shape, Mapping) or not isinstance(value, dict):
        return
    for key, inner in value.items():
        here = join(path, key)
        if key in shape:
            yield from misspelt(inner, shape[key], here, homes)
        elif homes.get(key):
            yield f"{here} is kept and has no effect here; its place is {homes[key]}"
        elif near := nearest(key, shape):
            yield f"{here} is unknown, kept and has no effect; did you mean {join(path, near)}?"


def nearest(word: str, known: Mapping[str, object]) -> str | None:
    """Return the known word that the other one is a slip of, or None."""
    return next(iter(difflib.get_close_matches(word.casefold().replace("-", "_"), known, n=1, cutoff=0.8)), None)


def refuse(where: str, mistakes: list[str]) -> None:
    """Raise one `ConfigError` for all mistakes; return if there are none."""
    if len(mistakes) == 1:
        raise ConfigError(f"{where}: {mistakes[0]}")
    if mistakes:
        raise ConfigError("\n  ".join([f"{where} has {len(mistakes)} mistakes:", *mistakes]))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a typed field stands in the file, and how it is spelled there.

    Attributes:
        steps: keys and indices from the top of the file.
        decode: the field for what stands in the file.
        encode: what stands in the file for the field; also gets what stood there before, or `MISSING`.
    """

    steps: Steps
    decode: Callable[[Any], Any] = lambda value: value
    encode: Callable[[Any, Any], Any] = lambda value, _before: value


def yes_no(*steps: str) -> Place:
    """A truth value that the file spells "yes" or "no"."""
    words = {True: "yes", False: "no"}
    return Place(
        steps, lambda value: value == "yes", lambda value, _: words[value] if isinstance(value, bool) else value
    )


def typed(document: Document, places: Mapping[str, Place]) -> dict[str, Any]:
    """Return the fields that the document holds, by name."""
    found = {name: find(document, place.steps) for name, place in places.items()}
    return {name: places[name].decode(value) for name, value in found.items() if value is not MISSING}


def settle(config: Any, places: Mapping[str, Place], mistakes: Callable[[Document], Iterator[str]]) -> None:
    """Make the fields and the `text` of a new configuration say the same; where they differ, the field wins.

    A field that the text lacks is written only when it is not the default: what is read comes out as it went in.

    Raises:
        ConfigError: a field has a wrong type or is out of range.
    """
    document = parse(config.text, type(config).__name__)
    defaults = {field.name: field.default for field in fields(config)}
    for name, place in places.items():
        value, before = getattr(config, name), find(document, place.steps)
        stands = defaults[name] if before is MISSING else place.decode(before)
        if type(value) is not type(stands) or value != stands:
            gone = value is None and defaults[name] is None
            put(document, place.steps, MISSING if gone else place.encode(value, before))
    refuse(type(config).__name__, list(mistakes(document)))
    for name, value in typed(document, places).items():
        object.__setattr__(config, name, value)
    object.__setattr__(config, "text", render(document))


def _homes(shape: Shape, path: str = "") -> dict[str, str]:
    """Return for each key of the shape the one place where it stands, or "" when there are several."""
    homes: dict[str, str] = {}
    if isinstance(shape, Each):
        return _homes(shape.shape, f"{path}[]")
    for key, inner in shape.items() if isinstance(shape, Mapping) else ():
        for name, place in {key: join(path, key), **_homes(inner, join(path, key))}.items():
            homes[name] = "" if name in homes else place
    return homes
