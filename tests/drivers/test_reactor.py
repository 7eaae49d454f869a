"""Does whoever waits for HSM processes hear at once what comes in, and does nobody wait in vain?

Where a test waits for another thread, it waits until that thread has come to a place; the clock is real, and a call
that would last an hour ends because something came, or the test ends by its time limit.
"""

import asyncio
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import anyio
import pytest
import trio

from pytest_hsmcluster.drivers import reactor
from pytest_hsmcluster.drivers.awaiting import AwaitingDriver
from pytest_hsmcluster.drivers.blocking import BlockingDriver
from pytest_hsmcluster.drivers.reactor import Reactor
from pytest_hsmcluster.drivers.turnstile import Turnstile
from pytest_hsmcluster.errors import Stuck, UsageError
from pytest_hsmcluster.sim.clock import NS, HsmClock
from pytest_hsmcluster.sim.flow import Signal
from pytest_hsmcluster.sim.scheduler import FIRST_CLIENT_LANE, Scheduler

HOUR_NS = 3600 * NS
MS_NS = NS // 1000


class World:
    """A scheduler, its reactor, the drivers, and a wire on which names come in: whoever waits for a name goes on."""

    def __init__(self):
        self.scheduler = Scheduler(Turnstile(lambda why: None))
        self.scheduler.run_ahead = False
        self.reactor = Reactor(self.scheduler)
        self.blocking = BlockingDriver(self.scheduler, self.reactor)
        self.awaiting = AwaitingDriver(self.scheduler, self.reactor)
        self.clock = HsmClock(self.scheduler, self.reactor)
        self.far, self.near = socket.socketpair()
        self.near.setblocking(False)
        self.reactor.watch(self.near.fileno(), self._heard)
        self.signals = {}
        self.asked = []
        self.closed = False

    def tell(self, *names):
        """Have names come in, which are one letter each."""
        self.far.sendall("".join(names).encode())

    def _heard(self):
        try:
            names = self.near.recv(100).decode()
        except BlockingIOError:  # another thread looked at the same time
            return
        for name in names:
            if name in self.signals:  # else it has been cancelled
                self.scheduler.fire(self.signals.pop(name), f"answer to {name}")

    def answer(self, name, limit_ns=HOUR_NS, tell=""):
        """A flow that waits for its name to come in; None if it does not.  It may have names come in itself."""
        answered = self.signals[name] = Signal(f"an answer to {name}")
        late = self.scheduler.at(
            self.scheduler.now_ns + limit_ns, lambda: self.scheduler.fire(answered), FIRST_CLIENT_LANE
        )
        self.asked.append(name)
        self.tell(*tell)
        answer = yield answered
        self.signals.pop(name, None)
        self.scheduler.cancel(late)
        return answer

    def wait_for(self, name, limit_ns=HOUR_NS, tell=""):
        """Wait in this thread."""
        return self.blocking.run(self.answer(name, limit_ns, tell), FIRST_CLIENT_LANE, name)

    async def await_for(self, name, limit_ns=HOUR_NS, tell=""):
        """Wait in this task."""
        return await self.awaiting.run(self.answer(name, limit_ns, tell), FIRST_CLIENT_LANE, name)

    def close(self):
        if not self.closed:
            self.closed = True
            with self.scheduler.alone:
                self.awaiting.close()
                self.scheduler.end_all()
                self.reactor.close()
            self.far.close()
            self.near.close()


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()


def until(come):
    """Return when another thread has come to a place."""
    while not come():
        os.sched_yield()


def serve(world, times):
    """Answer whoever asks, the newest first."""
    for _ in range(times):
        until(lambda: world.asked)
        world.tell(world.asked.pop())


def until_led(world):
    until(lambda: world.reactor._waits)


def until_sleeping(world, threads):
    until(lambda: len(world.reactor._sleepers) == threads)


@contextmanager
def watched(world, readable, number=None):
    """Watch one more wire, and give its far end."""
    far, near = socket.socketpair()
    near.setblocking(False)
    with far, near:
        world.reactor.watch(near.fileno(), lambda: readable(near))
        yield far, near
        world.reactor.forget(near.fileno())


# -- one thread ------------------------------------------------------------------------------------


def test_input_is_heard_long_before_the_timer_is_due(world):
    """An answer that has come in ends a call that would have waited for an hour."""
    assert world.wait_for("a", tell="a") == "answer to a"
    assert world.clock.now < 60


