"""How is a test run again, with everything set up anew?

A director may run a test as often as it likes: as itself, and as encores under other circumstances.  What is private to
pytest and needed for this is here and in `theatre`; both are tested with the oldest and the newest pytest.
"""

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Protocol, cast
from warnings import WarningMessage

import pytest
from _pytest.mark import KeywordMatcher
from _pytest.mark.expression import Expression
from _pytest.outcomes import Exit
from _pytest.runner import check_interactive_exception

from .identities import identity, ungrouped
from .keeping import CASE, JUDGED, Case
from .reporting import tell

if TYPE_CHECKING:
    from .keeping import Storm
    from .theatre import Theatre
    from .trial import Trial


class Ran:
    """What became of one run of a test.

    Attributes:
        reports: of its phases, in order; several times if another plugin has rerun it.
        trial: what it had of ours, or None.
        warnings: those of an unreported run.
    """

    def __init__(
        self,
        reports: list[pytest.TestReport],
        trial: "Trial | None",
        warnings: Sequence[WarningMessage] = (),
    ) -> None:
        self.reports = reports
        self.trial = trial
        self.warnings = warnings

    @property
    def outcome(self) -> str:
        """`passed`, `failed`, `skipped`, `xfailed` or `xpassed`."""
        if any(report.failed for report in self.reports):
            return "failed"
        if any(report.skipped for report in self.reports):
            return "xfailed" if any(hasattr(report, "wasxfail") for report in self.reports) else "skipped"
        return "xpassed" if any(hasattr(report, "wasxfail") for report in self.reports) else "passed"

    @property
    def failure(self) -> str:
        """The first line of what failed, or an empty string."""
        for report in self.reports:
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                text = str(crash.message if crash else report.longrepr).strip().partition("\n")[0]
                return text.removeprefix("pytest_hsmcluster.plugin.BrokenPromise: ")
        return ""

    @property
    def seconds(self) -> float:
        """How long all phases took."""
        return sum(report.duration for report in self.reports)


class Director(Protocol):
    """Who decides how often a test runs, and how."""

    def wants(self, item: pytest.Item) -> bool:
        """Whether the test is this director's."""

    def direct(self, stage: "Stage") -> None:
        """Run it."""


