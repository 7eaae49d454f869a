"""Are the cases of a sweep tests like all others, for pytest's modes and for other plugins?"""

import re
import shlex
import sys
import textwrap
import xml.etree.ElementTree as ET

import pytest

from tests.plugin.swept import BROKEN, CASES, HOLDS, LATE, NOTED, ROTATION, case, names, noted, verdicts

FAILED = [case("test_rotation", label) for label in BROKEN]
LATE_CASES = [
    case("test_holds", f"delay 1s @ {point} op=generate_key command=generate_key hsm=hsm-1 nth=1") for point in LATE
]
AFTER = """
    def test_after():
        pass
"""

ONE = """
    import pytest

    @pytest.mark.hsm_cluster(hsms=1, sdk=3)
    @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
    def test_one(hsm_client{fixtures}):
        hsm_client.generate_key("AES", 256, label="kek")
        {body}
"""
"""Passes one point, so that there is one case."""
ONE_CASE = case("test_one", "delay 1s @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=1")


def one(body: str = "", fixtures: str = "", before: str = "") -> str:
    """Return `ONE` with more in its body, further fixtures, and what stands above it."""
    body = textwrap.indent(textwrap.dedent(body), "        ").lstrip()
    return textwrap.indent(textwrap.dedent(before), "    ") + ONE.format(body=body, fixtures=fixtures)


# -- when to stop -----------------------------------------------------------------------


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


# -- pytest's memory --------------------------------------------------------------------


def test_last_failed_runs_the_clean_run_and_the_cases_that_failed(run):
    """--lf: these only; when they hold the next --lf has nothing left."""
    assert names(run(ROTATION + AFTER, "-v"))[-1] == "test_after"
    again = run(ROTATION + AFTER, "--lf", "-v")
    assert names(again) == ["test_rotation", *FAILED, "test_rotation"]
    assert "test_rotation: 6 points, 2 of 6 cases, 2 broke a promise" in again.stdout.str()
    mended = ROTATION.replace("sdk=3", "sdk=3, checks=()") + AFTER
    assert names(run(mended, "--lf", "-v")) == ["test_rotation", *FAILED]
    assert names(run(mended, "--lf", "-v"))[-1] == "test_after"


def test_failed_first_runs_the_cases_that_failed_before_the_others(run):
    """--ff: the swept test first, and of it these cases first."""
    first = AFTER + ROTATION
    assert names(run(first, "-v"))[0] == "test_after"
    held = [case("test_rotation", label) for label in CASES if label not in BROKEN]
    assert names(run(first, "--ff", "-v")) == ["test_rotation", *FAILED, *held, "test_rotation", "test_after"]


def test_failed_cases_that_no_longer_exist_are_no_reason_to_run_none(run):
    """When the test has changed, --lf runs all its cases."""
    run(ROTATION)
    changed = ROTATION.replace('"destroy source"', '"crash source"')
    assert len(names(run(changed, "--lf", "-v"))) == 1 + len(CASES)


def test_clean_run_that_fails_keeps_the_failed_cases_in_mind(run):
    """A sweep that could not be made says nothing about them."""
    run(ROTATION)
    run(ROTATION.replace("with suppress", "raise KeyError\n        with suppress"))
    assert names(run(ROTATION, "--lf", "-v")) == ["test_rotation", *FAILED, "test_rotation"]


def test_last_failed_pair_is_run_with_the_case_that_begins_it(run):
    """Pairs that failed are found again through their first faults."""
    source = ROTATION.replace(
        '"destroy source", points="client.clone hsm.commit"', '"drop", "destroy source", points="client.clone", depth=2'
    )
    failed = [name for name, word in verdicts(run(source, "-v")) if word == "FAILED" and " + " in name]
    assert failed
    again = verdicts(run(source, "--lf", "-v"))
    assert [name for name, word in again if word == "FAILED" and " + " in name] == failed


def test_stepwise_goes_on_with_the_test(run):
    """--stepwise stops at a failing case, and begins with its test next time."""
    first = run(AFTER + ROTATION, "--stepwise", "-v")
    assert verdicts(first)[-1] == ("test_rotation", "FAILED")
    assert names(run(AFTER + ROTATION, "--stepwise", "-v"))[0] == "test_rotation"


def test_new_first_and_failed_are_only_an_order(run):
    """--nf runs what it would run without."""
    assert names(run(ROTATION, "--nf", "-v")) == names(run(ROTATION, "-v"))


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


