"""Who gets a lock that several actors want, wherever the application keeps it?"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

import pytest

from pytest_hsmcluster import HsmCluster, Stuck
from pytest_hsmcluster.drivers import reach

GLOBAL = threading.Lock()


class Vault:
    """An application's object that has its locks in many places."""

    of_the_class = threading.RLock()

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.condition = threading.Condition()
        self.listed = [threading.RLock()]
        self.named = {"a": threading.Lock()}
        self.inner: Slotted | None = Slotted()


class Slotted:
    """An object without a dict."""

    __slots__ = ("lock", "nothing")

    def __init__(self) -> None:
        self.lock = threading.Lock()


@pytest.fixture
def cluster() -> Iterator[HsmCluster]:
    with HsmCluster(1, seed=7) as cluster:
        yield cluster


def contended(cluster: HsmCluster, lock: Callable[[], object]) -> list[int]:
    """Return in which order three actors came to have a lock, twice each."""
    client, log = cluster.client(), list[int]()

    def work(number: int) -> None:
        for _ in range(2):
            with lock():  # type: ignore[attr-defined]
                log.append(number)
                client.random(4)
                log.append(number)

    cluster.run(*(partial(work, number) for number in range(3)))
    return log


VAULT = Vault()

PLACES: dict[str, Callable[[], object]] = {
    "global": lambda: GLOBAL,
    "attribute": lambda: VAULT.lock,
    "condition": lambda: VAULT.condition,
    "class": lambda: Vault.of_the_class,
    "list": lambda: VAULT.listed[0],
    "dict": lambda: VAULT.named["a"],
    "slot": lambda: VAULT.inner.lock,  # type: ignore[union-attr]
}


@pytest.mark.parametrize("place", PLACES)
def test_lock_from_before_is_found_wherever_it_is(place: str) -> None:
    """No two hold it at a time, and who has it when is the same in every run, and another thing in another order."""
    logs = []
    for order in (0, 0, 1, 2, 3, 4):
        with HsmCluster(1, seed=7, order=order) as cluster:
            logs.append(contended(cluster, PLACES[place]))
            assert len(cluster.history.digest()) == 64
    assert all(log[::2] == log[1::2] for log in logs)
    assert logs[0] == logs[1]
    assert len({tuple(log) for log in logs}) > 1


def test_lock_is_found_in_arguments_and_made_meanwhile(cluster: HsmCluster) -> None:
    """In those of a partial and of a thread; and one that an actor makes needs not be looked for."""
    kinds = []

    def look(lock: object) -> None:
        kinds.append(type(lock).__name__)

    def start() -> None:
        thread = threading.Thread(target=look, args=(mutex,))
        thread.start()
        thread.join()
        look(threading.Lock())
        look(Lock())

    mutex = threading.Lock()
    cluster.run(partial(look, threading.RLock()), start)
    assert sorted(kinds) == ["ActorLock", "ActorLock", "ActorLock", "ActorRLock"]


def test_everything_is_as_before_when_the_run_is_over(cluster: HsmCluster) -> None:
    """Also after a run that failed."""
    before = threading.Lock, threading.RLock, Lock, GLOBAL, VAULT.lock, VAULT.listed[0], vars(Vault)["of_the_class"]
    given = partial(lambda lock: 1 / 0, VAULT.lock)
    contended(cluster, lambda: GLOBAL)
    with pytest.raises(ZeroDivisionError):
        cluster.run(given)
    after = threading.Lock, threading.RLock, Lock, GLOBAL, VAULT.lock, VAULT.listed[0], vars(Vault)["of_the_class"]
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert given.args == (VAULT.lock,)


def test_lock_waits_no_longer_than_it_was_told_in_simulated_time(cluster: HsmCluster) -> None:
    lock = threading.Lock()

    def hold() -> None:
        with lock:
            time.sleep(10)

    def want() -> tuple[bool, bool, float]:
        time.sleep(1)
        began = time.monotonic()
        return lock.acquire(blocking=False), lock.acquire(timeout=3), time.monotonic() - began

    assert cluster.run(hold, want)[1] == (False, False, 3.0)


