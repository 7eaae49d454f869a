"""Is every crash point that a test passes broken once, each in a test of its own?"""

import json
import re
import shlex
import textwrap

import pytest

from pytest_hsmcluster.stage import Ran
from pytest_hsmcluster.sweeps import Broken, Sweeps
from tests.plugin.swept import BROKEN, CASES, CLONE, HOLDS, LATE, NOTED, ROTATION, case, names, noted, verdicts

# -- what a sweep is --------------------------------------------------------------------


def test_each_case_is_a_test_of_its_own(run):
    """A node id says the fault, in the order of the passages; in the end the test itself says how many broke."""
    result = run(ROTATION, "-v")
    assert verdicts(result) == [
        ("test_rotation", "PASSED"),
        *((case("test_rotation", one), "FAILED" if one in BROKEN else "PASSED") for one in CASES),
        ("test_rotation", "FAILED"),
    ]
    result.assert_outcomes(passed=5, failed=3)
    text = result.stdout.str()
    assert "sweep: 2 of 6 cases broke a promise" in text
    assert re.search(r"^test_it.py::test_rotation: 6 points, 6 cases, 2 broke a promise, \d+\.\d\d s\n    ", text, re.M)
    assert "7 tests used 7 clusters (SDK 3, virtual clock); 6 faults struck" in text  # and not the unseen run
    assert "lost key 'kek' (key-1" in text
    assert text.count(" HSM replay ") == 2


def test_sweep_that_holds_says_so_and_reports_the_test_once(run):
    """Nothing broke: each case passed, the summary has one line, and the quiet one none."""
    result = run(HOLDS, "-v")
    labels = [f"delay 1s @ {point} op=generate_key command=generate_key hsm=hsm-1 nth=1" for point in LATE]
    assert verdicts(result) == [("test_holds", "PASSED"), *((case("test_holds", one), "PASSED") for one in labels)]
    result.stdout.re_match_lines([r"test_it.py::test_holds: 5 points, 3 cases, none broke a promise, \d+\.\d\d s"])
    assert "hsmcluster" not in run(HOLDS, "-q").stdout.str()


def test_everything_is_set_up_anew_for_each_run(run):
    """Fixtures of the function are made and torn down for the clean run, for the unseen one and for each case."""
    result = run("""
        import pytest

        notes = []

        @pytest.fixture
        def note(request):
            notes.append("up " + request.node.name)
            yield
            notes.append("down " + request.node.name)

        @pytest.fixture(autouse=True)
        def clusters(hsm_cluster):
            assert hsm_cluster.hsm("hsm-1").keys == {}

        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
        def test_it(note, hsm_client):
            hsm_client.generate_key("AES", 256, label="kek")

        def test_after():
            label = "delay 1s @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=1"
            names = ["test_it", "test_it", f"test_it[{label}]"]
            assert notes == [f"{way} {name}" for name in names for way in ("up", "down")]
    """)
    result.assert_outcomes(passed=3)


def test_checks_of_the_marker_hold_at_the_end_of_each_run(run):
    """`checks=` of hsm_sweep says what a case may break, in the clean run too."""
    checked = ROTATION.replace('op="generate_key")', 'op="generate_key", checks=("durable",))')
    result = run(checked)
    assert result.stdout.str().count("\nkey at risk 'kek'") == 2
    result.assert_outcomes(passed=5, failed=3)
    assert "key at risk" not in run(ROTATION).stdout.str()
    unchecked = ROTATION.replace('op="generate_key")', 'op="generate_key", checks=())')
    run(unchecked).assert_outcomes(passed=7)


def test_all_runs_have_the_seed_of_the_test(run, pytester):
    """Clean run, unseen run, cases, shards, a case alone and a replay have one seed, and seeded keys."""
    source = """
        import pathlib
        import pytest

        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="hsm.*", shards={shards})
        def test_it(hsm_cluster, hsm_client):
            hsm_client.generate_key("AES", 256, label="kek")
            with pathlib.Path("seeds").open("a") as seeds:
                seeds.write(f"{{hsm_cluster.seed}} {{hsm_client.random(8).hex()}}\\n")
    """
    run(source.format(shards=1)).assert_outcomes(passed=7)
    run(source.format(shards=2)).assert_outcomes(passed=8)
    label = "delay 1s @ hsm.reply command=generate_key hsm=hsm-1 nth=1"
    run(source.format(shards=1), f"--hsm-chaos={label}").assert_outcomes(passed=1)
    run(source.format(shards=1), case("test_it.py::test_it", label)).assert_outcomes(passed=1)
    seeds = (pytester.path / "seeds").read_text().splitlines()
    assert len(seeds) == 8 + 10 + 2
    assert len(set(seeds)) == 1


