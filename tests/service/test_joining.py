"""HSMs that are ordered, join, and are taken out."""

import pytest

from pytest_hsmcluster import HsmCluster, HsmState, Kind, LoginFailed, UsageError

SNAPSHOT_S, ACTIVE_S = 35, 313


def test_new_hsm_is_active_after_313_seconds(build):
    """Ordered, joining, then up: as measured."""
    cluster = build(2)
    new = cluster.add_hsm("c")

    assert (new.id, new.zone, new.state) == ("hsm-3", "c", HsmState.JOINING)
    cluster.clock.advance(ACTIVE_S - 1)
    assert new.state == HsmState.JOINING
    cluster.clock.advance(1)
    assert new.state == HsmState.UP
    assert [(e.hsm, e.at_ns) for e in cluster.history.of(Kind.JOINED)] == [("hsm-3", 313_000_000_000)]


def test_replacement_has_a_new_id_and_a_new_address(build):
    """It is another HSM, in the same zone."""
    cluster = build(2, zones=("a", "b"))
    old = cluster.hsm("hsm-2")

    cluster.chaos.replace("hsm-2")
    new = cluster.hsm("hsm-3")

    assert (new.id, new.zone) == ("hsm-3", "b")
    assert new.ip != old.ip
    assert [hsm.id for hsm in cluster.hsms] == ["hsm-1", "hsm-3"]
    assert old.state == HsmState.LOST


def test_keys_made_after_the_snapshot_come_with_the_sweep(build, holders):
    """Before the snapshot: there at once; after it: healed by the service."""
    cluster = build(2, sweep=False)
    client = cluster.client()
    cluster.add_hsm("c")
    client.generate_key("AES", 256, label="before")
    cluster.clock.advance(SNAPSHOT_S + 1)
    client.generate_key("AES", 256, label="after")
    cluster.clock.advance(ACTIVE_S)

    assert holders(cluster, "before") == ["hsm-1", "hsm-2", "hsm-3"]
    assert holders(cluster, "after") == ["hsm-1", "hsm-2"]
    assert cluster.sweep_now() == 1
    assert holders(cluster, "after") == ["hsm-1", "hsm-2", "hsm-3"]


def test_users_made_after_the_snapshot_are_missing_for_good(build):
    """Those of the first 34 seconds are in it; later ones are never healed."""
    cluster = build(1)
    cluster.add_hsm("b")
    cluster.clock.advance(34)
    cluster.create_user("early", "password1")
    cluster.clock.advance(31)
    cluster.create_user("late", "password1")
    cluster.clock.advance(86400)

    assert cluster.hsm("hsm-2").users == ["admin", "app_user", "crypto_user", "early"]
    client = cluster.client(login=False)
    for user in ("early", "late"):
        assert cluster.coverage(user) == ("full" if user == "early" else "inconsistent")
    with pytest.raises(LoginFailed, match="'late' on hsm-2"):
        cluster.hsm("hsm-2").authenticate("late", "password1", 0)
    assert client.user is None


def test_password_shares_and_attributes_of_the_snapshot_are_not_reconciled(build):
    """What was changed between snapshot and ACTIVE stays different."""
    cluster = build(1)
    cluster.create_user("bob", "password1")
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    cluster.add_hsm("b")
    cluster.clock.advance(SNAPSHOT_S + 1)
    client.share_key(key, with_user="bob")
    cluster.admin.change_password("bob", "password2")
    cluster.clock.advance(86400)

    one, two = cluster.hsms
    assert (one.keys[key.number].shares, two.keys[key.number].shares) == (("bob",), ())
    two.authenticate("bob", "password1", 0)
    assert cluster.coverage(key) == "inconsistent"


def test_session_keys_are_in_no_snapshot(build):
    """A backup holds token keys only."""
    cluster = build(1)
    client = cluster.client()
    client.generate_key("AES", 256, label="s", token=False)
    cluster.add_hsm("b")
    cluster.clock.advance(ACTIVE_S)

    assert cluster.hsm("hsm-2").keys == {}


def test_snapshot_is_taken_of_a_live_hsm_even_when_a_backup_exists(build, holders):
    """The newest backup is older than what lives."""
    cluster = build(2)
    client = cluster.client()
    cluster.backup()
    client.generate_key("AES", 256, label="k")

    cluster.chaos.replace("hsm-1")
    cluster.clock.advance(ACTIVE_S)

    assert holders(cluster, "k") == ["hsm-2", "hsm-3"]
    assert [event.cause for event in cluster.history.of(Kind.JOINED)] == ["join"]


