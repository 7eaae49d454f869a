"""Do an application's threads wait for each other in simulated time?"""

import concurrent.futures
import gc
import math
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_hsmcluster import HsmCluster, Stuck, UsageError
from tests.apptime.conftest import simulated


def barrier(timeout: float) -> None:
    with pytest.raises(threading.BrokenBarrierError):
        threading.Barrier(2).wait(timeout)


def get_from(kind: Callable[[], Any]) -> Callable[[float], None]:
    def get(timeout: float) -> None:
        with pytest.raises(queue.Empty):
            getattr(queue, kind)().get(timeout=timeout)  # type: ignore[call-overload]

    return get


def put_into_full(timeout: float) -> None:
    full = queue.Queue[int](1)
    full.put(1)
    with pytest.raises(queue.Full):
        full.put(2, timeout=timeout)


def condition(timeout: float) -> None:
    one = threading.Condition()
    with one:
        assert not one.wait_for(lambda: False, timeout)


def join(timeout: float) -> None:
    thread = threading.Thread(target=time.sleep, args=(timeout + 1,))
    thread.start()
    thread.join(timeout)
    assert thread.is_alive()


def future(timeout: float) -> None:
    with pytest.raises(concurrent.futures.TimeoutError):
        concurrent.futures.Future[int]().result(timeout)


def some_of_the_futures(timeout: float) -> None:
    done, waiting = concurrent.futures.wait([concurrent.futures.Future[int]()], timeout)
    assert (len(done), len(waiting)) == (0, 1)


