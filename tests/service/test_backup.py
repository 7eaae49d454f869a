"""Backups, and clusters that are made of them."""

import pytest

from pytest_hsmcluster import HsmCluster, Kind, UsageError


@pytest.fixture
def primary(build):
    """Return a cluster with a user, a shared key and a pair."""
    cluster = build(2)
    cluster.create_user("bob", "password1")
    client = cluster.client()
    key = client.generate_key("AES", 256, label="kek")
    client.share_key(key, with_user="bob")
    client.generate_key_pair("EC", "secp256r1", label="signer")
    return cluster


def test_backup_holds_users_and_token_keys_of_one_instant(primary):
    """Later changes are not in it, session keys never."""
    client = primary.client("again")
    client.generate_key("AES", 256, label="session", token=False)
    backup = primary.backup()
    client.generate_key("AES", 256, label="later")
    primary.create_user("carol", "password1")

    assert backup.labels == ("kek", "signer", "signer")
    assert backup.key_names == ("key-1", "key-2", "key-3")
    assert (backup.id, backup.cluster, backup.hsm) == ("backup-1", primary.id, "hsm-1")
    assert "carol" not in backup.accounts.users


def test_backup_shows_no_secret(primary):
    """Neither keys nor passwords nor the masking key."""
    shown = repr(primary.backup())

    assert "kek" not in shown
    assert primary.default_password not in shown
    assert "Masking" not in shown


def test_clone_has_the_keys_users_shares_and_passwords(primary, build):
    """The same handles, and data of the one opens in the other."""
    box = primary.client("p").encrypt(primary.client("q").find_keys(label="kek")[0], b"data")

    clone = build(3, backup=primary.backup())
    client = clone.client()
    (kek,) = client.find_keys(label="kek")
    bob = clone.client("bob", login=False)
    bob.login("bob", "password1")

    assert clone.id != primary.id
    assert [sorted(hsm.keys) for hsm in clone.hsms] == [sorted(primary.hsm("hsm-1").keys)] * 3
    assert client.decrypt(kek, box) == b"data"
    assert bob.decrypt(bob.find_keys(label="kek")[0], box) == b"data"
    assert clone.hsm("hsm-3").users == primary.hsm("hsm-1").users


def test_keys_of_a_clone_are_born_there_by_restore(primary, build):
    """In the journal of the clone they are no orphans and no application made them."""
    clone = build(1, backup=primary.backup())

    assert {event.cause for event in clone.history.of(Kind.HELD)} == {"restore"}
    assert [event.key for event in clone.history.of(Kind.HELD)] == ["key-1", "key-2", "key-3"]
    clone.check.no_orphan_keys()
    clone.check.no_lost_keys()


def test_nothing_keeps_a_clone_in_step(primary, build, holders):
    """No sync crosses the border: a key made after the backup is not in the clone."""
    clone = build(2, backup=primary.backup())
    primary.client("later").generate_key("AES", 256, label="after")
    primary.clock.advance(3600)
    clone.clock.advance(3600)

    assert holders(clone, "after") == []


def test_new_keys_of_a_clone_get_handles_that_are_free_there(primary, build):
    """Numbering goes on where the backup ends."""
    clone = build(1, backup=primary.backup())
    taken = sorted(clone.hsm("hsm-1").keys)

    key = clone.client().generate_key("AES", 256, label="new")

    assert key.number == taken[-1] + 1


def test_clone_of_a_clone_is_a_relative_too(primary, build):
    """The masking key is handed on."""
    clone = build(1, backup=primary.backup())
    grandchild = build(1, backup=clone.backup())
    key = primary.client("later").generate_key("AES", 256, label="k")

    assert primary.sync_key(key, grandchild).label == "k"


def test_from_backup_takes_the_arguments_of_a_cluster(primary):
    """SDK, zones, seed, profile."""
    with HsmCluster.from_backup(primary.backup(), 2, sdk=3, zones=("z",), sweep_period_s=5) as clone:
        assert [hsm.zone for hsm in clone.hsms] == ["z", "z"]
        assert clone.profile.sweep_period_ns == 5_000_000_000
        assert clone.default_password == primary.default_password


def test_tombstones_are_in_a_backup_and_stay_tombstones(build, holders):
    """Marked for deletion there, marked for deletion here."""
    cluster = build(1)
    key = cluster.client().generate_key("AES", 256, label="k")
    cluster.hsm("hsm-1").store.tombstone(key.number, "cleanup")

    clone = build(1, backup=cluster.backup())

    assert holders(clone, "k") == []
    assert list(clone.hsm("hsm-1").tombstones) == [key.number]


def test_lock_is_in_a_backup(build):
    """Counters of bad passwords too."""
    cluster = build(1)
    cluster.create_user("alice", "password1")
    for _ in range(6):
        with pytest.raises(Exception, match="RET_USER_LOGIN_FAILURE"):
            cluster.hsm("hsm-1").authenticate("alice", "wrong-password", 0)

    clone = build(1, backup=cluster.backup())

    with pytest.raises(Exception, match="is locked on hsm-1"):
        clone.hsm("hsm-1").authenticate("alice", "password1", 0)


@pytest.mark.parametrize("backup", ["backup-1", {}, 5])
def test_cluster_is_made_of_a_backup_only(backup):
    """What is no Backup is refused."""
    with pytest.raises(UsageError, match="backup is what backup"):
        HsmCluster.from_backup(backup)
