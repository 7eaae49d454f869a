"""Does background chaos find what a suite that knows nothing of it overlooks, and say it so that it can be repeated?"""

import re
import shlex

import pytest

SUITE = """
    import pytest

    class Vault:
        def __init__(self, hsm, patience=0):
            self.hsm = hsm
            self.patience = patience
            self.key = hsm.generate_key("AES", 256, label="kek")

        def seal(self, data):
            for attempt in range(self.patience, -1, -1):
                try:
                    return self.hsm.encrypt(self.key, data)
                except Exception:
                    if not attempt:
                        raise

    @pytest.fixture
    def naive(hsm_cluster):
        return Vault(hsm_cluster.client("shop"))

    @pytest.fixture
    def hardened(hsm_cluster):
        return Vault(hsm_cluster.client("shop"), patience=20)

    @pytest.mark.parametrize(
        ("data", "times"),
        [(b"a", 1), pytest.param(b"b", 20, id="many")],
        ids=["one", None],
    )
    def test_naive(naive, data, times):
        '''A vault without patience.'''
        for _ in range(times):
            assert len(naive.seal(data)) > 1

    def test_hardened(hardened):
        for _ in range(20):
            hardened.seal(b"data")

    class TestVault:
        data = b"c"

        def test_naive(self, naive):
            for _ in range(20):
                naive.seal(self.data)

    def test_without_a_cluster():
        pass
"""

BUSY = """
[promise]
faults = 5
untouched = 0
longest = "1s"
together = "10s"
passages = 6
[faults]
"fail CKR_DEVICE_ERROR @ hsm.authorize op=encrypt" = 1
"delay 50ms @ wire.request" = 2
"delay 50ms @ wire.response op=encrypt" = 2
"""
"""Storms of which only one fault does harm."""

ONE_HSM = "hsm_hsms = 1\nhsm_sdk = 3\n"


@pytest.fixture
def busy(pytester):
    """A budget for a cluster of one HSM."""
    pytester.path.joinpath("busy.toml").write_text(BUSY)
    return "--hsm-background=busy.toml"


def section(result, title="HSM background chaos", number=0):
    """Return the lines of a section, of the n-th failure that has it."""
    lines = result.outlines
    starts = [index for index, line in enumerate(lines) if re.fullmatch(f"-+ {title} -+", line)]
    start = starts[number] + 1
    end = next(i for i in range(start, len(lines)) if re.fullmatch(r"([-=_])\1+ .* \1\1+", lines[i]))
    return lines[start:end]


def summary(result):
    """Return the lines below a run."""
    lines = result.outlines
    start = next(i for i, line in enumerate(lines) if re.fullmatch("=+ hsmcluster background chaos =+", line))
    end = next(i for i in range(start + 1, len(lines)) if lines[i].startswith("==="))
    return lines[start + 1 : end]


def pasted(lines):
    """Return the regression test that a section shows."""
    start = next(index for index, line in enumerate(lines) if line.startswith("Regression test, to paste into"))
    return lines[start].removeprefix("Regression test, to paste into ").rstrip(":"), "\n".join(lines[start + 2 :])


def test_what_fails_only_under_a_storm_is_new(run, busy):
    """The naive vault fails, the hardened one passes; each test is reported once, and the numbers stand below."""
    result = run(SUITE, busy, ini=ONE_HSM)
    result.assert_outcomes(failed=2, passed=3)
    assert "hsmcluster: background chaos busy.toml: up to 5 faults a test, 0 HSMs left alone" in result.stdout.str()
    budget, numbers, *new = summary(result)
    assert budget.startswith("busy.toml: up to 5 faults a test, 0 HSMs left alone, none lost for good, no trouble")
    assert re.fullmatch(
        r"\d+ of \d+ faults struck in 4 tests, 2 new failures \(\d+ runs to find the smallest faults\)", numbers
    )
    fault = "    fail CKR_DEVICE_ERROR @ hsm.authorize op=encrypt command=encrypt hsm=hsm-1 nth=1"
    assert new == ["new: test_it.py::TestVault::test_naive", fault, "new: test_it.py::test_naive[many]", fault]


