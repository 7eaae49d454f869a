"""What time is it, and how does a test let it pass?"""

import math

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.sim.clock import NS, HsmClock, to_ns
from pytest_hsmcluster.sim.scheduler import SERVICE_LANE, Scheduler


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def clock(scheduler):
    return HsmClock(scheduler)


def periodic(told, period_ns):
    while True:
        yield period_ns
        told.append("sweep")


def test_clock_begins_at_zero_and_goes_only_when_told(clock):
    assert (clock.now, clock.now_ns, clock.real) == (0, 0, False)


def test_advance_lets_everything_happen_that_is_due(clock, scheduler):
    """Background work included, to the very instant that was asked for."""
    told = []
    scheduler.spawn(periodic(told, 60 * NS), SERVICE_LANE, "sweep", background=True)
    clock.advance(60)
    assert told == ["sweep"]
    clock.advance(119.999)
    assert told == ["sweep"] * 2
    clock.advance(0.001)
    assert told == ["sweep"] * 3
    assert clock.now == 180


def test_advance_by_nothing_lets_the_present_instant_happen(clock, scheduler):
    told = []
    scheduler.at(0, lambda: told.append("now"))
    clock.advance(0)
    assert told == ["now"]


@pytest.mark.parametrize("seconds", [-1, -0.001, math.inf, math.nan, "60", None, True])
def test_advance_refuses_what_is_no_duration(clock, seconds):
    with pytest.raises(UsageError, match=r"advance\(\) is a number of seconds, 0 or more; got"):
        clock.advance(seconds)
    assert clock.now == 0


def test_run_until_idle_leaves_only_periodic_work(clock, scheduler):
    """What was asked for is done, the sweeps due meanwhile too, and time stops there."""
    told = []
    scheduler.spawn(periodic(told, 60 * NS), SERVICE_LANE, "sweep", background=True)
    scheduler.at(150 * NS, lambda: told.append("joined"))
    clock.run_until_idle()
    assert told == ["sweep", "sweep", "joined"]
    assert clock.now == 150
    clock.run_until_idle()
    assert clock.now == 150


@pytest.mark.parametrize(("seconds", "ns"), [(0, 0), (1, NS), (0.0005, 500_000), (1e-9, 1), (0.1 + 0.2, 300_000_000)])
def test_seconds_become_whole_nanoseconds(seconds, ns):
    assert to_ns(seconds, "x") == ns


def test_clock_shows_itself(clock):
    clock.advance(1.5)
    assert repr(clock) == "<HsmClock 1.500000 s>"


class Alone:
    """Says whether somebody is in the world."""

    def __init__(self):
        self.inside = 0

    def __enter__(self):
        self.inside += 1

    def __exit__(self, *_):
        self.inside -= 1


def test_clock_looks_for_what_is_due_while_nobody_else_is_in(monkeypatch):
    """To look drops what was cancelled, and another thread might drive meanwhile."""
    alone, looks = Alone(), []
    scheduler = Scheduler(alone)
    really = Scheduler.next_due_ns

    def look(self):
        looks.append(alone.inside)
        return really(self)

    monkeypatch.setattr(Scheduler, "next_due_ns", look)
    scheduler.at(NS, list)
    clock = HsmClock(scheduler)
    clock.run_until_idle()
    clock.advance(1)
    assert looks and all(looks)