WAITS: dict[str, Callable[[float], object]] = {
    "event": lambda timeout: threading.Event().wait(timeout),
    "condition": condition,
    "semaphore": lambda timeout: threading.Semaphore(0).acquire(timeout=timeout),
    "barrier": barrier,
    **{kind: get_from(kind) for kind in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")},  # type: ignore[arg-type]
    "full queue": put_into_full,
    "join": join,
    "future": future,
    "futures": some_of_the_futures,
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_time_out_expires_when_it_should(app_time: object, wait: Callable[[float], object]) -> None:
    """Exactly then, and the cluster has lived on meanwhile."""
    with HsmCluster(1, seed=1) as cluster:
        began = time.monotonic_ns()
        wait(1800)
        assert time.monotonic_ns() - began == cluster.clock.now_ns == 1800 * 10**9


def test_as_completed_ends_at_its_deadline(app_time: object) -> None:
    """It comes back as long as its deadline is not over, which at the very instant it is not."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(time.sleep, seconds) for seconds in (10, 20, 30)]
        with pytest.raises(concurrent.futures.TimeoutError, match="2 "):
            list(concurrent.futures.as_completed(jobs, timeout=15))
        assert time.monotonic() - began == pytest.approx(15, abs=0.001)
    assert time.monotonic() - began == pytest.approx(30)


def test_timer_strikes_or_is_cancelled(app_time: object) -> None:
    struck = list[float]()
    timers = [threading.Timer(seconds, lambda: struck.append(time.monotonic())) for seconds in (60, 120)]
    for timer in timers:
        timer.start()
    time.sleep(90)
    timers[1].cancel()
    for timer in timers:
        timer.join()
    assert struck == [1_000_060]


@pytest.mark.parametrize("timeout", [-1, 0, math.nan, -math.inf, math.inf, 1e300, 10**30, "1", [1]])
def test_bad_time_out_is_treated_as_by_the_real_wait(timeout: Any) -> None:
    """The same answer, or the same error with the same words; NaN is no time at all."""

    def attempt() -> object:
        try:
            return threading.Event().wait(timeout)
        except Exception as error:
            return type(error), str(error)

    real = attempt()
    with simulated():
        assert attempt() == real


def test_longest_time_out_has_no_end(app_time: object) -> None:
    """`threading.TIMEOUT_MAX` is how some say for ever."""
    with pytest.raises(Stuck):
        threading.Event().wait(threading.TIMEOUT_MAX)


def test_wait_without_hope_is_reported(app_time: object) -> None:
    """Who waits, for what and where, instead of a hang."""
    time.sleep(2)
    with pytest.raises(Stuck, match=r"the test: for a notification, since 2\.0+ s, at .*test_threads\.py:\d+"):
        threading.Event().wait()


def test_lock_is_waited_for_in_real_time(app_time: object) -> None:
    """Somebody else gets the turn meanwhile; no simulated time is lost by it."""
    lock, began = threading.Lock(), time.monotonic()
    lock.acquire()
    thread = threading.Thread(target=lambda: (time.sleep(0), lock.release()))
    thread.start()
    with lock:
        assert time.monotonic() == began


def test_threads_that_are_left_end_with_the_block() -> None:
    """A poller, a timer and an idle pool are gone afterwards, and so is who watched them."""
    before = threading.enumerate()
    with simulated():
        threading.Timer(3600, print).start()
        threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)]).start()
        concurrent.futures.ThreadPoolExecutor(2).submit(time.sleep, 1).result()
    assert threading.enumerate() == before


def test_signal_handler_may_sleep_in_the_middle_of_a_wait() -> None:
    """What it waits for there is waited for in real time; the wait that it interrupts is as long as ever."""
    slept = list[int]()

    def handle(number: int, frame: object) -> None:
        time.sleep(0.000_1)
        threading.Event().wait(0.000_1)
        slept.append(number)

    old = signal.signal(signal.SIGALRM, handle)
    try:
        with simulated() as app_time, HsmCluster(1, seed=1):
            signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
            began = app_time.company.now_ns
            count = 0
            while len(slept) < 5:
                time.sleep(3600)
                count += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert 0 <= app_time.company.now_ns - began - count * 3600 * 10**9 < 10**9
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_call_in_the_middle_of_a_wait_is_refused(app_time: Any) -> None:
    """By a finalizer or a signal handler; it would wait for itself."""
    with HsmCluster(1, seed=1) as cluster:
        client, told = cluster.client(), list[str]()
        threading.Thread(target=time.sleep, args=(5,)).start()

        def interrupt() -> bool:
            try:
                client.find_keys()
            except UsageError as error:
                told.append(str(error))
            return True

        app_time.company.wait_until(interrupt, 10, "an interrupt")
    assert "a signal handler or finalizer that came in between" in told[0]


def test_garbage_is_collected_in_the_middle_of_a_wait(app_time: object) -> None:
    """A finalizer that looks at the clock and notifies somebody does no harm."""
    freed = list[float]()

    class Circle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            freed.append(time.monotonic())
            threading.Event().set()

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with HsmCluster(2, seed=1):
            for _ in range(50):
                Circle()
                time.sleep(60)
    finally:
        gc.set_threshold(*thresholds)
    assert freed


def test_error_of_a_thread_is_told_as_ever(app_time: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `threading.excepthook`, with a traceback that leads to the line of the application."""
    told = list[Any]()
    monkeypatch.setattr(threading, "excepthook", told.append)

    def fail() -> None:
        time.sleep(1)
        raise KeyError("gone")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    last = told[0].exc_traceback
    while last.tb_next is not None:
        last = last.tb_next
    assert (told[0].exc_type, last.tb_frame.f_code.co_name) == (KeyError, "fail")


def test_run_is_the_same_in_every_process() -> None:
    """Threads, a pool and a loop of the application beside each other: equal journals, whatever the process is like."""
    code = textwrap.dedent(
        """
        import asyncio, queue, sys, threading, time
        from concurrent.futures import ThreadPoolExecutor
        from pytest_hsmcluster import HsmCluster
        from pytest_hsmcluster.apptime.apptime import AppTime
        from pytest_hsmcluster.drivers.actors import Order
        from pytest_hsmcluster.sim.entropy import Entropy

        sys.setswitchinterval(1e-6)
        for seed in range(5):
            with AppTime(Order(Entropy(seed).stream("order/0"))), HsmCluster(3, seed=seed) as cluster:
                client, jobs = cluster.client(), queue.SimpleQueue()
                key = client.generate_key("AES", 256, label="payroll")

                def serve():
                    while (number := jobs.get(timeout=60)) is not None:
                        time.sleep(number / 100)
                        client.encrypt(key, b"data")

                threads = [threading.Thread(target=serve) for _ in range(3)]
                for thread in threads:
                    thread.start()
                for number in range(9):
                    jobs.put(number)
                    time.sleep(0.005)
                with ThreadPoolExecutor(3) as pool:
                    list(pool.map(lambda _: client.encrypt(key, b"data"), range(6)))

                async def ask():
                    other = cluster.async_client("other")
                    await asyncio.gather(*(other.encrypt(key, b"data") for _ in range(3)), asyncio.sleep(5))
                    await asyncio.to_thread(client.encrypt, key, b"data")

                asyncio.run(ask())
                for _ in threads:
                    jobs.put(None)
                for thread in threads:
                    thread.join()
                print(cluster.history.digest(), cluster.handovers)
        """
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(set(told[0].split("\n"))) == 6
