"""Does a Java program work with the cluster, through SunPKCS11 and the socket?"""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from pytest_hsmcluster import DataInvalid
from pytest_hsmcluster.cryptoki import CKM, CKR
from pytest_hsmcluster.keys.parameters import IvParams
from tests.pkcs11.clients.java_program import CBC, CTR, NEEDS_JAVA, java_programs, newer_java
from tests.pkcs11.clients.programs import Failed, held, results
from tests.pkcs11.clients.sunpkcs11 import SECRET, attributes, working

DATA = b"the quick brown fox"
PAGE = Path(__file__).parents[3] / "docs" / "pkcs11-java-go.md"

pytestmark = NEEDS_JAVA


@pytest.fixture
def java(hsm_pkcs11, tmp_path_factory):
    """Starts the program."""
    with java_programs(hsm_pkcs11, tmp_path_factory) as begin:
        yield begin


# -- keys ------------------------------------------------------------------------------------------------


def test_what_java_encrypts_the_python_client_decrypts(java, hsm_client):
    """KeyGenerator and Cipher: the key is on all HSMs, and CBC has the IV that Java made."""
    program = java()
    program.ask("generate", "k")
    iv, box = map(bytes.fromhex, program.ask("encrypt", "k", CBC, DATA).split())

    (key,) = hsm_client.find_keys(label="payroll")
    assert key.token and key.kind == "AES"
    assert hsm_client.decrypt(key, box, mechanism=CKM.AES_CBC_PAD, params=IvParams(iv)) == DATA


def test_what_the_python_client_encrypts_java_decrypts(java, hsm_client):
    """KeyStore and Cipher: the alias is the label, and GCM can be decrypted."""
    key = hsm_client.generate_key("AES", 256, label="archive")
    box = hsm_client.encrypt(key, DATA)

    assert java().ask_bytes("decrypt", "archive", "AES/GCM/NoPadding", box[:12], box[12:]) == DATA


def test_imported_key_encrypts_as_software_does(java):
    """`KeyStore.setKeyEntry` with a SecretKeySpec is C_CreateObject: a key whose bytes both sides know."""
    raw = bytes(range(32))
    program = java()
    program.ask("import", "brought", raw)
    counter, box = map(bytes.fromhex, program.ask("encrypt", "brought", CTR, DATA).split())

    software = Cipher(algorithms.AES(raw), modes.CTR(counter)).decryptor()
    assert software.update(box) + software.finalize() == DATA


def test_java_finds_and_deletes_by_alias(java, hsm_client):
    """KeyStore lists secret keys by their labels; a deleted entry is gone from every HSM."""
    for label in ("a", "b"):
        hsm_client.generate_key("AES", 256, label=label)
    program = java()
    assert program.ask("aliases") == "a b"
    program.ask("delete", "a")
    assert program.ask("aliases") == "b"
    assert hsm_client.find_keys(label="a") == []


def test_key_made_after_the_key_store_was_loaded_is_seen_after_the_next_load(java, hsm_client):
    """KeyStore keeps the list of aliases that it read: `load` reads it anew."""
    program = java()
    hsm_client.generate_key("AES", 256, label="late")
    assert program.ask("aliases") == ""
    program.ask("reload")
    assert program.ask("aliases") == "late"


def test_key_without_the_attribute_token_ends_with_the_program(java, hsm_cluster):
    """SunPKCS11 asks for session keys unless the configuration says CKA_TOKEN."""
    program = java(attributes("generate, CKO_SECRET_KEY, *", *SECRET[1:], label="fleeting"))
    program.ask("generate", "k")
    program.ask("encrypt", "k", CBC, DATA)
    assert held(hsm_cluster) == ["fleeting"]
    program.end()
    java().end()  # the cluster hears of the end before it hears of the next program
    assert held(hsm_cluster) == []


def test_key_without_attributes_can_do_nothing(java):
    """All uses are false unless they are asked for, and Java asks for none by itself."""
    program = java(attributes("generate, CKO_SECRET_KEY, *", "TOKEN"))
    program.ask("generate", "k")
    with pytest.raises(Failed, match="CKR_KEY_FUNCTION_NOT_PERMITTED"):
        program.ask("encrypt", "k", CBC, DATA)


