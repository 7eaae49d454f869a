"""Clusters for tests of the contract: SDK 3, no sweep of its own, calls go to hsm-1 first."""

from collections.abc import Callable, Iterator

import pytest

from pytest_hsmcluster import HsmCluster


@pytest.fixture
def make() -> Iterator[Callable[..., HsmCluster]]:
    """`make(hsms, **arguments)` makes a cluster that is closed, and so audited, with the test."""
    made: list[HsmCluster] = []

    def cluster(hsms: int = 3, **arguments: object) -> HsmCluster:
        shape = {"sdk": 3, "seed": 1, "sweep": False, "routing": "pinned", "pinned_to": "hsm-1", **arguments}
        if shape["routing"] != "pinned":
            del shape["pinned_to"]
        made.append(HsmCluster(hsms, **shape))  # type: ignore[arg-type]
        return made[-1]

    yield cluster
    for one in reversed(made):
        one.close()


@pytest.fixture
def holders() -> Callable[[HsmCluster, str], list[str]]:
    """`holders(cluster, label)` returns the ids of the HSMs that hold a key of this label."""
    return lambda cluster, label: [h.id for h in cluster.hsms if any(k.label == label for k in h.keys.values())]
