"""Do HSMs and clients of one cluster accept each other, and nobody else?

The handshakes are real. OpenSSL judges certificates by the machine's date, so they are issued by it here.
"""

import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
import warnings
from datetime import timedelta
from pathlib import Path

import pytest

from pytest_hsmcluster.drivers.pace import today
from pytest_hsmcluster.processes import certificates
from pytest_hsmcluster.processes.certificates import (
    Authority,
    Identity,
    activate,
    client_context,
    server_context,
    server_name,
)
from tests.processes.ends import CLUSTER, NAME, End, assert_they_talk, connect

ROOT = Path(__file__).parent.parent.parent
DAY_S = 86_400
LONG_AGO = timedelta(days=-3)
NEXT_WEEK = timedelta(days=7)

# OpenSSL's x509_vfy.h
NOT_YET_VALID, EXPIRED, OWN_ROOT, UNKNOWN_ISSUER, WRONG_PURPOSE, WRONG_NAME = 9, 10, 19, 20, 26, 62

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install openssl")


@pytest.fixture(scope="module")
def ours():
    return activate(CLUSTER, today())


@pytest.fixture(scope="module")
def theirs():
    """Another cluster."""
    return activate("cluster-zyxwvutsrqp", today())


@pytest.fixture
def hsm(ours):
    return server_context(ours.hsm, ours.trust_anchor)


@pytest.fixture
def app(ours):
    return client_context(ours.client("app"), ours.customer_ca)


def test_hsm_and_client_of_one_cluster_talk(hsm, app):
    """Both know TLS 1.3, so that is what they speak; and each knows the other's name."""
    ends = connect(hsm, app)
    assert_they_talk(*ends)
    assert [end.tls.version() for end in ends] == ["TLSv1.3", "TLSv1.3"]
    assert ends[0].tls.getpeercert()["subject"] == ((("commonName", "app"),),)
    assert ends[1].tls.getpeercert()["subjectAltName"] == (("DNS", NAME),)


def test_nothing_is_on_its_way_after_the_handshake(hsm, app):
    """No session ticket lies half read before the first answer, or makes a second handshake shorter."""
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        app.maximum_version = version
        _, application = connect(hsm, app)
        assert application.read() is None and application.error is None
        assert application.got.pending == 0
        assert not application.tls.session.has_ticket


def test_tls_1_2_has_authenticated_encryption_only(hsm, app):
    """A client that knows no more than TLS 1.2 is served, with forward secrecy, without compression."""
    app.maximum_version = ssl.TLSVersion.TLSv1_2
    ends = connect(hsm, app)
    assert_they_talk(*ends)
    assert ends[0].tls.version() == "TLSv1.2"
    assert ends[0].tls.cipher()[0].startswith("ECDHE-ECDSA-")
    assert ends[0].tls.compression() is None
    for context in (hsm, app):
        assert all(suite["aead"] for suite in context.get_ciphers())


def test_contexts_do_not_rely_on_defaults(hsm, app):
    """What one OpenSSL refuses of its own accord, another allows."""
    for context in (hsm, app):
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.verify_flags & ssl.VERIFY_X509_STRICT


