"""How does an actor wait for a lock that another actor holds?

In simulated time: it gives up its turn, and is among those who could go on once the lock is free.  A lock of CPython's
own lets the operating system say who gets it, and nobody could tell it in which order; so a stand-in goes before it.
The lock itself stays behind the stand-in, for threads that are no actors and for references that were not found.
"""

import threading
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Self

from ..sim.clock import NS
from .actors import AT_WORK, Actor

if TYPE_CHECKING:
    from .company import Company

REAL_LOCK: Any = threading.Lock
REAL_RLOCK: Any = threading.RLock
KINDS = (type(threading.Lock()), type(threading.RLock()))
"""What these two make."""


class ActorLock:
    """Stands in for a `threading.Lock`.

    Args:
        real: the lock behind it; None makes one.
    """

    _make = REAL_LOCK

    def __init__(self, real: Any = None) -> None:
        self._real = type(self)._make() if real is None else real
        self._queue = 0
        self._holder = ""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it as soon as it is free; among several who wait for it the order of the turns decides."""
        found = _acting() if blocking and timeout != 0 else None
        if found is None:
            return bool(self._real.acquire(blocking, timeout))
        company, me = found
        if (self._mine() or not self._queue) and self._real.acquire(False):
            self._holder = me.name
            return True
        until_ns = None if timeout < 0 else company.now_ns + round(timeout * NS)
        self._queue += 1
        try:
            while True:
                left_ns = None if until_ns is None else until_ns - company.now_ns
                held = f"a lock that {self._holder} holds" if self._holder else "a lock"
                if not company.wait_until(self._free, left_ns, held):
                    return False
                if self._real.acquire(False):
                    self._holder = me.name
                    return True
        finally:
            self._queue -= 1

    def release(self) -> None:
        """Give it back; whoever waits for it has it at one of the next turns."""
        self._real.release()
        if not self._mine():
            self._holder = ""

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} before {self._real!r}>"

    def _free(self) -> bool:
        return not self._real.locked()

    def _mine(self) -> bool:
        """Whether this thread holds it and may take it once more."""
        return False


class ActorRLock(ActorLock):
    """Stands in for a `threading.RLock`; a condition finds here what it wants of one."""

    _make = REAL_RLOCK

    def _free(self) -> bool:
        # Asked by whoever decides who is next, and that may be its holder: who could take it anyway.
        if self._real._is_owned() or not self._real.acquire(False):
            return False
        self._real.release()
        return True

    def _mine(self) -> bool:
        return bool(self._real._is_owned())

    def _is_owned(self) -> bool:
        return self._mine()

    def _release_save(self) -> Any:
        self._holder = ""
        return self._real._release_save()

    def _acquire_restore(self, state: Any) -> None:
        try:
            self.acquire()
        except BaseException:  # it is ended here, and its `with` gives the lock back all the same
            self._real._acquire_restore(state)
            raise
        self._real.release()
        self._real._acquire_restore(state)


def stand_in(real: Any) -> ActorLock:
    """Return a new stand-in for a lock of CPython's."""
    return ActorLock(real) if type(real) is KINDS[0] else ActorRLock(real)


class Factories:
    """Has locks that are made from now on be stand-ins, within the block."""

    def __enter__(self) -> Self:
        threading.Lock, threading.RLock = ActorLock, ActorRLock  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        threading.Lock, threading.RLock = REAL_LOCK, REAL_RLOCK


FACTORIES: "dict[Callable[[], Any], type[ActorLock]]" = {REAL_LOCK: ActorLock, REAL_RLOCK: ActorRLock}
"""What makes locks, and is in an application's variable if it said `from threading import Lock` → its stand-in."""


def _acting() -> "tuple[Company, Actor] | None":
    company = AT_WORK.get(get_ident())
    actor = None if company is None else company.actor()
    return None if company is None or actor is None else (company, actor)
