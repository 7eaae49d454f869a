"""How is an application tested with HSMs that are processes, and whose seconds are shorter than its own?

Such a cluster has a real clock, here one that is twenty times faster than that on the wall.  An application that waits
with `time.sleep` would be twenty times slower than its HSMs, so its clock is made the cluster's.
"""

from types import ModuleType, SimpleNamespace

import pytest

from pytest_hsmcluster import HsmCluster

PROCESSES = pytest.mark.hsm_cluster(
    network="processes",
    clock_rate=20,
    sweep_period_s=20,
    join_snapshot_s=1,
    join_active_s=2,
)
"""Processes, in a cluster in which what takes minutes elsewhere takes moments.

The service's sweep comes once in a real second, and when `pass_a_minute` calls for it: one every few moments would meet
deletes that are under way, and bring keys back more often than any application of a real cluster has to bear.
"""


def pass_a_minute(cluster: HsmCluster) -> None:
    """Let a minute pass, with a round of the service's sweep; it takes a moment where HSMs are processes."""
    if cluster.network_kind == "simulated":
        cluster.clock.advance(60)
    else:
        cluster.clock.advance(1)
        cluster.sweep_now()


on_both_networks = pytest.mark.parametrize(
    "", [pytest.param(id="simulated"), pytest.param(marks=PROCESSES, id="processes")]
)
"""The test is run once more, with processes."""


def live_in_its_time(request: pytest.FixtureRequest, *modules: ModuleType) -> None:
    """Have an application live in the time of the test's cluster, whichever that is.

    Args:
        request: of a fixture of the test.
        modules: those of the application that ask for the time or wait.
    """
    cluster: HsmCluster = request.getfixturevalue("hsm_cluster")
    if not cluster.clock.real:
        request.getfixturevalue("hsm_app_time")
        return
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for module in modules:
        patch.setattr(module, "time", SimpleNamespace(sleep=cluster.clock.advance, monotonic=lambda: cluster.clock.now))