def down_to_1_1(context):
    """Make a context speak TLS 1.1 and nothing newer, if it spoke that at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")  # below it is no hash that TLS 1.1 could sign with
    return context


def test_tls_1_1_is_refused(ours, hsm, app):
    """A client that would get on with a server of its age is refused by ours."""
    old = down_to_1_1(app)
    assert_they_talk(*connect(down_to_1_1(server_context(ours.hsm, ours.trust_anchor)), old))
    refused, _ = connect(hsm, old)
    assert refused.error.reason == "UNSUPPORTED_PROTOCOL"


def without_certificate(ours):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ours.customer_ca.decode())
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_without_certificate_is_refused(ours, hsm, version):
    """With TLS 1.3 the client thinks that all is well, until it reads."""
    nobody = without_certificate(ours)
    nobody.maximum_version = version
    refused, application = connect(hsm, nobody)
    assert refused.error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    if version is ssl.TLSVersion.TLSv1_3:
        assert application.error is None and application.ready
        assert application.read() is None
    assert "ALERT" in application.error.reason


@pytest.mark.parametrize(
    "shown, code",
    [
        (lambda ours, theirs: theirs.client("app"), UNKNOWN_ISSUER),
        (lambda ours, theirs: ours.client("app", now=today() + LONG_AGO, valid_s=DAY_S), EXPIRED),
        (lambda ours, theirs: ours.client("app", now=today() + NEXT_WEEK), NOT_YET_VALID),
        (lambda ours, theirs: ours.hsm, OWN_ROOT),  # a client has its CA at hand, and OpenSSL sends it along
    ],
    ids=["another cluster's", "expired", "not yet valid", "the HSM's own"],
)
def test_client_with_a_wrong_certificate_is_refused(ours, theirs, hsm, shown, code):
    """The HSM says why; the client gets an alert."""
    refused, application = connect(hsm, client_context(shown(ours, theirs), ours.customer_ca))
    assert isinstance(refused.error, ssl.SSLCertVerificationError)
    assert refused.error.verify_code == code
    assert application.read() is None
    assert "ALERT" in application.error.reason


def test_clocks_may_differ_by_most_of_a_day(ours, hsm):
    """A certificate is valid a day before it was issued."""
    early = ours.client("app", now=today() + timedelta(hours=23))
    assert_they_talk(*connect(hsm, client_context(early, ours.customer_ca)))


def test_server_of_another_cluster_is_refused(theirs, ours):
    """A client trusts its own customer CA only; here the other HSM would take it, and has the right name too."""
    impostor = Authority.new("another CA", today()).issue("HSM", server=True, now=today(), dns_name=NAME)
    for shown in (theirs.hsm, impostor):
        _, application = connect(
            server_context(shown, ours.trust_anchor), client_context(ours.client("app"), ours.customer_ca)
        )
        assert isinstance(application.error, ssl.SSLCertVerificationError)
        assert application.error.verify_code == UNKNOWN_ISSUER


@pytest.mark.parametrize(
    "issued, code",
    [
        ({"dns_name": server_name("cluster-other")}, WRONG_NAME),
        ({"dns_name": None}, WRONG_NAME),
        ({"now": LONG_AGO, "valid_s": DAY_S}, EXPIRED),
        ({"now": NEXT_WEEK}, NOT_YET_VALID),
        ({"server": False}, WRONG_PURPOSE),
    ],
    ids=["another name", "no DNS name", "expired", "not yet valid", "a client's"],
)
def test_client_refuses_an_hsm_with_a_wrong_certificate(ours, issued, code):
    """The CA is the right one, and one thing is wrong with what it signed. A common name does not count."""
    customer = Authority.new("customer", today())
    how = {"server": True, "dns_name": NAME, **issued, "now": today() + issued.get("now", timedelta())}
    shown = customer.issue(NAME, **how)
    _, application = connect(
        server_context(shown, ours.trust_anchor), client_context(ours.client("app"), customer.certificate)
    )
    assert isinstance(application.error, ssl.SSLCertVerificationError)
    assert application.error.verify_code == code


def test_certificate_for_a_server_makes_no_client(ours):
    """Even if one authority signs both, neither can stand in the other's place."""
    both = Authority.new("both", today())
    server = both.issue("HSM", server=True, now=today(), dns_name=NAME)
    client = both.issue("app", server=False, now=today())
    takes = server_context(server, both.certificate)
    assert_they_talk(*connect(takes, client_context(client, both.certificate)))
    refused, _ = connect(takes, client_context(server, both.certificate))
    assert refused.error.verify_code == WRONG_PURPOSE


def test_plain_text_is_refused_on_both_sides(hsm, app):
    """Something else that listens on the port, or calls it, gets an error and no hang."""
    for end in (End(hsm, server_side=True), End(app, server_hostname=NAME)):
        end.got.write(b"GET / HTTP/1.0\r\n\r\n")
        end.shake()
        assert isinstance(end.error, ssl.SSLError)
        assert end.error.reason in ("HTTP_REQUEST", "WRONG_VERSION_NUMBER")


def test_client_has_to_say_whom_it_wants(app):
    """Python would check no name at all if none is given, without a word."""
    for nobody in ({}, {"server_hostname": None}, {"server_hostname": ""}):
        with pytest.raises(ValueError, match="server_hostname"):
            End(app, **nobody)
    here, there = socket.socketpair()
    with here, there, pytest.raises(ValueError, match="server_hostname"):
        app.wrap_socket(here)


