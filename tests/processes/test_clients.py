"""Are many clients of HSM processes served at the same time, and does the journal stay right?

Each cluster audits itself when it is closed: what its journal says must be what the processes hold.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from pytest_hsmcluster import ClusterError, HsmCluster, UsageError

THREADS, CALLS = 8, 200
FAST = {"network": "processes", "clock_rate": 20}


@pytest.fixture
def cluster():
    with HsmCluster(3, **FAST) as cluster:
        yield cluster


@pytest.fixture
def key(cluster):
    return cluster.client("maker").generate_key("AES", 256, label="kek")


def test_threads_go_on_while_hsms_restart(cluster, key):
    """Each call ends with an answer or an error of the cluster's; afterwards, every key that was made is there."""
    half = threading.Barrier(THREADS + 1)

    def work(client):
        ended, made = 0, []
        for number in range(CALLS):
            if number in (CALLS // 4, CALLS // 2):
                half.wait()
            try:
                if number % 20:
                    assert client.encrypt(key, b"data")
                else:
                    made.append(client.generate_key("AES", 256, label=f"{client.name} {number}"))
            except ClusterError:
                pass
            ended += 1
        return ended, made

    clients = [cluster.client(f"thread-{number}") for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        works = [pool.submit(work, client) for client in clients]
        for hsm in ("hsm-1", "hsm-2"):
            half.wait()
            with cluster.chaos.crash(hsm):
                pass
        done = [one.result() for one in works]
    assert [ended for ended, _ in done] == [CALLS] * THREADS
    held = {number for hsm in cluster.hsms for number in hsm.keys}
    assert {handle.number for _, made in done for handle in made} <= held


def test_sixteen_clients_are_awaited_together(cluster, key):
    """One loop serves them all, and each gets its own answer."""
    clients = [cluster.async_client(f"task-{number}") for number in range(16)]

    async def there_and_back(number, client):
        data = bytes([number]) * 64
        return [await client.decrypt(key, await client.encrypt(key, data)) == data for _ in range(5)]

    async def main():
        return await asyncio.gather(*(there_and_back(number, client) for number, client in enumerate(clients)))

    assert asyncio.run(main()) == [[True] * 5] * 16


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_threads_and_a_loop_share_a_cluster(cluster, key, backend):
    """Whoever hears an answer, it comes to the one that waits for it."""
    clients = [cluster.client(f"thread-{number}") for number in range(2)]
    awaited = [cluster.async_client(f"task-{number}") for number in range(4)]

    def call(client):
        return [client.decrypt(key, client.encrypt(key, client.name.encode())).decode() for _ in range(40)]

    async def main():
        async def go(client):
            for _ in range(20):
                assert (
                    await client.decrypt(key, await client.encrypt(key, client.name.encode())) == client.name.encode()
                )

        async with anyio.create_task_group() as group:
            for client in awaited:
                group.start_soon(go, client)

    with ThreadPoolExecutor(3) as pool:
        loop = pool.submit(anyio.run, main, backend=backend)
        calls = list(pool.map(call, clients))
        loop.result()
    assert calls == [[client.name] * 40 for client in clients]


def test_an_awaited_call_to_a_silent_hsm_can_be_cancelled(cluster, key):
    """The next one goes on; what the HSM makes of the first is in the journal when it does."""
    client = cluster.async_client("app")

    async def main():
        with cluster.chaos.pause("hsm-1"), cluster.chaos.route_to("hsm-1"):
            with anyio.move_on_after(0.05) as scope:
                await client.encrypt(key, b"data")
            assert scope.cancelled_caught
        return await client.encrypt(key, b"data")

    assert asyncio.run(main())


def test_closing_ends_the_calls_of_other_threads(cluster, key):
    """Whoever waits for a silent HSM is told that the cluster was closed."""
    clients = [cluster.client(f"thread-{number}") for number in range(3)]
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        cluster.chaos.pause(hsm)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(client.encrypt, key, b"data") for client in clients]
        reactor = cluster._pace
        while len(reactor._sleepers) < 2 or not reactor._waits:
            threading.Event().wait(0)
        cluster.close()
        for call in calls:
            with pytest.raises((UsageError, ClusterError), match=r"closed|ended"):
                call.result()