class Stage:
    """One test's whole stay: itself, then as often as a director wants.

    Attributes:
        item: the test.
    """

    def __init__(self, item: pytest.Item, theatre: "Theatre") -> None:
        self.item = item
        self._theatre = theatre
        self._session = item.session
        self._index = next(i for i, one in enumerate(item.session.items) if one is item)
        self._properties = item.user_properties.copy()
        self._sibling = made(item, Case(identity(item), ""))
        self._told = False

    @property
    def stopped(self) -> bool:
        """Whether pytest wants no more tests: `-x`, `--maxfail`, an interrupt."""
        return bool(self._session.shouldfail or self._session.shouldstop)

    def expect(self, runs: int) -> None:
        """Let pytest's progress know of so many runs more."""
        self._session.testscollected += runs

    def play(
        self,
        specs: Sequence[str] = (),
        *,
        may_miss: bool = False,
        sections: Sequence[tuple[str, str]] = (),
        order: int | None = None,
    ) -> Ran:
        """Run the test itself, reported as usual.

        Args:
            specs: faults after those of its markers.
            may_miss: whether these may never fire.
            sections: (title, text) pairs that a report of its failure says too.
            order: the hand-over order of its clusters, if it is to be another one than theirs.
        """
        if specs or sections or order is not None:
            case = Case(identity(self.item), "", tuple(specs), may_miss, sections=tuple(sections), order=order)
            self.item.stash[CASE] = case
        return self._run(self.item, reported=True)

    def encore(
        self,
        label: str = "",
        specs: Sequence[str] = (),
        *,
        storm: "Storm | None" = None,
        may_miss: bool = False,
        mutant: str | None = None,
        reported: bool = True,
    ) -> Ran:
        """Run the test once more, all its own fixtures set up anew and torn down.

        Args:
            label: what its node id says between the brackets, behind the parameters.
            specs: faults after those of its markers.
            storm: draws further faults, once the test's first cluster is there.
            may_miss: whether these may never fire.
            mutant: the wrong cluster that it gets, if any.
            reported: False prints nothing, counts nowhere, and keeps the test's own node id.
        """
        case = Case(identity(self.item), label, tuple(specs), may_miss, mutant, reported, storm)
        kind = None if reported else self._theatre.unheard(type(self.item))
        one = made(self.item, case, label if reported else "", kind)
        one.user_properties = self._properties.copy()
        return self._run(one, reported)

    def report(self, ran: Ran) -> None:
        """Report what was run unreported as the test's own run."""
        nodeid, location, hook = self.item.nodeid, self.item.location, self.item.ihook
        hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
        for report in ran.reports:
            if ran.trial:
                tell(ran.trial, report, None)
            self._log(report)
        for warning in ran.warnings:
            heard = {"warning_message": warning, "nodeid": nodeid, "when": "runtest", "location": None}
            hook.pytest_warning_recorded.call_historic(kwargs=heard)
        hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)

    def case(self, label: str, specs: Sequence[str] = (), *, order: int | None = None) -> pytest.Function:
        """Return an encore to look at before it is run: `perform`."""
        one = made(self.item, Case(identity(self.item), label, tuple(specs), order=order), label)
        one.user_properties = self._properties.copy()
        return one

    def perform(self, case: pytest.Function) -> Ran:
        """Run what `case` returned."""
        return self._run(case, reported=True)

    def tell(self, text: str) -> None:
        """Report a failure of the test itself, beside what its own run reported."""

        def fail() -> None:
            raise pytest.fail.Exception(text, pytrace=False) from None

        report = pytest.TestReport.from_item_and_call(self.item, pytest.CallInfo.from_call(fail, "call"))
        report.sections.clear()  # what its own run has printed was reported with that
        self._told = True
        self._log(report)

    def end(self, nextitem: pytest.Item | None) -> None:
        """Tear down what the next test does not share: until now every run had a sibling behind it."""
        item, following = self.item, None if self.stopped else nextitem
        capturing = item.config.pluginmanager.getplugin("capturemanager")

        def tear_down() -> None:
            with capturing.item_capture("teardown", item) if capturing else nullcontext():
                self._session._setupstate.teardown_exact(following)

        call = pytest.CallInfo.from_call(tear_down, "teardown", reraise=(Exit, KeyboardInterrupt))
        if not (self._told or call.excinfo):
            return
        report = pytest.TestReport.from_item_and_call(item, call)
        self._log(report)
        if check_interactive_exception(call, report):
            item.ihook.pytest_exception_interact(node=item, call=call, report=report)

    # -- inside ----------------------------------------------------------------------------

    def _log(self, report: pytest.TestReport) -> None:
        self.item.ihook.pytest_runtest_logreport(report=report)

    def _run(self, one: pytest.Item, reported: bool) -> Ran:
        self._session.items[self._index] = one  # xdist asks that a report is that of the item
        try:
            return self._theatre.run(one, self._sibling, reported)
        finally:
            self._session.items[self._index] = self.item


def made(item: pytest.Item, case: Case, shown: str = "", kind: type[pytest.Item] | None = None) -> pytest.Function:
    """Return another item for the same test; its class instance, its arguments and its stash are new.

    Args:
        item: the test.
        case: what makes it another one.
        shown: what its node id says between the brackets, behind the parameters; empty for the test's own node id.
        kind: a class derived from the item's own, if that will not do.
    """
    test: Any = item
    callspec, name, nodeid = getattr(test, "callspec", None), test.name, test.nodeid
    if shown:
        if callspec is not None:
            callspec = dataclasses.replace(callspec, _idlist=[*callspec._idlist, shown])
        end = f"-{shown}]" if name.endswith("]") else f"[{shown}]"
        name = name.removesuffix("]") + end
        nodeid = ungrouped(test).removesuffix("]") + end
    one: Any = (kind or type(test)).from_parent(
        test.parent,
        name=name,
        callspec=callspec,
        fixtureinfo=test._fixtureinfo,
        originalname=test.originalname,
    )
    _rename(one, nodeid)
    # Hooks may have added some since the test was collected.
    one.own_markers = test.own_markers.copy()
    one.keywords.update({mark.name: mark for mark in test.own_markers})
    one.extra_keyword_matches = test.extra_keyword_matches.copy()
    one.stash[CASE] = case
    one.stash[JUDGED] = test.stash.get(JUDGED, 0)
    return cast(pytest.Function, one)


def _rename(item: Any, nodeid: str) -> None:
    """Give an item another node id; pytest 9.2 keeps it as an object of its own, older ones as text."""
    if hasattr(item, "_id"):
        item._id = type(item._id).parse(nodeid)
    else:
        item._nodeid = nodeid


class Words:
    """What `-k` asks for, asked of tests and of cases that it does not know."""

    def __init__(self, config: pytest.Config) -> None:
        self.text = config.getoption("keyword").lstrip()
        self._expression = None
        with suppress(Exception):  # a wrong expression is refused by pytest itself
            self._expression = Expression.compile(self.text) if self.text else None

    def want(self, item: pytest.Item) -> bool:
        return self._expression is None or self._expression.evaluate(KeywordMatcher.from_item(item))
