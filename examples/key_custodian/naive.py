"""How is the nightly job written by somebody who has one HSM on the desk?

It is not careless: it catches errors, tries a second time, tests each new key.  It passes every
test on a cluster in which nothing goes wrong.
"""

from collections.abc import Callable
from contextlib import closing

from pytest_hsmcluster import Client, ClusterError, KeyHandle

from .inventory import Inventory, KeyPlan
from .keys import create, use
from .ledger import Ledger
from .report import Report

DAY_S = 86_400


class NaiveCustodian:
    """The nightly job without a thought of partial failure.

    Args:
        inventory: which keys there should be.
        ledger: what has been made.
        connect: begins a session with the cluster.
        now: seconds since some day 0.
    """

    def __init__(
        self, inventory: Inventory, ledger: Ledger, *, connect: Callable[[], Client], now: Callable[[], float]
    ) -> None:
        self._inventory = inventory
        self._ledger = ledger
        self._connect = connect
        self._now = now

    def run(self) -> Report:
        """Do one night's work and say what was done."""
        report = Report(int(self._now() // DAY_S))
        with closing(self._connect()) as client:
            for plan in self._inventory.keys:
                with report.attempt(plan.id):
                    self._keep(client, plan, report)
            for entry in self._ledger.entries("retired"):
                if report.day - entry.since >= self._inventory.grace_days:
                    with report.attempt(entry.label):
                        for key in client.find_keys(label=entry.label):
                            client.delete_key(key)
                        self._ledger.condemn(entry.handles, report.day)
                        report.add("deleted", entry.label)
        return report

    def _keep(self, client: Client, plan: KeyPlan, report: Report) -> None:
        active = self._ledger.of(plan, "active")
        if active is not None and report.day - active.since < plan.rotate_after_days:
            return
        label = plan.label(active.generation + 1 if active else 1)
        keys = self._create(client, plan, label)
        entry = self._ledger.intend(plan, report.day)
        self._ledger.activate(entry, [key.number for key in keys], report.day)
        report.add("rotated" if active else "created", label)
        for user in plan.share_with:
            client.share_key(keys[0], with_user=user)
        use(client, keys)

    def _create(self, client: Client, plan: KeyPlan, label: str) -> list[KeyHandle]:
        try:
            return create(client, plan, label)
        except ClusterError:
            return create(client, plan, label)  # a second try has never hurt anybody
