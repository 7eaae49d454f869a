"""Does OpenSC's `pkcs11-tool` work with the door?"""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

SECRET = ("--sensitive", "--private")  # CloudHSM makes no keys that are not
WRAP = "0x80002109"  # CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD
CBC = ("-m", "AES-CBC-PAD", "--iv", "00" * 16)


@pytest.fixture
def tool(hsm_pkcs11, program, run):
    """Run `pkcs11-tool`, logged in; the PIN is in its environment and not in its arguments."""
    path = program("pkcs11-tool", "opensc")
    logged_in = ("--token-label", hsm_pkcs11.token_label, "--session-rw", "--login", "--pin", "env:HSM_PIN")

    def running(*words, code=0):
        __tracebackhide__ = True  # a traceback would show the PIN
        command = [path, "--module", hsm_pkcs11.module, *logged_in, *words]
        return run(command, code=code, HSM_PIN=hsm_pkcs11.user_pin)

    return running


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").write_bytes(b"attack at dawn")
    return b"attack at dawn"


def signer(tool):
    tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "signer", "--id", "03", "--usage-sign", *SECRET)


def test_a_key_encrypts_here_and_is_told_by_its_label(tool, data, tmp_path):
    """Generate, list, encrypt, decrypt, delete; each is a process of its own that finds what the one before made."""
    tool("--keygen", "--key-type", "AES:32", "--label", "kek", "--id", "01", "--usage-decrypt", *SECRET)
    assert "label:      kek" in tool("-O", "--type", "secrkey").stdout

    tool("--encrypt", *CBC, "--id", "01", "-i", "data", "-o", "box")
    tool("--decrypt", *CBC, "--id", "01", "-i", "box", "-o", "again")
    assert (tmp_path / "again").read_bytes() == data

    tool("-b", "--type", "secrkey", "--id", "01")
    assert "kek" not in tool("-O", "--type", "secrkey").stdout


def test_a_signature_is_believed_elsewhere(tool, data, tmp_path, verified):
    """ECDSA and RSA: `cryptography` verifies with the public key that the tool reads."""
    signer(tool)
    tool("--keypairgen", "--key-type", "rsa:2048", "--label", "rsa", "--id", "04", "--usage-sign", *SECRET)
    for number, mechanism in (("03", "ECDSA-SHA256"), ("04", "SHA256-RSA-PKCS")):
        tool("-s", "-m", mechanism, "--id", number, "-i", "data", "-o", "signature")
        tool("-r", "--type", "pubkey", "--id", number, "-o", "public")
        public = load_der_public_key((tmp_path / "public").read_bytes())
        assert verified(public, (tmp_path / "signature").read_bytes(), data)
    tool("--verify", "-m", "SHA256-RSA-PKCS", "--id", "04", "-i", "data", "--signature-file", "signature")


def test_a_wrapped_key_is_rfc_3394s(tool, data, tmp_path):
    """CloudHSM's own mechanism goes by its number; `cryptography` has the wrapping key, too, and opens the blob."""
    known = bytes(range(32))
    (tmp_path / "known").write_bytes(known)
    tool(
        "-w",
        "known",
        "--type",
        "secrkey",
        "--key-type",
        "AES:32",
        "--id",
        "01",
        "--usage-wrap",
        "--extractable",
        *SECRET,
    )
    tool("--keygen", "--key-type", "AES:32", "--id", "02", "--usage-decrypt", "--extractable", *SECRET)
    tool("--encrypt", *CBC, "--id", "02", "-i", "data", "-o", "box")

    tool("--wrap", "-m", WRAP, "--id", "01", "--application-id", "02", "-o", "blob")
    raw = aes_key_unwrap(known, (tmp_path / "blob").read_bytes())
    opened = Cipher(algorithms.AES(raw), modes.CBC(bytes(16))).decryptor()
    assert opened.update((tmp_path / "box").read_bytes()) == data + b"\2\2"

    tool(
        "--unwrap",
        "-m",
        WRAP,
        "--id",
        "01",
        "--application-id",
        "03",
        "--key-type",
        "AES:32",
        "--usage-decrypt",
        *SECRET,
        "-i",
        "blob",
    )
    tool("--decrypt", *CBC, "--id", "03", "-i", "box", "-o", "again")
    assert (tmp_path / "again").read_bytes() == data


