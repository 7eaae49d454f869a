"""How do the stand-ins get to where applications look for the real functions, and away from there again?

An application that said `from time import sleep` keeps the function in a variable of its module.  So every module's
variables are looked through: what is a clock, there its stand-in is put; afterwards it is put back.
"""

import copyreg
import sys
import sysconfig
from collections.abc import Callable, Mapping
from threading import RLock
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any
from weakref import ReferenceType, ref

from . import clocks, dates, loops, threads
from .callers import keeps_real_time
from .neighbours import check_alone

_FUNCTIONS = {**clocks.STAND_INS, **dates.FUNCTIONS}
_CLASSES = {**dates.STAND_INS}
_METHODS = {**threads.METHODS, **loops.METHODS}
_BACK: Mapping[Any, Any] = {ours: real for real, ours in (*_FUNCTIONS.items(), *_CLASSES.items())}

_REAL: dict[tuple[Any, str], Any] = {}
"""Owner and name → what was there before."""

_USERS: "list[Patches]" = []
"""Who needs the stand-ins.  Module state, as what they replace."""

_LOCK = RLock()


class Patches:
    """Puts all stand-ins in place, and takes them away when nobody needs them any more."""

    def apply(self) -> None:
        """Put them in place.

        Raises:
            UsageError: another library simulates time already.
        """
        with _LOCK:
            check_alone(started=bool(_USERS))
            if not _USERS:
                for (owner, name), ours in _METHODS.items():
                    _REAL[owner, name] = getattr(owner, name)
                    setattr(owner, name, ours)
                for kind, reduced in dates.REDUCED.items():
                    copyreg.dispatch_table.setdefault(kind, reduced)
            _USERS.append(self)
            try:
                _replace(_stand_in)
            except BaseException:  # an interrupt
                self.undo()
                raise

    def undo(self) -> None:
        """Take them away, also from modules that were imported meanwhile."""
        with _LOCK:
            _USERS.remove(self)
            if _USERS:
                return
            _replace(_real)
            while _REAL:
                (owner, name), real = _REAL.popitem()
                setattr(owner, name, real)
            for kind, reduced in dates.REDUCED.items():
                if copyreg.dispatch_table.get(kind) is reduced:
                    del copyreg.dispatch_table[kind]


def put_back() -> None:
    """Take away what came back after `undo`: a fixture that ends later restores what it found, our stand-ins."""
    with _LOCK:
        if not _USERS:
            _replace(_real)


_SEEN: dict[str, tuple[ReferenceType[ModuleType], int, list[str]]] = {}
"""Name of a module → itself, how many variables it had, and which of them are clocks, or nothing yet.

A second look is short: a module of somebody else's (of Python, of an installed package) is searched anew only if it has
other variables than before.
"""

_KEPT: set[str] = set()
"""Names of modules that keep real time."""

_IMPORTED_WITH = frozenset(("__doc__", "__file__", "__loader__", "__package__", "__spec__"))
"""Variables that each module has, often nothing; a quarter of all modules have no docstring."""

_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def _replace(instead: Callable[[Any], Any]) -> None:
    for name, module in list(sys.modules.items()):
        if name in _KEPT:
            continue
        known, size, places = _SEEN.get(name, _NOTHING)
        if (seen := known()) is None or seen is not module or size != len(vars(module)):
            if keeps_real_time(name):
                _KEPT.add(name)
                continue
            if not issubclass(type(module), ModuleType):  # cffi's say that they are modules
                continue
            places = [
                key
                for key, value in vars(module).items()
                if (value is None and key not in _IMPORTED_WITH) or _stand_in(value) or _real(value)
            ]
            if str(getattr(module, "__file__", None) or _INSTALLED[0]).startswith(_INSTALLED):
                _SEEN[name] = ref(module), len(vars(module)), places
        if places:
            variables = vars(module)
            for key in places:
                if (new := instead(variables.get(key))) is not None:
                    variables[key] = new


_NOTHING: tuple[Callable[[], ModuleType | None], int, list[str]] = (lambda: None, -1, [])


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
