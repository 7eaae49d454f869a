"""What is a whole emulated cluster, and how is it put together?

The composition root: it builds the parts, holds them and hands them out; it decides nothing.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from .apptime.apptime import AppTime
from .arguments import ClientSettings, check_profile, check_run, check_shape
from .chaos import Chaos
from .checkers.check import HsmCheck
from .client.applications import Applications
from .client.awaiting import AsyncClient
from .client.blocking import Client
from .client.handles import KeyHandle, check_handle, handle_of
from .client.operations import Operations
from .client.sites import Sites
from .drivers.actors import Order
from .drivers.awaiting import AwaitingDriver
from .drivers.blocking import BlockingDriver
from .drivers.turnstile import Turnstile
from .errors import UsageError
from .faults.injector import Faults
from .foundations import cluster_id, network_of, note_of, pace_of
from .history.events import Kind
from .history.history import History
from .history.holdings import Holdings
from .history.journal import Journal
from .keys.masking import MaskingKey
from .keys.source import KeySource, SeededSource, SystemSource
from .pkcs11.library_client import LibraryClient
from .pkcs11.token import Token
from .scenarios import ALL
from .service.accounts import first_accounts
from .service.administration import Administration
from .service.backup import Backup
from .service.cloning import copy_key
from .service.hsm import Hsm
from .service.profile import STANDARD
from .service.register import Register
from .service.service import Service
from .service.world import World
from .sim.clock import HsmClock, to_ns
from .sim.entropy import Entropy
from .sim.scheduler import SERVICE_LANE, Scheduler

DAY_S = 86_400.0

DEFAULT_USER = "crypto_user"
"""The crypto user that every cluster begins with; its password is `HsmCluster.default_password`."""


class HsmCluster:
    """An emulated CloudHSM cluster with real keys.

    A context manager; under pytest the fixture `hsm_cluster` gives one for each test.

    Args:
        hsms: how many, 1 to 28.
        zones: availability zones, dealt out to the HSMs in turn.
        sdk: 3 or 5; which client software applications use.  None is 5, or what `config` is of.
        create_object_minimum_nodes: SDK 3: copies that make a create a success.
        config: a `cloudhsm_client.cfg` or `cloudhsm-pkcs11.cfg` to take settings from.
        seed: of everything that is drawn by lot.
        keys: `random` (the system's randomness) or `seeded` (reproducible, where that is cheap).
        clock: `virtual` or `real`; None is real with processes, else virtual.
        clock_rate: simulated seconds a real one, for a real clock; at most 20 with processes.
        network: `simulated`, or `processes`: each HSM is a process of its own, on TCP with mutual TLS.
        backup: what the HSMs are filled from; see `from_backup`.
        order: which of the hand-over orders of the seed `run` takes, from 0.
        overrides: fields of `Profile` by name; durations also in seconds (`sweep_period_s=30`).

    Raises:
        UsageError: an argument that is out of range; says what is allowed.

    Attributes:
        id: `cluster-…`.
        seed: as given.
        profile: numbers and switches in force.
        network_kind: `simulated` or `processes`.
        chaos: break things.  check: assertions.  history: what happened.  clock: simulated time.
        sites: who called what, beside the history.
        minimum: `create_object_minimum_nodes` in force (SDK 3).
        order: draws who of several actors goes on.
        default_user: name of the crypto user that clients log in as.
    """

    def __init__(
        self,
        hsms: int = 3,
        *,
        zones: Sequence[str] = ("a", "b", "c"),
        sdk: Literal[3, 5] | None = None,
        create_object_minimum_nodes: int | None = None,
        config: str | Path | None = None,
        seed: int | None = None,
        keys: str = "random",
        clock: str | None = None,
        clock_rate: float = 1.0,
        network: str = "simulated",
        backup: Backup | None = None,
        order: int = 0,
        **overrides: Any,
    ) -> None:
        check_shape(hsms, zones, seed, keys, clock, network, order)
        clock = clock or ("virtual" if network == "simulated" else "real")
        if backup is not None and not isinstance(backup, Backup):
            raise UsageError(f"backup is what backup() of a cluster returned; got {type(backup).__name__}")
        self.seed = seed or 0
        settings = ClientSettings.of(sdk, create_object_minimum_nodes, config, hsms)
        self.minimum = settings.minimum
        self.profile = STANDARD.overridden({**settings.overrides, **overrides})
        check_profile(network, self.profile)
        self._closed = False
        self._entropy = Entropy(self.seed)
        self._journal = Journal()
        note = note_of(self.seed, self.profile, hsms, self.minimum, network, clock)
        forgo_digest = partial(note.setdefault, "no_digest")  # and no method of ours: nobody refers back to the cluster
        self._turnstile = Turnstile(forgo_digest)
        self._scheduler = Scheduler(self._turnstile)
        self._pace = pace_of(network, clock, clock_rate, self._scheduler)
        self.order = Order(self._entropy.stream(f"order/{order}"))
        self._scheduler.run_ahead = self._pace is None  # whoever runs ahead does not wait for real time
        source: KeySource = SeededSource(self._entropy.stream("keys")) if keys == "seeded" else SystemSource()
        masking_key = MaskingKey.random(source) if backup is None else backup.masking_key
        faults = Faults(self._journal, self._scheduler, self._entropy)
        self._world = World(self.profile, self._scheduler, self._journal, faults, Register(), source, masking_key)
        if backup is not None:
            self._world.register.inherit([key.handle for key in (*backup.keys, *backup.tombstones)])
        # A clone that is made with the seed of its parent is another cluster still.
        lineage = "cluster id" if backup is None else f"cluster id/{backup.cluster}/{backup.id}"
        self.id = cluster_id(self._entropy.stream(lineage))
        self.default_user = DEFAULT_USER
        drawn = self._entropy.stream("default password")(8).hex()
        self.default_password = drawn if backup is None else backup.default_password
        accounts = first_accounts(DEFAULT_USER, self.default_password) if backup is None else backup.accounts
        dealt = [zones[i % len(zones)] for i in range(hsms)]
        self._driver = BlockingDriver(self._scheduler, self._pace)
        self.network_kind = network
        key_seed = self.seed if keys == "seeded" else None
        with ExitStack() as undoing:  # if it is refused
            if self._pace is not None:
                undoing.callback(self._pace.close)
            self.join_application()
            make, self.network = network_of(network, self._world, self.id, self._pace, key_seed)
            undoing.callback(self.network.close)
            self.service = Service(self._world, self.id, dealt, accounts, self.default_password, make)
            self.network.open()
            if backup is not None:
                self.service.load(backup)
            undoing.pop_all()
        self.service.on_reset = self.network.reset
        self.service.on_joined = self.network.announce
        self._world.linked = self.network.reachable
        self._awaiting = AwaitingDriver(self._scheduler, self._pace)
        self._awaiting.drawn = forgo_digest
        self.clock = HsmClock(self._scheduler, self._pace, self._driver.wait)
        self.chaos = Chaos(self.service, self.network, self.minimum, ALL)
        self.history = History(self._journal.records, note=note)
        backups = self.service.backups
        self.sites = Sites()
        self._applications = Applications(self.service, self.network, self._entropy, self.minimum, self.sites)
        self.check = HsmCheck(
            self.history, backups=lambda: {b.id: b.key_names for b in backups.values()}, sites=self.sites
        )
        self.admin = Administration(self.service)

    @classmethod
    def from_backup(cls, backup: Backup, hsms: int = 3, **arguments: Any) -> "HsmCluster":
        """Return a clone: a new cluster with the keys, users and passwords of a backup.

        Nothing keeps the two in step; `sync_key` copies single keys by hand.  The default user's
        password is that of the backed-up cluster: clients of the clone are handed it.
        """
        return cls(hsms, backup=backup, **arguments)

    # -- HSMs ---------------------------------------------------------------------------

    @property
    def hsms(self) -> list[Hsm]:
        """The members: all HSMs that are not lost, in the order in which they were made."""
        return self.service.members

    def hsm(self, id: str) -> Hsm:
        """Return an HSM by its id, a lost one too.

        Raises:
            UsageError: there is none of that id.
        """
        return self.service.hsm(id)

    def add_hsm(self, zone: str) -> Hsm:
        """Order a new HSM and return it; it joins once simulated time has come (313 s, a measured value)."""
        self._check_open()
        with self._turnstile:
            return self.service.add(zone)

    def remove_hsm(self, id: str) -> None:
        """Take an HSM out of the cluster for good; a backup of it is taken first."""
        self._check_open()
        with self._turnstile:
            self.service.remove(id)

    def sweep_now(self) -> int:
        """Have the service make one round of its sweep, and return how many copies it brought."""
        self._check_open()
        return self._driver.run(self.service.sweep.round(), SERVICE_LANE, "sweep_now()")

    def backup(self, hsm: str | None = None) -> Backup:
        """Take a backup of an HSM that is up (None: the first) and return it."""
        self._check_open()
        with self._turnstile:
            return self.service.backup(hsm)

    def sync_key(self, handle: KeyHandle, destination: "HsmCluster") -> KeyHandle:
        """Copy one token key to a cluster with a common backup, and return its handle there.

        Raises:
            ClusterError: see `service.cloning.copy_key`.
            UsageError: the handle is another cluster's, or `destination` is no cluster or closed.
        """
        self._check_open()
        if not isinstance(destination, HsmCluster):
            raise UsageError(f"sync_key() copies to an HsmCluster; got {type(destination).__name__}")
        destination._check_open()
        first, second = sorted((self, destination), key=lambda cluster: cluster.id)  # the same way for every thread
        with first._turnstile, second._turnstile:
            key = copy_key(self._own(handle, "sync_key"), self.service, destination.service)
        return handle_of(key, destination.id)

    def catch_up(self) -> None:
        """Do all that is due by now, where the clock is real, and hear what has come in from HSM processes."""
        with self._turnstile:
            self._scheduler.catch_up()

    # -- users and views -------------------------------------------------------------------

    def create_user(self, name: str, password: str, type: str = "CU", hsms: Sequence[str] | None = None) -> list[str]:
        """Create a user on every HSM that is up (or on the named ones); return the ids of those that did."""
        self._check_open()
        return self.admin.create_user(name, password, type, hsms)

    def coverage(self, what: KeyHandle | str) -> str:
        """Return `full` or `inconsistent` for a key or a user name, over the current members."""
        if isinstance(what, str):
            return self.admin.user_coverage(what)
        return self.admin.key_coverage(self._own(what, "coverage"))

    def metrics(self) -> dict[str, dict[str, int]]:
        """Return CloudWatch's metrics of each member: HSM id → metric name → value."""
        return self.admin.metrics()

    # -- clients ------------------------------------------------------------------------------

    def client(self, name: str = "app", *, login: bool = True) -> Client:
        """Return a new application process, logged in as the default crypto user.

        Args:
            name: of the application; a second process of that name goes on numbering (`app#2`).
            login: False leaves it to the caller.
        """
        client = Client(self._operations(name), self._driver)
        if login:
            client.login(self.default_user, self.default_password)
        return client

    def async_client(self, name: str = "app", *, login: bool = True) -> AsyncClient:
        """Return a new application process whose calls are awaited, logged in as the default crypto user."""
        operations = self._operations(name)
        self.sites.keep_origins()
        if login:
            Client(operations, self._driver).login(self.default_user, self.default_password)
        return AsyncClient(operations, self._awaiting)

    def run(self, *functions: Callable[[], Any], longest_s: float = DAY_S, most_events: int = 1_000_000) -> list[Any]:
        """Let functions act at the same time, each on a thread of its own, and return what they return, in their order.

        One acts at a time.  It hands over in calls of the cluster and wherever it waits (`time.sleep`, events,
        conditions, queues, `join`), which takes simulated time; in an order that is drawn from the seed.  Threads and
        thread pools that the functions start act likewise; those that are left when all functions have ended, end.

        Args:
            functions: called without arguments.
            longest_s: simulated seconds in which they must have ended.
            most_events: how many things may happen in the world until then.

        Raises:
            Stuck: they have not ended by then, or nothing can happen any more; says who waits for what.
            BaseException: what a function raised; the others end then.  What several raised is a BaseExceptionGroup.
            UsageError: no function; a `run` within another one; a real clock.
        """
        self._check_open()
        check_run(functions, longest_s, most_events, self.clock.real)
        longest_ns = to_ns(longest_s, "longest_s")
        try:
            if (company := self._driver.company()) is not None:
                return company.run(functions, longest_ns, most_events)
            with AppTime(self.order) as time:
                self.join_application()
                return time.company.run(functions, longest_ns, most_events)
        except KeyboardInterrupt:
            self._turnstile.doubt("a run was interrupted from outside, so chance decided where it ended")
            raise

    @property
    def handovers(self) -> int:
        """How often it was drawn by lot who of several actors goes on."""
        return self.order.drawn

    def join_application(self) -> None:
        """Live on from now on while the application waits, if the caller lives in simulated time (`hsm_app_time`).

        Raises:
            UsageError: this cluster has a real clock.
        """
        if (company := self._driver.company()) is not None:
            self.order = company.order

    def token(self, test: str = "") -> Token:
        """Return this cluster as a token, which a `Pkcs11Door` puts into a slot.

        Args:
            test: to which it belongs, for people.
        """
        return Token(
            self.id,
            test,
            f"{self.default_user}:{self.default_password}",
            self.profile,
            lambda name: LibraryClient(self._operations(name), self._driver),
            self._world.source.random,
            lambda: self._scheduler.now_ns,
            self.sites,
            self.check.outlived.append,
            lambda: self._closed,
            self._turnstile,
            None if self.clock.real else self.clock.advance_ns,
        )

    # -- the end ---------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._closed

    def close(self) -> None:
        """Undo all chaos, end all clients, write the audit, and stop the world.  Doing it twice is harmless.

        In a process that was forked from the one that made it, a cluster of processes is left alone.

        Raises:
            AssertionError: journal and HSMs disagree; that is a mistake of this package, please report it.
        """
        if self._closed:
            return
        if self.network.foreign:
            self._closed = True
            return
        with self._turnstile:
            self._end()

    def _end(self) -> None:
        self._closed = True
        with ExitStack() as ends:  # whatever cannot be ended, the rest is
            for end in (self._world.unplug, self.network.close, self._write_audit, self._scheduler.end_all):
                ends.callback(end)
            for end in (self.sites.close, self._awaiting.close, self._applications.end, self.chaos.close):
                ends.callback(end)
            ends.callback(self._scheduler.catch_up)  # what goes wrong in that is told, and ends nothing else

    def _write_audit(self) -> None:
        audit = tuple(hsm.audit() for hsm in self.service.hsms.values())
        self._journal.append((Kind.AUDIT, self._scheduler.now_ns, audit))
        told = Holdings(self._journal.records).audit()
        assert told == audit, f"the journal says {told}, the HSMs hold {audit}: a mistake in pytest-hsmcluster"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<HsmCluster {self.id} of {len(self.hsms)} HSMs, SDK {self.profile.sdk}, {self.clock.now:.3f} s>"

    # -- inside ------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.id} is closed: nothing can happen there any more; each test has its own cluster")

    def _own(self, handle: object, what: str) -> int:
        """Return the number of a handle that this cluster gave out."""
        key = check_handle(handle, what)
        if key.cluster != self.id:
            raise UsageError(f"{what}: key {key.label!r} ({key.number}) is of {key.cluster}, and this is {self.id}")
        return key.number

    def _operations(self, name: str) -> Operations:
        self._check_open()
        with self._turnstile:
            return self._applications.start(name)
