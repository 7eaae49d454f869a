"""What does a test's end say about its clusters?"""

import pytest

LOST = """
    import pytest

    @pytest.mark.hsm_cluster(sdk=3)
    @pytest.mark.hsm_chaos("kill-mid-create")
    def test_lost(hsm_client):
        hsm_client.generate_key("AES", 256, label="payroll")
"""


def test_lost_key_fails_the_test_in_its_call(run):
    """A lost key fails a test whose body passed; the first line says which key, which HSM and when."""
    result = run(LOST)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "\nlost key 'payroll' (key-1, handle " in text
    assert "FAILED test_it.py::test_lost - " in text
    assert "All traceback entries are hidden" not in text


def test_broken_promise_is_an_assertion_for_xfail(run):
    """A strict xfail that names AssertionError takes a lost key as its reason, and a kept promise as a failure."""
    source = """
        import pytest

        @pytest.mark.xfail(strict=True, raises=AssertionError)
        @pytest.mark.hsm_cluster(sdk=3)
        @pytest.mark.hsm_chaos("kill-mid-create")
        def test_lost(hsm_client):
            hsm_client.generate_key("AES", 256, label="payroll")

        @pytest.mark.xfail(strict=True, raises=AssertionError)
        def test_kept(hsm_client):
            hsm_client.generate_key("AES", 256, label="payroll")
    """
    run(source).assert_outcomes(xfailed=1, failed=1)


def test_fault_that_never_fired_fails_the_test(run):
    """A fault that had nothing to strike is named; `may_miss` allows it, and so does a scenario's consequence."""
    result = run("""
        import pytest

        @pytest.mark.hsm_chaos("crash @ hsm.commit command=derive_key nth=1")
        def test_marker(hsm_client):
            hsm_client.generate_key("AES", 256, label="kek")

        def test_block(hsm_client, hsm_chaos):
            with hsm_chaos.inject("drop @ wire.response command=sign"):
                pass

        def test_allowed(hsm_client, hsm_chaos):
            hsm_chaos.inject("drop @ wire.response command=sign", may_miss=True)
            hsm_chaos.stall_sync()
    """)
    result.assert_outcomes(failed=2, passed=1)
    text = result.stdout.str()
    assert "fault that never fired: crash @ hsm.commit command=derive_key nth=1 (" in text
    assert "fault that never fired: drop @ wire.response command=sign (" in text


CHECKS = """
    import pytest

    pytestmark = pytest.mark.hsm_cluster(sdk=3)

    def lose_a_copy(cluster):
        client = cluster.client()
        with cluster.chaos.fail_clone():
            client.generate_key("AES", 256, label="payroll")

    def test_default(hsm_cluster):
        lose_a_copy(hsm_cluster)

    @pytest.mark.hsm_cluster(checks=("durable",))
    def test_asked(hsm_cluster):
        lose_a_copy(hsm_cluster)

    @pytest.mark.hsm_cluster(checks=())
    def test_none(hsm_cluster):
        lose_a_copy(hsm_cluster)
        hsm_cluster.chaos.destroy("hsm-1")

    @pytest.mark.hsm_chaos(checks=("no_orphan_keys",))
    class TestLevels:
        def test_class(self, hsm_cluster):
            lose_a_copy(hsm_cluster)

        @pytest.mark.hsm_cluster(checks=["durable"])
        def test_closer(self, hsm_cluster):
            lose_a_copy(hsm_cluster)

        @pytest.mark.hsm_cluster(checks=())
        @pytest.mark.hsm_chaos(checks=("durable",))
        def test_chaos_comes_first(self, hsm_cluster):
            lose_a_copy(hsm_cluster)
"""


def test_markers_choose_checks(run):
    """`checks=` adds to no_lost_keys, `()` is none at all, the closest wins, on one level that of hsm_chaos."""
    result = run(CHECKS)
    result.assert_outcomes(passed=3, failed=3)
    failed = [line.split(" - ")[0] for line in result.outlines if line.startswith("FAILED")]
    assert [line.rpartition("::")[2] for line in failed] == ["test_asked", "test_closer", "test_chaos_comes_first"]
    assert result.stdout.str().count("key at risk 'payroll' (key-1, handle ") >= 3


def test_ini_chooses_checks_for_unmarked_tests(run):
    """`hsm_checks` holds where no marker says anything."""
    result = run(CHECKS, ini="hsm_checks = durable in_sync\n")
    result.assert_outcomes(passed=2, failed=4)


