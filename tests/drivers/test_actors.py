"""Do functions that act at the same time take turns, the same way for the same seed, and what ends them?"""

import functools
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_hsmcluster import Client, HsmCluster, KeyHandle, KeyNotOnHsm, Stuck, UsageError
from pytest_hsmcluster.drivers import company


@pytest.fixture
def cluster() -> Iterator[HsmCluster]:
    with HsmCluster(3, seed=7) as cluster:
        yield cluster


def fixed_key(client: Client) -> KeyHandle:
    return client.generate_key("AES", 256, label="payroll")


# -- turns ------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_functions(cluster: HsmCluster) -> None:
    """`run(f, g)` returns what `f` returned, then what `g` returned, whoever ended first."""
    assert cluster.run(lambda: time.sleep(2) or "slow", lambda: "fast") == ["slow", "fast"]


def test_actors_wait_at_the_same_time(cluster: HsmCluster) -> None:
    """Eight actors that sleep for a minute each take one minute."""
    began = cluster.clock.now
    cluster.run(*[lambda: time.sleep(60)] * 8)
    assert cluster.clock.now - began == 60


def test_calls_of_two_actors_overlap(cluster: HsmCluster) -> None:
    """A create on three HSMs takes 161 ms or more; two at the same time take less than two after each other."""
    first, second = cluster.client("first"), cluster.client("second")
    began = cluster.clock.now
    cluster.run(lambda: fixed_key(first), lambda: fixed_key(second))
    together = cluster.clock.now - began
    began = cluster.clock.now
    fixed_key(first)
    assert together < 2 * (cluster.clock.now - began) + 0.27


def race(order: int, seed: int = 7) -> tuple[str, list[int], int]:
    """Let two actors see to it, without care, that there is one key of a label."""
    with HsmCluster(3, seed=seed, order=order) as cluster:

        def ensure(client: Client) -> None:
            if not client.find_keys(label="payroll"):
                fixed_key(client)

        cluster.run(*[functools.partial(ensure, cluster.client(name)) for name in ("first", "second")])
        keys = [len(hsm.keys) for hsm in cluster.hsms]
        return cluster.history.digest(), keys, cluster.handovers


def test_same_seed_and_order_give_the_same_run() -> None:
    assert race(3) == race(3)


def test_orders_differ_and_some_of_them_break_the_application() -> None:
    """Of 30 orders some end with one key and others with two: the naive check-then-create is a race."""
    runs = [race(order) for order in range(30)]
    assert len({digest for digest, _, _ in runs}) > 20
    assert {tuple(keys) for _, keys, _ in runs} == {(1, 1, 1), (2, 2, 2)}
    assert all(handovers > 0 for _, _, handovers in runs)


