"""Does `python-pkcs11` work with the door: in the test's own process, and over the socket?"""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: pip install python-pkcs11")

from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass  # noqa: E402
from pkcs11.util.ec import encode_named_curve_parameters  # noqa: E402
from pkcs11.util.rsa import decode_rsa_private_key, decode_rsa_public_key  # noqa: E402


@pytest.fixture
def session(hsm_pkcs11):
    """A session as an application opens it; CloudHSM wants `rw=True`."""
    token = pkcs11.lib(hsm_pkcs11.module).get_token(token_label=hsm_pkcs11.token_label)
    with token.open(user_pin=hsm_pkcs11.user_pin, rw=True) as opened:
        yield opened


def pair(session, label):
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    return session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(store=True, label=label)


@pytest.mark.parametrize("sdk", [pytest.param(sdk, marks=pytest.mark.hsm_cluster(sdk=sdk)) for sdk in (3, 5)])
def test_a_key_encrypts_here_and_is_told_by_its_label(session, sdk):
    """Generate, find, encrypt, decrypt, delete."""
    session.generate_key(KeyType.AES, 256, label="kek", store=True)
    key = session.get_key(label="kek", object_class=ObjectClass.SECRET_KEY)
    iv = bytes(16)
    secret = key.encrypt(b"attack at dawn", mechanism_param=iv)
    assert key.decrypt(secret, mechanism_param=iv) == b"attack at dawn"

    key.destroy()
    with pytest.raises(pkcs11.NoSuchKey):
        session.get_key(label="kek")


def test_a_signature_is_believed_elsewhere(session, verified):
    """What the door signs, `cryptography` verifies with the point that the door gives out."""
    public, private = pair(session, "signer")
    signature = private.sign(b"I owe you", mechanism=Mechanism.ECDSA_SHA256)

    point = public[Attribute.EC_POINT][2:]  # a DER OCTET STRING holds it
    elsewhere = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    assert verified(elsewhere, signature, b"I owe you")
    assert not verified(elsewhere, signature, b"You owe me")


def test_a_pair_may_do_without_a_label(session):
    """python-pkcs11 writes an empty one into the template, which is the default and says nothing."""
    public, private = pair(session, None)
    assert (public.label, private.label) == ("", "")


def test_mechanisms_of_curves_say_which(hsm_pkcs11):
    """Named ones over prime fields."""
    token = pkcs11.lib(hsm_pkcs11.module).get_token(token_label=hsm_pkcs11.token_label)
    flags = token.slot.get_mechanism_info(Mechanism.EC_KEY_PAIR_GEN).flags
    assert pkcs11.MechanismFlag.EC_NAMEDCURVE in flags
    assert pkcs11.MechanismFlag.EC_F_P in flags
    assert pkcs11.MechanismFlag.EC_F_2M not in flags


def test_a_wrapped_key_is_opened_elsewhere(session):
    """A key of `cryptography` wraps with OAEP, which is how keys leave CloudHSM; both sides open the blob.

    CloudHSM's AES wraps are vendor mechanisms, and the enumeration of python-pkcs11 is closed to them.
    """
    owner = rsa.generate_private_key(65537, 2048)
    der = owner.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = owner.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    wrapping = session.create_object(decode_rsa_public_key(public, capabilities=MechanismFlag.WRAP))
    unwrapping = session.create_object(decode_rsa_private_key(der, capabilities=MechanismFlag.UNWRAP))
    dek = session.generate_key(KeyType.AES, 256, store=True)  # a session key lives on one HSM, which may be another
    secret = dek.encrypt(b"attack at dawn", mechanism_param=bytes(16))

    how = {"mechanism": Mechanism.RSA_PKCS_OAEP, "mechanism_param": (Mechanism.SHA256, MGF.SHA256, None)}
    blob = wrapping.wrap_key(dek, **how)
    raw = owner.decrypt(blob, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None))
    opened = Cipher(algorithms.AES(raw), modes.CBC(bytes(16))).decryptor()
    assert opened.update(secret) == b"attack at dawn" + b"\2\2"

    again = unwrapping.unwrap_key(ObjectClass.SECRET_KEY, KeyType.AES, blob, template={Attribute.DECRYPT: True}, **how)
    assert again.decrypt(secret, mechanism_param=bytes(16)) == b"attack at dawn"