def no_memory_files(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")


def forbidden_memory_files(monkeypatch):
    def refuse(name):
        raise PermissionError("seccomp")

    monkeypatch.setattr(os, "memfd_create", refuse)


def no_proc(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Path, rights and folder's rights of each file that a key was read from; temporary files lie in `tmp_path`."""
    seen = []
    load = ssl.SSLContext.load_cert_chain

    def spy(context, path):
        seen.append((path, os.stat(path).st_mode, os.stat(os.path.dirname(path)).st_mode))
        load(context, path)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    monkeypatch.setattr(certificates.tempfile, "tempdir", str(tmp_path))
    return seen


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has memory files")
def test_key_is_on_no_disk(ours, opened, tmp_path):
    """It is read from memory, and the memory is given back."""
    before = sorted(os.listdir("/proc/self/fd"))
    server_context(ours.hsm, ours.trust_anchor)
    assert [path.startswith("/proc/self/fd/") for path, _, _ in opened] == [True]
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert list(tmp_path.iterdir()) == []


UNDUMPABLE = """
import ctypes, os, ssl
from pytest_hsmcluster.drivers.pace import today
from pytest_hsmcluster.processes.certificates import activate, server_context

load = ssl.SSLContext.load_cert_chain
ssl.SSLContext.load_cert_chain = lambda context, path: (print(path), load(context, path))
cluster = activate("cluster-abcdefghijk", today())
if os.getuid() == 0:
    os.setuid(65534)
assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE
server_context(cluster.hsm, cluster.trust_anchor)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has memory files")
def test_key_is_on_no_disk_in_a_process_that_may_not_be_dumped():
    """Nobody else can look at the descriptors of such a process; it can itself, without root's rights, too."""
    done = subprocess.run([sys.executable, "-c", UNDUMPABLE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/proc/self/fd/")


@pytest.mark.parametrize("hinder", [no_memory_files, forbidden_memory_files, no_proc])
def test_key_on_a_disk_is_the_owners_alone_and_soon_gone(ours, opened, tmp_path, monkeypatch, hinder):
    """Where there is no memory file, nobody else can read the key meanwhile, and no file is left behind."""
    hinder(monkeypatch)
    ends = connect(server_context(ours.hsm, ours.trust_anchor), client_context(ours.client("app"), ours.customer_ca))
    assert_they_talk(*ends)
    assert len(opened) == 2
    for path, mode, folder in opened:
        assert path.startswith(str(tmp_path))
        assert (stat.S_IMODE(mode), stat.S_IMODE(folder)) == (0o600, 0o700)
    assert list(tmp_path.iterdir()) == []


def test_key_that_does_not_fit_leaves_nothing_behind(ours, opened, tmp_path, monkeypatch):
    """An error on the way removes the file, too."""
    no_memory_files(monkeypatch)
    mixed = Identity("mixed", ours.hsm.chain, ours.client("app").key)
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        server_context(mixed, ours.trust_anchor)
    assert list(tmp_path.iterdir()) == []


def serve_once(listener, context, said):
    """Take one connection and read until the client goes or is refused; the first thing said is the version."""
    connection, _ = listener.accept()
    connection.settimeout(20)
    with connection:
        try:
            with context.wrap_socket(connection, server_side=True) as tls:
                said.append(tls.version())
                while tls.recv(100):
                    pass
        except ssl.SSLError as error:
            said.append(error.reason)


@needs_openssl
@pytest.mark.parametrize(
    "options, typed, heard, code, printed",
    [
        (["-tls1_3"], "Q\n", "TLSv1.3", 0, "Verification: OK"),
        (["-tls1_2"], "Q\n", "TLSv1.2", 0, "Verification: OK"),
        (["-tls1_2"], "R\n", "TLSv1.2", 1, "no renegotiation"),
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "", "UNSUPPORTED_PROTOCOL", 1, "alert protocol version"),
    ],
    ids=["TLS 1.3", "TLS 1.2", "renegotiation", "TLS 1.1"],
)
def test_openssl_is_a_client_as_any_other(ours, tmp_path, hsm, options, typed, heard, code, printed):
    """Over a real connection; `R` asks for a renegotiation, which it does not get."""
    authority, key = tmp_path / "customerCA.crt", tmp_path / "client.pem"
    authority.write_bytes(ours.customer_ca)
    client = ours.client("openssl")
    key.touch(mode=0o600)
    key.write_bytes(client.key + client.chain)
    said = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        server = threading.Thread(target=serve_once, args=(listener, hsm, said))
        server.start()
        address = "127.0.0.1:{1}".format(*listener.getsockname())
        done = subprocess.run(
            ["openssl", "s_client", "-connect", address, "-servername", NAME, "-verify_hostname", NAME]
            + ["-verify_return_error", "-x509_strict", "-CAfile", authority]
            + ["-cert", key, "-key", key, *options],
            input=typed,
            capture_output=True,
            text=True,
        )
        server.join()
    assert (said[0], done.returncode) == (heard, code), done.stderr
    assert printed in done.stdout + done.stderr
