"""Is a story the same story, however it is driven?"""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fates import OFTEN, SHAPES, VERBS
from tests.stories import Story, drawn, play, play_at_once, play_awaiting

NUMBERS = st.integers(0, 511)
STEPS = st.tuples(
    st.sampled_from([verb for verb in VERBS for _ in range(OFTEN.get(verb, 1))]), st.integers(0, 7), NUMBERS, NUMBERS
)
STORIES = st.builds(
    Story,
    shape=st.integers(0, len(SHAPES) - 1),
    clients=st.integers(1, 3),
    steps=st.lists(STEPS, min_size=4, max_size=30).map(tuple),
    seed=st.integers(0, 1000),
)
THOROUGH = settings(
    max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)


def same(one, other):
    assert one.first_difference(other) is None, one.first_difference(other)


@THOROUGH
@given(STORIES)
@example(drawn(3))
@example(drawn(12))
def test_one_story_gives_one_journal_under_every_driver(story):
    """Blocking or awaited, with the fast path or without it, once or again: all are told and write the same."""
    told = play(story)
    same(told, play_awaiting(story))
    same(told, play(story, run_ahead=False))
    same(told, play_awaiting(story, run_ahead=False))
    same(told, play(story, keys="seeded"))
    same(told, play(story))


@THOROUGH
@given(STORIES)
@example(drawn(5))
@example(drawn(16))
def test_calls_at_the_same_time_give_one_journal_with_and_without_the_fast_path(story):
    """Six strands at once, some of them cancelled: the order of one instant is decided by lanes, never by luck."""
    told = play_at_once(story)
    same(told, play_at_once(story, run_ahead=False))
    same(told, play_at_once(story))
