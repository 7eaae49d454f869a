"""What do the markers of a test say, all levels taken together?"""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

CLUSTER, CHAOS, SWEEP = "hsm_cluster", "hsm_chaos", "hsm_sweep"
OURS = (CLUSTER, CHAOS, SWEEP)
OF_THE_TEST = ("checks", "explore")
"""Keywords of `hsm_cluster` that are no arguments of a cluster."""

LINKS = (
    *("slow-link", "jittery-link", "thin-link", "slow-close", "dead-link"),
    *("reset-link", "sliced-link", "cut-link", "link-down"),
)
"""Scenarios that need a Toxiproxy; known here without the room that has them."""

SIGNATURES = (
    "hsm_cluster(hsms=3, zones=('a', 'b', 'c'), sdk=5, create_object_minimum_nodes=None, config=None, seed=None, "
    "keys='random', clock='virtual', clock_rate=1.0, network='simulated', checks=None, explore=None, "
    "**profile_overrides): the shape of the test's HSM cluster; keywords merge over function, class, module: "
    "the closest value wins.",
    "hsm_chaos(*specs, checks=None): faults and scenarios that strike from the end of the test's setup on; "
    "the closest marker that has any replaces farther ones.",
    "hsm_sweep(*effects, points='hsm.* wire.*', op=None, depth=1, shards=1, checks=None): run the test once more for "
    "every point that it passes, with one of these effects there (default: crash and drop); each run is a test of its "
    "own. The closest marker counts, whole.",
)

Level = list[pytest.Mark]
"""Our marks of one place: a parameter set, a function, a class, a module."""


def levels(node: pytest.Item | pytest.Collector) -> list[Level]:
    """Return our marks of a test, the closest level first."""
    chain = node.listchain()
    return [ours for one in reversed(chain) for level in _own(one) if (ours := [m for m in level if m.name in OURS])]


def cluster_arguments(found: list[Level]) -> dict[str, Any]:
    """Return the keywords of all `hsm_cluster` marks, the closest of each, without what is said of the test itself."""
    merged = _keywords(found)
    for name in OF_THE_TEST:
        merged.pop(name, None)
    return merged


def orders_asked(found: list[Level]) -> int:
    """Return in how many hand-over orders a test is to be run: 1 if it does not explore, or says it in a wrong way."""
    asked = _keywords(found).get("explore")
    return asked if type(asked) is int and asked > 1 else 1


def chaos_specs(found: list[Level]) -> tuple[str, ...]:
    """Return the faults of the closest `hsm_chaos` that has any, as specs."""
    return next((tuple(map(str, mark.args)) for mark in _marks(found, CHAOS) if mark.args), ())


def about_links(specs: Iterable[str]) -> bool:
    """Whether any of these specs is a scenario that needs a Toxiproxy."""
    return any(spec.split()[:1] == [name] for spec in specs for name in LINKS)


def sweep_mark(found: list[Level]) -> pytest.Mark | None:
    """Return the closest `hsm_sweep`; they are never merged."""
    return next(_marks(found, SWEEP), None)


def checks_asked(found: list[Level]) -> tuple[str, ...] | None:
    """Return the closest `checks=`, or None; in a level `hsm_sweep` comes before `hsm_chaos`, `hsm_cluster` last."""
    for level in found:
        for name in (SWEEP, CHAOS, CLUSTER):
            for mark in _marks([level], name):
                if mark.kwargs.get("checks") is not None:
                    return tuple(mark.kwargs["checks"])
    return None


def _keywords(found: list[Level]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mark in _marks(found, CLUSTER):
        for name, value in mark.kwargs.items():
            merged.setdefault(name, value)
    return merged


def _marks(found: list[Level], name: str) -> Iterator[pytest.Mark]:
    return (mark for level in found for mark in level if mark.name == name)


def _own(node: Any) -> Iterator[Level]:
    """Yield the levels within one node.

    pytest keeps the marks of a parameter set behind those of its function, and those of a base class before those
    of the class itself; for us the more specific is the closer.
    """
    marks: Level = node.own_markers
    within: list[list[Any]] = []
    if isinstance(node, pytest.Class):
        within = [unwrapped(vars(kind).get("pytestmark", [])) for kind in node.obj.__mro__]
    elif callspec := getattr(node, "callspec", None):
        within = [callspec.marks]
    inner = [[mark for mark in level if any(mark is one for one in marks)] for level in within]
    known = [mark for level in inner for mark in level]
    rest = [mark for mark in marks if not any(mark is one for one in known)]
    yield from [rest, *inner] if isinstance(node, pytest.Class) else [*inner, rest]


def unwrapped(marks: Any) -> list[pytest.Mark]:
    """Return what a `pytestmark` or a parameter set holds: one mark or several, each perhaps still a decorator."""
    several = marks if isinstance(marks, list | tuple) else [marks]
    return [mark.mark if isinstance(mark, pytest.MarkDecorator) else mark for mark in several]
