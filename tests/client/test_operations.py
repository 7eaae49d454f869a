"""What an application can do, each operation with its answer, its journal and its refusals."""

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from pytest_hsmcluster import (
    CKA,
    CKM,
    CKR,
    ClusterError,
    CounterKdfParams,
    DataInvalid,
    EcdhParams,
    KeyAccessDenied,
    KeyCapacityReached,
    KeyNotOnHsm,
    KeyUnextractable,
    Kind,
    MechanismInvalid,
    RequestTimeout,
    SignatureInvalid,
    TemplateInvalid,
    UsageError,
    sdk3_config,
    sdk5_config,
    write_config,
)
from pytest_hsmcluster.errors import KeyFunctionNotPermitted

ONE_OF_EACH = [("AES", 128), ("AES", 192), ("AES", 256), ("GENERIC_SECRET", 256)]


@pytest.fixture
def cluster(make):
    return make(sdk=3)


@pytest.fixture
def app(cluster):
    return cluster.client("app")


@pytest.mark.parametrize(("kind", "bits"), ONE_OF_EACH)
def test_secret_keys_are_made(app, cluster, kind, bits):
    """A handle says number, label, kind, class and whether it is a token key."""
    key = app.generate_key(kind, bits, label="kek")

    assert (key.label, key.kind, key.cls, key.token) == ("kek", kind, "secret", True)
    assert key.number >= 262144
    assert cluster.hsm("hsm-1").keys[key.number].label == "kek"


def test_aes_encrypts_with_gcm_by_default(app):
    """IV (12 bytes, made by the HSM), ciphertext, tag (16); additional data is authenticated."""
    key = app.generate_key("AES", 256)
    box = app.encrypt(key, b"data", aad=b"header")

    assert len(box) == 12 + 4 + 16
    assert app.decrypt(key, box, aad=b"header") == b"data"
    with pytest.raises(DataInvalid):
        app.decrypt(key, box, aad=b"another")
    assert app.encrypt(key, b"data", aad=b"header") != box


def test_signatures_verify_here_and_elsewhere(app):
    """ECDSA: r and s; the public key is one of `cryptography`'s."""
    pair = app.generate_key_pair("EC", "secp256r1", label="signer")
    signature = app.sign(pair.private, b"data")
    app.verify(pair.public, b"data", signature)
    with pytest.raises(SignatureInvalid):
        app.verify(pair.public, b"other", signature)

    public = app.public_key(pair.public)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public == app.public_key(pair.private)
    assert (pair.public.cls, pair.private.cls, len(signature)) == ("public", "private", 64)


def test_rsa_signatures_verify_elsewhere(make):
    """Seeded keys come from a pool, so that a test does not wait for primes."""
    app = make(sdk=3, keys="seeded").client()
    pair = app.generate_key_pair("RSA", 2048, label="signer")
    signature = app.sign(pair.private, b"data")
    app.public_key(pair.public).verify(signature, b"data", padding.PKCS1v15(), hashes.SHA256())
    box = app.encrypt(pair.public, b"data")
    assert app.decrypt(pair.private, box) == b"data"


def test_macs_of_secret_keys(app):
    """HMAC and CMAC are signatures, too."""
    for kind, bits in (("GENERIC_SECRET", 256), ("AES", 256)):
        key = app.generate_key(kind, bits)
        tag = app.sign(key, b"data")
        app.verify(key, b"data", tag)
        with pytest.raises(SignatureInvalid):
            app.verify(key, b"data!", tag)


def test_a_key_travels_wrapped(app):
    """Wrapped and unwrapped it is the same material under a new handle; the wrapping key must fit."""
    kek, other = app.generate_key("AES", 256, label="kek"), app.generate_key("AES", 256, label="other")
    dek = app.import_key("AES", bytes(range(32)), label="dek")
    blob = app.wrap_key(dek, with_key=kek)
    again = app.unwrap_key(blob, with_key=kek, kind="AES", label="dek-2")

    assert again.number != dek.number
    assert app.decrypt(again, app.encrypt(dek, b"data")) == b"data"
    with pytest.raises(DataInvalid):
        app.unwrap_key(blob, with_key=other, kind="AES")


