"""Do a cluster's certificates say what they should, for as long as they should, whoever reads them?"""

import shutil
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pytest_hsmcluster.drivers.pace import today
from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.processes.certificates import Authority, activate, request
from tests.processes.ends import CLUSTER, NAME

ROOT = Path(__file__).parent.parent.parent

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install openssl")


@pytest.fixture(scope="module")
def ours():
    return activate(CLUSTER, today())


def test_two_activations_share_nothing(ours):
    """Keys and serial numbers are drawn anew, for the same cluster too."""
    again = activate(CLUSTER, today())
    assert again.hsm.key != ours.hsm.key
    pems = [one for each in (ours, again) for one in (each.customer_ca, each.trust_anchor, each.hsm.chain)]
    pems += [ours.client("app").chain, ours.client("app").chain]
    serials = [x509.load_pem_x509_certificate(pem).serial_number for pem in pems]
    assert len({*serials}) == len(pems)
    assert all(0 < serial < 1 << 159 for serial in serials)


def test_certificates_say_what_they_are_for():
    """Ten years from the instant of issue, and a day before; an authority may sign, and may sign no other authority."""
    now = datetime(2025, 1, 1, 14, tzinfo=timezone(timedelta(hours=14)))  # where it is midnight in Greenwich
    activation = activate(CLUSTER, now)
    for pem in (activation.customer_ca, activation.trust_anchor, activation.hsm.chain, activation.client("app").chain):
        found = x509.load_pem_x509_certificate(pem)
        assert found.not_valid_before_utc == datetime(2024, 12, 31, tzinfo=UTC)
        assert found.not_valid_after_utc == now + timedelta(days=3652)
        assert isinstance(found.public_key().curve, ec.SECP256R1)
        basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
        assert basic.critical
        assert basic.value == (
            x509.BasicConstraints(True, 0) if found.subject == found.issuer else x509.BasicConstraints(False, None)
        )


@pytest.mark.parametrize(
    "name, shown",
    [("app", "app"), ("", "?"), ("ä" * 40, "ä" * 32), ("a" + "ä" * 40, "a" + "ä" * 31), ("\ud800", "?")],
)
def test_any_name_of_an_application_will_do(ours, name, shown):
    """What RFC 5280 has no room for is left out."""
    found = x509.load_pem_x509_certificate(ours.client(name).chain).subject
    assert [attribute.value for attribute in found] == [shown]


def test_request_does_not_get_more_than_its_names():
    """Who asks to become an authority gets a certificate that signs nothing."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    signed = Authority.new("customer", today()).sign(csr.public_bytes(Encoding.PEM), server=True, now=today())
    found = x509.load_pem_x509_certificate(signed)
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not found.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_request_with_a_wrong_signature_is_refused():
    """A request proves that whoever asks has the private key."""
    csr = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1()), "HSM", NAME))
    forged = bytearray(csr.public_bytes(Encoding.DER))
    place = bytes(forged).index(CLUSTER.encode())
    forged[place : place + 7] = b"CLUSTER"
    pem = ssl.DER_cert_to_PEM_cert(bytes(forged)).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    with pytest.raises(UsageError, match="not signed with the key"):
        Authority.new("customer", today()).sign(pem, server=True, now=today())


def test_reprs_show_no_key(ours):
    """Names only: a failed test prints what it had in its hands."""
    client, authority = ours.client("app"), Authority.new("customer", today())
    assert repr(client) == "Identity(name='app')"
    assert repr(authority) == "Authority(name='customer')"
    assert repr(ours) == f"Activation(cluster_id='{CLUSTER}', hsm=Identity(name='HSMs of {CLUSTER}'))"


def test_identity_holds_a_key_that_fits(ours):
    """Others may use the PEM as it is."""
    client = ours.client("app")
    key = load_pem_private_key(client.key, password=None)
    assert key.public_key() == x509.load_pem_x509_certificate(client.chain).public_key()


FREEZEGUN = """
import freezegun
with freezegun.freeze_time("2003-01-14"):
    use()
"""

SIMULATED = """
from pytest_hsmcluster.apptime.dates import SimulatedDatetime
real, dates.datetime = dates.datetime, SimulatedDatetime
use()
dates.datetime = real
"""

OUR_USE = 'assert_cluster_talks(activate("cluster-abcdefghijk", today()))'

# It may fail, which is not our matter here: `cryptography` has looked the class up by then.
SOMEBODYS_USE = """with contextlib.suppress(TypeError):
        PolicyBuilder().time(dates.datetime.max)"""

ISSUE = """
import contextlib
import datetime as dates
from cryptography.x509.verification import PolicyBuilder
from pytest_hsmcluster.drivers.pace import today
from pytest_hsmcluster.processes.certificates import activate
from tests.processes.ends import assert_cluster_talks

def use():
    {use}
{other_clock}
assert_cluster_talks(activate("cluster-abcdefghijk", today()))
"""


@pytest.mark.parametrize("other_clock", [FREEZEGUN, SIMULATED], ids=["freezegun", "hsm_app_time"])
@pytest.mark.parametrize("use", [OUR_USE, SOMEBODYS_USE], ids=["ours", "somebody's"])
def test_date_that_others_have_made_up_does_not_matter(use, other_clock):
    """Whoever made the process's first certificate, and when it seemed to be: ours are good then and later.

    In a process of its own, for `cryptography` remembers.
    """
    code = ISSUE.format(use=use, other_clock=other_clock)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def files(ours, tmp_path):
    """The certificates as files."""
    pems = {
        "customerCA.crt": ours.customer_ca,
        "anchor.crt": ours.trust_anchor,
        "hsm.crt": ours.hsm.chain,
        "client.crt": ours.client("app").chain,
        "theirs.crt": activate("cluster-zyxwvutsrqp", today()).hsm.chain,
    }
    for name, pem in pems.items():
        (tmp_path / name).write_bytes(pem)
    return tmp_path


@needs_openssl
@pytest.mark.parametrize(
    "authority, purpose, certificate, accepted",
    [
        ("customerCA.crt", "sslserver", "hsm.crt", True),
        ("customerCA.crt", "sslserver", "theirs.crt", False),
        ("customerCA.crt", "sslclient", "hsm.crt", False),
        ("anchor.crt", "sslclient", "client.crt", True),
        ("anchor.crt", "sslserver", "client.crt", False),
        ("anchor.crt", "sslserver", "hsm.crt", False),
    ],
)
def test_openssl_accepts_each_certificate_for_its_purpose(files, authority, purpose, certificate, accepted):
    """As strictly as it can: RFC 5280 to the letter."""
    code, said = openssl(
        "verify", "-x509_strict", "-purpose", purpose, "-CAfile", files / authority, files / certificate
    )
    assert (code == 0) is accepted, said


@needs_openssl
def test_openssl_reads_what_we_wrote(files):
    """The name, the key and the purposes are where other programs look for them."""
    code, text = openssl("x509", "-noout", "-text", "-in", files / "hsm.crt")
    assert code == 0
    for line in (
        f"Issuer: CN = customer CA of {CLUSTER}",
        f"DNS:{NAME}",
        "Signature Algorithm: ecdsa-with-SHA256",
        "ASN1 OID: prime256v1",
        "CA:FALSE",
        "TLS Web Server Authentication",
        "Digital Signature",
    ):
        assert line in text.replace("CN=", "CN = "), line
    assert "Client Authentication" not in text
