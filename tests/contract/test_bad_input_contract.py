"""Does bad input get a clear error, and lose nothing?"""

import pytest

from pytest_hsmcluster import (
    CKM,
    ClusterError,
    DataInvalid,
    HsmCluster,
    KeyNotOnHsm,
    MechanismInvalid,
    NotLoggedIn,
    TemplateInvalid,
    UsageError,
)


@pytest.mark.parametrize("hsms", [0, 29, -1, 2.5, "3", True, None])
def test_a_cluster_has_1_to_28_hsms(hsms):
    with pytest.raises(UsageError, match="hsms is a number from 1 to 28"):
        HsmCluster(hsms)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda app: app.generate_key("RSA", 2048), UsageError, "come in pairs"),
        (lambda app: app.generate_key("AES", 257), TemplateInvalid, "128, 192 or 256"),
        (lambda app: app.generate_key("FOO", 128), TemplateInvalid, "FOO"),
        (lambda app: app.generate_key_pair("AES", 256), UsageError, "generate_key"),
        (lambda app: app.generate_key_pair("RSA", 1024), TemplateInvalid, "2048 to 4096"),
        (lambda app: app.generate_key_pair("EC", "P-257"), TemplateInvalid, "secp256r1"),
        (lambda app: app.import_key("AES", bytes(31)), TemplateInvalid, "248 bits"),
        (lambda app: app.import_key("RSA", b"junk"), DataInvalid, "PKCS #8"),
        (lambda app: app.import_key("AES", "text"), UsageError, "takes bytes"),
        (lambda app: app.generate_key("AES", 256, label=5), UsageError, "a label is a str"),
        (lambda app: app.generate_key("AES", 256, token="yes"), UsageError, "token="),
        (lambda app: app.find_keys(kind="FOO"), UsageError, "kind="),
        (lambda app: app.random(-1), UsageError, "number of bytes"),
    ],
)
def test_a_key_that_cannot_be_is_refused_and_not_made(make, call, error, words):
    cluster = make()
    with pytest.raises(error, match=words):
        call(cluster.client())
    assert [len(hsm.keys) for hsm in cluster.hsms] == [0, 0, 0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda app, key: app.encrypt(key, bytes(16225)), DataInvalid, "at most 16224 bytes"),
        (lambda app, key: app.encrypt(key, b"15 bytes long..", mechanism=CKM.AES_ECB), DataInvalid, "whole blocks"),
        (lambda app, key: app.encrypt(key, b"data", mechanism=0xBC614E), MechanismInvalid, "0x00BC614E"),
        (lambda app, key: app.sign(key, b"data", mechanism=CKM.ECDSA), MechanismInvalid, "ECDSA"),
        (lambda app, key: app.decrypt(key, b"short"), DataInvalid, "too few"),
        (lambda app, key: app.decrypt(key, bytes(64)), DataInvalid, "refuses this ciphertext"),
        (lambda app, key: app.unwrap_key(bytes(40), with_key=key, kind="AES"), DataInvalid, "refuses this wrapped key"),
        (lambda app, key: app.encrypt("kek", b"data"), UsageError, "takes a KeyHandle"),
    ],
)
def test_a_use_that_cannot_be_is_refused_and_the_key_still_works(make, call, error, words):
    app = make().client()
    key = app.generate_key("AES", 256, label="k")
    with pytest.raises(error, match=words):
        call(app, key)
    assert app.decrypt(key, app.encrypt(key, b"data")) == b"data"


def test_use_after_logout_after_delete_and_across_clusters(make, holders):
    cluster, other = make(), make(seed=2)
    app, stranger = cluster.client(), other.client()
    key, kept = app.generate_key("AES", 256, label="k"), app.generate_key("AES", 256, label="kept")
    for use in (
        lambda: stranger.encrypt(key, b""),
        lambda: stranger.delete_key(key),
        lambda: other.sync_key(key, other),
    ):
        with pytest.raises((KeyNotOnHsm, UsageError), match=cluster.id):
            use()
    app.delete_key(key)
    for use in (lambda: app.encrypt(key, b""), lambda: app.delete_key(key), lambda: app.wrap_key(kept, with_key=key)):
        with pytest.raises(KeyNotOnHsm):
            use()
    app.logout()
    for use in (lambda: app.encrypt(kept, b""), app.find_keys, app.logout, lambda: app.generate_key("AES", 256)):
        with pytest.raises(NotLoggedIn):
            use()
    assert holders(cluster, "kept") == ["hsm-1", "hsm-2", "hsm-3"]


def test_no_secret_is_in_anything_that_can_be_shown(make):
    """Key, password, plaintext, ciphertext and signature, in the reprs of all that a test can get hold of."""
    cluster = make()
    app = cluster.client()
    raw = bytes(range(100, 132))
    key = app.import_key("AES", raw, label="k")
    box, signature = app.encrypt(key, b"plaintext of a secret"), app.sign(key, b"plaintext of a secret")
    backup = cluster.backup()
    hsm = cluster.hsm("hsm-1")
    with pytest.raises(ClusterError) as refused:
        app.decrypt(key, box[:-1] + b"?")
    shown = [cluster, app, key, backup, backup.keys, backup.accounts, backup.masking_key, hsm, hsm.keys, hsm.users]
    shown += [hsm.audit_log, hsm.accounts, cluster.chaos, cluster.check, cluster.clock, cluster.profile]
    shown += [cluster.history, list(cluster.history), app.get_attributes(key), refused.value, refused.value.args]
    text = "\n".join(map(repr, shown))
    for secret in (raw, box, signature):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
    assert "plaintext" not in text
    assert cluster.default_password not in text