def test_run_is_the_same_in_every_process() -> None:
    """Other hash seeds, other addresses, other timing of the machine: the digests of five orders stay."""
    code = textwrap.dedent(
        """
        import sys, threading, time
        from concurrent.futures import ThreadPoolExecutor
        from pytest_hsmcluster import HsmCluster

        sys.setswitchinterval(1e-6)
        for order in range(5):
            with HsmCluster(3, seed=3, order=order) as cluster:
                client, lock = cluster.client("app"), threading.Lock()
                key = client.generate_key("AES", 256, label="payroll")

                def serve(number):
                    with lock:
                        client.encrypt(key, b"data")
                    time.sleep(0.01 * number)
                    return client.encrypt(key, b"data")

                def pooled():
                    with ThreadPoolExecutor(3) as pool:
                        return len(list(pool.map(serve, range(5))))

                cluster.run(pooled, lambda: serve(1), lambda: cluster.clock.advance(1))
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


def test_faults_strike_actors_too(cluster: HsmCluster) -> None:
    """Only the call of one actor misses the key."""
    client = cluster.client()
    key = fixed_key(client)
    cluster.chaos.inject("fail CKR_KEY_HANDLE_INVALID @ hsm.execute command=encrypt nth=1", may_miss=True)

    def use() -> bool:
        try:
            client.encrypt(key, b"data")
        except Exception:
            return False
        return True

    assert sorted(cluster.run(use, use, use)) == [False, True, True]


# -- what the standard library offers for waiting ------------------------------------------------


def test_queue_hands_work_from_one_actor_to_another(cluster: HsmCluster) -> None:
    """A consumer waits for what a producer makes, in simulated time, and a time-out is simulated, too."""
    client, jobs = cluster.client(), queue.Queue[KeyHandle](maxsize=1)
    key = fixed_key(client)

    def produce() -> None:
        for _ in range(3):
            time.sleep(10)
            jobs.put(key)

    def consume() -> int:
        for count in range(10):
            try:
                client.encrypt(jobs.get(timeout=30), b"data")
            except queue.Empty:
                return count
        return -1

    assert cluster.run(produce, consume) == [None, 3]
    assert 60 <= cluster.clock.now < 70


@pytest.mark.parametrize("lock", [threading.Lock, threading.RLock])
def test_lock_from_before_is_waited_for(cluster: HsmCluster, lock: Callable[[], threading.Lock]) -> None:
    """Actors that hold a lock over a call of the cluster, made before `run`, pass it on; no two hold it at a time."""
    client, mutex, inside = cluster.client(), lock(), [0]
    key = fixed_key(client)

    def use() -> None:
        with mutex:
            inside[0] += 1
            assert inside == [1]
            client.encrypt(key, b"data")
            inside[0] -= 1

    cluster.run(use, use, use)
    assert cluster.history.digest()


def test_barrier_and_semaphore_gather_actors(cluster: HsmCluster) -> None:
    barrier, semaphore = threading.Barrier(3), threading.Semaphore(2)

    def meet(seconds: int) -> float:
        with semaphore:
            time.sleep(seconds)
        barrier.wait(timeout=100)
        return time.monotonic()

    instants = cluster.run(*(functools.partial(meet, seconds) for seconds in (5, 7, 9)))
    assert len(set(instants)) == 1


def test_threads_and_pools_of_an_actor_are_actors(cluster: HsmCluster) -> None:
    """What a pool does takes simulated time, all of it together as long as the longest job."""
    client = cluster.client()
    key = fixed_key(client)
    began = cluster.clock.now

    def work() -> list[int]:
        thread = threading.Thread(target=time.sleep, args=(100,))
        thread.start()
        with ThreadPoolExecutor(4) as pool:
            lengths = list(pool.map(lambda _: len(client.encrypt(key, b"data")), range(8)))
        thread.join()
        assert not thread.is_alive()
        return lengths

    assert cluster.run(work) == [[32] * 8]
    assert cluster.clock.now - began == 100
    assert cluster.history.digest()


def test_join_gives_up_after_its_timeout(cluster: HsmCluster) -> None:
    def work() -> bool:
        thread = threading.Thread(target=time.sleep, args=(10,))
        thread.start()
        thread.join(timeout=3)
        alive = thread.is_alive()
        thread.join()
        return alive

    assert cluster.run(work) == [True]


def test_threads_that_are_left_behind_end_with_the_run(cluster: HsmCluster) -> None:
    """A poller without an end and an idle pool are no reason to wait; neither calls the cluster later."""
    client, polls = cluster.client(), list[float]()
    key = fixed_key(client)

    def poll() -> None:
        while True:
            time.sleep(1)
            polls.append(time.monotonic())

    def work() -> int:
        threading.Thread(target=poll).start()
        pool = ThreadPoolExecutor(2)
        return len(pool.submit(client.encrypt, key, b"data").result() + pool.submit(time.sleep, 3.5).result() * b"")

    with pytest.raises(TypeError):
        cluster.run(work)
    assert len(polls) == 3


def test_lists_of_actors_may_be_long(cluster: HsmCluster) -> None:
    client = cluster.client()
    key = fixed_key(client)
    assert len(cluster.run(*[lambda: client.encrypt(key, b"data")] * 40)) == 40


# -- what ends it ---------------------------------------------------------------------------------


def test_exception_of_an_actor_ends_the_others(cluster: HsmCluster) -> None:
    """It is raised as it is; another actor, in the middle of a long sleep, is ended and cleans up."""
    cleaned = []

    def wait() -> None:
        try:
            time.sleep(1000)
        except Exception:  # no `except` for errors keeps an actor that is ended
            cleaned.append("caught")
        finally:
            cleaned.append("done")

    def fail() -> None:
        time.sleep(1)
        raise KeyNotOnHsm("gone")

    with pytest.raises(KeyNotOnHsm, match="gone") as raised:
        cluster.run(wait, fail)
    assert cleaned == ["done"]
    assert cluster.clock.now < 10
    assert "fail, actor 2" in raised.value.__notes__[0]


def test_several_exceptions_are_all_shown(cluster: HsmCluster) -> None:
    """What an actor raises while it is ended is shown beside what ended it."""

    def clean_up_badly() -> None:
        try:
            time.sleep(1000)
        finally:
            raise ValueError("while cleaning up")

    def fail() -> None:
        time.sleep(1)
        raise KeyNotOnHsm("gone")

    with pytest.raises(ExceptionGroup) as raised:
        cluster.run(clean_up_badly, fail)
    assert sorted(str(error) for error in raised.value.exceptions) == ["gone", "while cleaning up"]


def test_cluster_works_on_after_a_failed_run(cluster: HsmCluster) -> None:
    client = cluster.client()

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        cluster.run(lambda: fixed_key(client), fail)
    fixed_key(client)
    assert threading.Event().wait(0) is False


def test_skip_in_an_actor_skips_the_test(cluster: HsmCluster) -> None:
    with pytest.raises(pytest.skip.Exception):
        cluster.run(lambda: pytest.skip("not here"))


def test_actor_that_waits_for_ever_is_reported(cluster: HsmCluster) -> None:
    """The report says who waits for what, since when, and at which line."""
    never = threading.Event()

    def wait_for_ever() -> None:
        time.sleep(2)
        never.wait()

    with pytest.raises(
        Stuck, match=r"wait_for_ever, actor 1: for a notification, since 2\.0+ s, at .*test_actors\.py:\d+"
    ):
        cluster.run(wait_for_ever, lambda: time.sleep(5))


def test_actor_without_an_end_is_reported(cluster: HsmCluster) -> None:
    """A simulated day is enough for a run, unless it says otherwise."""

    def poll() -> None:
        while True:
            time.sleep(3600)

    with pytest.raises(Stuck, match=r"has not ended in the simulated time that it may take at 86400"):
        cluster.run(poll)
    with pytest.raises(Stuck, match="simulated time"):
        cluster.run(poll, longest_s=10_000)


def test_actor_that_only_calls_is_reported(cluster: HsmCluster) -> None:
    client = cluster.client()

    def ask() -> None:
        while True:
            client.find_keys(label="payroll")

    with pytest.raises(Stuck, match="has not ended in the turns that it may take"):
        cluster.run(ask, most_events=2000)


def test_actor_that_never_comes_back_is_reported(cluster: HsmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that neither calls the cluster nor waits is ended where it stands."""
    monkeypatch.setattr(company, "DILIGENCE", 50)

    def spin() -> None:
        while True:
            pass

    with pytest.raises(
        Stuck, match=r"spin, actor 1 has the turn and comes to no call of the cluster, at .*test_actors"
    ):
        cluster.run(spin, lambda: time.sleep(1))


@pytest.mark.parametrize("how", ["computes", "waits"])
def test_interrupt_ends_all_actors_whatever_they_do(cluster: HsmCluster, how: str) -> None:
    """Somebody at the keyboard, or a time limit of the test, ends a run in the middle of a turn; all goes on after."""
    client, ended, never = cluster.client(), [], {threading.Lock()}
    for lock in never:
        lock.acquire()

    def act() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            while how == "computes":
                pass
            next(iter(never)).acquire(timeout=10)
            client.random(4)
        finally:
            ended.append(how)

    with pytest.raises(KeyboardInterrupt):
        cluster.run(act, lambda: time.sleep(1))
    for lock in never:
        lock.release()
    assert ended == ["computes"] * (how == "computes")
    cluster.client().random(4)
    assert time.sleep.__module__ == "time"
    with pytest.raises(UsageError, match="interrupted from outside, so chance decided where it ended"):
        cluster.history.digest()


def take_two(client: Client, first: threading.Lock, second: threading.Lock) -> None:
    with first:
        client.random(8)
        acquired = second.acquire(timeout=20)
        if acquired:
            second.release()


def test_deadlock_of_the_applications_own_locks_is_reported(cluster: HsmCluster) -> None:
    """Two actors take two locks in opposite order, with a call in between: it is said at once who holds what."""
    client, one, other = cluster.client(), threading.Lock(), threading.Lock()

    def take(first: threading.Lock, second: threading.Lock) -> None:
        with first:
            client.random(8)
            second.acquire()

    with pytest.raises(Stuck) as raised:
        cluster.run(functools.partial(take, one, other), functools.partial(take, other, one))
    told = str(raised.value)
    assert "partial, actor 1: for a lock that partial, actor 2 holds, since" in told
    assert "partial, actor 2: for a lock that partial, actor 1 holds, since" in told
    assert told.count("test_actors.py") == 2


def test_deadlock_of_locks_that_are_not_found_is_reported(cluster: HsmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set cannot be looked through in an order; its locks are waited for in real time, and both lines are named."""
    monkeypatch.setattr(company, "PATIENCE", 20)
    client, (one, other) = cluster.client(), (threading.Lock(), threading.Lock())
    first, second = iter([one, other]), iter([other, one])
    with pytest.raises(Stuck) as raised:
        cluster.run(*(lambda it=it: take_two(client, *it) for it in (first, second)))  # type: ignore[misc]
    one.release()
    other.release()  # so that their threads end
    assert str(raised.value).count("outside of simulated time, say for a lock, at ") == 2
    assert str(raised.value).count("test_actors.py") == 2


# -- bad input ------------------------------------------------------------------------------------


async def coroutine() -> None:
    """Something that `run` does not take."""


def generator() -> Iterator[int]:
    """Something else that it does not take."""
    yield 1


@pytest.mark.parametrize(
    ("functions", "why"),
    [
        ((), "at least one function"),
        ((3,), "plain functions without arguments; got 3"),
        ((coroutine,), "coroutines are for an async client"),
        ((generator,), "a generator would not begin"),
    ],
)
def test_what_cannot_act_is_refused(cluster: HsmCluster, functions: tuple[Callable[[], object], ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        cluster.run(*functions)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"longest_s": -1}, "longest_s is a number of seconds, 0 or more; got -1"),
        ({"longest_s": float("nan")}, "got nan"),
        ({"most_events": 0}, "most_events is a number of events, 1 or more; got 0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(cluster: HsmCluster, limits: dict[str, float], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        cluster.run(lambda: None, **limits)  # type: ignore[arg-type]


def test_run_within_run_is_refused_with_the_way_out(cluster: HsmCluster) -> None:
    with pytest.raises(UsageError, match=r"threading\.Thread or a concurrent\.futures\.ThreadPoolExecutor"):
        cluster.run(lambda: cluster.run(lambda: None))


def test_run_needs_simulated_time() -> None:
    with HsmCluster(1, clock="real", clock_rate=1000) as cluster, pytest.raises(UsageError, match="real clock"):
        cluster.run(lambda: None)


def test_closed_cluster_does_not_run(cluster: HsmCluster) -> None:
    cluster.close()
    with pytest.raises(UsageError, match="is closed"):
        cluster.run(lambda: None)


@pytest.mark.parametrize("order", [-1, 1.5, True, "2"])
def test_order_is_a_number(order: object) -> None:
    with pytest.raises(UsageError, match="order is the number of a hand-over order, 0 or more"):
        HsmCluster(order=order)  # type: ignore[arg-type]