def test_a_new_failure_is_told_with_its_smallest_faults_and_two_ways_to_repeat_it(run, busy):
    """Of several faults the one that does it, named by what it struck; a command; a test."""
    result = run(SUITE, busy, ini=ONE_HSM)
    spec = "fail CKR_DEVICE_ERROR @ hsm.authorize op=encrypt command=encrypt hsm=hsm-1 nth=1"
    first, found, *lines = section(result, number=1)
    assert first == "This failure is new: without background chaos (busy.toml) the test passes."
    assert re.fullmatch(r"Smallest set of faults, of [2-5] drawn, found in \d+ runs; with fewer it passes:", found)
    assert lines[0] == f"    {spec}"
    command = f"pytest test_it.py::TestVault::test_naive --hsm-seed=0 '--hsm-chaos={spec}' -p hsmcluster"
    assert lines[1:3] == ["Replay:", f"    {command}"]
    assert "HsmUnavailable: CKR_DEVICE_ERROR on hsm-1: injected by a fault" in result.stdout.str()
    assert section(result, "HSM faults", 1) == [f"struck 1 time: {spec}"]
    assert section(result, "HSM replay", 1) == ["seed 0 (default)", command]


@pytest.mark.parametrize("number", [0, 1], ids=["function", "method"])
def test_the_replay_command_fails_in_the_same_way(run, busy, pytester, number):
    """Also where the ini file asks for background chaos: the command's faults are all there are."""
    command = section(run(SUITE, busy, ini=ONE_HSM), number=number)
    command = shlex.split(next(line for line in command if line.startswith("    pytest ")))
    again = run(SUITE, *command[1:], ini=ONE_HSM + "hsm_background = busy.toml\n")
    again.assert_outcomes(failed=1)
    assert "HsmUnavailable: CKR_DEVICE_ERROR on hsm-1: injected by a fault" in again.stdout.str()
    assert "0 of 0 faults struck in 0 tests, no new failures" in again.stdout.str()


def test_the_regression_test_fails_where_it_is_pasted(run, busy, pytester):
    """A function goes to the end of the file, with the one parameter set; a method into its class."""
    result = run(SUITE, busy, ini=ONE_HSM)
    (into, function), (klass, method) = (pasted(section(result, number=number)) for number in (0, 1))
    assert into == "test_it.py"
    assert function.startswith("@pytest.mark.hsm_cluster(seed=")
    assert (
        '[pytest.param(b"b", 20, id="many")],\n    ids=None,\n)\ndef test_naive_regression(naive, data, times):'
        in function
    )
    assert klass == "class TestVault of test_it.py"
    assert "\n    def test_naive_regression(self, naive):\n" in method
    path = pytester.path / "test_it.py"
    text = path.read_text()
    end_of_class = text.index("def test_without_a_cluster")
    path.write_text(f"{text[:end_of_class]}{method}\n\n{text[end_of_class:]}\n\n{function}\n")
    again = pytester.runpytest_inprocess("-p", "hsmcluster")
    again.assert_outcomes(passed=5, failed=2)
    failed = [line for line in again.outlines if line.startswith("FAILED ")]
    assert [line.split()[1] for line in failed] == [
        "test_it.py::TestVault::test_naive_regression",
        "test_it.py::test_naive_regression[many]",
    ]
    assert again.stdout.str().count("HsmUnavailable: CKR_DEVICE_ERROR on hsm-1: injected by a fault") == 2


