"""Who is in a cluster when several threads call it?"""

from collections.abc import Callable, Container
from contextlib import suppress
from functools import wraps
from threading import RLock, get_ident
from types import TracebackType
from typing import Any, Protocol, TypeVar

from ..sim.scheduler import Scheduler


class Turnstile:
    """Lets one thread at a time into a cluster; a context manager that a thread may enter repeatedly.

    Args:
        doubt: told once why a run of this cluster is not like another one.

    Attributes:
        expected: threads (their `get_ident()`) to whom somebody gives their turns.  Where others come, too, chance
            decides who is first.
    """

    expected: Container[int] = ()

    def __init__(self, doubt: Callable[[str], None]) -> None:
        self._tell = doubt
        self._doubted = False
        self._lock = RLock()
        self._known = get_ident()
        self._guest = 0
        self._settled: Callable[[], bool] = lambda: True
        self._inside, self._depth = 0, 0

    def __enter__(self) -> None:
        me = get_ident()
        # Whoever is inside already must not wait: the guest may be waiting for the lock.
        if self._guest and me != self._guest and me != self._inside and not self._settled():
            self.doubt("it was called while an application was connected at its socket: chance decided who was first")
        self._lock.acquire()
        self._inside = me
        self._depth += 1
        if not self._doubted and me != self._known and me != self._guest and me not in self.expected:
            self.doubt("threads called it freely, so chance decided who was first; cluster.run() gives them turns")

    def welcome(self, guest: int, settled: Callable[[], bool]) -> None:
        """Let in a thread that serves applications of other processes.

        Args:
            guest: its `get_ident()`.
            settled: lets it do what it has been asked for, an end of an application too, and returns whether there
                is no application left.  It is called before others come in.
        """
        self._guest, self._settled = guest, settled

    def bid_farewell(self) -> None:
        """Let it in no more."""
        self._guest, self._settled = 0, lambda: True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._inside != get_ident():
            with suppress(RuntimeError):  # Ctrl-C came while this thread was on its way out or in: it is outside
                self._lock.release()
            return
        self._depth -= 1
        if not self._depth:
            self._inside = 0
        self._lock.release()

    def doubt(self, why: str) -> None:
        """Say why this run is not like another one."""
        if not self._doubted:
            self._doubted = True
            self._tell(why)


class _Guarded(Protocol):
    scheduler: Scheduler


Kind = TypeVar("Kind", bound=type[Any])


def one_at_a_time(kind: Kind) -> Kind:
    """Have each public method of a class wait until no other thread drives or changes the same cluster.

    What it does, it does in the present: a real clock has gone on since somebody was here.  Its objects have a
    `scheduler`.
    """
    for name, method in vars(kind).items():
        if callable(method) and not name.startswith("_") and not isinstance(method, type):
            setattr(kind, name, _alone(method))
    return kind


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def guarded(self: _Guarded, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with self.scheduler.alone:
            self.scheduler.catch_up()
            return method(self, *args, **kwargs)

    return guarded
