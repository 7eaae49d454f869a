"""How an application names a key."""

import pickle

import pytest

from pytest_hsmcluster import HsmCluster, KeyHandle, KeyNotOnHsm, KeyPair, UsageError
from pytest_hsmcluster.client.handles import check_handle

HANDLE = KeyHandle(262144, "kek", "AES", True, "secret", "cluster-a")


def test_a_handle_is_a_value():
    """Equal handles are equal keys of a cluster; they can be members of sets and pickled."""
    assert pickle.loads(pickle.dumps(HANDLE)) == HANDLE
    assert len({HANDLE, KeyHandle(262144, "kek", "AES", True, "secret", "cluster-a")}) == 1
    assert KeyHandle(262144, "kek", "AES", True, "secret", "cluster-b") != HANDLE
    with pytest.raises(AttributeError):
        HANDLE.number = 1


def test_a_handle_shows_number_and_label():
    """And not the cluster's id, which is long."""
    assert "262144" in repr(HANDLE)
    assert "cluster-a" not in repr(HANDLE)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (KeyPair(HANDLE, HANDLE), "takes one key: pass pair.private or pair.public"),
        (262144, "takes a KeyHandle, .* got int"),
        ("kek", "got str"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_handle_is_refused(wrong, words):
    """A pair, a number and a label are near misses."""
    assert check_handle(HANDLE, "sign") is HANDLE
    with pytest.raises(UsageError, match=f"sign .*{words}"):
        check_handle(wrong, "sign")


@pytest.mark.parametrize(
    "use",
    [
        lambda app, key: app.encrypt(key, b"data"),
        lambda app, key: app.delete_key(key),
        lambda app, key: app.wrap_key(key, with_key=key),
        lambda app, key: app.derive_key(key, None),
        lambda app, key: app.share_key(key, with_user="bob"),
        lambda app, key: app.get_attributes(key),
    ],
)
def test_a_handle_of_another_cluster_touches_no_key_here(make, use):
    """The number may be another key's here: it is refused before any HSM is asked, and is no routing miss."""
    one, other = make(sdk=3), make(sdk=3, seed=2)
    foreign = one.client().generate_key("AES", 256, label="foreign")
    app = other.client()
    own = app.generate_key("AES", 256, label="own")
    assert own.number == foreign.number
    with pytest.raises(KeyNotOnHsm, match=f"is a handle of {one.id}, and this client talks to {other.id}"):
        use(app, foreign)

    assert [hsm.keys[own.number].label for hsm in other.hsms] == ["own"] * 3
    assert other.check.routing_misses() == []


def test_in_a_clone_a_key_is_looked_up_again(make):
    """A clone has the key under the same number; the application finds it there."""
    one = make(sdk=3)
    key = one.client().generate_key("AES", 256, label="kek")
    with HsmCluster.from_backup(one.backup(), sdk=3, seed=2) as clone:
        app = clone.client()
        with pytest.raises(KeyNotOnHsm):
            app.encrypt(key, b"data")
        (found,) = app.find_keys(label="kek")
        assert found.number == key.number
        app.encrypt(found, b"data")


def test_a_new_key_of_an_old_label_has_a_new_number(make):
    """Delete and create again: numbers are never given out twice."""
    app = make(sdk=3).client()
    first = app.generate_key("AES", 256, label="kek")
    app.delete_key(first)
    assert app.generate_key("AES", 256, label="kek").number != first.number
