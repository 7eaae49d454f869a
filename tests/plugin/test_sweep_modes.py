"""Are the cases of a sweep tests like all others, for what pytest does with tests?"""

import re
import textwrap
import xml.etree.ElementTree as ET

import pytest

from tests.plugin.swept import AFTER, BROKEN, CASES, FAILED, ONE_CASE, ROTATION, case, names, one, verdicts

# -- when to stop -----------------------------------------------------------------------

SCOPES = """
    import pathlib
    import pytest

    def note(what):
        with pathlib.Path("notes").open("a") as notes:
            notes.write(what + "\\n")

    @pytest.fixture(scope="session")
    def session():
        note("+session")
        yield
        note("-session")

    @pytest.fixture(scope="module")
    def module(session):
        note("+module")
        yield
        note("-module")
{test}
"""


def test_exitfirst_stops_after_the_first_failing_case(run):
    """-x: no further case, no further test; the test itself is told all the same, so that --lf finds it."""
    result = run(ROTATION + AFTER, "-x", "-v")
    assert verdicts(result) == [
        ("test_rotation", "PASSED"),
        (case("test_rotation", CASES[0]), "PASSED"),
        (FAILED[0], "FAILED"),
        ("test_rotation", "FAILED"),
    ]
    assert "test_rotation: 6 points, 2 of 6 cases, 1 broke a promise" in result.stdout.str()
    assert verdicts(run(ROTATION + AFTER, "--lf", "-v")) == [
        ("test_rotation", "PASSED"),
        (FAILED[0], "FAILED"),
        ("test_rotation", "FAILED"),
    ]


def test_maxfail_counts_failing_cases(run):
    """--maxfail=2 stops after the second of them."""
    result = run(ROTATION.replace("client.clone hsm.commit", "*") + AFTER, "--maxfail=2", "-v")
    assert [word for _, word in verdicts(result)].count("FAILED") == 3  # two cases, and the test about them
    assert names(result)[-1] == "test_rotation"
    assert "test_after" not in names(result)


