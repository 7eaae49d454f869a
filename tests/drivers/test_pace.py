"""Does simulated time follow the wall clock, at the rate that was asked for?

No test here reads the wall clock: a fake one stands in its place, which `sleep` moves.
"""

import asyncio
import math
from datetime import UTC, datetime

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.drivers import pace
from pytest_hsmcluster.drivers.awaiting import AwaitingDriver
from pytest_hsmcluster.drivers.blocking import BlockingDriver
from pytest_hsmcluster.drivers.pace import RealPace, today
from pytest_hsmcluster.errors import RequestTimeout, UsageError
from pytest_hsmcluster.sim.clock import NS, HsmClock
from pytest_hsmcluster.sim.scheduler import FIRST_CLIENT_LANE, SERVICE_LANE, Scheduler


class FakeTime:
    """A wall clock that goes only while somebody sleeps."""

    CLOCK_MONOTONIC = "the clock"

    def __init__(self):
        self.now_s = 1000.0
        self.slept = []

    def clock_gettime(self, clock):
        assert clock in (self.CLOCK_MONOTONIC, 5)
        return self.now_s

    def sleep(self, seconds):
        assert seconds > 0
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def time(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(pace, "time", fake)
    return fake


@pytest.fixture
def scheduler():
    scheduler = Scheduler()
    scheduler.run_ahead = False
    return scheduler


def test_today_is_the_machines_date_in_utc(time):
    """The date knows its time zone, so that nobody takes it for a local one."""
    time.now_s = 1_735_689_600.25
    assert today() == datetime(2025, 1, 1, 0, 0, 0, 250_000, UTC)


def test_pace_ties_both_times_together(time):
    """At rate 20, a real second is 20 simulated ones."""
    real = RealPace(20)
    time.now_s += 0.5
    assert real.reached_ns() == 10 * NS
    assert real.early_s(30 * NS) == pytest.approx(1.0)
    assert real.early_s(4 * NS) == pytest.approx(-0.3)
    real.wait_until(30 * NS)
    real.wait_until(4 * NS)
    assert time.slept == [pytest.approx(1.0)]


def test_pace_can_begin_anew(time):
    """From then on both times count from there."""
    real = RealPace()
    time.now_s += 100
    real.begin(7 * NS)
    time.now_s += 1
    assert real.reached_ns() == 8 * NS


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan, "fast", None, True])
def test_rate_is_a_number_above_zero(rate):
    with pytest.raises(UsageError, match="a real clock's rate is a number above 0"):
        RealPace(rate)


def test_advance_sleeps_from_one_event_to_the_next(time, scheduler):
    """So that whoever watches sees each when it happens."""
    clock, seen = HsmClock(scheduler, RealPace(10)), []
    for due_s in (20, 50):
        scheduler.at(due_s * NS, lambda: seen.append(time.now_s - 1000))
    clock.advance(60)
    assert clock.real
    assert seen == [pytest.approx(2), pytest.approx(5)]
    assert time.now_s - 1000 == pytest.approx(6)
    assert repr(clock) == "<HsmClock 60.000000 s, real>"


def test_run_until_idle_keeps_pace_too(time, scheduler):
    clock = HsmClock(scheduler, RealPace())
    scheduler.at(3 * NS, list)
    clock.run_until_idle()
    assert time.slept == [pytest.approx(3)]


def flow(scheduler, seen, *waits_s):
    for wait_s in waits_s:
        yield round(wait_s * NS)
        seen.append(scheduler.now_ns / NS)
    return "done"


def test_blocking_call_takes_real_time(time, scheduler):
    """What the simulation says, divided by the rate."""
    driver, seen = BlockingDriver(scheduler, RealPace(2)), []
    assert driver.run(flow(scheduler, seen, 1, 2), FIRST_CLIENT_LANE, "flow") == "done"
    assert seen == [1, 3]
    assert time.now_s - 1000 == pytest.approx(1.5)


def test_blocking_call_finds_what_came_due_meanwhile_done(time, scheduler):
    """The test was busy for a while: the service was not."""
    driver, seen, swept = BlockingDriver(scheduler, RealPace()), [], []
    scheduler.at(5 * NS, lambda: swept.append(scheduler.now_ns), SERVICE_LANE, background=True)
    time.now_s += 8
    driver.run(flow(scheduler, seen, 1), FIRST_CLIENT_LANE, "flow")
    assert swept == [5 * NS]
    assert seen == [9]


def test_cluster_with_a_real_clock_waits_for_time_outs(time):
    """20 s of silence at rate 10 are 2 real seconds: nothing runs ahead of the wall clock."""
    with HsmCluster(2, clock="real", clock_rate=10) as cluster:
        client = cluster.client("app")
        began_s = time.now_s
        with cluster.chaos.inject("drop @ wire.request command=random nth=1"):
            with pytest.raises(RequestTimeout):
                client.random(8)
        assert time.now_s - began_s == pytest.approx(2, abs=0.01)
        with pytest.raises(UsageError, match="this history has no digest"):
            cluster.history.digest()


