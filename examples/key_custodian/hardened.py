"""How is the nightly job written by somebody who has lost a key before?

Five rules, and nothing else:

1. Write down what is about to be made before it is made; its label is new and names this one attempt at a key.
2. A key counts once its create said ok *and* it was used, without a miss, as often in a row as it takes to ask
   every HSM.  Until then nobody is given it, so whatever else stands under its label may go.
3. Look before every create, and wait between tries for as long as the service may need to catch up.
4. What is to be deleted is condemned first and for ever: a sweep, a backup or an HSM that was off may bring it back.
5. Say again every night what no one else will: who may use which key, and which keys nobody knows.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from pytest_hsmcluster import Client, KeyHandle, KeyNotOnHsm

from .inventory import Inventory, KeyPlan
from .keys import create, use
from .ledger import Entry, Ledger
from .patience import Patience
from .report import Report

DAY_S = 86_400


class Custodian:
    """The nightly job.

    Args:
        inventory: which keys there should be.
        ledger: what has been made, and what was about to be.
        connect: begins a session with the cluster.
        now: seconds since some day 0.
        sleep: lets seconds pass.
        hsms: how many HSMs the cluster has when it is whole.
    """

    def __init__(
        self,
        inventory: Inventory,
        ledger: Ledger,
        *,
        connect: Callable[[], Client],
        now: Callable[[], float],
        sleep: Callable[[float], None],
        hsms: int = 3,
    ) -> None:
        self._inventory = inventory
        self._ledger = ledger
        self._connect = connect
        self._now = now
        self._patience = Patience(sleep)
        self._hsms = hsms

    def run(self) -> Report:
        """Do one night's work and say what was done, and what was not managed and is left to the next night."""
        report = Report(int(self._now() // DAY_S))
        with report.attempt("log in"), closing(self._patience.retry(self._connect)) as client:
            _Night(client, report, self._inventory, self._ledger, self._patience, self._hsms).work()
        return report


@dataclass(frozen=True, slots=True)
class _Night:
    """One run of the job, with one session."""

    client: Client
    report: Report
    inventory: Inventory
    ledger: Ledger
    patience: Patience
    hsms: int

    def work(self) -> None:
        """Do all that is to be done; a step that fails is noted and does not keep the others from being tried."""
        ours = None
        with self.report.attempt("take stock"):
            ours = self.stock()
        if ours is None:
            return
        if ours and self.ledger.is_empty:
            self.report.add("failed", "start", f"the ledger is empty but {len(ours)} keys are there: bring it back")
            return
        for plan in self.inventory.keys:
            self.keep(plan)
        for entry in self.ledger.entries("retired"):
            if self.report.day - entry.since >= self.inventory.grace_days:
                self.ledger.condemn(entry.handles, self.report.day)
        self.reap()

    def stock(self) -> list[KeyHandle]:
        """Return all keys that carry our prefix."""
        return [key for key in self.patience.retry(self.client.find_keys) if self.inventory.is_ours(key.label)]

    # -- keys that should be there -------------------------------------------------------------

    def keep(self, plan: KeyPlan) -> None:
        """See to it that a service has a key that is young enough, and that its users may use what it has."""
        active = self.ledger.of(plan, "active")
        due = active is None or self.report.day - active.since >= plan.rotate_after_days
        for entry in self.ledger.entries("active", "retired"):
            if entry.plan == plan.id:
                with self.report.attempt(f"look after {entry.label}"):
                    due |= not self._looked_after(plan, entry)
        intended = self.ledger.of(plan, "intended")
        if intended is None and due:
            intended = self.ledger.intend(plan, self.report.day)
        if intended is not None:
            with self.report.attempt(f"make {intended.label}"):
                self._make(plan, intended)
                self.report.add("rotated" if active else "created", intended.label)

    def _looked_after(self, plan: KeyPlan, entry: Entry) -> bool:
        """Repair the sharing of a key and say whether the key is there, or need not be."""
        found = {key.number: key for key in self.patience.retry(lambda: self.client.find_keys(label=entry.label))}
        self._share(plan, entry, [found[handle] for handle in entry.handles if handle in found])
        there = all(handle in found for handle in entry.handles)
        if not there:
            self.report.add("missing", entry.label, "no HSM that was asked has it")
        return there or entry.state == "retired"

    def _make(self, plan: KeyPlan, entry: Entry) -> None:
        keys = self.patience.retry(lambda: self._create_alone(plan, entry.label))
        self.patience.retry(lambda: self._use_everywhere(keys))
        self._share(plan, entry, keys)
        self.ledger.activate(entry, [key.number for key in keys], self.report.day)

    def _create_alone(self, plan: KeyPlan, label: str) -> list[KeyHandle]:
        """Create a key after clearing away what an earlier try may have left under its label."""
        for leftover in self.client.find_keys(label=label):
            self._delete(leftover)
        return create(self.client, plan, label)

    def _use_everywhere(self, keys: Sequence[KeyHandle]) -> None:
        """Use a key so often in a row that every HSM has had its turn."""
        for _ in range(self.hsms):
            use(self.client, keys)

    def _share(self, plan: KeyPlan, entry: Entry, keys: Sequence[KeyHandle]) -> None:
        """Let exactly the listed users use a key; said every night, because nothing else repairs what an HSM missed."""
        dropped = [user for user in entry.shared_with if user not in plan.share_with]
        self.ledger.share(entry, (*plan.share_with, *dropped))
        for key in keys:
            if key.cls != "public":  # everybody may use a public key
                for user in plan.share_with:
                    self._say(f"share {entry.label} with {user}", self.client.share_key, key, user)
                for user in dropped:
                    self._say(f"take {entry.label} back from {user}", self.client.unshare_key, key, user)

    def _say(self, what: str, call: Callable[..., None], key: KeyHandle, user: str) -> None:
        with self.report.attempt(what):
            self.patience.retry(lambda: call(key, with_user=user))

    # -- keys that should not --------------------------------------------------------------------

    def reap(self) -> None:
        """Delete what is condemned, wherever it comes from, and what nobody has known for long enough."""
        with self.report.attempt("take stock"):
            ours = self.stock()
            self._report_duplicates(ours)
            unknown = [key for key in ours if not self._is_known(key)]
            first_seen = self.ledger.suspect([key.number for key in unknown], self.report.day)
            for key in unknown:
                with self.report.attempt(f"delete {key.label}"):
                    self._reap(key, self.report.day - first_seen[key.number])

    def _reap(self, key: KeyHandle, days: int) -> None:
        condemned = self.ledger.condemned.get(key.number)
        if condemned is None and days < self.inventory.quarantine_days:
            self.report.add("suspected", key.label, f"handle {key.number} is not in the ledger")
            return
        self._delete(key)
        if condemned is None:
            self.report.add("reaped", key.label, f"handle {key.number} is not in the ledger")
        elif condemned < self.report.day:
            self.report.add("returned", key.label, f"handle {key.number}, condemned on night {condemned}")
        else:
            self.report.add("deleted", key.label, f"handle {key.number}")

    def _is_known(self, key: KeyHandle) -> bool:
        in_use = self.ledger.entries("active", "retired")
        being_made = [entry.label for entry in self.ledger.entries("intended")]
        return key.label in being_made or any(key.number in entry.handles for entry in in_use)

    def _report_duplicates(self, keys: Sequence[KeyHandle]) -> None:
        for (label, cls), count in Counter((key.label, key.cls) for key in keys).items():
            if count > 1:
                self.report.add("duplicate", label, f"{count} {cls} keys")

    def _delete(self, key: KeyHandle) -> None:
        self.ledger.condemn([key.number], self.report.day)

        def until_gone() -> None:
            try:
                self.client.delete_key(key)
            except KeyNotOnHsm:
                return

        self.patience.retry(until_gone)
