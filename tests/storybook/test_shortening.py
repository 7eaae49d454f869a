"""What of a story is needed, so that it still ends as it does?"""

from pytest_hsmcluster.stories.drawing import drawn
from pytest_hsmcluster.stories.playing import play
from pytest_hsmcluster.stories.shortening import shortest
from pytest_hsmcluster.stories.story import Shape, Step, Story


def story(*names):
    return Story(Shape(), tuple(Step("app", name) for name in names))


def test_steps_that_make_no_difference_are_left_out():
    long = story(*"abcdefghijklm")
    short = shortest(long, lambda one: {"c", "k"} <= {step.does for step in one.steps})
    assert short == story("c", "k")


def test_nothing_is_left_of_a_story_that_always_ends_so():
    assert shortest(story(*"abc"), lambda one: True).steps == ()


def test_story_that_needs_all_its_steps_stays_as_it_is():
    all_of_them = story(*"abcde")
    assert shortest(all_of_them, lambda one: one == all_of_them) == all_of_them


def test_shortened_story_of_a_lost_key_still_loses_one():
    """And none of its steps can be left out."""

    def loses(one):
        return bool(play(one).findings)

    long = next(drawn(seed) for seed in range(100) if loses(drawn(seed)))
    short = shortest(long, loses)
    assert loses(short)
    assert len(short.steps) < 8
    assert not any(loses(short.without(index)) for index in range(len(short.steps)))
