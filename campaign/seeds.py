"""What does a seed tell, and what is wrong with it?"""

from collections.abc import Iterator
from itertools import islice

from pytest_hsmcluster.sim.entropy import Stream
from pytest_hsmcluster.stories.drawing import SHAPES, drawn, scenario
from pytest_hsmcluster.stories.story import Story

from . import check_themes, clean, client_themes, service_themes
from .oracle import disagreements, unlike
from .staging import Theme

THEMES = (*client_themes.THEMES, *service_themes.THEMES, *check_themes.THEMES)
MOST = 5
"""Disagreements that are told of one seed: the first says most."""


def broken(seed: int) -> list[str]:
    """Return what disagrees with the truth in what a seed tells; an exception of the emulation's own does too."""
    try:
        return list(islice(_told(seed), MOST))
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def title(seed: int) -> str:
    """Return what a seed tells: of five, two are themes, one is a clean story, one a short one and one a long one."""
    kind, number = seed % 5, seed // 5
    if kind < 2:
        return f"the theme {_theme(seed).__name__}"
    story = _story(kind, number)
    return f"{story.shape}\n{story}"


def _told(seed: int) -> Iterator[str]:
    kind, number = seed % 5, seed // 5
    if kind < 2:
        theme = _theme(seed)
        yield from theme(Stream(seed, theme.__name__))
    elif kind == 2:
        yield from clean.disagreements(_story(kind, number))
    else:
        yield from disagreements(_story(kind, number))
        if number % 4 == 0:
            yield from unlike(_story(kind, number))


def _theme(seed: int) -> Theme:
    return THEMES[(seed % 5 + 2 * (seed // 5)) % len(THEMES)]


def _story(kind: int, number: int) -> Story:
    if kind == 2:
        return drawn(number, shape=clean.PATIENT[number % len(clean.PATIENT)])
    shape = SHAPES[number % len(SHAPES)]
    return scenario(number, shape, faults=1 + number % 2) if kind == 3 else drawn(number, shape=shape)