def test_a_key_that_is_not_extractable_is_not_wrapped(app):
    """CKA_EXTRACTABLE false; the wrapping key may be any."""
    kek = app.generate_key("AES", 256)
    dek = app.generate_key("AES", 256, template={CKA.EXTRACTABLE: False})
    with pytest.raises(KeyUnextractable):
        app.wrap_key(dek, with_key=kek)


def test_keys_are_derived(app):
    """ECDH between two pairs gives the same secret on both sides; the counter KDF gives a key from a key."""
    one, two = app.generate_key_pair("EC", "P-256"), app.generate_key_pair("EC", "P-256")
    keys = []
    for mine, theirs in ((one, two), (two, one)):
        point = app.public_key(theirs.public).public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        keys.append(app.derive_key(mine.private, EcdhParams(peer=point), label="shared", token=False))
    assert app.decrypt(keys[1], app.encrypt(keys[0], b"data")) == b"data"

    base = app.generate_key("AES", 256)
    a, b = (app.derive_key(base, CounterKdfParams(label=b"l", context=b"c")) for _ in range(2))
    assert app.decrypt(b, app.encrypt(a, b"data")) == b"data"


def test_attributes_are_read_and_changed_everywhere(app, cluster):
    """What is known of a key, never its value; a change is written to every HSM that is up."""
    key = app.generate_key("AES", 256, label="kek")
    known = app.get_attributes(key)
    assert (known[CKA.LABEL], known[CKA.VALUE_LEN], len(known[CKA.CHECK_VALUE])) == ("kek", 32, 3)
    assert CKA.VALUE not in known
    app.set_attribute(key, CKA.LABEL, "renamed")

    assert [hsm.keys[key.number].label for hsm in cluster.hsms] == ["renamed"] * 3
    assert [found.label for found in app.find_keys(label="renamed")] == ["renamed"]
    with pytest.raises(TemplateInvalid):
        app.set_attribute(key, CKA.VALUE_LEN, 16)


def test_keys_are_found_by_what_they_are(app):
    """Label, kind, class, id and template; in the order of handles."""
    kek = app.generate_key("AES", 256, label="kek", template={CKA.ID: b"\x01"})
    pair = app.generate_key_pair("EC", "P-256", label="kek")
    assert app.find_keys(label="kek") == [kek, pair.public, pair.private]
    assert app.find_keys(kind="AES") == [kek]
    assert app.find_keys(cls="private") == [pair.private]
    assert app.find_keys(id=b"\x01") == [kek]
    assert app.find_keys(template={CKA.SENSITIVE: True}, kind="EC") == [pair.private]
    assert app.find_keys(label="nothing") == []


def test_finding_gives_the_union_of_what_the_hsms_have(app, cluster):
    """One copy is enough to be found; one HSM that fails does not hide the others' answer."""
    with cluster.chaos.fail_clone():
        key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=find_keys hsm=hsm-3"):
        assert app.find_keys(label="kek") == [key]
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=find_keys"):
        with pytest.raises(ClusterError):
            app.find_keys(label="kek")