# -- fixtures ---------------------------------------------------------------------------

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


def test_wider_scopes_stay_up_for_all_cases_and_end_once(run, pytester):
    """Fixtures of class, module and session are made once for a test, its cases and its neighbours, and end in time."""
    result = run(
        """
        import pathlib
        import pytest

        def noting(scope):
            @pytest.fixture(scope=scope)
            def fixture():
                note("+" + scope)
                yield
                note("-" + scope)
            return fixture

        def note(what):
            with pathlib.Path("notes").open("a") as notes:
                notes.write(what + "\\n")

        function, klass, module, session = map(noting, ["function", "class", "module", "session"])

        class TestClass:
            instances = set()

            @pytest.mark.hsm_cluster(hsms=1, sdk=3)
            @pytest.mark.hsm_sweep("delay 1s", points="hsm.*", op="generate_key")
            def test_holds(self, hsm_client, function, klass, module, session):
                assert not hasattr(self, "dirty")
                self.dirty = True
                hsm_client.generate_key("AES", 256, label="kek")
                note("run")

            def test_sibling(self, klass):
                note("sibling")

        def test_neighbour(module):
            note("neighbour")
    """,
        "-v",
    )
    result.assert_outcomes(passed=1 + 3 + 2)
    lines = (pytester.path / "notes").read_text().split()
    runs = ["+function", "run", "-function"] * 5  # clean, unseen, three cases
    assert [line for line in lines if line not in ("+session", "+module", "+class")] == [
        *runs,
        *("sibling", "-class"),
        *("neighbour", "-module", "-session"),
    ]
    assert sorted(lines[:3]) == ["+class", "+module", "+session"]


def test_wider_scopes_end_between_swept_tests(run, pytester):
    """A class's fixture is torn down behind the last case of its last test, and its prints are captured."""
    result = run("""
        import pytest

        @pytest.fixture(scope="class")
        def scoped():
            yield
            print("torn down")
            if fails:
                raise KeyError("in tear-down")

        fails = False

        class TestOne:
            @pytest.mark.hsm_cluster(hsms=1, sdk=3)
            @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
            def test_it(self, hsm_client, scoped):
                hsm_client.generate_key("AES", 256, label="kek")

        def test_after():
            print("after")
            assert False
    """)
    result.assert_outcomes(passed=2, failed=1)
    assert "torn down" not in result.stdout.str()


def test_wrong_tear_down_of_a_wider_scope_is_reported(run):
    """It is an error of the test, told once with what it printed, whether its cases held or not."""
    fixture = """
    @pytest.fixture(scope="module")
    def scoped():
        yield
        print("tearing down")
        raise KeyError("in tear-down")
    """
    for source, passed, failed in ((HOLDS, 4, 0), (ROTATION, 5, 3)):
        result = run(source.replace("hsm_client)", "hsm_client, scoped)") + fixture)
        result.assert_outcomes(passed=passed, failed=failed, errors=1)
        text = result.stdout.str()
        assert text.count("KeyError: 'in tear-down'") >= 1
        assert "Captured stdout teardown" in text and "tearing down" in text


def test_wrong_tear_down_is_reported_when_the_sweep_itself_stops_the_run(run):
    """-x, and the sweep is what fails: nothing of the next test is waited for."""
    fixture = """
    @pytest.fixture(scope="module")
    def scoped():
        yield
        raise KeyError("in tear-down")

    def test_after(scoped): pass
    """
    source = HOLDS.replace("hsm_client)", "hsm_client, scoped)").replace('op="generate_key"', 'op="sign"')
    run(source + fixture, "-x").assert_outcomes(passed=1, failed=1, errors=1)


def test_tear_down_of_a_wider_scope_may_not_warn_under_w_error(run):
    """Filters for warnings hold there too."""
    fixture = """
    import warnings

    @pytest.fixture(scope="module")
    def scoped():
        yield
        warnings.warn("late")
    """
    run(HOLDS.replace("hsm_client)", "hsm_client, scoped)") + fixture).assert_outcomes(passed=4, errors=1)


def test_set_up_that_fails_in_a_case_breaks_it(run):
    """An error in a case's set-up is an error of that case, and the sweep tells it."""
    before = """
    import pytest

    @pytest.fixture
    def picky(request):
        if "nth" in request.node.name:
            raise KeyError("picky")
    """
    result = run(one(fixtures=", picky", before=before), "-v")
    assert verdicts(result) == [("test_one", "PASSED"), (ONE_CASE, "ERROR"), ("test_one", "FAILED")]
    assert "sweep: 1 of 1 case broke a promise" in result.stdout.str()


