"""What do the markers of a test say?"""

from collections.abc import Iterator
from typing import Any

import pytest

CLUSTER, CHAOS = "hsm_cluster", "hsm_chaos"

SIGNATURES = (
    "hsm_cluster(hsms=3, zones=('a', 'b', 'c'), sdk=5, create_object_minimum_nodes=None, config=None, seed=None, "
    "keys='random', clock='virtual', network='simulated', checks=None, **profile_overrides): "
    "the shape of the test's HSM cluster; keywords merge over class and module, the closest wins.",
    "hsm_chaos(*specs, checks=None): faults and scenarios that are installed when the test's call begins; "
    "closer ones replace farther ones.",
)


def cluster_arguments(item: pytest.Item) -> dict[str, Any]:
    """Return the keywords of all `hsm_cluster` markers of a test, the closest of each, without `checks`."""
    merged: dict[str, Any] = {}
    for mark in item.iter_markers(CLUSTER):
        for name, value in mark.kwargs.items():
            merged.setdefault(name, value)
    merged.pop("checks", None)
    return merged


def chaos_specs(item: pytest.Item) -> tuple[str, ...]:
    """Return the faults of the closest `hsm_chaos` marker that has any, as specs."""
    for mark in item.iter_markers(CHAOS):
        if mark.args:
            return tuple(map(str, mark.args))
    return ()


def checks_asked(item: pytest.Item) -> tuple[str, ...] | None:
    """Return the closest `checks=`, or None; on one level that of `hsm_chaos` comes before that of `hsm_cluster`."""
    for _, marks in _levels(item):
        for name in (CHAOS, CLUSTER):
            for mark in marks:
                if mark.name == name and mark.kwargs.get("checks") is not None:
                    return tuple(mark.kwargs["checks"])
    return None


def _levels(item: pytest.Item) -> Iterator[tuple[Any, list[pytest.Mark]]]:
    """Yield each level that has markers, the closest first."""
    level: Any = None
    marks: list[pytest.Mark] = []
    for node, mark in item.iter_markers_with_node():
        if node is not level and marks:
            yield level, marks
            marks = []
        level = node
        marks.append(mark)
    if marks:
        yield level, marks