def test_a_shared_key_can_be_used_and_no_more(app, cluster):
    """Other users use it; the owner alone wraps, shares, changes and deletes; taken back it is invisible."""
    cluster.create_user("bob", "password-1")
    key = app.generate_key("AES", 256, label="kek")
    bob = cluster.client("bob", login=False)
    bob.login("bob", "password-1")
    assert bob.find_keys() == []
    with pytest.raises(KeyAccessDenied) as caught:
        bob.encrypt(key, b"data")
    assert (caught.value.hsm_code, caught.value.outcome) == (0xC6, "fail")
    app.share_key(key, with_user="BOB")
    (shared,) = bob.find_keys()
    assert app.decrypt(key, bob.encrypt(shared, b"data")) == b"data"
    for call in (
        lambda: bob.delete_key(shared),
        lambda: bob.wrap_key(shared, with_key=shared),
        lambda: bob.set_attribute(shared, CKA.LABEL, "mine"),
        lambda: bob.share_key(shared, with_user="crypto_user"),
    ):
        with pytest.raises(KeyAccessDenied):
            call()
    app.unshare_key(key, with_user="bob")
    assert bob.find_keys() == []
    cluster.check.in_sync()


def test_a_public_key_is_everybodys(app, cluster):
    """Usable by every crypto user without sharing."""
    cluster.create_user("bob", "password-1")
    pair = app.generate_key_pair("EC", "P-256", label="signer")
    signature = app.sign(pair.private, b"data")
    bob = cluster.client("bob", login=False)
    bob.login("bob", "password-1")
    (found,) = bob.find_keys(label="signer")
    bob.verify(found, b"data", signature)


def test_random_and_digest(app):
    """Random bytes come from an HSM; a digest is computed in the client and reaches none."""
    assert len(app.random(32)) == 32
    assert app.random(16) != app.random(16)
    assert app.digest(b"abc").hex().startswith("ba7816bf")
    assert app.digest(b"abc", CKM.SHA512) != app.digest(b"abc")


def test_a_digest_writes_nothing(app, cluster):
    """It is no call of the cluster."""
    before = len(cluster.history)
    app.digest(b"abc")
    assert len(cluster.history) == before


# -- deleting -----------------------------------------------------------------------------------


def test_a_key_is_deleted_everywhere(app, cluster, holders):
    """Then it is not found, and using it is the missing key's error, at once and once."""
    key = app.generate_key("AES", 256, label="kek")
    app.delete_key(key)

    assert holders(cluster, "kek") == []
    with pytest.raises(KeyNotOnHsm):
        app.encrypt(key, b"data")
    with pytest.raises(KeyNotOnHsm):
        app.delete_key(key)
    assert cluster.check.routing_misses() == []
    cluster.check.misses_retried()


def test_deleting_is_done_when_an_hsm_without_the_key_is_among_them(app, cluster, holders):
    """Not there counts as removed."""
    with cluster.chaos.fail_clone("hsm-2"):
        key = app.generate_key("AES", 256, label="kek")
    app.delete_key(key)
    assert holders(cluster, "kek") == []
    assert cluster.history.last.kind is Kind.OK


@pytest.mark.parametrize(
    ("spec", "error", "left"),
    [
        ("fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key hsm=hsm-2", ClusterError, ["hsm-2"]),
        ("drop @ wire.response command=delete_key hsm=hsm-2", RequestTimeout, []),
        ("drop @ wire.request command=delete_key hsm=hsm-2", RequestTimeout, ["hsm-2"]),
    ],
)
def test_one_error_or_silence_leaves_a_delete_open(app, cluster, holders, spec, error, left):
    """Some HSMs did it, one may not have: `info`."""
    key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.inject(spec), pytest.raises(error) as caught:
        app.delete_key(key)

    assert caught.value.outcome == "info"
    assert holders(cluster, "kek") == left
    assert cluster.history.last.kind is Kind.INFO


def test_a_delete_that_every_hsm_refuses_certainly_did_not_happen(app, cluster, holders):
    """Nobody removed anything."""
    key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key"):
        with pytest.raises(ClusterError) as caught:
            app.delete_key(key)
    assert caught.value.outcome == "fail"
    assert len(holders(cluster, "kek")) == 3


