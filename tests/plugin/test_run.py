"""Does `hsm_cluster.run()` go with sweeps, time limits, an application in simulated time, and workers?"""

import pytest

RACE = """
    import threading, time
    from functools import partial
    import pytest

    def ensure(client):
        if not client.find_keys(label="kek"):
            client.generate_key("AES", 256, label="kek")
"""

SWEPT = """
    @pytest.mark.hsm_sweep("crash", "drop", points="hsm.commit wire.request", op="generate_key")
    def test_swept(hsm_cluster):
        def make(client, label):
            try:
                client.generate_key("AES", 256, label=label)
            except Exception:
                time.sleep(100)
            return client.find_keys(label=label)

        one, two = hsm_cluster.client("one"), hsm_cluster.client("two")
        hsm_cluster.run(partial(make, one, "one"), partial(make, two, "two"))
"""


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n2")])
def test_swept_test_may_run_actors(run, workers):
    """Each case strikes the same passage of the same order; the clean run repeats itself."""
    result = run(RACE + SWEPT, *workers, apart=True)
    assert result.ret == 0
    assert "does not repeat itself" not in result.stdout.str()
    assert result.parseoutcomes()["passed"] > 10


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_time_limit_ends_an_actor_that_never_ends(run, method):
    """And the tests after it run as if nothing had been; a limit that kills the process does that."""
    result = run(
        RACE
        + """
    @pytest.mark.timeout(2.5, func_only=True)  # a busy machine may be slow to import
    def test_endless(hsm_cluster):
        def spin():
            while True:
                pass

        hsm_cluster.run(spin, lambda: time.sleep(1))

    def test_after(hsm_cluster):
        client = hsm_cluster.client()
        assert hsm_cluster.run(lambda: client.random(4), lambda: time.sleep(1))
        assert hsm_cluster.history.digest()
    """,
        "-p",
        "timeout",
        f"--timeout-method={method}",
        apart=True,
    )
    assert "Timeout" in result.stdout.str() + result.stderr.str()
    if method == "signal":
        result.assert_outcomes(failed=1, passed=1)


def test_run_within_an_application_in_simulated_time(run):
    """Threads of the test and functions of `run` act together, and wait for each other's locks."""
    result = run(
        RACE
        + """
    def test_together(hsm_app_time, hsm_cluster):
        client, lock = hsm_cluster.client(), threading.Lock()

        def work():
            with lock:
                client.random(4)
                time.sleep(5)

        thread = threading.Thread(target=work)
        thread.start()
        hsm_cluster.run(work, work)
        thread.join()
        assert 15 <= hsm_cluster.clock.now < 20
        assert hsm_cluster.history.digest()
    """,
        apart=True,
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n2"), ("-p", "rerunfailures", "--reruns=1")])
def test_orders_of_a_parametrized_class_are_the_same_everywhere(run, pytester, arguments):
    """On workers, and when a failure is run again; JUnit has each order, and `--lf` runs those that failed."""
    result = run(
        RACE
        + """
    @pytest.mark.hsm_cluster(explore=3)
    class TestRace:
        @pytest.mark.parametrize("actors", [2, 3])
        def test_one_kek(self, hsm_cluster, actors):
            client = hsm_cluster.client()
            hsm_cluster.run(*[partial(ensure, client)] * actors)
            assert len(client.find_keys(label="kek")) == 1
    """,
        "--junitxml=junit.xml",
        *arguments,
        apart=True,
    )
    failed = sorted(line.partition(" - ")[0] for line in result.outlines if line.startswith("FAILED"))
    assert failed == FAILED
    assert 'name="test_one_kek[3-order 2]"' in (pytester.path / "junit.xml").read_text()
    again = pytester.runpytest_subprocess("-p", "hsmcluster", "--lf")
    assert sorted(line.partition(" - ")[0] for line in again.outlines if line.startswith("FAILED")) == FAILED


_TEST = "FAILED test_it.py::TestRace::test_one_kek"
FAILED = sorted([f"{_TEST}[{name}]" for name in ("2", "2", "2-order 1", "3", "3", "3-order 1", "3-order 2")])
"""Each test that explored reports once more, so that `--lf` keeps it."""
