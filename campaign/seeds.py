"""What does a seed tell, and what is wrong with it?"""

from collections.abc import Iterator
from itertools import islice

from pytest_hsmcluster.sim.entropy import Stream
from pytest_hsmcluster.stories.drawing import SHAPES, drawn, scenario
from pytest_hsmcluster.stories.story import Story

from . import check_themes, clean, client_themes, service_themes
from .oracle import disagreements, unlike

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
    """Return what a seed tells, as text."""
    kind, number = seed % 5, seed // 5
    if kind == 4:
        return f"the theme {THEMES[number % len(THEMES)].__name__}"
    story = _story(kind, number)
    return f"{story.shape}\n{story}"


def _told(seed: int) -> Iterator[str]:
    kind, number = seed % 5, seed // 5
    if kind == 4:
        theme = THEMES[number % len(THEMES)]
        yield from theme(Stream(number, theme.__name__))
    elif kind in (2, 3):
        yield from clean.disagreements(_story(kind, number))
    else:
        yield from disagreements(_story(kind, number))
        if number % 4 == 0:
            yield from unlike(_story(kind, number))


def _story(kind: int, number: int) -> Story:
    shapes = SHAPES if kind < 2 else clean.PATIENT
    shape = shapes[number % len(shapes)]
    if kind == 0:
        return scenario(number, shape, faults=1 + number % 2)
    return scenario(number, shape, calls=8) if kind == 3 else drawn(number, shape=shape)