def test_explicit_none_needs_a_marker(run):
    """Lost keys fail the test also where `hsm_checks` names other checks."""
    run(LOST, ini="hsm_checks = in_sync\n").assert_outcomes(failed=1)


def test_all_findings_are_told_together(run):
    """Several broken promises of several clusters stand in one failure."""
    result = run("""
        import pytest

        @pytest.mark.hsm_cluster(sdk=3, checks=("durable",))
        def test_it(hsm_cluster_factory):
            for label in ("one", "two"):
                cluster = hsm_cluster_factory()
                with cluster.chaos.fail_clone():
                    cluster.client().generate_key("AES", 256, label=label)
                cluster.chaos.destroy("hsm-1")
                cluster.chaos.inject("pass @ sync.clone")
    """)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    for said in ("lost key 'one'", "lost key 'two'", "key at risk 'one'", "key at risk 'two'"):
        assert said in text
    assert text.count("fault that never fired: pass @ sync.clone") == 2


def test_own_failure_comes_first_and_findings_are_a_section(run):
    """When the body failed, that is the failure; what the clusters show is told below."""
    result = run("""
        import unittest
        import pytest

        @pytest.mark.hsm_cluster(sdk=3)
        @pytest.mark.hsm_chaos("kill-mid-create")
        def test_it(hsm_client):
            hsm_client.generate_key("AES", 256, label="payroll")
            raise KeyError("the body's own")

        @pytest.mark.hsm_cluster(sdk=3)
        @pytest.mark.hsm_chaos("kill-mid-create")
        class TestIt(unittest.TestCase):
            def test_it(self):
                self.hsm_cluster.client().generate_key("AES", 256, label="ledger")
                self.fail("the body's own")
    """)
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert text.count("HSM findings at the end of the test") == 2
    assert 'E       KeyError: "the body\'s own"' in text
    assert "AssertionError: the body's own" in text
    assert "lost key 'payroll'" in text
    assert "lost key 'ledger'" in text
    assert "BrokenPromise" not in text


def test_skipped_and_xfailed_bodies_are_not_judged(run):
    """A test that skips or xfails itself broke nothing, whatever it had installed."""
    run("""
        import unittest
        import pytest

        pytestmark = pytest.mark.hsm_chaos("pass @ sync.clone")

        def test_skip(hsm_client):
            pytest.skip("not today")

        def test_xfail(hsm_client):
            pytest.xfail("known")

        class TestIt(unittest.TestCase):
            def test_skip(self):
                self.skipTest("not today")
    """).assert_outcomes(skipped=2, xfailed=1)


def test_testcases_are_judged_too(run):
    """A TestCase that loses a key fails, once."""
    result = run("""
        import unittest
        import pytest

        @pytest.mark.hsm_cluster(sdk=3)
        @pytest.mark.hsm_chaos("kill-mid-create")
        class TestIt(unittest.TestCase):
            def test_it(self):
                self.hsm_cluster.client().generate_key("AES", 256, label="payroll")

            @unittest.expectedFailure
            def test_expected(self):
                self.fail("known")
    """)
    assert "lost key 'payroll'" in result.stdout.str()
    assert result.parseoutcomes()["failed"] == 1
    assert "errors" not in result.parseoutcomes()


def test_closed_clusters_are_judged_too(run):
    """A test may close a cluster itself; its keys are looked at all the same."""
    result = run("""
        import pytest

        @pytest.mark.hsm_cluster(sdk=3)
        @pytest.mark.hsm_chaos("kill-mid-create")
        def test_it(hsm_client, hsm_cluster):
            hsm_client.generate_key("AES", 256, label="payroll")
            hsm_cluster.close()
    """)
    result.assert_outcomes(failed=1)
    assert "lost key 'payroll'" in result.stdout.str()


@pytest.mark.parametrize("phase", ["setup", "teardown"])
def test_failure_of_a_fixture_has_the_timeline(run, phase):
    """When a fixture fails the report shows what had happened in the cluster."""
    first, second = ("raise KeyError('mine')", "yield") if phase == "setup" else ("yield", "raise KeyError('mine')")
    result = run(f"""
        import pytest

        @pytest.fixture
        def vault(hsm_client):
            hsm_client.generate_key("AES", 256, label="payroll")
            {first}
            {second}

        def test_it(vault):
            pass
    """)
    assert result.parseoutcomes()["errors"] == 1
    text = result.stdout.str()
    assert "generate_key 'payroll'" in text
    assert "pytest test_it.py::test_it --hsm-seed=0" in text
