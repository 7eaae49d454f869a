"""Does a Go program work with the cluster, through miekg/pkcs11 and the socket?"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from pytest_hsmcluster.cryptoki import CKA, CKR
from tests.pkcs11.clients.programs import Failed, Program, built, held, results, starting

SOURCE = Path(__file__).parent / "go"
DATA = b"the quick brown fox"

pytestmark = [
    pytest.mark.skipif(shutil.which("go") is None, reason="no Go: apt-get install golang-go, or unpack go.dev/dl"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="session")
def binary(tmp_path_factory):
    """The compiled program."""
    env = {**os.environ, "CGO_ENABLED": "1", "GOFLAGS": "-mod=readonly"}

    def build(path: Path) -> None:
        fetched = subprocess.run(["go", "mod", "download"], cwd=SOURCE, env=env, timeout=200, capture_output=True)
        if fetched.returncode:
            pytest.skip(f"miekg/pkcs11 is not here: (cd {SOURCE} && go mod download)")
        subprocess.run(["go", "build", "-o", path, "."], cwd=SOURCE, env=env, check=True, timeout=200)

    return built(tmp_path_factory, "hsmprogram", build)


@pytest.fixture
def go(binary, hsm_pkcs11) -> "Callable[..., Program]":
    """Start the program, with options of its own."""
    with starting(hsm_pkcs11) as start:
        yield lambda *options: start(binary, hsm_pkcs11.module, *options)


def public_key(client, label):
    """The public key of a pair, on another way than Go's."""
    (found,) = (key for key in client.find_keys(label=label) if key.cls == "public")
    return client.public_key(found)


# -- keys ------------------------------------------------------------------------------------------------


def test_what_go_encrypts_the_python_client_decrypts(go, hsm_client):
    """The HSM writes its IV into the zeroed buffer of NewGCMParams, and IV() reads it there."""
    program = go()
    program.ask("generate", "payroll")
    iv, box = map(bytes.fromhex, program.ask("encrypt", "payroll", DATA).split())

    (key,) = hsm_client.find_keys(label="payroll")
    assert any(iv)
    assert hsm_client.decrypt(key, iv + box) == DATA


def test_what_the_python_client_encrypts_go_decrypts(go, hsm_client):
    """Another application made the key: it is found by its label."""
    box = hsm_client.encrypt(hsm_client.generate_key("AES", 256, label="archive"), DATA)
    assert go().ask_bytes("decrypt", "archive", box[:12], box[12:]) == DATA


def test_gcm_of_go_is_gcm_of_software(go, hsm_client):
    """With a key whose bytes are known here."""
    raw = bytes(range(32))
    hsm_client.import_key("AES", raw, label="known")
    iv, box = map(bytes.fromhex, go().ask("encrypt", "known", DATA).split())
    assert AESGCM(raw).decrypt(iv, box, None) == DATA


def test_iv_of_the_caller_is_refused(go, hsm_pkcs11):
    """CloudHSM makes its own IV: a buffer that is not zeroed is a misunderstanding."""
    program = go()
    program.ask("generate", "payroll")
    with pytest.raises(Failed, match="CKR_MECHANISM_PARAM_INVALID"):
        program.ask("encrypt-with-iv", "payroll", DATA, b"twelve bytes")


def test_go_finds_and_deletes_by_label(go, hsm_client):
    """C_FindObjects has two halves of a pair; a deleted key is gone from every HSM."""
    hsm_client.generate_key("AES", 256, label="old")
    hsm_client.generate_key_pair("EC", "secp256r1", label="signer")
    program = go()
    assert program.ask("find", "signer") == "2"
    program.ask("delete", "old")
    assert program.ask("find", "old") == "0"
    assert hsm_client.find_keys(label="old") == []


# -- signatures ---------------------------------------------------------------------------------------------


def test_ec_signature_of_go_verifies_in_software(go, hsm_client):
    """CKM_ECDSA_SHA256: PKCS#11 has r and s side by side, others want DER."""
    program = go()
    program.ask("pair", "signer", "EC")
    signature = program.ask_bytes("sign", "signer", "ECDSA_SHA256", DATA)

    public_key(hsm_client, "signer").verify(der(signature), DATA, ec.ECDSA(SHA256()))
    program.ask("verify", "signer", "ECDSA_SHA256", DATA, signature)
    with pytest.raises(Failed, match="CKR_SIGNATURE_INVALID"):
        program.ask("verify", "signer", "ECDSA_SHA256", DATA + b"!", signature)


