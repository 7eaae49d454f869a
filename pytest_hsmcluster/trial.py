"""What does one test have of ours: its seed, its clusters, its faults?"""

from typing import TYPE_CHECKING, Any

import pytest

from .identities import identity
from .markers import chaos_specs, checks_asked, cluster_arguments
from .options import SETTINGS

if TYPE_CHECKING:
    from .cluster import HsmCluster


class Trial:
    """One run of one test.

    Attributes:
        item: the test.
        seed: its own seed; all its clusters' are derived from it.
        clusters: in the order in which they were made.
        findings: what the end-of-test checks found; None until they ran.
    """

    def __init__(self, item: pytest.Item) -> None:
        from .sim.entropy import derive_seed

        self.item = item
        self.settings = item.config.stash[SETTINGS]
        self.arguments = cluster_arguments(item)
        own = self.arguments.pop("seed", None)
        self.seed = derive_seed(self.settings.seed, identity(item)) if own is None else own
        self.clusters: list[HsmCluster] = []
        self.findings: list[str] | None = None
        self._in_call = False

    @property
    def specs(self) -> tuple[str, ...]:
        """Faults and scenarios to install, in order: the marker's, other plugins', the command line's."""
        hook = self.item.ihook.pytest_hsm_faults(item=self.item)
        return (*chaos_specs(self.item), *(str(spec) for specs in hook for spec in specs or ()), *self.settings.chaos)

    @property
    def checks(self) -> tuple[str, ...]:
        """Names of the checks that apply at the end."""
        asked = checks_asked(self.item)
        if asked is None:
            asked = self.settings.checks
        elif not asked:
            return ()
        return tuple(dict.fromkeys(("no_lost_keys", *asked)))

    def cluster(self, **arguments: Any) -> "HsmCluster":
        """Return a new cluster; what is given comes before the marker, other plugins' profiles, options and ini."""
        from .cluster import HsmCluster
        from .sim.entropy import derive_seed

        number = len(self.clusters) + 1
        seed = self.seed if number == 1 else derive_seed(self.seed, "", f"cluster {number}")
        wanted: dict[str, Any] = {"seed": seed, **dict(self.settings.defaults)}
        for profile in self.item.ihook.pytest_hsm_profile(config=self.item.config):
            wanted.update(profile or {})
        cluster = HsmCluster(**{**wanted, **self.arguments, **arguments})
        self.clusters.append(cluster)
        if self._in_call and number == 1:
            self._install()
        return cluster

    def begin_call(self) -> None:
        """Install the faults: what fixtures did before was the peace before the storm."""
        self._in_call = True
        if self.clusters:
            self._install()

    def close(self) -> None:
        """Close every cluster, the newest first, also when closing one fails."""
        while self.clusters:
            try:
                self.clusters.pop().close()
            finally:
                if self.clusters:
                    self.close()

    def _install(self) -> None:
        for spec in self.specs:
            self.clusters[0].chaos.install(spec)


TRIAL = pytest.StashKey[Trial]()
