"""How does a client bring a new key to enough HSMs, or to none?

AWS CloudHSM User Guide, "Key synchronization and durability settings": the client makes the
key on one HSM and clones it to every other, best effort.  SDK 3 demands a minimum of copies
and cleans up below it; SDK 5 demands that the key is available on two HSMs.
"""

from dataclasses import dataclass, field

from ..errors import ClusterError, KeyNotOnHsm, KeyUnavailable, TooFewCopies
from ..faults.effects import Drop
from ..faults.points import Point
from ..history.events import Cause
from ..service.calls import Call
from ..service.commands import CheckKey, Command, DeleteKey, ExtractMasked, InsertMasked, TombstoneKey
from ..service.keystore import StoredKey
from ..sim.clock import NS
from ..sim.flow import Flow
from ..sim.scheduler import FOREVER_NS
from .process import Process

UNAVAILABLE_LOG = (
    "Key {handle} does not meet the availability requirements - "
    "The key must be available on at least {copies} HSMs before being used."
)
UNAVAILABLE = (
    "Cannot perform the requested key operation as the key must be available on at least {copies} HSMs. "
    "Either increase the number of HSMs in the cluster, or disable the key availability check."
)
ORPHAN_LOG = (
    "liquidSecurity ERR: print_node_ts_status: "
    "[create_object_min_nodes]Key: {handle} failed to tombstone on node:{node}"
)


@dataclass(slots=True)
class Copies:
    """Where the keys of one create are.

    Attributes:
        keys: the key, or both halves of a pair.
        source: the HSM that made them.
        sure: HSMs that said that they have them, the source first.
        partly: HSMs that have one half of a pair and refused the other.
        maybe: HSMs that may have them, now or later: their answer never came.
        masked: the masked objects, once they have been extracted.
    """

    keys: tuple[StoredKey, ...]
    source: str
    sure: list[str]
    partly: list[str] = field(default_factory=list)
    maybe: list[str] = field(default_factory=list)
    masked: list[bytes] = field(default_factory=list)


