"""How is a test run again, with everything set up anew?

A director may run a test as often as it likes: as itself, and as encores under other circumstances.  pytest's private
names that this takes are all in this file; it is tested with the oldest and the newest pytest.
"""

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import pytest
from _pytest.mark import KeywordMatcher
from _pytest.mark.expression import Expression
from _pytest.outcomes import Exit

from .identities import identity, ungrouped
from .keeping import CASE, TRIAL, Case
from .reporting import tell

if TYPE_CHECKING:
    from .keeping import Storm
    from .trial import Trial

NAME = "hsmcluster-theatre"
"""The name of our plugin that runs tests again."""

PHASES = ("setup", "call", "teardown")


class Ran:
    """What became of one run of a test.

    Attributes:
        reports: of its phases, in order; several times if another plugin has rerun it.
        trial: what it had of ours, or None.
    """

    def __init__(self, reports: list[pytest.TestReport], trial: "Trial | None") -> None:
        self.reports = reports
        self.trial = trial

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
        self._sibling = self._made(Case(identity(item), ""))
        self._told = False

    @property
    def stopped(self) -> bool:
        """Whether pytest wants no more tests: `-x`, `--maxfail`, an interrupt."""
        return bool(self._session.shouldfail or self._session.shouldstop)

    def play(
        self,
        specs: Sequence[str] = (),
        *,
        may_miss: bool = False,
        sections: Sequence[tuple[str, str]] = (),
    ) -> Ran:
        """Run the test itself, reported as usual.

        Args:
            specs: faults after those of its markers.
            may_miss: whether these may never fire.
            sections: (title, text) pairs that a report of its failure says too.
        """
        if specs or sections:
            case = Case(identity(self.item), "", tuple(specs), may_miss, sections=tuple(sections))
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
        one = self._made(case, label if reported else "")
        return self._run(one, reported)

    def report(self, ran: Ran) -> None:
        """Report what was run unreported as the test's own run."""
        nodeid, location, hook = self.item.nodeid, self.item.location, self.item.ihook
        hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
        for report in ran.reports:
            if ran.trial:
                tell(ran.trial, report, None)
            self._log(report)
        hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)

    def case(self, label: str, specs: Sequence[str]) -> pytest.Function:
        """Return an encore to look at before it is run: `perform`."""
        return self._made(Case(identity(self.item), label, tuple(specs)), label)

    def perform(self, case: pytest.Function) -> Ran:
        """Run what `case` returned."""
        return self._run(case, reported=True)

    def tell(self, text: str) -> None:
        """Report a failure of the test itself, beside what its own run reported."""
        call = pytest.CallInfo.from_call(lambda: pytest.fail(text, pytrace=False), "call")
        self._told = True
        self._log(pytest.TestReport.from_item_and_call(self.item, call))

    def end(self, nextitem: pytest.Item | None) -> None:
        """Tear down what the next test does not share: until now every run had a sibling behind it."""
        teardown = self._session._setupstate.teardown_exact
        call = pytest.CallInfo.from_call(lambda: teardown(nextitem), "teardown", reraise=(Exit, KeyboardInterrupt))
        if self._told or call.excinfo:
            self._log(pytest.TestReport.from_item_and_call(self.item, call))

    # -- inside ----------------------------------------------------------------------------

    def _log(self, report: pytest.TestReport) -> None:
        self.item.ihook.pytest_runtest_logreport(report=report)

    def _run(self, one: pytest.Item, reported: bool) -> Ran:
        self._session.items[self._index] = one  # xdist asks that a report is that of the item
        try:
            return self._theatre.run(one, self._sibling, reported)
        finally:
            self._session.items[self._index] = self.item

    def _made(self, case: Case, shown: str = "") -> pytest.Function:
        """Return another item for the same test; its class instance, its arguments and its stash are new."""
        item: Any = self.item
        callspec, name, nodeid = getattr(item, "callspec", None), item.name, item.nodeid
        if shown:
            if callspec is not None:
                callspec = dataclasses.replace(callspec, _idlist=[*callspec._idlist, shown])
            end = f"-{shown}]" if name.endswith("]") else f"[{shown}]"
            name = name.removesuffix("]") + end
            nodeid = ungrouped(item).removesuffix("]") + end
        one: Any = type(item).from_parent(
            item.parent,
            name=name,
            callspec=callspec,
            fixtureinfo=item._fixtureinfo,
            originalname=item.originalname,
        )
        _rename(one, nodeid)
        # Hooks may have added some since the test was collected.
        one.own_markers = item.own_markers.copy()
        one.keywords.update({mark.name: mark for mark in item.own_markers})
        one.extra_keyword_matches = item.extra_keyword_matches.copy()
        one.user_properties = self._properties.copy()
        one.stash[CASE] = case
        return cast(pytest.Function, one)