def test_a_delete_does_not_reach_an_hsm_that_is_down_and_the_key_comes_back(app, cluster, holders):
    """Done as far as the client knows; the sweep keeps no memory of deletes (a guess)."""
    key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.crash("hsm-3"):
        app.delete_key(key)
    assert cluster.history.last.kind is Kind.OK
    assert holders(cluster, "kek") == ["hsm-3"]
    cluster.sweep_now()
    assert len(holders(cluster, "kek")) == 3
    assert [finding.label for finding in cluster.check.resurrected_keys()] == ["kek"]


# -- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda app, key: app.generate_key("AEZ", 256), TemplateInvalid, "AEZ"),
        (lambda app, key: app.generate_key("AES", 255), TemplateInvalid, "128, 192 or 256"),
        (lambda app, key: app.generate_key_pair("EC", "P-9"), TemplateInvalid, "no curve 'P-9'"),
        (lambda app, key: app.generate_key_pair("RSA", 1024), TemplateInvalid, "2048 to 4096 bits in steps of 256"),
        (lambda app, key: app.generate_key("DES3"), ClusterError, "FIPS"),
        (lambda app, key: app.import_key("AES", b"short"), TemplateInvalid, "128, 192 or 256"),
        (lambda app, key: app.import_key("EC", b"no key at all"), DataInvalid, "no unencrypted"),
        (lambda app, key: app.encrypt(key, b"x", mechanism="AES_GCN"), MechanismInvalid, "did you mean"),
        (lambda app, key: app.encrypt(key, b"x", mechanism=CKM.AES_CMAC), MechanismInvalid, "cannot encrypt"),
        (lambda app, key: app.encrypt(key, b"x", mechanism=0x99), MechanismInvalid, "0x00000099"),
        (lambda app, key: app.encrypt(key, b"x" * 20_000), DataInvalid, "at most 16224 bytes"),
        (lambda app, key: app.decrypt(key, b"x" * 10), DataInvalid, ""),
        (lambda app, key: app.unwrap_key(b"x" * 10, with_key=key, kind="AES"), DataInvalid, "refuses"),
        (lambda app, key: app.derive_key(key, None), MechanismInvalid, "CounterKdfParams"),
        (lambda app, key: app.set_attribute(key, CKA.VALUE, b"x"), TemplateInvalid, ""),
        (lambda app, key: app.share_key(key, with_user="nobody"), TemplateInvalid, "doesn't exist: 'nobody'"),
        (lambda app, key: app.share_key(key, with_user="crypto_user"), TemplateInvalid, "owns"),
        (lambda app, key: app.generate_key("AES", 256, label="x" * 128), TemplateInvalid, "1 to 127 bytes"),
    ],
)
def test_the_cluster_refuses_and_nothing_is_changed(app, cluster, call, error, words):
    """A refusal says what was wrong and what is allowed; nothing happened, and all keys are as before."""
    key = app.generate_key("AES", 256, label="kek")
    with pytest.raises(error) as caught:
        call(app, key)

    assert words in str(caught.value)
    assert caught.value.outcome == "fail"
    assert [list(hsm.keys) for hsm in cluster.hsms] == [[key.number]] * 3
    cluster.check.in_sync()


def test_attributes_limit_what_a_key_may_be_used_for(app):
    """CKA_SIGN false: no signature."""
    pair = app.generate_key_pair("EC", "P-256", template={CKA.SIGN: False})
    with pytest.raises(KeyFunctionNotPermitted):
        app.sign(pair.private, b"data")


def test_a_full_hsm_takes_no_key(make):
    """Session keys count too; the create certainly failed."""
    cluster = make(1, sdk=3, key_capacity=2)
    app = cluster.client()
    app.generate_key("AES", 256)
    app.generate_key("AES", 256, token=False)
    with pytest.raises(KeyCapacityReached, match="capacity 2") as caught:
        app.generate_key("AES", 256)
    assert (caught.value.outcome, caught.value.ckr) == ("fail", CKR.DEVICE_MEMORY)