def test_configuration_of_the_page_works(java):
    """What docs/pkcs11-java-go.md shows, with the library of this test; each kind of key can do its work."""
    (block,) = re.findall(r"```properties\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [line.partition(" ")[0] for line in block.splitlines()[:3]] == ["name", "library", "slotListIndex"]
    program = java(*block.splitlines()[3:])
    program.ask("generate", "k")
    program.ask("encrypt", "k", CBC, DATA)
    program.ask("pair", "p", "EC", "secp256r1")
    program.ask("sign", "p", "SHA256withECDSA", DATA)
    program.ask("import", "brought", bytes(32))
    program.ask("encrypt", "brought", CBC, DATA)


# -- signatures ---------------------------------------------------------------------------------------------


def test_ec_signature_of_java_verifies_in_software(java, hsm_client):
    """KeyPairGenerator and Signature; the public key comes from the cluster by another way, and is Java's."""
    program = java()
    told = program.ask_bytes("pair", "p", "EC", "secp256r1")
    signature = program.ask_bytes("sign", "p", "SHA256withECDSA", DATA)

    (found,) = (key for key in hsm_client.find_keys(label="payroll") if key.cls == "public")
    public = hsm_client.public_key(found)
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == told
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, DATA, ec.ECDSA(SHA256()))
    assert program.ask("verify", "p", "SHA256withECDSA", DATA, signature) == "true"
    assert program.ask("verify", "p", "SHA256withECDSA", DATA + b"!", signature) == "false"


def test_rsa_signature_of_java_verifies_in_software(java, hsm_client):
    """SHA256withRSA is CKM_SHA256_RSA_PKCS."""
    program = java()
    program.ask("pair", "p", "RSA", "2048")
    signature = program.ask_bytes("sign", "p", "SHA256withRSA", DATA)

    (found,) = (key for key in hsm_client.find_keys(label="payroll") if key.cls == "public")
    public = hsm_client.public_key(found)
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signature, DATA, padding.PKCS1v15(), SHA256())


def test_private_keys_are_no_entries_of_the_key_store(java, hsm_client):
    """KeyStore lists a private key only with its certificate, and CloudHSM's library keeps none."""
    hsm_client.generate_key_pair("EC", "secp256r1", label="signer")
    assert java().ask("aliases") == ""


# -- wrapping --------------------------------------------------------------------------------------------------


@pytest.mark.hsm_cluster(fips=False)
def test_key_wrapped_in_java_is_unwrapped_by_software(java):
    """RSA/ECB/PKCS1Padding is CKM_RSA_PKCS, the only wrapping that SunPKCS11 of Java 17 knows; not for FIPS mode."""
    partner = rsa.generate_private_key(65537, 2048)
    public = partner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    program = java()
    program.ask("generate", "dek")
    blob = program.ask_bytes("wrap-for", "dek", public, "RSA/ECB/PKCS1Padding")
    counter, box = map(bytes.fromhex, program.ask("encrypt", "dek", CTR, DATA).split())

    software = Cipher(algorithms.AES(partner.decrypt(blob, padding.PKCS1v15())), modes.CTR(counter)).decryptor()
    assert software.update(box) + software.finalize() == DATA


@pytest.mark.hsm_cluster(fips=False)
def test_key_wrapped_by_software_is_unwrapped_in_java(java):
    """What comes out encrypts as software does."""
    raw = bytes(range(32))
    program = java()
    public = load_der_public_key(program.ask_bytes("pair", "p", "RSA", "2048"))
    assert isinstance(public, rsa.RSAPublicKey)
    program.ask("unwrap", "dek", "p", "RSA/ECB/PKCS1Padding", public.encrypt(raw, padding.PKCS1v15()))
    counter, box = map(bytes.fromhex, program.ask("encrypt", "dek", CTR, DATA).split())

    software = Cipher(algorithms.AES(raw), modes.CTR(counter)).decryptor()
    assert software.update(box) + software.finalize() == DATA


def test_java_wraps_nothing_in_fips_mode(java):
    """PKCS #1 v1.5 padding is forbidden there, and SunPKCS11 knows no OAEP."""
    public = rsa.generate_private_key(65537, 2048).public_key()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    program = java()
    program.ask("generate", "dek")
    with pytest.raises(Failed, match="CKR_MECHANISM_INVALID"):
        program.ask("wrap-for", "dek", encoded, "RSA/ECB/PKCS1Padding")
    with pytest.raises(Failed, match="NoSuchPaddingException"):
        program.ask("wrap-for", "dek", encoded, "RSA/ECB/OAEPWithSHA-256AndMGF1Padding")


