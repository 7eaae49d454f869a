"""What does a fault do to the call that it strikes?

Points know no HSM and HSMs know no fault: this is where an effect is performed.  What
only a message can suffer (`drop`, `corrupt`) is done by the network.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..faults.effects import Aimed, Corrupt, Crash, Delay, Destroy, Drop, Fail, FillDisk, Hold, Pause
from ..faults.injector import Injection
from ..faults.points import Point
from ..sim.flow import Flow
from ..sim.scheduler import Scheduler
from .calls import Call
from .profile import Profile

if TYPE_CHECKING:
    from .hsm import Hsm


class MessageLost(Exception):
    """A request or an answer vanished; nobody is told."""


class ConnectionReset(Exception):
    """The connection was closed while a request was under way."""


class Power(Protocol):
    """Whoever can switch HSMs off, silence them and fill their disks."""

    def crash(self, hsm: str, struck: Call | None = None) -> None:
        """Switch an HSM off."""

    def destroy(self, hsm: str, struck: Call | None = None) -> None:
        """Lose an HSM for good."""

    def fell(self, hsm: str) -> None:
        """Note that an HSM has lost power by itself."""

    def is_off(self, hsm: str) -> bool:
        """Whether an HSM answers nobody any more; a fault at `hsm.stop` may have kept it on."""

    def silence(self, hsm: str) -> Callable[[], object] | None:
        """Let an HSM fall silent if it is up, and return what lets it go on."""

    def silent(self, hsm: str) -> Flow[None]:
        """Wait until an HSM is no longer silent."""

    def fill_disk(self, hsm: str) -> Callable[[], object] | None:
        """Let an HSM's disk have no room for a further key, and return what clears it."""


class Trouble:
    """Performs effects on calls.

    Attributes:
        power: set by the service, which owns the HSMs.
    """

    power: Power

    def __init__(self, scheduler: Scheduler, profile: Profile) -> None:
        self._scheduler = scheduler
        self._profile = profile

    def strike(self, injection: Injection, call: Call, *, done: bool = False) -> Flow[None]:
        """Perform an injection on a call.

        Args:
            injection: what the point answered.
            call: whom it strikes.
            done: whether something has been changed already, so that an injected error leaves it unknown.

        Raises:
            ClusterError: `fail`.
            MessageLost: `drop`, or a crash whose peer hears nothing.
            ConnectionReset: `corrupt`, or the call's own HSM lost power.
        """
        effect = injection.effect
        if isinstance(effect, Delay):
            yield from self.sleep(effect.ns, call)
        elif isinstance(effect, Hold):
            yield injection.held
        elif isinstance(effect, Drop):
            raise MessageLost
        elif isinstance(effect, Corrupt):
            raise ConnectionReset
        elif isinstance(effect, Fail):
            raise effect.error(hsm=call.hsm, outcome="info" if done else "fail", sdk=self._profile.sdk)
        elif isinstance(effect, Crash | Destroy):
            self.cut(effect, call, injection.fault.point)
        elif isinstance(effect, Pause | FillDisk):
            self.afflict(injection, call)
            if injection.fault.point.place == "hsm" and call.hsm is not None:
                yield from self.power.silent(call.hsm)

    def sleep(self, duration_ns: int, call: Call) -> Flow[None]:
        """Let time pass for a call."""
        if not self._scheduler.ahead(duration_ns, call.deadline_ns):
            yield duration_ns

    def cut(self, effect: Crash | Destroy, call: Call, point: Point) -> None:
        """Switch off the HSM that a crash or destroy is about.

        Raises:
            ConnectionReset, MessageLost: it was the call's own, and serves it; a client that is at a
                point of its own has not asked yet, or has its answer.
        """
        target = self.target(effect, call)
        if isinstance(effect, Crash):
            self.power.crash(target, call)
        else:
            self.power.destroy(target, call)
        if target == call.hsm and point.place == "hsm" and self.power.is_off(target):
            raise self.silence_or_reset()

    def afflict(self, injection: Injection, call: Call) -> None:
        """Do to an HSM what lasts until the injection is taken out."""
        effect = injection.effect
        assert isinstance(effect, Pause | FillDisk)
        target = self.target(effect, call)
        undo = self.power.silence(target) if isinstance(effect, Pause) else self.power.fill_disk(target)
        if undo is not None:
            injection.undo[target] = undo

    def target(self, effect: Aimed, call: Call) -> str:
        """Return the id of the HSM that an effect is about: `source`, `here` or by name."""
        if effect.target in (None, "here"):
            chosen = call.hsm or call.source
        elif effect.target == "source":
            chosen = call.source or call.hsm
        else:
            chosen = effect.target
        assert chosen is not None, "refused at install: a point without an HSM takes no crash"
        return chosen

    def silence_or_reset(self) -> Exception:
        """Return what the peer of an HSM that lost power sees."""
        return ConnectionReset() if self._profile.crash_peer == "reset" else MessageLost()

    def interrupt(self, hsm: "Hsm") -> None:
        """Cut off everybody whom an HSM serves, but not a call that causes it in this step: it is told by `cut`."""
        for call in list(hsm.inflight):
            # One that runs in this very step does not wait for anything; it may be struck by a fault that comes late.
            if call.task is not None and call.task.waiting is not None:
                self._scheduler.interrupt(call.task, self.silence_or_reset())
