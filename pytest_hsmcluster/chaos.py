"""How does a test break a cluster?

`Chaos.inject` installs one fault.  Hardships are named combinations of faults and of what a
cluster suffers; each is a context manager that takes back what it did.
"""

from collections.abc import Callable, Mapping
from typing import Any

from .drivers.turnstile import one_at_a_time
from .errors import UsageError
from .faults.effects import Delay, Destroy, Fail
from .faults.points import Point, nearest
from .faults.spec import Fault, parse_fault
from .faults.when import COMMANDS, OPERATIONS, When
from .hardships import Hardship as Hardship
from .hardships import ScenarioKind as ScenarioKind
from .installer import Installer
from .network.simulated import BOTH, Network
from .service.administration import Administration
from .service.backup import Backup
from .service.hsm import Hsm, HsmState
from .service.service import Service
from .sim.clock import to_ns
from .sim.flow import Flow
from .sim.scheduler import SERVICE_LANE
from .toxiproxy.server import ToxiproxyServer


@one_at_a_time
class Chaos(Installer):
    """Breaks one cluster on purpose: named hardships, and single faults through `inject`.

    Attributes:
        toxiproxy: stands between applications and HSM processes, or None; `slow-link` and its like need it.
    """

    def __init__(self, service: Service, network: Network, minimum: int, scenarios: Mapping[str, ScenarioKind]) -> None:
        super().__init__(service, scenarios)
        self.toxiproxy: ToxiproxyServer | None = None
        self._network = network
        self._minimum = minimum

    # -- hardships -------------------------------------------------------------------------

    def crash(self, hsm: str) -> Hardship:
        """Switch an HSM off; it can be restarted."""
        self._there(hsm)
        self._service.crash(hsm)
        return self.began("crashed-hsm", {"hsm": hsm}, lambda: self._lift("crashed-hsm", hsm, self._revive))

    def restart(self, hsm: str) -> None:
        """Switch an HSM on again: token keys are there, session keys, sessions and logins are not."""
        if self._service.hsm(hsm).state is HsmState.LOST or not self._end_all("crashed-hsm", hsm):
            self._service.restart(hsm)

    def destroy(self, hsm: str) -> Hardship:
        """Lose an HSM for good; the end of the block brings nothing back."""
        self._there(hsm)
        self._service.destroy(hsm)
        return self.began("destroyed-hsm", {"hsm": hsm})

    def kill_mid_create(self, after_copies: int = 1) -> Hardship:
        """Destroy the HSM that makes a key once there are this many copies, its own being the first."""
        most = len(self._service.members)
        if isinstance(after_copies, bool) or not isinstance(after_copies, int) or not 1 <= after_copies <= most:
            raise UsageError(
                f"after_copies is a number of HSMs, 1 to {most} (its own copy is the first); got {after_copies!r}"
            )
        if after_copies == most:
            fault = Fault(Destroy("source"), Point.CLIENT_REPORT)
        else:
            fault = Fault(Destroy("source"), Point.CLIENT_CLONE, When(nth=after_copies, per="op"))
        return self.began("kill-mid-create", {"after_copies": after_copies}, None, fault)

    def replace(self, hsm: str, backup: Backup | str | None = None) -> Hardship:
        """Lose an HSM for good and order a new one, with a new id and address: `.replacement`.

        It joins from a snapshot of a live HSM, from the newest backup when none lives, or from the
        backup that is given (itself or its id).  The end of the block brings nothing back.
        """
        zone = self._service.hsm(hsm).zone
        if isinstance(backup, str):
            if backup not in self._service.backups:
                raise UsageError(
                    f"there is no backup {backup!r}; there are {', '.join(self._service.backups) or 'none'}"
                )
            backup = self._service.backups[backup]
        self._service.check_backup(backup)  # before anything is lost
        self._service.destroy(hsm)
        hardship = self.began("replaced-hsm", {"hsm": hsm, "backup": backup and backup.id})
        hardship.replacement = self._service.add(zone, backup)
        return hardship

    def delay_sync(self, seconds: float = 30) -> Hardship:
        """Have each round of the service's sweep come later."""
        fault = Fault(Delay(to_ns(seconds, "delay_sync()")), Point.SYNC_SWEEP)
        hardship = self.began("delay-sync", {"seconds": seconds}, None, fault)
        hardship.injections[0].may_miss = True  # the sweep is late from now on, whether or not a round comes
        return hardship

    def stall_sync(self) -> Hardship:
        """Have the service make no round of its own; `sweep_now()` still does."""
        self._service.sweep.stall()
        return self.began("stall-sync", {}, self._service.sweep.resume)

    def resume_sync(self) -> None:
        """End every `stall_sync`."""
        self._end_all("stall-sync")

    def fail_clone(self, hsm: str | None = None) -> Hardship:
        """Have HSMs refuse copies: one, or all."""
        return self.began("fail-clone", {"hsm": hsm}, None, self._failed_clone(hsm))

    def fail_cleanup(self, hsm: str | None = None) -> Hardship:
        """Have the cleanup of a failed create not work: on one HSM, or on all."""
        return self.began("fail-cleanup", {"hsm": hsm}, None, self._failed_cleanup(hsm))

    def lose_response(self, op: str) -> Hardship:
        """Lose the first answer to an operation: it was done, and nobody is told."""
        _check_answered("lose_response()", op)
        return self.began("lost-ack", {"op": op}, None, parse_fault(f"drop @ wire.response op={op} command={op} nth=1"))

    def fail_response(self, op: str, code: str = "CKR_ATTRIBUTE_VALUE_INVALID") -> Hardship:
        """Answer the first call of an operation with an error although it was done."""
        return self._one_failure("failed-ack", Point.HSM_REPLY, op, code)

    def glitch(self, op: str, code: str = "CKR_FUNCTION_FAILED") -> Hardship:
        """Have the first call of an operation fail, undone; the next one works."""
        return self._one_failure("glitch", Point.HSM_EXECUTE, op, code)

    def partition(self, a: str, b: str, direction: str = BOTH) -> Hardship:
        """Cut the network between two names: a client's or an HSM's.

        Args:
            a: one side.
            b: the other.
            direction: `both`, or `one-way`: only messages from `a` to `b` vanish.
        """
        if direction not in (BOTH, "one-way"):
            raise UsageError(f"direction is 'both' or 'one-way' (from a to b); got {direction!r}")
        if not isinstance(a, str) or not isinstance(b, str):
            raise UsageError(f"a partition is between two names, of clients and HSMs; got {a!r} and {b!r}")
        ends = [name for name in (a, b) if name in self._service.hsms or name.startswith("hsm-")]
        for name in ends:
            self._there(name)
        if a == b or not ends:
            raise UsageError(f"a partition is between a client and an HSM, or two HSMs; got {a!r} and {b!r}")
        ways = self._network.cut(a, b, direction)
        arguments = {"a": a, "b": b, "direction": direction}
        return self.began("partition", arguments, lambda: self._network.mend(ways), hits=lambda: self._both_met(a, b))

    def heal(self) -> None:
        """End every partition."""
        self._end_all("partition")

    def pause(self, hsm: str) -> Hardship:
        """Let an HSM fall silent while it is up."""
        self._service.pause(hsm)
        return self.began("gray-failure", {"hsm": hsm}, lambda: self._service.resume(hsm))

    def resume(self, hsm: str) -> None:
        """Let a paused HSM go on."""
        self._end_all("gray-failure", hsm)
        self._service.resume(hsm)  # a fault may have paused it

    def throttle(self, hsm: str) -> Hardship:
        """Have an HSM answer that it is busy (0xBB)."""
        found = self._there(hsm)
        found.throttled = True
        found.limits_set()
        return self.began("throttled", {"hsm": hsm}, lambda: self._lift("throttled", hsm, self._relax))

    def relieve(self, hsm: str) -> None:
        """Have a throttled HSM work again."""
        self._service.hsm(hsm)
        self._end_all("throttled", hsm)

    def fill(self, hsm: str) -> Hardship:
        """Lower an HSM's key capacity to what is used; makes no keys."""
        found = self._there(hsm)
        found.store.capacity = len(found.store)
        found.limits_set()
        return self.began("full-hsm", {"hsm": hsm}, lambda: self._lift("full-hsm", hsm, self._make_room))

    def fill_disk(self, hsm: str) -> Hardship:
        """Let an HSM's disk be full: it keeps the token keys that it has and takes no more; makes no keys."""
        if self._there(hsm).state is HsmState.JOINING:
            raise UsageError(f"{hsm} has not joined yet: there is nothing on its disk that could fill it")
        self._service.fill_disk(hsm)
        return self.began("full-disk", {"hsm": hsm}, lambda: self._lift("full-disk", hsm, self._clear))

    def clear_disk(self, hsm: str) -> None:
        """Make room on an HSM's disk again."""
        self._end_all("full-disk", hsm)
        self._clear(hsm)  # a fault may have filled it

    def exhaust_sessions(self, hsm: str) -> Hardship:
        """Lower an HSM's limit of sessions to what is open; opens none."""
        found = self._there(hsm)
        found.session_limit = found.session_count
        found.limits_set()
        return self.began("full-sessions", {"hsm": hsm}, lambda: self._lift("full-sessions", hsm, self._let_in))

    def join(self, zone: str) -> Hardship:
        """Order one more HSM: `.replacement` joins later, from a snapshot that lacks what is made meanwhile.

        The end of the block takes nothing back.
        """
        hsm = self._service.add(zone)
        hardship = self.began("joining-hsm", {"zone": zone})
        hardship.replacement = hsm
        return hardship

    def lose_zone(self, zone: str) -> Hardship:
        """Switch off all HSMs of one zone."""
        hsms = [hsm.id for hsm in self._service.members if hsm.zone == zone]
        if not hsms:
            zones = sorted({hsm.zone for hsm in self._service.members})
            raise UsageError(f"no HSM is in zone {zone!r}; there are {', '.join(zones)}")
        off = [hsm for hsm in hsms if self._service.hsm(hsm).alive]
        for hsm in off:
            self._service.crash(hsm)
        return self.began("az-outage", {"zone": zone}, lambda: self._revive(*off))

    def restore_zone(self, zone: str) -> None:
        """Switch on all HSMs of one zone."""
        if not self._end_all("az-outage", zone):
            self._revive(*(hsm.id for hsm in self._service.members if hsm.zone == zone))

    def rolling_restart(self, down_s: float = 30, gap_s: float = 30) -> Hardship:
        """Switch HSMs off and on, one after the other, while time passes.

        Args:
            down_s: how long each is off; gap_s: from one that is back to the next.
        """
        times = to_ns(down_s, "down_s"), to_ns(gap_s, "gap_s")
        down: list[str] = []
        arguments = {"down_s": down_s, "gap_s": gap_s}
        return self._scheduled(
            "rolling-restart", arguments, self._roll(down, *times), False, lambda: self._revive(*down)
        )

    def flap(self, hsm: str, up_s: float = 30, down_s: float = 30) -> Hardship:
        """Switch one HSM off and on again and again, until the block or the test ends."""
        self._there(hsm)
        times = to_ns(up_s, "up_s"), to_ns(down_s, "down_s")
        if not sum(times):
            raise UsageError("up_s and down_s are not both 0: an HSM that flaps does so in some time")
        arguments = {"hsm": hsm, "up_s": up_s, "down_s": down_s}
        return self._scheduled("flapping", arguments, self._flap(hsm, *times), True, lambda: self._revive(hsm))

    def route_to(self, hsm: str, next: int = 1) -> Hardship:
        """Send the next routed calls, of whatever client, to one HSM, whatever routing says.

        Calls with a session key go where it lives; they are not counted.
        """
        self._there(hsm)
        if isinstance(next, bool) or not isinstance(next, int) or next < 1:
            raise UsageError(f"next is how many calls, 1 or more; got {next!r}")
        detours = [hsm] * next
        self._network.detours.append(detours)
        arguments = {"hsm": hsm, "next": next}
        return self.began("routed-to", arguments, detours.clear, hits=lambda: next - len(detours))

    def drop_user(self, hsm: str, user: str) -> Hardship:
        """Let a user vanish from one HSM's table, as accounts drift apart in reality.

        The end of the block brings him back.
        """
        where = self._service.hsm(hsm)
        account = where.accounts.users.get(str(user).lower())
        if account is None:
            raise UsageError(f"{hsm} has no user {user!r}; it has {', '.join(where.accounts.users)}")
        administration = Administration(self._service)
        administration.forget_user(where, user)
        arguments = {"hsm": hsm, "user": user}
        return self.began("user-drift", arguments, lambda: administration.recall_user(where, account))

    # -- inside ----------------------------------------------------------------------------

    def _scheduled(
        self,
        name: str,
        arguments: Mapping[str, Any],
        flow: Flow[None],
        background: bool,
        undo: Callable[[], object] | None = None,
    ) -> Hardship:
        scheduler = self._service.world.scheduler
        task = scheduler.spawn(flow, SERVICE_LANE, name, background=background)

        def end() -> None:
            scheduler.end(task)
            if undo is not None:
                undo()

        return self.began(name, arguments, end)

    def _both_met(self, a: str, b: str) -> int:
        """Return 1 once both have been there: an application of another name is nobody's trouble."""
        return int(all(name in self._service.hsms or name in self._network.applications for name in (a, b)))

    def _there(self, hsm: str) -> Hsm:
        """Return an HSM that can still suffer something.

        Raises:
            UsageError: there is none of that id, or it is lost for good.
        """
        found = self._service.hsm(hsm)
        if found.state is HsmState.LOST:
            raise UsageError(f"{hsm} is lost for good; nothing can happen to it any more")
        return found

    def _lift(self, name: str, hsm: str, undo: Callable[[str], object]) -> None:
        """Take back what one hardship did to an HSM, unless another of its kind still holds."""
        if not any(other.name == name and hsm in other.arguments.values() for other in self.hardships):
            undo(hsm)

    def _revive(self, *hsms: str) -> None:
        for hsm in hsms:
            if self._service.hsm(hsm).state is HsmState.DOWN:
                self._service.restart(hsm)

    def _relax(self, hsm: str) -> None:
        found = self._service.hsm(hsm)
        found.throttled = False
        found.limits_set()

    def _make_room(self, hsm: str) -> None:
        found = self._service.hsm(hsm)
        found.store.capacity = found.profile.key_capacity
        found.limits_set()

    def _clear(self, hsm: str) -> None:
        self._service.hsm(hsm).clear_disk()

    def _let_in(self, hsm: str) -> None:
        found = self._service.hsm(hsm)
        found.session_limit = found.profile.sessions_per_hsm
        found.limits_set()

    def _one_failure(self, name: str, point: Point, op: str, code: str) -> Hardship:
        _check_answered(name, op)
        fault = Fault(Fail(code), point, When(op=op, command=op, nth=1))
        return self.began(name, {"op": op, "code": code}, None, fault)

    def _failed_clone(self, hsm: str | None) -> Fault:
        return Fault(Fail("CKR_DEVICE_ERROR"), Point.HSM_AUTHORIZE, When(command="insert_masked", hsm=hsm))

    def _failed_cleanup(self, hsm: str | None) -> Fault:
        return Fault(Fail("CKR_DEVICE_ERROR"), Point.CLIENT_CLEANUP, When(hsm=hsm))

    def _scenario_fail_cleanup(self, hsm: str | None = None) -> Hardship:
        """The scenario: creates fail on all other HSMs, and what they leave is not removed."""
        if self._minimum < 2:
            raise UsageError(
                "fail-cleanup needs create_object_minimum_nodes of 2 or more (SDK 3): with a minimum of 1 no create "
                "fails, so there is nothing to clean up"
            )
        faults = [self._failed_cleanup(hsm)]
        for other in self._service.members:
            if other.id != hsm:
                faults.append(self._failed_clone(other.id))
        return self.began("fail-cleanup", {"hsm": hsm}, None, *faults)

    def _roll(self, down: list[str], down_ns: int, gap_ns: int) -> Flow[None]:
        for hsm in [hsm.id for hsm in self._service.members]:
            if not self._service.hsm(hsm).alive:
                continue  # somebody else's trouble
            down.append(hsm)
            self._service.crash(hsm)
            yield down_ns
            self._revive(hsm)
            down.remove(hsm)
            yield gap_ns

    def _flap(self, hsm: str, up_ns: int, down_ns: int) -> Flow[None]:
        while True:
            self._service.crash(hsm)
            yield down_ns
            self._revive(hsm)
            yield up_ns


def _check_answered(what: str, op: str) -> None:
    both = [name for name in OPERATIONS if name in COMMANDS]
    if op not in both:
        raise UsageError(
            f"{what} takes an operation that one HSM answers{nearest(str(op), both)}; there are {', '.join(both)}"
        )
