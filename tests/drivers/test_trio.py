"""Do trio's tasks await flows as asyncio's do, in an order that trio's dice do not change?"""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.drivers.awaiting import AwaitingDriver
from pytest_hsmcluster.errors import KeyNotOnHsm, RequestTimeout, Stuck, UsageError
from pytest_hsmcluster.history.events import Kind
from pytest_hsmcluster.sim.clock import NS
from pytest_hsmcluster.sim.flow import Signal
from pytest_hsmcluster.sim.scheduler import FIRST_CLIENT_LANE, SERVICE_LANE, Scheduler
from tests.stories import drawn, play, play_awaiting

trio = pytest.importorskip("trio", reason="trio is not installed: pip install 'pytest-hsmcluster[test]'")
from trio.testing import MockClock, wait_all_tasks_blocked  # noqa: E402

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


async def at_once(*calls):
    """Await functions without arguments, each in a task of its own."""
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call)


def test_await_gives_what_the_flow_returns(driver, scheduler):
    assert trio.run(driver.run, flow(10, 20), LANE, "flow") == "done"
    assert scheduler.now_ns == 30
    assert scheduler.idle


def test_await_raises_what_the_flow_raises(driver, scheduler):
    with pytest.raises(ValueError, match="refused"):
        trio.run(driver.run, flow(10, error=ValueError("refused")), LANE, "flow")
    assert not scheduler.stepping


@pytest.mark.parametrize("seed", range(12))
def test_one_story_gives_one_journal_under_every_driver(seed):
    """Blocking, under asyncio, under trio."""
    told = play_awaiting(drawn(seed), run=trio.run)
    assert told.first_difference(play(drawn(seed))) is None
    assert told.first_difference(play_awaiting(drawn(seed))) is None


def test_calls_of_several_tasks_interleave_in_simulated_time(driver, scheduler):
    """Each goes on when it is its turn; each caller goes on at the instant at which its call ended."""
    told = []

    def caller(name, lane, *waits):
        async def call():
            await driver.run(flow(*waits), lane, name)
            told.append((name, scheduler.now_ns))
            await driver.run(flow(1), lane, name)
            told.append((name, scheduler.now_ns))

        return call

    trio.run(at_once, caller("slow", LANE, 10, 10), caller("quick", LANE + 2, 5, 5), caller("even", LANE + 4, 10))
    assert told == [("quick", 10), ("even", 10), ("quick", 11), ("even", 11), ("slow", 20), ("slow", 21)]


@pytest.mark.parametrize("wrapped", ["plain", "deadline", "nursery", "event", "channel", "checkpoints"])
def test_awakened_task_acts_before_time_goes_on(driver, scheduler, wrapped):
    """However many tasks the news passes through: at the instant of the answer the last may call off another call."""

    async def call():
        await driver.run(flow(10), LANE, "call")

    async def answered():
        if wrapped == "plain":
            await call()
        elif wrapped == "deadline":
            with trio.fail_after(60):
                await call()
        elif wrapped == "nursery":
            await at_once(call)
        elif wrapped == "event":
            event = trio.Event()

            async def set_it():
                await call()
                event.set()

            await at_once(set_it, event.wait)
        elif wrapped == "channel":
            send, receive = trio.open_memory_channel(0)

            async def pass_on():
                await send.send(await call())

            await at_once(pass_on, receive.receive)
        else:
            await call()
            for _ in range(50):
                await trio.lowlevel.checkpoint()

    async def main():
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.run, flow(11), LANE + 2, "other")
                await answered()
                scope.cancel()
        return scheduler.now_ns, scope.cancelled_caught

    assert trio.run(main) == (10, True)


def test_answers_are_handed_over_one_at_a_time(driver):
    """Even if two come at one instant: what the first awakens acts before the second hears of anything."""
    told = []

    async def main():
        event = trio.Event()

        async def first():
            await driver.run(flow(10), LANE, "first")
            event.set()

        async def awakened():
            await event.wait()
            await trio.lowlevel.checkpoint()
            told.append("awakened by the first")

        async def second():
            await driver.run(flow(10), LANE + 2, "second")
            told.append("second")

        await at_once(first, awakened, second)

    trio.run(main)
    assert told == ["awakened by the first", "second"]


