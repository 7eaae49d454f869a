"""How do the stand-ins get to where applications look for the real functions, and away from there again?

An application that said `from time import sleep` keeps the function in a variable of its module.  So every module's
variables are looked through: what is a clock, there its stand-in is put; afterwards it is put back.
"""

import sys
import time
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from ..errors import UsageError
from . import clocks, dates, loops, threads
from .callers import keeps_real_time

_FUNCTIONS = {**clocks.STAND_INS}
_CLASSES = {**dates.STAND_INS}
_METHODS = {**threads.METHODS, **loops.METHODS}
_BACK: Mapping[Any, Any] = {ours: real for real, ours in (*_FUNCTIONS.items(), *_CLASSES.items())}


class Patches:
    """Puts all stand-ins in place, and takes them away."""

    def __init__(self) -> None:
        self._real: list[tuple[Any, str, Any]] = []

    def apply(self) -> None:
        """Put them in place.

        Raises:
            UsageError: another library simulates time already.
        """
        check_alone(started=False)
        for (owner, name), ours in _METHODS.items():
            self._real.append((owner, name, getattr(owner, name)))
            setattr(owner, name, ours)
        _replace(_stand_in)

    def undo(self) -> None:
        """Take them away, also from modules that were imported meanwhile."""
        _replace(_real)
        while self._real:
            owner, name, real = self._real.pop()
            setattr(owner, name, real)


def check_alone(*, started: bool) -> None:
    """Refuse to share time with another library.

    Args:
        started: whether our stand-ins are in place.

    Raises:
        UsageError: names the library.
    """
    machine = sys.modules.get("time_machine")
    if getattr(machine, "coordinates_stack", None):
        raise UsageError(_SHARED.format("time-machine"))
    for name in ("time", "monotonic", "sleep"):
        found = getattr(time, name)
        ours = started and found in _BACK
        if not ours and not isinstance(found, BuiltinFunctionType):
            raise UsageError(_SHARED.format(getattr(found, "__module__", None) or type(found).__name__))


_SHARED = (
    "{} has replaced the clocks already, and in hsm_app_time and run() the application lives in the cluster's time: "
    "leave one of them out (a fixed date is no loss: simulated time begins at 2025-01-01 00:00 UTC in every run)"
)


_SEEN: dict[str, tuple[ModuleType, int, list[str]]] = {}
"""Name of a module → itself, how many variables it had, and which of them are clocks: a second look is short."""


def _replace(instead: Callable[[Any], Any]) -> None:
    for name, module in list(sys.modules.items()):
        known, size, clocks_there = _SEEN.get(name, (None, 0, []))
        if known is not module or size != len(vars(module)):
            if not isinstance(module, ModuleType) or keeps_real_time(name):
                continue
            clocks_there = [key for key, value in vars(module).items() if _stand_in(value) or _real(value)]
            _SEEN[name] = module, len(vars(module)), clocks_there
        for key in clocks_there:
            if (new := instead(vars(module).get(key))) is not None:
                vars(module)[key] = new


def _stand_in(value: Any) -> Any:
    kind = type(value)
    if kind is BuiltinFunctionType:
        return _FUNCTIONS.get(value)
    return _CLASSES.get(value) if kind is type else None


def _real(value: Any) -> Any:
    kind = type(value)
    if kind is FunctionType or kind is dates.LikeReal:
        return _BACK.get(value)
    return None
