"""Clusters for tests of the service: each is closed, and so audited, when its test ends."""

import pytest

from pytest_hsmcluster import HsmCluster


@pytest.fixture
def build():
    """Return a function that builds clusters, of SDK 3 unless it is told otherwise."""
    built = []

    def make(hsms=3, **arguments):
        arguments.setdefault("sdk", 3)
        built.append(HsmCluster(hsms, **arguments))
        return built[-1]

    yield make
    for cluster in built:
        cluster.close()


@pytest.fixture
def holders():
    """Return a function that says which HSMs hold a key, by label."""

    def of(cluster, label):
        return [hsm.id for hsm in cluster.service.hsms.values() for key in hsm.keys.values() if key.label == label]

    return of


@pytest.fixture
def partial(build):
    """Return a function that makes a key on hsm-1 only, in a cluster without periodic sweeps."""

    def make(cluster, label="k", *, lacking=("hsm-2", "hsm-3")):
        client = cluster.client("maker")
        faults = [cluster.chaos.inject(f"drop @ client.clone hsm={hsm}") for hsm in lacking]
        with cluster.chaos.route_to("hsm-1"):
            key = client.generate_key("AES", 256, label=label)
        for fault in faults:
            fault.remove()
        return client, key

    return make
