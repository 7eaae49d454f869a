"""What becomes of an HSM whose process somebody else kills, and of what a fault began in it?"""

import os
import signal

import pytest

from pytest_hsmcluster import HsmCluster, HsmState, HsmUnavailable, KeyCapacityReached, RequestTimeout
from tests.processes.inside import assert_agreed, of_disk, of_mirror
from tests.processes.killing import kill

SETTINGS = {"network": "processes", "routing": "pinned", "sweep": False, "availability_check": False}


@pytest.fixture
def cluster():
    with HsmCluster(2, clock_rate=20, **SETTINGS) as cluster:
        yield cluster


def test_hsm_that_a_stranger_kills_is_off_and_can_be_restarted(cluster):
    """As after `crash()`: token keys are there, and its disk says what the mirror says."""
    app = cluster.client()
    key = app.generate_key("AES", 256, label="key")
    app.generate_key("AES", 256, label="of the session", token=False)
    kill(cluster, "hsm-1")
    assert cluster.hsm("hsm-1").state is HsmState.DOWN
    assert [*of_disk(cluster, "hsm-1")] == [*of_mirror(cluster, "hsm-1")] == [key.number]
    cluster.chaos.restart("hsm-1")
    assert_agreed(cluster)
    cluster.client("again").sign(cluster.client("maker").generate_key_pair("EC", "secp256r1").private, b"data")


def test_no_fault_keeps_an_hsm_on_whose_process_is_dead(cluster):
    """`hsm.stop` can prevent that it is switched off, not that it has been."""
    with cluster.chaos.inject("fail 0x1 @ hsm.stop", may_miss=True):
        kill(cluster, "hsm-2")
    cluster.chaos.restart("hsm-2")
    assert cluster.hsm("hsm-2").state is HsmState.UP


def test_hsm_that_dies_unnoticed_takes_orders_when_it_is_started_again(cluster):
    """Limits and armed points are told to each process anew; nobody has to know that the last one was dead."""
    app = cluster.client()
    app.generate_key("AES", 256, label="key")
    os.kill(cluster.hsm("hsm-1").pid, signal.SIGKILL)
    cluster.chaos.fill_disk("hsm-1")
    fault = cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=random hsm=hsm-1")
    while cluster.hsm("hsm-1").alive:
        cluster.clock.advance(0.05)
    cluster.chaos.restart("hsm-1")

    app = cluster.client("again")
    with pytest.raises(KeyCapacityReached):
        app.generate_key("AES", 256, label="no")
    with pytest.raises(HsmUnavailable):
        app.random(4)
    assert fault.hits == 1


def test_cluster_whose_hsm_died_unnoticed_can_be_closed():
    """The audit is then of its disk."""
    cluster = HsmCluster(2, clock_rate=20, **SETTINGS)
    cluster.client().generate_key("AES", 256, label="key")
    os.kill(cluster.hsm("hsm-2").pid, signal.SIGKILL)
    cluster.close()
    assert cluster.history.last is not None


# -- what a fault began before a process died -------------------------------------------------------------


def test_request_that_was_held_when_its_hsm_died_is_no_matter_of_the_next_process(cluster):
    """Its fate is told to nobody: the new process counts its questions anew, and holds another request."""
    app = cluster.client()
    held = cluster.chaos.inject("hold @ hsm.execute command=random hsm=hsm-1")
    for round in range(2):
        with pytest.raises(RequestTimeout):
            app.random(4)
        if round == 0:
            cluster.chaos.crash("hsm-1").end()
            app = cluster.client("again")
    held.release()
    held.remove()
    app = cluster.client("last")
    assert len(app.random(4)) == 4
    assert held.hits == 2


def test_stopped_hsm_goes_on_where_it_was_stopped(cluster):
    """With the end of the fault; the key is made although nobody waits for it any more."""
    app = cluster.client()
    with cluster.chaos.inject("pause @ hsm.commit command=generate_key nth=1"):
        with pytest.raises(RequestTimeout):
            app.generate_key("AES", 256, label="late")
        with open(f"/proc/{cluster.hsm('hsm-1').pid}/stat") as stat:
            assert stat.read().rpartition(")")[2].split()[0] == "T"
        assert of_disk(cluster, "hsm-1") == {}
    while not cluster.hsm("hsm-1").keys:
        cluster.clock.advance(0.05)
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["late"]
    assert_agreed(cluster)
