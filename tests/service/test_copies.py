"""Keys on their way between HSMs, as masked objects."""

import pytest

from pytest_hsmcluster import CKA, DataInvalid, HsmCluster, Kind, UsageError
from pytest_hsmcluster.history.events import Cause
from pytest_hsmcluster.service.commands import masked, unmasked


@pytest.fixture
def pair(build):
    """Return a cluster, a client and a key that is on both of two HSMs."""
    cluster = build(2)
    client = cluster.client()
    return cluster, client, client.generate_key("AES", 256, label="k")


def test_copy_has_handle_material_owner_and_shares_of_the_key(build):
    """The same key on every HSM, under the same handle."""
    cluster = build(3)
    cluster.create_user("bob", "password1")
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k", template={CKA.ID: b"\x01\x02"})

    copies = [hsm.keys[key.number] for hsm in cluster.hsms]

    assert len(copies) == 3
    assert len({(one.handle, one.name, one.mat, one.owner, one.shares) for one in copies}) == 1
    assert all(one.attributes == copies[0].attributes for one in copies)
    box = client.encrypt(key, b"data")
    assert [client.decrypt(key, box) for _ in range(3)] == [b"data"] * 3


def test_masked_object_shows_nothing_of_the_key(pair):
    """It is encrypted: neither key bytes nor label nor owner are in it."""
    cluster, _, key = pair
    hsm = cluster.hsm("hsm-1")
    stored = hsm.keys[key.number]

    blob = masked(hsm, stored)

    assert stored.material.encoded not in blob
    assert cluster.default_user.encode() not in blob
    assert blob != masked(hsm, stored)


def test_masked_object_opens_to_the_same_key(pair):
    """What travels is what arrives."""
    cluster, _, key = pair
    one, two = cluster.hsms

    arrived = unmasked(two, masked(one, one.keys[key.number]))

    assert arrived.material.encoded == one.keys[key.number].material.encoded
    assert arrived == two.keys[key.number]


@pytest.mark.parametrize("at", [0, 11, 12, 40, -17, -1])
def test_masked_object_with_one_wrong_bit_is_refused(pair, at):
    """Wherever the bit is: the object is authenticated as a whole."""
    cluster, _, key = pair
    one, two = cluster.hsms
    blob = bytearray(masked(one, one.keys[key.number]))
    blob[at] ^= 0x10

    with pytest.raises(DataInvalid, match="corrupt, or masked by a cluster that is no clone"):
        unmasked(two, bytes(blob))


def test_masked_object_of_a_foreign_cluster_is_refused(pair, build):
    """Another cluster has another masking key."""
    cluster, _, key = pair
    foreign = build(1)

    with pytest.raises(DataInvalid, match="masked by a cluster that is no clone"):
        unmasked(foreign.hsm("hsm-1"), masked(cluster.hsm("hsm-1"), cluster.hsm("hsm-1").keys[key.number]))


@pytest.mark.parametrize("point", ["wire.request", "wire.response"])
def test_copy_that_was_corrupted_on_the_wire_is_refused_by_the_hsm(build, holders, point):
    """A flipped bit in the masked object: the HSM says no, and the key stays where it was made."""
    command = "insert_masked" if point == "wire.request" else "extract_masked"
    cluster = build(2, sweep=False)
    client = cluster.client()
    cluster.chaos.inject(f"corrupt payload @ {point} command={command}")

    client.generate_key("AES", 256, label="k")

    assert len(holders(cluster, "k")) == 1
    (refused,) = [entry for hsm in cluster.hsms for entry in hsm.audit_log if entry.number == 0xF1]
    assert refused.response != 0


def test_only_masked_objects_can_have_a_payload_corrupted(build):
    """No other answer reaches the application with a wrong bit."""
    cluster = build(1)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    with pytest.raises(UsageError, match="corrupt payload needs a masked object"):
        cluster.chaos.inject("corrupt payload @ wire.response command=encrypt")
    injection = cluster.chaos.inject("corrupt payload @ wire.response", may_miss=True)

    assert client.decrypt(key, client.encrypt(key, b"data")) == b"data"
    assert injection.hits == 0


def test_inserting_what_is_there_succeeds_and_changes_nothing(pair):
    """`insert_masked` of a handle with the same material is no error and no event."""
    cluster, _, key = pair
    one, two = cluster.hsms
    events = len(cluster.history)

    two.store.insert(unmasked(two, masked(one, one.keys[key.number])), Cause.CLONE)

    assert len(cluster.history) == events


def test_inserting_other_material_under_a_taken_handle_is_an_error(pair):
    """Two keys never share a handle."""
    cluster, client, key = pair
    other = client.generate_key("AES", 256, label="other")
    hsm = cluster.hsm("hsm-1")
    from dataclasses import replace

    intruder = replace(hsm.keys[other.number], handle=key.number)

    with pytest.raises(DataInvalid, match=f"handle {key.number} is taken on hsm-1 by other key material"):
        hsm.store.insert(intruder, Cause.CLONE)


def test_late_copy_does_not_bring_a_tombstoned_key_back(build, holders):
    """An insert that was under way when the cleanup marked the key is refused."""
    cluster = build(2, sweep=False)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    one, two = cluster.hsms
    blob = masked(one, one.keys[key.number])
    two.store.tombstone(key.number, Cause.CLEANUP)

    with pytest.raises(DataInvalid, match="is marked for deletion on hsm-2"):
        two.store.insert(unmasked(two, blob), Cause.CLONE)

    assert holders(cluster, "k") == ["hsm-1"]
    assert list(two.tombstones) == [key.number]


def test_copy_made_after_a_change_says_what_changed():
    """A clone that goes on in the background copies the attributes as they are, and the journal knows."""
    with HsmCluster(2, sdk=3, create_returns="enough", sweep=False) as cluster:
        client = cluster.client()
        cluster.chaos.inject("delay 5s @ client.clone")
        key = client.generate_key("AES", 256, label="k")
        client.set_attribute(key, CKA.ENCRYPT, False)
        cluster.clock.advance(10)
        copies = [hsm.keys[key.number] for hsm in cluster.hsms]
        held = [event for event in cluster.history.of(Kind.HELD) if event.cause == Cause.CLONE]

        assert [one.attributes[CKA.ENCRYPT] for one in copies] == [False, False]
        assert [event.changed for event in held] == [(("encrypt", False),)]
        cluster.check.in_sync()