def test_rsa_signature_of_go_verifies_in_software(go, hsm_client):
    """CKM_SHA256_RSA_PKCS."""
    program = go()
    program.ask("pair", "signer", "RSA")
    signature = program.ask_bytes("sign", "signer", "SHA256_RSA_PKCS", DATA)

    public = public_key(hsm_client, "signer")
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signature, DATA, padding.PKCS1v15(), SHA256())


# -- wrapping --------------------------------------------------------------------------------------------------


def test_key_wrapped_in_go_is_unwrapped_by_software(go, hsm_client):
    """CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD is RFC 3394, under a vendor number that miekg/pkcs11 passes on."""
    kek = bytes(range(16, 48))
    hsm_client.import_key("AES", kek, label="kek", template={CKA.WRAP: True})
    program = go()
    program.ask("generate", "dek")
    iv, box = map(bytes.fromhex, program.ask("encrypt", "dek", DATA).split())

    raw = aes_key_unwrap(kek, program.ask_bytes("wrap", "dek", "kek"))
    assert AESGCM(raw).decrypt(iv, box, None) == DATA


def test_key_wrapped_by_software_is_unwrapped_in_go(go, hsm_client):
    """What comes out encrypts as software does."""
    kek, raw = bytes(range(16, 48)), bytes(range(32))
    hsm_client.import_key("AES", kek, label="kek", template={CKA.UNWRAP: True})
    program = go()
    program.ask("unwrap", "dek", "kek", aes_key_wrap(kek, raw))
    iv, box = map(bytes.fromhex, program.ask("encrypt", "dek", DATA).split())
    assert AESGCM(raw).decrypt(iv, box, None) == DATA


# -- sessions ------------------------------------------------------------------------------------------------------


def test_read_only_session_is_refused_by_sdk_5(go, hsm_pkcs11):
    """CKF_RW_SESSION has to be passed, although the program only reads."""
    with pytest.raises(Failed, match="CKR_FUNCTION_FAILED"):
        go("read-only")
    assert results(hsm_pkcs11, "C_OpenSession") == [CKR.FUNCTION_FAILED]


@pytest.mark.hsm_cluster(read_only_sessions="allowed")
def test_read_only_session_is_enough_to_sign_where_it_is_allowed(go, hsm_client):
    """The profile's switch, for clusters and libraries that take it."""
    pair = hsm_client.generate_key_pair("EC", "secp256r1", label="signer")
    signature = go("read-only").ask_bytes("sign", "signer", "ECDSA_SHA256", DATA)
    hsm_client.public_key(pair.public).verify(der(signature), DATA, ec.ECDSA(SHA256()))


def test_login_outlives_the_thread_that_made_it(go):
    """Go ends the thread of a goroutine that locked it: sessions belong to the process, not to a thread."""
    program = go("own-thread")
    program.ask("generate", "payroll")
    assert program.ask("find", "payroll") == "1"


# -- trouble ------------------------------------------------------------------------------------------------------


def key_missing_on_hsm_3(client, chaos):
    """Have there be a pair that one HSM of three lacks for now."""
    chaos.stall_sync()
    with chaos.fail_clone("hsm-3"), chaos.route_to("hsm-1", next=99):
        client.generate_key_pair("EC", "secp256r1", label="signer")


def test_naive_go_fails_where_a_key_is_missing(go, hsm_client, hsm_chaos, hsm_check):
    """The call goes to the HSM that lacks the key: C_SignInit says CKR_KEY_HANDLE_INVALID, and nobody tries again."""
    key_missing_on_hsm_3(hsm_client, hsm_chaos)
    program = go()
    with hsm_chaos.route_to("hsm-3"):
        with pytest.raises(Failed, match="CKR_KEY_HANDLE_INVALID"):
            program.ask("sign", "signer", "ECDSA_SHA256", DATA)
    with pytest.raises(AssertionError, match="never retried"):
        hsm_check.misses_retried()


def test_go_that_retries_gets_over_a_missing_key(go, hsm_client, hsm_chaos, hsm_check, hsm_pkcs11):
    """A bounded loop around find, init and sign is enough: one of the next attempts is routed elsewhere."""
    key_missing_on_hsm_3(hsm_client, hsm_chaos)
    program = go()
    with hsm_chaos.route_to("hsm-3"):
        signature, attempts = program.ask("sign-patiently", "signer", "ECDSA_SHA256", DATA).split()

    made = int(attempts.removeprefix("attempts="))
    assert 2 <= made <= 5
    assert results(hsm_pkcs11, "C_SignInit") == [*[CKR.KEY_HANDLE_INVALID] * (made - 1), CKR.OK]
    hsm_check.misses_retried()
    public_key(hsm_client, "signer").verify(der(bytes.fromhex(signature)), DATA, ec.ECDSA(SHA256()))