def _rename(item: Any, nodeid: str) -> None:
    """Give an item another node id; pytest 9.2 keeps it as an object of its own, older ones as text."""
    if hasattr(item, "_id"):
        item._id = type(item._id).parse(nodeid)
    else:
        item._nodeid = nodeid


class Theatre:
    """A plugin that gives tests to their directors; registered when a run has any.

    Args:
        directors: asked in this order whose a test is.
    """

    def __init__(self, directors: Sequence[Director]) -> None:
        self._directors = directors
        self._playing = False
        self._unreported: pytest.Item | None = None
        self._watched: pytest.Item | None = None
        self._reports: list[pytest.TestReport] = []
        self._trial: Trial | None = None
        self._done = False

    def run(self, item: pytest.Item, nextitem: pytest.Item, reported: bool) -> Ran:
        """Run an item through pytest's own protocol, and every plugin's."""
        self._watched, self._reports, self._trial = item, [], None
        self._unreported = None if reported else item
        try:
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        finally:
            self._watched = self._unreported = None
        return Ran(self._reports, self._trial)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Have a test's director run it, outside of every other plugin's wrapper: those see each run alone."""
        director = None if self._playing else next((one for one in self._directors if one.wants(item)), None)
        if director is not None:
            self._playing = True
            try:
                stage = Stage(item, self)
                director.direct(stage)
                stage.end(nextitem)
            finally:
                self._playing = False
            self._done = True
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._watched is not None and report.nodeid == self._watched.nodeid:
            self._reports.append(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        if item is self._watched:
            self._trial = item.stash.get(TRIAL, None)

    def play_unreported(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run what nobody is to hear of, or keep out of it."""
        if self._done:
            self._done = False
            return True
        if item is not self._unreported:
            return None
        self._phase(item, "setup", lambda: item.ihook.pytest_runtest_setup(item=item))
        if self._reports[-1].passed:
            self._phase(item, "call", lambda: item.ihook.pytest_runtest_call(item=item))
        teardown = item.ihook.pytest_runtest_teardown
        self._phase(item, "teardown", lambda: teardown(item=item, nextitem=nextitem))
        return True

    def _phase(self, item: pytest.Item, when: Any, work: Any) -> None:
        call = pytest.CallInfo.from_call(work, when, reraise=(Exit, KeyboardInterrupt))
        self._reports.append(item.ihook.pytest_runtest_makereport(item=item, call=call))


class Curtain:
    """A second plugin of the theatre: pytest's own protocol does not run what the theatre has run."""

    def __init__(self, theatre: Theatre) -> None:
        self._theatre = theatre

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        return self._theatre.play_unreported(item, nextitem)


class Words:
    """What `-k` asks for, asked of tests and of cases that it does not know."""

    def __init__(self, config: pytest.Config) -> None:
        self.text = config.getoption("keyword").lstrip()
        self._expression = None
        with suppress(Exception):  # a wrong expression is refused by pytest itself
            self._expression = Expression.compile(self.text) if self.text else None

    def want(self, item: pytest.Item) -> bool:
        return self._expression is None or self._expression.evaluate(KeywordMatcher.from_item(item))