def test_class_has_a_fresh_instance_for_each_run(run):
    """setup_method and attributes of self are a case's own; setup_class is the class's."""
    run("""
        import pytest

        calls = []

        class TestClass:
            @classmethod
            def setup_class(cls): calls.append("class")
            @classmethod
            def teardown_class(cls): calls.append("class down")
            def setup_method(self, method): calls.append(f"{method.__name__} {hasattr(self, 'used')}")
            def teardown_method(self): calls.append(f"down {self.used}")

            @pytest.mark.hsm_cluster(hsms=1, sdk=3)
            @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
            def test_it(self, hsm_client):
                self.used = len(calls)
                hsm_client.generate_key("AES", 256, label="kek")

        def test_after():
            once = "test_it False"
            assert calls == ["class", once, "down 2", once, "down 4", once, "down 6", "class down"]
    """).assert_outcomes(passed=3)


def test_parameters_are_those_of_the_test(run):
    """Parameters, direct, indirect and of wider scopes, reach each case; a wider one is made once a value."""
    result = run(
        """
        import pytest

        made = []

        @pytest.fixture(scope="module", params=["a", "b"])
        def wide(request):
            made.append(request.param)
            return request.param

        @pytest.fixture
        def indirect(request):
            return request.param * 2

        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
        @pytest.mark.parametrize("n, indirect", [(1, "x")], indirect=["indirect"])
        def test_it(request, wide, n, indirect, hsm_client):
            assert request.node.callspec.params == {"wide": wide, "n": 1, "indirect": "x"}
            assert indirect == "xx" and request.node.name.startswith(request.node.originalname)
            hsm_client.generate_key("AES", 256, label="kek")

        def test_after():
            assert made == ["a", "b"]
    """,
        "-v",
    )
    label = "delay 1s @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=1"
    assert names(result) == [
        "test_it[a-1-x]",
        f"test_it[a-1-x-{label}]",
        "test_it[b-1-x]",
        f"test_it[b-1-x-{label}]",
        "test_after",
    ]
    result.assert_outcomes(passed=5)


def test_fixtures_of_pytest_work_in_cases(run):
    """tmp_path is a folder of its own; capsys, caplog, monkeypatch, recwarn and record_property serve each case."""
    body = """
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "mine").touch()
        print("said")
        assert capsys.readouterr().out == "said\\n"
        logging.getLogger("app").warning("heard")
        assert [record.message for record in caplog.records] == ["heard"]
        assert "HSM_TEST" not in os.environ
        monkeypatch.setenv("HSM_TEST", "1")
        record_property("mine", 1)
        assert len(request.node.user_properties) == 1
        folders.append(tmp_path)
        assert len(set(folders)) == len(folders)
        assert request.node in request.session.items
        assert os.environ["PYTEST_CURRENT_TEST"] == request.node.nodeid + " (call)"
    """
    fixtures = ", tmp_path, capsys, caplog, monkeypatch, record_property, request"
    result = run(one(body, fixtures, "import logging, os\nfolders = []"), "-v")
    assert verdicts(result) == [("test_one", "PASSED"), (ONE_CASE, "PASSED")]


def test_request_node_is_the_case(run):
    """It has the markers of the test, also those that a hook has added, and its node id says the fault."""
    conftest = """
    import pytest

    def pytest_collection_modifyitems(items):
        for item in items:
            item.add_marker(pytest.mark.hsm_cluster(hsms=2))
            item.user_properties.append(("mine", 1))
    """
    body = """
        shapes = [mark.kwargs for mark in request.node.iter_markers("hsm_cluster")]
        assert shapes == [{"hsms": 1, "sdk": 3}, {"hsms": 2}]
        assert request.node.get_closest_marker("hsm_sweep")
        assert request.node.user_properties == [("mine", 1)]
        assert request.node.nodeid in ("test_it.py::test_one", f"test_it.py::{CASE}")
    """
    result = run(one(body, ", hsm_cluster, request", f"CASE = {ONE_CASE!r}"), conftest=conftest)
    result.assert_outcomes(passed=2)


# -- other plugins ----------------------------------------------------------------------


