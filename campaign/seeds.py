"""Which story does a seed tell, and what is wrong with it?"""

from pytest_hsmcluster.stories.drawing import SHAPES, drawn, scenario
from pytest_hsmcluster.stories.story import Story

from .oracle import disagreements


def seeded(seed: int) -> Story:
    """Return the story of a seed."""
    if seed % 2:
        return drawn(seed // 2)
    return scenario(seed // 2, SHAPES[seed // 2 % len(SHAPES)])


def broken(seed: int) -> list[str]:
    """Return what disagrees with the truth in the story of a seed; an exception of the emulation's own is that too."""
    try:
        return list(disagreements(seeded(seed)))
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
