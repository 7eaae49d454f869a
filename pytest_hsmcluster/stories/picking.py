"""Who chooses, when a story is drawn?

Everything that is drawn is drawn from short lists, the simplest choice first.  A seed's dice choose, or Hypothesis
does, which can then shrink towards the simplest.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ..sim.entropy import Stream

T = TypeVar("T")

GENES = 20
"""How many bytes decide about one step: one for each choice; what is left without is the simplest."""


class Pick(Protocol):
    """Chooses one of some options; there is at least one, and the first is the simplest."""

    def __call__(self, options: Sequence[T], /) -> T: ...


class Genes:
    """Chooses by bytes, one after the other; when they are used up it chooses the simplest."""

    __slots__ = ("_bytes", "_next")

    def __init__(self, genes: bytes) -> None:
        self._bytes = genes
        self._next = 0

    def __call__(self, options: Sequence[T], /) -> T:
        at = self._next
        if at == len(self._bytes):
            return options[0]
        self._next = at + 1
        return options[self._bytes[at] % len(options)]


def genes_of(seed: int, count: int, stream: str = "story") -> list[bytes]:
    """Return the genes of so many steps: the same for the same seed, on every machine and Python version."""
    dice = Stream(seed, stream)
    return [dice(GENES) for _ in range(count)]
