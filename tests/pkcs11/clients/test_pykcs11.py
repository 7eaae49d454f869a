"""Does `PyKCS11` work with the door, although it keeps the GIL while it is inside the library?"""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

PyKCS11 = pytest.importorskip("PyKCS11", reason="PyKCS11 is not installed: pip install PyKCS11")

from PyKCS11 import (  # noqa: E402
    CK_TRUE,
    CKA_CLASS,
    CKA_DECRYPT,
    CKA_EC_PARAMS,
    CKA_EC_POINT,
    CKA_ENCRYPT,
    CKA_EXTRACTABLE,
    CKA_KEY_TYPE,
    CKA_LABEL,
    CKA_SIGN,
    CKA_TOKEN,
    CKA_UNWRAP,
    CKA_VALUE,
    CKA_VALUE_LEN,
    CKA_VERIFY,
    CKA_WRAP,
    CKF_RW_SESSION,
    CKF_SERIAL_SESSION,
    CKK_AES,
    CKM_AES_CBC_PAD,
    CKM_EC_KEY_PAIR_GEN,
    CKM_ECDSA_SHA256,
    CKO_SECRET_KEY,
    Mechanism,
)

P256 = bytes.fromhex("06082a8648ce3d030107")  # DER of secp256r1's object identifier
WRAP = Mechanism(0x80002109, None)  # CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD: RFC 3394
SIGN = Mechanism(CKM_ECDSA_SHA256, None)
AES = [(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_AES)]
USES = [(name, CK_TRUE) for name in (CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_EXTRACTABLE)]


@pytest.fixture
def library(hsm_pkcs11, handed_over):
    """The library, loaded by PyKCS11 itself by its path."""
    loaded = PyKCS11.PyKCS11Lib()
    loaded.load(hsm_pkcs11.module)
    yield loaded
    loaded.unload()


@pytest.fixture
def session(library, hsm_pkcs11):
    opened = library.openSession(hsm_pkcs11.slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION)
    opened.login(hsm_pkcs11.user_pin)
    return opened


def made(session, label):
    return session.generateKey([*AES, *USES, (CKA_VALUE_LEN, 32), (CKA_TOKEN, CK_TRUE), (CKA_LABEL, label)])


def pair(session, label):
    named = [(CKA_TOKEN, CK_TRUE), (CKA_LABEL, label)]
    return session.generateKeyPair(
        [*named, (CKA_EC_PARAMS, P256), (CKA_VERIFY, CK_TRUE)],
        [*named, (CKA_SIGN, CK_TRUE)],
        mecha=Mechanism(CKM_EC_KEY_PAIR_GEN, None),
    )


def test_a_key_encrypts_here_and_is_told_by_its_label(session):
    """Generate, find, encrypt, decrypt, delete."""
    made(session, "kek")
    (key,) = session.findObjects([(CKA_LABEL, "kek")])
    cbc = Mechanism(CKM_AES_CBC_PAD, bytes(16))
    assert bytes(session.decrypt(key, session.encrypt(key, b"attack at dawn", cbc), cbc)) == b"attack at dawn"

    session.destroyObject(key)
    assert session.findObjects([(CKA_LABEL, "kek")]) == []


def test_the_iv_that_an_hsm_makes_comes_back(session):
    """CloudHSM writes it into the caller's parameter; `cryptography` opens the box with it."""
    known = bytes(range(32))
    key = session.createObject([*AES, *USES, (CKA_VALUE, known)])
    gcm = PyKCS11.AES_GCM_Mechanism(bytes(12), b"payroll", 128)
    box = bytes(session.encrypt(key, b"attack at dawn", gcm))

    iv = bytes(gcm._source_iv)  # PyKCS11 has no public name for the buffer that it hands out
    assert any(iv)
    assert AESGCM(known).decrypt(iv, box, b"payroll") == b"attack at dawn"


def test_a_signature_is_believed_elsewhere(session, verified):
    """What the door signs, `cryptography` verifies with the point that the door gives out."""
    public, private = pair(session, "signer")
    signature = bytes(session.sign(private, b"I owe you", SIGN))
    point = bytes(session.getAttributeValue(public, [CKA_EC_POINT])[0])[2:]
    elsewhere = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    assert verified(elsewhere, signature, b"I owe you")
    assert session.verify(public, b"I owe you", signature, SIGN)
    assert not session.verify(public, b"You owe me", signature, SIGN)