# -- under asyncio ------------------------------------------------------------------------


class FakeLoop(asyncio.SelectorEventLoop):
    """A loop on the fake clock: where it would sleep, the clock goes."""

    def __init__(self, time):
        super().__init__()
        self._time = time

    def time(self):
        return self._time.now_s

    def _run_once(self):
        if not self._ready and self._scheduled:
            self._time.now_s = max(self._time.now_s, self._scheduled[0]._when)
        super()._run_once()


@pytest.fixture
def loop(time):
    loop = FakeLoop(time)
    yield loop
    loop.close()


def test_awaited_call_takes_real_time(time, scheduler, loop):
    """The loop is free meanwhile."""
    driver, seen, ticks = AwaitingDriver(scheduler, RealPace(2)), [], []

    async def tick():
        for _ in range(3):
            await asyncio.sleep(0.4)
            ticks.append(time.now_s - 1000)

    async def main():
        result, _ = await asyncio.gather(driver.run(flow(scheduler, seen, 1, 2), FIRST_CLIENT_LANE, "flow"), tick())
        return result

    assert loop.run_until_complete(main()) == "done"
    assert seen == [1, 3]
    assert ticks == [pytest.approx(0.4), pytest.approx(0.8), pytest.approx(1.2)]
    assert time.now_s - 1000 == pytest.approx(1.5)


def test_new_call_does_not_wait_for_what_another_waits_for(time, scheduler, loop):
    """The loop meant to step in 20 s; a second call is due now."""
    driver, ends = AwaitingDriver(scheduler, RealPace()), []

    async def call(after_s, takes_s):
        await asyncio.sleep(after_s)
        await driver.run(flow(scheduler, [], takes_s), FIRST_CLIENT_LANE, "call")
        ends.append(time.now_s - 1000)

    async def main():
        await asyncio.gather(call(0, 20), call(1, 2))

    loop.run_until_complete(main())
    assert ends == [pytest.approx(3), pytest.approx(20)]


def test_cancelled_call_leaves_no_timer_in_the_loop(time, scheduler, loop):
    """Nor does it keep a later loop from stepping."""
    driver = AwaitingDriver(scheduler, RealPace())

    async def impatient():
        await asyncio.wait_for(driver.run(flow(scheduler, [], 100), FIRST_CLIENT_LANE, "call"), 1)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(impatient())
    assert driver._pumps == {}
    assert scheduler.idle
    again = FakeLoop(time)
    try:
        assert again.run_until_complete(driver.run(flow(scheduler, [], 2), FIRST_CLIENT_LANE, "call")) == "done"
    finally:
        again.close()


def test_time_that_has_passed_meanwhile_is_not_slept_through(time, scheduler):
    """Whoever computes for a second and then lets one pass has let two pass, and the clock says so."""
    clock = HsmClock(scheduler, RealPace())
    time.now_s += 1.0
    assert clock.now == 1.0
    clock.advance(1)
    assert (clock.now, time.slept) == (2.0, [1.0])
    scheduler.end_all()
    time.now_s += 1.0
    assert clock.now == 2.0


def test_what_a_verb_does_it_does_in_the_present(time):
    """The test was busy for a while: windows count from now, and what was due meanwhile has happened."""
    with HsmCluster(3, clock="real") as cluster:
        time.now_s += 100
        cluster.chaos.install("crashed-hsm hsm-2 during=0s..8s")
        assert [str(hsm.state) for hsm in cluster.hsms] == ["up", "down", "up"]
        cluster.clock.advance(7)
        assert cluster.hsm("hsm-2").state == "down"
        time.now_s += 2
        cluster.catch_up()
        assert cluster.hsm("hsm-2").state == "up"
        with cluster.chaos.crash("hsm-1"):
            time.now_s += 10
        told = [(event.kind, event.at_ns) for event in cluster.history if event.kind in ("down", "up")][-4:]
        assert told == [("down", 100 * NS), ("up", 108 * NS), ("down", 109 * NS), ("up", 119 * NS)]


@pytest.mark.parametrize("end", ["hardship", "cluster"])
def test_what_goes_wrong_in_catching_up_keeps_nothing_from_its_end(time, end):
    """It is told, and the hardship is taken back all the same."""

    def fail():
        raise ValueError("in the background")

    with HsmCluster(2, clock="real") as cluster:
        hardship = cluster.chaos.crash("hsm-1")
        cluster.service.world.scheduler.at(NS, fail, background=True)
        time.now_s += 2
        with pytest.raises(ValueError, match="in the background"):
            {"hardship": hardship.end, "cluster": cluster.close}[end]()
        assert (cluster.chaos.hardships, cluster.hsm("hsm-1").state) == ([], "up")
        assert (cluster.closed, cluster.chaos.closed) == (end == "cluster",) * 2
