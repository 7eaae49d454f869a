"""Who calls at the port of an HSM without being one of our clients?

Blocking sockets, as of a process of its own: what they get is what any other program would get.
"""

import socket
import ssl
import struct
import threading
from contextlib import contextmanager

import msgspec

from pytest_hsmcluster.processes.certificates import client_context, server_name
from pytest_hsmcluster.processes.line import PROTOCOL

HEAD = struct.Struct(">IB")
REQUEST, ANSWER, MEMBERS = range(3)
PATIENCE_S = 30


def activation_of(cluster):
    """The certificates of a cluster, which only the test process has."""
    return cluster.network._rack._activation


def context_of(cluster, identity=None, protocol=PROTOCOL):
    """What a client with this certificate, or a good one, connects with."""
    ours = activation_of(cluster)
    context = client_context(identity or ours.client("stranger"), ours.customer_ca)
    if protocol:
        context.set_alpn_protocols([protocol])
    return context


def called(cluster, hsm="hsm-1"):
    """A TCP connection to an HSM."""
    return socket.create_connection(cluster.network.upstream(hsm), PATIENCE_S)


@contextmanager
def spoken_to(cluster, context=None, hsm="hsm-1"):
    """A TLS connection to an HSM, after the handshake."""
    with called(cluster, hsm) as bare:
        context = context or context_of(cluster)
        with context.wrap_socket(bare, server_hostname=server_name(cluster.id)) as sock:
            yield sock


def frame(body, kind=REQUEST, length=None):
    """The bytes of one frame; its length may be a lie."""
    return HEAD.pack(len(body) if length is None else length, kind) + body


def read(sock, count):
    """So many bytes, or fewer when the connection ends before."""
    came = b""
    while len(came) < count and (chunk := sock.recv(count - len(came))):
        came += chunk
    return came


def answers(sock):
    """The frames that an HSM sends until it ends the connection: kind and body."""
    try:
        while len(head := read(sock, HEAD.size)) == HEAD.size:
            length, kind = HEAD.unpack(head)
            yield kind, read(sock, length)
    except (ConnectionError, ssl.SSLError):
        return


def answer(sock):
    """The next answer, without the news of who the members are; None when the connection ended."""
    return next((body for kind, body in answers(sock) if kind == ANSWER), None)


def request(command, number=1, session=900, client="stranger", version=1, op=0):
    """The bytes of a request, written without the code that the HSM reads it with."""
    return msgspec.msgpack.encode([version, number, op, None, client, None, session, None, None, None, None, command])


@contextmanager
def heard(cluster):
    """Let the test process listen to its HSMs meanwhile, as it does while an application waits for answers.

    An HSM process tells it of each request, and waits with further ones where nobody listens.
    """
    enough = threading.Event()

    def listen():
        while not enough.is_set():
            cluster.clock.advance(0.1)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield
    finally:
        enough.set()
        listener.join()


def said(caplog, cluster, *words, nap_s=1):
    """Wait for a line in the log that has all these words, and return it."""
    for _ in range(20 * PATIENCE_S):
        for record in caplog.records:
            if record.name == "pytest_hsmcluster.hsm" and all(word in record.getMessage() for word in words):
                return record.getMessage()
        cluster.clock.advance(nap_s)  # the line comes on the private pipe, which is read while the test process waits
    raise AssertionError(f"no line of the log has {words}; the last ones: {caplog.messages[-5:]}")