def test_exitfirst_tears_down_what_a_stopped_sweep_leaves(run, pytester):
    """With -x the fixtures of all scopes are torn down, once."""
    run(
        SCOPES.format(
            test=textwrap.indent(textwrap.dedent(ROTATION), "    ").replace(
                "(hsm_client)", "(hsm_client, module, session)"
            )
        ),
        "-x",
    )
    assert (pytester.path / "notes").read_text().split() == ["+session", "+module", "-module", "-session"]


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "pytest.exit('enough')"])
def test_interrupt_in_a_case_ends_the_run(run, pytester, how):
    """Ctrl-C or pytest.exit(): nothing more runs, fixtures are torn down, what is known is told and kept."""
    source = ROTATION.replace(
        "def test_rotation(hsm_client):",
        f"def test_rotation(hsm_client, request, scoped):\n        if '{CASES[4]}' in request.node.name: {how}",
    )
    scoped = """
    @pytest.fixture(scope="module")
    def scoped():
        yield
        print("torn down")
    """
    result = run(source + scoped + AFTER, "-v", "-s", apart=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = result.stdout.str()
    assert "test_after" not in text
    assert text.count("torn down") == 1
    assert "test_rotation: 6 points, 4 of 6 cases, 2 broke a promise" in text
    assert "sweep: 2 of 4 cases broke a promise" in text
    again = run(source.replace(how, "pass") + scoped + AFTER, "--lf", "-v")
    assert names(again) == ["test_rotation", *FAILED, "test_rotation"]


# -- what pytest shows ------------------------------------------------------------------


def test_durations_know_cases(run):
    """--durations lists phases of cases by their node ids, and nothing of the unseen run."""
    result = run(ROTATION, "--durations=0", "-vv")
    lines = [line for line in result.outlines if " call     test_it.py::test_rotation" in line]
    assert len(lines) == 1 + len(CASES) + 1
    assert len([line for line in result.outlines if " setup    test_it.py::test_rotation" in line]) == 1 + len(CASES)


def test_junit_xml_has_each_case(run, pytester):
    """Each case is a testcase with a replay command; the test itself is there clean, and once more with its sweep."""
    run(ROTATION, "--junit-xml=junit.xml", "-o", "junit_family=xunit1")
    suite = ET.parse(pytester.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert [one.get("name") for one in cases] == [
        "test_rotation",
        *(case("test_rotation", label) for label in CASES),
        "test_rotation",
    ]
    assert (suite.get("tests"), suite.get("failures")) == ("8", "3")
    failed = [one for one in cases if one.find("failure") is not None]
    assert [one.get("name") for one in failed] == [*FAILED, "test_rotation"]
    replay = failed[0].find("properties/property[@name='hsm_replay']")
    assert replay is not None and BROKEN[0] in str(replay.get("value"))


def test_setup_show_shows_each_run_but_the_unseen_one(run):
    """--setup-show: SETUP and TEARDOWN of the clean run and of the case; wider scopes once."""
    before = """
    import pytest

    @pytest.fixture
    def small(): yield

    @pytest.fixture(scope="module")
    def wide(): yield
    """
    text = run(one(fixtures=", small, wide", before=before), "--setup-show").stdout.str()
    assert text.count("SETUP    F small") == text.count("TEARDOWN F small") == 2
    assert text.count("SETUP    M wide") == text.count("TEARDOWN M wide") == 1


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan"])
def test_set_up_alone_is_not_swept(run, option):
    """Where no body runs no point is passed."""
    result = run(ROTATION, option)
    assert result.ret == pytest.ExitCode.OK
    assert "sweep:" not in result.stdout.str()


def test_unseen_run_is_not_heard(run):
    """Prints, log lines and warnings of the unseen run are nowhere: two runs are heard, the clean one and the case."""
    body = """
        print("printed", "once")
        logging.getLogger().warning("logged once")
        warnings.warn("warned once")
        assert "nth" not in request.node.name
    """
    source = one(body, ", request", "import logging, warnings")
    result = run(source, "-o", "filterwarnings=default", "--log-cli-level=INFO", "-o", "log_file=log.txt", "-rP")
    text = result.stdout.str()
    result.assert_outcomes(passed=1, failed=2, warnings=2)
    assert text.count("printed once") == 2
    assert text.count("live log call") == 2


def test_unseen_run_of_subtests_is_not_heard(run):
    """Subtests report themselves; those of the unseen run do not count."""
    if pytest.version_tuple < (9, 0):
        pytest.skip("subtests came with pytest 9")
    result = run(one("with subtests.test(number=1): pass", ", subtests"), "-v")
    assert result.parseoutcomes() == {"passed": 2, "subtests": 2}


def test_failing_subtest_is_a_broken_promise(run):
    """A case in which a subtest fails has failed."""
    if pytest.version_tuple < (9, 0):
        pytest.skip("subtests came with pytest 9")
    result = run(one("with subtests.test(number=1): assert 'nth' not in request.node.name", ", subtests, request"))
    assert "sweep: 1 of 1 case broke a promise" in result.stdout.str()


def test_progress_ends_at_a_hundred_percent(run):
    """Without xdist pytest's progress knows of the cases."""
    result = run(ROTATION + AFTER, "-v")
    shown = [int(line.rpartition("[")[2].removesuffix("%]")) for line in result.outlines if line.endswith("%]")]
    assert max(shown) == shown[-1] == 100


def test_progress_of_workers_stays_below_a_hundred_percent(run):
    """The controller hears of a case when it has run."""
    result = run(ROTATION + AFTER, "-v", "-p", "xdist", "-n", "2")
    shown = [int(percent) for percent in re.findall(r"\[ *(\d+)%\]", result.stdout.str())]
    assert len(shown) > 4
    assert max(shown) <= 100


def test_warnings_as_errors_fail_the_case_that_warns(run):
    """-W error: a warning of one case fails that case only."""
    body = "if 'nth' in request.node.name: warnings.warn('late')"
    source = one(body, ", request", "import warnings")
    assert verdicts(run(source, "-W", "error", "-v")) == [
        ("test_one", "PASSED"),
        (ONE_CASE, "FAILED"),
        ("test_one", "FAILED"),
    ]
    calm = run(source, "-o", "filterwarnings=default", "-v")
    calm.assert_outcomes(passed=2, warnings=1)
    assert f"test_it.py::{ONE_CASE}" in calm.stdout.str().partition("warnings summary")[2]


# -- debugging --------------------------------------------------------------------------

DEBUGGER = """
    class Debugger:
        quitting = False

        def __init__(self, *args, **kwargs): pass
        def reset(self): pass
        def interaction(self, frame, traceback, *more): print("debugging", type(self).told.pop(0))

        told = ["the case", "too much"]
"""


def test_debugger_is_entered_at_the_case(run, pytester):
    """--pdb: a failing case enters the debugger, once; the unseen run and what the test tells do not."""
    pytester.makepyfile(debugger=textwrap.dedent(DEBUGGER))
    pytester.syspathinsert()
    source = one("assert 'nth' not in request.node.name", ", request")
    result = run(source, "--pdb", "--pdbcls=debugger:Debugger", "-s")
    result.assert_outcomes(passed=1, failed=2)
    text = result.stdout.str()
    assert "debugging the case" in text and "debugging too much" not in text


def test_unseen_run_that_fails_enters_no_debugger(run, pytester):
    """--pdb: only pytest's own runs do."""
    pytester.makepyfile(debugger=textwrap.dedent(DEBUGGER))
    pytester.syspathinsert()
    source = one("runs.append(1)\nassert len(runs) != 2", before="runs = []")
    result = run(source, "--pdb", "--pdbcls=debugger:Debugger", "-s")
    assert "debugging" not in result.stdout.str()
    assert "the test does not repeat itself: a first run passed, a second one failed: " in result.stdout.str()
