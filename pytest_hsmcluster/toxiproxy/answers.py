"""What does a Toxiproxy server say?"""

from collections.abc import Mapping
from dataclasses import dataclass

from .roads import Address


class ToxiproxyError(Exception):
    """The Toxiproxy server does not answer, or refuses what it was asked."""


class NotThere(ToxiproxyError):
    """The server knows no proxy or toxic of that name."""


@dataclass(frozen=True, slots=True)
class Toxic:
    """A toxic as the server has it; `attributes` in its own names and units."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy as the server has it."""

    name: str
    listen: Address
    upstream: str
    enabled: bool
    toxics: tuple[Toxic, ...]
