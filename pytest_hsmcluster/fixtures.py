"""What can a test ask for?"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .keeping import TRIAL

if TYPE_CHECKING:
    from faker import Faker

    from .chaos import Chaos
    from .checkers.check import HsmCheck
    from .client.awaiting import AsyncClient
    from .client.blocking import Client
    from .cluster import HsmCluster
    from .history.history import History
    from .pkcs11.door import Pkcs11Door
    from .sim.clock import HsmClock
    from .toxiproxy.server import ToxiproxyServer
    from .trial import Trial


@pytest.fixture
def _hsm_trial(request: pytest.FixtureRequest) -> "Iterator[Trial]":
    """What this run of the test has of ours; its clusters are closed with it."""
    from .trial import Trial

    trial = request.node.stash[TRIAL] = Trial(request.node)
    yield trial
    trial.close()


@pytest.fixture
def hsm_cluster(_hsm_trial: "Trial") -> "HsmCluster":
    """A fresh emulated CloudHSM cluster with real keys, shaped by the marker `hsm_cluster`.

    In a `unittest.TestCase` it is also `self.hsm_cluster`.
    """
    return _hsm_trial.own_cluster()


@pytest.fixture
def hsm_client(hsm_cluster: "HsmCluster") -> "Client":
    """An application process `app` of the test's cluster, logged in; its calls block."""
    return hsm_cluster.client("app")


@pytest.fixture
def hsm_async_client(hsm_cluster: "HsmCluster") -> "AsyncClient":
    """An application process `app` of the test's cluster, logged in; its calls are awaited."""
    return hsm_cluster.async_client("app")


@pytest.fixture
def hsm_chaos(hsm_cluster: "HsmCluster") -> "Chaos":
    """Break the test's cluster: `inject` faults at any step, or hardships by name."""
    return hsm_cluster.chaos


@pytest.fixture
def hsm_check(hsm_cluster: "HsmCluster") -> "HsmCheck":
    """Assertions about the keys of the test's cluster: lost, at risk, orphaned, missed, …"""
    return hsm_cluster.check


@pytest.fixture
def hsm_history(hsm_cluster: "HsmCluster") -> "History":
    """What happened in the test's cluster: events, outcomes, a digest."""
    return hsm_cluster.history


@pytest.fixture
def hsm_clock(hsm_cluster: "HsmCluster") -> "HsmClock":
    """The simulated time of the test's cluster; `advance` lets it pass."""
    return hsm_cluster.clock


@pytest.fixture
def hsm_app_time(_hsm_trial: "Trial") -> Iterator[None]:
    """The application's own clocks, sleeps and waits are simulated, and the test's clusters live on meanwhile.

    For the test, for the threads that it starts, and for its asyncio loop.
    """
    with _hsm_trial.app_time():
        yield


@pytest.fixture
def hsm_cluster_factory(_hsm_trial: "Trial") -> "Callable[..., HsmCluster]":
    """Make a second cluster, or one of another shape: takes what the marker takes; closed and checked with the test."""
    return _hsm_trial.cluster


@pytest.fixture
def hsm_config_file(hsm_cluster: "HsmCluster", tmp_path: Path) -> Callable[..., Path]:
    """Write the configuration file of the cluster's SDK into `tmp_path`: returns the path, takes settings to change.

    SDK 3: `cloudhsm_client.cfg`, settings of `sdk3_config`.  SDK 5: `cloudhsm-pkcs11.cfg`, settings of `sdk5_config`.
    `cluster=` names another cluster; its file comes into a folder with its id.
    """

    def write(cluster: "HsmCluster | None" = None, **settings: Any) -> Path:
        from .sdkfiles import write_config_file

        folder = tmp_path if cluster is None or cluster is hsm_cluster else tmp_path / cluster.id
        return write_config_file(cluster or hsm_cluster, folder, settings)

    return write


@pytest.fixture
def hsm_pkcs11(_hsm_trial: "Trial", hsm_cluster: "HsmCluster") -> "Pkcs11Door":
    """The PKCS#11 library for unmodified applications: `.module`, `.token_label`, `.user_pin`, `.slot_id`, `.env`.

    In a `unittest.TestCase` it is also `self.hsm_pkcs11`.
    """
    return _hsm_trial.door()


@pytest.fixture(scope="session")
def _hsm_toxiproxy_url() -> Iterator[str]:
    """Where a Toxiproxy answers: that of `TOXIPROXY_URL`, else one that is started for this process, and ended."""
    pytest.importorskip("toxiproxy.api", reason="no toxiproxy-python: pip install 'pytest-hsmcluster[toxiproxy]'")
    from .toxiproxy.server import ToxiproxyServer
    from .toxiproxy.starting import NoServer, serving

    try:
        with serving() as url:
            ToxiproxyServer(url).remove_leftovers()
            yield url
    except NoServer as error:
        pytest.skip(str(error))


@pytest.fixture
def hsm_toxiproxy(request: pytest.FixtureRequest, _hsm_trial: "Trial") -> "Iterator[ToxiproxyServer]":
    """A real Toxiproxy between the applications and the HSM processes of the test's cluster; undone with the test.

    That is `hsm_cluster`, or else the first one that `hsm_cluster_factory` makes.  Skipped with the command that
    installs it where there is none.  In a `unittest.TestCase` it is also `self.hsm_toxiproxy`.
    """
    if "hsm_cluster_factory" not in request.fixturenames:
        request.getfixturevalue("hsm_cluster")
    from .errors import UsageError
    from .toxiproxy.answers import ToxiproxyError

    with ExitStack() as stack:
        try:
            server = stack.enter_context(_hsm_trial.toxiproxy(lambda: request.getfixturevalue("_hsm_toxiproxy_url")))
        except (UsageError, ToxiproxyError) as error:
            wrong = str(error)
        else:
            yield server
            return
    pytest.fail(wrong, pytrace=False)


@pytest.fixture
def hsm_faker(_hsm_trial: "Trial") -> "Faker":
    """A `faker.Faker`, seeded from the test's seed; adds hsm_key_label, hsm_user_name, hsm_pin and hsm_payload."""
    from faker import Faker

    from .faker_provider import HsmProvider

    fake = Faker()
    fake.add_provider(HsmProvider)
    fake.seed_instance(_hsm_trial.seed)
    return fake
