"""Which locks can a function reach?

They were made before there were actors: by a module, by an object of the application's, by the test.  From a function
one goes to what it encloses, to the global names that it says, to its object and on from there, within the
application's own code and the standard library's containers; what is found is exchanged for a stand-in, and put back.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePath
from threading import Thread
from types import BuiltinMethodType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from .locks import FACTORIES, KINDS, ActorLock, Factories, stand_in

MOST = 20_000
"""Objects that are looked at: an application that can reach more of them keeps some of its locks as they are."""

_WAITING = ("threading", "queue", "concurrent")
"""Packages of the standard library whose objects have locks that threads wait for."""

_OF_THREADS = ("_target", "_args", "_kwargs")
"""Of what is private to a thread, what is the application's."""

Place = tuple[Any, Callable[[Any], object] | None]
"""A value, and how to put another one there; None where that cannot be done."""


class _Same:
    """A key that means this very object, whatever it equals."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


class Reached:
    """The locks that actors can reach, with a stand-in before each, until `undo`."""

    def __init__(self) -> None:
        self._factories: Factories | None = None
        self._seen: dict[_Same, None] = {}
        self._stand_ins: dict[_Same, ActorLock] = {}
        self._back: list[Callable[[], object]] = []

    def reach(self, root: Any) -> None:
        """Put a stand-in wherever a function can find a lock."""
        if self._factories is None:
            self._factories = Factories().__enter__()
            if (pools := sys.modules.get("concurrent.futures.thread")) is not None:
                self._exchange(pools._global_shutdown_lock, partial(setattr, pools, "_global_shutdown_lock"))
        left = [root]
        while left and len(self._seen) < MOST:
            each = left.pop()
            if (same := _Same(each)) in self._seen:
                continue
            self._seen[same] = None
            for value, put in list(_places(each)):
                left.append(value)
                self._exchange(value, put)

    def undo(self) -> None:
        """Put the locks back."""
        if self._factories is not None:
            self._factories.__exit__()
        while self._back:
            self._back.pop()()
        self._seen.clear()

    def _exchange(self, value: Any, put: Callable[[Any], object] | None) -> None:
        new = self._instead(value)
        if new is not None and put is not None:
            put(new)
            self._back.append(partial(put, value))

    def _instead(self, value: Any) -> Any:
        kind = type(value)
        if kind in KINDS:
            return self._stand_ins.setdefault(_Same(value), stand_in(value))
        if kind is BuiltinMethodType and type(value.__self__) in KINDS:  # a condition keeps `lock.acquire`
            return getattr(self._instead(value.__self__), value.__name__)
        if kind is tuple and any(type(each) in KINDS for each in value):
            return tuple(self._instead(each) or each for each in value)
        return next((ours for real, ours in FACTORIES.items() if value is real), None)


def _places(value: Any) -> Iterator[Place]:
    """Yield what there is in a value and where an application comes to it from there."""
    kind = type(value)  # and no isinstance(): that asks a proxy, and an object that is made when it is asked for
    if issubclass(kind, FunctionType):
        yield from _of_function(value)
    elif issubclass(kind, MethodType):
        yield from ((value.__self__, None), (value.__func__, None))
    elif issubclass(kind, partial):
        yield from ((value.func, None), (value.args, partial(_give, value)), (value.keywords, None))
    elif issubclass(kind, staticmethod | classmethod):
        yield value.__func__, None
    elif issubclass(kind, property):
        yield value.fget, None
    elif issubclass(kind, dict):
        yield from _of_dict(value)
    elif issubclass(kind, list):
        yield from ((each, partial(value.__setitem__, number)) for number, each in enumerate(value))
    elif issubclass(kind, tuple):
        yield from ((each, None) for each in value)
    elif issubclass(kind, ModuleType):
        if _applications(value.__name__):
            yield from _of_dict(vars(value))
    elif issubclass(kind, type):
        if _applications(value.__module__):
            yield from ((each, partial(setattr, value, name)) for name, each in list(vars(value).items()))
            yield from ((base, None) for base in value.__bases__)
    else:
        yield from _of_object(value)


def _give(function: partial[Any], arguments: tuple[Any, ...]) -> None:
    function.__setstate__((function.func, arguments, function.keywords, function.__dict__))  # type: ignore[attr-defined]


def _of_function(function: FunctionType) -> Iterator[Place]:
    for cell in function.__closure__ or ():
        if (place := _of_cell(cell)) is not None:
            yield place
    yield from ((each, None) for each in (function.__defaults__, function.__kwdefaults__))
    if _applications(function.__module__):
        known = function.__globals__
        for name in _names(function.__code__):
            if name in known:
                yield known[name], partial(known.__setitem__, name)


def _of_cell(cell: CellType) -> Place | None:
    try:
        return cell.cell_contents, partial(setattr, cell, "cell_contents")
    except ValueError:
        return None  # nothing is in it yet


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _of_dict(found: dict[Any, Any]) -> Iterator[Place]:
    return ((each, partial(found.__setitem__, name)) for name, each in list(found.items()))


def _of_object(value: Any) -> Iterator[Place]:
    kind = type(value)
    ours = _applications(kind.__module__)
    if not ours and kind.__module__.partition(".")[0] not in _WAITING:
        return
    own = _attributes(value)
    for name, each in list(own.items()):
        if not (issubclass(kind, Thread) and name.startswith("_")) or name in _OF_THREADS:
            yield each, partial(own.__setitem__, name)
    if ours:
        yield kind, None
        for name in _slots(kind):
            try:
                yield object.__getattribute__(value, name), partial(object.__setattr__, value, name)
            except AttributeError:
                continue


def _attributes(value: Any) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], object.__getattribute__(value, "__dict__"))
    except AttributeError:
        return {}


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _applications(module: object) -> bool:
    """Whether a module is an application's or a test's: neither a library nor ours."""
    name = module if isinstance(module, str) else ""
    if name.partition(".")[0] in (*sys.stdlib_module_names, "pytest_hsmcluster") and name != "__main__":
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is None or not {"site-packages", "dist-packages"} & set(PurePath(file).parts)