def test_reruns_repeat_a_case(run):
    """pytest-rerunfailures repeats a case that fails; what passes at last has held, and a flaky clean run is swept."""
    body = """
        runs.append(request.node.name)
        if runs.count(request.node.name) == (3 if "nth" not in request.node.name else 1):
            raise KeyError("flaky")
    """
    source = one(body, ", request", "runs = []")
    result = run(source, "-p", "rerunfailures", "--reruns=2", "-v")
    assert verdicts(result) == [("test_one", "PASSED"), (ONE_CASE, "RERUN"), (ONE_CASE, "PASSED")]
    assert "test_one: 1 point, 1 case, none broke a promise" in result.stdout.str()


def test_case_that_fails_to_the_end_of_its_reruns_is_broken_once(run):
    """Three runs of one case are one broken promise."""
    result = run(ROTATION, "-p", "rerunfailures", "--reruns=1", "-v")
    assert [word for _, word in verdicts(result)].count("RERUN") == 2
    assert "test_rotation: 6 points, 6 cases, 2 broke a promise" in result.stdout.str()


HANGS = "if 'nth' in request.node.name: __import__('time').sleep(60)"


def test_time_out_by_signal_fails_the_case(run):
    """pytest-timeout counts anew for each case."""
    source = one(HANGS, ", request") + AFTER
    result = run(source, "-p", "timeout", "--timeout=0.5", "--timeout-method=signal", "-v")
    result.assert_outcomes(passed=2, failed=2)
    assert "sweep: 1 of 1 case broke a promise" in result.stdout.str()
    assert "Failed: Timeout" in result.stdout.str()


def test_time_out_by_thread_names_the_case(run):
    """With its thread method pytest-timeout ends the process, at the case."""
    source = one(HANGS, ", request") + AFTER
    result = run(source, "-p", "timeout", "--timeout=0.5", "--timeout-method=thread", "-v", apart=True)
    assert "Timeout" in result.stdout.str() + result.stderr.str()
    assert "test_after" not in result.stdout.str()


def test_coverage_sees_what_only_cases_run(run, pytester):
    """Lines that are reached under a fault alone are covered."""
    pytester.makepyfile(
        app="""
        def work(client):
            try:
                client.generate_key("AES", 256, label="kek")
            except Exception:
                return "only under a fault"
    """
    )
    pytester.makepyfile(
        test_it="""
        import pytest
        from app import work

        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("crash", points="hsm.reply", op="generate_key", checks=())
        def test_it(hsm_client):
            work(hsm_client)
    """
    )
    coverage = ("-m", "coverage", "run", "--include=app.py", "-m", "pytest", "-p", "hsmcluster", "-q")
    assert pytester.run(sys.executable, *coverage).ret == 0
    report = pytester.run(sys.executable, "-m", "coverage", "report", "-m")
    report.stdout.fnmatch_lines(["app.py * 100%*"])


ASYNC = """
    import pytest

    {mark}
    @pytest.mark.hsm_cluster(sdk=3)
    @pytest.mark.hsm_sweep("destroy source", points="client.clone", op="generate_key")
    @pytest.mark.parametrize("n", [1])
    async def test_awaited(hsm_async_client, awaited, n):
        assert awaited == "made"
        await hsm_async_client.generate_key("AES", 256, label="kek")
"""
ASYNC_CASES = [f"destroy source @ client.clone op=generate_key hsm=hsm-{number} nth=1" for number in (2, 3)]


