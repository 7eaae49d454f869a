"""How does background chaos run a test, and what does it say about a failure?

The test runs under its storm, unseen.  Passed, that was its run.  Failed, it runs once more in peace: if it fails then
too, the failure is an old one.  A new failure is bisected, and reported with the smallest set of faults that brings it.
"""

import fnmatch
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from . import extensions
from .background.budget import Budget
from .background.reading import read_budget
from .background.smallest import Search, Smallest, Specs, pinned
from .background.storm import Shape, draw_storm
from .errors import UsageError
from .identities import identity, replay_command
from .markers import chaos_specs, levels, sweep_mark
from .options import SETTINGS
from .parts import part
from .regression import regression_test
from .sim.entropy import derive_seed
from .stage import Ran, Stage
from .tally import counted
from .trial import arguments_of, real_time

if TYPE_CHECKING:
    from .cluster import HsmCluster

TITLE = "HSM background chaos"
"""Of the section in the report of a failure."""

BUDGET = pytest.StashKey[Budget]()
"""With the configuration: what background chaos has promised."""


def promise(config: pytest.Config) -> Budget:
    """Read the budget of this run, keep it with the configuration and return it.

    Raises:
        pytest.UsageError: it cannot be read, or cannot be kept; says everything that is wrong.
    """
    settings = config.stash[SETTINGS]
    asked, who = settings.background, settings.background_from
    assert asked is not None, "called only when it was asked for"
    folder = config.invocation_params.dir if who.startswith("--") else config.rootpath
    try:
        budget = read_budget(asked, folder)
        try:
            budget.check_keepable(dict(settings.defaults).get("hsms", 3))
        except UsageError as error:
            raise UsageError(f"{asked} cannot be used: {error}") from None
    except UsageError as error:
        raise pytest.UsageError(f"{who}: {error}") from None
    config.stash[BUDGET] = budget
    return budget


class _Storm:
    """Draws the faults of one run once its cluster is there, and knows afterwards what became of them."""

    def __init__(self, budget: Budget, item: pytest.Item) -> None:
        self.specs: Specs = ()
        self.cluster: HsmCluster | None = None
        self._budget = budget
        # Neither the order of tests nor a seed in a marker has a say in it.
        self._seed = derive_seed(item.config.stash[SETTINGS].seed, identity(item), "background")

    def __call__(self, cluster: "HsmCluster") -> Specs:
        self.cluster = cluster
        self.specs = draw_storm(self._budget, Shape.of(cluster), self._seed)
        return self.specs

    @property
    def struck(self) -> Specs:
        """What struck at least once, in the order in which it was drawn."""
        known = {} if self.cluster is None else {str(one): None for one in self.cluster.chaos.struck}
        return tuple(spec for spec in self.specs if spec in known)


class Stormer:
    """The director of every test that uses a cluster and brings no faults of its own."""

    def __init__(self, config: pytest.Config) -> None:
        self._budget = config.stash[BUDGET]
        self._chaos = chaos_of(config)
        self._chaos.budget = str(self._budget)

    def wants(self, item: pytest.Item) -> bool:
        """Whether a test gets a storm: its own faults would break the promise, and a replay names its faults.

        In real time there is none: a failure is bisected, and by a real clock no two runs are the same.
        """
        names = getattr(item, "fixturenames", ())
        marks = levels(item)
        clustered = marks or "hsm_cluster" in names or "hsm_cluster_factory" in names
        if not clustered or "hsm_chaos" in names or not isinstance(item, pytest.Function):
            return False
        given = (*chaos_specs(marks), *extensions.faults(item.ihook, item), *item.config.stash[SETTINGS].chaos)
        if given or sweep_mark(marks) or real_time(arguments_of(marks, item)):
            return False
        name = identity(item)
        struck, left = (
            any(fnmatch.fnmatchcase(name, one) for one in some) for some in (self._budget.only, self._budget.never)
        )
        return struck and not left

    def direct(self, stage: Stage) -> None:
        storm = _Storm(self._budget, stage.item)
        ran = stage.encore(storm=storm, may_miss=True, reported=False)
        self._chaos.count(storm.specs, storm.struck)
        if ran.outcome != "failed":
            stage.report(ran)
        elif not storm.specs:
            stage.play()  # as itself, so that a debugger can have it
        elif stage.encore(reported=False).outcome == "failed":
            self._chaos.old.append(identity(stage.item))
            told = "This failure is an old one: the test fails without background chaos too, and this is such a run."
            stage.play(sections=[(TITLE, told)])
        else:
            self._new(stage, storm, ran)

    def _new(self, stage: Stage, storm: _Storm, ran: Ran) -> None:
        """Find the smallest set of faults of a new failure, and report the test with it."""
        found = _Bisection(stage, storm, ran).run()
        text = _told(stage.item, found, storm, self._budget, ran)
        name = identity(stage.item)
        if stage.play(found.specs, may_miss=True, sections=[(TITLE, text)]).outcome == "failed":
            self._chaos.new[name] = list(found.specs)
        else:
            self._chaos.unsettled.append(name)
            drawn = "\n".join(f"    {spec}" for spec in storm.specs)
            stage.tell(
                f"failed under background chaos, and passed with the same faults afterwards: {ran.failure}\n"
                f"{drawn}\nThe test does not repeat itself: threads, the wall clock, the order of a set, or what an "
                "earlier run left behind"
            )
        self._chaos.runs += found.runs + 1


