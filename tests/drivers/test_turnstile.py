"""May threads that nobody gives turns call a cluster at the same time?

They run freely, and so each test here has real threads that race; what is asserted holds whoever comes first.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_hsmcluster import Client, ClusterError, HsmCluster, UsageError
from pytest_hsmcluster.history.holdings import Holdings

THREADS, CALLS = 8, 2000


def together(work: Callable[[int], int]) -> list[int]:
    """Let threads begin at the same moment and return what they return; they are given a minute in real time."""
    begin = threading.Barrier(THREADS)

    def begun(number: int) -> int:
        begin.wait(30)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begun, range(THREADS), timeout=60))


def busy(client: Client, number: int, calls: int) -> int:
    """Make so many calls and return how many of them were ok."""
    ok, key = 0, None
    for each in range(calls):
        try:
            if each % 100 == 0:
                key = client.generate_key("AES", 256, label=f"key-{number}")
            elif each % 100 == 99 and key is not None:
                client.delete_key(key)
            elif key is not None:
                client.encrypt(key, b"data")
            ok += 1
        except ClusterError:
            continue
    return ok


def test_threads_that_run_freely_corrupt_nothing_and_do_not_deadlock() -> None:
    """8 threads make 2,000 calls each, two to a client, while HSMs go down and come back: journal and HSMs agree."""
    with HsmCluster(3, sdk=3, seed=1) as cluster:
        clients = [cluster.client(f"app-{number // 2}") for number in range(0, THREADS, 2)]
        cluster.chaos.inject("drop @ wire.response chance=0.01", may_miss=True)
        cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute chance=0.02", may_miss=True)

        def work(number: int) -> int:
            if number:
                return busy(clients[number // 2], number, CALLS)
            ok = 0
            for each in range(20):
                with cluster.chaos.crash(f"hsm-{1 + each % 3}"):
                    ok += busy(clients[0], number, CALLS // 40)
                cluster.clock.advance(5)
                ok += busy(clients[0], number, CALLS // 40)
            return ok

        done = together(work)
    assert all(ok > CALLS // 4 for ok in done)
    audit = cluster.history.of("audit")[-1]
    assert Holdings(cluster.history.records[: audit.index]).audit() == cluster.history.records[audit.index][2]
    instants = [event.at_ns for event in cluster.history]
    assert instants == sorted(instants)
    assert [event.index for event in cluster.history] == list(range(len(cluster.history)))


def test_each_call_of_a_free_thread_has_one_begin_and_one_end() -> None:
    """No call is lost, and none ends twice, though all threads share one client."""
    with HsmCluster(2, seed=1) as cluster:
        client = cluster.client()
        together(lambda number: busy(client, number, 50))
    begun = [event.op for event in cluster.history.of("invoke")]
    ended = [event.op for kind in ("ok", "fail", "info") for event in cluster.history.of(kind)]
    assert len(set(begun)) == len(begun) == 1 + THREADS * 50
    assert sorted(ended) == sorted(begun)


def test_history_of_free_threads_has_no_digest_and_says_why() -> None:
    with HsmCluster(1, seed=1) as cluster:
        client = cluster.client()
        together(lambda _: len(client.random(4)))
    with pytest.raises(UsageError, match=r"threads called it freely, so chance decided.*cluster\.run\(\) gives them"):
        cluster.history.digest()
    assert "threads called it freely" in cluster.history.note["no_digest"]


def test_threads_that_never_call_the_cluster_leave_it_its_digest() -> None:
    """Only calls are counted: what an application's threads do beside them is its own matter."""
    with HsmCluster(1, seed=1) as cluster:
        client = cluster.client()
        together(lambda number: number)
        client.random(4)
    assert len(cluster.history.digest()) == 64


def test_free_threads_come_in_between_actors_and_are_told_of() -> None:
    """A thread from before the run calls the cluster while actors act: all calls are done, and there is no digest."""
    with HsmCluster(2, seed=1) as cluster:
        client, go, done = cluster.client(), threading.Semaphore(0), threading.Semaphore(0)

        def free() -> None:
            go.acquire()
            client.random(4)
            done.release()

        thread = threading.Thread(target=free)
        thread.start()

        def act() -> None:
            for _ in range(20):
                client.random(4)

        go.release()
        cluster.run(act, act)
        thread.join(30)
        assert not thread.is_alive()
    with pytest.raises(UsageError, match="has no digest"):
        cluster.history.digest()


class Interrupted:
    """A lock at which Ctrl-C strikes whoever waits for it."""

    def __init__(self, lock):
        self.release = lock.release

    def acquire(self):
        raise KeyboardInterrupt


def test_ctrl_c_of_a_thread_that_waits_to_come_back_is_nothing_but_that(monkeypatch):
    """It is outside, and so has nothing to give back; others, and later it itself, come in as ever."""
    with HsmCluster(1) as cluster:
        scheduler, turnstile = cluster.clock._scheduler, cluster._turnstile
        scheduler.enter()
        scheduler.leave()
        with pytest.raises(KeyboardInterrupt):
            try:
                with monkeypatch.context() as patch:
                    patch.setattr(turnstile, "_lock", Interrupted(turnstile._lock))
                    scheduler.come_back()
            finally:
                scheduler.leave()
        client = cluster.client()
        with ThreadPoolExecutor(1) as pool:
            assert len(pool.submit(client.random, 4).result(timeout=30)) == 4
        assert len(client.random(4)) == 4