@pytest.mark.hsm_cluster(sdk=5)
def test_without_session_rw_it_is_refused_as_sdk_5_does(hsm_pkcs11, program, run):
    """The tool reads in read-only sessions unless it is told not to."""
    command = [program("pkcs11-tool", "opensc"), "--module", hsm_pkcs11.module, "--token-label", hsm_pkcs11.token_label]
    assert "CKR_FUNCTION_FAILED" in run([*command, "-O"], code=1).stderr


@pytest.mark.hsm_cluster(sdk=5)
def test_a_key_that_is_not_private_is_refused(tool, hsm_pkcs11):
    """CKA_PRIVATE is only ever true on CloudHSM; the tool writes false unless it is told `--private`."""
    refused = tool("--keygen", "--key-type", "AES:32", "--label", "kek", "--sensitive", code=1)
    assert "CKR_ATTRIBUTE_READ_ONLY" in refused.stderr
    assert any("CKA_PRIVATE" in call.why for call in hsm_pkcs11.calls)


@pytest.mark.hsm_cluster(sdk=5, fips=False)
def test_its_own_test_ends_at_what_cloudhsm_has_not(tool):
    """`--test` seeds, digests, signs, verifies and decrypts; one error: a signature in parts without a digest."""
    tool("--keypairgen", "--key-type", "rsa:2048", "--id", "04", "--usage-sign", "--usage-decrypt", *SECRET)
    tested = tool("--test")
    assert tested.stdout.splitlines()[-1] == "1 errors"
    assert "C_SignUpdate failed: CKR_MECHANISM_INVALID" in tested.stderr
    for line in ("RSA-PKCS: OK", "SHA256-RSA-PKCS: OK", "RSA-X-509: OK", "RSA-PKCS-OAEP: "):
        assert line in tested.stdout


@pytest.mark.hsm_cluster(sdk=5)
def test_its_own_test_finds_no_pkcs1_decryption_in_fips_mode(tool, hsm_pkcs11):
    """It is disallowed there; the tool says so, or ends."""
    tool("--keypairgen", "--key-type", "rsa:2048", "--id", "04", "--usage-sign", "--usage-decrypt", *SECRET)
    decryption = tool("--test", code=None).stdout.partition("Decryption")[2]
    assert decryption
    assert " RSA-PKCS: OK" not in decryption
    assert any(call.function.startswith("C_Decrypt") and "FIPS" in call.why for call in hsm_pkcs11.calls)


@pytest.mark.hsm_cluster(sdk=5)
def test_keys_outlive_an_hsm(tool, data, hsm_chaos, hsm_check):
    """One HSM of three is lost for good: the key is used all the same, and a new one is on the two that are left."""
    signer(tool)
    hsm_chaos.destroy("hsm-1")
    tool("-s", "-m", "ECDSA-SHA256", "--id", "03", "-i", "data", "-o", "signature")
    tool("--keygen", "--key-type", "AES:32", "--label", "kek", "--id", "01", *SECRET)
    hsm_check.durable()


@pytest.mark.hsm_cluster(sdk=5)
def test_a_throttled_cluster_is_a_failed_function(tool, data, hsm_chaos, hsm_history):
    """All HSMs are busy: the SDK tries four times, and the tool says CKR_FUNCTION_FAILED."""
    signer(tool)
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        hsm_chaos.throttle(hsm)
    assert "CKR_FUNCTION_FAILED" in tool("-s", "-m", "ECDSA-SHA256", "--id", "03", "-i", "data", code=1).stderr
    assert hsm_history.of("fail")[-1].error == "HsmBusy"
