"""What time is it in the cluster, and how does a test let it pass?"""

import math
from collections.abc import Callable
from typing import Protocol

from ..errors import UsageError
from .scheduler import Scheduler

NS = 1_000_000_000


def to_ns(seconds: float, what: str) -> int:
    """Return a duration in ns.

    Raises:
        UsageError: not a finite number, or negative; names `what`.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not math.isfinite(seconds * NS) or seconds < 0:
        raise UsageError(f"{what} is a number of seconds, 0 or more; got {seconds!r}")
    return round(seconds * NS)


class Pace(Protocol):
    """How simulated time is tied to real time; only the real clock has one."""

    rate: float

    def begin(self, now_ns: int) -> None:
        """Tie the present instants of both times together."""

    def reached_ns(self) -> int:
        """Return the instant that simulated time should have reached by now."""

    def early_s(self, instant_ns: int) -> float:
        """Return how many real seconds are left until a simulated instant; 0 or less when it has come."""

    def wait_until(self, instant_ns: int) -> None:
        """Return when real time has come to a simulated instant."""

    def drive(self, scheduler: Scheduler, done: Callable[[], bool]) -> None:
        """Step a scheduler that the caller drives until `done()`, and drive it no longer."""

    def close(self) -> None:
        """Let go of what it waits with."""

    def fileno(self) -> int | None:
        """Return a descriptor that can be read when something has come in from outside; None: nothing ever does."""

    def look(self) -> bool:
        """Hand over what has come in from outside, and return whether there was something; the caller drives."""

    def enter(self, scheduler: Scheduler) -> None:
        """Begin to drive a scheduler, and have it catch up with real time and what has come in from outside."""


class HsmClock:
    """Simulated time of one cluster.  It answers and never sleeps, unless the clock is real.

    Args:
        scheduler: whose time.
        pace: None for a virtual clock.
        wait: lets a caller that is one of several actors wait for so many ns; returns whether it is one.
    """

    def __init__(
        self, scheduler: Scheduler, pace: Pace | None = None, wait: Callable[[int], bool] | None = None
    ) -> None:
        self._scheduler = scheduler
        self.pace = pace
        self._wait = wait

    @property
    def now(self) -> float:
        """The present instant in seconds since the cluster was made."""
        return self.now_ns / NS

    @property
    def now_ns(self) -> int:
        """The present instant in ns since the cluster was made."""
        reached_ns = self._scheduler.now_ns
        if self.pace is not None and not self._scheduler.ended:
            reached_ns = max(reached_ns, self.pace.reached_ns())
        return reached_ns

    @property
    def real(self) -> bool:
        """Whether simulated time follows the wall clock."""
        return self.pace is not None

    def advance(self, seconds: float) -> None:
        """Let this much time pass; everything that is due meanwhile happens, sweeps included.

        Raises:
            UsageError: negative or not finite.
        """
        self.advance_ns(to_ns(seconds, "advance()"))

    def advance_ns(self, duration_ns: int) -> None:
        """Let so many ns pass."""
        self._go_to(self.now_ns + duration_ns)

    def run_until_idle(self) -> None:
        """Let time pass until nothing but the service's own periodic work is left to do."""
        if self.pace is not None:
            self.pace.enter(self._scheduler)
            self.pace.drive(self._scheduler, lambda: self._scheduler.idle)
            return
        while (due_ns := self._next_due_ns(foreground=True)) is not None:
            self._go_to(due_ns)

    def _go_to(self, instant_ns: int) -> None:
        if self._wait is not None and self._wait(instant_ns - self._scheduler.now_ns):
            return
        while self.pace is not None:
            due_ns = self._next_due_ns()
            next_ns = instant_ns if due_ns is None else min(due_ns, instant_ns)
            self.pace.wait_until(next_ns)
            if next_ns == instant_ns:
                break
            self._scheduler.advance_to(next_ns)
        self._scheduler.advance_to(instant_ns)

    def _next_due_ns(self, *, foreground: bool = False) -> int | None:
        """Return when something is due, with no other thread inside; None: nothing is, or nothing in the foreground."""
        with self._scheduler.alone:
            return None if foreground and self._scheduler.idle else self._scheduler.next_due_ns()

    def __repr__(self) -> str:
        return f"<HsmClock {self.now:.6f} s{', real' if self.real else ''}>"
