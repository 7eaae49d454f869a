"""Where does pytest meet us?

Every pytest run on the machine loads this module: it imports pytest, the standard library, and of ours only what
does the same.  What is needed to emulate a cluster is imported when the first test wants one.
"""

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from . import hookspecs
from .fixtures import _hsm_toxiproxy_url as _hsm_toxiproxy_url
from .fixtures import _hsm_trial as _hsm_trial
from .fixtures import hsm_app_time as hsm_app_time
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
from .fixtures import hsm_pkcs11 as hsm_pkcs11
from .fixtures import hsm_toxiproxy as hsm_toxiproxy
from .keeping import JUDGED, PARTS, TRIAL
from .markers import CLUSTER, OURS, SIGNATURES, SWEEP, about_links, chaos_specs, levels, orders_asked
from .options import SETTINGS, add_options, read_settings
from .subjects import Subject, is_testcase, subjects_in

if TYPE_CHECKING:
    from .trial import Trial

pytest.register_assert_rewrite("pytest_hsmcluster.checkers")


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
    if settings.chaos or settings.checks or settings.defaults:
        from .mistakes import refuse_settings

        refuse_settings(config)
    if settings.coverage:
        from .covering import cover

        cover(config)
    if settings.background:
        from .storming import promise

        promise(config)

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


def pytest_report_header(config: pytest.Config) -> list[str] | None:
    settings = config.stash[SETTINGS]
    if not settings.configured:
        return None
    from .reporting import header

    lines = [header(settings)]
    if settings.background:
        from .storming import BUDGET

        lines.append(f"hsmcluster: background chaos {config.stash[BUDGET]}")
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn all wrong markers of a module into one collection error, and add the cases that are asked for by name.

    A wrapper here is the only place that is right for TestCases and under xdist.
    """
    report = yield
    if report.passed and isinstance(collector, pytest.Module | pytest.Class):
        subjects = list(subjects_in(report.result))
        if subjects:
            _refuse_wrong_markers(collector, report, subjects)
    return report


@pytest.hookimpl(trylast=True)  # behind its own parameters
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Deal a sweep out to its shards."""
    if metafunc.definition.get_closest_marker(SWEEP) is not None:
        from .selecting import deal_out

        deal_out(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let `-k` select tests by words that only their cases have."""
    if config.getoption("keyword"):
        from .selecting import lend_words

        lend_words(config, [item for item in items if _has_cases(item)])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have tests run more than once, where somebody asks for it."""
    settings = session.config.stash[SETTINGS]
    if settings.mutants or settings.background or any(map(_has_cases, session.items)):
        from .directing import open_theatre

        open_theatre(session.config)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Bring the fixtures of a marker that stands without them; when everything is set up, install the faults."""
    names = getattr(item, "fixturenames", None)
    if names is not None:
        marked = any(item.get_closest_marker(name) for name in OURS)
        if marked:
            _judge_late_markers(item)
        clustered = "hsm_cluster" in names or "hsm_cluster_factory" in names
        brought = ["hsm_cluster"] if marked and not clustered else []
        if (marked or clustered) and "hsm_toxiproxy" not in names and _is_about_links(item):
            brought.append("hsm_toxiproxy")
        if brought:
            # A new list: the cases of a parametrized test share theirs.
            item.fixturenames = [*names, *brought]  # type: ignore[attr-defined]
    yield
    trial = item.stash.get(TRIAL, None)
    if trial is not None:
        _begin_storm(trial)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Judge what the test's clusters show once its body is through.

    Here a finding is a failure of the test; in a fixture's teardown it would be an error beside a pass, and no xfail.
    """
    try:
        result = yield
    finally:
        if (trial := item.stash.get(TRIAL, None)) is not None:
            trial.raise_failures()  # what an application made of it comes second
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
        _hide_own_frames()
    report = yield
    trial = item.stash.get(TRIAL, None)
    if trial is not None:
        if trial.case is None or trial.case.reported:
            from .reporting import tell

            tell(trial, report, call.excinfo.value if call.excinfo else None)
        if report.when == "teardown":
            del item.stash[TRIAL]
            trial.settle()
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if PARTS not in config.stash:
        return
    from .parts import export_parts, keep_parts, parts_fail

    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["hsmcluster"] = export_parts(config)
    else:
        keep_parts(config)
        if session.exitstatus == pytest.ExitCode.OK and parts_fail(config):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter", config: pytest.Config) -> None:
    if PARTS not in config.stash:
        return
    from . import reporting
    from .parts import report_parts

    settings, shown = config.stash[SETTINGS], []
    if settings.timeline == "always" and not set("pPA") & set(config.option.reportchars):
        shown += [(kind, reporting.TIMELINE) for kind in ("passed", "xfailed")]
    if config.option.showcapture != "all":  # then pytest shows no sections, and a replay must not get lost
        shown += [(kind, reporting.REPLAY) for kind in ("failed", "error")]
    for kind, beginning in shown:
        for title, text in reporting.sections_of(terminalreporter.getreports(kind), beginning):
            terminalreporter.section(title, "-")
            terminalreporter.write_line(text)
    report_parts(terminalreporter, config)


def _has_cases(item: pytest.Item) -> bool:
    """Whether a test is to be run under further node ids."""
    return SWEEP in item.keywords or (CLUSTER in item.keywords and orders_asked(levels(item)) > 1)


def _is_about_links(item: pytest.Item) -> bool:
    """Whether markers or the command line put trouble on a link between applications and HSM processes."""
    return about_links((*chaos_specs(levels(item)), *item.config.stash[SETTINGS].chaos))


def _hide_own_frames() -> None:
    """Let tracebacks end where the test called us, unless `--full-trace` asks for more.

    pytest prints the arguments of the frames that it shows, and those of ours are PINs and key bytes.
    """
    for name, module in sys.modules.copy().items():
        # Findings are raised here and there; with every frame hidden pytest would print a remark about that.
        if name.startswith("pytest_hsmcluster.") and name not in (__name__, "pytest_hsmcluster.stage"):
            vars(module).setdefault("__tracebackhide__", True)


def _refuse_wrong_markers(collector: pytest.Collector, report: pytest.CollectReport, subjects: list[Subject]) -> None:
    from .mistakes import complaint

    text = complaint(collector, subjects)
    if text:
        report.outcome, report.longrepr, report.result = "failed", text, []
    if any(sign in argument for argument in collector.config.args for sign in (" @ ", "[order ", "-order ")):
        from .selecting import cases_named

        report.result += [*cases_named(collector, report.result)]
    for node in report.result:
        node.stash[JUDGED] = _marked(node)


def _marked(node: pytest.Item | pytest.Collector) -> int:
    """Return how many markers of ours a test has."""
    return sum(mark.name in OURS for mark in node.iter_markers())


def _judge_late_markers(item: pytest.Item) -> None:
    """Refuse wrong markers that a hook has added since the test was collected."""
    if item.stash.get(JUDGED, 0) == _marked(item):
        return
    from .mistakes import complaint

    fixtures = tuple(getattr(item, "fixturenames", ()))
    subject = Subject(item.nodeid, levels(item), is_testcase(getattr(item, "cls", None)), fixtures)
    text = complaint(item, [subject])
    if text:
        pytest.fail(text, pytrace=False)


def _begin_storm(trial: "Trial") -> None:
    from .errors import UsageError

    try:
        trial.begin_storm()
        return
    except UsageError as error:
        text = str(error)
    pytest.fail(text, pytrace=False)
