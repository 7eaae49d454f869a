"""What one HSM can be asked to do, and what it says."""

import pytest

from pytest_hsmcluster import (
    CKA,
    CKM,
    CKO,
    CounterKdfParams,
    HsmBusy,
    KeyFunctionNotPermitted,
    KeyNotOnHsm,
    NotLoggedIn,
    UsageError,
)
from pytest_hsmcluster.service import commands
from pytest_hsmcluster.service.calls import Call


@pytest.fixture
def one(build):
    """Return a cluster of one HSM and a client."""
    cluster = build(1)
    return cluster, cluster.client()


ALL = [name for name, kind in vars(commands).items() if isinstance(kind, type) and issubclass(kind, commands.Command)]


def test_every_command_has_a_name_of_its_own():
    """Faults and the journal call it by that."""
    names = [getattr(commands, kind).name for kind in ALL if kind != "Command"]

    assert len(names) == len(set(names)) == 26


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "Command"])
def test_command_that_changes_something_is_in_the_audit_log(kind):
    """And looking is not, except for what lets a key out."""
    command = commands.Logout(first=True) if kind == "Logout" else getattr(commands, kind)

    assert command.changes == (command.opcode is not None) or kind in ("ExtractMasked", "WrapKey")


def test_public_half_is_handed_out_for_either_half(one):
    """A `cryptography` public key that verifies elsewhere."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    _, client = one
    pair = client.generate_key_pair("EC", "secp256r1", label="pair")
    signature = client.sign(pair.private, b"data", mechanism=CKM.ECDSA_SHA256)
    half = len(signature) // 2
    der = utils.encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))

    for key in (pair.public, pair.private):
        client.public_key(key).verify(der, b"data", ec.ECDSA(hashes.SHA256()))


def test_attributes_are_handed_out_without_the_value(one):
    """With the check value."""
    _, client = one
    key = client.generate_key("AES", 256, label="k")

    attributes = client.get_attributes(key)

    assert attributes[CKA.LABEL] == "k"
    assert attributes[CKA.CLASS] == CKO.SECRET_KEY
    assert len(attributes[CKA.CHECK_VALUE]) == 3
    assert CKA.VALUE not in attributes


def test_derived_key_is_born_on_the_hsm_of_its_base(one):
    """With the owner who asked."""
    cluster, client = one
    base = client.generate_key("GENERIC_SECRET", 256, label="base")

    params = CounterKdfParams(label=b"l", context=b"c")
    key = client.derive_key(base, params, mechanism=CKM.SP800_108_COUNTER_KDF, label="derived")

    assert cluster.hsm("hsm-1").keys[key.number].owner == cluster.default_user
    assert client.decrypt(key, client.encrypt(key, b"data")) == b"data"


def test_use_that_the_attributes_forbid_is_refused(one):
    """By name, with the attribute."""
    _, client = one
    key = client.generate_key("AES", 256, label="k", template={CKA.ENCRYPT: False})

    with pytest.raises(KeyFunctionNotPermitted, match="key 'k' .* has CKA_ENCRYPT false, so it cannot encrypt"):
        client.encrypt(key, b"data")


def test_missing_key_is_named_with_its_label_and_the_way_out(one):
    """Label, handle, HSM, and what to do."""
    cluster, client = one
    key = client.generate_key("AES", 256, label="payroll")
    cluster.hsm("hsm-1").store.remove(key.number, "delete")

    with pytest.raises(KeyNotOnHsm) as caught:
        client.encrypt(key, b"data")

    message = str(caught.value)
    assert "HSM Error: Invalid object handle is passed to this operation" in message
    assert f"hsm-1 does not hold key 'payroll' ({key.number})" in message
    assert "retry" in message


def test_key_that_vanishes_between_admission_and_commit_is_not_there(one):
    """A delete that waits in the queue behind another one, and a change."""
    cluster, client = one
    cluster.create_user("bob", "password1")
    hsm = cluster.hsm("hsm-1")
    for command in (
        lambda key: commands.DeleteKey(key.number),
        lambda key: commands.TombstoneKey(key.number),
        lambda key: commands.SetAttribute(key.number, CKA.LABEL, "new"),
        lambda key: commands.ShareKey(key.number, "bob"),
    ):
        key = client.generate_key("AES", 256, label="k")
        request = command(key)
        call = Call(1, "x", "app", cluster.default_user, 4, session=client._process.number).at("hsm-1", request)
        request.admit(hsm, call)
        hsm.store.remove(key.number, "delete")
        with pytest.raises(KeyNotOnHsm):
            request.settle(hsm, call, None)


def test_nobody_is_served_without_a_login(one):
    """Whatever is asked."""
    cluster, _ = one
    stranger = cluster.client("stranger", login=False)

    for act in (lambda: stranger.random(8), stranger.find_keys, lambda: stranger.generate_key("AES", 256, label="k")):
        with pytest.raises(NotLoggedIn):
            act()
    assert cluster.hsm("hsm-1").keys == {}


def test_hsm_with_a_full_queue_is_busy(build):
    """More requests at once than it works on: 0xBB."""
    import asyncio

    cluster = build(1, queue_limit=2)  # the first two are worked on, the other two come meanwhile
    clients = [cluster.async_client(f"app{number}") for number in range(4)]

    async def story():
        return await asyncio.gather(*(client.random(8) for client in clients), return_exceptions=True)

    results = asyncio.run(story())

    assert [type(result) for result in results] == [bytes, bytes, HsmBusy, HsmBusy]


def test_paused_hsm_stops_whatever_it_is_doing(build):
    """Between execution and commit, and between commit and reply."""
    for point, there in (("hsm.execute", 0), ("hsm.reply", 1)):
        cluster = build(1, request_timeout_s=5)
        client = cluster.client()
        cluster.chaos.inject(f"delay 2s @ {point} command=generate_key")
        at_ns = cluster.clock.now_ns + 10**9
        cluster._scheduler.at(at_ns, lambda cluster=cluster: cluster.service.pause("hsm-1"))
        with pytest.raises(Exception, match="was not answered in time"):
            client.generate_key("AES", 256, label="k")
        assert len(cluster.hsm("hsm-1").keys) == there

        cluster.service.resume("hsm-1")
        cluster.clock.advance(1)

        assert len(cluster.hsm("hsm-1").keys) == 1


def test_fill_makes_no_keys_and_ends(one):
    """An HSM's capacity is lowered to what is used, and raised again."""
    cluster, client = one
    client.generate_key("AES", 256, label="a")
    with cluster.chaos.fill("hsm-1"), pytest.raises(Exception, match="capacity 1"):
        client.generate_key("AES", 256, label="b")

    client.generate_key("AES", 256, label="b")

    assert len(cluster.hsm("hsm-1").keys) == 2


def test_user_drift_is_undone_with_its_block(build):
    """A user vanishes from one HSM and comes back."""
    cluster = build(2)
    cluster.create_user("alice", "password1")
    with cluster.chaos.drop_user("hsm-2", "Alice"):
        assert cluster.coverage("alice") == "inconsistent"

    assert cluster.coverage("alice") == "full"
    with pytest.raises(UsageError, match="hsm-2 has no user 'bob'"):
        cluster.chaos.drop_user("hsm-2", "bob")


@pytest.mark.parametrize("there", [True, False])
def test_availability_check_asks_whether_the_key_is_there(one, there):
    """SDK 5's question to each HSM: yes or no, never the key."""
    cluster, client = one
    hsm = cluster.hsm("hsm-1")
    key = client.generate_key("AES", 256, label="k")
    request = commands.CheckKey(key.number if there else 99)
    call = Call(1, "x", "app", cluster.default_user, 4, session=client._process.number).at("hsm-1", request)

    assert request.work(hsm, call) is there
