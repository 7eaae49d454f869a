"""Does what the contract writes down about clients and clusters work as it is written?"""

import inspect

import pytest

import pytest_hsmcluster
from pytest_hsmcluster import AsyncClient, Client, ClusterError, History, HsmCluster, KeyPair, SignatureInvalid

ERRORS = (
    *("KeyNotOnHsm", "TooFewCopies", "KeyUnavailable", "HsmBusy", "HsmUnavailable", "RequestTimeout", "LoginFailed"),
    *("AccountLocked", "NotLoggedIn", "KeyAccessDenied", "KeyCapacityReached", "TemplateInvalid", "MechanismInvalid"),
    *("DataInvalid", "SignatureInvalid", "ApplicationDied"),
)


def test_the_example_runs_line_by_line(make, tmp_path):
    hsm_cluster = make()
    hsm_cluster.create_user("alice", "password")
    hsm_cluster.create_user("bob", "password")
    client = hsm_cluster.client("app-1")
    other = hsm_cluster.client("app-2", login=False)
    other.login("alice", "password")
    kek = client.generate_key("AES", 256, label="kek", token=True, min_srv=None, timeout_s=None)
    pair = client.generate_key_pair("EC", "secp256r1", label="signer")
    dek = client.import_key("AES", bytes(32), label="dek")
    blob = client.wrap_key(dek, with_key=kek)
    again = client.unwrap_key(blob, with_key=kek, kind="AES", label="dek-2")
    box = client.encrypt(kek, b"data", aad=b"")
    sig = client.sign(pair.private, b"data")

    assert isinstance(pair, KeyPair)
    assert client.verify(pair.public, b"data", sig) is None
    with pytest.raises(SignatureInvalid):
        client.verify(pair.public, b"date", sig)
    assert len(box) == 12 + len(b"data") + 16
    assert client.decrypt(again, client.encrypt(dek, b"same material")) == b"same material"
    assert client.public_key(pair.public).curve.name == "secp256r1"
    assert client.find_keys(label="kek") == [kek]
    client.delete_key(dek)
    client.share_key(kek, with_user="bob")
    client.logout()

    assert (kek.label, kek.kind, kek.token) == ("kek", "AES", True)
    hsm = hsm_cluster.hsm("hsm-1")
    assert (hsm.id, hsm.state, hsm.zone, hsm.keys[kek.number].label) == ("hsm-1", "up", "a", "kek")
    assert hsm_cluster.hsms[0] is hsm
    hsm_cluster.history.save(tmp_path / "history.jsonl")
    assert History.load(tmp_path / "history.jsonl").digest() == hsm_cluster.history.digest()


def test_a_clone_knows_the_keys_and_takes_single_ones_by_hand(make):
    cluster = make()
    app = cluster.client()
    app.generate_key("AES", 256, label="old")
    clone = HsmCluster.from_backup(cluster.backup(), sdk=3)
    with clone:
        there = clone.client("app")
        late = cluster.sync_key(app.generate_key("AES", 256, label="new"), clone)
        assert [key.label for key in there.find_keys()] == ["old", "new"]
        assert there.decrypt(late, there.encrypt(late, b"data")) == b"data"
        clone.check.no_orphan_keys()


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_tells_code_outcome_and_hsm(name):
    kind = getattr(pytest_hsmcluster, name)
    assert issubclass(kind, ClusterError)
    assert all(hasattr(kind, attribute) for attribute in ("ckr", "hsm_code", "outcome", "hsm"))


def test_both_clients_take_the_same_arguments():
    """An application changes nothing but its awaits."""
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            theirs = inspect.signature(getattr(AsyncClient, name)).parameters
            assert list(inspect.signature(method).parameters.values()) == list(theirs.values()), name
