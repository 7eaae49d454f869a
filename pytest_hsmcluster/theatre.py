"""Which runs of a test does pytest see, and who begins and ends them?

What is private to pytest and needed for running tests again is here and in `stage`, which says what a run is.
"""

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace, new_class
from typing import TYPE_CHECKING, Any
from warnings import WarningMessage

import pytest
from _pytest.outcomes import Exit

from .identities import identity
from .keeping import TRIAL
from .stage import Director, Ran, Stage

if TYPE_CHECKING:
    from .trial import Trial

NAME = "hsmcluster-theatre"
"""The name of our plugin that runs tests again."""


class _Deaf:
    """The hooks of a run that nobody hears of: what plugins report of it by themselves, as subtests do, stays here."""

    def __init__(self, hooks: Any, heard: Callable[[pytest.TestReport], None]) -> None:
        self._hooks = hooks
        self.pytest_runtest_logreport = lambda report: heard(report)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hooks, name)

    def pytest_exception_interact(self, **_: Any) -> None:
        """Do not enter a debugger."""


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
        self._warnings: list[WarningMessage] = []
        self._trial: Trial | None = None
        self._ending: Stage | None = None
        self._kinds: dict[type, type[pytest.Item]] = {}

    def run(self, item: pytest.Item, nextitem: pytest.Item, reported: bool) -> Ran:
        """Run an item through pytest's own protocol, and every plugin's."""
        self._watched, self._unreported = item, None if reported else item
        try:
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            return Ran(self._reports, self._trial, self._warnings)
        finally:  # nothing of ours outlives its run
            self._watched = self._unreported = self._trial = None
            self._reports, self._warnings = [], []

    def unheard(self, kind: type[pytest.Item]) -> type[pytest.Item]:
        """Return a class for items of this one whose own reports nobody hears."""
        if kind not in self._kinds:
            heard = self._reports_of_unheard
            ihook = property(lambda item: _Deaf(item.session.gethookproxy(item.path), heard))
            self._kinds[kind] = new_class(kind.__name__, (kind,), exec_body=lambda body: body.update(ihook=ihook))
        return self._kinds[kind]

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
            finally:
                self._playing = False
            self._ending = stage
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._watched is not None and report.nodeid == self._watched.nodeid:
            self._reports.append(report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        with _seeded_as_its_test(item, "pytest_runtest_setup"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        with _seeded_as_its_test(item, "pytest_runtest_call"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        if item is self._watched:
            self._trial = item.stash.get(TRIAL, None)
        with _seeded_as_its_test(item, "pytest_runtest_teardown"):
            return (yield)

    def take_over(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run what nobody is to hear of; end what a director has run; leave everything else to pytest."""
        if self._ending is not None and self._ending.item is item:
            stage, self._ending = self._ending, None
            stage.end(nextitem)
            return True
        if item is not self._unreported:
            return None
        with _unseen(item.config), warnings.catch_warnings(record=True) as self._warnings:
            self._phase(item, "setup", lambda: item.ihook.pytest_runtest_setup(item=item))
            if self._reports[-1].passed:
                self._phase(item, "call", lambda: item.ihook.pytest_runtest_call(item=item))
            teardown = item.ihook.pytest_runtest_teardown
            self._phase(item, "teardown", lambda: teardown(item=item, nextitem=nextitem))
        # As pytest does it: who keeps the item shall not keep what it was given.
        item._request, item.funcargs = False, None  # type: ignore[attr-defined]
        return True

    def _phase(self, item: pytest.Item, when: Any, work: Any) -> None:
        call = pytest.CallInfo.from_call(work, when, reraise=(Exit, KeyboardInterrupt))
        self._reports.append(item.ihook.pytest_runtest_makereport(item=item, call=call))

    def _reports_of_unheard(self, report: pytest.TestReport) -> None:
        self._reports.append(report)


class Curtain:
    """A second plugin of the theatre: pytest's own protocol does not run what the theatre runs."""

    def __init__(self, theatre: Theatre) -> None:
        self._theatre = theatre

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        return self._theatre.take_over(item, nextitem)


@contextmanager
def _unseen(config: pytest.Config) -> Iterator[None]:
    """Let nothing of a run be seen: no fixture is shown, no log line is printed."""
    option, plugin = config.option, config.pluginmanager.getplugin("logging-plugin")
    handlers = [plugin.log_cli_handler, plugin.log_file_handler] if plugin else []
    shown, option.setupshow = getattr(option, "setupshow", False), False
    for handler in handlers:
        handler.addFilter(_nothing)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_nothing)
        option.setupshow = shown


def _nothing(record: object) -> bool:
    return False


@contextmanager
def _seeded_as_its_test(item: pytest.Item, phase: str) -> Iterator[None]:
    """Let pytest-randomly, which seeds by node id, give a case the numbers that its test and its replay have."""
    option, plugins, test = item.config.option, item.config.pluginmanager, identity(item)
    randomly = plugins.get_plugin("randomly") or plugins.get_plugin("pytest_randomly")
    if randomly is None or not getattr(option, "randomly_reset_seed", False) or test == item.nodeid:
        yield
        return
    getattr(randomly, phase)(SimpleNamespace(nodeid=test, config=item.config))
    option.randomly_reset_seed = False
    try:
        yield
    finally:
        option.randomly_reset_seed = True
