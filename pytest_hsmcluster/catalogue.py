"""What can be written in specs and markers?"""

import inspect
from collections.abc import Iterator
from typing import Any

from . import extensions
from .checkers.check import CHECKS
from .faults.effects import EFFECTS
from .faults.points import Point
from .field_reports import reported


def catalogue(what: str, hook: Any) -> str:
    """Return the list that `--hsm-list` prints: a line for each name, those of other packages at the end.

    Args:
        what: `points`, `effects`, `scenarios` or `checks`.
        hook: where other packages are asked.
    """
    rows = list({"points": _points, "effects": _effects, "scenarios": _scenarios, "checks": _checks}[what](hook))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _points(hook: Any) -> Iterator[tuple[str, ...]]:
    for point in Point:
        yield point.value, point.meaning, " ".join(point.effects)


def _effects(hook: Any) -> Iterator[tuple[str, ...]]:
    for name, effect in EFFECTS.items():
        yield name, effect.meaning


def _scenarios(hook: Any) -> Iterator[tuple[str, ...]]:
    for name, kind in extensions.scenarios(hook).items():
        takes = list(inspect.signature(kind.apply).parameters.values())[1:]
        written = [
            one.name + ("=" if one.default is one.empty or one.default is None else f"={one.default}") for one in takes
        ]
        yield name, kind.meaning, " ".join(written), reported(name)


def _checks(hook: Any) -> Iterator[tuple[str, ...]]:
    for name, check in CHECKS.items():
        yield name, check.line
    for name, function in extensions.checks(hook).items():
        yield name, extensions.first_line(function)
