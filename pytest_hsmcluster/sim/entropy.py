"""Where do reproducible dice come from?

One seed is split into named streams, so that one more fault does not shift another's dice.
A stream is SHA-256 in counter mode over seed and name: the same on every machine and
Python version, which `random` promises for some of its methods only.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from ..errors import UsageError

T = TypeVar("T")


class Stream:
    """Reproducible bytes and draws.

    Calling a stream gives bytes, so that it can stand wherever a source of bytes is wanted.
    """

    __slots__ = ("_block", "_buffer", "_prefix")

    def __init__(self, seed: int, name: str) -> None:
        self._prefix = f"{seed}/{name}/".encode()
        self._block = 0
        self._buffer = b""

    def __call__(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        while len(self._buffer) < count:
            self._buffer += hashlib.sha256(self._prefix + self._block.to_bytes(8)).digest()
            self._block += 1
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def below(self, limit: int) -> int:
        """Return an integer in [0, limit), each as likely as the others."""
        if limit < 1:
            raise UsageError(f"nothing to draw from: limit is {limit}")
        size = (limit.bit_length() + 7) // 8
        top = (1 << 8 * size) // limit * limit
        while (drawn := int.from_bytes(self(size))) >= top:
            pass
        return drawn % limit

    def chance(self, probability: float) -> bool:
        """Return True with this probability (0…1)."""
        return int.from_bytes(self(7)) < probability * (1 << 56)

    def choice(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.below(len(options))]


class Entropy:
    """One seed, split into named streams."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str) -> Stream:
        """Return a new stream that begins at the beginning; equal names give equal streams."""
        return Stream(self.seed, name)


def derive_seed(base: int, identity: str, stream: str = "test") -> int:
    """Return the seed of one test: 64 bits of SHA-256 over base seed, identity and stream."""
    return int.from_bytes(hashlib.sha256(f"{base}\0{identity}\0{stream}".encode()).digest()[:8])
