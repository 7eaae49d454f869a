"""Do coroutines await flows as they await anything else, while simulated time goes on in order?"""

import asyncio
import gc

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.drivers.awaiting import AwaitingDriver
from pytest_hsmcluster.errors import KeyNotOnHsm, Stuck, UsageError
from pytest_hsmcluster.history.events import Kind
from pytest_hsmcluster.sim.flow import Signal
from pytest_hsmcluster.sim.scheduler import FIRST_CLIENT_LANE, SERVICE_LANE, Scheduler

LANE = FIRST_CLIENT_LANE


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def driver(scheduler):
    return AwaitingDriver(scheduler)


def flow(*waits, error=None, result="done"):
    for wait in waits:
        yield wait
    if error is not None:
        raise error
    return result


def test_await_gives_what_the_flow_returns(driver, scheduler):
    assert asyncio.run(driver.run(flow(10, 20), LANE, "flow")) == "done"
    assert scheduler.now_ns == 30
    assert scheduler.idle


def test_await_raises_what_the_flow_raises(driver, scheduler):
    with pytest.raises(ValueError, match="refused"):
        asyncio.run(driver.run(flow(10, error=ValueError("refused")), LANE, "flow"))
    assert not scheduler.stepping


def test_gathered_calls_interleave_in_simulated_time(driver, scheduler):
    """Each goes on when it is its turn; each caller goes on at the instant at which its call ended."""
    told = []

    async def call(name, lane, *waits):
        await driver.run(flow(*waits), lane, name)
        told.append((name, scheduler.now_ns))
        await driver.run(flow(1), lane, name)
        told.append((name, scheduler.now_ns))

    async def main():
        await asyncio.gather(call("slow", LANE, 10, 10), call("quick", LANE + 2, 5, 5), call("even", LANE + 4, 10))

    asyncio.run(main())
    assert told == [("quick", 10), ("even", 10), ("quick", 11), ("even", 11), ("slow", 20), ("slow", 21)]


def test_caller_goes_on_before_time_does(driver, scheduler):
    """Its next call begins at the instant at which the last one ended, whatever else is due soon."""

    async def main():
        other = asyncio.ensure_future(driver.run(flow(100), LANE + 2, "other"))
        begins = []
        for _ in range(3):
            await driver.run(flow(10), LANE, "flow")
            begins.append(scheduler.now_ns)
        assert not other.done()
        await other
        return begins

    assert asyncio.run(main()) == [10, 20, 30]


@pytest.mark.parametrize("wrapped", ["task", "wait_for", "gather", "nested"])
def test_awakened_coroutine_acts_before_time_goes_on(driver, scheduler, wrapped):
    """However its await was wrapped: at the instant of the answer it may still call off what others do."""

    async def answered():
        call = driver.run(flow(10), LANE, "call")
        if wrapped == "task":
            await asyncio.ensure_future(call)
        elif wrapped == "wait_for":
            await asyncio.wait_for(call, 60)
        elif wrapped == "gather":
            await asyncio.gather(call)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(call)

    async def main():
        other = asyncio.ensure_future(driver.run(flow(11), LANE + 2, "other"))
        await answered()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        return scheduler.now_ns, other.cancelled()

    assert asyncio.run(main()) == (10, True)


def test_loop_gets_its_turn_between_two_answers(driver, scheduler):
    """Even if both came at one instant."""
    told = []

    async def call(name, lane):
        await driver.run(flow(10), lane, name)
        told.append(name)
        asyncio.get_running_loop().call_soon(told.append, f"after {name}")

    async def main():
        await asyncio.gather(call("first", LANE), call("second", LANE + 2))

    asyncio.run(main())
    assert told.index("after first") < told.index("after second")


def test_cancelled_call_has_an_outcome_that_nobody_knows():
    """Its request may have been carried out; the application goes on as a new process."""

    async def main(cluster):
        client = cluster.async_client("app")
        key = await client.generate_key("AES", 256, label="kek")
        with cluster.chaos.inject("hold @ hsm.reply command=encrypt nth=1") as held:
            task = asyncio.ensure_future(client.encrypt(key, b"data"))
            other = asyncio.ensure_future(client.random(8))
            await other
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert held.hits == 1
        last = cluster.history.last
        assert (last.kind, last.name, last.error, last.client) == (Kind.INFO, "encrypt", "Cancelled", "app")
        await client.random(8)
        assert cluster.history.last.client == "app#2"

    with HsmCluster(2) as cluster:
        asyncio.run(main(cluster))


@pytest.mark.parametrize("how", ["run", "group"])
def test_calls_that_are_cancelled_together_end_in_the_order_of_their_begin(how):
    """asyncio itself cancels in the order of addresses, which is another one in each run."""

    async def main(clients):
        if how == "run":
            left = [asyncio.ensure_future(client.random(8)) for client in clients]
            await clients[0].find_keys()
            assert not any(task.done() for task in left)
        else:
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    for client in clients:
                        group.create_task(client.random(8))
                    await clients[0].generate_key("AES", 7)

    with HsmCluster(1) as cluster:
        clients = [cluster.async_client(f"app-{number}") for number in range(40)]
        with cluster.chaos.inject("hold @ wire.response command=random", may_miss=True):
            asyncio.run(main(clients))
        cancelled = [event.op for event in cluster.history.of(Kind.INFO)]
        assert cancelled == sorted(cancelled)
        assert len(cancelled) == 40