def test_a_tests_own_wait_for_quiet_ends_before_time_goes_on(driver, scheduler):
    """`wait_all_tasks_blocked` ends once everybody waits for the cluster, and what is done then is done in time."""

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run, flow(10), LANE, "call")
            await wait_all_tasks_blocked()
            quiet_ns = scheduler.now_ns
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        return quiet_ns, scheduler.now_ns

    assert trio.run(main) == (0, 0)


# -- order ------------------------------------------------------------------------------------


def labels(cluster):
    return [event.label for event in cluster.history.of(Kind.INVOKE) if event.name == "generate_key"]


@pytest.mark.parametrize("shared", [True, False], ids=["one client", "a client for each task"])
def test_calls_of_one_instant_begin_in_an_order_of_their_own(shared):
    """That of the clients, or that in which the tasks were started, and not that in which trio has the tasks run."""

    async def main(cluster, clients):
        await clients[0].random(8)

        async def create(number, turns):
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            await clients[0 if shared else number].generate_key("AES", 256, label=f"key {number}")

        async def branch(first):
            async with trio.open_nursery() as nursery:
                for number in range(first, first + 3):
                    nursery.start_soon(create, number, 30 - number)

        async with trio.open_nursery() as nursery:
            for first in (0, 3, 6):
                nursery.start_soon(branch, first)

    with HsmCluster(2) as cluster:
        trio.run(main, cluster, [cluster.async_client(f"app-{number}") for number in range(1 if shared else 9)])
        assert labels(cluster) == [f"key {number}" for number in range(9)]
        assert cluster.history.digest()


@pytest.mark.parametrize("distinct", [True, False], ids=["a client for each task", "names differ"])
def test_tasks_that_nobody_saw_start_are_ordered_where_that_can_be(distinct):
    """By their clients, or by their names."""

    async def main(clients):
        async with trio.open_nursery() as nursery:
            for number, client in enumerate(clients):
                nursery.start_soon(client.random, 8, name=f"task {0 if distinct else number}")

    with HsmCluster(1) as cluster:
        one = cluster.async_client("app")
        trio.run(main, [cluster.async_client(f"app-{number}") for number in range(3)] if distinct else [one] * 3)
        assert cluster.history.digest()


def test_run_whose_order_was_drawn_by_lot_has_no_digest():
    """Tasks of one name, started before anybody looked, call through one client: the refusal says what to do."""

    async def main(client):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.random, 8)

    with HsmCluster(1) as cluster:
        trio.run(main, cluster.async_client("app"))
        with pytest.raises(UsageError, match=r"no digest: several trio tasks .* give each task a client of its own"):
            cluster.history.digest()


STORY = """
import sys, trio
from pytest_hsmcluster import HsmCluster

async def work(client, shared, number):
    key = await client.generate_key("AES", 256, label=f"key {number}")
    for _ in range(number):
        await shared.encrypt(key, b"data")
    await client.delete_key(key)

async def main(clients):
    await clients[0].random(8)
    async with trio.open_nursery() as nursery:
        for number, client in enumerate(clients):
            nursery.start_soon(work, client, clients[0], number)

with HsmCluster(3, seed=1) as cluster, cluster.chaos.inject("delay 200ms @ hsm.execute chance=0.3"):
    trio.run(main, [cluster.async_client(f"app-{number}") for number in range(6)])
    print(cluster.history.digest())
"""


