"""Does `--hsm-coverage` count what tests did, say it, and judge it?"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VAULT = """
def make(client):
    return client.generate_key("AES", 256, label="kek")

def use(client, key):
    return client.encrypt(key, b"data")

def use_patiently(client, key):
    for _ in range(5):
        try:
            return client.encrypt(key, b"data")
        except Exception:
            pass
    raise RuntimeError("in vain")
"""

TESTS = """
import pytest
import vault

@pytest.fixture
def key(hsm_client):
    return vault.make(hsm_client)

@pytest.mark.hsm_chaos("fail CKR_GENERAL_ERROR @ hsm.execute op=encrypt nth=1")
def test_patience(hsm_client, key):
    vault.use_patiently(hsm_client, key)

@pytest.mark.hsm_chaos("fail CKR_GENERAL_ERROR @ hsm.execute op=encrypt nth=1")
@pytest.mark.xfail(strict=True)
def test_impatience(hsm_client, key):
    vault.use(hsm_client, key)

@pytest.mark.hsm_chaos("crashed-hsm hsm-3")
def test_one_is_off(hsm_client, key):
    vault.use(hsm_client, key)
"""


@pytest.fixture
def covered(pytester: pytest.Pytester, run: Any) -> Callable[..., tuple[pytest.RunResult, dict[str, Any]]]:
    """`covered(tests, *arguments)` runs tests of the vault and returns the result and the JSON file."""

    def covered(
        source: str = TESTS, *arguments: str, vault: str = VAULT, **more: Any
    ) -> tuple[pytest.RunResult, dict[str, Any]]:
        pytester.makepyfile(vault=vault)
        file = pytester.path / "coverage.json"
        result = run(source, f"--hsm-coverage-json={file}", *arguments, **more)
        return result, json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    return covered


def states(told: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return function and operation → mode → state."""
    return {f"{site['function']} {site['operation']}": site["modes"] for site in told["sites"]}


def test_call_sites_meet_failures(covered):
    """Survived where every test passed, failed where one was expected to fail and did, never reached elsewhere."""
    result, told = covered()
    result.assert_outcomes(passed=2, xfailed=1)
    found = states(told)
    assert list(found) == ["make generate_key", "use encrypt", "use_patiently encrypt"]
    assert found["use_patiently encrypt"]["single-error"] == "survived"
    assert found["use encrypt"]["single-error"] == "failed"
    assert found["use encrypt"]["hsm-off"] == "survived"
    assert found["use encrypt"]["missed-sdk5"] == "never"
    assert "missed-sdk3" not in found["use encrypt"]
    assert [(site["path"], site["test"]) for site in told["sites"]] == [("vault.py", False)] * 3
    assert told["runs"] == 3
    assert told["unplaced_calls"] == 0


def test_the_table_is_shown(covered):
    """Sites, signs, what was met nowhere, the failing test, and the sum, as the last of our words."""
    result, _ = covered()
    result.stdout.fnmatch_lines(
        [
            "*= hsmcluster fault coverage =*",
            "1  vault.py:2 make, generate_key *",
            "2  vault.py:5 use, encrypt *",
            "3  vault.py:10 use_patiently, encrypt *",
            "*1 2 3",
            "answers",
            "  single-error         · ✗ +",
            "fewer HSMs",
            "  hsm-off              · + ·",
            "met nowhere, and how a test gets there",
            "  time-out *",
            "failed: tests, what was met in them, and where",
            "  test_it.py::test_impatience",
            "    single-error at 2",
            "fault coverage 3.4 % of 58 failure modes at 3 call sites: 2 survived, 1 failed, 55 never met",
            "fault coverage written to *coverage.json",
        ],
        consecutive=False,
    )


