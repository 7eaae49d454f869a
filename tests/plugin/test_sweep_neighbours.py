"""Do sweeps live well with other plugins and on workers?"""

import re
import shlex
import sys

import pytest

from tests.plugin.swept import AFTER, FAILED, HOLDS, NOTED, ONE_CASE, ROTATION, case, names, noted, one, verdicts


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
    result = run(
        source, "-p", "timeout", "--timeout=2", "-o", "timeout_func_only=true", "--timeout-method=signal", "-v"
    )
    result.assert_outcomes(passed=2, failed=2)
    assert "sweep: 1 of 1 case broke a promise" in result.stdout.str()
    assert "Failed: Timeout" in result.stdout.str()


def test_time_out_by_thread_names_the_case(run):
    """With its thread method pytest-timeout ends the process, at the case."""
    source = one(HANGS, ", request") + AFTER
    result = run(
        source,
        "-p",
        "timeout",
        "--timeout=2",
        "-o",
        "timeout_func_only=true",
        "--timeout-method=thread",
        "-v",
        apart=True,
    )
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
