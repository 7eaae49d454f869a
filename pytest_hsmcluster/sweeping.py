"""How does pytest run a sweep?

The test runs as itself, then once more unseen, to know whether it repeats itself; then once for each case, which is a
test of its own.  What to try is decided in `sweep`, how a test is run again in `stage`.
"""

import pytest

from .errors import UsageError
from .history.difference import first_difference
from .identities import identity, replay_command, shard_of
from .options import SETTINGS
from .selecting import Choice, sweep_asked, sweep_of
from .stage import Ran, Stage
from .sweep import Specs, Sweep, narrower
from .sweeps import AND, Broken, sweeps_of
from .tally import counted

_UNSTEADY = "the test does not repeat itself"


class _NotSwept(Exception):
    """Says why, without being anybody's mistake."""


class Sweeper:
    """The director of swept tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._choice = Choice(config)
        self._limit = config.stash[SETTINGS].sweep_limit

    def wants(self, item: pytest.Item) -> bool:
        return sweep_asked(item) is not None

    def direct(self, stage: Stage) -> None:
        told, name = sweeps_of(stage.item.config), identity(stage.item)
        try:
            sweep = sweep_of(stage.item)
            assert sweep is not None, "only swept tests are wanted"
            cases = self._cases(stage, sweep)
        except UsageError as error:
            told.not_swept(name, str(error).partition("\n")[0])
            stage.tell(f"sweep: {error}")
            return
        except _NotSwept as reason:
            told.not_swept(name, f"not swept, for {reason}")
            return
        _Cases(stage, sweep, self._choice, self._limit).run(cases)

    def _cases(self, stage: Stage, sweep: Sweep) -> list[Specs]:
        """Run the test itself and return what there is to try; its cluster is forgotten with that.

        Raises:
            UsageError: nothing, or too much, or the test does not repeat itself.
            _NotSwept: the test itself has no pass to start from.
        """
        clean = stage.play()
        if sweep.shards > 1 and shard_of(stage.item) is None:
            raise UsageError(
                "shards= cannot stand in a pytest.param, for its test is one of several already: "
                "set it at the function, its class or its module"
            )
        if stage.item.config.getoption("setuponly", False):
            raise _NotSwept("nothing but its set-up was asked for")
        if clean.outcome != "passed":
            raise _NotSwept(f"its clean run {clean.outcome}")
        if clean.trial is None:
            raise UsageError("another plugin has run the test where its clusters cannot be seen")
        if not clean.trial.clusters:
            raise UsageError("the test made no cluster, so it passes no point")
        _check_steady(clean, stage.encore(reported=False))
        passages = sweep.passages(clean.trial.clusters[0].history, *clean.trial.storm)
        cases = sweep.cases(passages)
        if not cases:
            mark = sweep_asked(stage.item)
            asked = ", ".join(f"{key}={value!r}" for key, value in mark.kwargs.items()) if mark else ""
            asked = asked or "the defaults"
            raise UsageError(f"nothing to break: the clean run passes no point that is asked for ({asked})")
        if len(cases) > self._limit:
            raise UsageError(narrower(passages, len(cases), self._limit))
        sweeps_of(stage.item.config).found(identity(stage.item), len(passages), len(cases))
        return cases


class _Cases:
    """The cases of one sweep, run one after the other."""

    def __init__(self, stage: Stage, sweep: Sweep, choice: Choice, limit: int) -> None:
        self._stage = stage
        self._sweep = sweep
        self._choice = choice
        self._limit = limit
        self._told = sweeps_of(stage.item.config)
        self._test = identity(stage.item)
        self._run = 0
        self._broken: list[Broken] = []
        self._remarks: list[str] = []

    def run(self, cases: list[Specs]) -> None:
        """Run the cases that are asked for, then, if the sweep is two faults deep, the pairs of those that held."""
        try:
            singles = self._choice.singles(self._stage, cases)
            self._stage.expect(len(singles))
            pairs = [pair for specs in singles for pair in self._perform(specs)]
            self._run_pairs(len(singles), self._without_broken(pairs))
        finally:  # also when somebody loses patience: `--lf` finds the test by this
            if self._broken or self._remarks:
                self._stage.tell(self._text())

    def _run_pairs(self, singles: int, pairs: list[Specs]) -> None:
        if singles + len(pairs) > self._limit:
            self._remarks.append(
                f"sweep: {len(pairs)} pairs and {singles} single faults are above the limit of {self._limit} "
                "(ini hsm_sweep_limit), and no pair was tried: points= and op= would narrow it, shards= divides it"
            )
            return
        self._told.paired(self._test, len(pairs))
        chosen = self._choice.pairs(self._stage, pairs)
        self._stage.expect(len(chosen))
        for pair in chosen:
            self._perform(pair)

    def _perform(self, specs: Specs) -> list[Specs]:
        """Run a case, unless pytest wants no more, and return the pairs that begin with it."""
        if self._stage.stopped:
            return []
        label = AND.join(specs)
        case = self._stage.case(label, specs)
        ran = self._stage.perform(case)
        self._run += 1
        self._told.ran(self._test, label, ran)
        if ran.outcome == "failed":
            self._broken.append(Broken(label, ran.failure, replay_command(case)))
            self._told.broke(self._test, self._broken[-1])
        elif ran.outcome == "passed" and ran.trial is not None and len(specs) < self._sweep.depth:
            history = ran.trial.clusters[0].history
            return self._without_broken(self._sweep.pairs(specs, history, *ran.trial.storm))
        return []

    def _without_broken(self, pairs: list[Specs]) -> list[Specs]:
        alone = {one.label for one in self._broken}
        return [pair for pair in pairs if pair[1] not in alone]

    def _text(self) -> str:
        lines = [*self._remarks]
        if self._broken:
            lines.append(f"sweep: {len(self._broken)} of {counted(self._run, 'case')} broke a promise")
        for one in self._broken[:10]:
            lines += ["", one.label, f"    {one.why}", f"    {one.replay}"]
        if len(self._broken) > 10:
            lines += ["", f"and {len(self._broken) - 10} more"]
        return "\n".join(lines)


def _check_steady(clean: Ran, again: Ran) -> None:
    if again.outcome != "passed" or clean.trial is None or again.trial is None:
        raise UsageError(f"{_UNSTEADY}: a first run passed, a second one {again.outcome}: {again.failure}")
    one, other = clean.trial.clusters, again.trial.clusters
    if len(one) != len(other):
        raise UsageError(f"{_UNSTEADY}: a first run made {counted(len(one), 'cluster')}, a second one {len(other)}")
    for mine, theirs in zip(one, other, strict=True):
        if difference := first_difference(mine.history, theirs.history):
            raise UsageError(f"{_UNSTEADY}, so no fault would strike where it is said to: {difference}")
