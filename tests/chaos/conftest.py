"""Clusters to break; each is closed, and so audited, at the end of its test."""

from collections.abc import Callable, Iterator

import pytest

from pytest_hsmcluster import HsmCluster


@pytest.fixture
def make() -> Iterator[Callable[..., HsmCluster]]:
    made: list[HsmCluster] = []

    def cluster(hsms: int = 3, **arguments: object) -> HsmCluster:
        one = HsmCluster(hsms, **{"seed": 1, **arguments})  # type: ignore[arg-type]
        made.append(one)
        return one

    yield cluster
    for one in reversed(made):
        one.close()


def holders(cluster: HsmCluster, label: str) -> list[str]:
    """Return the ids of the HSMs that hold a key of this label."""
    return [hsm.id for hsm in cluster.hsms if any(key.label == label for key in hsm.keys.values())]


@pytest.fixture(name="holders")
def holders_of() -> Callable[[HsmCluster, str], list[str]]:
    return holders
