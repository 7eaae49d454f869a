"""Does an asyncio loop wait in simulated time, and does it still serve real sockets?"""

import asyncio
import math
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_hsmcluster import HsmCluster, Stuck
from pytest_hsmcluster.drivers.awaiting import AwaitingDriver
from pytest_hsmcluster.sim.flow import Signal
from pytest_hsmcluster.sim.scheduler import FIRST_CLIENT_LANE, Scheduler
from tests.apptime.conftest import simulated


async def timed_out(timeout: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(timeout):
            await asyncio.Event().wait()


async def waited_for(timeout: float) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), timeout)


async def waited(timeout: float) -> None:
    task = asyncio.ensure_future(asyncio.sleep(timeout + 1))
    await asyncio.wait([task], timeout=timeout)
    task.cancel()


async def called_later(timeout: float) -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(timeout, done.set)
    await done.wait()


async def in_a_thread(timeout: float) -> None:
    await asyncio.to_thread(time.sleep, timeout)


@pytest.mark.parametrize("wait", [asyncio.sleep, timed_out, waited_for, waited, called_later, in_a_thread])
def test_loop_waits_exactly_as_long(app_time: object, wait: Any) -> None:
    """`loop.time()`, `time.monotonic()` and the cluster's clock agree."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert began == time.monotonic()
        await wait(1800)
        assert loop.time() - began == time.monotonic() - began == cluster.clock.now == 1800

    with HsmCluster(1, seed=1) as cluster:
        asyncio.run(main())


def test_tasks_sleep_beside_each_other_and_beside_calls(app_time: object) -> None:
    """Eight sleeps of an hour take an hour; an answer of the cluster comes when it comes."""

    async def main() -> list[float]:
        client, loop = cluster.async_client(), asyncio.get_running_loop()

        async def ask() -> float:
            await client.generate_key("AES", 256, label="kek")
            return loop.time()

        began = loop.time()
        answered, *_ = await asyncio.gather(ask(), *(asyncio.sleep(3600) for _ in range(8)))
        return [answered - began, loop.time() - began]

    with HsmCluster(3, seed=1) as cluster:
        answered, ended = asyncio.run(main())
    assert 0 < answered < 1
    assert ended == 3600


def test_time_out_strikes_a_call(app_time: object) -> None:
    """A silent HSM keeps the application waiting until its own time-out, and not until the client's."""

    async def main() -> float:
        client, loop = cluster.async_client(), asyncio.get_running_loop()
        key = await client.generate_key("AES", 256, label="kek")
        for hsm in ("hsm-1", "hsm-2", "hsm-3"):
            cluster.chaos.pause(hsm)
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await client.encrypt(key, b"data")
        return loop.time() - began

    with HsmCluster(3, seed=1) as cluster:
        assert asyncio.run(main()) == 2
        cluster.chaos.undo_all()


def test_real_sockets_are_served(app_time: object) -> None:
    """Bytes that are on their way come before a time-out of simulated time ends."""

    async def main() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(10)
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server, asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return line

    assert asyncio.run(main()) == b"hello\n"


def test_subprocess_is_waited_for_in_real_time(app_time: object) -> None:
    """With nothing else to come, the loop waits for the real world."""

    async def main() -> bytes:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('hello')", stdout=subprocess.PIPE)
        return (await process.communicate())[0]

    assert asyncio.run(main()).strip() == b"hello"


def test_wait_without_hope_is_reported(app_time: Any) -> None:
    """Where there is no socket either: instead of a hang the run of the loop ends with who waits."""
    app_time.company.patience = 20

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="the test: for its event loop"):
        asyncio.run(main())


def test_wait_without_hope_after_a_call_is_reported(app_time: Any) -> None:
    """The cluster was awaited before, and nobody awaits it now."""
    app_time.company.patience = 20

    async def main() -> None:
        await cluster.async_client().find_keys()
        await asyncio.Event().wait()

    with HsmCluster(1, seed=1) as cluster, pytest.raises(Stuck, match="its event loop"):
        asyncio.run(main())


def test_every_cluster_on_a_loop_hears_that_nothing_goes_on(app_time: object) -> None:
    """Two clusters are awaited that nothing can wake: each call is told so, whichever was made last."""

    def flow() -> Any:
        yield Signal("a release")

    async def main() -> list[Any]:
        drivers = [AwaitingDriver(Scheduler()) for _ in range(2)]
        calls = [driver.run(flow(), FIRST_CLIENT_LANE, "sign") for driver in drivers]
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(each) for each in asyncio.run(main())] == [Stuck, Stuck]


def test_task_that_polls_comes_to_its_end(app_time: object) -> None:
    """`while …: await asyncio.sleep(0)`, until a deadline or until another thread has done something."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        began, told = loop.time(), list[float]()
        while loop.time() < began + 0.5:
            await asyncio.sleep(0)
        thread = threading.Thread(target=lambda: (time.sleep(0.5), told.append(time.monotonic() - began)))
        thread.start()
        while not told:
            await asyncio.sleep(0)
        return told

    assert asyncio.run(main()) == pytest.approx([1], abs=0.01)


@pytest.mark.parametrize("seconds", [-1, math.nan, "1"])
def test_bad_duration_is_treated_as_by_the_real_sleep(seconds: Any) -> None:
    """asyncio takes a negative sleep for none, and, up to Python 3.12, NaN as well."""

    def attempt() -> object:
        try:
            return asyncio.run(asyncio.sleep(seconds, "done"))
        except Exception as error:
            return type(error), str(error)

    real = attempt()
    with simulated():
        assert attempt() == real


def test_loop_from_before_lives_in_simulated_time_too() -> None:
    """It was made and has run in real time; within the block its time is simulated, and real again after it."""
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        real = runner.get_loop().time()
        with simulated():
            runner.run(asyncio.sleep(3600))
            assert runner.get_loop().time() == 1_003_600
        assert runner.get_loop().time() >= real
        runner.run(asyncio.sleep(0))


def test_thread_from_before_may_call_the_loop() -> None:
    """A pool that was made in real time works in real time, and the loop waits for what it brings."""
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()

        async def main() -> bool:
            asyncio.get_running_loop().call_soon(lambda: None)
            return await asyncio.get_running_loop().run_in_executor(pool, go.wait, 0.3)

        with simulated():
            assert asyncio.run(main()) is False


def test_thread_of_the_application_may_have_a_loop(app_time: object) -> None:
    """Two loops, each on a thread, sleep beside each other."""
    told = list[float]()

    async def main() -> None:
        await asyncio.sleep(60)
        told.append(time.monotonic())

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [1_000_060] * 2


def test_debug_mode_sees_no_slow_callbacks(app_time: object, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio measures callbacks by the loop's time: a blocking sleep in a task is slow, computing is not."""

    async def main() -> None:
        await asyncio.sleep(10)
        sum(range(100_000))

    asyncio.run(main(), debug=True)
    assert not [record for record in caplog.records if "took" in record.getMessage()]