@pytest.mark.parametrize(
    "mark, plugin, ini, fixture",
    [
        ("@pytest.mark.asyncio", "pytest_asyncio.plugin", "asyncio_mode = strict\n", "pytest_asyncio"),
        ("", "pytest_asyncio.plugin", "asyncio_mode = auto\n", "pytest"),
        ("@pytest.mark.anyio", "anyio", "", "pytest"),
    ],
    ids=["asyncio-strict", "asyncio-auto", "anyio"],
)
def test_async_tests_are_swept(run, mark, plugin, ini, fixture):
    """Coroutines are swept by whichever plugin runs them, with their async fixtures set up for each case."""
    conftest = f"""
    import {fixture}
    import pytest

    @{fixture}.fixture
    async def awaited():
        yield "made"

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
    """
    if "asyncio" in plugin:
        ini += "asyncio_default_fixture_loop_scope = function\n"
    result = run(ASYNC.format(mark=mark), "-p", plugin, "-v", ini=ini, conftest=conftest, apart=True)
    test = names(result)[0]
    assert verdicts(result) == [
        (test, "PASSED"),
        (case(test, ASYNC_CASES[0]), "FAILED"),
        (case(test, ASYNC_CASES[1]), "PASSED"),
        (test, "FAILED"),
    ]


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "loadgroup", "worksteal"])
def test_workers_change_nothing(run, pytester, dist):
    """Under every --dist the same cases with the same journals, verdicts and summary."""
    source = GROUPS
    serial = run(source, "-v", conftest=NOTED)
    journals = noted(pytester)
    result = run(source, "-v", "-p", "xdist", "-n", "2", f"--dist={dist}")
    assert sorted(_ungrouped(verdicts(result))) == sorted(verdicts(serial))
    assert sorted(_ungrouped(noted(pytester))) == sorted(journals)
    text = result.stdout.str()
    assert "test_rotation: 6 points, 6 cases, 2 broke a promise" in text
    assert "test_holds: 5 points, 3 cases, none broke a promise" in text
    assert text.count("hsmcluster sweeps") == 1


GROUPS = ROTATION.replace(
    "@pytest.mark.hsm_cluster", '@pytest.mark.xdist_group("one")\n    @pytest.mark.hsm_cluster'
) + HOLDS.replace("@pytest.mark.hsm_cluster", '@pytest.mark.xdist_group("two")\n    @pytest.mark.hsm_cluster')


def _ungrouped(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Forget what xdist appends to node ids of groups."""
    return [(re.sub(r"@(one|two)$", "", name), value) for name, value in pairs]


def test_workers_run_what_failed_last_time(run):
    """--lf and --ff are the same under xdist."""
    workers = ("-v", "-p", "xdist", "-n", "1")
    run(ROTATION + AFTER, *workers)
    assert names(run(ROTATION + AFTER, "--lf", *workers)) == ["test_rotation", *FAILED, "test_rotation"]


def test_exitfirst_stops_workers(run):
    """-x under xdist: a sweep ends on the worker that it is on, and the test itself has failed."""
    result = run(ROTATION, "-x", "-v", "-p", "xdist", "-n", "1")
    assert FAILED[1] not in names(result)
    assert ("test_rotation", "FAILED") in verdicts(result)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", "no:cacheprovider"],
        ["-p", "no:terminal"],
        ["-p", "no:xdist"],
        ["-p", "no:capture"],
        ["-p", "no:logging"],
        ["-p", "no:setuponly"],
        ["-p", "no:randomly"],
        ["-p", "no:junitxml"],
        ["--import-mode=importlib"],
        ["--tb=native"],
        ["-s"],
    ],
    ids=" ".join,
)
def test_modes_change_nothing(run, pytester, arguments):
    """Without this or that plugin the same cases have the same journals."""
    run(ROTATION, conftest=NOTED)
    journals = noted(pytester)
    result = run(ROTATION, *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert noted(pytester) == journals


def test_random_order_and_seeds_change_nothing(run, pytester):
    """pytest-randomly seeds by node id; a case draws the numbers of its test, as its replay will."""
    source = (
        ROTATION.replace('label="kek"', 'label="kek", token=random.random() < 0.5').replace(
            "import pytest", "import pytest, random"
        )
        + HOLDS
    )
    for seed in ("1", "2", "3"):
        result = run(source, "-p", "randomly", f"--randomly-seed={seed}", conftest=NOTED)
        journals = dict(noted(pytester))
        assert "does not repeat itself" not in result.stdout.str()
        assert "never fired" not in result.stdout.str()
        for command in [line for line in result.outlines if line.startswith("pytest test_it.py::test_rotation --hsm")]:
            words = shlex.split(command)[1:]
            label = next(word for word in words if word.startswith("--hsm-chaos=")).partition("=")[2]
            run(source, *words)
            assert noted(pytester) == [("test_rotation", journals[case("test_rotation", label)])]


def test_hypothesis_tests_are_swept(run):
    """A test of Hypothesis draws the same examples in each run."""
    result = run(
        """
        import pytest
        from hypothesis import HealthCheck, given, settings, strategies

        @settings(max_examples=3, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="random")
        @given(length=strategies.integers(1, 9))
        def test_it(hsm_client, length):
            hsm_client.random(length)
    """,
        apart=True,
    )
    assert "never fired" not in result.stdout.str()
    assert result.parseoutcomes() == {"passed": 1 + 3}
