"""Do flows wait for time, signals and each other, and can they be interrupted and ended?"""

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.sim.flow import Join, Signal
from pytest_hsmcluster.sim.scheduler import FIRST_CLIENT_LANE, SERVICE_LANE, Scheduler

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


def waits(told, name, *waits):
    """A flow that notes each thing that it was sent, and when it ended."""
    for wait in waits:
        told.append((name, (yield wait)))
    return name


# -- flows ------------------------------------------------------------------------------


def test_spawned_flow_begins_later(scheduler, told):
    """Not in the middle of who spawned it."""
    task = scheduler.spawn(waits(told, "flow", 5), CLIENT_1, "flow", after_ns=10)
    assert (told, task.done) == ([], False)
    scheduler.advance_to(10)
    assert told == []
    scheduler.advance_to(15)
    assert told == [("flow", None)]
    assert (task.done, task.result()) == (True, "flow")


def test_signal_wakes_all_who_wait_in_lane_order(scheduler, told):
    """Lane before number, and all at the instant of the signal."""
    signal = Signal("release")
    for lane in (CLIENT_2, CLIENT_1, SERVICE_LANE):
        scheduler.spawn(waits(told, lane, signal), lane, f"lane {lane}")
    scheduler.advance_to(3)
    scheduler.fire(signal, "value")
    scheduler.fire(signal, "too late")
    assert told == []
    scheduler.advance_to(3)
    assert told == [(SERVICE_LANE, "value"), (CLIENT_1, "value"), (CLIENT_2, "value")]


def test_signal_that_was_fired_makes_nobody_wait(scheduler, told):
    signal = Signal("fired")
    scheduler.fire(signal, 7)
    scheduler.spawn(waits(told, "flow", signal), CLIENT_1, "flow")
    scheduler.advance_to(0)
    assert told == [("flow", 7)]


def test_parent_goes_on_in_the_step_in_which_its_child_ends(scheduler, told):
    """As it would if the child had never waited; the deadline is gone then."""
    child = scheduler.spawn(waits(told, "child", 10), CLIENT_1, "child")
    parent = scheduler.spawn(waits(told, "parent", Join(child, 100)), CLIENT_1, "parent")
    scheduler.spawn(waits(told, "other", 10), CLIENT_1, "other")
    scheduler.advance_to(10)
    assert told == [("child", None), ("parent", True), ("other", None)]
    assert parent.done
    assert scheduler.idle


@pytest.mark.parametrize(("took", "in_time"), [(99, True), (100, True), (101, False)])
def test_join_waits_until_its_deadline_inclusive(scheduler, told, took, in_time):
    child = scheduler.spawn(waits(told, "child", took), CLIENT_1, "child")
    child.collect = lambda task: None
    scheduler.spawn(waits(told, "parent", Join(child, 100)), CLIENT_1, "parent")
    scheduler.advance_to(200)
    assert ("parent", in_time) in told
    assert ("child", None) in told, "a child goes on after its parent has lost patience"


def test_child_may_fail_after_its_parent_lost_patience(scheduler, told):
    """Nobody is left to hear it, so it needs a collector of its own."""

    def failing():
        yield 50
        raise ValueError("nobody's")

    collected = []
    child = scheduler.spawn(failing(), CLIENT_1, "child")
    child.collect = collected.append
    scheduler.spawn(waits(told, "parent", Join(child, 10)), CLIENT_1, "parent")
    scheduler.advance_to(100)
    assert told == [("parent", False)]
    assert collected == [child]
    with pytest.raises(ValueError, match="nobody's"):
        child.result()


def test_join_of_an_ended_task_makes_nobody_wait(scheduler, told):
    child = scheduler.spawn(waits(told, "child"), CLIENT_1, "child")
    scheduler.advance_to(0)
    scheduler.spawn(waits(told, "parent", Join(child, 10)), CLIENT_1, "parent")
    scheduler.advance_to(0)
    assert told == [("parent", True)]


def test_error_of_a_task_that_nobody_collects_is_raised_where_it_happens(scheduler):
    """A broken sweep must not vanish."""

    def broken():
        yield 10
        raise ValueError("broken sweep")

    scheduler.spawn(broken(), SERVICE_LANE, "sweep", background=True)
    with pytest.raises(ValueError, match="broken sweep"):
        scheduler.advance_to(20)
    scheduler.advance_to(30)
    assert scheduler.now_ns == 30


def test_adopted_flow_goes_on_from_where_it_waits(scheduler, told):
    flow = waits(told, "flow", 10, 20)
    task = scheduler.adopt(flow, next(flow), CLIENT_1, "flow")
    scheduler.advance_to(10)
    assert told == [("flow", None)]
    assert not task.done
    scheduler.advance_to(30)
    assert task.done


# -- interrupting and ending ------------------------------------------------------------


class PowerLost(Exception):
    """What an HSM's death does to those that it serves."""


def guarded(told, wait):
    try:
        told.append((yield wait))
    except PowerLost:
        told.append("power lost")
        yield 5
    told.append("went on")


@pytest.mark.parametrize("wait", ["time", "signal", "task"])
def test_interrupted_task_meets_the_error_in_its_turn(scheduler, told, wait):
    """Whatever it waited for is forgotten, and may come later without harm."""
    signal, child = Signal("never mind"), scheduler.spawn(waits([], "child", 50), CLIENT_2, "child")
    child.collect = lambda task: None
    awaited = {"time": 40, "signal": signal, "task": Join(child, 45)}[wait]
    task = scheduler.spawn(guarded(told, awaited), CLIENT_1, "guarded")
    scheduler.advance_to(10)
    scheduler.interrupt(task, PowerLost())
    assert told == []
    scheduler.at(10, note(told, "service first"), SERVICE_LANE)
    scheduler.advance_to(10)
    assert told == ["service first", "power lost"]
    scheduler.fire(signal)
    scheduler.advance_to(100)
    assert told == ["service first", "power lost", "went on"]
    assert (task.done, child.done) == (True, True)
    assert scheduler.idle