def test_digest_is_the_same_in_every_process():
    """Whatever PYTHONHASHSEED and trio's dice are: six tasks, which have clients of their own and share one."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STORY], env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True
        )
        for seed in ("0", "1", "4711")
    ]
    digests = [process.communicate()[0] for process in processes]
    assert len(digests[0]) == 65
    assert digests[1:] == digests[:1] * 2


# -- cancelling -------------------------------------------------------------------------------


def test_cancelled_call_has_an_outcome_that_nobody_knows():
    """Its request may have been carried out; the application goes on as a new process."""

    async def main(cluster):
        client, other = cluster.async_client("app"), cluster.async_client("other")
        key = await client.generate_key("AES", 256, label="kek")
        with cluster.chaos.inject("hold @ hsm.reply command=encrypt nth=1") as held:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.encrypt, key, b"data")
                await other.random(8)
                nursery.cancel_scope.cancel()
        assert held.hits == 1
        last = cluster.history.last
        assert (last.kind, last.name, last.error, last.client) == (Kind.INFO, "encrypt", "Cancelled", "app")
        await client.random(8)
        assert cluster.history.last.client == "app#2"

    with HsmCluster(2) as cluster:
        trio.run(main, cluster)


@pytest.mark.parametrize("how", ["scope", "group"])
def test_calls_that_are_cancelled_together_end_in_the_order_of_their_begin(how):
    """trio itself cancels in the order of addresses, which is another one in each run."""

    async def main(clients):
        with suppress(ExceptionGroup):
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(client.random, 8)
                await (clients[0].find_keys() if how == "scope" else clients[0].generate_key("AES", 7))
                nursery.cancel_scope.cancel()

    with HsmCluster(1) as cluster:
        clients = [cluster.async_client(f"app-{number}") for number in range(40)]
        with cluster.chaos.inject("hold @ wire.response command=random", may_miss=True):
            trio.run(main, clients)
        cancelled = [event.op for event in cluster.history.of(Kind.INFO)]
        assert cancelled == sorted(cancelled)
        assert len(cancelled) == 40


@pytest.mark.parametrize("settled", [True, False])
def test_call_that_is_cancelled_before_it_begins_writes_nothing(settled):
    """Nobody asked for anything yet."""

    async def main(cluster):
        client = cluster.async_client("app")
        before = len(cluster.history)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.random, 8)
            if settled:
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(cluster.history) == before

    with HsmCluster(2) as cluster:
        trio.run(main, cluster)


def test_request_of_a_cancelled_call_is_still_carried_out():
    """The late commit: the key is there, nobody was told of it."""

    async def main(cluster):
        client, other = cluster.async_client("app"), cluster.async_client("other")
        with cluster.chaos.inject("delay 5s @ hsm.execute command=generate_key nth=1"):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: client.generate_key("AES", 256, label="ghost"))
                    await other.random(8)
                    scope.cancel()
            assert not any(hsm.keys for hsm in cluster.hsms)
            cluster.clock.advance(6)
        assert [key.label for hsm in cluster.hsms for key in hsm.keys.values()] == ["ghost"]

    with HsmCluster(2) as cluster:
        trio.run(main, cluster)


def test_caller_in_a_shield_is_served_to_the_end():
    """Cleaning up in `finally` works, whatever trio has cancelled."""

    async def main(client):
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await client.random(8)
            finally:
                with trio.CancelScope(shield=True):
                    assert len(await client.random(16)) == 16

    with HsmCluster(1) as cluster:
        trio.run(main, cluster.async_client("app"))


def test_call_that_trio_has_not_ended_is_served_while_trio_ends(driver):
    """A system task cleans up when the run is over, behind a shield."""
    cleaned = []

    async def service():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                cleaned.append(await driver.run(flow(10), LANE, "clean up"))

    async def main():
        trio.lowlevel.spawn_system_task(service)
        await driver.run(flow(10), LANE, "call")

    trio.run(main)
    assert cleaned == ["done"]


# -- time -------------------------------------------------------------------------------------


def test_simulated_silence_does_not_exhaust_a_deadline_of_trio():
    """20 s of silence are over at once, and the client's own time-out is what the application meets."""

    async def main(cluster):
        client = cluster.async_client("app")
        with cluster.chaos.inject("drop @ wire.request command=random nth=1"):
            with trio.fail_after(5):
                with pytest.raises(RequestTimeout):
                    await client.random(8)
        return cluster.clock.now

    with HsmCluster(2) as cluster:
        assert trio.run(main, cluster, clock=MockClock(autojump_threshold=0)) >= 20


class MockPace:
    """Simulated time tied to that of trio's mock clock."""

    rate = 1.0

    def __init__(self, clock):
        self._clock = clock

    def begin(self, now_ns):
        raise NotImplementedError

    def reached_ns(self):
        return round(self._clock.current_time() * NS)

    def early_s(self, instant_ns):
        return instant_ns / NS - self._clock.current_time()

    def wait_until(self, instant_ns):
        raise NotImplementedError

    def drive(self, scheduler, done):
        raise NotImplementedError

    def fileno(self):
        return None

    def look(self):
        return False

    def enter(self, scheduler):
        scheduler.enter()
        scheduler.drive_to(self.reached_ns())


