"""What does one run of one test have of ours: its seed, its clusters, its faults, its verdict?"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from . import extensions
from .identities import identity, order_of
from .keeping import CASE
from .markers import chaos_specs, checks_asked, cluster_arguments, levels, orders_asked, sweep_mark
from .options import SETTINGS

if TYPE_CHECKING:
    from .cluster import HsmCluster
    from .pkcs11.door import Pkcs11Door
    from .toxiproxy.roads import Roads
    from .toxiproxy.server import ToxiproxyServer


class Trial:
    """One run of one test; a rerun has its own.

    Attributes:
        item: the test.
        settings: of the whole run.
        seed: of the test; those of all its clusters come from it.
        specs: faults and scenarios for its first cluster, in order.
        checks: names of the checks that apply at its end.
        clusters: in the order in which they were made.
        case: what makes it a case, or None.
        storm: indices in the first cluster's journal: where the faults were installed, and where `undo_all()` took
            them out or else the body ended.
        settle: to be called when every fixture of the test has ended.
    """

    def __init__(self, item: pytest.Item) -> None:
        from .sim.entropy import derive_seed

        self.item = item
        self.settings = item.config.stash[SETTINGS]
        marks = levels(item)
        self.arguments = arguments_of(marks, item)
        marked = self.arguments.pop("seed", None)
        self.seed: int = derive_seed(self.settings.seed, identity(item)) if marked is None else marked
        self.case = item.stash.get(CASE, None)
        if (order := order_of(self.case, self.settings)) is not None:
            self.arguments["order"] = order
        self.specs = (*chaos_specs(marks), *extensions.faults(item.ihook, item), *self.settings.chaos)
        self._own = len(self.specs)
        self.specs += self.case.specs if self.case else ()
        asked = checks_asked(marks)
        asked = self.settings.checks if asked is None else asked
        # An explicit empty tuple is a test's way to say that it loses keys on purpose.
        none = asked == () and checks_asked(marks) is not None
        self.checks = () if none else tuple(dict.fromkeys(("no_lost_keys", *asked)))
        self.clusters: list[HsmCluster] = []
        self.storm = (0, 0)
        self.settle: Callable[[], None] = lambda: None
        self._door: Pkcs11Door | None = None
        self._toxiproxy: ToxiproxyServer | None = None
        self._stormy = False
        self._findings: list[str] | None = None

    def cluster(self, **arguments: Any) -> "HsmCluster":
        """Make another cluster and return it; it is closed and checked with the test.

        Args:
            arguments: of `HsmCluster`; they come before those of the marker, which come before those of other
                plugins, of options and of the ini file.

        Raises:
            UsageError: an argument is wrong; once the test's setup is over also a fault that does not fit the cluster.
        """
        from .client.sites import Ground
        from .cluster import HsmCluster
        from .sim.entropy import derive_seed

        number = len(self.clusters) + 1
        seed = self.seed if number == 1 else derive_seed(self.seed, "", f"cluster {number}")
        cluster = HsmCluster(**merged({"seed": seed, **self.arguments}, arguments))
        cluster.chaos.scenarios = extensions.scenarios(self.item.ihook)
        if self.case and self.case.mutant and cluster.network_kind == "simulated":
            from .mutants import MUTANTS

            MUTANTS[self.case.mutant].apply(cluster)
        cluster.sites.ground = Ground(self.item.config.rootpath, self.item.config.getini("python_files"))
        self.clusters.append(cluster)
        self._put_behind_the_door(cluster)
        if self._toxiproxy is not None and number == 1:
            self._put_behind(self._toxiproxy, cluster)
        if self._stormy and number == 1:
            self._install()
        return cluster

    def own_cluster(self) -> "HsmCluster":
        """Make the test's own cluster and return it; a `unittest.TestCase` has it as `self.hsm_cluster`, too."""
        cluster = self.cluster()
        self._hand("hsm_cluster", cluster)
        return cluster

    def _hand(self, name: str, value: object) -> None:
        """Give a `unittest.TestCase` what other tests take as an argument."""
        import unittest  # only those who want a cluster shall pay for it

        instance = getattr(self.item, "instance", None)
        if isinstance(instance, unittest.TestCase):
            setattr(instance, name, value)

    @contextmanager
    def app_time(self) -> Iterator[None]:
        """Have the application live in simulated time within the block, and the clusters of this test with it.

        Raises:
            UsageError: a cluster has a real clock, or another library simulates time.
        """
        from .apptime.apptime import AppTime
        from .drivers.actors import Order
        from .sim.entropy import Entropy

        number = self.arguments.get("order", 0)
        order = self.clusters[0].order if self.clusters else Order(Entropy(self.seed).stream(f"order/{number}"))
        with AppTime(order):
            from .apptime.patching import put_back

            self.settle = put_back
            for cluster in self.clusters:
                cluster.join_application()
            yield

    @contextmanager
    def toxiproxy(self, find: Callable[[], str]) -> "Iterator[ToxiproxyServer]":
        """Put a Toxiproxy between the applications and the HSMs of the first cluster within the block.

        Args:
            find: returns the URL of the server; not asked for a cluster whose HSMs are no processes.

        Raises:
            UsageError: the cluster's HSMs are no processes.
        """
        from .toxiproxy.server import ToxiproxyServer

        first = self.clusters[:1]  # or it comes later
        for cluster in first:
            _check_real(cluster)
        with ToxiproxyServer(find(), os.environ.get("PYTEST_XDIST_WORKER", "main")) as server:
            self._toxiproxy = server
            for cluster in first:
                self._put_behind(server, cluster)
            self._hand("hsm_toxiproxy", server)
            yield server
            self._toxiproxy = None

    def _put_behind(self, server: "ToxiproxyServer", cluster: "HsmCluster") -> None:
        _check_real(cluster)
        server.attach(cast("Roads", cluster.network))
        cluster.chaos.toxiproxy = server

    def door(self) -> "Pkcs11Door":
        """Return the PKCS#11 door to the clusters of this test, also to those that are made later."""
        from .pkcs11.door import Pkcs11Door

        if self._door is None:
            self._door = Pkcs11Door()
            for cluster in self.clusters:
                self._put_behind_the_door(cluster)
            self._hand("hsm_pkcs11", self._door)
        return self._door

    def _put_behind_the_door(self, cluster: "HsmCluster") -> None:
        if self._door is not None:
            self._door.add(cluster, self.item.nodeid)

    @property
    def refusals(self) -> list[str]:
        """What the PKCS#11 library refused, and why: a return value does not say it."""
        return self._door.refusals if self._door else []

    def raise_failures(self) -> None:
        """Raise what went wrong behind the PKCS#11 library, where no exception can pass."""
        failures = self._door.failures if self._door else []
        if failures:
            raise failures[0]

    def begin_storm(self) -> None:
        """Install the faults: what fixtures did until now was done in peace.

        Raises:
            UsageError: a fault does not fit the cluster.
        """
        self._stormy = True
        if self.clusters:
            self._install()

    def findings(self) -> list[str]:
        """Return what is broken, one text for each check that failed; asked again it says the same."""
        if self._findings is None:
            for cluster in self.clusters:
                cluster.catch_up()
            if self.clusters:
                first = self.clusters[0]
                calm_from = first.chaos.calm_from
                self.storm = self.storm[0], len(first.history) if calm_from is None else calm_from
            extra = extensions.checks(self.item.ihook)
            # A wrong cluster may never come to where a fault waits: that is no assertion of the test.
            fired = not (self.case and self.case.mutant)
            self._findings = [text for one in self.clusters for text in _judged(one, self.checks, extra, fired)]
        return self._findings

    def close(self) -> None:
        """Close every cluster, the newest first, also when closing one fails."""
        with ExitStack() as stack:
            for cluster in self.clusters:
                stack.callback(cluster.close)
            if self._door is not None:
                stack.callback(self._door.close)

    def _install(self) -> None:
        chaos = self.clusters[0].chaos
        self.storm = len(self.clusters[0].history), 0
        if self.case and self.case.storm:
            self.specs += tuple(self.case.storm(self.clusters[0]))
        added = self.case.specs if self.case else ()
        for number, spec in enumerate(self.specs):
            installed = chaos.install(spec)
            # What a case adds may end the test before its own faults are reached: those have struck without it.
            if (self.case and self.case.may_miss) if number >= self._own else added:
                chaos.allow_miss(installed)