class Creator:
    """Creates keys for one application process.

    Args:
        process: the application process.
        minimum: `create_object_minimum_nodes` (SDK 3).
    """

    def __init__(self, process: Process, minimum: int) -> None:
        self.process = process
        self.minimum = minimum
        self._faults = process.world.faults
        self._scheduler = process.world.scheduler
        self._profile = process.profile

    def create(
        self, call: Call, source: str, request: Command, token: bool, min_srv: int | None, timeout_ns: int | None
    ) -> Flow[tuple[StoredKey, ...]]:
        """Create keys on one HSM, clone them to the others; enough copies or none.

        Args:
            call: the operation.
            source: the HSM that makes them.
            request: the command that makes them.
            token: whether they are token keys; a session key stays where it is made.
            min_srv: copies that this create wants; the larger of it and `minimum` counts (SDK 3).
            timeout_ns: how long it may take until there are enough (SDK 3).

        Raises:
            TooFewCopies: SDK 3, not enough copies; cleaned up.
            KeyUnavailable: SDK 5, not on enough HSMs.
            ClusterError: the HSM that should make it refused or fell silent.
        """
        until_ns = self._scheduler.now_ns + (self._profile.longest_wait_ns if timeout_ns is None else timeout_ns)
        keys: tuple[StoredKey, ...] = yield from self.process.call(call, source, request, until_ns)
        call.source, call.key, call.label, call.handle = source, keys[-1].name, keys[-1].label, keys[-1].handle
        if not token:
            for key in keys:
                self.process.homes[key.handle] = source
            return keys
        copies = Copies(keys, source, [source])
        if self._profile.sdk == 3:
            yield from self._enough(call, copies, max(self.minimum, min_srv or 1), until_ns, timeout_ns is not None)
        else:
            yield from self._available(call, copies)
        if (struck := self._faults.reach(Point.CLIENT_REPORT, call.about(source))) is not None:
            yield from self.process.strike(struck, call.about(source))
        return keys

    # -- SDK 3 ---------------------------------------------------------------------------

    def _enough(self, call: Call, copies: Copies, needed: int, until_ns: int, timed: bool) -> Flow[None]:
        """Clone until there are enough copies; below that clean up and fail."""
        early = self._profile.create_returns == "enough" or (self._profile.create_returns == "auto" and timed)
        targets = self._targets(copies)
        while targets and self._scheduler.now_ns < until_ns and not (early and len(copies.sure) >= needed):
            yield from self._clone(call, copies, targets.pop(0), until_ns)
        if len(copies.sure) < needed:
            leftovers = yield from self._clean_up(call, copies)
            label = copies.keys[-1].label
            raise TooFewCopies(
                f"key {label!r} ({call.handle}) reached {len(copies.sure)} of {needed} HSMs: {', '.join(copies.sure)}; "
                + (
                    f"copies may be left on {', '.join(leftovers)}: look for the label and delete them"
                    if leftovers
                    else "all copies were removed, so it can be tried again"
                ),
                copies=len(copies.sure),
                needed=needed,
                leftovers=leftovers,
                outcome="info" if leftovers else "fail",
            )
        if targets:
            later = call.about(None)
            later.lane = self.process.lane + 1
            self._scheduler.spawn(
                self._clone_rest(later, copies, targets), later.lane, f"{self.process.name} clones on"
            )

    def _clone_rest(self, call: Call, copies: Copies, targets: list[str]) -> Flow[None]:
        for hsm in targets:
            if self.process.dead:
                return
            try:
                yield from self._clone(call, copies, hsm, FOREVER_NS)
            except ClusterError:
                return  # the application process ended: nobody is left to tell

    # -- SDK 5 ---------------------------------------------------------------------------

    def _available(self, call: Call, copies: Copies) -> Flow[None]:
        """Clone to all; then the key must be available on enough HSMs."""
        for hsm in self._targets(copies):
            yield from self._clone(call, copies, hsm, FOREVER_NS)
        if not self._profile.availability_check:
            return
        alive = [hsm for hsm in copies.sure if self.process.connections[hsm].up]
        try:
            if len(alive) < self._profile.availability_copies:
                yield from self.check(call, copies.keys[-1].handle, creating=True)
        except ClusterError as refused:
            self.process.check_alive()
            leftovers = (yield from self._clean_up(call, copies)) if self._profile.sdk5_cleans_up else copies.sure
            refused.outcome = "info" if leftovers else "fail"
            raise
        for key in copies.keys:
            self.process.available[key.handle] = None

    def check(self, call: Call, handle: int, *, creating: bool = False) -> Flow[None]:
        """Return once enough HSMs have the key; asks every member that the client knows, until the budget is spent.

        Raises:
            KeyUnavailable: it is not on enough HSMs, and the budget is spent.
            KeyNotOnHsm: no HSM has it, and it is not just being created.
            HsmUnavailable: no HSM can be reached.
        """
        needed, process = self._profile.availability_copies, self.process
        until_ns = self._scheduler.now_ns + self._profile.availability_budget_ns
        while True:
            found, asked = 0, 0
            for hsm in (yield from process.candidates(call)):
                if self._scheduler.now_ns >= until_ns:
                    break  # no answer can come in time
                try:
                    found += yield from process.call(call, hsm, CheckKey(handle), until_ns)
                    asked += 1
                except ClusterError:
                    process.check_alive()
            if found >= needed:
                process.available[handle] = None
                return
            if asked and not found and not creating:
                raise KeyNotOnHsm(
                    f"HSM Error: Invalid object handle is passed to this operation: no HSM holds key {handle}"
                )
            pause_ns = min(self._profile.availability_poll_ns, max(0, until_ns - self._scheduler.now_ns))
            if not self._scheduler.ahead(pause_ns):
                yield pause_ns
            if self._scheduler.now_ns >= until_ns:
                process.say(UNAVAILABLE_LOG.format(handle=handle, copies=needed))
                raise KeyUnavailable(UNAVAILABLE.format(copies=needed) + f" Key {handle} is on {found}.")

    # -- both ----------------------------------------------------------------------------

    def _targets(self, copies: Copies) -> list[str]:
        """Return the other HSMs that the client believes up, in HSM order."""
        return [hsm for hsm in self.process.up_members() if hsm != copies.source]

    def _clone(self, call: Call, copies: Copies, hsm: str, until_ns: int) -> Flow[None]:
        """Copy the keys to one HSM, best effort; what came of it is in `copies`."""
        step = call.about(hsm)
        struck = self._faults.reach(Point.CLIENT_CLONE, step)
        try:
            if struck is not None:
                if isinstance(struck.effect, Drop):
                    return
                yield from self.process.strike(struck, step)
            for key in copies.keys[len(copies.masked) :]:
                copies.masked.append(
                    (yield from self.process.call(call, copies.source, ExtractMasked(key.handle), until_ns))
                )
        except ClusterError:
            self.process.check_alive()
            return
        if self._scheduler.now_ns >= until_ns:
            return  # the time is over: a copy that is begun now would only have to be cleaned up
        inserted = 0
        try:
            for key, blob in zip(copies.keys, copies.masked, strict=True):
                yield from self.process.call(call, hsm, InsertMasked(key.handle, blob, copies.source), until_ns)
                inserted += 1
        except ClusterError as error:
            self.process.check_alive()
            if error.outcome == "info":
                copies.maybe.append(hsm)
            elif inserted:
                copies.partly.append(hsm)
        else:
            copies.sure.append(hsm)

    def _clean_up(self, call: Call, copies: Copies) -> Flow[list[str]]:
        """Remove every copy that is or may be there; return the HSMs on which one may remain."""
        leftovers = []
        for hsm in list(self.process.connections):  # a new member may join meanwhile
            suspect = hsm in copies.sure or hsm in copies.partly or hsm in copies.maybe
            if suspect and not (yield from self._clean(call, copies, hsm)):
                leftovers.append(hsm)
        return leftovers

    def _clean(self, call: Call, copies: Copies, hsm: str) -> Flow[bool]:
        """Remove the copies on one HSM, else tombstone them; say whether none is left."""
        step = call.about(hsm)
        struck = self._faults.reach(Point.CLIENT_CLEANUP, step)
        clean = True
        try:
            if struck is not None and not isinstance(struck.effect, Drop):
                yield from self.process.strike(struck, step)
            elif struck is not None:
                clean = False
        except ClusterError:
            self.process.check_alive()
            clean = False
        for key in copies.keys:
            if not (clean and (yield from self._removed(call, key.handle, hsm, late=hsm in copies.maybe))):
                clean = False
                node = list(self.process.service.hsms).index(hsm)
                self.process.say(ORPHAN_LOG.format(handle=key.handle, node=node))
        return clean

    def _removed(self, call: Call, handle: int, hsm: str, *, late: bool) -> Flow[bool]:
        """Remove one copy, else tombstone it, and say whether it is certain that none is or will be there.

        Args:
            late: an insert was not answered: it may still be done, so "not there" is no comfort.
        """
        for request in (DeleteKey(handle, Cause.CLEANUP), TombstoneKey(handle, Cause.CLEANUP)):
            try:
                yield from self.process.call(call, hsm, request)
                return True
            except KeyNotOnHsm:
                if not late:
                    return True
            except ClusterError:
                self.process.check_alive()
        return False


def timeout_ns(timeout_s: float | None) -> int | None:
    """Return a create's time-out in ns; None is no limit."""
    return None if timeout_s is None else round(timeout_s * NS)
