"""Which wrong clusters do the tests of a run notice?

With `--hsm-mutants` a test that passes is run again, unseen, with one wrong cluster after the other.  Each needs one
killer in the whole suite, so that a mutant which has one is not tried again in this process.
"""

import unittest
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import pytest

from .identities import identity
from .markers import levels
from .mutants import MUTANTS, words_of
from .parts import part
from .selecting import sweep_of
from .stage import Ran, Stage
from .sweep import Specs
from .sweeps import AND
from .tally import counted
from .trial import arguments_of


@dataclass(slots=True)
class Fate:
    """What became of one mutant, in one process or in all.

    Attributes:
        tried: runs in which it was the cluster.
        acted: those of them in which it did something wrong.
        first: the first test in which it did; killer: the first that failed for it.
    """

    tried: int = 0
    acted: int = 0
    first: str = ""
    killer: str = ""


class Mutations:
    """The wrong clusters of one process; the controller adds up those of its workers.

    Attributes:
        tests: how many were run with wrong clusters.
        fates: name of a mutant → what became of it.
        unsteady: tests that failed with a wrong cluster that had done nothing wrong: they do not repeat themselves.
    """

    def __init__(self) -> None:
        self.tests = 0
        self.fates = {name: Fate() for name in MUTANTS}
        self.unsteady: dict[str, str] = {}

    def alive(self) -> list[str]:
        """Return the mutants that nobody has killed yet."""
        return [name for name, fate in self.fates.items() if not fate.killer]

    def ran(self, mutant: str, test: str, ran: Ran) -> None:
        """Count a run with a wrong cluster."""
        fate = self.fates[mutant]
        fate.tried += 1
        if acted_in(ran):
            fate.acted += 1
            fate.first = fate.first or test
            if ran.outcome == "failed":
                fate.killer = test

    # -- as a part of the run --------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        fates = {name: asdict(fate) for name, fate in self.fates.items()}
        return {"tests": self.tests, "fates": fates, "unsteady": self.unsteady}

    def add(self, other: dict[str, Any]) -> None:
        """Add what another process tried; of two killers the first by name is told."""
        self.tests += other["tests"]
        self.unsteady.update(other["unsteady"])
        for name, told in other["fates"].items():
            mine, theirs = self.fates[name], Fate(**told)
            mine.tried += theirs.tried
            mine.acted += theirs.acted
            mine.first = min(filter(None, (mine.first, theirs.first)), default="")
            mine.killer = min(filter(None, (mine.killer, theirs.killer)), default="")

    def keep(self, cache: pytest.Cache, config: pytest.Config) -> None:
        """Leave nothing: the next run tries all of them again."""

    def fails(self, config: pytest.Config) -> bool:
        """Whether some mutant did something wrong and nobody noticed."""
        return bool(self._survivors())

    def report(self, terminal: Any, config: pytest.Config) -> None:
        """Write a line for each mutant, and two for each that survived; a quiet run names survivors only."""
        quiet = config.get_verbosity() < 0
        if quiet and not self._survivors():
            return
        terminal.section("hsmcluster mutants")
        width = max(map(len, MUTANTS))
        for name, fate in self.fates.items():
            for line in _told(name, fate) if not quiet or name in self._survivors() else ():
                terminal.write_line(f"{name:{width}}  {line}")
                name = ""
        for test, why in sorted(self.unsteady.items()):
            terminal.write_line(f"{test} does not repeat itself and tells nothing about mutants: {why}")
        terminal.write_line(self._sum())

    def _survivors(self) -> list[str]:
        return [name for name, fate in self.fates.items() if fate.acted and not fate.killer]

    def _sum(self) -> str:
        killed = sum(bool(fate.killer) for fate in self.fates.values())
        survived = len(self._survivors())
        text = f"{counted(self.tests, 'test')} against {len(self.fates)} wrong clusters: {killed} killed, "
        text += f"{survived} survived, {len(self.fates) - killed - survived} never reached"
        return text + ("; assertions have no teeth where a mutant survives" if survived else "")


class Mutator:
    """The director of all tests that use a cluster, in a run with `--hsm-mutants`."""

    def wants(self, item: pytest.Item) -> bool:
        # A TestCase is run by unittest, which does not run it again.  HSMs that are processes are right ones.
        if not isinstance(item, pytest.Function) or issubclass(item.cls or object, unittest.TestCase):
            return False
        return arguments_of(levels(item), item).get("network") != "processes"

    def direct(self, stage: Stage) -> None:
        own = stage.play()
        if own.outcome != "passed" or own.trial is None or not own.trial.clusters:
            return
        told = mutations_of(stage.item.config)
        told.tests += 1
        test = identity(stage.item)
        for specs in _circumstances(stage, own):
            mutants = told.alive()
            right = stage.encore(AND.join(specs), specs, reported=False) if specs and mutants else own
            if right.outcome != "passed":
                continue  # only what a right cluster passes can tell a wrong one
            words = _words(right)
            for mutant in mutants:
                if stage.stopped:
                    return
                if not MUTANTS[mutant].could_act(words):
                    continue
                ran = stage.encore(mutant, specs, may_miss=True, mutant=mutant, reported=False)
                if ran.outcome == "failed" and not acted_in(ran):
                    told.unsteady[test] = ran.failure
                    return
                told.ran(mutant, f"{test} with {AND.join(specs)}" if specs else test, ran)


def acted_in(ran: Ran) -> bool:
    """Whether a wrong cluster did something wrong in a run."""
    clusters = ran.trial.clusters if ran.trial is not None else []
    return any(cluster.history.note.get("mutant_acted") for cluster in clusters)


def _words(ran: Ran) -> dict[str, None]:
    clusters = ran.trial.clusters if ran.trial is not None else []
    return {word: None for cluster in clusters for word in words_of(cluster)}


def mutations_of(config: pytest.Config) -> Mutations:
    """Return what this process has tried."""
    return cast(Mutations, part(config, "mutants"))


def _circumstances(stage: Stage, own: Ran) -> Iterator[Specs]:
    """Yield the faults to run a test with: none beside its own, then those of each case of its sweep."""
    yield ()
    sweep = sweep_of(stage.item)
    if sweep is not None and own.trial is not None:
        yield from sweep.cases(sweep.passages(own.trial.clusters[0].history, *own.trial.storm))


def _told(name: str, fate: Fate) -> Iterator[str]:
    if fate.killer:
        yield f"killed by {fate.killer}"
    elif not fate.acted:
        yield "never reached"
    else:
        yield f"SURVIVED: {MUTANTS[name].meaning}"
        yield f"in {counted(fate.acted, 'run')}, first {fate.first}"
        yield f"would be seen by {MUTANTS[name].seen_by}"
