"""Who else works with the cluster: services that use the keys by day, and operators who replace lost HSMs."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import pkcs11

from examples.mortal import Mortal
from pytest_hsmcluster import ApplicationDied, Client, ClusterError, HsmCluster, HsmState, KeyHandle, Pkcs11Door
from pytest_hsmcluster.cryptoki import CKA
from pytest_hsmcluster.service.keystore import StoredKey

from .hardened import DAY_S, PASSING, Custodian
from .inventory import Inventory, KeyPlan
from .ledger import Entry, Ledger
from .naive import NaiveCustodian
from .night import Hsm
from .notes import Notes
from .patience import Patience
from .production import OperatorFailed, ProductionCustodian, number_of

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
        door: through which the production form of the job comes in; without it there is none.

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
        door: Pkcs11Door | None = None,
    ) -> None:
        self.cluster = cluster
        self.inventory = inventory
        self.ledger_path = ledger
        self.reports: list[Notes] = []
        self._zones = zones
        self._day_s = day_s
        self._open_ledger = open_ledger
        self._door = door
        self._operator = OperatorsTool(cluster)
        self._documents: list[Document] = []
        for user in sorted({user for plan in inventory.keys for user in plan.share_with}):
            cluster.create_user(user, cluster.default_password)

    # -- the job -----------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The ledger as it is on disk: each night's job is a new process and reads it anew."""
        return self._open_ledger(self.ledger_path)

    def hardened(self) -> Notes:
        """Run one night's job, the hardened one."""
        return Custodian(
            self.inventory,
            self.ledger,
            connect=lambda: self.cluster.client("custodian"),
            now=self._now,
            sleep=self.cluster.clock.advance,
            hsms=len(self._zones),
        ).run()

    def production(self) -> Notes:
        """Run one night's job in its production form, a new process that has loaded the library."""
        assert self._door is not None, "this company has no PKCS #11 library"
        pkcs11.lib(self._door.module).reinitialize()
        try:
            return _MortalCustodian(
                self.inventory,
                self.ledger,
                module=self._door.module,
                token_label=self._door.token_label,
                pin=self._door.user_pin,
                operator=self._operator,
                hsms=len(self._zones),
                now=self._now,
                door=self._door,
            ).run()
        except SystemExit as exit:
            raise ApplicationDied("the job's process was killed") from exit

    def careful(self) -> Notes:
        """Run one night's job, the production form of it where there is a library, or else the hardened one."""
        return self.hardened() if self._door is None else self.production()

    @property
    def application(self) -> str:
        """What the careful job is called in the cluster's history."""
        return "custodian" if self._door is None else "app"

    def number(self, key: StoredKey) -> int:
        """Return the number that the careful job knows a key by."""
        return key.handle if self._door is None else number_of(cast(bytes, key.attributes[CKA.ID]), key.cls)

    def naive(self) -> Notes:
        """Run one night's job, the naive one."""
        return NaiveCustodian(
            self.inventory, self.ledger, connect=lambda: self.cluster.client("custodian"), now=self._now
        ).run()

    # -- days and nights ---------------------------------------------------------------------

    def night(self, job: Callable[[], Notes]) -> Notes:
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

    def days(self, count: int, job: Callable[[], Notes]) -> None:
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
        names = {key.handle: self.number(key) for hsm in self.cluster.hsms for key in hsm.keys.values()}
        found = {names[key.number]: key for key in client.find_keys(label=entry.label)}
        assert all(handle in found for handle in entry.handles), f"{client.user} cannot see {entry.label}"
        return [found[handle] for handle in entry.handles]

    def _now(self) -> float:
        return self.cluster.clock.now * DAY_S / self._day_s

    def _until(self, instant: float) -> None:
        """Let time pass until an instant of the company's calendar."""
        clock = self.cluster.clock
        clock.advance(max(0.0, instant * self._day_s / DAY_S - clock.now))


class OperatorsTool:
    """What the production form of the job has for an operator: in a client of its own, as cloudhsm-cli is one.

    Args:
        cluster: where the keys are.
    """

    def __init__(self, cluster: HsmCluster) -> None:
        self._cluster = cluster

    def share(self, label: str, key_id: bytes, user: str) -> None:
        self._do(label, key_id, lambda tool, key: tool.share_key(key, with_user=user))

    def unshare(self, label: str, key_id: bytes, user: str) -> None:
        self._do(label, key_id, lambda tool, key: tool.unshare_key(key, with_user=user))

    def _do(self, label: str, key_id: bytes, act: Callable[[Client, KeyHandle], None]) -> None:
        try:
            with closing(self._cluster.client("operator")) as tool:
                for key in tool.find_keys(template={CKA.LABEL: label, CKA.ID: key_id}):
                    if key.cls != "public":
                        act(tool, key)
        except ApplicationDied as died:
            raise SystemExit(137) from died  # whoever kills the tool kills the job that waits for it
        except ClusterError as error:
            raise OperatorFailed(f"{type(error).__name__}: {error}") from error


class _MortalCustodian(ProductionCustodian):
    """The production form, in a process that a fault may kill."""

    def __init__(self, *arguments: Any, door: Pkcs11Door, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._door = door
        self._before = len(door.calls)

    def _hsm(self, connection: Any) -> Hsm:
        return cast(Hsm, Mortal(super()._hsm(connection), self._died))

    def _died(self, error: Exception) -> bool:
        return any("start another one" in called.why for called in self._door.calls[self._before :])
