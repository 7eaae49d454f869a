"""Which failures met which call sites, and did the tests survive it?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ..history.history import History
from ..history.places import OURS, Place
from .mode import Mode, Trait, traits_of
from .modes import MODES
from .witness import gathered

State = Literal["survived", "failed", "never"]

MOST_TESTS = 3
"""Failing tests that are kept for each cell."""


class Site(NamedTuple):
    """What is called at a line: one column of the matrix."""

    path: str
    line: int
    operation: str
    function: str
    test: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.function}, {self.operation}"


@dataclass(slots=True)
class Cell:
    """How often one mode met one site, in runs of tests.

    Attributes:
        passed: runs that passed.
        failed: runs that failed.
        tests: identities of some tests that failed, sorted.
    """

    passed: int = 0
    failed: int = 0
    tests: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
        """A cell has survived when no run that met it failed."""
        return "failed" if self.failed else "survived"

    def add(self, passed: int, failed: int, tests: list[str]) -> None:
        self.passed += passed
        self.failed += failed
        self.tests = sorted({*self.tests, *tests})[:MOST_TESTS]


@dataclass(slots=True)
class Column:
    """What is known of one site.

    Attributes:
        calls: operations that were called there.
        traits: what they were.
        cells: mode → cell, for modes that were met.
    """

    calls: int = 0
    traits: dict[Trait, None] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)

    def states(self) -> dict[str, State]:
        """Return mode → state for the modes that apply, in the order of the catalogue.

        A mode applies when a call of this sort can meet it, or has.
        """
        found: dict[str, State] = {}
        for mode in MODES:
            if mode.name in self.cells:
                found[mode.name] = self.cells[mode.name].state
            elif any(mode.applies(trait) for trait in self.traits):
                found[mode.name] = "never"
        return found


class Matrix:
    """Counts runs of tests; matrices of several processes can be added.

    Attributes:
        runs: runs of tests that called a cluster, and that passed or failed.
        unplaced: operations of which nobody knows who called them.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.unplaced = 0
        self._columns: dict[Site, Column] = {}

    def count(self, history: History, sites: Mapping[int, Place | None], *, passed: bool, test: str) -> None:
        """Count one cluster of one run of a test.

        Args:
            history: of the cluster.
            sites: what `Sites.places()` says of its operations.
            passed: whether the run passed: its set-up, its body, the checks at its end, its teardown.
            test: identity of the test.
        """
        met: dict[tuple[Site, str], None] = {}
        for one in gathered(history):
            place = sites.get(one.op, OURS)
            if place is OURS:
                continue
            if place is None:
                self.unplaced += 1
                continue
            site = Site(place.path, place.line, one.name, place.function, place.test)
            column = self._columns.setdefault(site, Column())
            column.calls += 1
            column.traits.update(dict.fromkeys(traits_of(one)))
            met.update(dict.fromkeys((site, mode.name) for mode in MODES if mode.met(one)))
        for site, name in met:
            cell = self._columns[site].cells.setdefault(name, Cell())
            cell.add(passed, not passed, [] if passed else [test])

    # -- what it says -----------------------------------------------------------------------

    def columns(self) -> dict[Site, Column]:
        """Return the sites, sorted: those of the application; the tests' own only when it has none."""
        ours = [site for site in self._columns if not site.test]
        return {site: self._columns[site] for site in sorted(ours or self._columns)}

    def counts(self) -> dict[State, int]:
        """Return how many cells have survived, have failed, and were never reached."""
        counts: dict[State, int] = {"survived": 0, "failed": 0, "never": 0}
        for column in self.columns().values():
            for state in column.states().values():
                counts[state] += 1
        return counts

    @property
    def percent(self) -> float:
        """How many of 100 cells were exercised and survived; 0 when there is none."""
        counts = self.counts()
        return 100 * counts["survived"] / (sum(counts.values()) or 1)

    def met_anywhere(self) -> Iterator[Mode]:
        """Yield the modes that a site has met."""
        columns = self.columns().values()
        return (mode for mode in MODES if any(mode.name in column.cells for column in columns))

    def met_nowhere(self) -> Iterator[Mode]:
        """Yield the modes that sites could have met and none has."""
        columns = [column.states() for column in self.columns().values()]
        for mode in MODES:
            states = [states[mode.name] for states in columns if mode.name in states]
            if states and all(state == "never" for state in states):
                yield mode

    # -- between processes, and for machines ---------------------------------------------------

    def export(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {
            "runs": self.runs,
            "unplaced": self.unplaced,
            "columns": [
                [
                    list(site),
                    column.calls,
                    [list(trait) for trait in column.traits],
                    {name: [cell.passed, cell.failed, cell.tests] for name, cell in column.cells.items()},
                ]
                for site, column in self._columns.items()
            ],
        }

    def add(self, other: dict[str, Any]) -> None:
        """Add what `export` of another process returned."""
        self.runs += other["runs"]
        self.unplaced += other["unplaced"]
        for site, calls, traits, cells in other["columns"]:
            column = self._columns.setdefault(Site(*site), Column())
            column.calls += calls
            column.traits.update(dict.fromkeys(Trait(*trait) for trait in traits))
            for name, (passed, failed, tests) in cells.items():
                column.cells.setdefault(name, Cell()).add(passed, failed, tests)

    def report(self) -> dict[str, Any]:
        """Return what the JSON file says: counts, the catalogue, and each site with its cells."""
        counts = self.counts()
        return {
            "format": "hsmcluster-fault-coverage",
            "version": 1,
            "percent": round(self.percent, 2),
            "survived": counts["survived"],
            "failed": counts["failed"],
            "never": counts["never"],
            "runs": self.runs,
            "unplaced_calls": self.unplaced,
            "modes": [
                {
                    "name": mode.name,
                    "group": mode.group,
                    "meaning": mode.meaning,
                    "mark": mode.said.mark,
                    "sources": list(mode.said.sources),
                    "how": mode.how,
                }
                for mode in MODES
            ],
            "sites": [
                {
                    "path": site.path,
                    "line": site.line,
                    "function": site.function,
                    "operation": site.operation,
                    "test": site.test,
                    "calls": column.calls,
                    "modes": column.states(),
                    "failing_tests": {name: cell.tests for name, cell in sorted(column.cells.items()) if cell.failed},
                }
                for site, column in self.columns().items()
            ],
        }