@pytest.fixture
def clock():
    return MockClock(autojump_threshold=0)


@pytest.fixture
def paced(scheduler, clock):
    return AwaitingDriver(scheduler, MockPace(clock))


def test_awaited_call_keeps_pace(paced, scheduler, clock):
    """Other tasks run meanwhile, and what came due while nobody called has been done."""
    ticks, swept = [], []

    async def tick():
        for _ in range(3):
            await trio.sleep(1)
            ticks.append(scheduler.now_ns)

    async def call():
        await paced.run(flow(2 * NS, 2 * NS), LANE, "call")

    async def main():
        scheduler.at(5 * NS, lambda: swept.append(scheduler.now_ns), SERVICE_LANE, background=True)
        await at_once(call, tick)
        await trio.sleep(4)
        await paced.run(flow(NS), LANE, "call")

    trio.run(main, clock=clock)
    assert clock.current_time() == pytest.approx(9)
    assert ticks[0] == 0 and ticks[2] == 2 * NS
    assert swept == [5 * NS]


def test_new_call_does_not_wait_for_what_another_waits_for(paced, clock):
    """The driver meant to step in 20 s; a second call is due now."""
    ends = []

    async def main():
        async with trio.open_nursery() as nursery:
            for after_s, takes_s in ((0, 20), (1, 2)):
                nursery.start_soon(call, after_s, takes_s)

    async def call(after_s, takes_s):
        await trio.sleep(after_s)
        await paced.run(flow(takes_s * NS), LANE, "call")
        ends.append(clock.current_time())

    trio.run(main, clock=clock)
    assert ends == [pytest.approx(3), pytest.approx(20)]


def test_cancelled_call_leaves_nobody_waiting(paced, scheduler, clock):
    """trio's own deadline comes first, and the run ends then and there."""

    async def main():
        with trio.move_on_after(1) as scope:
            await paced.run(flow(100 * NS), LANE, "call")
        return scope.cancelled_caught

    assert trio.run(main, clock=clock)
    assert clock.current_time() == pytest.approx(1)
    assert scheduler.idle


# -- endings ----------------------------------------------------------------------------------


def test_all_who_wait_are_told_when_nothing_can_wake_them(driver):
    """Each name is in the message."""
    errors = []

    def caller(lane, what, *waits):
        async def call():
            with pytest.raises(Stuck) as caught:
                await driver.run(flow(*waits), lane, what)
            errors.append(str(caught.value))

        return call

    trio.run(
        at_once,
        caller(LANE, "first: sign", Signal("a release")),
        caller(LANE + 2, "second: sign", 7, Signal("another release")),
    )
    assert "first: sign: for a release, since 0.000000 s" in errors[0]
    assert "second: sign: for another release" in errors[1]
    assert trio.run(driver.run, flow(5), LANE, "next") == "done"


def test_error_elsewhere_reaches_those_who_wait(driver, scheduler):
    def broken():
        yield 5
        raise RuntimeError("broken sweep")

    scheduler.spawn(broken(), SERVICE_LANE, "sweep", background=True)
    with pytest.raises(RuntimeError, match="broken sweep"):
        trio.run(driver.run, flow(10), LANE, "flow")
    assert not scheduler.stepping
    assert trio.run(driver.run, flow(5), LANE, "next") == "done"


def test_one_cluster_serves_one_run_after_another():
    """trio, asyncio, trio again: keys, clients and time stay."""
    with HsmCluster(2) as cluster:
        client = cluster.async_client("app")
        key = trio.run(lambda: client.generate_key("AES", 256, label="kek"))
        assert asyncio.run(client.find_keys(label="kek")) == [key]
        before = cluster.clock.now
        assert trio.run(lambda: client.find_keys(label="kek")) == [key]
        assert cluster.clock.now > before


