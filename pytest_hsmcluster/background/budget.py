"""What does background chaos promise, whatever it draws?"""

from dataclasses import dataclass

from ..errors import UsageError
from ..faults.effects import Crash, Delay, Destroy, duration_text
from ..faults.points import Point
from ..faults.spec import Fault


@dataclass(frozen=True, slots=True)
class Promise:
    """What never happens; all numbers are for one test.

    Attributes:
        faults: at most so many faults and hardships.
        untouched: so many HSMs are left alone: up, reachable and willing all the time.
        longest_ns: no hardship lasts longer, and no delay.
        together_ns: nor do all of them together.
        begin_ns: a hardship begins within this time from the end of the set-up.
        sweep_late_ns: what troubles the service's own sweep lasts no longer; it is not counted in `together_ns`.
        passages: a fault strikes once, at one of the first so many passages that it is about.
        destroyed: at most so many HSMs are lost for good.
        crashed: at most so many HSMs lose power at a step of a call and stay off to the end of the test.
        deaths: at most so many application processes are ended.
        survivable: an application that is correct, and tries again for a minute, comes through.
    """

    faults: int
    untouched: int
    longest_ns: int
    together_ns: int
    begin_ns: int = 30_000_000_000
    sweep_late_ns: int = 0
    passages: int = 10
    destroyed: int = 0
    crashed: int = 0
    deaths: int = 0
    survivable: bool = False

    def __str__(self) -> str:
        """Return the promise in one line for people."""
        said = [
            f"up to {_many(self.faults, 'fault')} a test",
            f"{_many(self.untouched, 'HSM')} left alone",
            f"up to {self.destroyed} lost for good" if self.destroyed else "none lost for good",
        ]
        if self.crashed:
            said.append(f"up to {self.crashed} off to the end")
        if self.deaths:
            said.append(f"up to {_many(self.deaths, 'application process')} ended")
        said.append(f"no trouble longer than {duration_text(self.longest_ns)}")
        said.append(f"{duration_text(self.together_ns)} together")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class FaultLine:
    """A fault that may strike; the HSM and, where it says none, the passage are drawn.

    Attributes:
        fault: without `hsm=`; the duration of a delay is its longest.
        weight: how often it is drawn, against the others.
    """

    fault: Fault
    weight: int

    @property
    def aimed(self) -> bool:
        """Whether it is about one HSM."""
        return "hsm" in self.fault.point.facts

    @property
    def ends_process(self) -> bool:
        effect = self.fault.effect
        return isinstance(effect, Crash) and effect.target is None and self.fault.point.place == "client"

    @property
    def crashes(self) -> bool:
        return isinstance(self.fault.effect, Crash) and not self.ends_process

    @property
    def destroys(self) -> bool:
        return isinstance(self.fault.effect, Destroy)

    @property
    def of_sweep(self) -> bool:
        return self.fault.point.place == "sync"

    @property
    def lasts(self) -> bool:
        """Whether it costs some of the time of all troubles together."""
        return isinstance(self.fault.effect, Delay) and not self.of_sweep

    def __str__(self) -> str:
        return str(self.fault)


@dataclass(frozen=True, slots=True)
class HardshipLine:
    """A hardship that may begin; the HSM and its window are drawn.

    Attributes:
        name: of the scenario, one of `HARDSHIPS`.
        weight: how often it is drawn, against the others.
    """

    name: str
    weight: int

    @property
    def aimed(self) -> bool:
        """Whether it is about one HSM."""
        return not self.of_sweep

    @property
    def destroys(self) -> bool:
        return self.name in DESTROYING

    @property
    def of_sweep(self) -> bool:
        return self.name in OF_SWEEP

    @property
    def lasts(self) -> bool:
        return not self.of_sweep and not self.destroys

    crashes = ends_process = False

    def __str__(self) -> str:
        return self.name


Line = FaultLine | HardshipLine

HARDSHIPS = (
    "crashed-hsm",
    "gray-failure",
    "throttled",
    "partition",
    "flapping",
    "full-hsm",
    "full-disk",
    "fail-clone",
    "user-drift",
    "az-outage",
    "routed-to",
    "destroyed-hsm",
    "replaced-hsm",
    "stall-sync",
    "delay-sync",
)
"""Hardships that can be aimed at HSMs and have an end: what a budget may list."""

OF_SWEEP = ("stall-sync", "delay-sync")
DESTROYING = ("destroyed-hsm", "replaced-hsm")

POWER = (Point.HSM_START, Point.HSM_STOP, Point.HSM_RESTORE)
"""Where an HSM's power is switched, not where a call passes."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may go wrong in each test of a suite, and where it ends.

    Attributes:
        name: `light`, `heavy`, or the path of its file.
        promise: what never happens.
        lines: what may happen.
        only: shell patterns of the node ids that are struck.
        never: shell patterns of those that are not.
    """

    name: str
    promise: Promise
    lines: tuple[Line, ...]
    only: tuple[str, ...] = ("*",)
    never: tuple[str, ...] = ()

    def check_keepable(self, hsms: int) -> None:
        """Refuse a budget that clusters of so many HSMs cannot keep, or that can never do anything to them.

        Raises:
            UsageError: says what does not fit.
        """
        untouched = self.promise.untouched
        if untouched > hsms:
            raise UsageError(
                f"promise.untouched = {untouched}: a cluster has {_many(hsms, 'HSM')} here, so that many cannot be "
                f"left alone; 0 to {hsms} can"
            )
        drawn = [line for line in self.lines if line.weight]
        if untouched == hsms and all(line.aimed for line in drawn):
            raise UsageError(
                f"promise.untouched = {untouched}: all HSMs of a cluster are left alone, and every line strikes at one "
                f"of them, so nothing could ever happen; 0 to {hsms - 1} leaves some"
            )

    def __str__(self) -> str:
        return f"{self.name}: {self.promise}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}{'es' if what.endswith('s') else 's'}"
