"""Owners, shares, and what each of them may do."""

import pytest

from pytest_hsmcluster import CKA, KeyAccessDenied, KeyFunctionNotPermitted, TemplateInvalid


@pytest.fixture
def people(build):
    """Return a cluster, its owner's client and a second user's."""
    cluster = build(2)
    cluster.create_user("bob", "password1")
    owner, bob = cluster.client("owner"), cluster.client("bob", login=False)
    bob.login("bob", "password1")
    return cluster, owner, bob


OWNER_ONLY = {
    "delete": lambda client, key, kek: client.delete_key(key),
    "wrap": lambda client, key, kek: client.wrap_key(key, with_key=kek),
    "share": lambda client, key, kek: client.share_key(key, with_user="admin"),
    "unshare": lambda client, key, kek: client.unshare_key(key, with_user="bob"),
    "set attribute": lambda client, key, kek: client.set_attribute(key, CKA.LABEL, "mine"),
}


@pytest.mark.parametrize("what", OWNER_ONLY)
def test_only_the_owner_may(people, what):
    """Delete, wrap out, share and change are the owner's, even when the key is shared."""
    cluster, owner, bob = people
    key = owner.generate_key("AES", 256, label="k")
    owner.share_key(key, with_user="bob")
    kek = bob.generate_key("AES", 256, label="kek")

    with pytest.raises(KeyAccessDenied, match="Key Access is denied: 'bob' does not own key 'k'") as caught:
        OWNER_ONLY[what](bob, key, kek)

    assert (caught.value.hsm_code, caught.value.outcome) == (0xC6, "fail")
    assert all(stored.label == "k" for hsm in cluster.hsms for stored in [hsm.keys[key.number]])


def test_shared_user_may_use_the_key_and_no_longer_when_it_is_taken_back(people):
    """Sharing gives use, unsharing takes it."""
    _, owner, bob = people
    key = owner.generate_key("AES", 256, label="k")
    with pytest.raises(KeyAccessDenied, match="'bob' may not use"):
        bob.encrypt(key, b"data")
    assert bob.find_keys(label="k") == []

    owner.share_key(key, with_user="BOB")
    box = bob.encrypt(key, b"data")
    found = bob.find_keys(label="k")
    owner.unshare_key(key, with_user="bob")

    assert owner.decrypt(key, box) == b"data"
    assert found == [key]
    with pytest.raises(KeyAccessDenied):
        bob.decrypt(key, box)


def test_public_keys_are_everybodys(people):
    """Every crypto user may verify with a public key; its private half stays the owner's."""
    _, owner, bob = people
    pair = owner.generate_key_pair("EC", "secp256r1", label="pair")
    signature = owner.sign(pair.private, b"data")

    bob.verify(pair.public, b"data", signature)

    assert bob.find_keys(label="pair") == [pair.public]
    with pytest.raises(KeyAccessDenied):
        bob.sign(pair.private, b"data")
    with pytest.raises(KeyAccessDenied):
        bob.delete_key(pair.public)


def test_key_cannot_be_shared_with_a_user_who_does_not_exist(people):
    """0xCE, as the HSM names it."""
    _, owner, _ = people
    key = owner.generate_key("AES", 256, label="k")

    with pytest.raises(TemplateInvalid, match="This user doesn't exist: 'carol'") as caught:
        owner.share_key(key, with_user="carol")

    assert (caught.value.hsm_code, caught.value.outcome) == (0xCE, "fail")


@pytest.mark.parametrize(("name", "kind"), [("admin", "CO"), ("app_user", "AU")])
def test_key_is_shared_with_crypto_users_only(people, name, kind):
    """Officers use no keys."""
    _, owner, _ = people
    key = owner.generate_key("AES", 256, label="k")

    with pytest.raises(TemplateInvalid, match=f"Invalid User Type.*{name!r} is a {kind}") as caught:
        owner.share_key(key, with_user=name)

    assert caught.value.hsm_code == 0xDB


def test_key_can_be_taken_back_from_a_user_who_is_gone(people):
    """His name stays in the list until then."""
    cluster, owner, bob = people
    key = owner.generate_key("AES", 256, label="k")
    owner.share_key(key, with_user="bob")
    bob.logout()
    cluster.admin.delete_user("bob")

    owner.unshare_key(key, with_user="bob")

    assert cluster.hsm("hsm-1").keys[key.number].shares == ()
    with pytest.raises(TemplateInvalid, match="This user doesn't exist"):
        owner.unshare_key(key, with_user="bob")


def test_key_cannot_be_shared_with_its_owner(people):
    """Naming oneself makes the command fail."""
    cluster, owner, _ = people
    key = owner.generate_key("AES", 256, label="k")

    with pytest.raises(TemplateInvalid, match="need not share it with himself"):
        owner.share_key(key, with_user=cluster.default_user)


def test_sharing_twice_is_sharing_once(people):
    """The list of users has no doubles."""
    cluster, owner, _ = people
    key = owner.generate_key("AES", 256, label="k")

    owner.share_key(key, with_user="bob")
    owner.share_key(key, with_user="bob")

    assert cluster.hsm("hsm-1").keys[key.number].shares == ("bob",)


def test_share_that_one_hsm_missed_stays_divergent(people):
    """Shares are written at command time; the sweep brings keys, never shares."""
    cluster, owner, bob = people
    key = owner.generate_key("AES", 256, label="k")
    with cluster.chaos.crash("hsm-2"):
        owner.share_key(key, with_user="bob")
    cluster.clock.advance(3600)
    cluster.sweep_now()

    assert [hsm.keys[key.number].shares for hsm in cluster.hsms] == [("bob",), ()]
    assert cluster.coverage(key) == "inconsistent"
    with cluster.chaos.route_to("hsm-2"), pytest.raises(KeyAccessDenied):
        bob.encrypt(key, b"data")
    with cluster.chaos.route_to("hsm-1"):
        bob.encrypt(key, b"data")


def test_attribute_that_one_hsm_missed_stays_divergent(people):
    """Attributes too are written at command time only."""
    cluster, owner, _ = people
    key = owner.generate_key("AES", 256, label="k")
    with cluster.chaos.crash("hsm-1"):
        owner.set_attribute(key, CKA.ENCRYPT, False)
    cluster.clock.advance(3600)
    cluster.sweep_now()

    assert [hsm.keys[key.number].attributes[CKA.ENCRYPT] for hsm in cluster.hsms] == [True, False]
    assert cluster.coverage(key) == "inconsistent"
    with cluster.chaos.route_to("hsm-2"), pytest.raises(KeyFunctionNotPermitted):
        owner.encrypt(key, b"data")


def test_key_that_is_not_destroyable_stays(people):
    """CKA_DESTROYABLE false blocks the delete."""
    cluster, owner, _ = people
    key = owner.generate_key("AES", 256, label="k", template={CKA.DESTROYABLE: False})

    with pytest.raises(KeyFunctionNotPermitted, match="is not destroyable"):
        owner.delete_key(key)

    assert key.number in cluster.hsm("hsm-1").keys


def test_session_key_that_becomes_a_token_key_is_swept(people):
    """CKA_TOKEN goes from false to true only; from then on the service copies it."""
    cluster, owner, _ = people
    key = owner.generate_key("AES", 256, label="k", token=False)

    owner.set_attribute(key, CKA.TOKEN, True)
    owner.logout()
    cluster.sweep_now()

    assert [stored.token for hsm in cluster.hsms for stored in [hsm.keys[key.number]]] == [True, True]
    assert cluster.coverage(key) == "full"