class _Bisection:
    """Looks for the smallest set of faults by running the test unseen."""

    def __init__(self, stage: Stage, storm: _Storm, ran: Ran) -> None:
        self._stage = stage
        self._storm = storm
        self._failed = {storm.specs: ran}

    def run(self) -> Smallest:
        storm = self._storm
        assert storm.cluster is not None, "something was drawn"
        scenarios = storm.cluster.chaos.scenarios
        specs, runs = storm.specs, 0
        if storm.struck and storm.struck != specs:
            # What never struck is seldom needed; most often this saves the larger part of the runs.
            runs += 1
            specs = storm.struck if self._fails(storm.struck) else specs
        found = Search(specs, scenarios, self._fails).run()
        trial = self._failed[found.specs].trial
        if trial is not None and trial.clusters:
            history, since = trial.clusters[0].history, trial.storm[0]
            named = tuple(pinned(spec, scenarios, history, since) for spec in found.specs)
            if named != found.specs:
                runs += 1
                if self._fails(named):
                    found = Smallest(named, found.runs, found.minimal)
        return Smallest(found.specs, found.runs + runs, found.minimal)

    def _fails(self, specs: Specs) -> bool:
        ran = self._stage.encore(specs=specs, may_miss=True, reported=False)
        # Faults strike when the set-up is over: one that failed is of faults that do not go together.
        failed = any(report.failed and report.when != "setup" for report in ran.reports)
        if failed:
            self._failed[specs] = ran
        return failed


def _told(item: pytest.Item, found: Smallest, storm: _Storm, budget: Budget, ran: Ran) -> str:
    """Return the section about a new failure."""
    assert isinstance(item, pytest.Function) and ran.trial is not None
    drawn = "the only one" if len(storm.specs) == 1 else f"of {len(storm.specs)}"
    least = "with fewer it passes" if found.minimal else "there may be a smaller set, the search was given up"
    lines = [
        f"This failure is new: without background chaos ({budget.name}) the test passes.",
        f"Smallest set of faults, {drawn} drawn, found in {counted(found.runs, 'run')}; {least}:",
        *(f"    {spec}" for spec in found.specs),
        "Replay:",
        f"    {replay_command(item, found.specs)}",
    ]
    pasted = regression_test(item, found.specs, ran.trial.seed)
    if pasted is None:
        lines.append("There is no regression test to paste: the source of the test cannot be read.")
    else:
        lines += [f"Regression test, to paste into {pasted.where}:", "", pasted.text]
    return "\n".join(lines)


@dataclass(slots=True)
class BackgroundChaos:
    """What background chaos did in one process; the controller adds up its workers'.

    Attributes:
        budget: what was promised.
        tests: that ran under a storm.
        drawn: faults and hardships.
        struck: of them.
        new: identity of a test → the smallest set of faults with which it fails.
        old: identities of tests that fail in peace too.
        unsettled: of those that failed once and not again.
        runs: that were needed to find the smallest sets.
    """

    budget: str = ""
    tests: int = 0
    drawn: int = 0
    struck: int = 0
    new: dict[str, list[str]] = field(default_factory=dict)
    old: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    runs: int = 0

    def count(self, drawn: Specs, struck: Specs) -> None:
        """Count one test under its storm."""
        self.tests += 1
        self.drawn += len(drawn)
        self.struck += len(struck)

    def export(self) -> dict[str, Any]:
        return asdict(self)

    def add(self, other: dict[str, Any]) -> None:
        self.budget = other["budget"]
        for name in ("tests", "drawn", "struck", "runs"):
            setattr(self, name, getattr(self, name) + other[name])
        self.new.update(other["new"])
        self.old += other["old"]
        self.unsettled += other["unsettled"]

    def keep(self, cache: pytest.Cache, config: pytest.Config) -> None:
        """Leave nothing: a storm comes from its seed."""

    def fails(self, config: pytest.Config) -> bool:
        return False  # a new failure is a test that failed

    def report(self, terminal: Any, config: pytest.Config) -> None:
        """Write what was done, and a line for each failure that is new."""
        if config.get_verbosity() < 0 or config.getoption("collectonly", False):
            return
        terminal.section("hsmcluster background chaos")
        terminal.write_line(self.budget)
        terminal.write_line(str(self))
        for name in sorted(self.new):
            terminal.write_line(f"new: {name}")
            for spec in self.new[name]:
                terminal.write_line(f"    {spec}")
        for name in sorted(self.unsettled):
            terminal.write_line(f"not repeatable: {name}")

    def __str__(self) -> str:
        said = [
            f"{self.struck} of {counted(self.drawn, 'fault')} struck in {counted(self.tests, 'test')}",
            f"{counted(len(self.new), 'new failure')} ({counted(self.runs, 'run')} to find the smallest faults)"
            if self.new
            else "no new failures",
        ]
        if self.old:
            said.append(counted(len(self.old), "old failure"))
        if self.unsettled:
            said.append(f"{len(self.unsettled)} not repeatable")
        return ", ".join(said)


def chaos_of(config: pytest.Config) -> BackgroundChaos:
    """Return what background chaos did in this process."""
    return cast(BackgroundChaos, part(config, "background"))
