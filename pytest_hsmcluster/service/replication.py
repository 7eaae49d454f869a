"""How does the service itself bring keys to HSMs that lack them?

The AWS CloudHSM User Guide ("Key synchronization settings") says that the service clones token keys
periodically, without settings, keys only.  Its period, its order and what it does about
tombstones are not published: ours are guesses, the period stands in the profile.
"""

from collections.abc import Mapping
from dataclasses import replace

from ..errors import ClusterError
from ..faults.effects import Delay
from ..faults.injector import Injection
from ..faults.points import Point
from ..history.events import Cause
from ..sim.flow import Flow
from ..sim.scheduler import SERVICE_LANE
from .calls import Call
from .commands import masked, unmasked
from .hsm import Hsm, HsmState
from .world import World


class Sweep:
    """The service's background copying.

    Attributes:
        rounds: how many rounds have been made.
        copied: how many copies they have brought.
    """

    def __init__(self, world: World, hsms: Mapping[str, Hsm]) -> None:
        self.rounds = 0
        self.copied = 0
        self._world = world
        self._hsms = hsms
        self._stalls = 0

    def start(self) -> None:
        """Begin the periodic rounds, in the background."""
        self._world.scheduler.spawn(self._forever(), SERVICE_LANE, "the service's sweep", background=True)

    def stall(self) -> None:
        """Make no periodic round until `resume`; a round made by hand goes on."""
        self._stalls += 1

    def resume(self) -> None:
        """Take back one `stall`."""
        self._stalls -= 1

    def round(self) -> Flow[int]:
        """Make one round and return how many copies it brought.

        Copies every untombstoned token key from an up holder to each up member that lacks it,
        orphans included.  It looks at keys that were touched since they were last in the same
        state everywhere, so that a round costs what has changed.
        """
        call = Call(0, None, None, None, SERVICE_LANE)
        if not (yield from self._allowed(self._world.faults.reach(Point.SYNC_SWEEP, call))):
            return 0
        copied = 0
        for handle in sorted(self._world.touched):
            copied += yield from self._level(handle)
        self.rounds += 1
        self.copied += copied
        return copied

    def _forever(self) -> Flow[None]:
        while True:
            yield self._world.profile.sweep_period_ns
            if self._stalls == 0:
                yield from self.round()

    def _level(self, handle: int) -> Flow[int]:
        """Bring one key to every up member that lacks it."""
        copied = 0
        members = [hsm for hsm in self._hsms.values() if hsm.state not in (HsmState.LOST, HsmState.JOINING)]
        for hsm in members:
            lacks = handle not in hsm.store.keys and handle not in hsm.store.tombstones
            if lacks and hsm.state is HsmState.UP and self._wanted(handle):
                copied += yield from self._copy(handle, hsm)
        states = {handle in hsm.store.keys for hsm in members}
        if len(states) < 2:
            self._world.touched.pop(handle, None)
        return copied

    def _copy(self, handle: int, to: Hsm) -> Flow[int]:
        holder = self._holder(handle, to)
        if holder is None:
            return 0
        call = Call(
            0,
            None,
            None,
            None,
            SERVICE_LANE,
            hsm=to.id,
            handle=handle,
            source=holder.id,
            key=holder.store.keys[handle].name,
            label=holder.store.keys[handle].label,
        )
        if not (yield from self._allowed(self._world.faults.reach(Point.SYNC_CLONE, call))):
            return 0
        key = holder.store.keys.get(handle)
        if key is None or holder.state is not HsmState.UP or to.state is not HsmState.UP:
            return 0
        try:
            copy = replace(unmasked(to, masked(holder, key)), changed=key.changed)
            to.store.insert(copy, Cause.SWEEP, source=holder.id)
        except ClusterError:
            return 0  # full: the next round tries again
        return 1

    def _holder(self, handle: int, to: Hsm) -> Hsm | None:
        for hsm in self._hsms.values():
            key = hsm.store.keys.get(handle)
            if hsm.state is HsmState.UP and key is not None and key.token and self._world.linked(hsm.id, to.id):
                return hsm
        return None

    def _wanted(self, handle: int) -> bool:
        return not (self._world.profile.sweep_remembers_deletes and handle in self._world.deleted)

    def _allowed(self, struck: Injection | None) -> Flow[bool]:
        """Perform what struck a step, and say whether the step is still made."""
        if struck is None:
            return True
        if isinstance(struck.effect, Delay):
            yield struck.effect.ns
            return True
        return False  # dropped or failed: the next round comes