def test_a_storm_is_the_same_alone_in_any_order_and_on_any_worker(run):
    """It comes from the seed and the test's identity; workers' findings are one summary at the controller."""
    arguments = ("--hsm-background=heavy", "--hsm-seed=3")
    whole = run(SUITE, *arguments)
    whole.assert_outcomes(failed=2, passed=3)
    assert [line for line in summary(whole) if line.startswith("new: ")] == [
        "new: test_it.py::TestVault::test_naive",
        "new: test_it.py::test_naive[many]",
    ]
    alone = run(SUITE, *arguments, "test_it.py::TestVault::test_naive")
    assert summary(alone)[2:] == summary(whole)[2 : len(summary(alone))]
    backwards = "def pytest_collection_modifyitems(items): items.reverse()"
    assert summary(run(SUITE, *arguments, conftest=backwards)) == summary(whole)
    spread = run(SUITE, *arguments, "-p", "xdist", "-n2", apart=True)
    spread.assert_outcomes(failed=2, passed=3)
    assert summary(spread) == summary(whole)
    assert sorted(section(spread, number=number)[2] for number in (0, 1)) == sorted(
        section(whole, number=number)[2] for number in (0, 1)
    )
    assert summary(run(SUITE, "--hsm-background=heavy", "--hsm-seed=4")) != summary(whole)


def test_old_failures_are_told_from_new_ones(run, busy):
    """What fails in peace too is reported as usual, and said to be old; errors of fixtures as well."""
    source = """
        import pytest

        def test_old(hsm_client):
            hsm_client.generate_key("AES", 256, label="kek")
            assert False, "always"

        @pytest.fixture
        def broken(hsm_client):
            raise OSError("fixture")

        def test_error(broken):
            pass

        @pytest.mark.xfail(raises=ZeroDivisionError)
        def test_expected(hsm_client):
            1 / 0

        def test_skipped(hsm_client):
            pytest.skip("not today")
    """
    result = run(source, busy, ini=ONE_HSM)
    result.assert_outcomes(failed=1, errors=1, xfailed=1, skipped=1)
    assert section(result) == [
        "This failure is an old one: the test fails without background chaos too, and this is such a run."
    ]
    assert summary(result)[1].endswith("no new failures, 1 old failure")
    assert not any(line.startswith("pytest ") and "hsm-chaos" in line for line in section(result, "HSM replay"))


