"""What can a test ask for?"""

import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .trial import TRIAL, Trial

if TYPE_CHECKING:
    from faker import Faker

    from .chaos import Chaos
    from .checkers.check import HsmCheck
    from .client.awaiting import AsyncClient
    from .client.blocking import Client
    from .cluster import HsmCluster
    from .history.history import History
    from .sim.clock import HsmClock


@pytest.fixture
def _hsm_trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    """What this test has of ours; closes it."""
    trial = Trial(request.node)
    request.node.stash[TRIAL] = trial
    yield trial
    del request.node.stash[TRIAL]
    trial.close()


@pytest.fixture
def hsm_cluster(request: pytest.FixtureRequest, _hsm_trial: Trial) -> "HsmCluster":
    """A fresh emulated CloudHSM cluster with real keys, shaped by the marker `hsm_cluster`."""
    cluster = _hsm_trial.cluster()
    if isinstance(request.instance, unittest.TestCase):
        request.instance.hsm_cluster = cluster  # type: ignore[attr-defined]
    return cluster


@pytest.fixture
def hsm_client(hsm_cluster: "HsmCluster") -> "Client":
    """An application process `app`, logged in as the default crypto user; its calls block."""
    return hsm_cluster.client("app")


@pytest.fixture
def hsm_async_client(hsm_cluster: "HsmCluster") -> "AsyncClient":
    """An application process `app`, logged in as the default crypto user; its calls are awaited."""
    return hsm_cluster.async_client("app")


@pytest.fixture
def hsm_chaos(hsm_cluster: "HsmCluster") -> "Chaos":
    """Break the test's cluster: faults and hardships."""
    return hsm_cluster.chaos


@pytest.fixture
def hsm_check(hsm_cluster: "HsmCluster") -> "HsmCheck":
    """Assertions about the keys of the test's cluster."""
    return hsm_cluster.check


@pytest.fixture
def hsm_history(hsm_cluster: "HsmCluster") -> "History":
    """What happened in the test's cluster."""
    return hsm_cluster.history


@pytest.fixture
def hsm_clock(hsm_cluster: "HsmCluster") -> "HsmClock":
    """The simulated time of the test's cluster."""
    return hsm_cluster.clock


@pytest.fixture
def hsm_cluster_factory(_hsm_trial: Trial) -> Callable[..., "HsmCluster"]:
    """Make another cluster, or one of another shape; closed and checked with the test."""
    return _hsm_trial.cluster


@pytest.fixture
def hsm_config_file(hsm_cluster: "HsmCluster", tmp_path: Path) -> Callable[..., Path]:
    """Write the SDK's configuration file for the test's cluster into `tmp_path`."""

    def write(**settings: Any) -> Path:
        from .client.config import sdk3_config, sdk5_config, write_config

        ips = [hsm.ip for hsm in hsm_cluster.hsms]
        if hsm_cluster.profile.sdk == 3:
            settings = {"create_object_minimum_nodes": hsm_cluster.minimum, **settings}
            return write_config(sdk3_config(hostname=ips[0], **settings), tmp_path / "cloudhsm_client.cfg")
        return write_config(sdk5_config(hostnames=ips, **settings), tmp_path / "cloudhsm-pkcs11.cfg")

    return write


@pytest.fixture
def hsm_faker(_hsm_trial: Trial) -> "Faker":
    """A `faker.Faker`, seeded from the test's seed, that knows key labels, user names, PINs and payloads."""
    from faker import Faker

    fake = Faker()
    fake.seed_instance(_hsm_trial.seed)
    return fake
