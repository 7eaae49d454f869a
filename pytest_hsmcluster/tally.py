"""How much of us did a run use?"""

from dataclasses import asdict, dataclass, field
from typing import Any, cast

import pytest

from .options import CACHED_SEED, SETTINGS
from .parts import part
from .trial import Trial


@dataclass(slots=True)
class Tally:
    """How much of us a run used; one in each process, summed up at the controller."""

    tests: int = 0
    clusters: int = 0
    hits: int = 0
    sdks: list[int] = field(default_factory=list)
    clocks: list[str] = field(default_factory=list)
    exposed_ns: list[int] = field(default_factory=list)

    def count(self, trial: Trial) -> None:
        """Count one run of a test."""
        self.tests += bool(trial.clusters)
        for cluster in trial.clusters:
            hits = cluster.chaos.hits
            clock = "real" if cluster.clock.real else "virtual"
            exposed = cluster.check.exposed_ns or []
            self.add(
                {"clusters": 1, "hits": hits, "sdks": [cluster.profile.sdk], "clocks": [clock], "exposed_ns": exposed}
            )

    def add(self, other: dict[str, Any]) -> None:
        """Add what another process counted: `export` of its tally."""
        self.tests += other.get("tests", 0)
        self.clusters += other["clusters"]
        self.hits += other["hits"]
        self.sdks = sorted({*self.sdks, *other["sdks"]})
        self.clocks = sorted({*self.clocks, *other["clocks"]})
        self.exposed_ns += other["exposed_ns"]

    def export(self) -> dict[str, Any]:
        """Return the numbers in JSON's types."""
        return asdict(self)

    def keep(self, cache: pytest.Cache, config: pytest.Config) -> None:
        """Leave the seed for `--hsm-seed=last`."""
        cache.set(CACHED_SEED, config.stash[SETTINGS].seed)

    def fails(self, config: pytest.Config) -> bool:
        return False

    def report(self, terminal: Any, config: pytest.Config) -> None:
        """Write one line below the run, unless it is a quiet one."""
        if config.get_verbosity() >= 0:
            terminal.section("hsmcluster")
            terminal.write_line(f"{self}; seed {config.stash[SETTINGS].seed}")
            if self.exposed_ns:
                terminal.write_line(self.exposure())

    def exposure(self) -> str:
        """Return how long keys were exposed, in those tests that asked."""
        from .checkers.exposure import percentile

        shown = [f"p{percent} {percentile(self.exposed_ns, percent) / 1e9:.3f} s" for percent in (50, 90, 99)]
        return f"exposure of {counted(len(self.exposed_ns), 'key')}: {', '.join(shown)}"

    def __str__(self) -> str:
        sdks = " and ".join(map(str, self.sdks))
        used = f"{counted(self.tests, 'test')} used {counted(self.clusters, 'cluster')}"
        return f"{used} (SDK {sdks}, {' and '.join(self.clocks)} clock); {counted(self.hits, 'fault')} struck"


def tally_of(config: pytest.Config) -> Tally:
    """Return the tally of this process, a new one at first."""
    return cast(Tally, part(config, "tally"))


def counted(number: int, what: str) -> str:
    """Return `1 fault`, `2 faults`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
