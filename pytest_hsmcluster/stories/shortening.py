"""What of a story is needed, so that it still ends as it does?"""

import dataclasses
from collections.abc import Callable

from .story import Story


def shortest(story: Story, ends_so: Callable[[Story], bool]) -> Story:
    """Return a story without the steps that make no difference: half of them at once, a quarter, …, one by one.

    Campaigns leave this to Hypothesis, which also makes simpler what it cannot leave out; here a seed's story becomes
    readable where Hypothesis is not installed.

    Args:
        story: ends so.
        ends_so: says whether another one does; it is asked about (steps) × log(steps) times.
    """
    size = max(1, len(story.steps) // 2)
    while True:
        index, before = 0, len(story.steps)
        while index < len(story.steps):
            steps = story.steps[:index] + story.steps[index + size :]
            candidate = dataclasses.replace(story, steps=steps)
            if ends_so(candidate):
                story = candidate
            else:
                index += size
        if size == 1 and len(story.steps) == before:
            return story
        size = max(1, size // 2)
