"""What do we keep with pytest's own objects?"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from .cluster import HsmCluster
    from .trial import Trial

    Storm = Callable[[HsmCluster], Iterable[str]]


class Case(NamedTuple):
    """A run of a test under other circumstances than its own.

    Attributes:
        test: identity of the test: its node id as collected.
        label: what its node id says between the brackets; empty for what is not reported under an id of its own.
        specs: faults that are installed after those of its markers.
        storm: draws further faults, once the cluster is there.
        may_miss: whether these may never fire.
        mutant: name of the wrong cluster that it gets, or None.
        reported: whether anybody hears of it.
        sections: (title, text) pairs that a report of its failure says too.
        order: the hand-over order of its clusters, or None: the one that they have anyway.
    """

    test: str
    label: str
    specs: tuple[str, ...] = ()
    may_miss: bool = False
    mutant: str | None = None
    reported: bool = True
    storm: "Storm | None" = None
    sections: tuple[tuple[str, str], ...] = ()
    order: int | None = None


class Part(Protocol):
    """What the processes of a run count of one thing; the controller adds up those of its workers."""

    def export(self) -> Any:
        """Return what was counted, in JSON's types."""

    def add(self, other: Any) -> None:
        """Add what `export` of another process returned."""

    def keep(self, cache: pytest.Cache, config: pytest.Config) -> None:
        """Leave in pytest's cache what the next run asks for."""

    def fails(self, config: pytest.Config) -> bool:
        """Whether the sum fails a run in which no test failed."""

    def report(self, terminal: Any, config: pytest.Config) -> None:
        """Write the sum at the end of the run."""


TRIAL: "pytest.StashKey[Trial]" = pytest.StashKey()
"""With an item: what it has of ours while it runs."""
CASE: pytest.StashKey[Case] = pytest.StashKey()
"""With an item: what makes it a case, if it is one."""
JUDGED: pytest.StashKey[int] = pytest.StashKey()
"""With an item: how many markers of ours it had when they were looked at."""
PARTS: pytest.StashKey[dict[str, Part]] = pytest.StashKey()
"""With the configuration: what this process has counted, by name; see `parts`."""