def test_replay_command_replays_exactly_the_failing_case(run, pytester):
    """The command of a failed case runs the test itself with its fault: same journal, same finding, no sweep."""
    first = run(ROTATION, "--hsm-seed=5", conftest=NOTED)
    journals = dict(noted(pytester))
    commands = [line for line in first.outlines if line.startswith("pytest test_it.py::test_rotation --hsm-seed=5")]
    assert len(commands) == 2
    for command, label in zip(commands, BROKEN, strict=True):
        again = run(ROTATION, *shlex.split(command)[1:], conftest=NOTED)
        again.assert_outcomes(failed=1)
        assert noted(pytester) == [("test_rotation", journals[case("test_rotation", label)])]
        finding = next(line for line in again.outlines if line.startswith("lost key 'kek'"))
        assert finding in first.outlines


def test_clean_run_has_the_journal_of_the_test_without_a_sweep(run, pytester):
    """Sweeping changes nothing in the clean run: seeded keys apart, it is what it would be without the marker."""
    run(ROTATION, conftest=NOTED)
    clean = noted(pytester)[0]
    run(ROTATION.replace("@pytest.mark.hsm_sweep", "# "), conftest=NOTED).assert_outcomes(passed=1)
    assert noted(pytester) == [clean]


def test_faults_of_the_command_line_replace_a_sweep(run):
    """With --hsm-chaos a swept test runs once, with these faults, shards or not."""
    for source in (ROTATION, ROTATION.replace('op="generate_key"', 'op="generate_key", shards=3')):
        result = run(source, f"--hsm-chaos={BROKEN[0]}", "-v")
        assert verdicts(result) == [("test_rotation", "FAILED")]
        assert "hsmcluster sweeps" not in result.stdout.str()


def test_faults_of_the_marker_are_in_every_run(run):
    """Faults of hsm_chaos strike beside those of the sweep; where one strikes already there is no case."""
    strikes = '@pytest.mark.hsm_chaos("delay 5s @ hsm.execute command=generate_key")\n    @pytest.mark.hsm_sweep'
    result = run(HOLDS.replace("@pytest.mark.hsm_sweep", strikes), "-v")
    assert [name for name in names(result) if "hsm.execute" in name] == []
    result.assert_outcomes(passed=3)
    assert "5 faults struck" in result.stdout.str()


def test_what_is_swept_ends_with_the_storm(run):
    """Set-up comes before the storm, and `undo_all()` ends it: neither is broken."""
    result = run(
        """
        import pytest

        @pytest.fixture
        def kek(hsm_client):
            return hsm_client.generate_key("AES", 256, label="kek")

        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply")
        def test_it(kek, hsm_client, hsm_chaos):
            hsm_client.encrypt(kek, b"attack at dawn")
            hsm_chaos.undo_all()
            hsm_client.find_keys()
    """,
        "-v",
    )
    assert names(result) == ["test_it", "test_it[delay 1s @ hsm.reply command=encrypt hsm=hsm-1 nth=1]"]


def test_only_the_first_cluster_is_broken(run):
    """A second cluster lives in peace, but its journal must repeat itself too."""
    result = run("""
        import pytest

        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
        def test_it(hsm_client, hsm_cluster_factory):
            hsm_client.generate_key("AES", 256, label="kek")
            hsm_cluster_factory(hsms=2, sdk=3).client().generate_key("AES", 256, label="other")
    """)
    result.assert_outcomes(passed=2)


def test_cluster_of_the_factory_is_swept(run):
    """A test that makes its cluster in its body is swept from there on."""
    result = run(
        """
        import pytest

        @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply")
        def test_it(hsm_cluster_factory):
            hsm_cluster_factory(hsms=1, sdk=3).client().generate_key("AES", 256, label="kek")
    """,
        "-v",
    )
    assert names(result)[1:] == [
        "test_it[delay 1s @ hsm.reply command=login hsm=hsm-1 nth=1]",
        "test_it[delay 1s @ hsm.reply command=generate_key hsm=hsm-1 nth=1]",
    ]


# -- pairs ------------------------------------------------------------------------------

PAIRS = ROTATION.replace('op="generate_key"', 'op="generate_key", depth=2')


