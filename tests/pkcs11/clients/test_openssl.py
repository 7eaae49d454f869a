"""Does OpenSSL work with the door, through libp11's engine?"""

import glob

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_public_key

CONFIGURATION = """
openssl_conf = begin
[begin]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = {module}
init = 0
[req]
distinguished_name = name
prompt = no
[name]
CN = payroll
"""

# libp11 opens read-only sessions, which SDK 5 has refused for long; then it waits for a session, for ever.
pytestmark = pytest.mark.hsm_cluster(sdk=5, read_only_sessions="allowed")


@pytest.fixture
def openssl(hsm_pkcs11, program, run, tmp_path):
    """Run `openssl` with the engine configured."""
    path = program("openssl", "openssl")
    if not glob.glob("/usr/lib/*/engines-3/pkcs11.so"):
        pytest.skip("there is no PKCS#11 engine here: apt-get install libengine-pkcs11-openssl")
    configuration = tmp_path / "openssl.cnf"
    configuration.write_text(CONFIGURATION.format(module=hsm_pkcs11.module), encoding="utf-8")
    return lambda *words, code=0: run([path, *words], code=code, OPENSSL_CONF=str(configuration))


@pytest.fixture
def uri(hsm_pkcs11, pin_file):
    """Return the URI of a key; it says where the PIN is, and not what it is (RFC 7512, `pin-source`)."""

    def of(label, part="private"):
        return f"pkcs11:token={hsm_pkcs11.token_label};object={label};type={part}?pin-source=file:{pin_file}"

    return of


@pytest.fixture
def keys(hsm_client):
    """A pair of each kind; OpenSSL's programs make no keys in a token."""
    hsm_client.generate_key_pair("EC", "secp256r1", label="ec")
    hsm_client.generate_key_pair("RSA", 2048, label="rsa")


ENGINE = ("-engine", "pkcs11", "-keyform", "engine")


@pytest.mark.parametrize("label", ["ec", "rsa"])
def test_a_certificate_request_is_signed_inside(openssl, uri, keys, tmp_path, hsm_history, label):
    """`openssl req -new`; OpenSSL without the engine and `cryptography` both verify it."""
    openssl("req", "-new", *ENGINE, "-key", uri(label), "-sha256", "-out", "request")
    assert "verify OK" in openssl("req", "-in", "request", "-verify", "-noout").stderr

    request = x509.load_pem_x509_csr((tmp_path / "request").read_bytes())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=payroll"
    assert [event.name for event in hsm_history.of("ok")].count("sign") == 1


@pytest.mark.hsm_cluster(sdk=3, read_only_sessions="auto")
def test_sdk_3_needs_no_switch(openssl, uri, keys):
    """It opens read-only sessions as they are; its token is called `cavium`."""
    assert "token=cavium" in uri("ec")
    openssl("req", "-new", *ENGINE, "-key", uri("ec"), "-sha256", "-out", "request")


def test_a_box_is_opened_inside(openssl, uri, keys, tmp_path):
    """`cryptography` encrypts with OAEP under the public key that the engine exports, and the engine decrypts."""
    openssl(
        "pkey",
        "-engine",
        "pkcs11",
        "-inform",
        "engine",
        "-in",
        uri("rsa", "public"),
        "-pubin",
        "-pubout",
        "-out",
        "public",
    )
    public = load_pem_public_key((tmp_path / "public").read_bytes())
    box = public.encrypt(b"attack at dawn", padding.OAEP(padding.MGF1(SHA1()), SHA1(), None))
    (tmp_path / "box").write_bytes(box)
    how = ("-pkeyopt", "rsa_padding_mode:oaep", "-in", "box")
    assert openssl("pkeyutl", *ENGINE, "-decrypt", "-inkey", uri("rsa"), *how).stdout == "attack at dawn"


def test_a_key_that_was_deleted_is_not_found(openssl, uri, keys, hsm_client):
    """The engine finds keys by their labels, and says so when there is none."""
    for key in hsm_client.find_keys(label="ec"):
        hsm_client.delete_key(key)
    refused = openssl("req", "-new", *ENGINE, "-key", uri("ec"), "-out", "request", code=1)
    assert "object not found" in refused.stderr


def test_a_lost_answer_is_signed_again_by_libp11_itself(openssl, uri, keys, hsm_chaos, hsm_history, hsm_check):
    """The HSM signed, and nobody was told: libp11 begins anew after CKR_DEVICE_ERROR, and OpenSSL never hears of it."""
    with hsm_chaos.lose_response("sign"):
        openssl("req", "-new", *ENGINE, "-key", uri("ec"), "-out", "request")
    outcomes = [str(event.kind) for event in hsm_history.of("info", "ok") if event.name == "sign"]
    assert outcomes == ["info", "ok"]
    hsm_check.durable()


def test_a_throttled_cluster_is_an_error(openssl, uri, keys, hsm_chaos):
    """All HSMs are busy for longer than anybody tries."""
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        hsm_chaos.throttle(hsm)
    openssl("req", "-new", *ENGINE, "-key", uri("ec"), "-out", "request", code=1)