def test_a_test_that_does_not_repeat_itself_is_told(run, busy):
    """It failed once under the storm, and never again: nobody shall take that for a pass."""
    source = """
        runs = []

        def test_moody(hsm_client):
            key = hsm_client.generate_key("AES", 256, label="kek")
            for _ in range(10):
                runs or hsm_client.encrypt(key, b"data")
            runs.append(1)

        def test_once(hsm_client):
            key = hsm_client.generate_key("AES", 256, label="kek")
            first, already = not runs[1:], runs.append(1)
            assert not first
    """
    result = run(source, busy, ini=ONE_HSM)
    result.stdout.fnmatch_lines(["not repeatable: test_it.py::test_once"])
    result.stdout.fnmatch_lines(
        [
            "failed under background chaos, and passed with the same faults afterwards: *",
            "The test does not repeat itself: threads, the wall clock, the order of a set, or *",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_who_brings_faults_of_his_own_gets_no_storm(run):
    """Markers, hooks, the fixture `hsm_chaos`, sweeps, a real clock; and whom the budget leaves out."""
    source = """
        import pytest

        def count(cluster):
            return len(cluster.chaos.injections) + len(cluster.chaos.hardships) + len(cluster.chaos.awaited)

        def test_stormy(hsm_cluster):
            assert count(hsm_cluster)

        def test_factory(hsm_cluster_factory):
            assert count(hsm_cluster_factory())

        @pytest.mark.hsm_cluster(hsms=4)
        def test_marked(request):
            assert count(request.getfixturevalue("hsm_cluster"))

        @pytest.mark.hsm_chaos(checks=())
        class TestChecked:
            def test_stormy(self, hsm_cluster):
                assert count(hsm_cluster)

        @pytest.mark.hsm_chaos("stall-sync")
        def test_own(hsm_cluster):
            assert count(hsm_cluster) == 1

        def test_by_hand(hsm_cluster, hsm_chaos):
            assert count(hsm_cluster) == 0

        def test_hook(hsm_cluster):
            assert count(hsm_cluster) == 1

        @pytest.mark.hsm_cluster(clock="real")
        def test_real(hsm_cluster):
            assert count(hsm_cluster) == 0

        @pytest.mark.hsm_sweep("fail 0xBB", points="hsm.receive", op="random")
        def test_swept(hsm_cluster, hsm_client):
            assert count(hsm_cluster) <= 1
            try:
                hsm_client.random(8)
            except Exception:
                pass

        def test_left_out(hsm_cluster):
            assert count(hsm_cluster) == 0

        def test_not_named(hsm_cluster):
            assert count(hsm_cluster) == 0
    """
    conftest = """
        def pytest_hsm_faults(item):
            return ["stall-sync"] if item.name == "test_hook" else []

        def pytest_configure(config):
            from pathlib import Path
            Path("team.toml").write_text('''
                [promise]
                faults = 3
                untouched = 2
                longest = "1s"
                together = "3s"
                [hardships]
                throttled = 1
                [tests]
                only = ["*::test_[!n]*"]
                never = ["*::test_left*"]
            ''')
    """
    result = run(source, "--hsm-background=team.toml", conftest=conftest)
    assert "struck in 4 tests, no new failures" in summary(result)[1]
    assert "failed" not in result.parseoutcomes()


def test_a_test_runs_as_often_as_it_must_and_is_counted_once(run, busy, pytester):
    """Passed: once. Each run has its fixtures anew and tears them down; JUnit knows each test once."""
    harmful = BUSY.replace('"delay', '# "delay').replace("passages = 6", "passages = 1")
    pytester.path.joinpath("busy.toml").write_text(harmful)
    source = """
        import pytest

        from pathlib import Path

        class Log:
            def write(self, text):
                with Path("log").open("a") as file:
                    file.write(text)

        log = Log()

        @pytest.fixture(scope="module")
        def module():
            log.write("module ")
            yield
            log.write("~module")

        @pytest.fixture
        def fresh(hsm_client, module):
            log.write("fresh ")
            yield hsm_client
            log.write("~fresh ")

        def test_passes(fresh):
            log.write("passes ")

        def test_fails(fresh):
            key = fresh.generate_key("AES", 256, label="kek")
            for _ in range(20):
                fresh.encrypt(key, b"data")
    """
    result = run(source, busy, "--junitxml=junit.xml", ini=ONE_HSM + "junit_family = xunit2\n")
    result.assert_outcomes(failed=1, passed=1)
    log = pytester.path.joinpath("log").read_text()
    assert log.startswith("module fresh passes ~fresh fresh ~fresh fresh ~fresh ")
    assert log.endswith("~fresh ~module")
    assert log.count(" fresh") == log.count("~fresh") > 4
    junit = pytester.path.joinpath("junit.xml").read_text()
    assert junit.count("<testcase ") == 2
    assert 'tests="2"' in junit and 'failures="1"' in junit
    assert "1 test used 1 cluster" not in result.stdout.str()
    assert "2 tests used 2 clusters" in result.stdout.str()


def test_x_stops_after_the_first_new_failure(run, busy):
    """Runs that are not reported stop nothing; the one that is does."""
    result = run(SUITE, busy, "-x", ini=ONE_HSM)
    result.assert_outcomes(failed=1, passed=1)
    assert len([line for line in summary(result) if line.startswith("new: ")]) == 1


def test_testcases_and_other_clusters_have_their_storms(run, busy):
    """A TestCase with a marker; a cluster of a shape that the budget did not think of; a quiet run says nothing."""
    source = """
        import unittest
        import pytest

        @pytest.mark.hsm_cluster()
        class TestOld(unittest.TestCase):
            def test_naive(self):
                client = self.hsm_cluster.client("shop")
                key = client.generate_key("AES", 256, label="kek")
                for _ in range(20):
                    client.encrypt(key, b"data")

        def test_other(hsm_cluster_factory):
            cluster = hsm_cluster_factory(hsms=2, sdk=5)
            key = cluster.client("shop").generate_key("AES", 256, label="kek")
    """
    result = run(source, busy, ini=ONE_HSM)
    result.assert_outcomes(failed=1, passed=1)
    into, text = pasted(section(result))
    assert into == "class TestOld of test_it.py"
    assert "def test_naive_regression(self):" in text
    assert "background chaos" not in run(source, busy, "-q", "-k", "other", ini=ONE_HSM).stdout.str()


def test_an_application_that_never_gives_up_is_found_by_its_time_out(run, pytester):
    """With pytest-timeout each run has its own time, also those that nobody sees."""
    pytester.path.joinpath("forever.toml").write_text(
        '[promise]\nfaults = 1\nuntouched = 0\nlongest = "1s"\ntogether = "1s"\ndestroyed = 1\npassages = 1\n'
        '[faults]\n"destroy @ hsm.execute op=encrypt" = 1\n'
    )
    source = """
        def test_stubborn(hsm_client):
            key = hsm_client.generate_key("AES", 256, label="kek")
            try:
                hsm_client.encrypt(key, b"data")
            except Exception:
                for _ in range(10**9):
                    pass
    """
    plugin = ("-p", "pytest_timeout", "--timeout=2", "-o", "timeout_func_only=true", "--timeout-method=signal")
    result = run(source, "--hsm-background=forever.toml", "--hsm-timeline=never", *plugin, ini=ONE_HSM)
    result.assert_outcomes(failed=1)
    assert "Timeout" in result.stdout.str()
    assert section(result)[2] == "    destroy @ hsm.execute op=encrypt command=encrypt hsm=hsm-1 nth=1"


@pytest.mark.parametrize(
    ("asked", "text", "said"),
    [
        ("lihgt", None, "lihgt: there is no such file in *did you mean 'light'?*"),
        ("team.toml", None, "team.toml: there is no such file in *; or say light or heavy"),
        ("team.toml", "promise: 3", "team.toml is no TOML file: *line 1*"),
        ("team.toml", "[promis]", "team.toml cannot be used: 2 mistakes"),
        (
            "team.toml",
            BUSY.replace("untouched = 0", "untouched = 4"),
            "team.toml cannot be used: promise.untouched = 4: a*",
        ),
        ("team.toml", BUSY.partition("[faults]")[0], "team.toml cannot be used: 1 mistake"),
    ],
)
@pytest.mark.parametrize("who", ["--hsm-background", "hsm_background"])
def test_a_budget_that_cannot_be_used_ends_the_run_before_collection(run, pytester, who, asked, text, said):
    """By option or ini; nothing is collected."""
    if text is not None:
        pytester.path.joinpath("team.toml").write_text(text)
    option = who.startswith("--")
    result = run(
        "raise SystemExit('collected')", *([f"{who}={asked}"] * option), ini="" if option else f"{who} = {asked}\n"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {who}: {said}"])


def test_a_relative_file_starts_where_it_was_written(run, pytester, monkeypatch):
    """That of the option in the current folder, that of the ini file at the rootdir."""
    below = pytester.mkdir("below")
    pytester.path.joinpath("at_root.toml").write_text(BUSY)
    below.joinpath("here.toml").write_text(BUSY)
    run(SUITE, "--collect-only", ini=ONE_HSM + "hsm_background = at_root.toml\n")
    monkeypatch.chdir(below)
    arguments = ("-p", "hsmcluster", "-k", "hardened", str(pytester.path / "test_it.py"), f"--rootdir={pytester.path}")
    for extra, budget in (((), "at_root.toml"), (("--hsm-background=here.toml",), "here.toml")):
        result = pytester.runpytest_inprocess(*arguments, "-c", str(pytester.path / "tox.ini"), *extra)
        result.assert_outcomes(passed=1, deselected=4)
        assert summary(result)[0].startswith(budget)
