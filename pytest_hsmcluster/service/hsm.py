"""What is one HSM, and how does it serve one request?"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..errors import ClusterError, HsmBusy, KeyCapacityReached, LoginFailed, NotLoggedIn, SessionLimitReached
from ..faults.points import Point
from ..history.events import Cause, Kind
from ..keys.attributes import Attributes
from ..keys.material import Material
from ..sim.flow import Flow, Signal
from .accounts import Accounts, UserType
from .audit import RESPONSES, AuditEntry, AuditRecord, Opcode, entries
from .calls import Call
from .commands import denied, not_here
from .keystore import KeyStore, StoredKey, disk_full
from .world import World


class HsmState(StrEnum):
    """How an HSM is.  A throttled or partitioned one is up."""

    UP = "up"
    DOWN = "down"
    PAUSED = "paused"
    LOST = "lost"
    JOINING = "joining"


@dataclass(frozen=True, slots=True)
class Session:
    """One client's login on one HSM."""

    number: int
    user: str


class Hsm:
    """One HSM of a cluster.

    Attributes:
        id: `hsm-1`, …; a replacement gets a new one.
        zone: availability zone.
        state: how it is; see `HsmState`.
        boots: how often it was started again.
        ip: address of its network interface; a replacement gets a new one.
        session_limit: sessions that it opens at most.
    """

    def __init__(self, id: str, zone: str, ip: str, world: World, accounts: Accounts) -> None:
        self.id = id
        self.zone = zone
        self.ip = ip
        self.state = HsmState.UP
        self.boots = 0
        self.throttled = False
        self.accounts = accounts
        self.profile = world.profile
        self.session_limit = world.profile.sessions_per_hsm
        self.source = world.source
        self.register = world.register
        self.masking_key = world.masking_key
        self.scheduler = world.scheduler
        self.journal = world.journal
        self.store = KeyStore(id, world.profile.key_capacity, world.journal, world.scheduler, world.touch)
        self.inflight: dict[Call, None] = {}
        self._working = 0
        self.resumed = Signal(f"{id} resumed")
        self._reach = world.faults.reach
        self._trouble = world.trouble
        self._deleted = world.deleted
        self._sessions: dict[int, Session] = {}
        self._audit: list[AuditRecord] = []
        self._next_session = 1

    def __repr__(self) -> str:
        return f"<Hsm {self.id} {self.state} zone={self.zone} keys={len(self.store.keys)}>"

    # -- for tests ---------------------------------------------------------------

    @property
    def keys(self) -> dict[int, StoredKey]:
        """The ground truth: handle number → key with `.label`, `.owner`, `.token`; tombstoned ones left out.

        An HSM that is off keeps its token keys, a lost one has none.
        """
        return dict(self.store.keys)

    @property
    def tombstones(self) -> dict[int, StoredKey]:
        """Keys marked for later deletion: handle number → key."""
        return dict(self.store.tombstones)

    @property
    def users(self) -> list[str]:
        """Names of the users that exist on this HSM, in the order in which they were made."""
        return list(self.accounts.users)

    @property
    def audit_log(self) -> list[AuditEntry]:
        """The audit log of this HSM; what the service does by itself is not in it."""
        return entries(self._audit)

    @property
    def pid(self) -> int | None:
        """The number of its process, with `network="processes"`; None while there is none."""
        return None

    @property
    def session_count(self) -> int:
        """How many clients have a session on it."""
        return len(self._sessions)

    @property
    def paused(self) -> bool:
        """Whether it is up and silent."""
        return self.state is HsmState.PAUSED

    @property
    def alive(self) -> bool:
        """Whether it answers, or would if it were not paused."""
        return self.state in (HsmState.UP, HsmState.PAUSED)

    # -- serving ------------------------------------------------------------------

    def serve(self, call: Call) -> Flow[Any]:
        """Take one request through the rungs of an HSM and return the answer.

        Raises:
            ClusterError: the answer is a refusal.
            ConnectionReset, MessageLost: this HSM lost power meanwhile.
        """
        request = call.request
        assert request is not None, "a call of an HSM carries a request"
        reach = self._reach
        if (struck := reach(Point.HSM_RECEIVE, call)) is not None:
            yield from self._trouble.strike(struck, call)
        while self.paused:
            yield self.resumed
        self._working += 1
        try:
            if self.throttled or self._working > self.profile.queue_limit:
                raise self._busy()
            if (struck := reach(Point.HSM_AUTHORIZE, call)) is not None:
                yield from self._trouble.strike(struck, call)
            request.admit(self, call)
            if (struck := reach(Point.HSM_EXECUTE, call)) is not None:
                yield from self._trouble.strike(struck, call)
            duration_ns = request.duration_ns(self)
            if not self.scheduler.ahead(duration_ns, call.deadline_ns):
                yield duration_ns
            while self.paused:
                yield self.resumed
            worked = request.work(self, call)
            if (struck := reach(Point.HSM_COMMIT, call)) is not None:
                yield from self._trouble.strike(struck, call)
            answer = self.settle(call, worked)
        except ClusterError as refused:
            code = refused.hsm_code or int(refused.ckr)
            self._log(call, code, RESPONSES.get(code, f"HSM Error: {type(refused).__name__}"))
            raise
        finally:
            self._working -= 1
        self._log(call, 0, RESPONSES[0])
        if (struck := reach(Point.HSM_REPLY, call)) is not None:
            yield from self._trouble.strike(struck, call, done=request.changes)
        while self.paused:
            yield self.resumed
        return answer

    def settle(self, call: Call, worked: Any) -> Any:
        """Do the part of a request that changes this HSM, and return the answer."""
        assert call.request is not None, "a call of an HSM carries a request"
        return call.request.settle(self, call, worked)

    def _busy(self) -> HsmBusy:
        return HsmBusy(
            "HSM Error: HSM is already busy generating the keys(or random bytes) for another request "
            f"(0xBB, {self.id}); back off and retry",
            hsm=self.id,
        )

    def _log(self, call: Call, response: int, text: str) -> None:
        request = call.request
        if request is not None and request.opcode is not None:
            self.log(request.opcode, call.session, response, text, call.user, tuple(request.handles()))

    def log(
        self,
        opcode: Opcode,
        session: int = 0,
        response: int = 0,
        text: str = RESPONSES[0],
        user: str | None = None,
        handles: tuple[int, ...] = (),
    ) -> None:
        """Add an entry to the audit log."""
        self.logged((self.scheduler.now_ns, self.boots, opcode._name_, session, response, text, user, handles))

    def logged(self, record: AuditRecord) -> None:
        """Keep an entry of the audit log."""
        self._audit.append(record)

    # -- power --------------------------------------------------------------------------
    # An HSM in the test process has no power of its own; one that is a process has (`processes.mirror`).

    def boot(self) -> None:
        """Get power."""

    def halt(self) -> None:
        """Lose power at once."""

    def freeze(self) -> None:
        """Stand still."""

    def thaw(self) -> None:
        """Go on."""

    def cut_off(self) -> None:
        """Let everybody learn whom this HSM serves that it has lost power; see `Trouble.interrupt`."""
        self._trouble.interrupt(self)

    def users_written(self) -> None:
        """Keep the users that `accounts` has now."""

    def fill_disk(self) -> None:
        """Have no room on the disk for a further token key, also after deletes and restarts."""
        self.store.disk_full = True

    def clear_disk(self) -> None:
        """Have room on the disk again."""
        self.store.disk_full = False

    def limits_set(self) -> None:
        """Keep to the limits that a hardship has set."""

    def together(self) -> AbstractContextManager[object]:
        """Take in the keys that come within the block, all of them or none."""
        return nullcontext()

    # -- what commands need ----------------------------------------------------------

    def login_of(self, call: Call) -> Session:
        """Return the client's login here.

        Raises:
            NotLoggedIn: there is none, or it ended with a restart.
        """
        session = self._sessions.get(call.session)
        if session is None:
            raise NotLoggedIn(f"{call.client!r} has no login on {self.id}; log in (again)", hsm=self.id)
        return session

    def key_for(self, call: Call, handle: int) -> StoredKey:
        """Return a key that the client's user may use.

        Raises:
            NotLoggedIn, KeyNotOnHsm, KeyAccessDenied.
        """
        session = self.login_of(call)
        key = self._seen(session, handle, call)
        if not key.usable_by(session.user):
            raise denied(self, key, session.user, "may not use")
        return key

    def own_key(self, call: Call, handle: int) -> StoredKey:
        """Return a key that the client's user owns.

        Raises:
            NotLoggedIn, KeyNotOnHsm, KeyAccessDenied.
        """
        session = self.login_of(call)
        key = self._seen(session, handle, call)
        if key.owner != session.user:
            raise denied(self, key, session.user, "does not own")
        return key

    def _seen(self, session: Session, handle: int, call: Call) -> StoredKey:
        """Return a key that exists for a session; session keys of others do not."""
        key = self.store.keys.get(handle)
        if key is None or not key.visible_in(session.number):
            raise not_here(self, handle, call)
        return key

    def make_room(self, count: int, token: bool) -> None:
        """Refuse to make more keys than there is room for, of token keys also on the disk.

        Raises:
            KeyCapacityReached: no room.
        """
        if len(self.store) + count > self.store.capacity:
            raise KeyCapacityReached(
                f"{self.id} holds {len(self.store)} keys and has no room for {count} more "
                f"(capacity {self.store.capacity}, session keys included); delete keys or wrap rarely used ones out",
                hsm=self.id,
            )
        if token and self.store.disk_full:
            raise disk_full(self.id)

    def bear(
        self, material: Material, attributes: Attributes, call: Call, session: int | None, cause: Cause, mat: str
    ) -> StoredKey:
        """Take in a key that has not been there before and return it."""
        handle, name = self.register.birth(mat)
        self.register.attributes[handle] = attributes
        key = StoredKey(handle, name, mat, material, attributes, self.login_of(call).user, (), session)
        self.store.insert(key, cause, call.op)
        return key

    def remove_key(self, handle: int, cause: Cause, op: int) -> None:
        """Forget a key; a delete that was asked for is remembered beyond this HSM."""
        self.store.remove(handle, cause, op)
        if cause is Cause.DELETE:
            self._deleted[handle] = None

    def set_attribute(self, key: StoredKey, name: str, value: Any, op: int) -> None:
        """Put a changed key in the place of the old one and write down what changed."""
        if self.store.disk_full and key.token and not self.store.keys[key.handle].token:
            raise disk_full(self.id)
        self.store.replace(key)
        self.journal.append((Kind.ATTRIBUTE, self.scheduler.now_ns, op, self.id, key.name, name, value))

    def set_share(self, key: StoredKey, user: str, shared: bool, op: int) -> None:
        """Put a key with changed shares in the place of the old one and write down what changed."""
        self.store.replace(key)
        self.journal.append((Kind.SHARE, self.scheduler.now_ns, op, self.id, key.name, user, shared))

    def authenticate(self, user: str, password: str, op: int) -> None:
        """Check a password, and count a bad one.

        Raises:
            LoginFailed, AccountLocked: see `Accounts.authenticate`; LoginFailed (0xdb) also when the user is
                no crypto user: officers and the service's own user have no keys (User Guide, "HSM users").
        """
        limit = self.profile.lockout_after
        locked = self.accounts.locked(user.lower(), limit)
        try:
            known = self.accounts.authenticate(user, password, limit, self.id)
        except ClusterError:
            if not locked and self.accounts.locked(user.lower(), limit):
                kind = str(self.accounts.users[user.lower()].type)
                self.journal.append((Kind.USER, self.scheduler.now_ns, op, self.id, user.lower(), kind, "locked"))
            raise
        if known.type is not UserType.CU:
            raise LoginFailed(
                f"HSM Error: Invalid User Type.: {user!r} is a {known.type} on {self.id}; "
                "only a crypto user (CU) has keys",
                hsm=self.id,
                hsm_code=0xDB,
            )

    def open_session(self, client: int, user: str) -> None:
        """Log a client in; one that was logged in before has lost that session, and its session keys with it.

        Raises:
            SessionLimitReached: no more sessions.
        """
        if client not in self._sessions and len(self._sessions) >= self.session_limit:
            raise SessionLimitReached(
                f"HSM Error: Already maximum number of sessions are issued: {self.id} has {len(self._sessions)}",
                hsm=self.id,
            )
        self.close_session(client, Cause.SESSION_END)
        self._sessions[client] = Session(self._next_session, user)
        self._next_session += 1

    def close_session(self, client: int, cause: Cause, op: int = 0) -> None:
        """End a client's session, if it has one, and the session keys in it."""
        session = self._sessions.pop(client, None)
        if session is not None:
            self.store.end_session_keys(session.number, cause, op)

    def end_all_sessions(self, cause: Cause) -> None:
        """End every session and every session key."""
        self._sessions.clear()
        self.store.end_session_keys(None, cause)

    def logged_in(self, user: str) -> bool:
        """Whether some client is logged in as this user here."""
        return any(session.user == user for session in self._sessions.values())

    def audit(self) -> tuple[str, str, tuple[tuple[str, int, bool, bool], ...]]:
        """Return what it really holds, in the shape of an `audit` event."""
        return self.id, str(self.state), tuple(self._held())

    def _held(self) -> Iterator[tuple[str, int, bool, bool]]:
        held = [(key, False) for key in self.store.keys.values()] + [
            (key, True) for key in self.store.tombstones.values()
        ]
        for key, tombstoned in sorted(held, key=lambda pair: pair[0].handle):
            yield key.name, key.handle, key.token, tombstoned
