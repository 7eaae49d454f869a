"""Does a blocking call step to its own end, and not further?"""

import asyncio

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.drivers.blocking import BlockingDriver
from pytest_hsmcluster.errors import Stuck, UsageError
from pytest_hsmcluster.history.events import Kind
from pytest_hsmcluster.sim.flow import Signal
from pytest_hsmcluster.sim.scheduler import FIRST_CLIENT_LANE, SERVICE_LANE, TEST_LANE, Scheduler

LANE = FIRST_CLIENT_LANE


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def driver(scheduler):
    return BlockingDriver(scheduler)


def flow(*waits, error=None, result="done"):
    for wait in waits:
        yield wait
    if error is not None:
        raise error
    return result


def test_call_returns_what_its_flow_returns(driver, scheduler):
    assert driver.run(flow(10, 20), LANE, "flow") == "done"
    assert scheduler.now_ns == 30
    assert scheduler.idle


def test_call_that_never_waits_takes_no_time(driver, scheduler):
    assert driver.run(flow(), LANE, "flow") == "done"
    assert scheduler.now_ns == 0
    assert not scheduler.stepping


@pytest.mark.parametrize("waits", [(), (10,)])
def test_call_raises_what_its_flow_raises(driver, scheduler, waits):
    with pytest.raises(ValueError, match="refused"):
        driver.run(flow(*waits, error=ValueError("refused")), LANE, "flow")
    assert not scheduler.stepping
    assert scheduler.idle


def test_others_go_on_while_somebody_blocks(driver, scheduler):
    """A sweep in the middle of a call, but nothing after its end."""
    seen = []
    for due_ns in (5, 10, 15):
        scheduler.at(due_ns, lambda: seen.append(scheduler.now_ns), SERVICE_LANE, background=True)
    driver.run(flow(12), LANE, "flow")
    assert seen == [5, 10]
    assert scheduler.now_ns == 12


def test_what_is_due_now_comes_first_if_its_lane_does(driver, scheduler):
    """A call begins in its lane's turn, not before everything else."""
    told = []

    def calling():
        told.append("call")
        yield 1

    scheduler.at(0, lambda: told.append("test"), TEST_LANE)
    scheduler.at(0, lambda: told.append("second client"), LANE + 2)
    driver.run(calling(), LANE, "flow")
    assert told == ["test", "call", "second client"]


def test_call_that_nothing_can_wake_is_stuck(driver, scheduler):
    """Who waits for what, since when; the sweep does not count, it would go on for ever."""

    def sweeping():
        while True:
            yield 60

    scheduler.spawn(sweeping(), SERVICE_LANE, "the service's sweep", background=True)
    with pytest.raises(Stuck) as caught:
        driver.run(flow(500_000, Signal("a release that nobody gives")), LANE, "app: sign")
    assert "app: sign: for a release that nobody gives, since 0.000500 s" in str(caught.value)
    assert "the service's sweep: for its turn" in str(caught.value)
    assert not scheduler.stepping
    assert "app: sign" not in scheduler.who_waits(), "a flow that was given up is closed"


def test_error_elsewhere_ends_the_call(driver, scheduler):
    """It surfaces where it happens, and leaves no flow behind."""

    def broken():
        yield 5
        raise RuntimeError("broken sweep")

    scheduler.spawn(broken(), SERVICE_LANE, "sweep", background=True)
    with pytest.raises(RuntimeError, match="broken sweep"):
        driver.run(flow(10), LANE, "flow")
    assert driver.run(flow(10), LANE, "next") == "done"


def test_call_from_inside_a_step_is_refused(driver, scheduler):
    """Also when it would not wait at all."""
    refused = []

    def meddling():
        yield 1
        for waits in ((), (5,)):
            with pytest.raises(UsageError, match="from inside a step"):
                driver.run(flow(*waits), LANE, "inner")
            refused.append(waits)
        return "done"

    assert driver.run(meddling(), LANE, "outer") == "done"
    assert len(refused) == 2


def test_blocking_call_on_a_thread_with_a_running_loop_steps_to_its_own_end():
    """Calls that were awaited meanwhile get their answers as soon as the loop goes on."""

    async def main(cluster):
        awaited, blocking = cluster.async_client("awaited"), cluster.client("blocking")
        pending = asyncio.ensure_future(awaited.random(8))
        await asyncio.sleep(0)
        assert len(blocking.random(16)) == 16
        assert not pending.done() or pending.result()
        assert len(await pending) == 8
        return [event.client for event in cluster.history.of(Kind.OK)][-2:]

    with HsmCluster(2) as cluster:
        assert asyncio.run(main(cluster)) == ["awaited", "blocking"]
