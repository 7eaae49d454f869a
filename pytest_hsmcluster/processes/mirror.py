"""What does the test process know of an HSM that is another process?

Everything: its mirror is an `Hsm` that holds the same keys, users and sessions, because the HSM process tells each
change before it answers.  Whoever looks at the mirror, the service's sweep, the administrators, a test, looks at it as
at any HSM; whatever they change is an order to the HSM process, and comes back as a fact.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol

from msgspec.structs import astuple

from ..cryptoki import CKA
from ..errors import ClusterError, HsmUnavailable
from ..faults.points import Point
from ..history.events import BIRTHS, Cause, Kind
from ..service.accounts import Accounts
from ..service.hsm import Hsm, HsmState, Session
from ..service.keystore import KeyStore, StoredKey
from ..service.world import World
from . import control
from .codec import key_of, record_of
from .database import DeadDisk
from .link import Link

_REACH = Kind.REACH.value
_POINTS = {point.value: point.value for point in Point}
"""The names of the points, of which the journal of a simulated cluster has no second copy either."""


class Home(Protocol):
    """Where an HSM process lives; see `Rack`."""

    def link(self, mirror: "HsmMirror") -> Link:
        """Return the hold on an HSM's process, which has not been started."""

    def start(self, mirror: "HsmMirror") -> None:
        """Start an HSM's process."""

    def folder(self, hsm: str) -> Any:
        """Return the folder of an HSM's disk."""

    def up(self, mirror: "HsmMirror") -> None:
        """An HSM's process listens."""

    def asked(self, mirror: "HsmMirror", question: control.Asking) -> None:
        """A request waits at an armed point of an HSM."""

    def said(self, mirror: "HsmMirror", line: str) -> None:
        """An HSM has a line for its log."""

    def failed(self, mirror: "HsmMirror", failed: control.Failed) -> None:
        """A request was given up by mistake."""

    def broke(self, mirror: "HsmMirror", trace: str) -> None:
        """An HSM process ended by a mistake of this package."""

    def ended(self, mirror: "HsmMirror") -> None:
        """An HSM process ended, and nobody here ended it."""


