"""In which hand-over orders does a test break a promise?

The test runs as itself, in order 0, then once in each further order, which is a test of its own.  No order is better
than another one: each that breaks a promise is a failure.  How a test is run again is decided in `stage`.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, cast

import pytest

from .errors import UsageError
from .identities import identity, replay_command
from .parts import part
from .selecting import Choice, label_of, orders_of
from .stage import Ran, Stage
from .tally import counted

CACHED_ORDERS = "hsmcluster/orders"
"""Where the cache keeps the numbers of the orders that failed, by test."""


class Broken(NamedTuple):
    """An order that broke a promise: its number, what the promise was, and the command that replays it."""

    order: int
    why: str
    replay: str


@dataclass(slots=True)
class Explored:
    """What the orders of one test showed, in one process or in all.

    Attributes:
        orders: how many were asked for.
        run: those that were run.
        histories: digests of what happened, each once.
        no_digest: why histories cannot be told apart, or None.
        broken: the orders that broke a promise.
        seconds: that the runs took, over all processes.
        not_explored: why the test ran in one order only, or None.
    """

    orders: int = 0
    run: list[int] = field(default_factory=list)
    histories: list[str] = field(default_factory=list)
    no_digest: str | None = None
    broken: list[Broken] = field(default_factory=list)
    seconds: float = 0.0
    not_explored: str | None = None

    def count(self, order: int, ran: Ran) -> None:
        """Count a run."""
        self.run.append(order)
        self.seconds += ran.seconds
        try:
            told = " ".join(cluster.history.digest() for cluster in (ran.trial.clusters if ran.trial else ()))
        except UsageError as error:  # the application's own threads have called the cluster, outside of run()
            self.no_digest = str(error).partition("\n")[0]
        else:
            self.histories += [] if told in self.histories else [told]

    def __str__(self) -> str:
        if self.not_explored:
            return self.not_explored
        run = "" if len(self.run) == self.orders else f"{len(self.run)} of "
        broken = f"{len(self.broken) or 'none'} broke a promise"
        return f"{run}{counted(self.orders, 'order')}, {self._different()}, {broken}, {self.seconds:.2f} s"

    def _different(self) -> str:
        if self.no_digest:
            return f"histories that cannot be compared ({self.no_digest})"
        return "one history" if len(self.histories) == 1 else f"{len(self.histories)} different histories"


class Orders:
    """The orders that one process explored; the controller adds up those of its workers."""

    def __init__(self) -> None:
        self.by_test: dict[str, Explored] = {}

    def of(self, test: str) -> Explored:
        """Return what the orders of a test have shown, nothing at first."""
        return self.by_test.setdefault(test, Explored())

    # -- as a part of the run --------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        return {test: {**asdict(one), "broken": [list(b) for b in one.broken]} for test, one in self.by_test.items()}

    def add(self, other: dict[str, Any]) -> None:
        """Add what another process explored."""
        for test, told in other.items():
            mine, theirs = self.of(test), Explored(**{**told, "broken": [Broken(*one) for one in told["broken"]]})
            mine.orders = max(mine.orders, theirs.orders)
            mine.run += theirs.run
            mine.histories += [one for one in theirs.histories if one not in mine.histories]
            mine.broken += theirs.broken
            mine.seconds += theirs.seconds
            mine.no_digest = mine.no_digest or theirs.no_digest
            mine.not_explored = mine.not_explored or theirs.not_explored

    def keep(self, cache: pytest.Cache, config: pytest.Config) -> None:
        """Leave the orders that failed for `--lf` and `--ff`; those that were not run are as they were."""
        known = cache.get(CACHED_ORDERS, {})
        for test, one in self.by_test.items():
            if not one.not_explored:
                kept = [order for order in known.get(test, []) if order not in one.run and order < one.orders]
                known[test] = sorted([*kept, *(broken.order for broken in one.broken)])
        cache.set(CACHED_ORDERS, {test: failed for test, failed in known.items() if failed})

    def fails(self, config: pytest.Config) -> bool:
        return False  # an order that broke a promise is a test that failed

    def report(self, terminal: Any, config: pytest.Config) -> None:
        """Write one line for each test that explored, and those of the orders that broke a promise."""
        if config.get_verbosity() < 0:
            return
        terminal.section("hsmcluster orders")
        for test, one in self.by_test.items():
            terminal.write_line(f"{test}: {one}")
            for broken in one.broken:
                terminal.write_line(f"    {label_of(broken.order)}")


class Explorer:
    """The director of tests that explore."""

    def __init__(self, config: pytest.Config) -> None:
        self._choice = Choice(config)
        self._failed: dict[str, list[int]] = self._choice.remembered(CACHED_ORDERS)

    def wants(self, item: pytest.Item) -> bool:
        return orders_of(item) > 1

    def direct(self, stage: Stage) -> None:
        test, orders = identity(stage.item), orders_of(stage.item)
        told = cast(Orders, part(stage.item.config, "orders")).of(test)
        told.orders = orders
        broken = len(told.broken)
        if not self._begin(stage, told):
            return
        chosen = self._chosen(stage, range(1, orders), self._failed.get(test, []))
        stage.expect(len(chosen))
        try:
            for order in chosen:
                if stage.stopped:
                    break
                case = stage.case(label_of(order), order=order)
                _note(told, order, case, stage.perform(case))
        finally:  # also when somebody loses patience: `--lf` finds the test by this
            if any(one.order for one in told.broken[broken:]):
                stage.tell(_text(told))

    def _begin(self, stage: Stage, told: Explored) -> bool:
        """Run the test itself and return whether there are other orders; its cluster is forgotten with that."""
        first = stage.play(order=0)
        clusters = first.trial.clusters if first.trial is not None else []
        if stage.item.config.getoption("setuponly", False):
            told.not_explored = "not explored, for nothing but its set-up was asked for"
        elif any(cluster.handovers for cluster in clusters):
            _note(told, 0, stage.item, first)
        elif first.outcome not in ("passed", "xpassed"):
            told.not_explored = f"not explored, for it {first.outcome} before there was anything to choose"
        else:
            why = "it used no cluster" if not clusters else "it never has two functions act in cluster.run()"
            told.not_explored = f"nothing to explore, for {why}"
            stage.tell(
                f"explore: {told.not_explored}, so that each of the {told.orders} orders would be the same: "
                "leave explore= out, or let functions act side by side, as in hsm_cluster.run(rotate, serve)"
            )
        return told.not_explored is None

    def _chosen(self, stage: Stage, orders: range, failed: list[int]) -> list[int]:
        """Return what `-k`, `--deselect`, `--lf` and `--ff` leave of the orders beside the test's own."""
        again = [order for order in orders if order in failed]
        others = [] if failed and self._choice.only_failed else [order for order in orders if order not in failed]
        return [order for order in (*again, *others) if self._choice.wants(stage, label_of(order))]


def _note(told: Explored, order: int, item: pytest.Item, ran: Ran) -> None:
    told.count(order, ran)
    if ran.outcome == "failed":
        told.broken.append(Broken(order, ran.failure, replay_command(item)))


def _text(told: Explored) -> str:
    lines = [f"explore: {len(told.broken)} of {counted(len(told.run), 'order')} broke a promise"]
    for one in told.broken[:10]:
        lines += ["", label_of(one.order), f"    {one.why}", f"    {one.replay}"]
    if len(told.broken) > 10:
        lines += ["", f"and {len(told.broken) - 10} more"]
    return "\n".join(lines)