@pytest.mark.hsm_cluster(sdk=5, sweep=False, routing="pinned", pinned_to="hsm-1")
def test_a_key_that_one_hsm_lacks_is_an_invalid_handle_and_the_retry_heals(session, hsm_chaos, hsm_check):
    """The call is routed to the HSM that has no copy yet: CKR_KEY_HANDLE_INVALID, once."""
    with hsm_chaos.fail_clone("hsm-3"):
        _, private = pair(session, "signer")
    assert private.key_type is KeyType.EC  # it is read once; a miss there is FunctionFailed in python-pkcs11
    with hsm_chaos.route_to("hsm-3"):
        with pytest.raises(pkcs11.KeyHandleInvalid):
            private.sign(b"I owe you", mechanism=Mechanism.ECDSA_SHA256)
        assert len(hsm_check.routing_misses()) == 1
        private.sign(b"I owe you", mechanism=Mechanism.ECDSA_SHA256)

    hsm_check.misses_retried()


@pytest.mark.hsm_cluster(sdk=5)
def test_a_read_only_session_is_refused_as_sdk_5_does(hsm_pkcs11):
    """`token.open()` without `rw=True` is what most examples show, and CloudHSM does not take it."""
    token = pkcs11.lib(hsm_pkcs11.module).get_token(token_label=hsm_pkcs11.token_label)
    with pytest.raises(pkcs11.FunctionFailed):
        token.open(user_pin=hsm_pkcs11.user_pin)
    assert "CKF_RW_SESSION" in hsm_pkcs11.calls[-1].why


@pytest.mark.parametrize("number", [1, 2])
def test_the_library_is_loaded_once_and_each_test_has_a_slot_of_its_own(hsm_pkcs11, session, number):
    """Nothing of an earlier test is there, and the slot is a new one."""
    library = pkcs11.lib(hsm_pkcs11.module)
    assert [slot.slot_id for slot in library.get_slots()] == [hsm_pkcs11.slot_id]
    assert list(session.get_objects()) == []
    session.generate_key(KeyType.AES, 256, label="left behind", store=True)


def test_threads_with_a_session_each_work_side_by_side(hsm_pkcs11, session):
    """python-pkcs11 gives up the GIL within the library, so threads do meet there; one login serves them all."""
    token = pkcs11.lib(hsm_pkcs11.module).get_token(token_label=hsm_pkcs11.token_label)
    session.generate_key(KeyType.AES, 256, label="kek", store=True)

    def work(number):
        with token.open(rw=True) as own:
            key = own.get_key(label="kek")
            for turn in range(20):
                text = bytes([number, turn])
                assert key.decrypt(key.encrypt(text, mechanism_param=bytes(16)), mechanism_param=bytes(16)) == text
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [0, 1, 2, 3]


APPLICATION = """
import os
import pkcs11

with open(os.environ["PIN_FILE"], encoding="utf-8") as file:
    pin = file.read()
token = pkcs11.lib(os.environ["MODULE"]).get_token(token_label=os.environ["TOKEN"])
with token.open(user_pin=pin, rw=True) as session:
    key = session.generate_key(pkcs11.KeyType.AES, 256, label="kek", store=True)
    iv = session.generate_random(128)
    assert key.decrypt(key.encrypt(b"attack at dawn", mechanism_param=iv), mechanism_param=iv) == b"attack at dawn"
    print("made", key.label)
"""


@pytest.fixture
def environment(hsm_pkcs11, pin_file):
    """What the application wants to know."""
    return {"MODULE": hsm_pkcs11.module, "TOKEN": hsm_pkcs11.token_label, "PIN_FILE": str(pin_file)}


def test_another_process_comes_in_by_the_socket(environment, hsm_cluster, hsm_check, run):
    """All that it needs is the environment; its key is on every HSM, and outlives it."""
    assert run([sys.executable, "-c", APPLICATION], **environment).stdout == "made kek\n"

    assert [[key.label for key in hsm.keys.values()] for hsm in hsm_cluster.hsms] == [["kek"]] * 3
    hsm_check.durable()


@pytest.mark.hsm_chaos("kill-mid-create", checks=())
def test_another_process_sees_a_failed_create(environment, hsm_check, run):
    """The HSM that makes the key is lost before the first copy: the application fails, and nothing is left."""
    done = run([sys.executable, "-c", APPLICATION], code=1, **environment)
    assert "pkcs11.exceptions" in done.stderr
    hsm_check.no_orphan_keys()