def test_call_that_is_cancelled_before_it_begins_writes_nothing():
    """Nobody asked for anything yet."""

    async def main(cluster):
        client = cluster.async_client("app")
        before = len(cluster.history)
        task = asyncio.ensure_future(client.random(8))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(cluster.history) == before

    with HsmCluster(2) as cluster:
        asyncio.run(main(cluster))


def test_request_of_a_cancelled_call_is_still_carried_out():
    """The late commit: the key is there, nobody was told of it."""

    async def main(cluster):
        client = cluster.async_client("app")
        with cluster.chaos.inject("delay 5s @ hsm.execute command=generate_key nth=1"):
            task = asyncio.ensure_future(client.generate_key("AES", 256, label="ghost"))
            await client.random(8)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert not any(hsm.keys for hsm in cluster.hsms)
            cluster.clock.advance(6)
        assert [key.label for hsm in cluster.hsms for key in hsm.keys.values()] == ["ghost"]

    with HsmCluster(2) as cluster:
        asyncio.run(main(cluster))


def test_all_who_wait_are_told_when_nothing_can_wake_them(driver, scheduler):
    """Each name is in the message."""

    async def main():
        return await asyncio.gather(
            driver.run(flow(Signal("a release")), LANE, "first: sign"),
            driver.run(flow(7, Signal("another release")), LANE + 2, "second: sign"),
            return_exceptions=True,
        )

    errors = asyncio.run(main())
    assert [type(error) for error in errors] == [Stuck, Stuck]
    assert "first: sign: for a release, since 0.000000 s" in str(errors[0])
    assert "second: sign: for another release" in str(errors[1])
    assert asyncio.run(driver.run(flow(5), LANE, "next")) == "done"


def test_error_elsewhere_reaches_those_who_wait(driver, scheduler):
    def broken():
        yield 5
        raise RuntimeError("broken sweep")

    scheduler.spawn(broken(), SERVICE_LANE, "sweep", background=True)
    with pytest.raises(RuntimeError, match="broken sweep"):
        asyncio.run(driver.run(flow(10), LANE, "flow"))
    assert not scheduler.stepping
    assert asyncio.run(driver.run(flow(5), LANE, "next")) == "done"


def test_one_cluster_serves_one_loop_after_another():
    """Each `asyncio.run` is a new loop; keys, clients and time stay."""
    with HsmCluster(2) as cluster:
        client = cluster.async_client("app")
        key = asyncio.run(client.generate_key("AES", 256, label="kek"))
        before = cluster.clock.now
        assert asyncio.run(client.find_keys(label="kek")) == [key]
        assert cluster.clock.now > before


def test_loop_that_was_closed_over_a_waiting_call_hinders_nobody():
    """Its call is ended, with an outcome that nobody knows, when the next loop begins."""
    with HsmCluster(2) as cluster:
        client = cluster.async_client("app")
        first = asyncio.new_event_loop()
        left = first.create_task(client.random(8))
        take_a_turn(first)
        first.close()
        assert len(asyncio.run(client.random(16))) == 16
        assert [event.client for event in cluster.history.of(Kind.OK)][-1].startswith("app")
        left._log_destroy_pending = False
        del left
        gc.collect()


def take_a_turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_two_loops_may_take_turns(driver, scheduler):
    """What was awaited on the first one ends there, although the second one stepped meanwhile."""
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        task = first.create_task(driver.run(flow(20), LANE, "first"))
        take_a_turn(first)
        assert second.run_until_complete(driver.run(flow(50), LANE + 2, "second")) == "done"
        assert scheduler.now_ns == 50
        later = second.create_task(driver.run(flow(10), LANE + 2, "second"))
        take_a_turn(second)
        assert first.run_until_complete(task) == "done"
        assert second.run_until_complete(later) == "done"
        assert scheduler.now_ns == 60
    finally:
        first.close()
        second.close()


def test_closing_the_cluster_cancels_who_still_awaits():
    async def main():
        with HsmCluster(2) as cluster:
            task = asyncio.ensure_future(cluster.async_client("app").random(8))
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_call_outside_of_any_loop_is_refused_with_the_way_out():
    """Somebody else steps the coroutine: a library that is not known here, or nobody's."""
    with HsmCluster(2) as cluster:
        client = cluster.async_client("app")
        before = len(cluster.history)
        with pytest.raises(UsageError, match="under asyncio or trio, .* use the blocking client"):
            client.random(8).send(None)
        assert len(cluster.history) == before


def test_anyio_on_asyncio_is_served():
    anyio = pytest.importorskip("anyio")

    async def main(client):
        async with anyio.create_task_group() as group:
            group.start_soon(client.random, 8)
            group.start_soon(client.random, 9)

    with HsmCluster(2) as cluster:
        anyio.run(main, cluster.async_client("app"), backend="asyncio")
        assert len([event for event in cluster.history.of(Kind.OK) if event.name == "random"]) == 2


def test_errors_of_the_cluster_are_awaited_like_answers():
    async def main(cluster):
        client = cluster.async_client("app")
        key = await client.generate_key("AES", 256, label="kek")
        await client.delete_key(key)
        with pytest.raises(KeyNotOnHsm):
            await client.encrypt(key, b"data")

    with HsmCluster(2) as cluster:
        asyncio.run(main(cluster))