def test_go_outlives_a_lost_hsm(go, hsm_client, hsm_chaos, hsm_check):
    """An HSM is destroyed while the program has its session: the others go on."""
    pair = hsm_client.generate_key_pair("EC", "secp256r1", label="signer")
    program = go()
    hsm_chaos.destroy("hsm-2")
    for _ in range(6):
        signature, _ = program.ask("sign-patiently", "signer", "ECDSA_SHA256", DATA).split()
        hsm_client.public_key(pair.public).verify(der(bytes.fromhex(signature)), DATA, ec.ECDSA(SHA256()))
    hsm_check.no_lost_keys()


def test_throttled_go_fails_until_the_cluster_is_relieved(go, hsm_client, hsm_cluster, hsm_chaos):
    """The library retries a few times by itself; then it is CKR_FUNCTION_FAILED, and the same program goes on later."""
    hsm_client.generate_key("AES", 256, label="payroll")
    program = go()
    for hsm in hsm_cluster.hsms:
        hsm_chaos.throttle(hsm.id)
    with pytest.raises(Failed, match="CKR_FUNCTION_FAILED"):
        program.ask("encrypt", "payroll", DATA)
    for hsm in hsm_cluster.hsms:
        hsm_chaos.relieve(hsm.id)
    program.ask("encrypt", "payroll", DATA)


def test_go_logs_in_again_after_all_connections_were_lost(go, hsm_client, hsm_cluster, hsm_chaos, hsm_clock):
    """The login went with the connections: nothing is found until the program logs in again, in the same session."""
    hsm_client.generate_key("AES", 256, label="payroll")
    program = go()
    assert program.ask("find", "payroll") == "1"
    for hsm in hsm_cluster.hsms:
        hsm_chaos.crash(hsm.id)
    for hsm in hsm_cluster.hsms:
        hsm_chaos.restart(hsm.id)
    hsm_clock.advance(60)  # the client library reconnects by itself, but does not log in
    assert program.ask("find", "payroll") == "0"

    program.ask("login")
    program.ask("encrypt", "payroll", DATA)


def test_sixteen_goroutines_sign_at_the_same_time(go, hsm_client, hsm_cluster):
    """CKF_OS_LOCKING_OK, one session each, on whatever threads Go puts them; every signature is right."""
    hsm_client.generate_key_pair("EC", "secp256r1", label="signer")
    program = go()
    made = program.ask("goroutines", "signer", "16", "8").split()

    public = public_key(hsm_client, "signer")
    signed = [tuple(map(bytes.fromhex, one.split(":"))) for one in made]
    assert len({data for data, _ in signed}) == 128
    for data, signature in signed:
        public.verify(der(signature), data, ec.ECDSA(SHA256()))
    program.end()
    hsm_cluster.close()  # audits: what the HSMs hold is what the history says


def test_killed_go_leaves_nothing_behind(go, hsm_cluster):
    """SIGKILL: its session keys go with its connections, and the next program logs in and works."""
    killed = go()
    killed.ask("generate-session-key", "fleeting")
    assert held(hsm_cluster) == ["fleeting"]
    killed.kill()

    program = go()
    program.ask("generate", "payroll")
    assert held(hsm_cluster) == ["payroll"] * 3


def test_go_killed_while_its_goroutines_sign_makes_nobody_wait(go, hsm_client, hsm_cluster, hsm_pkcs11):
    """Sixteen calls are under way when it dies; what the next program asks is answered."""
    hsm_client.generate_key_pair("EC", "secp256r1", label="signer")
    killed = go()
    killed.tell("goroutines", "signer", "16", "100000")
    killed.kill_at(hsm_pkcs11, "C_Sign")

    program = go()
    program.ask("goroutines", "signer", "4", "2")
    program.end()
    hsm_cluster.close()  # audits: what the HSMs hold is what the history says


def der(signature):
    """Return r and s, side by side, as the DER that others write."""
    half = len(signature) // 2
    return encode_dss_signature(*(int.from_bytes(part, "big") for part in (signature[:half], signature[half:])))
