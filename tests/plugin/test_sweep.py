"""Is every crash point that a test passes broken once, each in a test of its own?"""

import re
import shlex

import pytest

from tests.plugin.swept import (
    BROKEN,
    CASES,
    HOLDS,
    LATE,
    NOTED,
    ROTATION,
    case,
    names,
    noted,
    verdicts,
)

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


def test_a_case_may_keep_faults_of_the_marker_from_striking(run):
    """They struck in the clean run; where the application dies before they are reached, the test is not to blame."""
    result = run(
        """
        import contextlib
        import pytest
        from pytest_hsmcluster import ApplicationDied

        @pytest.mark.hsm_cluster(sdk=3)
        @pytest.mark.hsm_chaos("delay 5s @ client.report op=generate_key")
        @pytest.mark.hsm_sweep("crash", points="client.send", op="generate_key")
        def test_it(hsm_client):
            with contextlib.suppress(ApplicationDied):
                hsm_client.generate_key("AES", 256, label="kek")
        """
    )
    assert result.ret == 0
    assert "none broke a promise" in result.stdout.str()


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