def test_second_interrupt_of_one_instant_takes_the_place_of_the_first(scheduler, told):
    task = scheduler.spawn(guarded(told, 40), CLIENT_1, "guarded")
    scheduler.advance_to(10)
    scheduler.interrupt(task, PowerLost())
    scheduler.interrupt(task, PowerLost())
    scheduler.advance_to(100)
    assert told == ["power lost", "went on"]


def test_interrupt_overtakes_a_signal_of_the_same_instant(scheduler, told):
    """A task that was just woken has not gone on yet."""
    signal = Signal("resumed")
    task = scheduler.spawn(guarded(told, signal), CLIENT_1, "guarded")
    scheduler.advance_to(10)
    scheduler.fire(signal)
    scheduler.interrupt(task, PowerLost())
    scheduler.advance_to(10)
    assert told == ["power lost"]


def test_interrupting_an_ended_task_is_harmless(scheduler, told):
    task = scheduler.spawn(waits(told, "flow"), CLIENT_1, "flow")
    scheduler.advance_to(0)
    scheduler.interrupt(task, PowerLost())
    assert scheduler.idle


def test_interrupted_background_task_stays_in_the_background(scheduler, told):
    task = scheduler.spawn(guarded(told, 1_000), SERVICE_LANE, "flapping", background=True)
    scheduler.advance_to(10)
    scheduler.interrupt(task, PowerLost())
    assert scheduler.idle
    child = scheduler.spawn(waits(told, "child", 1_000), SERVICE_LANE, "child", background=True)
    scheduler.spawn(waits(told, "parent", Join(child, 500)), SERVICE_LANE, "parent", background=True)
    scheduler.advance_to(10)
    assert scheduler.idle


def test_interrupted_child_tells_its_parent(scheduler, told):
    """The parent goes on in the step in which the child dies of it."""

    def child():
        yield 40

    def parent(task):
        told.append((yield Join(task, 100)))
        try:
            task.result()
        except PowerLost:
            told.append(scheduler.now_ns)

    task = scheduler.spawn(child(), CLIENT_1, "child")
    scheduler.spawn(parent(task), CLIENT_1, "parent")
    scheduler.advance_to(10)
    scheduler.interrupt(task, PowerLost())
    scheduler.advance_to(100)
    assert told == [True, 10]


def test_ended_task_is_closed_and_nobody_hears_of_it(scheduler, told):
    def flow():
        try:
            yield 40
        finally:
            told.append("closed")

    task = scheduler.spawn(flow(), CLIENT_1, "flow")
    task.collect = told.append
    scheduler.advance_to(10)
    scheduler.end(task)
    scheduler.end(task)
    scheduler.advance_to(100)
    assert told == ["closed"]
    assert scheduler.idle


def test_end_all_stops_the_world(scheduler, told):
    """No task, no timer, nothing due, and nobody can drive any more."""
    for lane in (CLIENT_1, CLIENT_2):
        scheduler.spawn(waits(told, lane, 10, Signal("never")), lane, "flow")
    scheduler.at(50, note(told, "timer"))
    scheduler.advance_to(10)
    scheduler.end_all()
    assert scheduler.idle
    assert scheduler.next_due_ns() is None
    with pytest.raises(UsageError, match="closed"):
        scheduler.advance_to(100)
    assert told == [(CLIENT_1, None), (CLIENT_2, None)]


# -- who waits, and who drives ------------------------------------------------------------


def test_who_waits_says_for_what_and_since_when(scheduler, told):
    """Also which task, and that somebody's turn just has not come."""
    held = Signal("release of hold @ wire.response")
    child = scheduler.spawn(waits(told, "child", 2_000_000_000, held), CLIENT_1, "sign on hsm-1")
    scheduler.spawn(waits(told, "parent", Join(child, 1 << 60)), CLIENT_1, "app: sign", after_ns=500_000)
    scheduler.advance_to(2_000_000_000)
    scheduler.spawn(waits(told, "new"), CLIENT_2, "other: login")
    assert scheduler.who_waits().splitlines() == [
        "nothing can happen any more at 2.000000 s; who waits:",
        "  sign on hsm-1: for release of hold @ wire.response, since 2.000000 s",
        "  app: sign: for 'sign on hsm-1' to end, since 0.000500 s",
        "  other: login: for its turn, since 2.000000 s",
    ]


def test_driving_from_inside_a_step_is_refused(scheduler):
    """A hook that calls the cluster would take the time of those who wait."""
    refused = []

    def hook():
        with pytest.raises(UsageError, match="from inside a step of the same cluster") as caught:
            scheduler.advance_to(99)
        refused.append(caught.value)

    scheduler.at(5, hook)
    scheduler.advance_to(10)
    assert len(refused) == 1
    assert scheduler.now_ns == 10
    scheduler.advance_to(20)
    assert scheduler.now_ns == 20


def test_after_an_error_somebody_else_may_drive(scheduler):
    def broken():
        raise ValueError("broken")

    scheduler.at(5, broken)
    with pytest.raises(ValueError, match="broken"):
        scheduler.advance_to(10)
    assert not scheduler.stepping
    assert scheduler.ahead(1_000_000)
