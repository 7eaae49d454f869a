"""What is told a thousand times: which story is told how?"""

from collections.abc import Callable

from pytest_hsmcluster.stories.drawing import drawn as written
from pytest_hsmcluster.stories.playing import play as played
from tests.determinism.idioms import in_all_ways
from tests.fates import SHAPES
from tests.stories import Telling, drawn, play, play_at_once, play_awaiting

Teller = Callable[[int], Telling]
"""Tells the story with a number and returns what came of it."""


def _published(number: int) -> Telling:
    """Tell a story of those that campaigns are made of."""
    history = played(written(number)).history
    return Telling([], list(history.records), history.digest())


DOORS: tuple[Teller, ...] = (
    lambda number: play(drawn(number)),
    lambda number: play_awaiting(drawn(number)),
    lambda number: play_at_once(drawn(number)),
    in_all_ways,
    _published,
)
"""Blocking clients, awaited ones, both at the same time, all ways to await; and the stories of the package itself."""


def every_kind(number: int) -> Telling:
    """Tell a drawn story: of each shape of cluster through each door in turn."""
    return DOORS[number // len(SHAPES) % len(DOORS)](number)
