"""Do GnuTLS's `p11tool` and `certtool` work with the door?"""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

# GnuTLS reads in read-only sessions, and has no option for others.
pytestmark = pytest.mark.hsm_cluster(sdk=5, read_only_sessions="allowed")


@pytest.fixture
def gnutls(hsm_pkcs11, program, run):
    """Run a program of GnuTLS; it takes the PIN from `GNUTLS_PIN`."""

    def running(name, *words, code=0):
        __tracebackhide__ = True  # a traceback would show the PIN
        path = program(name, "gnutls-bin")
        return run([path, "--provider", hsm_pkcs11.module, *words], code=code, GNUTLS_PIN=hsm_pkcs11.user_pin)

    return running


@pytest.fixture
def p11tool(gnutls, hsm_pkcs11):
    """Run `p11tool` on the token, or on an object in it."""

    def running(*words, rest="", code=0):
        return gnutls(
            "p11tool", "--batch", "--login", *words, f"pkcs11:token={hsm_pkcs11.token_label}{rest}", code=code
        )

    return running


@pytest.fixture
def signer(hsm_client):
    return hsm_client.generate_key_pair("EC", "secp256r1", label="signer")


def test_keys_are_written_listed_and_deleted(p11tool, tmp_path, hsm_client):
    """A private key of `cryptography` and a secret one go in, are listed, and one goes out again."""
    own = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "own").write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    p11tool("--write", "--load-privkey", "own", "--label", "own", "--mark-private")
    hsm_client.generate_key("AES", 256, label="kek")
    listed = p11tool("--list-all").stdout
    assert "object=own;type=private" in listed
    assert "object=kek;type=secret-key" in listed

    p11tool("--delete", rest=";object=own")
    assert [key.label for key in hsm_client.find_keys()] == ["kek"]


def test_a_signature_is_believed_by_gnutls(p11tool, signer, hsm_history):
    """`--test-sign` signs inside and verifies with GnuTLS's own code."""
    tested = p11tool("--test-sign", rest=";object=signer")
    assert "ok" in tested.stdout + tested.stderr
    assert "sign" in [event.name for event in hsm_history.operations]


def test_a_public_key_comes_out(p11tool, signer, hsm_client, tmp_path):
    """It is the one that the cluster has."""
    p11tool("--export-pubkey", "--outfile", "public", rest=";object=signer;type=private")
    expected = hsm_client.public_key(signer.public).public_numbers()
    assert load_pem_public_key((tmp_path / "public").read_bytes()).public_numbers() == expected


def test_a_certificate_request_is_signed_inside(gnutls, hsm_pkcs11, signer, tmp_path):
    """`certtool --generate-request`; `cryptography` verifies it."""
    (tmp_path / "template").write_text('cn = "payroll"\nsigning_key\n', encoding="utf-8")
    uri = f"pkcs11:token={hsm_pkcs11.token_label};object=signer;type="
    keys = ("--load-privkey", f"{uri}private", "--load-pubkey", f"{uri}public")
    gnutls("certtool", "--generate-request", *keys, "--template", "template", "--outfile", "request")
    assert x509.load_pem_x509_csr((tmp_path / "request").read_bytes()).is_signature_valid


def test_it_makes_no_keys_because_it_makes_public_ones_public(p11tool, hsm_pkcs11):
    """It writes CKA_PRIVATE false into the public half, whatever it is told; on CloudHSM it is only ever true."""
    p11tool("--generate-privkey=ecdsa", "--curve=secp256r1", "--label=x", "--mark-private", "--outfile=x", code=1)
    assert any(call.function == "C_GenerateKeyPair" and "CKA_PRIVATE" in call.why for call in hsm_pkcs11.calls)


def test_a_glitch_fails_one_signature_and_the_next_one_works(p11tool, signer, hsm_chaos, hsm_check):
    """One CKR_FUNCTION_FAILED: `p11tool` ends with an error, and a second run with a signature."""
    with hsm_chaos.glitch("sign"):
        p11tool("--test-sign", rest=";object=signer", code=1)
        p11tool("--test-sign", rest=";object=signer")
    hsm_check.durable()
