"""Which stories do not repeat themselves?  Whoever compares runs must find every one of them, and say why."""

import threading
import time
from collections.abc import Callable

from pytest_hsmcluster.client.blocking import Client
from pytest_hsmcluster.cluster import HsmCluster
from tests.stories import Telling


def _follows_a_set(cluster: HsmCluster, number: int) -> None:
    """Work through a set of str, as it comes."""
    client = cluster.client("app")
    key = client.generate_key("AES", 256)
    calls: dict[str, Callable[[], object]] = {
        f"ask {number}": lambda: client.random(1),
        f"look {number}": lambda: client.get_attributes(key),
        f"seal {number}": lambda: client.encrypt(key, b"data"),
        f"seek {number}": client.find_keys,
    }
    for name in set(calls):
        calls[name]()


def _follows_the_clock(cluster: HsmCluster, number: int) -> None:
    """Take as much simulated time as it is o'clock."""
    client = cluster.client("app")
    cluster.clock.advance(time.time() % 1000)
    client.random(1)


def _follows_threads(cluster: HsmCluster, number: int) -> None:
    """Call in the order in which threads come by that race, twenty times."""
    clients = [cluster.client(f"app-{each}") for each in range(4)]
    passed: list[Client] = []
    start = threading.Barrier(len(clients))

    def race(client: Client) -> None:
        for _ in range(20):
            start.wait()
            passed.append(client)

    threads = [threading.Thread(target=race, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in passed:
        client.random(1)


FAULTS = (_follows_a_set, _follows_the_clock, _follows_threads)


def unfaithful(number: int) -> Telling:
    """Tell a story that follows a set, the wall clock or threads, in turn."""
    with HsmCluster(2) as cluster:
        FAULTS[number % len(FAULTS)](cluster, number)
    return Telling([], list(cluster.history.records), cluster.history.digest())


def broken(number: int) -> Telling:
    """Tell nothing: it goes wrong."""
    raise RuntimeError(f"story {number} has no end")