def test_a_timer_is_due_though_nothing_comes_in(world):
    assert world.wait_for("a", MS_NS) is None


def test_timers_are_due_under_a_flood_of_input(world):
    """What can always be read keeps nobody from a time-out."""
    heard = []
    with watched(world, heard.append) as (far, _):
        far.send(b"never read")
        assert world.wait_for("a", 5 * MS_NS) is None
    assert heard


def test_input_is_heard_under_a_flood_of_timers(world):
    """Somebody who always has something to do at once keeps nobody from an answer."""

    def flooded():
        def again():
            world.scheduler.at(world.scheduler.now_ns + 1, again, background=True)

        again()
        return (yield from world.answer("a", tell="a"))

    assert world.blocking.run(flooded(), FIRST_CLIENT_LANE, "a") == "answer to a"


def test_simulated_time_goes_neither_back_nor_beyond_what_is_due(world):
    """A timer acts at its own instant, and input comes at an instant between the two around it."""
    seen, dues = [], [number * MS_NS // 4 for number in range(1, 40)]

    def note(near):
        near.recv(1)
        seen.append((world.scheduler.now_ns, world.scheduler.next_due_ns()))

    with watched(world, note) as (far, _):
        acted = []
        for due_ns in dues:
            world.scheduler.at(due_ns, lambda: (acted.append(world.scheduler.now_ns), far.send(b"x")))
        assert world.wait_for("a", 20 * MS_NS) is None
    assert acted == dues
    assert seen
    assert all(now_ns <= due_ns for now_ns, due_ns in seen)
    assert [now_ns for now_ns, _ in seen] == sorted(now_ns for now_ns, _ in seen)


def test_who_is_forgotten_hears_nothing_more_not_even_what_has_come(world):
    """Two wires have input at once; who hears of it first closes the other one."""
    heard = []

    with ExitStack() as stack:
        pairs = []

        def close_the_other(near):
            heard.append(near)
            for _, other in pairs:
                if other is not near:
                    world.reactor.forget(other.fileno())

        pairs += [stack.enter_context(watched(world, close_the_other)) for _ in range(2)]
        for far, _ in pairs:
            far.send(b"x")
        assert world.reactor.look()
    assert len(heard) == 1


def test_what_came_to_a_closed_descriptor_never_reaches_the_next_of_its_number(world):
    """Numbers are used again at once: a stale event would look like a connection that has something to say."""
    heard, opened = [], []

    with ExitStack() as stack:
        pairs = []

        def replace_the_other(near):
            heard.append("old")
            if not opened:
                (other,) = [other for _, other in pairs if other is not near]
                number = other.fileno()
                world.reactor.forget(number)
                fresh = socket.socketpair()
                opened.extend(fresh)
                os.dup2(fresh[0].fileno(), number)
                world.reactor.watch(number, lambda: heard.append("new"))
            near.recv(1)

        pairs += [stack.enter_context(watched(world, replace_the_other)) for _ in range(2)]
        for far, _ in pairs:
            far.send(b"x")
        assert world.reactor.look()
        assert heard == ["old"]
        opened[1].send(b"y")
        assert world.reactor.look()
        assert heard == ["old", "new"]
        for sock in opened:
            sock.close()


def test_room_is_told_only_to_who_wants_it(world):
    """A socket nearly always has room: who does not want to write would never rest."""
    far, near = socket.socketpair()
    heard = []
    with far, near:
        world.reactor.watch(near.fileno(), lambda: heard.append("read"), lambda: heard.append("write"))
        assert not world.reactor.look()
        world.reactor.await_room(near.fileno(), True)
        assert world.reactor.look()
        world.reactor.await_room(near.fileno(), False)
        assert not world.reactor.look()
        world.reactor.forget(near.fileno())
    assert heard == ["write"]


def test_a_closed_reactor_refuses_to_wait(world):
    world.close()
    with pytest.raises(UsageError, match="closed"):
        world.reactor.look()
    with pytest.raises(UsageError, match="closed"):
        world.clock.advance(1)


# -- several threads ---------------------------------------------------------------------------------


def test_each_of_many_threads_gets_its_own_answer(world):
    """Eight threads make fifty calls each, and answers come in any order."""
    names = "abcdefgh"

    def ask(name):
        return [world.wait_for(name) for _ in range(50)]

    with ThreadPoolExecutor(9) as pool:
        server = pool.submit(serve, world, 50 * len(names))
        for name, answers in zip(names, pool.map(ask, names), strict=True):
            assert answers == [f"answer to {name}"] * 50
        server.result()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_the_lead_is_handed_on_when_the_leaders_call_has_ended(world, pool):
    """Who slept leads now, and hears what comes in later."""
    first = pool.submit(world.wait_for, "a")
    until_led(world)
    others = [pool.submit(world.wait_for, name) for name in "bc"]
    until_sleeping(world, 2)
    world.tell("a")
    assert first.result() == "answer to a"
    until_sleeping(world, 1)
    world.tell("c", "b")
    assert [other.result() for other in others] == ["answer to b", "answer to c"]


def test_who_sleeps_is_awakened_while_the_leader_waits_on(world, pool):
    leader = pool.submit(world.wait_for, "a")
    until_led(world)
    other = pool.submit(world.wait_for, "b")
    until_sleeping(world, 1)
    world.tell("b")
    assert other.result() == "answer to b"
    assert not leader.done()
    world.tell("a")
    assert leader.result() == "answer to a"


def test_who_sleeps_is_awakened_under_a_flood_of_input(world, pool):
    """The leader would rather wait until nothing more comes in, but not for ever."""
    with watched(world, lambda near: None) as (far, _):
        leader = pool.submit(world.wait_for, "a")
        until_led(world)
        other = pool.submit(world.wait_for, "b")
        until_sleeping(world, 1)
        far.send(b"never read")
        world.tell("b")
        assert other.result() == "answer to b"
        world.tell("a")
        assert leader.result() == "answer to a"


def test_the_lead_is_handed_on_when_the_leaders_call_fails(world, pool):
    """What one call raises is nothing to the others."""

    def fails():
        yield from world.answer("a")
        raise ValueError("wrong")

    first = pool.submit(lambda: world.blocking.run(fails(), FIRST_CLIENT_LANE, "a"))
    until_led(world)
    other = pool.submit(world.wait_for, "b")
    until_sleeping(world, 1)
    world.tell("a")
    with pytest.raises(ValueError, match="wrong"):
        first.result()
    world.tell("b")
    assert other.result() == "answer to b"


def test_the_lead_is_handed_on_when_the_leader_is_interrupted(world, pool, monkeypatch):
    """Ctrl-C ends the main thread's call, and nobody else's."""
    other = []

    def poll(longest_s, really=world.reactor._poll):
        if threading.current_thread() is not threading.main_thread() or not longest_s:
            return really(longest_s)
        other.append(pool.submit(world.wait_for, "b"))
        until_sleeping(world, 1)
        raise KeyboardInterrupt  # where it is raised in truth, too, unless it comes between two calls

    monkeypatch.setattr(world.reactor, "_poll", poll)
    with pytest.raises(KeyboardInterrupt):
        world.wait_for("a")
    world.tell("b")
    assert other[0].result() == "answer to b"


def test_who_is_interrupted_asleep_leaves_the_lead_where_it_is(world, pool, monkeypatch):
    """Nobody wakes it later on, when its call is over."""

    def sleep(sleeper):
        raise KeyboardInterrupt

    leader = pool.submit(world.wait_for, "b")
    until_led(world)
    monkeypatch.setattr(reactor._Sleeper, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        world.wait_for("a")
    assert not world.reactor._sleepers
    world.tell("b")
    assert leader.result() == "answer to b"


def test_who_is_interrupted_when_it_is_to_lead_hands_the_lead_on(world, pool, monkeypatch):
    """The leader's call has ended, and of the two that sleep the one that it chose is interrupted."""
    first = pool.submit(world.wait_for, "a")
    until_led(world)
    last = []

    def sleep(sleeper, really=reactor._Sleeper.sleep):
        if threading.current_thread() is not threading.main_thread():
            really(sleeper)
            return
        last.append(pool.submit(world.wait_for, "c"))
        until_sleeping(world, 2)
        world.tell("a")
        really(sleeper)
        raise KeyboardInterrupt

    monkeypatch.setattr(reactor._Sleeper, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        world.wait_for("b")
    assert first.result() == "answer to a"
    world.tell("c")
    assert last[0].result() == "answer to c"


def test_who_is_to_lead_and_has_its_answer_by_then_passes_the_lead_on(world, pool, monkeypatch):
    """Somebody looked what had come in, and did not stay; whoever still sleeps needs another leader."""

    def sleep(sleeper, really=reactor._Sleeper.sleep):
        really(sleeper)
        if not sleeper.done():  # so it is to lead
            world.tell("b")
            with world.scheduler.alone:
                while not sleeper.done():
                    world.reactor.look(1)
                    world.scheduler.drive_to(world.scheduler.now_ns)

    monkeypatch.setattr(reactor._Sleeper, "sleep", sleep)
    leader = pool.submit(world.wait_for, "a")
    until_led(world)
    second = pool.submit(world.wait_for, "b")
    until_sleeping(world, 1)
    third = pool.submit(world.wait_for, "c")
    until_sleeping(world, 2)
    world.tell("a")
    assert (leader.result(), second.result()) == ("answer to a", "answer to b")
    world.tell("c")
    assert third.result() == "answer to c"


def test_a_newcomer_that_waits_for_less_is_not_late(world, pool):
    """The leader means to wait for an hour; a later call has a time-out of a millisecond."""
    leader = pool.submit(world.wait_for, "a")
    until_led(world)
    assert world.wait_for("b", MS_NS) is None
    world.tell("a")
    assert leader.result() == "answer to a"


def test_what_another_thread_changes_is_noticed_at_once(world, pool):
    """A fault's `release()`, say, comes from a thread that waits for nothing."""
    leader = pool.submit(world.wait_for, "a")
    until_led(world)
    with world.scheduler.alone:
        world.scheduler.fire(world.signals["a"], "released")
    assert leader.result() == "released"


def test_a_thread_that_lets_time_pass_and_one_that_calls_share_the_wait(world, pool):
    """`clock.advance` leads or follows like a call; neither takes away what the other waits for."""
    passed = pool.submit(world.clock.advance, 0.05)
    until_led(world)
    assert world.wait_for("a", tell="a") == "answer to a"
    passed.result()
    assert world.clock.now >= 0.05


def test_only_who_can_never_go_on_is_stuck(world, pool):
    """A call that nothing can end is stuck as soon as no other call can change anything, and says so in its thread."""

    def for_ever():
        yield Signal("a miracle")

    other = pool.submit(world.wait_for, "b")
    until_led(world)
    stuck = pool.submit(lambda: world.blocking.run(for_ever(), FIRST_CLIENT_LANE, "waiting"))
    until_sleeping(world, 1)
    world.tell("b")
    assert other.result() == "answer to b"
    with pytest.raises(Stuck, match="a miracle"):
        stuck.result()


def test_closing_ends_all_who_wait(world, pool):
    """Each is told that the cluster was closed; nothing stays open behind them."""
    threads = [pool.submit(world.wait_for, "a")]
    until_led(world)
    threads += [pool.submit(world.wait_for, name) for name in "bcd"]
    until_sleeping(world, 3)
    world.close()
    for thread in threads:
        with pytest.raises(UsageError, match="closed"):
            thread.result()
    with pytest.raises(ValueError, match="closed epoll"):
        world.reactor.fileno()


# -- event loops -----------------------------------------------------------------------------------------


@pytest.fixture(params=["asyncio", "trio"])
def backend(request):
    return request.param


def test_an_answer_wakes_the_loop(world, pool, backend):
    """Under asyncio and trio alike; the loop would have slept for an hour."""
    answers = []

    async def main():
        async def ask(name):
            answers.append(await world.await_for(name))

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(ask, name)

    def tell():
        until(lambda: world.scheduler._naps and len(world.asked) == 3)
        world.tell("c", "a", "b")

    teller = pool.submit(tell)
    anyio.run(main, backend=backend)
    teller.result()
    assert sorted(answers) == ["answer to a", "answer to b", "answer to c"]


def test_a_call_that_waits_for_a_socket_can_be_cancelled(world, backend):
    """The next call is answered as if nothing had been."""

    async def main():
        with anyio.move_on_after(0.02) as scope:
            await world.await_for("a")
        assert scope.cancelled_caught
        assert await world.await_for("b", tell="b") == "answer to b"

    anyio.run(main, backend=backend)


def test_time_outs_are_due_under_an_event_loop(world, backend):
    async def main():
        assert await world.await_for("a", MS_NS) is None

    anyio.run(main, backend=backend)


def test_two_loops_in_two_threads_share_one_world(world, pool):
    """Whichever of them hears an answer, it comes to the one that waits for it, on its own loop."""

    def run(backend, name):
        async def main():
            return [await world.await_for(name) for _ in range(20)]

        return anyio.run(main, backend=backend)

    server = pool.submit(serve, world, 60)
    runs = [pool.submit(run, backend, name) for backend, name in (("asyncio", "a"), ("asyncio", "b"), ("trio", "c"))]
    for one, name in zip(runs, "abc", strict=True):
        assert one.result() == [f"answer to {name}"] * 20
    server.result()


def test_a_loop_goes_on_when_the_thread_that_led_has_gone(world, pool, backend):
    """The leader hears an answer for the loop together with its own, and leaves."""

    def run():
        async def main():
            return await world.await_for("b"), await world.await_for("c", 5 * MS_NS)

        return anyio.run(main, backend=backend)

    leader = pool.submit(world.wait_for, "a")
    until_led(world)
    loop = pool.submit(run)
    until(lambda: "b" in world.signals)
    world.tell("a", "b")
    assert leader.result() == "answer to a"
    assert loop.result() == ("answer to b", None)


def test_a_thread_goes_on_when_a_loop_has_heard_its_answer(world, pool, backend):
    """While a thread waits, calls on a loop come and go."""

    def run():
        async def main():
            return [await world.await_for(name) for name in "bcd"]

        return anyio.run(main, backend=backend)

    loop = pool.submit(run)
    until(lambda: "b" in world.signals)
    thread = pool.submit(world.wait_for, "a")
    until(lambda: "a" in world.signals)
    world.tell("a", "b")
    assert thread.result() == "answer to a"
    for name in "cd":
        until(lambda name=name: name in world.signals)
        world.tell(name)
    assert loop.result() == [f"answer to {name}" for name in "bcd"]


def test_a_loop_that_ends_in_the_middle_leaves_the_next_one_alone(world):
    """Its call is forgotten, and what comes for it is nobody's."""

    async def until_it_waits():
        while not world.scheduler._naps:
            await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    task = loop.create_task(world.await_for("a"))
    loop.run_until_complete(until_it_waits())
    assert "a" in world.signals
    task._log_destroy_pending = False
    loop.close()
    world.tell("a")
    assert asyncio.run(world.await_for("b", tell="b")) == "answer to b"
    task.get_coro().close()


def test_a_loop_is_told_when_another_thread_closes(world, pool):
    """asyncio's call is cancelled, and trio's is told why: as when they are closed from within."""

    def run(backend, name):
        async def main():
            await world.await_for(name)

        return anyio.run(main, backend=backend)

    asyncios = pool.submit(run, "asyncio", "a")
    trios = pool.submit(run, "trio", "b")
    until(lambda: {"a", "b"} <= world.signals.keys())
    until(lambda: len(world.scheduler._naps) == 2)
    world.close()
    with pytest.raises(asyncio.CancelledError):
        asyncios.result()
    with pytest.raises(UsageError, match="closed"):
        trios.result()


def test_nobody_reads_the_socket_of_a_world_in_which_nobody_awaits(world):
    """Between calls the loop is the application's alone."""

    async def main():
        await world.await_for("a", tell="a")
        return asyncio.get_running_loop().remove_reader(world.reactor.fileno())

    assert asyncio.run(main()) is False


def test_trio_leaves_nothing_behind(world):
    async def main():
        return await world.await_for("a", tell="a")

    assert trio.run(main) == "answer to a"
    assert not world.scheduler._naps


def test_idle_is_reached_with_the_last_answer_and_not_with_its_deadline(world):
    """Nobody waits for that any more."""
    answered = world.signals["a"] = Signal("an answer")

    def call():
        late = world.scheduler.at(world.scheduler.now_ns + HOUR_NS, list)
        yield answered
        world.scheduler.cancel(late)

    with world.scheduler.alone:
        world.scheduler.spawn(call(), FIRST_CLIENT_LANE, "call")
        world.scheduler.step()
    world.tell("a")
    world.clock.run_until_idle()
    assert world.scheduler.idle and world.clock.now_ns < HOUR_NS