class MirrorStore(KeyStore):
    """The keys of an HSM process, as they were told.  To change them is to order it."""

    __slots__ = ("_batch", "link")

    link: Link

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._batch: control.Insert | None = None

    def insert(self, key: StoredKey, cause: Cause, op: int = 0, source: str | None = None) -> None:
        """Have the HSM process take a key in.

        Raises:
            ClusterError: it refuses it.
        """
        if self._batch is not None:
            self._batch = control.Insert(0, str(cause), source, [*self._batch.keys, record_of(key)], [])
        else:
            self.link.ask(lambda number: control.Insert(number, str(cause), source, [record_of(key)], []))

    def remove(self, handle: int, cause: Cause, op: int = 0) -> None:
        """Have the HSM process forget a key; what was lost with its process is only written down."""
        if self.link.frozen:
            self.link.post(lambda number: control.Remove(number, str(cause), handle))
        elif self.link.running:
            self.link.ask(lambda number: control.Remove(number, str(cause), handle))
        else:
            super().remove(handle, cause, op)

    def tombstone(self, handle: int, cause: Cause, op: int = 0) -> None:
        """Mark a key of a batch for deletion."""
        assert self._batch is not None, "the service marks keys only where it fills an HSM"
        batch = self._batch
        self._batch = control.Insert(0, batch.cause, batch.source, batch.keys, [*batch.tombstones, handle])

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have the keys that come within the block taken in together."""
        self._batch = control.Insert(0, str(Cause.RESTORE), None, [], [])
        try:
            yield
            batch = self._batch
        finally:
            self._batch = None
        if batch.keys:
            self.link.ask(
                lambda number: control.Insert(number, batch.cause, batch.source, batch.keys, batch.tombstones)
            )


class HsmMirror(Hsm):
    """One HSM of a cluster whose HSMs are processes.

    Attributes:
        link: the hold on its process.
        disk_full: whether its disk has no room.
        audited: whether its cluster has ended: what it still does is no matter any more.
    """

    def __init__(self, id: str, zone: str, ip: str, world: World, accounts: Accounts, home: Home) -> None:
        super().__init__(id, zone, ip, world, accounts)
        self.disk_full = False
        self.audited = False
        self._home = home
        self._told = 0
        self._users_kept = False
        self._armed: tuple[str, ...] = ()
        old = self.store
        self.store: MirrorStore = MirrorStore(id, old.capacity, world.journal, world.scheduler, world.touch)
        self.link = self.store.link = home.link(self)
        self.link.on_end = lambda: home.ended(self)

    # -- for tests ---------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The number of its process; None while there is none."""
        if not self.link.foreign:
            self._catch_up()
        return self.link.pid

    @property
    def keys(self) -> dict[int, StoredKey]:
        """The ground truth: handle number → key with `.label`, `.owner`, `.token`; tombstoned ones left out."""
        self._catch_up()
        return super().keys

    @property
    def tombstones(self) -> dict[int, StoredKey]:
        """Keys marked for later deletion: handle number → key."""
        self._catch_up()
        return super().tombstones

    def audit(self) -> tuple[str, str, tuple[tuple[str, int, bool, bool], ...]]:
        """Return what it really holds: as its process says, or its disk when it is off."""
        held: Sequence[tuple[int, bool, bool]] = ()
        if self.link.running:
            self.link.thaw()
            try:
                held = self.link.ask(lambda number: control.Audit(number)).handles or ()
            except HsmUnavailable:  # somebody has killed it, and that is noticed now
                if self.link.running:
                    raise
        if not self.link.running and self.state is HsmState.DOWN:
            with DeadDisk(self._home.folder(self.id)) as disk:
                held = [(handle, True, tombstoned) for handle, _, tombstoned in disk.rows()]
        names = self.register.names
        return self.id, str(self.state), tuple((names[handle], handle, token, dead) for handle, token, dead in held)

    # -- power ---------------------------------------------------------------------

    def boot(self) -> None:
        """Start its process, unless it runs."""
        if not self.link.running:
            try:
                self._home.start(self)
            except BaseException:
                self._home.ended(self)  # before it began
                raise
            if not self._users_kept:
                self.users_written()
            self.limits_set()
            self._home.up(self)

    def halt(self) -> None:
        """Kill its process; what that had committed and not told yet is read from its disk."""
        if self.link.running:
            self.link.kill()
            self.read_disk()

    def read_disk(self) -> None:
        """Learn the last thing that a dead process committed, if it did not live to tell it."""
        with DeadDisk(self._home.folder(self.id)) as disk:
            wrong = disk.check()
            assert wrong == "ok", f"the disk of {self.id} is broken: {wrong}"
            number, report = disk.told
        if number > self._told and report:
            self.hear(control.decode_telling(self.masking_key.unseal(report)))

    def freeze(self) -> None:
        """Stop its process."""
        self.link.freeze()

    def thaw(self) -> None:
        """Let its process go on, and return when it has carried out what it was ordered meanwhile."""
        self.link.thaw()
        self.limits_set()  # one order comes after the other

    def cut_off(self) -> None:
        """Nothing: whoever was connected learns it from the connection."""

    # -- orders ----------------------------------------------------------------------

    def users_written(self) -> None:
        """Have its process keep the users that `accounts` has now."""
        if self.link.running:
            users = [control.User(u.name, str(u.type), u.number, u.digest) for u in self.accounts.users.values()]
            failures = dict(self.accounts.failures)
            self.order(lambda number: control.Users(number, users, failures))
            self._users_kept = self.link.running

    def fill_disk(self) -> None:
        """Have no room on its disk for a further page, also after restarts."""
        self.disk_full = True
        self.limits_set()

    def clear_disk(self) -> None:
        """Have room on its disk again."""
        self.disk_full = False
        self.limits_set()

    def limits_set(self) -> None:
        """Have its process keep to the limits that a hardship has set."""
        self.order(
            lambda number: control.Limits(
                number, self.throttled, self.store.capacity, self.session_limit, self.disk_full
            )
        )

    def together(self) -> Any:
        """Take in the keys that come within the block, all of them or none."""
        return self.store.together()

    def arm(self, points: tuple[str, ...]) -> None:
        """Have requests wait for their fate at these points, and at no others, from now on."""
        if points != self._armed:
            self._armed = points
            self.order(lambda number: control.Arm(number, points))

    def close_session(self, client: int, cause: Cause, op: int = 0) -> None:
        """End a client's session."""
        with suppress(ClusterError):
            self.order(lambda number: control.Close(number, client, str(cause)))

    def end_all_sessions(self, cause: Cause) -> None:
        """Write down that every session ended with its process."""
        assert not self.link.running, "sessions end with their process"
        super().end_all_sessions(cause)

    def set_attribute(self, key: StoredKey, name: str, value: Any, op: int) -> None:
        """Change an attribute of a key, as an officer does."""
        self.link.ask(lambda number: control.Change(number, key.handle, CKA[name.upper()], value))

    def order(self, make: Any) -> None:
        """Give an order that is given again at each start; one that stands still carries it out when it goes on."""
        if self.link.frozen:
            self.link.post(make)
        elif self.link.running:
            try:
                self.link.ask(make)
            except HsmUnavailable:
                if self.link.running:
                    raise

    def _catch_up(self) -> None:
        self.link.check_process()
        with self.scheduler.alone:
            self.link.hear()

    # -- facts -------------------------------------------------------------------------

    def hear(self, message: Any) -> None:
        """Take in what the process tells by itself."""
        if self.audited and isinstance(message, control.Report | control.Asking):
            return
        if isinstance(message, control.Report):
            self._told = max(self._told, message.number)
            for fact in message.facts:
                _TAKE[type(fact)](self, fact)
        elif isinstance(message, control.Asking):
            self._home.asked(self, message)
        elif isinstance(message, control.Said):
            self._home.said(self, message.line)
        elif isinstance(message, control.Failed):
            self._home.failed(self, message)
        else:
            self._home.broke(self, message.trace)

    def _reached(self, fact: control.Reached) -> None:
        append, now_ns, id = self.journal.append, self.scheduler.now_ns, self.id
        op, name, command, client, user, key = fact.op, fact.op_name, fact.command, fact.client, fact.user, fact.key
        for point in fact.points:
            append((_REACH, now_ns, op, _POINTS[point], name, command, id, client, user, key))

    def _held_fact(self, fact: control.Held) -> None:
        register, key, cause = self.register, key_of(fact.key), Cause(fact.cause)
        handle, mat = key.handle, register.named(fact.fingerprint)
        if handle not in register.names:
            assert cause in BIRTHS, f"key {handle} was born nowhere"
            register.enter(mat, handle)
            register.attributes[handle] = key.attributes
        # A masked object does not say how its key was born; what was ordered from here does.
        changed = register.changed(handle, key.attributes) if cause is Cause.CLONE else key.changed
        key = replace(key, name=register.names[handle], mat=mat, changed=changed)
        self.store.take_in(key, cause, fact.op, fact.source)  # there it is: no limit of this mirror can refuse it

    def _gone(self, fact: control.Gone) -> None:
        cause = Cause(fact.cause)
        KeyStore.remove(self.store, fact.handle, cause, fact.op)
        if cause is Cause.DELETE:
            self._deleted[fact.handle] = None

    def _tombstoned(self, fact: control.Tombstoned) -> None:
        KeyStore.tombstone(self.store, fact.handle, Cause(fact.cause), fact.op)

    def _changed(self, fact: control.Changed) -> None:
        key = self.store.keys[fact.handle]
        changed = key.with_attribute(CKA[fact.name.upper()], fact.value, by_officer=True)
        super().set_attribute(changed, fact.name, fact.value, fact.op)

    def _shared(self, fact: control.Shared) -> None:
        key = self.store.keys[fact.handle]
        others = tuple(user for user in key.shares if user != fact.user)
        shares = (*others, fact.user) if fact.shared else others
        self.set_share(replace(key, shares=shares), fact.user, fact.shared, fact.op)

    def _locked(self, fact: control.Locked) -> None:
        self.journal.append((Kind.USER, self.scheduler.now_ns, fact.op, self.id, fact.user, fact.type, "locked"))

    def _failed(self, fact: control.Failures) -> None:
        self.accounts.failures = dict(fact.counts)

    def _opened(self, fact: control.Opened) -> None:
        self._sessions[fact.client] = Session(fact.session, fact.user)

    def _closed(self, fact: control.Closed) -> None:
        self._sessions.pop(fact.client, None)

    def _logged(self, fact: control.Logged) -> None:
        self.logged(astuple(fact))


_TAKE: dict[type, Any] = {
    control.Reached: HsmMirror._reached,
    control.Held: HsmMirror._held_fact,
    control.Gone: HsmMirror._gone,
    control.Tombstoned: HsmMirror._tombstoned,
    control.Changed: HsmMirror._changed,
    control.Shared: HsmMirror._shared,
    control.Locked: HsmMirror._locked,
    control.Failures: HsmMirror._failed,
    control.Opened: HsmMirror._opened,
    control.Closed: HsmMirror._closed,
    control.Logged: HsmMirror._logged,
}
