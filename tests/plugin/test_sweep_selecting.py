"""Which cases does a command line run, and which does pytest remember?"""

import textwrap

import pytest

from tests.plugin.swept import AFTER, BROKEN, CASES, FAILED, HOLDS, ROTATION, case, names, verdicts

# -- selecting --------------------------------------------------------------------------

MANY = """
    import pytest

    def work(client):
        client.generate_key("AES", 256, label="kek")

    @pytest.mark.hsm_cluster(hsms=1, sdk=3)
    @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply hsm.receive", op="generate_key")
    def test_plain(hsm_client):
        work(hsm_client)

    @pytest.mark.hsm_cluster(hsms=1, sdk=3)
    @pytest.mark.hsm_sweep("delay 1s", "crash", points="hsm.reply", op="generate_key", checks=())
    @pytest.mark.parametrize("n", [1, 2])
    def test_param(hsm_client, n):
        with pytest.raises(Exception) if n == 3 else __import__("contextlib").suppress(Exception):
            work(hsm_client)

    class TestClass:
        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
        def test_method(self, hsm_client):
            work(hsm_client)

    @pytest.mark.parametrize("spec", ["delay 1s @ hsm.reply nth=1", "delay 2s @ hsm.reply nth=1"])
    @pytest.mark.parametrize("n", [7])
    def test_unswept(hsm_client, hsm_chaos, n, spec):
        with hsm_chaos.inject(spec):
            work(hsm_client)
"""
REPLY = "delay 1s @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=1"
RECEIVE = REPLY.replace("reply", "receive")
CRASH = REPLY.replace("delay 1s", "crash")


@pytest.mark.parametrize(
    "asked",
    [
        [case("test_plain", REPLY)],
        [case("test_param[2]", CRASH)],
        [case("TestClass::test_method", REPLY)],
        ["test_unswept[7-delay 1s @ hsm.reply nth=1]"],
        [case("test_param[1]", REPLY), case("test_plain", RECEIVE), case("test_plain", REPLY)],
        [case("test_plain", f"{RECEIVE} + {REPLY}")],
        [case("test_plain", "delay 9s @ hsm.receive nth=1")],
    ],
    ids=["plain", "parameter", "class", "not-a-case", "several", "pair", "of-no-sweep"],
)
def test_case_runs_alone_by_its_node_id(run, asked):
    """A node id of a case as an argument runs that case and nothing else; what only looks like one is what it is."""
    result = run(MANY, *(f"test_it.py::{name}" for name in asked), "-v")
    assert sorted(names(result)) == sorted(asked)
    result.assert_outcomes(passed=len(asked))
    assert "hsmcluster sweeps" not in result.stdout.str()


def test_case_and_its_sweep_are_both_run_when_asked_for(run):
    """The file and one of its cases: the sweep, and the case beside it."""
    result = run(MANY, "test_it.py::test_plain", f"test_it.py::{case('TestClass::test_method', REPLY)}", "-v")
    assert names(result) == [
        "test_plain",
        case("test_plain", RECEIVE),
        case("test_plain", REPLY),
        case("TestClass::test_method", REPLY),
    ]


def test_case_runs_alone_on_a_worker(run):
    """Workers of xdist collect the same cases."""
    asked = [case("test_param[1]", CRASH), case("TestClass::test_method", REPLY)]
    result = run(MANY, *(f"test_it.py::{name}" for name in asked), "-v", "-p", "xdist", "-n", "2")
    assert sorted(names(result)) == sorted(asked)


def test_case_in_another_folder_is_another_case(run, pytester):
    """Files of one name are told apart by their folders."""
    for folder in ("one", "two"):
        (pytester.path / folder).mkdir()
        (pytester.path / folder / "test_same.py").write_text(textwrap.dedent(HOLDS))
    asked = [
        f"{folder}/test_same.py::{case('test_holds', f'{label} op=generate_key nth=1')}"
        for folder, label in (("one", "delay 1s @ hsm.reply"), ("two", "delay 1s @ hsm.receive"))
    ]
    result = run(MANY, *asked, "-v", "--import-mode=importlib")
    assert [line.partition(" PASSED")[0] for line in result.outlines if " PASSED" in line] == asked
    result = run(MANY, asked[0], "two", "-v", "--import-mode=importlib")
    assert [line.partition(" PASSED")[0] for line in result.outlines if " PASSED" in line][:2] == [
        asked[0],
        "two/test_same.py::test_holds",
    ]
    result.assert_outcomes(passed=1 + 4)


@pytest.mark.parametrize(
    "asked",
    [
        case("test_unswept", REPLY),
        case("test_plain", "dely 1s @ hsm.reply"),
        case("test_param[3]", CRASH),
        case("test_non", CRASH),
    ],
    ids=["unswept", "no-fault", "no-parameter", "no-test"],
)
def test_case_that_cannot_be_is_not_found(run, asked):
    """pytest itself says that there is no such test."""
    result = run(MANY, f"test_it.py::{asked}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "not found: " in result.stderr.str()


@pytest.mark.parametrize(
    "words, cases",
    [
        ("test_plain", [("test_plain", RECEIVE), ("test_plain", REPLY)]),
        ("test_plain and receive", [("test_plain", RECEIVE)]),
        ("crash", [("test_param[1]", CRASH), ("test_param[2]", CRASH)]),
        (
            "hsm.reply and not crash and not test_param and not unswept",
            [("test_plain", REPLY), ("TestClass::test_method", REPLY)],
        ),
        ("receive or (crash and 2)", [("test_plain", RECEIVE), ("test_param[2]", CRASH)]),
        ("test_plain and not delay", [("test_plain", None)]),
        ("insert_masked and TestClass", [("TestClass::test_method", None)]),
    ],
)
def test_words_select_cases(run, words, cases):
    """`-k` selects the tests that have such cases, and of them these cases; the clean run is always made."""
    result = run(MANY, "-k", words, "-v")
    expected = []
    for test, label in cases:
        expected += [test] if test not in expected else []
        expected += [case(test, label)] if label else []
    assert names(result) == expected


def test_words_that_no_case_has_select_nothing(run):
    """A word of the catalogue that this sweep does not have runs no clean run either."""
    result = run(MANY, "-k", "destroy or (crash and test_plain)", "-v")
    assert names(result) == []
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_cases_can_be_deselected(run):
    """`--deselect` takes the node id of a case, or how it begins."""
    result = run(MANY, f"--deselect=test_it.py::{case('test_plain', REPLY)}", "-k", "test_plain", "-v")
    assert names(result) == ["test_plain", case("test_plain", RECEIVE)]
    result = run(MANY, "--deselect=test_it.py::test_plain[delay", "-k", "test_plain", "-v")
    assert names(result) == ["test_plain"]


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
