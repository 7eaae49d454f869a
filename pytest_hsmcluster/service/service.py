"""Who switches HSMs on and off, lets new ones join, and takes backups?"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import UsageError
from ..faults.effects import Delay
from ..faults.injector import Injection
from ..faults.points import Point
from ..history.events import Cause, Kind
from ..sim.flow import Flow, Signal
from ..sim.scheduler import SERVICE_LANE
from .accounts import Accounts
from .audit import Opcode
from .backup import Backup, take
from .calls import Call
from .hsm import Hsm, HsmState
from .keystore import StoredKey
from .replication import Sweep
from .world import World

MAX_HSMS = 28
"""HSMs per cluster (AWS CloudHSM User Guide, "Quotas")."""


class Service:
    """The HSMs of one cluster and what AWS does with them.

    Attributes:
        hsms: id → HSM, lost ones included, in the order in which they were made.
        backups: id → backup, in the order in which they were taken.
        on_reset: called with the id of an HSM whose connections were closed.
        on_joined: called with the id of an HSM that joined.
    """

    def __init__(
        self,
        world: World,
        cluster_id: str,
        zones: Sequence[str],
        accounts: Accounts,
        default_password: str,
        make: Callable[[str, str, str, World, Accounts], Hsm] = Hsm,
    ) -> None:
        self.world = world
        self._make = make
        self.cluster_id = cluster_id
        # What is left when no HSM lives and nothing was backed up since: the backup on activation (users, no
        # keys), or the one that the cluster was made from.  User Guide, "Manage backups".
        self._first_backup = Backup(
            "backup-0", cluster_id, "activation", 0, (), (), accounts.copy(), world.masking_key, default_password
        )
        self._default_password = default_password
        self.hsms: dict[str, Hsm] = {}
        self.backups: dict[str, Backup] = {}
        self.sweep = Sweep(world, self.hsms)
        self.on_reset: Callable[[str], None] = _nobody
        self.on_joined: Callable[[str], None] = _nobody
        world.trouble.power = self
        for zone in zones:
            hsm = self._new(zone, accounts.copy())
            self._state(hsm, Kind.UP, "created")
            hsm.boot()  # a process may end in this very moment
        if world.profile.sweep:
            self.sweep.start()
        world.scheduler.spawn(self._daily_backups(), SERVICE_LANE, "daily backups", background=True)

    # -- looking -----------------------------------------------------------------------

    @property
    def members(self) -> list[Hsm]:
        """HSMs that have not been lost, in the order in which they were made."""
        return [hsm for hsm in self.hsms.values() if hsm.state is not HsmState.LOST]

    def hsm(self, id: str) -> Hsm:
        """Return an HSM by its id, lost or not.

        Raises:
            UsageError: there is none.
        """
        if not isinstance(id, str):
            hint = f": {id.id!r} is the id of this one" if isinstance(id, Hsm) else ""
            raise UsageError(f"an HSM is named by its id, such as 'hsm-1'; got {id!r}{hint}")
        if id not in self.hsms:
            raise UsageError(f"this cluster has no HSM {id!r}; it has {', '.join(self.hsms)}")
        return self.hsms[id]

    # -- power ---------------------------------------------------------------------------

    def crash(self, id: str, struck: Call | None = None) -> None:
        """Switch an HSM off; token keys survive, session keys, sessions and logins do not.

        Args:
            id: which; one that is off or lost already stays as it is.
            struck: the call whose fault did it; it learns of it by itself.
        """
        hsm = self.hsm(id)
        if hsm.alive:
            self._through(Point.HSM_STOP, hsm, lambda: self._off(hsm, struck))

    def fell(self, id: str) -> None:
        """Note that an HSM has lost power: no fault can prevent or delay what has happened."""
        self._off(self.hsm(id), None)

    def is_off(self, id: str) -> bool:
        """Whether an HSM is neither up nor paused."""
        return not self.hsm(id).alive

    def restart(self, id: str) -> None:
        """Switch an HSM on again.

        Raises:
            UsageError: it is lost for good.
        """
        hsm = self.hsm(id)
        if hsm.state is HsmState.LOST:
            raise UsageError(f"{id} is lost for good; replace({id!r}) lets a new one join")
        if hsm.state is HsmState.DOWN:
            self._through(Point.HSM_START, hsm, lambda: self._on(hsm))

    def destroy(self, id: str, struck: Call | None = None) -> None:
        """Lose an HSM with all that it holds."""
        hsm = self.hsm(id)
        if hsm.state is not HsmState.LOST:
            hsm.halt()
        if hsm.state is HsmState.LOST:
            return  # before, or by a fault that its process had met before it ended
        hsm.end_all_sessions(Cause.DESTROY)
        for handle in [*hsm.store.keys, *hsm.store.tombstones]:
            hsm.store.remove(handle, Cause.DESTROY)
        self._cut_off(hsm, HsmState.LOST, Kind.LOST, struck)

    def pause(self, id: str) -> None:
        """Let an HSM fall silent: it is up and keeps what it has, and answers nobody."""
        hsm = self.hsm(id)
        if hsm.state is not HsmState.UP:
            raise UsageError(f"{id} is {hsm.state}; only an HSM that is up can be paused")
        hsm.freeze()
        hsm.state = HsmState.PAUSED
        self._state(hsm, Kind.PAUSED, "pause")

    def silence(self, id: str) -> Callable[[], object] | None:
        """Let an HSM fall silent and return what lets it go on; None if it is not up and stays as it is."""
        hsm = self.hsm(id)
        if hsm.state is not HsmState.UP:
            return None
        self.pause(id)
        silence = hsm.resumed

        def end() -> None:
            if hsm.resumed is silence:  # else it has gone on, and whoever pauses it now is somebody else
                self.resume(id)

        return end

    def silent(self, id: str) -> Flow[None]:
        """Wait until an HSM is not paused."""
        hsm = self.hsm(id)
        while hsm.paused:
            yield hsm.resumed

    def fill_disk(self, id: str) -> Callable[[], object] | None:
        """Let an HSM's disk have no room for a further token key, and return what clears it.

        None if it is lost or has not joined yet, and stays as it is.
        """
        hsm = self.hsm(id)
        if hsm.state in (HsmState.LOST, HsmState.JOINING):
            return None
        hsm.fill_disk()
        return hsm.clear_disk

    def resume(self, id: str) -> None:
        """Let a paused HSM go on; requests that waited are served."""
        hsm = self.hsm(id)
        if hsm.state is HsmState.PAUSED:
            hsm.state = HsmState.UP
            self._state(hsm, Kind.UP, "resume")
            hsm.thaw()  # a process may end in this very moment
            self._let_go(hsm)

    # -- membership ------------------------------------------------------------------------

    def add(self, zone: str, backup: Backup | None = None) -> Hsm:
        """Order a new HSM; it joins from a snapshot after the profile's times.

        Args:
            zone: where.
            backup: what it starts from; None is a snapshot of a live HSM, taken meanwhile, or the
                newest backup when none lives then.

        Raises:
            UsageError: the cluster has 28 HSMs already, `zone` is no name, or the backup is of a cluster that
                this one was not made from.
        """
        if not isinstance(zone, str) or not zone:
            raise UsageError(f"zone is the name of an availability zone, such as 'a'; got {zone!r}")
        self.check_backup(backup)
        if len(self.members) >= MAX_HSMS:
            raise UsageError(f"a cluster has at most {MAX_HSMS} HSMs (AWS CloudHSM quota, fixed)")
        hsm = self._new(zone, Accounts({}))
        hsm.state = HsmState.JOINING
        self._state(hsm, Kind.JOINING, "create-hsm")
        self.world.scheduler.spawn(self._join(hsm, backup), SERVICE_LANE, f"{hsm.id} joins")
        return hsm

    def check_backup(self, backup: Backup | None) -> None:
        """Refuse a backup that an HSM of this cluster cannot start from.

        Raises:
            UsageError: it is of a cluster that this one was not made from, or no backup.
        """
        if backup is not None and not isinstance(backup, Backup):
            raise UsageError(f"backup is what backup() returned, or its id; got {type(backup).__name__}")
        own = (self._first_backup, *self.backups.values())
        if backup is not None and not any(backup is one for one in own):
            raise UsageError(
                f"{backup.id} is a backup of {backup.cluster}; an HSM of {self.cluster_id} starts from one of its own: "
                f"{', '.join(self.backups) or 'there is none yet'}"
            )

    def remove(self, id: str) -> None:
        """Take an HSM out of the cluster for good, after a backup of it if it is up."""
        hsm = self.hsm(id)
        if hsm.state is HsmState.UP:
            self.backup(id)
        self.destroy(id)

    def backup(self, id: str | None = None) -> Backup:
        """Take a backup of an HSM that is up; None is the first.

        Raises:
            UsageError: it is not up, or none is.
        """
        hsm = self.hsm(id) if id else next((one for one in self.members if one.state is HsmState.UP), None)
        if hsm is None or hsm.state is not HsmState.UP:
            raise UsageError(f"a backup is taken of an HSM that is up; {id or 'every HSM'} is not")
        hsm.log(Opcode.BACKUP_BEGIN)
        backup = take(hsm, f"backup-{len(self.backups) + 1}", self.cluster_id, self._default_password)
        hsm.log(Opcode.BACKUP_END)
        self.backups[backup.id] = backup
        return backup

    def load(self, backup: Backup) -> None:
        """Fill every HSM of a new cluster from a backup of another; each key is a birth here."""
        self._first_backup = backup
        for key in (*backup.keys, *backup.tombstones):
            self.world.register.birth(self.world.register.material(key.material), key.handle)
        for hsm in self.hsms.values():
            self._restore(hsm, backup, Cause.RESTORE)

    # -- inside -------------------------------------------------------------------------------

    def _new(self, zone: str, accounts: Accounts) -> Hsm:
        number = len(self.hsms) + 1
        hsm = self._make(f"hsm-{number}", zone, f"10.0.0.{9 + number}", self.world, accounts)
        self.hsms[hsm.id] = hsm
        return hsm

    def _state(self, hsm: Hsm, kind: Kind, cause: str) -> None:
        self.world.journal.append((kind, self.world.scheduler.now_ns, hsm.id, hsm.zone, cause))

    def _through(self, point: Point, hsm: Hsm, then: Callable[[], None]) -> None:
        """Do something with an HSM's power unless a fault at that point prevents or delays it."""
        struck = self.world.faults.reach(point, Call(0, None, None, None, SERVICE_LANE, hsm=hsm.id))
        if struck is None:
            then()
        elif isinstance(struck.effect, Delay):
            scheduler = self.world.scheduler
            scheduler.at(scheduler.now_ns + struck.effect.ns, then, SERVICE_LANE)

    def _off(self, hsm: Hsm, struck: Call | None) -> None:
        if hsm.alive:
            hsm.halt()
        if hsm.alive:  # else a fault that its process had met before it ended has done the rest
            hsm.end_all_sessions(Cause.CRASH)
            self._cut_off(hsm, HsmState.DOWN, Kind.DOWN, struck)

    def _cut_off(self, hsm: Hsm, state: HsmState, kind: Kind, struck: Call | None) -> None:
        hsm.state = state
        self._state(hsm, kind, "fault" if struck is not None else "chaos")
        hsm.cut_off()
        if self.world.profile.crash_peer == "reset":
            self.on_reset(hsm.id)

    def _on(self, hsm: Hsm) -> None:
        if hsm.state is HsmState.DOWN:
            hsm.state = HsmState.UP
            hsm.boots += 1
            self._state(hsm, Kind.UP, "restart")
            hsm.boot()  # a process may end in this very moment

    def _let_go(self, hsm: Hsm) -> None:
        resumed, hsm.resumed = hsm.resumed, Signal(hsm.resumed.name)
        self.world.scheduler.fire(resumed)

    def _join(self, hsm: Hsm, backup: Backup | None) -> Flow[None]:
        profile = self.world.profile
        yield profile.join_snapshot_ns
        if hsm.state is not HsmState.JOINING:
            return  # lost before there was anything on it
        cause = Cause.JOIN if backup is None else Cause.RESTORE
        if backup is None:
            backup, cause = self._snapshot()
        yield max(0, profile.join_active_ns - profile.join_snapshot_ns)
        if hsm.state is not HsmState.JOINING:
            return  # lost while it joined
        call = Call(0, None, None, None, SERVICE_LANE, hsm=hsm.id)
        struck: Injection | None = self.world.faults.reach(Point.HSM_RESTORE, call)
        if struck is not None:
            if not isinstance(struck.effect, Delay):
                hsm.state = HsmState.LOST
                self._state(hsm, Kind.LOST, "restore failed")
                return
            yield struck.effect.ns
            if hsm.state is not HsmState.JOINING:
                return  # lost after all
        self._restore(hsm, backup, cause)
        hsm.state = HsmState.UP
        self._state(hsm, Kind.JOINED, str(cause))
        self._touch_differences(hsm)
        self.on_joined(hsm.id)

    def _snapshot(self) -> tuple[Backup, Cause]:
        """Return what a joining HSM starts from: a live HSM now, or the newest backup when none lives."""
        if any(hsm.state is HsmState.UP for hsm in self.members):
            return self.backup(), Cause.JOIN
        return list(self.backups.values())[-1] if self.backups else self._first_backup, Cause.RESTORE

    def _restore(self, hsm: Hsm, backup: Backup, cause: Cause) -> None:
        hsm.boot()
        hsm.log(Opcode.RESTORE_BEGIN)
        hsm.accounts = backup.accounts.copy()
        hsm.users_written()
        with hsm.together():
            for key in (*backup.keys, *backup.tombstones):
                hsm.store.insert(self._local(key), cause, source=backup.hsm)
            for key in backup.tombstones:
                hsm.store.tombstone(key.handle, cause)
        hsm.log(Opcode.RESTORE_END)

    def _local(self, key: StoredKey) -> StoredKey:
        """Return a key with the names that its handle has in this cluster."""
        register = self.world.register
        return replace(key, name=register.names[key.handle], mat=register.mats[key.handle])

    def _touch_differences(self, joined: Hsm) -> None:
        for hsm in self.members:
            for handle in (*hsm.store.keys, *joined.store.keys):
                if (handle in hsm.store.keys) != (handle in joined.store.keys):
                    self.world.touch(handle)

    def _daily_backups(self) -> Flow[None]:
        while True:
            yield self.world.profile.backup_period_ns
            if any(hsm.state is HsmState.UP for hsm in self.members):
                self.backup()


def _nobody(hsm: str) -> None:
    """Nobody listens."""
