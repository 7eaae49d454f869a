"""Does a Java program work with the cluster, through SunPKCS11 and the socket?"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from pytest_hsmcluster.cryptoki import CKM, CKR
from pytest_hsmcluster.keys.parameters import IvParams
from tests.pkcs11.clients.programs import Failed, Program, built, starting
from tests.pkcs11.clients.sunpkcs11 import SECRET, attributes, working, write_configuration

MISSING = "no javac: apt-get install openjdk-17-jdk-headless"
CBC = "AES/CBC/PKCS5Padding"
CTR = "AES/CTR/NoPadding"
DATA = b"the quick brown fox"


def newer_java() -> "str | None":
    """Return a `java` of version 18 or newer, if there is one."""
    for release in sorted(Path("/usr/lib/jvm").glob("*/release")):
        found = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
        if found and int(found[1]) >= 18:
            return str(release.parent / "bin" / "java")
    return None


pytestmark = [
    pytest.mark.skipif(shutil.which("javac") is None, reason=MISSING),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """The compiled program."""
    source = Path(__file__).parent / "java" / "HsmProgram.java"
    return built(
        tmp_path_factory,
        "java-classes",
        lambda folder: subprocess.run(["javac", "-d", folder, source], check=True, timeout=120),
    )


@pytest.fixture
def java(classes, hsm_pkcs11, tmp_path) -> "Callable[..., Program]":
    """Start the program, with `attributes` blocks of its own or those that work; `label` is that of its keys."""
    count = iter(range(100))
    with starting(hsm_pkcs11.env, hsm_pkcs11.user_pin) as start:

        def begin(*blocks: str, label: str = "payroll", run_by: str = "java") -> Program:
            configuration = write_configuration(
                tmp_path / f"sunpkcs11-{next(count)}.cfg", hsm_pkcs11, *(blocks or working(label))
            )
            return start(run_by, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classes, "HsmProgram", configuration)

        yield begin


def results(door, function):
    """Return what a function of the library returned, call by call."""
    return [CKR(call.result) for call in door.calls if call.function == function]


def held(cluster):
    """The labels of all keys on all HSMs."""
    return sorted(key.label for hsm in cluster.hsms for key in hsm.keys.values())


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


@pytest.mark.skipif(newer_java() is None, reason="no JDK of 18 or newer in /usr/lib/jvm: apt-get install temurin-25-jdk")
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


def test_java_cannot_encrypt_with_gcm(java, hsm_pkcs11):
    """SunPKCS11 passes an IV, and CloudHSM makes its own: it wants a zeroed buffer and writes into it."""
    program = java()
    program.ask("generate", "k")
    with pytest.raises(Failed, match="CKR_MECHANISM_PARAM_INVALID"):
        program.ask("encrypt", "k", "AES/GCM/NoPadding", DATA)
    assert "CKM_AES_GCM makes its own IV" in hsm_pkcs11.calls[-1].why


def test_generated_key_cannot_be_stored_under_another_alias(java, hsm_pkcs11):
    """`setKeyEntry` of a key in the HSM is C_SetAttributeValue or C_CopyObject, and CloudHSM has neither."""
    program = java()
    program.ask("generate", "k")
    with pytest.raises(Failed, match="CKR_FUNCTION_NOT_SUPPORTED"):
        program.ask("keep", "k")


@pytest.mark.parametrize(
    "offered", [pytest.param(word, marks=pytest.mark.hsm_cluster(read_only_sessions=word)) for word in ("refused", "allowed")]
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


# -- trouble ------------------------------------------------------------------------------------------------------


def key_missing_on_hsm_3(program, chaos, *words):
    """Have the program make a key that one HSM of three lacks for now."""
    chaos.stall_sync()
    with chaos.fail_clone("hsm-3"), chaos.route_to("hsm-1", next=99):
        program.ask(*words)


def test_naive_java_fails_where_a_key_is_missing(java, hsm_chaos, hsm_check):
    """The call goes to the HSM that lacks the key: ProviderException with CKR_KEY_HANDLE_INVALID, and a missed retry."""
    program = java()
    key_missing_on_hsm_3(program, hsm_chaos, "pair", "p", "EC", "secp256r1")
    program.ask("sign", "p", "SHA256withECDSA", DATA)  # SDK 5 has seen it on two HSMs from now on
    with hsm_chaos.route_to("hsm-3"):
        with pytest.raises(Failed, match="ProviderException.*CKR_KEY_HANDLE_INVALID"):
            program.ask("sign", "p", "SHA256withECDSA", DATA)
    with pytest.raises(AssertionError, match="hsm-3"):
        hsm_check.misses_retried()


def test_java_that_retries_gets_over_a_missing_key(java, hsm_chaos, hsm_check, hsm_client, hsm_pkcs11):
    """A bounded loop around init, update and sign is enough: one of the next attempts is routed elsewhere."""
    program = java()
    key_missing_on_hsm_3(program, hsm_chaos, "pair", "p", "EC", "secp256r1")
    program.ask("sign", "p", "SHA256withECDSA", DATA)
    with hsm_chaos.route_to("hsm-3"):
        signature, attempts = program.ask("sign-patiently", "p", "SHA256withECDSA", DATA).split()

    made = int(attempts.removeprefix("attempts="))
    assert 2 <= made <= 5
    assert results(hsm_pkcs11, "C_SignInit")[-made:] == [*[CKR.KEY_HANDLE_INVALID] * (made - 1), CKR.OK]
    hsm_check.misses_retried()
    (found,) = (key for key in hsm_client.find_keys(label="payroll") if key.cls == "public")
    hsm_client.public_key(found).verify(bytes.fromhex(signature), DATA, ec.ECDSA(SHA256()))


def test_java_may_lose_sight_of_a_pair_that_it_made(java, hsm_chaos, hsm_client):
    """SunPKCS11 reads attributes of a new pair: a miss there is an exception of generateKeyPair, and the pair exists.

    Whoever generates again has two, so look for the label first, or take a label of its own for each attempt.
    """
    program = java()
    with hsm_chaos.inject("fail CKR_KEY_HANDLE_INVALID @ hsm.execute command=read_attributes nth=1"):
        with pytest.raises(Failed, match="ProviderException.*CKR_KEY_HANDLE_INVALID"):
            program.ask("pair", "p", "EC", "secp256r1")
    program.ask("pair", "p", "EC", "secp256r1")
    assert sorted(key.cls for key in hsm_client.find_keys(label="payroll")) == ["private"] * 2 + ["public"] * 2


def test_throttled_java_fails_until_the_cluster_is_relieved(java, hsm_cluster, hsm_chaos):
    """The library retries a few times by itself; then it is CKR_FUNCTION_FAILED, and the same program goes on later."""
    program = java()
    program.ask("generate", "k")
    for hsm in hsm_cluster.hsms:
        hsm_chaos.throttle(hsm.id)
    with pytest.raises(Failed, match="CKR_FUNCTION_FAILED"):
        program.ask("encrypt", "k", CBC, DATA)
    for hsm in hsm_cluster.hsms:
        hsm_chaos.relieve(hsm.id)
    program.ask("encrypt", "k", CBC, DATA)


def test_java_outlives_a_lost_hsm(java, hsm_chaos, hsm_client, hsm_check):
    """An HSM is destroyed while the program has its session: at the most one call fails, the others are served."""
    program = java()
    program.ask("generate", "k")
    hsm_chaos.destroy("hsm-2")
    boxes = [program.ask("encrypt-patiently", "k", CBC, DATA).split()[:2] for _ in range(6)]
    (key,) = hsm_client.find_keys(label="payroll")
    for iv, box in boxes:
        params = IvParams(bytes.fromhex(iv))
        assert hsm_client.decrypt(key, bytes.fromhex(box), mechanism=CKM.AES_CBC_PAD, params=params) == DATA
    hsm_check.no_lost_keys()


def test_sixteen_threads_of_java_sign_at_the_same_time(java, hsm_client, hsm_cluster):
    """CKF_OS_LOCKING_OK: each thread has a connection and SunPKCS11 a session for it; every signature is right."""
    program = java()
    program.ask("pair", "p", "EC", "secp256r1")
    made = program.ask("threads", "p", "16", "8").split()

    (found,) = (key for key in hsm_client.find_keys(label="payroll") if key.cls == "public")
    public = hsm_client.public_key(found)
    signed = [tuple(map(bytes.fromhex, one.split(":"))) for one in made]
    assert len({data for data, _ in signed}) == 128
    for data, signature in signed:
        public.verify(signature, data, ec.ECDSA(SHA256()))
    program.end()
    hsm_cluster.close()  # audits: what the HSMs hold is what the history says


def test_killed_java_leaves_nothing_behind(java, hsm_cluster, hsm_history):
    """SIGKILL: its session keys go with its connections, and the next program logs in and works."""
    fleeting = java(attributes("generate, CKO_SECRET_KEY, *", *SECRET[1:], label="fleeting"))
    fleeting.ask("generate", "k")
    fleeting.kill()

    program = java()
    program.ask("generate", "k")
    program.ask("encrypt", "k", CBC, DATA)
    assert held(hsm_cluster) == ["payroll"] * 3
