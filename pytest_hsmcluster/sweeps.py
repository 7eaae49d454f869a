"""What did the sweeps of a run find?"""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, cast

import pytest

from .parts import part
from .stage import Ran
from .tally import counted

AND = " + "
"""Between the faults of one case."""

CACHED_CASES = "hsmcluster/sweeps"
"""Where the cache keeps the labels of the cases that failed, by test."""


class Broken(NamedTuple):
    """A case that broke a promise: its faults, what the promise was, and the command that replays it."""

    label: str
    why: str
    replay: str


@dataclass(slots=True)
class Swept:
    """What one test's sweep found, in one process or in all.

    Attributes:
        points: passages that were found and asked for.
        cases: that these make, one fault each.
        pairs: of faults, beside them.
        run: of both.
        broken: those that broke a promise.
        held: labels of those that held.
        seconds: that the runs took, over all processes.
        not_swept: why there was no sweep, or None.
    """

    points: int = 0
    cases: int = 0
    pairs: int = 0
    run: int = 0
    broken: list[Broken] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    seconds: float = 0.0
    not_swept: str | None = None

    def __str__(self) -> str:
        if self.not_swept:
            return self.not_swept
        planned = self.cases + self.pairs
        run = counted(self.run, "case") if self.run == planned else f"{self.run} of {planned} cases"
        pairs = f", {self.pairs} of them pairs" if self.pairs else ""
        found = f"{counted(self.points, 'point')}, {run}{pairs}"
        return f"{found}, {len(self.broken) or 'none'} broke a promise, {self.seconds:.2f} s"


class Sweeps:
    """The sweeps of one process; the controller adds up those of its workers."""

    def __init__(self) -> None:
        self.by_test: dict[str, Swept] = {}

    def not_swept(self, test: str, why: str) -> None:
        self._of(test).not_swept = why

    def found(self, test: str, points: int, cases: int) -> None:
        swept = self._of(test)
        swept.points, swept.cases = points, cases

    def paired(self, test: str, pairs: int) -> None:
        self._of(test).pairs += pairs

    def ran(self, test: str, label: str, ran: Ran) -> None:
        swept = self._of(test)
        swept.run += 1
        swept.seconds += ran.seconds
        if ran.outcome != "failed":
            swept.held.append(label)

    def broke(self, test: str, broken: Broken) -> None:
        self._of(test).broken.append(broken)

    # -- as a part of the run --------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        return {
            test: {**asdict(swept), "broken": [list(one) for one in swept.broken]}
            for test, swept in self.by_test.items()
        }

    def add(self, other: dict[str, Any]) -> None:
        """Add what another process swept; shards of one test become one again."""
        for test, told in other.items():
            mine, theirs = self._of(test), Swept(**{**told, "broken": [Broken(*one) for one in told["broken"]]})
            mine.points, mine.cases = max(mine.points, theirs.points), max(mine.cases, theirs.cases)
            mine.pairs += theirs.pairs
            mine.run += theirs.run
            mine.seconds += theirs.seconds
            mine.broken += theirs.broken
            mine.held += theirs.held
            mine.not_swept = mine.not_swept or theirs.not_swept

    def keep(self, cache: pytest.Cache, config: pytest.Config) -> None:
        """Leave the cases that failed for `--lf` and `--ff`."""
        known = cache.get(CACHED_CASES, {})
        for test, swept in self.by_test.items():
            broken = [one.label for one in swept.broken]
            if swept.not_swept or swept.run < swept.cases + swept.pairs:  # those that were not run are as they were
                broken = [label for label in known.get(test, []) if label not in {*swept.held, *broken}] + broken
            known[test] = broken
        cache.set(CACHED_CASES, {test: labels for test, labels in known.items() if labels})

    def fails(self, config: pytest.Config) -> bool:
        return False  # a case that broke a promise is a test that failed

    def report(self, terminal: Any, config: pytest.Config) -> None:
        """Write one line for each swept test, and those of the cases that broke a promise."""
        if config.get_verbosity() < 0:
            return
        terminal.section("hsmcluster sweeps")
        for test, swept in self.by_test.items():
            terminal.write_line(f"{test}: {swept}")
            for one in swept.broken:
                terminal.write_line(f"    {one.label}")

    def _of(self, test: str) -> Swept:
        return self.by_test.setdefault(test, Swept())


def sweeps_of(config: pytest.Config) -> Sweeps:
    """Return what this process has swept."""
    return cast(Sweeps, part(config, "sweeps"))