class BrokenClock(trio.abc.Clock):
    """Breaks trio itself, once it is told to."""

    broken = False

    def start_clock(self):
        pass

    def current_time(self):
        return 0.0

    def deadline_to_sleep_time(self, deadline):
        if self.broken:
            raise RuntimeError("trio gives up")
        return deadline


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_run_that_broke_off_hinders_nobody():
    """trio lets go of its tasks as they are; what they awaited is ended with the run, client after client."""

    async def main(clients, clock):
        async with trio.open_nursery() as nursery:
            for client in reversed(clients):
                nursery.start_soon(client.random, 8)
            await clients[0].find_keys()
            clock.broken = True
            await trio.sleep_forever()

    with HsmCluster(2) as cluster:
        clients, clock = [cluster.async_client(f"app-{number}") for number in range(3)], BrokenClock()
        with cluster.chaos.inject("hold @ wire.response command=random"):
            with pytest.raises(trio.TrioInternalError):
                trio.run(main, clients, clock, clock=clock)
        cancelled = [event.client for event in cluster.history.of(Kind.INFO)]
        assert cancelled == ["app-0", "app-1", "app-2"]
        assert len(trio.run(clients[0].random, 16)) == 16
        gc.collect()


def test_closing_the_cluster_tells_who_still_awaits():
    async def main():
        with pytest.RaisesGroup(pytest.RaisesExc(UsageError, match="closed while a task awaited 'app: random'")):
            async with trio.open_nursery() as nursery:
                with HsmCluster(2) as cluster:
                    client = cluster.async_client("app")
                    nursery.start_soon(client.random, 8)
                    await wait_all_tasks_blocked()
        with pytest.raises(UsageError, match="this cluster is closed"):
            await client.random(8)

    trio.run(main)


def test_errors_of_the_cluster_are_awaited_like_answers():
    async def main(client):
        key = await client.generate_key("AES", 256, label="kek")
        await client.delete_key(key)
        with pytest.raises(KeyNotOnHsm):
            await client.encrypt(key, b"data")

    with HsmCluster(2) as cluster:
        trio.run(main, cluster.async_client("app"))


def test_another_thread_may_bring_the_answer(scheduler):
    """It steps the cluster, as a blocking call there does; whoever awaits is awakened in trio's own thread."""
    clock = MockClock()  # stands still, so that nobody else steps

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            await trio.to_thread.run_sync(scheduler.advance_to, 20 * NS)

    async def call():
        await AwaitingDriver(scheduler, MockPace(clock)).run(flow(10 * NS), LANE, "call")
        threads.append(threading.current_thread())

    threads = []
    trio.run(main, clock=clock)
    assert threads == [threading.current_thread()]


# -- libraries --------------------------------------------------------------------------------


def test_anyio_on_trio_is_served():
    anyio = pytest.importorskip("anyio", reason="anyio is not installed: pip install 'pytest-hsmcluster[test]'")

    async def main(client):
        async with anyio.create_task_group() as group:
            group.start_soon(client.random, 8)
            group.start_soon(client.random, 9)

    with HsmCluster(2) as cluster:
        anyio.run(main, cluster.async_client("app"), backend="trio")
        assert len([event for event in cluster.history.of(Kind.OK) if event.name == "random"]) == 2


def test_trio_may_be_a_guest_of_asyncio():
    """Both libraries have their turns in one thread; each call is awaited under the one that runs its task."""

    async def guest(client):
        for _ in range(5):
            await client.random(8)
        return "guest"

    async def host(guests, hosts):
        done = asyncio.get_running_loop().create_future()
        trio.lowlevel.start_guest_run(
            guest,
            guests,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=done.set_result,
        )
        for _ in range(5):
            await hosts.random(8)
        return (await done).unwrap()

    with HsmCluster(2) as cluster:
        assert asyncio.run(host(cluster.async_client("guest"), cluster.async_client("host"))) == "guest"
        assert len([event for event in cluster.history.of(Kind.OK) if event.name == "random"]) == 10


def test_trio_is_not_imported_for_whoever_does_not_use_it():
    code = (
        "import asyncio, sys; from pytest_hsmcluster import HsmCluster\n"
        "with HsmCluster(1) as c: asyncio.run(c.async_client('app').random(8))\n"
        "assert 'trio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
