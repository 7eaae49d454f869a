"""Who else works with the cluster: services that use the keys by day, and operators who replace lost HSMs."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pytest_hsmcluster import Client, HsmCluster, HsmState, KeyHandle

from .hardened import DAY_S, PASSING, Custodian
from .inventory import Inventory, KeyPlan
from .ledger import Entry, Ledger
from .naive import NaiveCustodian
from .patience import Patience
from .report import Report

NIGHT_S = DAY_S // 2
TAKINGS = b"the takings of a day"


@dataclass(frozen=True, slots=True)
class Document:
    """Something that a service encrypted, on which day, and with which key."""

    day: int
    entry: Entry
    box: bytes


class Company:
    """A company around one cluster; a night of work for the job, a day of work for the services.

    Args:
        cluster: where the keys are.
        inventory: which keys there should be; its users are created in the cluster.
        ledger: path of the job's file.
        zones: where HSMs belong, one in each.
        day_s: how long a day of the company takes in the cluster: the job counts days, and where nothing happens
            between two nights, ten minutes of them are as good as twenty-four hours.
        open_ledger: how the job's file is opened.

    Attributes:
        reports: of all nights.
    """

    def __init__(
        self,
        cluster: HsmCluster,
        inventory: Inventory,
        ledger: Path,
        zones: tuple[str, ...] = ("a", "b", "c"),
        day_s: float = DAY_S,
        open_ledger: Callable[[Path], Ledger] = Ledger,
    ) -> None:
        self.cluster = cluster
        self.inventory = inventory
        self.ledger_path = ledger
        self.reports: list[Report] = []
        self._zones = zones
        self._day_s = day_s
        self._open_ledger = open_ledger
        self._documents: list[Document] = []
        for user in sorted({user for plan in inventory.keys for user in plan.share_with}):
            cluster.create_user(user, cluster.default_password)

    # -- the job -----------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The ledger as it is on disk: each night's job is a new process and reads it anew."""
        return self._open_ledger(self.ledger_path)

    def hardened(self) -> Report:
        """Run one night's job, the hardened one."""
        return Custodian(
            self.inventory,
            self.ledger,
            connect=lambda: self.cluster.client("custodian"),
            now=self._now,
            sleep=self.cluster.clock.advance,
            hsms=len(self._zones),
        ).run()

    def naive(self) -> Report:
        """Run one night's job, the naive one."""
        return NaiveCustodian(
            self.inventory, self.ledger, connect=lambda: self.cluster.client("custodian"), now=self._now
        ).run()

    # -- days and nights ---------------------------------------------------------------------

    def night(self, job: Callable[[], Report]) -> Report:
        """Run the job and let the night pass."""
        report = job()
        self.reports.append(report)
        self._until(report.day * DAY_S + NIGHT_S)
        return report

    def day(self) -> None:
        """Replace what was lost, use every key, and let the day pass."""
        self.replace_lost_hsms()
        for plan in self.inventory.keys:
            self._work(plan)
        self._until((self._now() // DAY_S + 1) * DAY_S)

    def days(self, count: int, job: Callable[[], Report]) -> None:
        """Let nights and days pass in which nothing is broken."""
        for _ in range(count):
            self.night(job)
            self.day()

    def replace_lost_hsms(self) -> None:
        """Order a new HSM for each zone that has none, and wait until they have joined."""
        for zone in self._zones:
            if not any(hsm.zone == zone for hsm in self.cluster.hsms):
                self.cluster.add_hsm(zone)
        while any(hsm.state is HsmState.JOINING for hsm in self.cluster.hsms):
            self.cluster.clock.advance(60)

    # -- the services ------------------------------------------------------------------------

    def _work(self, plan: KeyPlan) -> None:
        """Let each user of a key use it."""
        entry = self.ledger.of(plan, "active")
        assert entry is not None, f"{plan.id} has no key"
        for user in plan.share_with:
            with closing(self.cluster.client(plan.service, login=False)) as client:
                client.login(user, self.cluster.default_password)
                self._use(client, entry)

    def _use(self, client: Client, entry: Entry) -> None:
        """Sign, or read the documents that may still be readable and write another; each call is retried by itself."""
        retry, keys = Patience(self.cluster.clock.advance, PASSING).retry, self._keys(client, entry)
        if keys[0].kind != "AES":
            signature = retry(partial(client.sign, keys[0], TAKINGS))
            retry(partial(client.verify, keys[-1], TAKINGS, signature))
            return
        today = int(self._now() // DAY_S)
        self._documents.append(Document(today, entry, retry(partial(client.encrypt, keys[0], TAKINGS))))
        self._documents = [one for one in self._documents if today - one.day < self.inventory.grace_days]
        for document in self._documents:
            key = self._keys(client, document.entry)[0]
            assert retry(partial(client.decrypt, key, document.box)) == TAKINGS

    def _keys(self, client: Client, entry: Entry) -> list[KeyHandle]:
        found = {key.number: key for key in client.find_keys(label=entry.label)}
        assert all(handle in found for handle in entry.handles), f"{client.user} cannot see {entry.label}"
        return [found[handle] for handle in entry.handles]

    def _now(self) -> float:
        return self.cluster.clock.now * DAY_S / self._day_s

    def _until(self, instant: float) -> None:
        """Let time pass until an instant of the company's calendar."""
        clock = self.cluster.clock
        clock.advance(max(0.0, instant * self._day_s / DAY_S - clock.now))
