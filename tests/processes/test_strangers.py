"""Is whoever may not speak to an HSM process refused, and is that written down?"""

import shutil
import socket
import ssl
import subprocess
import warnings
from contextlib import suppress
from datetime import timedelta

import pytest

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.drivers.pace import today
from pytest_hsmcluster.processes.certificates import activate, server_name
from tests.processes.strangers import activation_of, answer, called, context_of, frame, request, said, spoken_to

DAY_S = 86_400
RANDOM = ["random", 8]

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install openssl")


@pytest.fixture(scope="module")
def cluster():
    """One for all strangers: each of them finds it alive."""
    with HsmCluster(1, network="processes", clock_rate=20) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    return cluster.client()


@pytest.fixture
def goes_on(cluster, client):
    """Other connections, and the processes, are the same afterwards."""
    lines = cluster.network._connections[client._process.number, "hsm-1"]
    before = list(lines), [hsm.pid for hsm in cluster.hsms]
    yield
    assert len(client.random(8)) == 8
    assert (list(lines), [hsm.pid for hsm in cluster.hsms]) == before


def nobody(cluster):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=activation_of(cluster).customer_ca.decode())
    return context


def old_fashioned(cluster):
    context = context_of(cluster)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def old_certificate(cluster):
    return context_of(cluster, activation_of(cluster).client("app", now=today() - timedelta(days=3), valid_s=DAY_S))


def early_certificate(cluster):
    return context_of(cluster, activation_of(cluster).client("app", now=today() + timedelta(days=7)))


def foreign_certificate(cluster):
    return context_of(cluster, activate("cluster-zyxwvutsrqp", today()).client("app"))


def test_strangers_whom_nobody_reads_about_do_not_stop_an_hsm(cluster, goes_on, caplog):
    """Its test process is busy and takes no lines for its log: what finds no room is counted."""
    for _ in range(2000):
        with called(cluster) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ConnectionError):
                while sock.recv(1000):
                    pass
    cluster.hsm("hsm-1").keys  # noqa: B018  reads the lines
    with called(cluster) as sock:
        sock.sendall(b"once more, no TLS")
    said(caplog, cluster, "refused the client", "lines before this one are left out")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    "dressed, why",
    [
        (nobody, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (foreign_certificate, "unable to get local issuer certificate"),
        (old_certificate, "certificate has expired"),
        (early_certificate, "certificate is not yet valid"),
        (lambda cluster: context_of(cluster, protocol=None), "does not speak hsmcluster/1"),
        (lambda cluster: context_of(cluster, protocol="hsmcluster/2"), "does not speak hsmcluster/1"),
    ],
    ids=["no certificate", "another cluster's", "expired", "not yet valid", "no ALPN", "another version's ALPN"],
)
def test_whoever_does_not_belong_here_is_refused_and_logged(cluster, goes_on, caplog, version, dressed, why):
    """No request of it is answered; the log names the HSM, the port that it called from, and the reason."""
    context = dressed(cluster)
    context.maximum_version = version
    port = None
    try:
        with called(cluster) as bare:
            port = bare.getsockname()[1]
            with context.wrap_socket(bare, server_hostname=server_name(cluster.id)) as sock:
                sock.sendall(frame(request(RANDOM)))
                assert answer(sock) is None
    except (ssl.SSLError, ConnectionError):
        pass  # with TLS 1.2 it learns it in the handshake, with 1.3 when it reads
    assert said(caplog, cluster, why).startswith(f"hsm-1: refused the client at port {port}: ")


def test_tls_1_1_is_refused_and_logged(cluster, goes_on, caplog):
    with pytest.raises((ssl.SSLError, ConnectionError)), spoken_to(cluster, old_fashioned(cluster)):
        pass
    said(caplog, cluster, "hsm-1: refused", "UNSUPPORTED_PROTOCOL")


@pytest.mark.parametrize(
    "bytes_, why",
    [
        (b"GET / HTTP/1.1\r\nHost: hsm\r\n\r\n", "HTTP_REQUEST"),
        (frame(request(RANDOM)), "TLS"),
        (bytes(range(256)) * 200, "TLS"),
        (b"\x16\x03\x01\x40\x00" + bytes(16384), "TLS"),
        (b"", "EOF"),
    ],
    ids=["HTTP", "a plain request", "garbage", "a record of zeros", "nothing"],
)
def test_plain_text_is_refused_and_logged(cluster, goes_on, caplog, bytes_, why):
    """What is no TLS is not taken for a request, and gets no answer."""
    with called(cluster) as bare:
        try:
            bare.sendall(bytes_)
            bare.shutdown(socket.SHUT_WR)
            assert RANDOM[0].encode() not in bare.recv(1000)
        except OSError:
            pass  # it was reset before
    said(caplog, cluster, "hsm-1: refused the client at port", why)


@pytest.mark.parametrize("bytes_", [b"", b"x", b"\x16\x03\x01\x02\x00"])
def test_connection_that_is_reset_at_once_harms_nobody(cluster, goes_on, caplog, bytes_):
    """The other side may have gone before the HSM looks at the connection, or in the middle of its first record."""
    for _ in range(20):
        with called(cluster) as bare:
            bare.sendall(bytes_)
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    said(caplog, cluster, "hsm-1: refused the client at port")


@pytest.mark.parametrize("bytes_", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "in the middle of a record"])
def test_handshake_that_takes_too_long_is_ended(cluster, goes_on, caplog, bytes_):
    """Ten seconds, of simulated time: a connection that says nothing costs a descriptor for so long only."""
    with called(cluster) as bare:
        bare.sendall(bytes_)
        cluster.clock.advance(11)
        said(caplog, cluster, f"hsm-1: refused the client at port {bare.getsockname()[1]}", "took too long")
        assert bare.recv(1) == b""


@needs_openssl
@pytest.mark.parametrize(
    "options, why",
    [
        (["-tls1_3"], "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (["-tls1_2"], "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "UNSUPPORTED_PROTOCOL"),
    ],
    ids=["TLS 1.3", "TLS 1.2", "TLS 1.1"],
)
def test_openssl_without_a_certificate_is_refused(cluster, goes_on, caplog, options, why):
    """The command line that everybody has at hand."""
    address = "{}:{}".format(*cluster.network.upstream("hsm-1"))
    done = subprocess.run(
        [
            "openssl",
            "s_client",
            "-ign_eof",
            "-connect",
            address,
            "-servername",
            server_name(cluster.id),
            "-alpn",
            "hsmcluster/1",
        ]
        + options,
        input="hello\n",
        capture_output=True,
        text=True,
    )
    assert "alert" in done.stderr or done.returncode, done.stderr
    said(caplog, cluster, "hsm-1: refused the client at port", why)
