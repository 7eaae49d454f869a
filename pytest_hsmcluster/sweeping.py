"""How does pytest run a sweep?

The test runs as itself, then once more unseen, to know whether it repeats itself; then once for each case, which is a
test of its own.  What to try is decided in `sweep`, how a test is run again in `stage`.
"""

import re
from itertools import combinations
from typing import NamedTuple

import pytest

from .faults.effects import EFFECTS
from .faults.points import Point
from .faults.when import COMMANDS, OPERATIONS
from .history.difference import first_difference
from .identities import SHARD, identity, replay_command
from .markers import levels, sweep_mark
from .options import SETTINGS
from .stage import Ran, Stage, Words
from .sweep import Specs, Sweep, narrower
from .sweeps import CACHED_CASES, Broken, Sweeps, sweeps_of

AND = " + "
"""Between the faults of one case."""

_CASES = pytest.StashKey[list[tuple[str, str]]]()
"""With the configuration: (end of a node id, label) of the cases that were asked for by their node ids."""
_LENT = pytest.StashKey[set[str]]()
"""With an item: words that it was lent so that `-k` finds it."""

_CASE_ID = re.compile(rf"(.*?)([\[-])((?:{'|'.join(EFFECTS)})(?: [^ @]+)* @ .+)\]", re.DOTALL)


def sweep_of(item: pytest.Item) -> Sweep | None:
    """Return the sweep that a test's marker asks for; None for another test, and for one whose faults are given."""
    mark = sweep_mark(levels(item)) if isinstance(item, pytest.Function) else None
    if mark is None or item.config.stash[SETTINGS].chaos:
        return None
    return Sweep.of(*mark.args, **mark.kwargs)


def deal_out(metafunc: pytest.Metafunc) -> None:
    """Make one test of each shard; a wrong marker is refused elsewhere."""
    mark = sweep_mark(levels(metafunc.definition))
    shards = mark.kwargs.get("shards", 1) if mark else 1
    if metafunc.config.stash[SETTINGS].chaos or not isinstance(shards, int) or not 1 < shards <= 1000:
        return
    names = [f"shard {number} of {shards}" for number in range(1, shards + 1)]
    metafunc.fixturenames.append(SHARD)
    metafunc.parametrize(SHARD, names, ids=names)


def cut_back(config: pytest.Config) -> None:
    """Turn node ids of cases on the command line into those of their tests, and remember the cases."""
    cases = config.stash.setdefault(_CASES, [])
    for index, argument in enumerate(config.args):
        found = _CASE_ID.fullmatch(argument)
        if found:
            test = found[1] + ("]" if found[2] == "-" else "")
            config.args[index] = test
            cases.append((test.replace("\\", "/").rpartition("/")[2], found[3]))


def lend_words(config: pytest.Config, swept: list[pytest.Item]) -> None:
    """Let a swept test go by words of its cases: as many of those in `-k` as it needs to be selected."""
    words = Words(config)
    known = [*EFFECTS, *Point, *COMMANDS, *OPERATIONS]
    asked = dict.fromkeys(re.findall(r"[^\s()]+", words.text.lower()))
    lent = [word for word in asked if re.fullmatch(r"hsm-?\d*", word) or any(word in one for one in known)]
    for item in swept:
        if words.want(item):
            continue
        before = item.extra_keyword_matches.copy()
        for chosen in (some for size in range(1, len(lent) + 1) for some in combinations(lent, size)):
            item.extra_keyword_matches = before.union(chosen)
            if words.want(item):
                item.stash[_LENT] = set(chosen) - before
                break
        else:
            item.extra_keyword_matches = before


class _Plan(NamedTuple):
    """The cases of a sweep that are to be run, and what is known before."""

    sweep: Sweep
    cases: list[Specs]
    clean: Ran