def test_pairs_strike_one_after_the_other(run):
    """With depth=2 a case that held gets each later point of its own run as a second fault; none that broke alone."""
    result = run(PAIRS, "-v")
    found = names(result)
    assert found[:7] == ["test_rotation", *(case("test_rotation", one) for one in CASES)]
    pairs = [name[len("test_rotation[") : -1].split(" + ") for name in found[7:-1]]
    assert pairs
    held = [one for one in CASES if one not in BROKEN]
    for first, second in pairs:
        assert first in held
        assert second not in BROKEN
        assert second != first
    assert len(pairs) == len({tuple(pair) for pair in pairs})
    total = 6 + len(pairs)
    text = result.stdout.str()
    assert f"test_it.py::test_rotation: 6 points, {total} cases, {len(pairs)} of them pairs, " in text
    failed = [name for name, word in verdicts(result) if word == "FAILED"]
    assert f"sweep: {len(failed) - 1} of {total} cases broke a promise" in text
    assert "fault that never fired" not in text


def test_no_pair_has_a_fault_that_breaks_a_promise_alone(run):
    """Neither first nor second, although it would come behind a fault that held."""
    effects = '"delay 1s", "destroy source", points="client.clone hsm.reply"'
    result = run(PAIRS.replace('"destroy source", points="client.clone hsm.commit"', effects), "-v")
    verdict = {name[len("test_rotation[") : -1]: word for name, word in verdicts(result)[1:-1]}
    late = "delay 1s @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=1"
    assert (verdict[late], verdict[CLONE.format(2)]) == ("PASSED", "FAILED")
    pairs = [label.split(" + ") for label in verdict if " + " in label]
    assert [late, CLONE.format(3)] in pairs
    assert all(verdict[one] == "PASSED" for pair in pairs for one in pair if one in verdict)


def test_no_pair_comes_after_a_case_that_broke_a_promise(run):
    """What fails alone is as small as it gets."""
    result = run(
        PAIRS.replace('"destroy source", points="client.clone hsm.commit"', '"destroy source", points="client.clone"'),
        "-v",
    )
    assert names(result) == [
        "test_rotation",
        case("test_rotation", CLONE.format(2)),
        case("test_rotation", CLONE.format(3)),
        "test_rotation",
    ]


def test_too_many_pairs_are_none(run):
    """Above the limit no pair is tried; the single faults were, and what they broke is told."""
    result = run(PAIRS, ini="hsm_sweep_limit = 6\n")
    text = result.stdout.str()
    assert "pairs and 6 single faults are above the limit of 6 (ini hsm_sweep_limit), and no pair was tried" in text
    assert "sweep: 2 of 6 cases broke a promise" in text
    assert "test_rotation: 6 points, 6 cases, 2 broke a promise" in text
    result.assert_outcomes(passed=5, failed=3)


# -- limits -----------------------------------------------------------------------------


def test_too_large_a_sweep_is_not_run_and_not_sampled(run):
    """Above the limit the test fails and says how many cases each point and operation would make."""
    result = run(ROTATION, ini="hsm_sweep_limit = 5\n")
    text = result.stdout.str()
    assert "sweep: 6 cases are above the limit of 5 (ini hsm_sweep_limit), and nothing was swept; narrow it:" in text
    assert "points='hsm.commit' about 4, points='client.clone' about 2" in text
    assert "op='generate_key' about 6" in text
    result.assert_outcomes(passed=1, failed=1)
    assert "test_rotation: 6 cases are above the limit of 5" in text
    run(ROTATION, ini="hsm_sweep_limit = 6\n").assert_outcomes(passed=5, failed=3)


# -- shards -----------------------------------------------------------------------------

SHARDS = ROTATION.replace('op="generate_key"', 'op="generate_key", shards=3')


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n", "2"]], ids=["serial", "xdist"])
def test_shards_share_the_cases_and_one_summary(run, workers):
    """Each shard runs clean and then every third case; the summary counts each case once."""
    result = run(SHARDS, "-v", *workers)
    found = names(result)
    for number in (1, 2, 3):
        shard = f"test_rotation[shard {number} of 3]"
        mine = [name for name in found if name.startswith(shard[:-1]) and name != shard]
        assert mine == [case(shard, one) for one in CASES[number - 1 :: 3]]
    text = result.stdout.str()
    assert "test_it.py::test_rotation: 6 points, 6 cases, 2 broke a promise" in text
    assert text.count("hsmcluster sweeps") == 1
    # 3 clean runs and 4 cases passed; 2 cases failed, and so did the two shards that they are in.
    result.assert_outcomes(passed=7, failed=4)
    assert text.count("sweep: 1 of 2 cases broke a promise") >= 2


