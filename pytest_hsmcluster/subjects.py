"""Which tests of a module bear marks of ours?

Every collected module is asked this, so it looks before it builds anything.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pytest

from .markers import OURS, Level, levels, unwrapped


class Subject(NamedTuple):
    """A test, or a class of tests, our marks of all its levels, and whether it is of a `unittest.TestCase`.

    What fixtures it asks for is known of a test that has been collected.
    """

    name: str
    levels: list[Level]
    testcase: bool = False
    fixtures: tuple[str, ...] = ()


def subjects_in(nodes: Iterable[pytest.Item | pytest.Collector]) -> Iterator[Subject]:
    """Yield what has marks of ours among the items and classes that a collector found.

    Classes are collected after their module has been reported, so their marks are read from the class itself: a
    module's mistakes are to be told all at once.
    """
    for node in nodes:
        if isinstance(node, pytest.Item):
            if any(mark.name in OURS for mark in node.iter_markers()):
                fixtures = tuple(getattr(node, "fixturenames", ()))
                yield Subject(node.nodeid, levels(node), is_testcase(getattr(node, "cls", None)), fixtures)
        elif isinstance(node, pytest.Class):
            outer = levels(node)
            if outer:
                yield Subject(node.nodeid, outer, is_testcase(node.obj))
            yield from _methods(node, outer)


def _methods(node: pytest.Class, outer: list[Level]) -> Iterator[Subject]:
    marked = [name for kind in reversed(node.obj.__mro__) for name, one in vars(kind).items() if _marks(one)]
    for name in dict.fromkeys(marked):
        marks = _marks(inspect.getattr_static(node.obj, name))
        own = _ours(marks)
        cases = [case for case in map(_of_case, _parameter_sets(marks)) if case]
        for inner in cases or [[]]:
            found = [level for level in (inner, own) if level]
            if found:
                yield Subject(f"{node.nodeid}::{name}", [*found, *outer], is_testcase(node.obj))


def is_testcase(kind: Any) -> bool:
    """Whether a class is a `unittest.TestCase`; where nobody has imported `unittest`, none is."""
    unittest = sys.modules.get("unittest.case")
    return unittest is not None and isinstance(kind, type) and issubclass(kind, unittest.TestCase)


def _marks(member: Any) -> list[pytest.Mark]:
    """Return the marks of a method; a class's own are not its business."""
    marks = None if isinstance(member, type) else getattr(member, "pytestmark", None)
    return marks if isinstance(marks, list) else []


def _parameter_sets(marks: list[pytest.Mark]) -> Iterator[Any]:
    for mark in marks:
        if mark.name == "parametrize":
            values = mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("argvalues", ())
            yield from values if isinstance(values, list | tuple) else ()


def _of_case(case: Any) -> Level:
    """Return our marks of a `pytest.param`; other values have none."""
    marks = getattr(case, "marks", ())
    return _ours(unwrapped(marks)) if isinstance(marks, list | tuple) else []


def _ours(marks: list[pytest.Mark]) -> Level:
    return [mark for mark in marks if mark.name in OURS]
