"""What does an HSM process do whose disk is full?"""

from types import SimpleNamespace

import pytest

from pytest_hsmcluster import CKA, HsmCluster, KeyCapacityReached, UsageError
from pytest_hsmcluster.processes import rack
from tests.processes.inside import assert_agreed

SETTINGS = {"network": "processes", "routing": "pinned", "sweep": False, "availability_check": False}


@pytest.fixture
def cluster():
    with HsmCluster(2, clock_rate=20, **SETTINGS) as cluster:
        yield cluster


def test_full_disk_refuses_further_keys_and_nothing_else(cluster):
    """Also after deletes and restarts; what was refused is neither in memory nor in the mirror."""
    cluster.create_user("bob", "bobs-password")
    app = cluster.client()
    key, old = (app.generate_key("AES", 256, label=label) for label in ("key", "old"))
    with cluster.chaos.fill_disk("hsm-1"):
        for _ in range(2):
            with pytest.raises(KeyCapacityReached, match="the disk of hsm-1 is full"):
                app.generate_key("AES", 256, label="no")
            with pytest.raises(KeyCapacityReached, match="the disk of hsm-1 is full"):
                app.generate_key_pair("EC", "secp256r1", label="no")
            app.generate_key("AES", 256, label="of the session", token=False)
            assert_agreed(cluster)
            cluster.chaos.crash("hsm-1").end()
            app = cluster.client()
        app.delete_key(old)
        with pytest.raises(KeyCapacityReached):
            app.generate_key("AES", 128, label="no")
        app.set_attribute(key, CKA.LABEL, "a longer name than it had before")
        app.share_key(key, with_user="bob")
        for number in range(20):
            cluster.create_user(f"user_{number}", "a-password")
        assert_agreed(cluster)
    made = app.generate_key("AES", 256, label="new")
    assert sorted(cluster.hsm("hsm-1").keys) == sorted(cluster.hsm("hsm-2").keys) == [key.number, made.number]
    assert_agreed(cluster)


def test_sweep_brings_a_full_hsm_its_key_when_it_has_room(cluster):
    app = cluster.client()
    cluster.chaos.fill_disk("hsm-2")
    app.generate_key("AES", 256, label="key")
    assert (cluster.sweep_now(), cluster.hsm("hsm-2").keys) == (0, {})
    cluster.chaos.clear_disk("hsm-2")
    assert cluster.sweep_now() == 1
    assert_agreed(cluster)


def test_mirror_takes_what_its_process_took_before_it_heard_of_a_limit(cluster):
    """A key can be under way when a hardship sets one: the mirror only notes what is there already."""
    cluster.hsm("hsm-1").store.capacity = 0
    key = cluster.client().generate_key("AES", 256, label="key")
    assert [*cluster.hsm("hsm-1").keys] == [key.number]


def test_hsm_that_ends_where_there_is_no_room_says_what_to_do(cluster, monkeypatch):
    """The folder for temporary files is full: that is no mistake of this package."""
    monkeypatch.setattr(rack.shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    with pytest.raises(UsageError, match=r"no room is left there: hsm-1 has ended; set TMPDIR"):
        cluster.network._rack.broke(cluster.hsm("hsm-1"), "sqlite3.OperationalError: disk I/O error")
    monkeypatch.setattr(rack.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 30))
    with pytest.raises(AssertionError, match="by a mistake in pytest-hsmcluster:\ndisk I/O error"):
        cluster.network._rack.broke(cluster.hsm("hsm-1"), "disk I/O error")