def test_last_backup_is_what_is_left_when_no_hsm_lives(build, holders):
    """Keys made after it are lost."""
    cluster = build(1)
    client = cluster.client()
    client.generate_key("AES", 256, label="old")
    cluster.backup()
    client.generate_key("AES", 256, label="new")

    cluster.chaos.replace("hsm-1")
    cluster.clock.advance(ACTIVE_S)

    assert holders(cluster, "old") == ["hsm-2"]
    assert holders(cluster, "new") == []
    assert [event.cause for event in cluster.history.of(Kind.JOINED)] == ["restore"]
    assert [finding.label for finding in cluster.check.lost_keys()] == ["new"]


def test_hsm_that_is_off_is_no_source_of_a_snapshot(build, holders):
    """Only one that lives can be copied; the backup is what is left."""
    cluster = build(2)
    client = cluster.client()
    cluster.backup()
    client.generate_key("AES", 256, label="k")
    cluster.chaos.crash("hsm-1")

    cluster.chaos.replace("hsm-2")
    cluster.clock.advance(ACTIVE_S)

    assert holders(cluster, "k") == ["hsm-1"]


def test_without_any_backup_the_activation_is_what_is_left(build):
    """Users of the first hour, no keys: somebody can log in."""
    cluster = build(1)
    cluster.create_user("alice", "password1")
    cluster.client().generate_key("AES", 256, label="k")

    cluster.chaos.replace("hsm-1")
    cluster.clock.advance(ACTIVE_S)

    assert cluster.hsm("hsm-2").users == ["admin", "app_user", "crypto_user"]
    assert cluster.client("again").find_keys() == []


def test_clone_falls_back_to_the_backup_that_it_was_made_from(build, holders):
    """It is the first backup of the clone."""
    cluster = build(1)
    cluster.client().generate_key("AES", 256, label="k")
    clone = build(1, backup=cluster.backup())

    clone.chaos.replace("hsm-1")
    clone.clock.advance(ACTIVE_S)

    assert holders(clone, "k") == ["hsm-2"]


def test_restore_from_an_old_backup_brings_old_users_and_deleted_keys_back(build, holders):
    """The chosen backup decides, whoever lives."""
    cluster = build(2, sweep=False)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    old = cluster.backup()
    cluster.create_user("alice", "password1")
    client.delete_key(key)

    cluster.chaos.replace("hsm-2", backup=old)
    cluster.clock.advance(ACTIVE_S)

    assert holders(cluster, "k") == ["hsm-3"]
    assert "alice" not in cluster.hsm("hsm-3").users
    assert [finding.label for finding in cluster.check.resurrected_keys()] == ["k"]
    cluster.sweep_now()
    assert holders(cluster, "k") == ["hsm-1", "hsm-3"]


def test_backup_can_be_named_by_its_id(build, holders):
    """`backup-1`; an unknown one is refused."""
    cluster = build(2, sweep=False)
    client = cluster.client()
    client.delete_key(client.generate_key("AES", 256, label="k"))
    cluster.backup()

    with pytest.raises(UsageError, match=r"there is no backup 'backup-9'.*backup-1"):
        cluster.chaos.replace("hsm-2", backup="backup-9")
    cluster.chaos.replace("hsm-2", backup="backup-1")
    cluster.clock.advance(ACTIVE_S)

    assert cluster.hsm("hsm-3").state == HsmState.UP


def test_backup_of_another_cluster_is_refused(build):
    """An HSM starts from a backup of its own cluster."""
    cluster, other = build(2), build(1)
    foreign = other.backup()

    with pytest.raises(UsageError, match=f"backup-1 is a backup of {other.id}; an HSM of {cluster.id} starts from"):
        cluster.chaos.replace("hsm-1", backup=foreign)


def test_hsm_that_is_lost_while_it_joins_never_comes(build):
    """Before or after the snapshot."""
    for when in (10, 100):
        cluster = build(1)
        new = cluster.add_hsm("b")
        cluster.clock.advance(when)
        cluster.chaos.destroy(new.id)
        cluster.clock.advance(400)

        assert new.state == HsmState.LOST
        assert new.audit_log == []
        assert cluster.history.of(Kind.JOINED) == []
        assert [hsm.id for hsm in cluster.hsms] == ["hsm-1"]