def test_lock_that_is_left_behind_works_for_whoever_is_no_actor(cluster: HsmCluster) -> None:
    """An object that was made by an actor is used after the run, by other threads, too."""
    lock, rlock = cluster.run(threading.Lock, threading.RLock)
    with lock, rlock, rlock:
        assert lock.locked()
        thread = threading.Thread(target=lambda: taken.append(lock.acquire(timeout=0.01)))
        taken: list[bool] = []
        thread.start()
        thread.join()
    assert taken == [False]
    assert not lock.locked()


def test_whoever_waits_has_a_chance_against_whoever_comes_back_at_once(cluster: HsmCluster) -> None:
    """An actor that gives a lock back and wants it again stands in line: it does not keep others out for ever."""
    client, lock, had = cluster.client(), threading.Lock(), []

    def greedy() -> None:
        while not had:
            with lock:
                client.random(4)

    def modest() -> None:
        client.random(4)
        with lock:
            had.append(True)

    cluster.run(greedy, modest, most_events=5000)
    assert had


def test_actor_that_takes_its_own_lock_twice_is_reported(cluster: HsmCluster) -> None:
    lock = threading.Lock()

    def twice() -> None:
        lock.acquire()
        lock.acquire()

    with pytest.raises(Stuck, match=r"twice, actor 1: for a lock that .*twice, actor 1 holds"):
        cluster.run(twice)
    lock.release()


def test_condition_wakes_actors_who_have_its_lock_again(cluster: HsmCluster) -> None:
    """A condition over a lock from before: each who is notified goes on alone."""
    condition, log = threading.Condition(), list[str]()

    def wait(name: str) -> None:
        with condition:
            condition.wait()
            log.append(name)
            time.sleep(1)
            log.append(name)

    def notify() -> None:
        time.sleep(5)
        with condition:
            condition.notify_all()

    cluster.run(partial(wait, "a"), partial(wait, "b"), notify)
    assert log[::2] == log[1::2]
    assert sorted(log) == ["a", "a", "b", "b"]


def test_ended_actor_gives_back_the_lock_of_its_condition(cluster: HsmCluster) -> None:
    """Whoever is ended in a condition's wait leaves no lock behind."""
    condition = threading.Condition()

    def wait() -> None:
        with condition:
            condition.wait()

    def fail() -> None:
        time.sleep(1)
        raise ValueError

    with pytest.raises(ValueError):
        cluster.run(wait, wait, fail)
    assert condition.acquire(blocking=False)
    condition.release()


def test_pools_of_several_actors_do_not_disturb_each_other() -> None:
    """All pools of a process share one lock, held while a job is handed in; who had it was left to the system."""

    def told() -> tuple[list[int], str]:
        with HsmCluster(1, seed=5) as cluster:
            client, lock, log = cluster.client(), threading.RLock(), list[int]()

            def work(number: int) -> None:
                with lock:
                    client.random(4)
                    log.append(number)

            def pooled() -> None:
                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(work, range(8)))

            cluster.run(pooled, pooled, partial(work, 99))
            return log, cluster.history.digest()

    first = told()
    assert all(told() == first for _ in range(4))


def test_search_ends_where_an_application_is_too_large(cluster: HsmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a lock that was not found is waited for in real time, as any other thing."""
    monkeypatch.setattr(reach, "MOST", 0)
    log = contended(cluster, lambda: GLOBAL)
    assert log[::2] == log[1::2]


def test_objects_that_mind_being_looked_at_are_left_alone(cluster: HsmCluster) -> None:
    """A proxy is not asked what it is, and no property is called."""

    class Shy:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            raise AssertionError("asked for its class")

        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"asked for {name}")

        def __hash__(self) -> int:
            raise AssertionError("asked for its hash")

        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

    shy = Shy()
    assert cluster.run(lambda: shy is None) == [False]
