"""Where does real time come in?"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ..errors import Stuck, UsageError
from ..sim.clock import NS, Pace
from ..sim.scheduler import Scheduler

pause = time.sleep
"""Let so many real seconds pass."""

_REALTIME_COARSE = 5
"""Linux's number of `CLOCK_REALTIME_COARSE`, for which Python has no name: the date, some milliseconds old.

freezegun has no stand-in for `clock_gettime`, and time-machine only one for `CLOCK_REALTIME`.
"""


def today() -> datetime:
    """Return the present date and time of this machine, in UTC, whatever date an application is shown.

    Certificates are issued by it and judged by OpenSSL, which asks the system.
    """
    return datetime.fromtimestamp(time.clock_gettime(_REALTIME_COARSE), UTC)


def check_ticks(read: Callable[[], float], whose: str) -> None:
    """Refuse a clock that stands still, or goes only while somebody sleeps: whoever waits by it for real time hangs.

    Args:
        read: returns its seconds.
        whose: clock it is, for people.

    Raises:
        UsageError: says what to leave out.
    """
    before = read()
    if all(read() == before for _ in range(_READS)):
        raise UsageError(
            f"{whose} stands still, as freezegun, looptime or trio's MockClock have it, and HSMs that are processes "
            "take real time: leave one of them out (freezegun leaves asyncio alone with "
            "real_asyncio=True; @pytest.mark.looptime(False) switches looptime off for a test)"
        )


_READS = 10_000
"""Some milliseconds: longer than any clock of Linux takes for a tick."""


def _now_s() -> float:
    """Return the seconds of a clock for which no library for tests has a stand-in."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class RealPace:
    """Ties simulated time to the wall clock, `rate` simulated seconds a real one.

    This module is the package's only reader of the wall clock and its only sleep.
    """

    def __init__(self, rate: float = 1.0) -> None:
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate) or rate <= 0:
            raise UsageError(
                f"a real clock's rate is a number above 0 (1 is real pace, 20 is twenty times faster); got {rate!r}"
            )
        self.rate = float(rate)
        self.begin(0)

    def begin(self, now_ns: int) -> None:
        """Tie the present instants of both times together."""
        self._origin_ns = now_ns
        self._started_s = _now_s()

    def reached_ns(self) -> int:
        """Return the simulated instant (ns) that belongs to the present real one."""
        return self._origin_ns + round((_now_s() - self._started_s) * self.rate * NS)

    def gone_ns(self) -> int:
        """Return how much simulated time (ns) has to pass since `begin()`."""
        return self.reached_ns() - self._origin_ns

    def early_s(self, instant_ns: int) -> float:
        """Return how many real seconds are left until a simulated instant; 0 or less when it has come."""
        return (instant_ns - self._origin_ns) / NS / self.rate - (_now_s() - self._started_s)

    def wait_until(self, instant_ns: int) -> None:
        """Sleep until real time has come to a simulated instant."""
        early_s = self.early_s(instant_ns)
        if early_s > 0:
            time.sleep(early_s)

    def drive(self, scheduler: Scheduler, done: Callable[[], bool]) -> None:
        """Step a scheduler that the caller drives until `done()`, and drive it no longer.

        Raises:
            Stuck: nothing can happen any more.
        """
        try:
            while not done():
                if scheduler.idle:
                    raise Stuck(scheduler.who_waits())
                self.wait_until(scheduler.next_due_ns() or 0)
                scheduler.step()
        finally:
            scheduler.leave()

    def close(self) -> None:
        """Wait for nothing any more."""

    def fileno(self) -> int | None:
        """Return a descriptor that can be read when something has come in from outside; None: nothing ever does."""
        return None

    def look(self) -> bool:
        """Hand over what has come in from outside, without waiting, and return whether there was something.

        The caller drives.
        """
        return False

    def enter(self, scheduler: Scheduler) -> None:
        """Begin to drive a scheduler, and have it catch up with real time and what has come in from outside.

        `scheduler.leave()` has to follow, unless this raises.
        """
        scheduler.enter()
        try:
            self.look()
            scheduler.drive_to(self.reached_ns())
        except BaseException:
            scheduler.leave()
            raise


def catch_up(scheduler: Scheduler, pace: Pace) -> None:
    """Bring a world to the present that the caller has alone, unless he is in the middle of one of its steps."""
    if not (scheduler.stepping or scheduler.ended):
        pace.enter(scheduler)
        scheduler.leave()


def enter(scheduler: Scheduler, pace: Pace | None) -> None:
    """Begin to drive a scheduler, in its present: `scheduler.leave()` has to follow, unless this raises."""
    if pace is None:
        scheduler.enter()
    else:
        pace.enter(scheduler)