def test_a_mistake_in_a_test_is_no_open_operation(make):
    """A UsageError that comes up on the way is written down as an operation that failed."""
    cluster = make(sdk=3, keys="seeded")
    with pytest.raises(UsageError, match="fixed pool"):
        cluster.client().generate_key_pair("RSA", 2304)
    assert (cluster.history.last.kind, cluster.history.last.error) == (Kind.FAIL, "UsageError")


@pytest.mark.parametrize(
    ("name", "sdk3", "sdk5", "hsm_code"),
    [
        ("KeyNotOnHsm", CKR.OBJECT_HANDLE_INVALID, CKR.KEY_HANDLE_INVALID, 0xA8),
        ("HsmBusy", CKR.OPERATION_ACTIVE, CKR.FUNCTION_FAILED, 0xBB),
        ("HsmUnavailable", CKR.GENERAL_ERROR, CKR.DEVICE_ERROR, 0x30000085),
        ("RequestTimeout", CKR.GENERAL_ERROR, CKR.DEVICE_ERROR, None),
        ("SessionLimitReached", CKR.ARGUMENTS_BAD, CKR.SESSION_COUNT, 0x8C),
        ("KeyAccessDenied", CKR.OBJECT_HANDLE_INVALID, CKR.KEY_HANDLE_INVALID, 0xC6),
        ("KeyUnavailable", CKR.FUNCTION_FAILED, CKR.FUNCTION_FAILED, None),
        ("LoginFailed", CKR.PIN_INCORRECT, CKR.PIN_INCORRECT, 0xA3),
        ("AccountLocked", CKR.PIN_LOCKED, CKR.PIN_LOCKED, 0xA3),
        ("NotLoggedIn", CKR.USER_NOT_LOGGED_IN, CKR.USER_NOT_LOGGED_IN, None),
        ("KeyCapacityReached", CKR.DEVICE_MEMORY, CKR.DEVICE_MEMORY, None),
    ],
)
def test_each_error_has_the_return_value_of_its_sdk(make, name, sdk3, sdk5, hsm_code):
    """What a PKCS#11 user sees, by SDK, and what the HSM said; the journal has the same number."""
    for sdk, ckr in ((3, sdk3), (5, sdk5)):
        cluster = make(sdk=sdk, retry_mode="off")
        app = cluster.client()
        with cluster.chaos.inject(f"fail {name} @ hsm.receive command=random"), pytest.raises(ClusterError) as caught:
            app.random(4)
        assert (type(caught.value).__name__, caught.value.ckr, caught.value.hsm_code) == (name, ckr, hsm_code)
        assert cluster.history.last.ckr == ckr


# -- settings from the SDKs' own files -----------------------------------------------------------------


def test_sdk_3_takes_its_minimum_from_its_file(tmp_path, make):
    """`cloudhsm_client.cfg` says SDK 3 and how many copies; an argument overrides the number."""
    path = write_config(
        sdk3_config(hostname="10.0.0.10", create_object_minimum_nodes=2), tmp_path / "cloudhsm_client.cfg"
    )
    assert (make(config=path).profile.sdk, make(config=path).minimum) == (3, 2)
    assert make(config=path, create_object_minimum_nodes=1).minimum == 1


def test_sdk_5_takes_check_and_retry_mode_from_its_file(tmp_path, make):
    """`cloudhsm-pkcs11.cfg`: both switches; arguments override them."""
    path = write_config(
        sdk5_config(hostnames=["10.0.0.10"], disable_key_availability_check=True, default_retry_mode="off"),
        tmp_path / "cloudhsm-pkcs11.cfg",
    )
    one = make(1, config=path)
    one.client().generate_key("AES", 256)
    assert (one.profile.sdk, one.profile.availability_check, one.profile.retry_mode) == (5, False, "off")
    other = make(config=path, availability_check=True, retry_mode="standard")
    assert (other.profile.availability_check, other.profile.retry_mode) == (True, "standard")
