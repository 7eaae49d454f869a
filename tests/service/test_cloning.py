"""Keys copied by hand between a cluster and its clone."""

import pytest

from pytest_hsmcluster import ClusterError, DataInvalid, KeyNotOnHsm, Kind, UsageError


@pytest.fixture
def twins(build):
    """Return a cluster, its clone, and a key that only the first has."""
    primary = build(2)
    clone = build(2, backup=primary.backup())
    return primary, clone, primary.client().generate_key("AES", 256, label="k")


def test_key_arrives_on_every_hsm_of_the_clone(twins, holders):
    """With its handle, and it opens what the first encrypted."""
    primary, clone, key = twins
    box = primary.client("p").encrypt(key, b"data")

    there = primary.sync_key(key, clone)

    assert (there.number, there.label, there.cluster) == (key.number, "k", clone.id)
    assert holders(clone, "k") == ["hsm-1", "hsm-2"]
    assert clone.client().decrypt(there, box) == b"data"


def test_copied_key_is_born_by_sync_key(twins):
    """In the clone's journal it is no orphan."""
    primary, clone, key = twins
    primary.sync_key(key, clone)

    assert [event.cause for event in clone.history.of(Kind.HELD)] == ["sync_key", "sync_key"]
    clone.check.no_orphan_keys()


def test_handle_that_is_taken_is_replaced(twins, holders):
    """Two keys never share one: the copy gets a new handle."""
    primary, clone, key = twins
    taken = clone.client().generate_key("AES", 256, label="other")
    assert taken.number == key.number

    there = primary.sync_key(key, clone)

    assert there.number != key.number
    assert holders(clone, "k") == ["hsm-1", "hsm-2"]


def test_repeating_changes_nothing(twins):
    """The same key is not copied twice."""
    primary, clone, key = twins
    first = primary.sync_key(key, clone)
    events = len(clone.history)

    assert primary.sync_key(key, clone) == first
    assert len(clone.history) == events


def test_cluster_that_is_no_clone_cannot_open_it(build, holders):
    """Another masking key: refused, and nothing arrives."""
    primary, stranger = build(1, seed=1), build(1, seed=2)
    key = primary.client().generate_key("AES", 256, label="k")

    with pytest.raises(DataInvalid, match=f"{stranger.id} is no clone of {primary.id}"):
        primary.sync_key(key, stranger)

    assert holders(stranger, "k") == []


def test_owner_must_exist_in_the_destination(build):
    """Users are not copied along."""
    primary = build(1)
    clone = build(1, backup=primary.backup())
    primary.create_user("alice", "password1")
    client = primary.client(login=False)
    client.login("alice", "password1")
    key = client.generate_key("AES", 256, label="k")

    with pytest.raises(
        ClusterError, match="Specified user is inconsistent across the cluster: 'alice' is not on hsm-1"
    ):
        primary.sync_key(key, clone)
    clone.create_user("alice", "password9")
    primary.sync_key(key, clone)


def test_users_that_it_is_shared_with_must_exist_there_too(twins):
    """On every HSM."""
    primary, clone, key = twins
    primary.create_user("bob", "password1")
    primary.client("owner").share_key(key, with_user="bob")
    clone.create_user("bob", "password1", hsms=["hsm-1"])

    with pytest.raises(ClusterError, match="'bob' is not on hsm-2"):
        primary.sync_key(key, clone)
    clone.create_user("bob", "password1")
    there = primary.sync_key(key, clone)

    assert clone.hsm("hsm-2").keys[there.number].shares == ("bob",)


def test_key_must_be_on_every_hsm_of_the_source(build, partial):
    """As `key replicate` says it."""
    primary = build(3, sweep=False)
    clone = build(1, backup=primary.backup())
    _, key = partial(primary)

    with pytest.raises(
        ClusterError, match="The selected key is not synchronized throughout the cluster: key .* is on 1 of 3"
    ):
        primary.sync_key(key, clone)
    primary.sweep_now()
    primary.sync_key(key, clone)


def test_session_key_and_deleted_key_cannot_be_copied(twins):
    """Only token keys that are there."""
    primary, clone, key = twins
    client = primary.client("again")
    session = client.generate_key("AES", 256, label="s", token=False)
    client.delete_key(key)

    for gone in (session, key):
        with pytest.raises(KeyNotOnHsm, match="no HSM of .* that is up holds a token key"):
            primary.sync_key(gone, clone)


def test_partial_failure_is_told_and_leaves_the_destination_inconsistent(twins, holders):
    """`Key replicate failed on <x> of <n> connections`; repeating it repairs."""
    primary, clone, key = twins
    with (
        clone.chaos.fill("hsm-2"),
        pytest.raises(ClusterError, match="Key replicate failed on 1 of 2 connections") as caught,
    ):
        primary.sync_key(key, clone)
    assert caught.value.outcome == "info"
    assert holders(clone, "k") == ["hsm-1"]

    primary.sync_key(key, clone)

    assert holders(clone, "k") == ["hsm-1", "hsm-2"]


def test_handle_of_another_cluster_is_refused(twins):
    """A handle says whose it is."""
    primary, clone, key = twins
    there = primary.sync_key(key, clone)

    with pytest.raises(UsageError, match=f"is of {clone.id}, and this is {primary.id}"):
        primary.sync_key(there, clone)
    with pytest.raises(UsageError, match="sync_key\\(\\) copies to an HsmCluster; got str"):
        primary.sync_key(key, "elsewhere")


def test_key_can_be_copied_back(twins):
    """The relation has no direction."""
    primary, clone, _ = twins
    key = clone.client().generate_key("AES", 256, label="made in the clone")

    there = clone.sync_key(key, primary)

    assert primary.client("p").find_keys(label="made in the clone") == [there]