def test_a_wrapped_key_is_rfc_3394s(session):
    """`cryptography` unwraps what the door wrapped, and the door its own."""
    known = bytes(range(16))
    kek = session.createObject([*AES, *USES, (CKA_VALUE, known)])
    dek = made(session, "dek")
    blob = bytes(session.wrapKey(kek, dek, WRAP))
    assert len(aes_key_unwrap(known, blob)) == 32

    again = session.unwrapKey(kek, blob, [*AES, *USES], WRAP)
    cbc = Mechanism(CKM_AES_CBC_PAD, bytes(16))
    assert bytes(session.decrypt(again, session.encrypt(dek, b"x", cbc), cbc)) == b"x"


@pytest.mark.hsm_cluster(sweep=False, routing="pinned", pinned_to="hsm-1")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("CKR_OBJECT_HANDLE_INVALID", marks=pytest.mark.hsm_cluster(sdk=3)),
        pytest.param("CKR_KEY_HANDLE_INVALID", marks=pytest.mark.hsm_cluster(sdk=5)),
    ],
)
def test_a_miss_has_the_number_of_its_sdk_and_the_retry_heals(session, hsm_chaos, hsm_check, name):
    """hsm-3 never got the copy; the next call goes elsewhere.  A signature is two calls, and each is routed."""
    with hsm_chaos.fail_clone("hsm-3"):
        _, private = pair(session, "signer")
    with hsm_chaos.route_to("hsm-3"):
        with pytest.raises(PyKCS11.PyKCS11Error, match=name):
            session.sign(private, b"I owe you", SIGN)
    session.sign(private, b"I owe you", SIGN)
    hsm_check.misses_retried()


@pytest.mark.hsm_cluster(sdk=5)
def test_a_create_that_failed_half_way_is_found_by_looking(session, hsm_chaos, hsm_check, hsm_history):
    """The HSM that makes the key dies before the first copy: an error, and `findObjects` says that there is none."""
    with hsm_chaos.kill_mid_create():
        with pytest.raises(PyKCS11.PyKCS11Error):
            made(session, "kek")
    assert hsm_history.last.name == "generate_key"

    assert session.findObjects([(CKA_LABEL, "kek")]) == []
    made(session, "kek")
    hsm_check.no_orphan_keys()
    hsm_check.no_duplicate_labels()


@pytest.mark.hsm_cluster(sdk=5)
def test_a_handle_of_a_closed_session_names_the_line_that_got_it(library, session, hsm_pkcs11):
    """The line is the test's, and none of PyKCS11's own."""
    other = library.openSession(hsm_pkcs11.slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION)
    key = session.generateKey([*AES, *USES, (CKA_VALUE_LEN, 32), (CKA_LABEL, "dek")])
    session.closeSession()
    with pytest.raises(PyKCS11.PyKCS11Error, match="CKR_KEY_HANDLE_INVALID"):
        other.encrypt(key, b"x", Mechanism(CKM_AES_CBC_PAD, bytes(16)))

    why = hsm_pkcs11.calls[-1].why
    assert "stored by tests/pkcs11/clients/test_pykcs11.py:" in why
    assert why.endswith("find the key again")


def test_two_clients_share_one_library(hsm_pkcs11, handed_over):
    """python-pkcs11 and PyKCS11 load the same module: one application, one login, each other's keys."""
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: pip install python-pkcs11")
    token = pkcs11.lib(hsm_pkcs11.module).get_token(token_label=hsm_pkcs11.token_label)
    with token.open(user_pin=hsm_pkcs11.user_pin, rw=True) as one:
        key = one.generate_key(pkcs11.KeyType.AES, 256, label="kek", store=True)
        secret = key.encrypt(b"attack at dawn", mechanism_param=bytes(16))

        library = PyKCS11.PyKCS11Lib()
        library.load(hsm_pkcs11.module)  # it takes CKR_CRYPTOKI_ALREADY_INITIALIZED
        other = library.openSession(hsm_pkcs11.slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION)
        (found,) = other.findObjects([(CKA_LABEL, "kek")])
        cbc = Mechanism(CKM_AES_CBC_PAD, bytes(16))
        assert bytes(other.decrypt(found, secret, cbc)) == b"attack at dawn"
        other.closeSession()
    library.unload()
