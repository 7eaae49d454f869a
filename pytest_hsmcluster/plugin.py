"""Where does pytest meet us?

Every pytest run on the machine loads this module: it imports pytest, the standard library, and of ours only what
does the same.  What is needed to emulate a cluster is imported when the first test wants one.
"""

import sys
from collections.abc import Generator

import pytest

from . import hookspecs, reporting
from .fixtures import _hsm_trial as _hsm_trial
from .fixtures import hsm_async_client as hsm_async_client
from .fixtures import hsm_chaos as hsm_chaos
from .fixtures import hsm_check as hsm_check
from .fixtures import hsm_client as hsm_client
from .fixtures import hsm_clock as hsm_clock
from .fixtures import hsm_cluster as hsm_cluster
from .fixtures import hsm_cluster_factory as hsm_cluster_factory
from .fixtures import hsm_config_file as hsm_config_file
from .fixtures import hsm_faker as hsm_faker
from .fixtures import hsm_history as hsm_history
from .markers import OURS, SIGNATURES, levels
from .options import CACHED_SEED, SETTINGS, add_options, read_settings
from .reporting import TALLY, Tally, hide_own_frames
from .subjects import Subject, subjects_in
from .trial import TRIAL, Trial

pytest.register_assert_rewrite("pytest_hsmcluster.checkers")

_JUDGED = pytest.StashKey[bool]()
"""Whether an item's markers were looked at when it was collected."""


class BrokenPromise(pytest.fail.Exception, AssertionError):  # type: ignore[name-defined,misc]
    """What a test's clusters show at its end: an AssertionError for `xfail(raises=…)`, shown without a traceback."""

    of_hsmcluster = True


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    for signature in SIGNATURES:
        config.addinivalue_line("markers", signature)
    settings = config.stash[SETTINGS] = read_settings(config)
    config.stash[TALLY] = Tally()
    if settings.chaos or settings.checks or settings.defaults:
        from .mistakes import refuse_settings

        refuse_settings(config)
    if config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput"):
        from .workers import Workers

        config.pluginmanager.register(Workers(), "hsmcluster-workers")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Print a catalogue instead of running tests."""
    what = config.getoption("hsm_list")
    if what is None:
        return None
    read_settings(config)
    from .catalogue import catalogue

    sys.stdout.write(catalogue(what, config.hook) + "\n")
    return 0


def pytest_report_header(config: pytest.Config) -> str | None:
    settings = config.stash[SETTINGS]
    return reporting.header(settings) if settings.configured else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn all wrong markers of a module into one collection error.

    A wrapper here is the only place that is right for TestCases and under xdist.
    """
    report = yield
    if report.passed and isinstance(collector, pytest.Module | pytest.Class):
        subjects = list(subjects_in(report.result))
        if subjects:
            _refuse_wrong_markers(collector, report, subjects)
    return report


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Bring the fixture of a marker that stands without it; when everything is set up, install the faults."""
    names = getattr(item, "fixturenames", None)
    if names is not None and any(item.get_closest_marker(name) for name in OURS):
        _judge_late_markers(item)
        if "hsm_cluster" not in names and "hsm_cluster_factory" not in names:
            # A new list: the cases of a parametrized test share theirs.
            item.fixturenames = [*names, "hsm_cluster"]  # type: ignore[attr-defined]
    yield
    trial = item.stash.get(TRIAL, None)
    if trial is not None:
        _begin_storm(trial)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Judge what the test's clusters show once its body is through.

    Here a finding is a failure of the test; in a fixture's teardown it would be an error beside a pass, and no xfail.
    """
    result = yield
    trial = item.stash.get(TRIAL, None)
    # A TestCase keeps its failure here instead of raising it; it comes first, the findings become a section.
    if trial is not None and not getattr(item, "_excinfo", None) and trial.findings():
        raise BrokenPromise("\n".join(trial.findings()), pytrace=False)  # type: ignore[call-arg]
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add our sections to the finished verdict, and let go of the clusters with the last phase."""
    if call.excinfo is not None:
        hide_own_frames()
    report = yield
    trial = item.stash.get(TRIAL, None)
    if trial is not None:
        if trial.clusters and (report.when == "call" or report.failed):
            error = call.excinfo.value if call.excinfo else None
            report.sections += reporting.sections(trial, report, error)
            report.user_properties += reporting.properties(trial, report)
        if report.when == "teardown":
            item.config.stash[TALLY].count(trial)
            del item.stash[TRIAL]
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["hsmcluster"] = config.stash[TALLY].export()
    elif config.stash[TALLY].clusters and config.pluginmanager.hasplugin("cacheprovider") and config.cache:
        config.cache.set(CACHED_SEED, config.stash[SETTINGS].seed)


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter", config: pytest.Config) -> None:
    settings, tally = config.stash[SETTINGS], config.stash[TALLY]
    shown = []
    if settings.timeline == "always" and not set("pPA") & set(config.option.reportchars):
        shown += [(kind, reporting.TIMELINE) for kind in ("passed", "xfailed")]
    if config.option.showcapture != "all":  # then pytest shows no sections, and a replay must not get lost
        shown += [(kind, reporting.REPLAY) for kind in ("failed", "error")]
    for kind, beginning in shown:
        for title, text in reporting.sections_of(terminalreporter.getreports(kind), beginning):
            terminalreporter.section(title, "-")
            terminalreporter.write_line(text)
    if tally.clusters and config.get_verbosity() >= 0:
        terminalreporter.section("hsmcluster")
        terminalreporter.write_line(reporting.summary(settings, tally))


def _refuse_wrong_markers(collector: pytest.Collector, report: pytest.CollectReport, subjects: list[Subject]) -> None:
    from .mistakes import complaint

    text = complaint(collector, subjects)
    if text:
        report.outcome, report.longrepr, report.result = "failed", text, []
    for node in report.result:
        node.stash[_JUDGED] = True


def _judge_late_markers(item: pytest.Item) -> None:
    """Refuse wrong markers that a hook has added since the test was collected."""
    if item.stash.get(_JUDGED, False):
        return
    from .mistakes import complaint

    text = complaint(item, [Subject(item.nodeid, levels(item))])
    if text:
        pytest.fail(text, pytrace=False)


def _begin_storm(trial: Trial) -> None:
    from .errors import UsageError

    try:
        trial.begin_storm()
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)
