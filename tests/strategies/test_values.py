"""Is what Hypothesis draws valid, and does its text parse back?"""

from random import Random

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from pytest_hsmcluster import Fault, Point, UsageError
from pytest_hsmcluster.faults.effects import effect_of
from pytest_hsmcluster.faults.spec import parse_fault, parse_scenario
from pytest_hsmcluster.scenarios import SCENARIOS
from pytest_hsmcluster.stories.playing import Player, play
from pytest_hsmcluster.stories.story import CLUSTER, Shape, Step
from pytest_hsmcluster.strategies import calls, effects, faults, hardships, schedules, shapes, stories, whens

ALWAYS_SO = settings(max_examples=3000, database=None, deadline=None)
QUICK = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def plainest(strategy, wanted):
    """Return the plainest that is wanted; the same one in every run."""
    return find(strategy, wanted, settings=ALWAYS_SO, random=Random(1))


@QUICK
@given(shapes())
def test_shape_makes_a_cluster(shape):
    shape.cluster().close()


@QUICK
@given(shapes().flatmap(lambda shape: st.tuples(st.just(shape), faults(shape=shape))))
def test_fault_can_be_installed_in_its_cluster_and_parses_back(drawn):
    shape, fault = drawn
    assert parse_fault(str(fault)) == fault
    with shape.cluster() as cluster:
        cluster.chaos.inject(fault)


@QUICK
@given(st.sampled_from(Point).flatmap(lambda point: st.tuples(st.just(point), effects(point), whens(point))))
def test_effect_and_condition_fit_their_point(drawn):
    """And an effect parses back alone."""
    point, effect, when = drawn
    assert effect.name in point.effects
    assert effect_of(*str(effect).split(" ", 1)) == effect
    assert parse_fault(f"pass @ {point} {' '.join(f'{key}={text}' for key, text in when.given)}").when == when
    Fault(effect, point)


@QUICK
@given(hardships())
def test_hardship_parses_back_with_its_arguments(drawn):
    assert parse_scenario(str(drawn)) == drawn
    SCENARIOS[drawn.name].arguments(drawn)


@QUICK
@given(schedules(most=4, horizon_s=100))
def test_schedule_is_in_order_and_can_be_installed(drawn):
    with Shape().cluster() as cluster:
        begun = [cluster.chaos.install(str(scenario)) for scenario in drawn]
    windows = [one.arguments["during"] for one in begun]
    assert windows == sorted(windows, key=lambda window: window[0])
    assert all(0 <= first <= 100 * 10**9 < last + 100 * 10**9 for first, last in windows)


@QUICK
@given(st.lists(calls(("key_1",), ("pair_1",)), max_size=4))
def test_call_can_be_made_with_the_keys_that_it_was_told_of(drawn):
    with Player(Shape()) as player:
        player.do(Step(CLUSTER, "client", ("app",), gives="app"))
        player.do(Step("app", "generate_key", ("AES", 256), gives="key_1"))
        player.do(Step("app", "generate_key_pair", ("EC", "P-256"), gives="pair_1"))
        for step in drawn:
            told = player.do(step)
            assert told is None or not told.refused


@QUICK
@given(stories(most=12))
def test_story_can_be_played(story):
    played = play(story)
    assert sum(played.outcomes.values()) == len(played.told)


def test_patterns_choose_points_effects_and_scenarios():
    """As a marker's do."""
    strategy = faults("hsm.* wire.request", "crash drop")
    drawn = [
        plainest(strategy, lambda fault, wanted=wanted: fault.effect.name == wanted) for wanted in ("crash", "drop")
    ]
    assert [str(fault) for fault in drawn] == ["crash @ hsm.receive nth=1", "drop @ wire.request nth=1"]
    assert str(plainest(hardships("*-hsm"), lambda one: True)) == "crashed-hsm hsm=hsm-1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: faults("hsm.comit"), r"no point matches 'hsm.comit' \(did you mean 'hsm.commit'\?\)"),
        (lambda: faults(effects="crahs"), r"no effect matches 'crahs' \(did you mean 'crash'\?\)"),
        (lambda: faults("sync.*", "crash"), "no fault can act"),
        (lambda: hardships("fail-cleanup", Shape(3, 5)), "no scenario matches 'fail-cleanup'"),
        (lambda: whens("hsm.comit"), "unknown point 'hsm.comit'"),
    ],
)
def test_what_could_never_be_drawn_is_refused_at_once(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_everything_shrinks_to_the_plainest():
    assert plainest(shapes(), lambda one: True) == Shape(3, 3)
    assert str(plainest(faults("hsm.commit", "crash"), lambda one: True)) == "crash @ hsm.commit nth=1"
    assert len(plainest(stories(), lambda one: True).steps) == 2  # a client and a call
    lost = plainest(stories(most=10), lambda one: play(one).findings)
    assert len(lost.steps) <= 6