def test_without_the_option_nothing_is_counted(run):
    """No table."""
    result = run(
        """
        def test_it(hsm_client):
            hsm_client.random(8)
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*fault coverage*")


def test_a_quiet_run_says_one_line(run):
    """The sum, and where a file went."""
    result = run("def test_it(hsm_client): hsm_client.random(8)", "--hsm-coverage", "-q")
    result.stdout.fnmatch_lines(["fault coverage 0 % of 11 failure modes at 1 call site: 0 survived, *"])
    result.stdout.no_fnmatch_line("*met nowhere*")


def test_tests_that_call_the_client_themselves_are_shown(run):
    """Somebody who has no application yet sees his tests."""
    result = run("def test_it(hsm_client):\n    hsm_client.random(8)", "--hsm-coverage")
    result.stdout.fnmatch_lines(["no application called a cluster*", "1  test_it.py:2 test_it, random *"])


def test_a_run_without_a_cluster_says_so(run):
    """Nothing was called, and nothing is claimed."""
    result = run("def test_it(): pass", "--hsm-coverage")
    result.stdout.fnmatch_lines(["fault coverage: no test called a cluster"])


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("assert False", "failed"),
        ("hsm_chaos.inject('delay 1s @ wire.request op=verify')", "failed"),
        ("request.addfinalizer(lambda: 1 / 0)", "failed"),
        ("pytest.skip('not today')", None),
        ("pytest.xfail('known')", "failed"),
        ("pass", "survived"),
    ],
    ids=["body", "end-of-test check", "teardown", "skip", "xfail", "pass"],
)
def test_what_a_run_comes_to(covered, body, state):
    """A run fails in any of its phases; one that skips says nothing."""
    _, told = covered(
        f"""
        import pytest, vault

        def test_it(hsm_client, hsm_chaos, request):
            with hsm_chaos.crash("hsm-3"):
                key = vault.make(hsm_client)
            {body}
        """
    )
    assert states(told).get("make generate_key", {}).get("hsm-off") == state


def test_a_rerun_that_passes_does_not_hide_the_failure(covered):
    """The first run met it and failed."""
    pytest.importorskip("pytest_rerunfailures")
    result, told = covered(
        """
        import vault
        runs = []

        def test_it(hsm_client, hsm_chaos):
            runs.append(None)
            with hsm_chaos.crash("hsm-3"):
                vault.make(hsm_client)
            assert len(runs) == 2
        """,
        "-p",
        "rerunfailures",
        "--reruns=1",
    )
    result.assert_outcomes(passed=1)
    assert states(told)["make generate_key"]["hsm-off"] == "failed"
    assert told["runs"] == 2


def test_each_case_of_a_sweep_is_a_run(covered):
    """What the sweep finds is covered where the application called."""
    result, told = covered(
        """
        import pytest, vault

        @pytest.mark.hsm_sweep("fail CKR_GENERAL_ERROR", points="hsm.execute", op="encrypt")
        def test_it(hsm_client):
            vault.use_patiently(hsm_client, vault.make(hsm_client))
        """
    )
    result.assert_outcomes(passed=2)
    assert states(told)["use_patiently encrypt"]["single-error"] == "survived"
    assert told["runs"] == 2


def test_wrong_clusters_do_not_count(covered):
    """Runs against mutants are no runs of the application's tests."""
    _, told = covered(TESTS, "--hsm-mutants")
    _, alone = covered(TESTS)
    assert told["runs"] == alone["runs"] == 3
    assert told["sites"] == alone["sites"]


def test_an_awaited_call_has_its_line(covered):
    """pytest-asyncio's loop is no caller; a coroutine that was handed to a task is known by where it was made."""
    result, told = covered(
        """
        import asyncio, pytest, vault

        @pytest.mark.asyncio
        async def test_it(hsm_async_client):
            await vault.awaited(hsm_async_client)
            await vault.in_a_task(hsm_async_client)
        """,
        "-p",
        "pytest_asyncio.plugin",
        ini="asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n",
        apart=True,
        vault="""
        import asyncio

        async def awaited(client):
            return await client.random(8)

        async def in_a_task(client):
            return await asyncio.create_task(client.random(8))
        """,
    )
    result.assert_outcomes(passed=1)
    assert list(states(told)) == ["awaited random", "in_a_task random"]


def test_python_is_left_as_it_was(run):
    """How much Python keeps of coroutines is set back."""
    before = sys.get_coroutine_origin_tracking_depth()
    run("def test_it(hsm_client): pass", "--hsm-coverage")
    assert sys.get_coroutine_origin_tracking_depth() == before


# -- workers -------------------------------------------------------------------------------------


def test_workers_are_added_up(covered):
    """Whoever ran which test: the file is that of one process."""
    _, alone = covered()
    result, told = covered(TESTS, "-p", "xdist", "-n", "2", apart=True)
    result.assert_outcomes(passed=2, xfailed=1)
    assert told == alone
    assert [line for line in result.outlines if "fault coverage =" in line] != []
    result.stdout.fnmatch_lines(["  single-error         · ✗ +"])


# -- enough ----------------------------------------------------------------------------------------


def test_too_little_fails_a_run_whose_tests_passed(covered):
    """The exit status is that of failed tests, and the last line says why."""
    result, _ = covered(TESTS, "--hsm-coverage-fail-under=80")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAIL fault coverage is 3.4 %, and at least 80 % are wanted"])


def test_enough_is_enough(covered):
    """At the percentage itself the run passes."""
    _, told = covered()
    result, _ = covered(TESTS, f"--hsm-coverage-fail-under={told['percent'] - 0.01}")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("FAIL*")


def test_the_ini_file_can_ask_for_it(run):
    """With `--hsm-coverage` only: nobody else's run is judged."""
    ini = "hsm_coverage_fail_under = 80\n"
    source = "def test_it(hsm_client): hsm_client.random(8)"
    assert run(source, ini=ini).ret == pytest.ExitCode.OK
    assert run(source, "--hsm-coverage", ini=ini).ret == pytest.ExitCode.TESTS_FAILED


def test_no_call_at_all_is_not_enough(run):
    """A suite that forgot the cluster does not pass."""
    assert run("def test_it(): pass", "--hsm-coverage-fail-under=1").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-k", "one_is_off"], "tests were deselected"),
        (["--deselect=test_it.py::test_patience"], "tests were deselected"),
        (["test_it.py::test_one_is_off"], "single files or tests were asked for"),
        (["test_it.py"], "single files or tests were asked for"),
        (["--lf"], "--lf"),
        (["-x", "--runxfail"], "it was stopped early"),
    ],
    ids=["-k", "--deselect", "node id", "file", "--lf", "-x"],
)
def test_a_partial_run_is_not_judged(covered, arguments, why):
    """What was not run cannot have met anything: said, in the file too, and no reason to fail."""
    result, told = covered(TESTS, "--hsm-coverage-fail-under=80", *arguments)
    result.stdout.fnmatch_lines([f"partial run ({why}): *, and --hsm-coverage-fail-under is not applied"])
    result.stdout.no_fnmatch_line("FAIL fault coverage*")
    assert told["partial"] == [why]
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if "-x" in arguments else pytest.ExitCode.OK)


def test_a_folder_is_no_part(covered, pytester: pytest.Pytester):
    """`pytest tests` is how suites are run."""
    _, told = covered(TESTS, str(pytester.path))
    assert told["partial"] == []


def test_a_module_that_cannot_be_collected_makes_a_run_partial(covered, pytester: pytest.Pytester):
    """Its tests might have met everything."""
    pytester.makepyfile(test_broken="import nothing_of_that_name")
    _, told = covered(TESTS, "--continue-on-collection-errors")
    assert told["partial"] == ["not all tests could be collected"]


def test_a_failing_test_stays_the_reason(covered):
    """Failed tests fail a run with or without coverage."""
    result, _ = covered("def test_it(hsm_client): assert not hsm_client.random(8)", "--hsm-coverage-fail-under=0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_file_that_cannot_be_written_is_named(run, tmp_path: Path):
    """Nobody runs a suite to the end to learn that its folder does not exist."""
    result = run("def test_it(): pass", f"--hsm-coverage-json={tmp_path / 'nowhere' / 'coverage.json'}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--hsm-coverage-json: there is no folder *nowhere*"])
