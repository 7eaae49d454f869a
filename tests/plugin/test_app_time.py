"""Does `hsm_app_time` live well inside pytest, and with other plugins?"""

import importlib.util
import textwrap
import xml.etree.ElementTree as ET

import pytest

CLEAN = textwrap.dedent("""
    def test_clean():
        import threading, time, datetime, queue
        for function in (time.sleep, time.time, time.monotonic, time.perf_counter):
            assert type(function).__name__ == "builtin_function_or_method"
        assert type(datetime.datetime) is type
        assert queue.SimpleQueue.__module__ == "_queue"
        assert threading.enumerate() == [threading.current_thread()]
""")
"""Comes after other tests, and finds that they have left nothing behind."""

PLAIN = (
    textwrap.dedent("""
    import threading, time
    import pytest

    def test_hours(hsm_app_time, hsm_cluster, hsm_client):
        began, at = time.monotonic_ns(), hsm_cluster.clock.now_ns
        hsm_client.generate_key("AES", 256, label="kek")
        time.sleep(5 * 3600)
        assert 5 * 3600 * 10**9 < time.monotonic_ns() - began == hsm_cluster.clock.now_ns - at

    def test_factory(hsm_app_time, hsm_cluster_factory):
        one, two = hsm_cluster_factory(hsms=1), hsm_cluster_factory(hsms=2)
        time.sleep(60)
        assert one.clock.now == two.clock.now == 60

    def test_without_cluster(hsm_app_time):
        assert not threading.Event().wait(3600)
    """)
    + CLEAN
)

needs = {
    name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"pip install {name.replace('_', '-')}")
    for name in ("freezegun", "time_machine", "looptime")
}


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n", "2"), ("-p", "randomly"), ("-p", "no:cacheprovider")])
def test_hours_pass_at_once(run, arguments):
    """Alone, on two workers, in a random order; the test's clusters live through the same hours."""
    source = PLAIN.replace("threading.enumerate() == [threading.current_thread()]", "True")
    run(source, *arguments).assert_outcomes(passed=4)


def test_durations_stay_real(run, pytester):
    """JUnit says seconds of the test run, and not the hours of the application."""
    run(PLAIN, "--junitxml=junit.xml", "--durations=3", apart=True).assert_outcomes(passed=4)
    times = [float(case.get("time", "-1")) for case in ET.parse(pytester.path / "junit.xml").iter("testcase")]
    assert len(times) == 4
    assert all(0 <= time < 600 for time in times)


def test_failed_test_leaves_nothing_behind(run):
    """Nor do threads that are in the middle of something, nor a set-up that fails, nor fixtures that end later."""
    result = run(
        textwrap.dedent("""
        import threading, time
        import pytest

        def test_fails(hsm_app_time, hsm_client):
            threading.Thread(target=time.sleep, args=(1000,)).start()
            threading.Timer(1000, print).start()
            time.sleep(10)
            raise KeyError("the reason")

        @pytest.fixture
        def broken(hsm_app_time):
            raise KeyError("in the fixture")

        def test_errs(broken): pass

        def test_patches(monkeypatch, hsm_app_time):
            monkeypatch.setattr(time, "sleep", lambda seconds: None)
            time.sleep(-1)
    """)
        + CLEAN,
        apart=True,
    )
    result.assert_outcomes(passed=2, failed=1, errors=1)
    assert "KeyError: 'the reason'" in result.stdout.str()


def test_testcase_has_it_by_usefixtures(run):
    """In `setUp` too."""
    run("""
        import time, unittest
        import pytest

        @pytest.mark.usefixtures("hsm_app_time")
        class TestIt(unittest.TestCase):
            def setUp(self):
                time.sleep(60)

            @pytest.mark.hsm_cluster(hsms=2)
            def test_it(self):
                time.sleep(3600)
                assert self.hsm_cluster.clock.now == 3660
    """).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "order", ["hsm_app_time, hsm_async_client", "hsm_async_client, hsm_app_time", "loop, hsm_app_time"]
)
def test_loop_of_pytest_asyncio_lives_in_simulated_time(run, order):
    """Whichever is set up first, the loop or simulated time."""
    run(
        f"""
        import asyncio, time
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def loop():
            await asyncio.sleep(0)
            yield
            await asyncio.sleep(0)

        @pytest.mark.asyncio
        async def test_it({order}, hsm_cluster):
            at = asyncio.get_running_loop().time
            began, lived = at(), hsm_cluster.clock.now
            await asyncio.sleep(3600)
            await hsm_cluster.async_client("other").generate_key("AES", 256, label="kek")
            assert 3600 < at() - began < 3601
            assert at() - began == pytest.approx(hsm_cluster.clock.now - lived)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60):
                    await asyncio.Event().wait()
    """,
        "-p",
        "asyncio",
        ini="asyncio_default_fixture_loop_scope = function\n",
        apart=True,
    ).assert_outcomes(passed=1)


