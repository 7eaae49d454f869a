"""Clusters for stories from the field; each is closed, and so audited, at the end of its test."""

import pytest

from pytest_hsmcluster import HsmCluster


@pytest.fixture
def make():
    """Return a function that builds clusters."""
    made = []

    def cluster(hsms=3, **arguments):
        made.append(HsmCluster(hsms, **{"seed": 1, **arguments}))
        return made[-1]

    yield cluster
    for one in reversed(made):
        one.close()


@pytest.fixture
def holders():
    """Return a function that says which HSMs hold a key, by label."""

    def of(cluster, label):
        return [hsm.id for hsm in cluster.hsms if any(key.label == label for key in hsm.keys.values())]

    return of
