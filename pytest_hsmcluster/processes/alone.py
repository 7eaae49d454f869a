"""What is an HSM that has a process and a disk to itself?

The same HSM as in a simulated cluster, carried out by the same code.  What it shared with others there, it has to
itself: the numbers that it gives to new keys, its time, and a journal that is told to the test process as facts.
There is one set of faults, and it is in the test process: where one may strike, a request waits and asks.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..errors import ClusterError, KeyCapacityReached
from ..history.events import Cause
from ..service.accounts import Account, Accounts, UserType
from ..service.audit import AuditRecord
from ..service.calls import Call
from ..service.commands import masked, unmasked
from ..service.hsm import Hsm
from ..service.keystore import StoredKey, disk_full
from ..service.world import World
from ..sim.scheduler import FOREVER_NS, Scheduler
from .control import Changed, Closed, Fact, Failures, Gone, Held, Logged, Opened, Report, Shared, Tombstoned, encode
from .database import Database, DiskFull
from .reporter import Reporter

Keys = dict[int, StoredKey]
Saved = tuple[list[Fact], Keys, Keys]
"""What there was before a command: facts that are not told yet, keys, and tombstones."""


class RealScheduler(Scheduler):
    """A scheduler of a world in which work takes the time that it takes, and nothing can run ahead."""

    def ahead(self, duration_ns: int, limit_ns: int = FOREVER_NS) -> bool:
        """Go on at once only where there is nothing to wait for."""
        return duration_ns == 0


class HsmAlone(Hsm):
    """An HSM with a disk: what a command changes is on it before the command is answered.

    Args:
        database: its disk.
        reporter: tells what happens.
        world: of this HSM alone.
    """

    def __init__(
        self, id: str, zone: str, ip: str, world: World, accounts: Accounts, database: Database, reporter: Reporter
    ) -> None:
        self._reporter = reporter
        self._database = database
        self._limited = False
        super().__init__(id, zone, ip, world, accounts)
        reporter.hsm = self
        self._number, _ = database.told
        self._tried = dict(accounts.failures)
        self._on_disk: set[int] = set()

    # -- the disk ------------------------------------------------------------------------

    def load(self) -> None:
        """Read everything from the disk."""
        store = self.store
        for handle, blob, tombstoned in self._database.rows():
            (store.tombstones if tombstoned else store.keys)[handle] = unmasked(self, blob)
            self._on_disk.add(handle)
        users, failures = self._database.users()
        self.accounts = Accounts(
            {name: Account(name, UserType(kind), number, digest) for name, kind, number, digest in users}, failures
        )
        self._tried = dict(failures)

    def settle(self, call: Call, worked: Any) -> Any:
        """Do what changes the HSM, then write and tell it.

        Raises:
            KeyCapacityReached: the disk is full; nothing has changed.
        """
        assert call.request is not None, "a call of an HSM carries a request"
        if not call.request.changes:
            return super().settle(call, worked)
        saved = self._begin()
        try:
            answer = super().settle(call, worked)
        except ClusterError:
            self._reporter.facts = saved[0] + self._reporter.facts
            raise
        except Exception:
            self._take_back(saved)  # a mistake in the middle of a change: nobody was told of it
            raise
        try:
            self.commit(saved)
        except Exception:
            call.request.taken_back()
            raise
        return answer

    def order(self, change: Callable[[], None]) -> None:
        """Carry out a change that the service orders; all of it or nothing.

        Raises:
            ClusterError: it is refused.
        """
        saved = self._begin()
        try:
            change()
        except ClusterError:
            self._take_back(saved)
            raise
        self.commit(saved)

    def commit(self, saved: Saved) -> None:
        """Write what has changed, and tell it.

        Raises:
            KeyCapacityReached: the disk is full; nothing has changed.
        """
        before, facts = saved[0], self._reporter.facts
        touched = {handle: None for fact in facts if (handle := _touched(fact)) is not None}
        keys = [
            (handle, masked(self, key), handle in self.store.tombstones)
            for handle in touched
            if (key := self.store.keys.get(handle) or self.store.tombstones.get(handle)) is not None and key.token
        ]
        kept = [handle for handle, _, _ in keys]
        gone = [handle for handle in touched if handle in self._on_disk and handle not in kept]
        if not keys and not gone:
            self._reporter.facts = before + facts
            return
        durable = {*kept, *gone, None}  # session keys end with the process: no disk sees them
        lasting = [fact for fact in facts if _touched(fact) in durable]
        try:
            self._database.write(self._number + 1, self._sealed(self._number + 1, lasting), keys=keys, gone=gone)
        except Exception as error:
            self._take_back(saved)  # whatever is wrong with the disk: nobody is told what is not on it
            if isinstance(error, DiskFull):
                raise self._full() from None
            raise
        self._number += 1
        self._on_disk.update(kept)
        self._on_disk.difference_update(gone)
        self._reporter.tell(self._number, facts, before)

    def set_users(self, accounts: Accounts) -> None:
        """Have these users from now on.

        Raises:
            KeyCapacityReached: the disk is full; nothing has changed.
        """
        rows = [(user.name, str(user.type), user.number, user.digest) for user in accounts.users.values()]
        failures = dict(accounts.failures)
        try:
            self._database.write(self._number, self._sealed(self._number, []), users=rows, failures=failures)
        except DiskFull:
            raise self._full() from None
        self.accounts, self._tried = accounts, failures

    def limit_disk(self, full: bool) -> None:
        """Let the disk be full, or no longer."""
        self._limited = full
        self._database.limit(full)

    def _sealed(self, number: int, facts: list[Fact]) -> bytes:
        """Return a report as it lies on the disk: keys that came are in it."""
        return self.masking_key.seal(encode(Report(number, facts)))

    def _begin(self) -> Saved:
        """Return what there is, for `_take_back`, and let facts of one command gather."""
        facts, self._reporter.facts = self._reporter.facts, []
        return facts, self.store.keys.copy(), self.store.tombstones.copy()

    def _take_back(self, saved: Saved) -> None:
        """Forget what a command did: memory is what the disk is again, and session keys are what they were."""
        self._reporter.facts, self.store.keys, self.store.tombstones = saved

    def _full(self) -> KeyCapacityReached:
        return disk_full(self.id, "" if self._limited else "nobody limits it: the folder of $TMPDIR has no room left")

    # -- what is told besides -----------------------------------------------------------------

    def authenticate(self, user: str, password: str, op: int) -> None:
        """Check a password; how many bad ones were tried is on the disk."""
        try:
            super().authenticate(user, password, op)
        finally:
            if self.accounts.failures != self._tried:
                self._tried = dict(self.accounts.failures)
                facts: list[Fact] = [*self._reporter.facts, Failures(self._tried)]
                with suppress(DiskFull):
                    number = self._number + 1
                    self._database.write(number, self._sealed(number, facts), failures=self._tried)
                    self._number = number  # reports are counted as the disk counts them
                self._reporter.tell(self._number, facts, [])

    def has_session(self, client: int) -> bool:
        """Whether a client is logged in here."""
        return client in self._sessions

    def open_session(self, client: int, user: str) -> None:
        """Log a client in, and tell it."""
        super().open_session(client, user)
        self._reporter.facts.append(Opened(client, self._sessions[client].number, user))

    def close_session(self, client: int, cause: Cause, op: int = 0) -> None:
        """End a client's session, and tell it."""
        there = client in self._sessions
        super().close_session(client, cause, op)
        if there:
            self._reporter.facts.append(Closed(client))

    def logged(self, record: AuditRecord) -> None:
        """Tell an entry of the audit log, which is kept outside, as CloudWatch does."""
        self._reporter.facts.append(Logged(*record))


def _touched(fact: Fact) -> int | None:
    """Return the handle of the key that a fact changed, or None."""
    if isinstance(fact, Held):
        return fact.key.handle
    return fact.handle if isinstance(fact, Gone | Tombstoned | Changed | Shared) else None
