"""Do applications retry in simulated time as they do in production, with the libraries that they use there?

In each test an application wants a key while HSMs are being replaced, for half an hour.
"""

import asyncio
import time
from collections.abc import Iterator

import pytest

from pytest_hsmcluster import AsyncClient, Client, ClusterError, HsmCluster, KeyHandle

backoff = pytest.importorskip("backoff", reason="pip install backoff")
stamina = pytest.importorskip("stamina", reason="pip install stamina")
tenacity = pytest.importorskip("tenacity", reason="pip install tenacity")

HALF_AN_HOUR_S = 1800.0

pytestmark = pytest.mark.usefixtures("app_time")


@pytest.fixture
def cluster() -> Iterator[HsmCluster]:
    """One HSM, which is lost: its replacement joins half an hour later."""
    with HsmCluster(1, seed=7, join_ready_s=HALF_AN_HOUR_S) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: HsmCluster) -> Client:
    client = cluster.client()
    cluster.chaos.replace("hsm-1")
    return client


@pytest.fixture
def async_client(cluster: HsmCluster) -> AsyncClient:
    client = cluster.async_client()
    cluster.chaos.replace("hsm-1")
    return client