def test_anyio_under_both_backends(run):
    """Under asyncio all is simulated; trio keeps a clock of its own, and only `time` is."""
    run(
        """
        import time
        import anyio, pytest

        @pytest.mark.anyio
        async def test_it(hsm_app_time, hsm_async_client, hsm_cluster, anyio_backend_name):
            began, lived = time.monotonic_ns(), hsm_cluster.clock.now_ns
            time.sleep(60)
            assert time.monotonic_ns() - began == hsm_cluster.clock.now_ns - lived == 60 * 10**9
            await hsm_async_client.generate_key("AES", 256, label="kek")
            if anyio_backend_name == "asyncio":
                with anyio.move_on_after(3600) as scope:
                    await anyio.sleep(7200)
                assert scope.cancelled_caught
                assert 3660 < hsm_cluster.clock.now < 3661
            else:
                before = hsm_cluster.clock.now
                await anyio.sleep(0.001)
                assert hsm_cluster.clock.now == before
    """,
        "-p",
        "anyio",
        apart=True,
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize("method", ["thread", "signal"])
@pytest.mark.parametrize("body", ["while True: pass", "while True: time.sleep(3600)", "lock.acquire(); lock.acquire()"])
def test_pytest_timeout_strikes_in_real_seconds(run, method, body):
    """However long the application sleeps meanwhile, and whatever it hangs in."""
    result = run(
        f"""
        import threading, time

        lock = threading.Lock()

        def test_long(hsm_app_time):
            time.sleep(10_000)

        def test_hangs(hsm_app_time, hsm_cluster):
            {body}
    """,
        "-p",
        "timeout",
        "--timeout=2.5",
        "-o",
        "timeout_func_only=true",  # a busy machine may be slow to import
        f"--timeout-method={method}",
        apart=True,
    )
    assert result.ret != 0
    assert "Timeout" in result.stdout.str() + result.stderr.str()
    assert "test_hangs" in result.stdout.str() + result.stderr.str()
    if method == "signal":
        result.assert_outcomes(passed=1, failed=1)


OTHERS = [
    pytest.param("freezegun", "freezegun.freeze_time('2020-01-01')", marks=needs["freezegun"]),
    pytest.param("time-machine", "time_machine.travel('2020-01-01')", marks=needs["time_machine"]),
]


@pytest.mark.parametrize("name, other", OTHERS)
def test_library_that_simulates_time_already_is_named(run, name, other):
    """In both orders, as a fixture, a decorator or a block, sync and async: an error instead of a hang."""
    result = run(
        textwrap.dedent(f"""
        import asyncio, time
        import pytest
        import {name.replace("-", "_")}

        @pytest.fixture
        def other():
            with {other}: yield

        def test_theirs_first(other, hsm_app_time): time.sleep(1)

        def test_ours_first(hsm_app_time, other): time.sleep(1)

        def test_block(hsm_app_time):
            with {other}: time.sleep(1)

        @{other}
        def test_decorator(hsm_app_time): time.sleep(1)

        @{other}
        def test_loop(hsm_app_time): asyncio.run(asyncio.sleep(1))

        @{other}
        def test_run(hsm_cluster): hsm_cluster.run(lambda: time.sleep(1))
    """)
        + CLEAN,
        apart=True,
    )
    result.assert_outcomes(passed=1, failed=5, errors=1)
    assert result.stdout.str().count(f"UsageError: {name} has replaced ") >= 6
    assert "leave one of them out" in result.stdout.str()


@needs["looptime"]
@pytest.mark.parametrize("mark, outcome", [("looptime", {"failed": 1}), ("looptime(False)", {"passed": 1})])
def test_looptime_is_named_where_it_is_on(run, mark, outcome):
    """Where it is only installed, or switched off, it is no obstacle."""
    result = run(
        f"""
        import asyncio
        import pytest

        @pytest.mark.asyncio
        @pytest.mark.{mark}
        async def test_it(hsm_app_time):
            await asyncio.sleep(3600)
    """,
        *("-p", "asyncio", "-p", "looptime._internal.plugin"),
        ini="asyncio_default_fixture_loop_scope = function\n",
        apart=True,
    )
    result.assert_outcomes(**outcome)
    if mark == "looptime":
        assert "looptime simulates the time of this asyncio loop already" in result.stdout.str()
        assert "@pytest.mark.looptime(False)" in result.stdout.str()


@pytest.mark.parametrize("fixtures", ["hsm_cluster, hsm_app_time", "hsm_app_time, hsm_cluster"])
def test_real_clock_is_refused(run, fixtures):
    """Two times cannot be one, whichever comes first; the marker or the option says it."""
    source = f"def test_it({fixtures}): pass"
    result = run(source, "--hsm-clock=real")
    result.assert_outcomes(errors=1)
    assert 'an application in simulated time (hsm_app_time) cannot use a cluster of clock="real"' in result.stdout.str()


RETRIES = """
    import time
    import pytest

    {mark}
    def test_it(hsm_app_time, hsm_client):
        for attempt in range(5):
            try:
                hsm_client.encrypt(hsm_client.generate_key("AES", 256, label=f"kek {{attempt}}"), b"data")
                break
            except Exception:
                time.sleep(600)
        else:
            raise AssertionError("never")
"""


def test_sweep_runs_each_case_in_simulated_time(run):
    """An application that waits ten minutes between its attempts is swept in no time."""
    mark = "@pytest.mark.hsm_sweep('drop', op='generate_key', points='wire.request')"
    result = run(RETRIES.format(mark=mark), "-p", "timeout", "--timeout=60")
    assert result.parseoutcomes()["passed"] > 2
    assert "failed" not in result.parseoutcomes()


def test_exploring_tries_orders_of_the_applications_threads(run):
    """Without `run()`: threads that the test starts take turns, and each order is another history."""
    result = run("""
        import threading, time
        import pytest

        @pytest.mark.hsm_cluster(hsms=1, explore=6)
        def test_it(hsm_app_time, hsm_cluster):
            def ask(name):
                hsm_cluster.client(name).find_keys()
                time.sleep(1)

            threads = [threading.Thread(target=ask, args=(f"app-{number}",)) for number in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
    """)
    result.assert_outcomes(passed=6)
    assert "6 orders, " in result.stdout.str()
    assert "cannot be compared" not in result.stdout.str()


def test_rerun_begins_anew(run):
    """pytest-rerunfailures: simulated time begins again, and the run is the same."""
    result = run(
        """
        import pathlib, time

        def test_it(hsm_app_time, hsm_cluster, hsm_client):
            began = time.time()
            hsm_client.generate_key("AES", 256, label="kek")
            time.sleep(60)
            with pathlib.Path("notes").open("a") as notes:
                notes.write(f"{began} {hsm_cluster.history.digest()}\\n")
            lines = pathlib.Path("notes").read_text().splitlines()
            assert len(lines) == 3
            assert len(set(lines)) == 1
    """,
        *("-p", "rerunfailures", "--reruns=2"),
    )
    assert result.parseoutcomes() == {"passed": 1, "rerun": 2}


def test_debugger_leaves_time_alone(pytester):
    """At a prompt of --pdb nothing goes on, and the clock shows the instant of the failure."""
    pytester.makepyfile("""
        import time

        def test_it(hsm_app_time, hsm_cluster):
            time.sleep(3600)
            raise KeyError
    """)
    child = pytester.spawn_pytest("-p hsmcluster --pdb")
    child.expect("Pdb")
    child.sendline("print('now', hsm_cluster.clock.now, time.monotonic())")
    child.expect("now 3600.0 1003600.0")
    child.sendline("q")
    child.read()
