"""How do several clusters live in one common time?"""

from collections.abc import Callable
from typing import NamedTuple

from ..sim.scheduler import Scheduler
from ..sim.task import Timer


class _World(NamedTuple):
    """One scheduler; the common instant 0 is its instant `offset_ns`."""

    scheduler: Scheduler
    offset_ns: int


class Worlds:
    """Schedulers that are stepped in the order in which things are due, and one of its own for those who just wait."""

    def __init__(self) -> None:
        self._home = Scheduler()
        self._worlds = [_World(self._home, 0)]

    @property
    def now_ns(self) -> int:
        """The present instant: ns since these worlds were brought together."""
        return max(world.scheduler.now_ns - world.offset_ns for world in self._worlds)

    @property
    def schedulers(self) -> list[Scheduler]:
        return [world.scheduler for world in self._worlds]

    def add(self, scheduler: Scheduler) -> None:
        """Take in one more."""
        self._worlds.append(_World(scheduler, scheduler.now_ns - self.now_ns))

    def at(self, instant_ns: int, action: Callable[[], None]) -> Timer:
        """Have `action` called at an instant, and return its timer."""
        self._home.now_ns = self.now_ns
        return self._home.at(instant_ns, action)

    def cancel(self, timer: Timer) -> None:
        """Make sure that a timer's action is not called."""
        self._home.cancel(timer)

    def catch_up(self, scheduler: Scheduler | None = None) -> None:
        """Bring one of them, or all, to the present; one lags if the application used another one."""
        now_ns = self.now_ns
        for world in self._worlds:
            if scheduler in (None, world.scheduler) and not world.scheduler.ended:
                instant_ns = now_ns + world.offset_ns
                if world.scheduler.now_ns < instant_ns:
                    world.scheduler.advance_to(instant_ns)

    def next_due_ns(self) -> int | None:
        """Return the instant of what is due next, or None if only background work is left."""
        if all(world.scheduler.idle for world in self._worlds):
            return None
        return min((instant_ns for instant_ns, _ in self._due()), default=None)

    def step(self) -> None:
        """Let what is due next happen; it does not run ahead of what is due in another world."""
        due = sorted(self._due())
        scheduler, offset_ns = self._worlds[due[0][1]]
        scheduler.enter()
        horizon_ns = scheduler.horizon_ns
        if len(due) > 1:
            scheduler.horizon_ns = due[1][0] + offset_ns
        try:
            scheduler.step()
        finally:
            scheduler.horizon_ns = horizon_ns
            scheduler.leave()

    def _due(self) -> list[tuple[int, int]]:
        """Return instant and number of each world in which something is due."""
        return [
            (due_ns - world.offset_ns, number)
            for number, world in enumerate(self._worlds)
            if (due_ns := world.scheduler.next_due_ns()) is not None
        ]