class Sweeper:
    """The director of swept tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._limit = config.stash[SETTINGS].sweep_limit
        self._words = Words(config)
        self._asked = config.stash.get(_CASES, [])
        self._only_failed = bool(config.getoption("lf", False))
        cached = config.pluginmanager.hasplugin("cacheprovider") and config.cache
        known = cached.get(CACHED_CASES, {}) if cached else {}
        wanted = self._only_failed or config.getoption("failedfirst", False)
        self._failed: dict[str, list[str]] = known if wanted else {}

    def wants(self, item: pytest.Item) -> bool:
        return sweep_of(item) is not None

    def direct(self, stage: Stage) -> None:
        asked = [label for test, label in self._asked if stage.item.nodeid.endswith(test)]
        if asked:
            for label in dict.fromkeys(asked):
                stage.encore(label, label.split(AND))
            return
        clean = stage.play()
        told = sweeps_of(stage.item.config)
        name = identity(stage.item)
        if clean.outcome != "passed":
            told.not_swept(name, f"not swept, for its clean run {clean.outcome}")
            return
        plan = self._plan(stage, clean)
        if isinstance(plan, str):
            told.not_swept(name, plan.partition("\n")[0])
            stage.tell(f"sweep: {plan}")
            return
        self._run(stage, plan, told)

    def _plan(self, stage: Stage, clean: Ran) -> _Plan | str:
        """Return what to run, or why nothing can be."""
        sweep = sweep_of(stage.item)
        assert sweep is not None and clean.trial is not None
        if not clean.trial.clusters:
            return "the test made no cluster, so it passes no point"
        again = stage.encore(reported=False)
        if again.outcome != "passed" or again.trial is None:
            return f"the test does not repeat itself: a first run passed, a second one {again.outcome}: {again.failure}"
        for one, other in zip(clean.trial.clusters, again.trial.clusters, strict=False):
            difference = first_difference(one.history, other.history)
            if difference:
                return f"the test does not repeat itself, so no fault would strike where it is said to: {difference}"
        passages = sweep.passages(clean.trial.clusters[0].history, *clean.trial.storm)
        cases = sweep.cases(passages)
        if not cases:
            mark = sweep_mark(levels(stage.item))
            asked = ", ".join(f"{key}={value!r}" for key, value in mark.kwargs.items()) if mark else ""
            return f"nothing to break: the clean run passes no point that is asked for ({asked or 'the defaults'})"
        if len(cases) > self._limit:
            return narrower(passages, len(cases), self._limit)
        sweeps_of(stage.item.config).found(identity(stage.item), len(passages), len(cases))
        return _Plan(sweep, cases, clean)

    def _run(self, stage: Stage, plan: _Plan, told: Sweeps) -> None:
        """Run the cases, then, if the sweep is two faults deep, the pairs of those that held."""
        name, failed = identity(stage.item), self._failed.get(identity(stage.item), [])
        mine = self._selected(_shard(stage.item, plan.cases), failed)
        broken: list[Broken] = []
        pairs: list[Specs] = []
        for specs in mine:
            ran = self._case(stage, specs, broken, told)
            if ran is not None and plan.sweep.depth > 1 and ran.outcome == "passed" and ran.trial is not None:
                alone = [one.label for one in broken]
                pairs += plan.sweep.pairs(specs, ran.trial.clusters[0].history, *ran.trial.storm, alone)
        alone = [one.label for one in broken]
        pairs = self._selected([pair for pair in pairs if pair[1] not in alone], failed)
        if len(mine) + len(pairs) > self._limit:
            stage.tell(
                f"sweep: {len(pairs)} pairs and {len(mine)} single faults are above the limit of {self._limit} "
                "(ini hsm_sweep_limit), and no pair was tried: points= and op= would narrow it, shards= divides it"
            )
            return
        told.planned(name, len(pairs))
        for pair in pairs:
            self._case(stage, pair, broken, told)
        if broken:
            stage.tell(_told(stage.item, broken, told.run_of(name)))

    def _case(self, stage: Stage, specs: Specs, broken: list[Broken], told: Sweeps) -> Ran | None:
        """Run one case, unless pytest wants no more, or `-k` not this one."""
        label, name = AND.join(specs), identity(stage.item)
        if stage.stopped:
            return None
        case = stage.case(label, specs)
        lent: set[str] = stage.item.stash.get(_LENT, set[str]())
        case.extra_keyword_matches -= lent
        if not self._words.want(case):
            return None
        ran = stage.perform(case)
        told.ran(name, label, ran)
        if ran.outcome == "failed":
            broken.append(Broken(label, ran.failure, replay_command(case)))
            told.broke(name, broken[-1])
        return ran

    def _selected(self, cases: list[Specs], failed: list[str]) -> list[Specs]:
        """Return the cases that `--lf` and `--ff` leave, in their order."""
        known = [specs for specs in cases if AND.join(specs) in failed]
        if self._only_failed and failed:
            return known
        return known + [specs for specs in cases if specs not in known]


def _shard(item: pytest.Item, cases: list[Specs]) -> list[Specs]:
    parameter = getattr(getattr(item, "callspec", None), "params", {}).get(SHARD)
    if parameter is None:
        return cases
    _, number, _, shards = str(parameter).split()
    return cases[int(number) - 1 :: int(shards)]


def _told(item: pytest.Item, broken: list[Broken], run: int) -> str:
    lines = [f"sweep: {len(broken)} of {run} cases broke a promise"]
    for one in broken[:10]:
        lines += ["", one.label, f"    {one.why}", f"    {one.replay}"]
    if len(broken) > 10:
        lines += ["", f"and {len(broken) - 10} more"]
    return "\n".join(lines)
