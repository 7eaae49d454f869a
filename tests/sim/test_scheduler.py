"""Does what is due happen in the right order, once, and not beyond what was asked for?"""

import pytest

from pytest_hsmcluster.errors import Stuck
from pytest_hsmcluster.sim.scheduler import FIRST_CLIENT_LANE, SERVICE_LANE, TEST_LANE, Scheduler

CLIENT_1, CLIENT_2 = FIRST_CLIENT_LANE, FIRST_CLIENT_LANE + 1


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def told():
    """What happened, in order."""
    return []


def note(told, *what):
    return lambda: told.append(*what)


# -- timers ---------------------------------------------------------------------------


def test_timers_come_by_instant_then_lane_then_number(scheduler, told):
    """The test's own goes before the service's, the service's before a client's, the first made before the second."""
    scheduler.at(20, note(told, "late"), TEST_LANE)
    scheduler.at(10, note(told, "second client"), CLIENT_2)
    scheduler.at(10, note(told, "first client"), CLIENT_1)
    scheduler.at(10, note(told, "first client again"), CLIENT_1)
    scheduler.at(10, note(told, "service"), SERVICE_LANE)
    scheduler.at(10, note(told, "test"), TEST_LANE)
    scheduler.advance_to(20)
    assert told == ["test", "service", "first client", "first client again", "second client", "late"]


def test_deadline_comes_last_in_its_lane_only(scheduler, told):
    """An answer at the very deadline is in time; another client's is none of its business."""
    scheduler.at(10, note(told, "deadline 1"), CLIENT_1, late=True)
    scheduler.at(10, note(told, "answer 1"), CLIENT_1)
    scheduler.at(10, note(told, "answer 2"), CLIENT_2)
    scheduler.advance_to(10)
    assert told == ["answer 1", "deadline 1", "answer 2"]


def test_clock_shows_the_instant_of_what_happens(scheduler):
    """Not that at which somebody asked for it, and the asked one afterwards."""
    seen = []
    scheduler.at(7, lambda: seen.append(scheduler.now_ns))
    scheduler.at(9, lambda: seen.append(scheduler.now_ns))
    scheduler.advance_to(30)
    assert seen == [7, 9]
    assert scheduler.now_ns == 30


def test_past_instant_is_now(scheduler, told):
    """Time does not go back for a timer that is asked for too late."""
    scheduler.advance_to(50)
    scheduler.at(10, lambda: told.append(scheduler.now_ns))
    scheduler.step()
    assert told == [50]


def test_advancing_backwards_changes_nothing(scheduler):
    scheduler.advance_to(50)
    scheduler.advance_to(10)
    assert scheduler.now_ns == 50


def test_timer_may_set_another_one_of_the_same_instant(scheduler, told):
    """It still comes before time goes on, even in an earlier lane."""
    scheduler.at(5, lambda: scheduler.at(5, note(told, "set meanwhile"), TEST_LANE), CLIENT_1)
    scheduler.at(5, note(told, "client 2"), CLIENT_2)
    scheduler.advance_to(5)
    assert told == ["set meanwhile", "client 2"]


def test_cancelled_timer_does_nothing(scheduler, told):
    """Twice is as good as once, and too late is too late."""
    timer, ran = scheduler.at(5, note(told, "cancelled")), scheduler.at(6, note(told, "ran"))
    scheduler.cancel(timer)
    scheduler.cancel(timer)
    scheduler.advance_to(10)
    scheduler.cancel(ran)
    assert told == ["ran"]
    assert scheduler.idle
    assert scheduler.next_due_ns() is None


def test_cancelled_timers_are_dropped_when_they_come_to_the_top(scheduler):
    """A heap of dead deadlines would slow everything."""
    for due in range(100):
        scheduler.cancel(scheduler.at(due, list))
    scheduler.at(200, list)
    assert scheduler.next_due_ns() == 200
    assert len(scheduler._heap) == 1


def test_only_foreground_timers_keep_the_world_busy(scheduler):
    """The sweep is always due; if it counted, nothing would ever be idle."""
    scheduler.at(5, list, background=True)
    assert scheduler.idle
    timer = scheduler.at(9, list)
    assert not scheduler.idle
    scheduler.cancel(timer)
    assert scheduler.idle
    scheduler.at(9, list)
    scheduler.advance_to(9)
    assert scheduler.idle


def test_step_without_anything_due_is_stuck(scheduler):
    with pytest.raises(Stuck, match="who waits:\n  nobody"):
        scheduler.step()


# -- running ahead ----------------------------------------------------------------------


def test_ahead_lets_time_pass_when_nothing_is_due(scheduler):
    assert scheduler.ahead(500)
    assert scheduler.now_ns == 500


@pytest.mark.parametrize(("due", "ahead"), [(499, False), (500, False), (501, True)])
def test_ahead_stops_for_what_is_due_by_then(scheduler, due, ahead):
    """Equal instants go through the heap: there the lane decides."""
    scheduler.at(due, list, CLIENT_2, background=True)
    assert scheduler.ahead(500) is ahead
    assert scheduler.now_ns == (500 if ahead else 0)


@pytest.mark.parametrize(("limit", "ahead"), [(499, False), (500, True), (501, True)])
def test_ahead_stops_at_the_callers_own_limit(scheduler, limit, ahead):
    """What comes at the very deadline is in time."""
    assert scheduler.ahead(500, limit) is ahead


def test_ahead_does_not_count_cancelled_timers(scheduler):
    for due in (100, 200, 300):
        scheduler.cancel(scheduler.at(due, list))
    assert scheduler.ahead(500)


def test_ahead_can_be_switched_off(scheduler):
    scheduler.run_ahead = False
    assert not scheduler.ahead(500)
    assert not scheduler.ahead(0)


def test_nobody_runs_ahead_of_what_the_test_asked_for(scheduler, told):
    """`advance(1)` must not end at 2 because a flow was fast."""

    def flow():
        yield 10
        told.append(scheduler.ahead(10))
        told.append(scheduler.ahead(1))
        if not scheduler.ahead(80):
            yield 80
        told.append(scheduler.now_ns)

    scheduler.spawn(flow(), CLIENT_1, "flow")
    scheduler.advance_to(20)
    assert told == [True, False]
    assert scheduler.now_ns == 20
    scheduler.advance_to(1000)
    assert told == [True, False, 100]
    assert scheduler.ahead(5), "the horizon is gone with the call that set it"


def test_whoever_waits_in_real_time_is_roused_by_what_is_due_sooner(scheduler, told):
    """Once, and not by what is due when they would go on anyhow."""
    scheduler.nap("short", 100, lambda: told.append("short"))
    scheduler.nap("long", 200, lambda: told.append("long"))
    scheduler.at(200, list)
    assert told == []
    scheduler.at(100, list)
    assert told == ["long"]
    scheduler.at(50, list)
    scheduler.at(50, list)
    assert told == ["long", "short"]


def test_who_has_risen_is_roused_no_more(scheduler, told):
    scheduler.nap("short", 100, lambda: told.append("short"))
    scheduler.rise("short")
    scheduler.rise("short")
    scheduler.at(50, list)
    assert told == []