def test_workers_numbers_add_up():
    """Points and cases are those of the whole sweep, in each shard; what was run and paired is each shard's own."""
    told = []
    for number in (1, 2):
        sweeps = Sweeps()
        sweeps.found("test_it", 6, 7)
        sweeps.paired("test_it", number)
        sweeps.ran("test_it", f"held {number}", Ran([], None))
        sweeps.broke("test_it", Broken(f"broke {number}", "why", "pytest"))
        told.append(json.loads(json.dumps(sweeps.export())))
    both = Sweeps()
    for one in told:
        both.add(one)
    swept = both.by_test["test_it"]
    assert (swept.points, swept.cases, swept.pairs, swept.run) == (6, 7, 3, 2)
    assert [one.label for one in swept.broken] == ["broke 1", "broke 2"]
    assert swept.held == ["held 1", "held 2"]
    assert str(swept).startswith("6 points, 2 of 10 cases, 3 of them pairs, 2 broke a promise")


def test_pairs_of_all_shards_are_summed_up(run):
    """Each shard makes the pairs of its own cases."""
    result = run(SHARDS.replace("shards=3", "shards=3, depth=2"), "-v")
    pairs = [name for name in names(result) if " + " in name]
    assert f": 6 points, {6 + len(pairs)} cases, {len(pairs)} of them pairs, " in result.stdout.str()


def test_collect_only_shows_shards_but_no_cases(run):
    """What pytest collects are tests and shards; cases are known when they run."""
    result = run(SHARDS + HOLDS, "--collect-only", "-q")
    assert [line for line in result.outlines if "::" in line] == [
        *(f"test_it.py::test_rotation[shard {number} of 3]" for number in (1, 2, 3)),
        "test_it.py::test_holds",
    ]


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


# -- what is not swept ------------------------------------------------------------------


@pytest.mark.parametrize(
    "mark, body, words",
    [
        ("", "raise KeyError", "failed"),
        ("", "pytest.skip('not now')", "skipped"),
        ("@pytest.mark.skip", "", "skipped"),
        ("", "pytest.xfail('known')", "xfailed"),
        ("@pytest.mark.xfail(strict=False)", "raise KeyError", "xfailed"),
        ("@pytest.mark.xfail(strict=False)", "pass", "xpassed"),
        (
            "@pytest.mark.hsm_cluster(sdk=3)\n    @pytest.mark.hsm_chaos('kill-mid-create')",
            "hsm_client.generate_key('AES', 256, label='kek')",
            "failed",
        ),
    ],
    ids=["fails", "skips", "skipped", "xfails", "xfail", "xpass", "breaks-a-promise"],
)
def test_only_a_clean_run_that_passes_is_swept(run, mark, body, words):
    """A test that fails, skips or xfails without the sweep's fault is run once, and the summary says why no more."""
    result = run(
        f"""
    import pytest

    {mark}
    @pytest.mark.hsm_sweep
    def test_it(hsm_client):
        hsm_client.find_keys()
        {body or "pass"}
    """,
        "-v",
    )
    assert names(result) == ["test_it"]
    assert f"test_it.py::test_it: not swept, for its clean run {words}" in result.stdout.str()


def test_run_that_sweeps_nothing_imports_nothing_for_it(pytester):
    """Tests with clusters but without sweeps never load what runs tests again."""
    pytester.makeconftest("""
        import atexit
        import pathlib
        import sys

        atexit.register(lambda: pathlib.Path("modules").write_text("\\n".join(sys.modules)))
    """)
    pytester.makepyfile("def test_it(hsm_client): hsm_client.find_keys()")
    pytester.runpytest_subprocess("-p", "hsmcluster").assert_outcomes(passed=1)
    loaded = (pytester.path / "modules").read_text().splitlines()
    ours = {name.removeprefix("pytest_hsmcluster.") for name in loaded}
    assert "trial" in ours
    assert not ours & {"directing", "selecting", "stage", "sweeping", "sweeps", "theatre"}
    assert "pytest_hsmcluster.sweep" not in loaded


def test_clusters_of_cases_are_let_go(run):
    """However many cases there are, only that of the running one is alive, and afterwards none."""
    run("""
        import gc
        import weakref
        import pytest

        refs = []

        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="*")
        def test_it(hsm_cluster, hsm_client):
            gc.collect()
            # That of the clean run is kept for the unseen one, to compare their journals.
            assert len([ref for ref in refs if ref() is not None]) == (len(refs) == 1)
            refs.append(weakref.ref(hsm_cluster))
            hsm_client.generate_key("AES", 256, label="kek", token=False)

        def test_after():
            gc.collect()
            assert len(refs) == 2 + 8
            assert [ref for ref in refs if ref() is not None] == []
    """).assert_outcomes(passed=10)
