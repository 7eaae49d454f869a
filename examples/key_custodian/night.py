"""What is done in a night?  The rules are those of `hardened.py`; it knows no HSM client, only what it asks of one."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .inventory import Inventory, KeyPlan
from .ledger import Entry, Ledger
from .notes import Notes
from .patience import Patience

Key = Any
"""A key as the client names it: with a `number` that no other key has, a `label`, and a `cls`."""


class Hsm(Protocol):
    """What the job asks of an HSM client."""

    def find_keys(self, label: str | None = None) -> Sequence[Key]:
        """Return the keys with this label, or all."""

    def create(self, plan: KeyPlan, label: str) -> list[Key]:
        """Create the key of a plan and return it, or both halves of a pair, the private one first."""

    def use(self, keys: Sequence[Key]) -> None:
        """Do with a key what its service does with it."""

    def share_key(self, key: Key, *, with_user: str) -> None:
        """Let a user use a key."""

    def unshare_key(self, key: Key, *, with_user: str) -> None:
        """Let him use it no longer."""

    def delete_key(self, key: Key) -> None:
        """Delete a key everywhere."""


@dataclass(frozen=True, slots=True)
class Night:
    """One run of the job, with one session.

    Attributes:
        gone: what the deletion of a key raises that is there no more.
    """

    hsm: Hsm
    report: Notes
    inventory: Inventory
    ledger: Ledger
    patience: Patience
    hsms: int
    gone: tuple[type[Exception], ...]

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

    def stock(self) -> list[Key]:
        """Return all keys that carry our prefix."""
        return [key for key in self.patience.retry(self.hsm.find_keys) if self.inventory.is_ours(key.label)]

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
        found = {key.number: key for key in self.patience.retry(lambda: self.hsm.find_keys(label=entry.label))}
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

    def _create_alone(self, plan: KeyPlan, label: str) -> list[Key]:
        """Create a key after clearing away what an earlier try may have left under its label."""
        for leftover in self.hsm.find_keys(label=label):
            self._delete(leftover)
        return self.hsm.create(plan, label)

    def _use_everywhere(self, keys: Sequence[Key]) -> None:
        """Use a key so often in a row that every HSM has had its turn."""
        for _ in range(self.hsms):
            self.hsm.use(keys)

    def _share(self, plan: KeyPlan, entry: Entry, keys: Sequence[Key]) -> None:
        """Let exactly the listed users use a key; said every night, because nothing else repairs what an HSM missed."""
        dropped = [user for user in entry.shared_with if user not in plan.share_with]
        self.ledger.share(entry, (*plan.share_with, *dropped))
        for key in keys:
            if key.cls != "public":  # everybody may use a public key
                for user in plan.share_with:
                    self._say(f"share {entry.label} with {user}", self.hsm.share_key, key, user)
                for user in dropped:
                    self._say(f"take {entry.label} back from {user}", self.hsm.unshare_key, key, user)

    def _say(self, what: str, call: Callable[..., None], key: Key, user: str) -> None:
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

    def _reap(self, key: Key, days: int) -> None:
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

    def _is_known(self, key: Key) -> bool:
        in_use = self.ledger.entries("active", "retired")
        being_made = [entry.label for entry in self.ledger.entries("intended")]
        return key.label in being_made or any(key.number in entry.handles for entry in in_use)

    def _report_duplicates(self, keys: Sequence[Key]) -> None:
        for (label, cls), count in Counter((key.label, key.cls) for key in keys).items():
            if count > 1:
                self.report.add("duplicate", label, f"{count} {cls} keys")

    def _delete(self, key: Key) -> None:
        self.ledger.condemn([key.number], self.report.day)

        def until_gone() -> None:
            try:
                self.hsm.delete_key(key)
            except self.gone:
                return

        self.patience.retry(until_gone)