def test_java_wraps_with_no_aes_key_under_sdk_5(java, hsm_client):
    """SDK 5 wraps with AES under vendor numbers only, and SunPKCS11 knows none of these."""
    hsm_client.generate_key("AES", 256, label="kek")
    program = java()
    program.ask("generate", "dek")
    with pytest.raises(Failed, match="NoSuchAlgorithmException.*AES/KW/NoPadding"):
        program.ask("wrap", "dek", "kek", "AES/KW/NoPadding")


@pytest.mark.skipif(
    newer_java() is None,
    reason="no JDK of 18 or newer in /usr/lib/jvm: apt-get install openjdk-21-jdk-headless (Debian 13)",
)
@pytest.mark.hsm_cluster(sdk=3)
def test_newer_java_wraps_with_aes_under_sdk_3(java, hsm_client):
    """SunPKCS11 knows AES/KW since Java 18; it wants `allowLegacy`, because SDK 3 wraps but does not encrypt by it."""
    kek = bytes(range(16, 48))
    hsm_client.import_key("AES", kek, label="kek")
    refused = java(run_by=newer_java())
    refused.ask("generate", "dek")
    with pytest.raises(Failed, match="NoSuchAlgorithmException"):
        refused.ask("wrap", "dek", "kek", "AES/KW/NoPadding")

    program = java("allowLegacy = true", *working("legacy"), run_by=newer_java())
    program.ask("generate", "dek")
    blob = program.ask_bytes("wrap", "dek", "kek", "AES/KW/NoPadding")
    counter, box = map(bytes.fromhex, program.ask("encrypt", "dek", CTR, DATA).split())

    padded = aes_key_unwrap(kek, blob)  # CloudHSM's AES_KEY_WRAP pads as PKCS #5 does
    assert padded[32:] == bytes([8] * 8)
    software = Cipher(algorithms.AES(padded[:32]), modes.CTR(counter)).decryptor()
    assert software.update(box) + software.finalize() == DATA


# -- what CloudHSM refuses as well -------------------------------------------------------------------------------


@pytest.mark.parametrize("iv", ["", b"twelve bytes"], ids=["own", "given"])
def test_java_cannot_encrypt_with_gcm(java, iv):
    """SunPKCS11 passes an IV, its own or the caller's; CloudHSM makes one and wants a zeroed buffer to write it to."""
    program = java()
    program.ask("generate", "k")
    how = "encrypt-with-iv" if iv else "encrypt"
    with pytest.raises(Failed, match="CKR_MECHANISM_PARAM_INVALID"):
        program.ask(how, "k", "AES/GCM/NoPadding", DATA, iv)


def test_gcm_with_an_iv_of_zeros_loses_the_data(java, hsm_client):
    """The trap: CloudHSM takes the zeros for its buffer, and SunPKCS11 never looks what was written there."""
    program = java()
    program.ask("generate", "k")
    iv, box = map(bytes.fromhex, program.ask("encrypt-with-iv", "k", "AES/GCM/NoPadding", DATA, bytes(12)).split())

    assert iv == bytes(12)
    (key,) = hsm_client.find_keys(label="payroll")
    with pytest.raises(DataInvalid):
        hsm_client.decrypt(key, iv + box)
    with pytest.raises(Failed, match="CKR_ENCRYPTED_DATA_INVALID"):
        program.ask("decrypt", "k", "AES/GCM/NoPadding", iv, box)


def test_generated_key_cannot_be_stored_under_another_alias(java, hsm_pkcs11):
    """`setKeyEntry` of a key in the HSM is C_SetAttributeValue or C_CopyObject, and CloudHSM has neither."""
    program = java()
    program.ask("generate", "k")
    with pytest.raises(Failed, match="CKR_FUNCTION_NOT_SUPPORTED"):
        program.ask("keep", "k")


@pytest.mark.parametrize(
    "offered",
    [pytest.param(word, marks=pytest.mark.hsm_cluster(read_only_sessions=word)) for word in ("refused", "allowed")],
)
def test_java_opens_no_read_only_session(java, hsm_pkcs11, offered):
    """SunPKCS11 opens sessions with CKF_RW_SESSION unless the token is write-protected, which CloudHSM's is not."""
    program = java()
    program.ask("generate", "k")
    program.ask("encrypt", "k", CBC, DATA)
    program.ask("reload")
    assert program.ask("aliases") == "payroll"
    assert set(results(hsm_pkcs11, "C_OpenSession")) == {CKR.OK}
    assert set(results(hsm_pkcs11, "C_GetTokenInfo")) == {CKR.OK}
