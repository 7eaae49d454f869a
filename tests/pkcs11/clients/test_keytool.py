"""What can Java's keytool do with the cluster, and what not?"""

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest

from pytest_hsmcluster.cryptoki import CKR
from tests.pkcs11.clients.sunpkcs11 import working, write_configuration

pytestmark = [
    pytest.mark.skipif(shutil.which("keytool") is None, reason="no keytool: apt-get install openjdk-17-jre-headless"),
    pytest.mark.timeout(180),
]

NO_CERTIFICATES = (
    ("C_CreateObject", CKR.TEMPLATE_INCONSISTENT),  # Java 17: attributes of a certificate in a template
    ("C_FindObjectsInit", CKR.ATTRIBUTE_TYPE_INVALID),  # Java 25 looks for the certificate first
)


@pytest.fixture
def keytool(hsm_pkcs11, tmp_path) -> "Callable[..., subprocess.CompletedProcess[str]]":
    """Run keytool; the PIN goes in where keytool asks for it, on its standard input."""
    configuration = write_configuration(tmp_path / "sunpkcs11.cfg", hsm_pkcs11, *working("made-by-keytool"))

    def run(*words: str, pin: str | None = None) -> "subprocess.CompletedProcess[str]":
        place = (
            "-keystore",
            "NONE",
            "-storetype",
            "PKCS11",
            "-addprovider",
            "SunPKCS11",
            "-providerArg",
            configuration,
        )
        return subprocess.run(
            ["keytool", *words, *place],
            input=(pin or hsm_pkcs11.user_pin) + "\n",
            capture_output=True,
            text=True,
            env={**os.environ, **hsm_pkcs11.env},
            timeout=120,
        )

    return run


def refusals(door):
    """What the library refused: function and return value."""
    return [(call.function, CKR(call.result)) for call in door.calls if call.result]


def test_list_shows_secret_keys(keytool, hsm_client):
    """Each with its label as alias; a pair without certificate is none of them."""
    hsm_client.generate_key("AES", 256, label="payroll")
    hsm_client.generate_key_pair("EC", "secp256r1", label="signer")
    told = keytool("-list").stdout
    assert "contains 1 entry" in told and "payroll, SecretKeyEntry" in told and "signer" not in told


def test_genseckey_brings_a_key_that_java_made(keytool, hsm_client, hsm_cluster):
    """keytool makes the key in its own memory and imports it: in the HSMs it is, but it was not born there."""
    assert keytool("-genseckey", "-keyalg", "AES", "-keysize", "256", "-alias", "payroll").returncode == 0

    (key,) = hsm_client.find_keys(label="payroll")
    assert all(key.number in hsm.keys for hsm in hsm_cluster.hsms)
    attributes = {name.name: value for name, value in hsm_client.get_attributes(key).items()}
    assert attributes["SENSITIVE"] is True and attributes["LOCAL"] is False
    assert attributes["ALWAYS_SENSITIVE"] is False


def test_delete_removes_a_key_from_all_hsms(keytool, hsm_client):
    """C_DestroyObject."""
    hsm_client.generate_key("AES", 256, label="old")
    assert keytool("-delete", "-alias", "old").returncode == 0
    assert hsm_client.find_keys(label="old") == []


def test_wrong_pin_is_refused(keytool, hsm_pkcs11):
    """C_Login says CKR_PIN_INCORRECT; keytool says that the load failed."""
    told = keytool("-list", pin="crypto_user:not-his-password")
    assert told.returncode != 0 and "load failed" in told.stdout
    assert refusals(hsm_pkcs11) == [("C_Login", CKR.PIN_INCORRECT)]


def test_genkeypair_cannot_keep_a_pair_of_the_hsm(keytool, hsm_pkcs11, hsm_client):
    """The certificate has to be kept beside it: CKA_ID would be set, and CloudHSM sets no attribute.

    The pair was made before that, and stays: whoever tries keytool often has many of them.
    """
    told = keytool("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-alias", "signer", "-dname", "CN=x")
    assert told.returncode != 0 and "CKR_FUNCTION_NOT_SUPPORTED" in told.stdout + told.stderr, told
    assert sorted(key.cls for key in hsm_client.find_keys(label="made-by-keytool")) == ["private", "public"]


def test_genkeypair_in_software_leaves_a_private_key_without_a_label(keytool, hsm_pkcs11, hsm_client):
    """RSA is made in Java and imported; then the certificate is refused, and nobody takes the key back."""
    told = keytool("-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-alias", "signer", "-dname", "CN=x")
    assert told.returncode != 0
    (refused,) = refusals(hsm_pkcs11)
    assert refused in NO_CERTIFICATES and f"CKR_{refused[1].name}" in told.stdout
    (left,) = hsm_client.find_keys()
    assert (left.cls, left.label, left.token) == ("private", "", True)


def test_changealias_is_refused(keytool, hsm_pkcs11, hsm_client):
    """It would copy the key under a new label, and a sensitive key cannot be copied by hand."""
    hsm_client.generate_key("AES", 256, label="payroll")
    assert keytool("-changealias", "-alias", "payroll", "-destalias", "payroll-2").returncode != 0
    assert [key.label for key in hsm_client.find_keys()] == ["payroll"]


@pytest.mark.parametrize(
    "offered",
    [pytest.param(word, marks=pytest.mark.hsm_cluster(read_only_sessions=word)) for word in ("refused", "allowed")],
)
def test_keytool_opens_no_read_only_session(keytool, hsm_pkcs11, offered):
    """It works with SDK 5, which refuses them."""
    assert keytool("-list").returncode == 0
    assert refusals(hsm_pkcs11) == []