def arguments_of(marks: list[list[pytest.Mark]], node: pytest.Item | pytest.Collector) -> dict[str, Any]:
    """Return the arguments of a test's clusters: ini, options, other plugins, then the markers.

    A relative path in `config=` starts at pytest's rootdir.
    """
    defaults = dict(node.config.stash[SETTINGS].defaults)
    if sweep_mark(marks) or orders_asked(marks) > 1:
        defaults.setdefault("keys", "seeded")  # what is run again is to be the same
    asked = merged(defaults, extensions.profile(node.ihook, node.config), cluster_arguments(marks))
    if isinstance(path := asked.get("config"), str | os.PathLike):
        asked["config"] = node.config.rootpath / path
    return asked


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of all layers, the last word of each; who asks for processes asks for their clock, too."""
    found: dict[str, Any] = {}
    for layer in layers:
        if layer.get("network") == "processes":
            found.pop("clock", None)
        found.update(layer)
    return found


def real_time(arguments: dict[str, Any]) -> bool:
    """Whether clusters with these arguments live in real time."""
    return arguments.get("clock") == "real" or arguments.get("network") == "processes"


def _check_real(cluster: "HsmCluster") -> None:
    """Refuse a Toxiproxy before HSMs that are no processes."""
    from .errors import UsageError
    from .toxiproxy.scenarios import WANTED

    if cluster.network_kind != "processes":
        raise UsageError(
            f"a real Toxiproxy needs real connections: {WANTED}; this cluster has network={cluster.network_kind!r}. "
            'Mark the test: @pytest.mark.hsm_cluster(network="processes")'
        )


_REMEDY = {"Injection": "; may_miss=True allows that"}


def _judged(cluster: "HsmCluster", names: tuple[str, ...], extra: Any, fired: bool) -> list[str]:
    found = [
        f"fault that never fired: {one} (nothing that it waits for happened{_REMEDY.get(type(one).__name__, '')})"
        for one in (cluster.chaos.unfired if fired else ())
    ]
    for name in names:
        try:
            cluster.check.run(name, extra)
        except AssertionError as error:
            found.append(str(error) or f"{name} is broken")
    return found
