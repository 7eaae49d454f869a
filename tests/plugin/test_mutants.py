"""Does a suite learn which wrong clusters its assertions do not notice?"""

import re

import pytest

SHARP = """
    import pytest

    def test_round_trip(hsm_client):
        kek = hsm_client.generate_key("AES", 256, label="kek")
        box = hsm_client.encrypt(kek, b"data")
        assert hsm_client.decrypt(kek, box) == b"data"

    def test_delete(hsm_client, hsm_clock):
        kek = hsm_client.generate_key("AES", 256, label="kek")
        assert len(hsm_client.find_keys(label="kek")) == 1
        hsm_client.delete_key(kek)
        hsm_clock.advance(60)
        assert hsm_client.find_keys(label="kek") == []

    def test_nothing_of_ours():
        pass
"""

BLUNT = """
    def test_delete(hsm_client):
        hsm_client.delete_key(hsm_client.generate_key("AES", 256, label="kek"))
"""


def fates(result):
    """Return what the table says: name of a mutant → `killed by …`, `SURVIVED: …`, `never reached`."""
    lines = re.findall(r"^([a-z]+(?:-[a-z]+)+) +(killed by .*|SURVIVED: .*|never reached)$", result.stdout.str(), re.M)
    return dict(lines)


def test_each_wrong_cluster_is_killed_survives_or_is_never_reached(run):
    """A line for each; what survives is explained, with what would see it; and the run fails for it."""
    result = run(SHARP, "--hsm-mutants")
    told = fates(result)
    assert told["disowned-copies"] == "killed by test_it.py::test_round_trip"
    assert told["doubled-creates"] == "killed by test_it.py::test_delete"
    assert told["undead-keys"] == "killed by test_it.py::test_delete"
    assert told["stale-copy"] == "never reached"
    assert "SURVIVED" not in result.stdout.str()
    result.stdout.re_match_lines([r"2 tests against 27 wrong clusters: \d+ killed, 0 survived, \d+ never reached$"])
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3)


def test_survivors_fail_the_run_and_are_explained(run):
    """What is wrong, in which run it showed first, and which assertion would have seen it."""
    result = run(BLUNT, "--hsm-mutants")
    assert fates(result)["half-deletes"].startswith("SURVIVED: one HSM says ok to a delete and keeps the key")
    result.stdout.fnmatch_lines(
        [
            "half-deletes  *SURVIVED: one HSM says ok to a delete and keeps the key, and the sweep spreads it again",
            "  *in 1 run, first test_it.py::test_delete",
            "  *would be seen by no_resurrected_keys() after a sweep, in_sync()",
            "*; assertions have no teeth where a mutant survives",
        ]
    )
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_quiet_run_names_survivors_only(run):
    """And nothing at all when there are none."""
    quiet = run(BLUNT, "--hsm-mutants", "-q").stdout.str()
    assert "SURVIVED" in quiet
    assert "never reached\n" not in quiet
    assert "killed by" not in quiet
    assert "mutants" not in run(SHARP, "--hsm-mutants", "-q").stdout.str()


def test_without_the_option_nothing_is_tried(run):
    """Each test runs once."""
    result = run(BLUNT, "-s", conftest=COUNTING)
    assert result.stdout.str().count("SET UP") == 1
    assert "mutants" not in result.stdout.str()
    assert result.ret == pytest.ExitCode.OK


COUNTING = """
    import pytest

    @pytest.fixture(autouse=True)
    def counted():
        print("SET UP")
        yield
"""


def test_a_test_that_fails_by_itself_tells_nothing(run):
    """Failed, skipped and expected to fail: only what a right cluster passes can tell a wrong one."""
    result = run(
        """
        import pytest

        def test_failed(hsm_client):
            assert hsm_client.random(8) == b""

        def test_skipped(hsm_client):
            pytest.skip("not today")

        @pytest.mark.xfail
        def test_expected(hsm_client):
            assert hsm_client.random(8) == b""
        """,
        "--hsm-mutants",
        conftest=COUNTING,
    )
    result.assert_outcomes(failed=1, skipped=1, xfailed=1)
    assert "hsmcluster mutants" not in result.stdout.str()


def test_a_wrong_cluster_breaks_no_fault_rule(run):
    """That a fault never struck in a wrong cluster is no assertion of the test's."""
    result = run(
        """
        import pytest

        @pytest.mark.hsm_chaos("delay 1s @ sync.clone", "fail-clone hsm-3")
        def test_it(hsm_client, hsm_clock):
            hsm_client.generate_key("AES", 256, label="kek")
            hsm_clock.advance(100)
        """,
        "--hsm-mutants",
    )
    assert fates(result)["lying-sweep"].startswith("SURVIVED")
    result.assert_outcomes(passed=1)


def test_cases_of_a_sweep_are_tried_too(run):
    """What a test alone never reaches, a fault at one of its points does."""
    result = run(
        """
        import pytest
        from pytest_hsmcluster import ClusterError

        @pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
        @pytest.mark.hsm_chaos("fail-clone hsm-3", "stall-sync")
        @pytest.mark.hsm_sweep("fail CKR_DEVICE_ERROR", points="hsm.execute", op="generate_key")
        def test_it(hsm_client, hsm_cluster, hsm_check):
            try:
                hsm_client.generate_key("AES", 256, label="kek")
            except ClusterError as error:
                assert error.outcome == "fail"
                assert hsm_client.find_keys() == []
        """,
        "--hsm-mutants",
    )
    told = fates(result)
    assert re.fullmatch(
        r"killed by test_it.py::test_it with fail CKR_DEVICE_ERROR @ hsm.execute op=generate_key command=.* nth=1",
        told["careless-cleanup"],
    )
    assert told["disowned-copies"].startswith("SURVIVED")
    result.assert_outcomes(passed=1)


def test_a_test_that_does_not_repeat_itself_says_so(run):
    """It fails with a cluster that has done nothing wrong: nobody learns anything from it."""
    result = run(
        """
        runs = []

        def test_it(hsm_client, hsm_check):
            runs.append(1)
            hsm_client.delete_key(hsm_client.generate_key("AES", 256, label="kek"))
            hsm_client.find_keys()
            assert len(runs) < 3, "only twice"
        """,
        "--hsm-mutants",
    )
    result.stdout.fnmatch_lines(
        ["test_it.py::test_it does not repeat itself and tells nothing about mutants: *only twice*"]
    )


def test_workers_add_up(run):
    """Whoever kills it: one table, at the controller, and one exit status."""
    both = ("--hsm-mutants", "-p", "xdist", "-n2")
    result = run(SHARP + BLUNT.replace("test_delete", "test_blunt"), *both, apart=True)
    told = fates(result)
    assert told["undead-keys"] == "killed by test_it.py::test_delete"
    assert told["disowned-copies"].startswith("killed by test_it.py::test_")
    result.stdout.re_match_lines([r"3 tests against 27 wrong clusters: \d+ killed, 0 survived, \d+ never reached"])
    assert result.ret == pytest.ExitCode.OK
    assert run(BLUNT, *both, apart=True).ret == pytest.ExitCode.TESTS_FAILED


def test_a_test_case_of_unittest_runs_once(run):
    """unittest runs it, and does not run it again."""
    result = run(
        """
        import unittest, pytest

        @pytest.mark.hsm_cluster(sdk=3)
        class Test(unittest.TestCase):
            def test_it(self):
                self.hsm_cluster.client().generate_key("AES", 256, label="kek")
        """,
        "--hsm-mutants",
    )
    result.assert_outcomes(passed=1)
    assert "hsmcluster mutants" not in result.stdout.str()