def test_restore_can_fail_and_can_be_late(build):
    """The point `hsm.restore`: failed, the new HSM is lost; delayed, it comes later."""
    cluster = build(1)
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.restore"):
        failed = cluster.add_hsm("b")
        cluster.clock.advance(400)
    with cluster.chaos.inject("delay 60s @ hsm.restore"):
        late = cluster.add_hsm("b")
        cluster.clock.advance(ACTIVE_S + 59)
        assert late.state == HsmState.JOINING
        cluster.clock.advance(1)

    assert failed.state == HsmState.LOST
    assert late.state == HsmState.UP


def test_hsm_can_be_lost_while_its_restore_is_late(build):
    """It never comes up, and losing it twice is losing it once."""
    cluster = build(1)
    cluster.chaos.inject("delay 60s @ hsm.restore")
    new = cluster.add_hsm("b")
    cluster.clock.advance(ACTIVE_S + 1)
    cluster.chaos.destroy(new.id)
    cluster.service.destroy(new.id)
    cluster.clock.advance(120)

    assert [event.hsm for event in cluster.history.of(Kind.LOST)] == ["hsm-2"]
    assert new.state == HsmState.LOST


def test_joining_hsm_serves_nobody_and_counts_nowhere(build, holders):
    """Until it is active nobody is routed there and no copy is made there."""
    cluster = build(1, create_object_minimum_nodes=1)
    cluster.add_hsm("b")
    client = cluster.client()
    client.generate_key("AES", 256, label="k")
    cluster.clock.advance(120)

    assert holders(cluster, "k") == ["hsm-1"]
    assert list(cluster.metrics()) == ["hsm-1"]


def test_running_client_learns_of_a_new_member_by_itself(build):
    """Members are learned from any live HSM."""
    cluster = build(1)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    cluster.add_hsm("b")
    cluster.clock.advance(400)
    cluster.chaos.destroy("hsm-1")

    assert len(client.encrypt(key, b"data")) == 12 + 4 + 16


def test_cluster_has_at_most_28_hsms(build):
    """Lost ones do not count, joining ones do."""
    cluster = build(27)
    cluster.add_hsm("a")
    with pytest.raises(UsageError, match="a cluster has at most 28 HSMs"):
        cluster.add_hsm("a")

    cluster.chaos.destroy("hsm-1")
    cluster.add_hsm("a")

    assert len(cluster.hsms) == 28


@pytest.mark.parametrize("zone", ["", None, 5])
def test_zone_is_a_name(build, zone):
    """Anything else is refused."""
    with pytest.raises(UsageError, match="zone is the name of an availability zone"):
        build(1).add_hsm(zone)


def test_removing_takes_a_backup_first(build):
    """At the removal, as documented, of one that is up; a silent or lost one has none to give."""
    cluster = build(3)
    cluster.client().generate_key("AES", 256, label="k")
    cluster.remove_hsm("hsm-1")
    cluster.chaos.pause("hsm-2")
    cluster.remove_hsm("hsm-2")

    (backup,) = cluster.service.backups.values()
    assert (backup.hsm, backup.labels) == ("hsm-1", ("k",))
    assert [hsm.id for hsm in cluster.hsms] == ["hsm-3"]
    with pytest.raises(UsageError, match="this cluster has no HSM 'hsm-7'"):
        cluster.remove_hsm("hsm-7")


def test_joined_hsm_takes_part_in_the_next_create(build, holders):
    """And in SDK 5's check."""
    cluster = build(1, sdk=5, availability_check=True)
    cluster.add_hsm("b")
    cluster.clock.advance(400)
    client = cluster.client()

    client.generate_key("AES", 256, label="k")

    assert holders(cluster, "k") == ["hsm-1", "hsm-2"]


def test_join_is_something_to_wait_for(build):
    """`run_until_idle` returns when the new HSM is there."""
    cluster: HsmCluster = build(1)
    new = cluster.add_hsm("b")

    cluster.clock.run_until_idle()

    assert new.state == HsmState.UP
    assert cluster.clock.now == pytest.approx(ACTIVE_S, abs=1)
