"""Does a client with a good certificate and bad manners lose its own connection only?"""

import itertools
import socket
from contextlib import ExitStack

import msgspec
import pytest

from pytest_hsmcluster import DataInvalid, HsmCluster, UsageError
from pytest_hsmcluster.processes import server
from pytest_hsmcluster.processes.codec import VERSION
from pytest_hsmcluster.processes.line import MOST_BYTES
from tests.processes.strangers import (
    ANSWER,
    HEAD,
    MEMBERS,
    answer,
    answers,
    called,
    context_of,
    frame,
    heard,
    request,
    said,
    spoken_to,
)

RANDOM = ["random", 8]


@pytest.fixture(scope="module")
def cluster():
    with HsmCluster(1, sdk=3, network="processes", clock_rate=20) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    return cluster.client()


@pytest.fixture(autouse=True)
def goes_on(cluster, client):
    """Other connections, and the process, are the same afterwards."""
    lines = cluster.network._connections[client._process.number, "hsm-1"]
    before = list(lines), cluster.hsm("hsm-1").pid
    yield
    assert len(client.random(8)) == 8
    assert (list(lines), cluster.hsm("hsm-1").pid) == before


@pytest.fixture(scope="module")
def numbers():
    return itertools.count(900)


@pytest.fixture
def session(numbers):
    """The number of a session that nobody else has named."""
    return next(numbers)


def login(cluster, session):
    return request(["login", cluster.default_user, cluster.default_password], session=session)


def nested(depth):
    """Arrays within arrays."""
    return b"\x91" * depth + b"\xc0"


def test_client_that_behaves_is_answered(cluster, session):
    """So what follows is refused for what is wrong with it."""
    with spoken_to(cluster) as sock:
        for number in (1, 2):
            sock.sendall(frame(login(cluster, session) if number == 1 else request(RANDOM, number, session)))
            said_number = msgspec.msgpack.decode(answer(sock))[1]
            assert said_number == (1 if number == 1 else 2)


@pytest.mark.parametrize(
    "bytes_, why",
    [
        (frame(b"", length=MOST_BYTES + 1), f"a frame of {MOST_BYTES + 1} bytes; {MOST_BYTES} are allowed"),
        (frame(b"", length=(1 << 32) - 1), "a frame of 4294967295 bytes"),
        (frame(b""), "malformed"),
        (frame(b"\xc1"), "malformed"),
        (frame(b"not MessagePack at all"), "malformed"),
        (frame(request(RANDOM)[:-1]), "malformed"),
        (frame(request(RANDOM) + b"\x00"), "malformed"),
        (frame(request(RANDOM, version=VERSION + 1)), "malformed"),
        (frame(request(["no_such_command"])), "malformed"),
        (frame(request(["random", "many"])), "malformed"),
        (frame(request(RANDOM, number="one")), "malformed"),
        (frame(nested(100)), "malformed"),
        (frame(nested(1_000_000)), "malformed"),
        (frame(request(["random"])[:-8] + nested(1_000_000)), "malformed"),
        (frame(request(RANDOM), kind=ANSWER), "a frame of kind 1; a client sends requests"),
        (frame(b"\x80", kind=MEMBERS), "a frame of kind 2"),
        (frame(request(RANDOM), kind=255), "a frame of kind 255"),
    ],
    ids=[
        "oversized",
        "4 GiB",
        "empty",
        "never used",
        "text",
        "truncated",
        "too long",
        "another version",
        "unknown command",
        "wrong argument",
        "wrong number",
        "nested",
        "deeply nested",
        "deeply nested argument",
        "an answer",
        "members",
        "unknown kind",
    ],
)
def test_frame_that_is_none_ends_its_connection(cluster, caplog, bytes_, why):
    """It is not answered, and neither is what stands behind it; the log names the port and the reason."""
    with spoken_to(cluster) as sock:
        sock.sendall(bytes_ + frame(request(RANDOM)))
        assert [kind for kind, _ in answers(sock) if kind == ANSWER] == []
        said(caplog, cluster, f"hsm-1: lost the client at port {sock.getsockname()[1]}: ", why)


@pytest.mark.parametrize("cut", [1, HEAD.size, HEAD.size + 5])
def test_frame_that_is_cut_off_is_logged(cluster, caplog, cut):
    with spoken_to(cluster) as sock:
        sock.sendall(frame(request(RANDOM))[:cut])
        port = sock.getsockname()[1]
    said(caplog, cluster, f"hsm-1: lost the client at port {port}: ", "in the middle of a frame")


def test_frame_that_comes_byte_by_byte_is_one(cluster, session):
    with spoken_to(cluster) as sock:
        for byte in frame(login(cluster, session)):
            sock.send(bytes([byte]))
        assert answer(sock) is not None


def test_bytes_that_are_no_tls_end_the_connection(cluster, caplog):
    with spoken_to(cluster) as sock:
        socket.socket.send(sock, b"\x17\x03\x03\x00\x20" + bytes(32))
        assert list(answers(sock))[1:] == []
    said(caplog, cluster, "hsm-1: lost the client", "TLS")


def test_client_cannot_use_the_session_of_another_certificate(cluster, client, caplog):
    """The number of a session is no secret: it counts; what it belongs to is a certificate."""
    key = client.generate_key("AES", 256, label="mine")
    number = client._process.number
    for command in (["encrypt", key.number, None, None, b"data"], ["logout", True], RANDOM, ["login", "x", "y"]):
        with spoken_to(cluster) as sock:
            sock.sendall(frame(request(command, session=number, client="app")))
            assert answer(sock) is None
            said(caplog, cluster, f"port {sock.getsockname()[1]}")
    assert key.number in cluster.hsm("hsm-1").keys
    client.encrypt(key, b"data")


def test_request_that_makes_no_sense_ends_its_connection(cluster, client, session, caplog):
    """Its types are right, and no client of ours would ask: the HSM gives it up, not itself."""
    with spoken_to(cluster) as sock:
        sock.sendall(frame(login(cluster, session)))
        assert answer(sock) is not None
        key = client.generate_key("AES", 256, label="the user's")
        sock.sendall(frame(request(["validate_key", key.number, "no_such_use"], session=session)))
        assert answer(sock) is None
        said(caplog, cluster, f"port {sock.getsockname()[1]}: its request makes no sense (KeyError)")


def test_request_that_is_too_long_is_refused_before_it_is_sent(cluster):
    """Our own client does not run into the limit: its test learns what is wrong, and its connections stay."""
    client = cluster.client("talkative")
    key = client.generate_key("GENERIC_SECRET", 256, label="long")
    lines = list(cluster.network._connections[client._process.number, "hsm-1"])
    for _ in range(2):
        with pytest.raises(UsageError, match=r"sign has 83\d+ bytes to send .* which takes 8388608"):
            client.sign(key, bytes(MOST_BYTES))
    assert len(client.sign(key, b"short")) == 32
    assert cluster.network._connections[client._process.number, "hsm-1"] == lines


def test_random_bytes_are_made_up_to_a_limit(cluster, client):
    """What is asked for costs the HSM more than the question costs the client."""
    assert len(client.random(1 << 20)) == 1 << 20
    with pytest.raises(DataInvalid, match="hsm-1 makes 0 to 1048576 random bytes at once"):
        client.random((1 << 20) + 1)


# -- what one client can cost ------------------------------------------------------------------


def test_requests_sent_ahead_are_answered_in_their_order(cluster, session):
    """Nobody has to wait for an answer before the next request."""
    with heard(cluster), spoken_to(cluster) as sock:
        sock.sendall(
            frame(login(cluster, session))
            + b"".join(frame(request(RANDOM, number, session)) for number in range(2, 2000))
        )
        numbers = []
        for kind, body in answers(sock):
            if kind == ANSWER:
                numbers.append(msgspec.msgpack.decode(body)[1])
            if len(numbers) == 1999:
                break
    assert numbers == list(range(1, 2000))


def test_client_that_reads_no_answer_is_cut_off(cluster, session, caplog):
    """What waits to be sent is bounded: 16 MiB, and then the connection ends."""
    with heard(cluster), spoken_to(cluster) as sock:
        sock.sendall(frame(login(cluster, session)))
        sock.sendall(frame(request(["random", 1 << 20], session=session)) * 50)
        said(caplog, cluster, f"port {sock.getsockname()[1]}", "does not read what it is sent")


def test_requests_that_wait_are_bounded(cluster, session, client, caplog):
    """At most 64 requests of one connection are under way: here each asks whether a fault strikes it."""
    with (
        heard(cluster),
        spoken_to(cluster) as sock,
        cluster.chaos.inject("hold @ hsm.execute client=nobody", may_miss=True),
    ):
        sock.sendall(frame(login(cluster, session)))
        sock.sendall(
            b"".join(frame(request(RANDOM, number, session, "nobody")) for number in range(server.MOST_AT_ONCE + 100))
        )
        list(answers(sock))
        said(caplog, cluster, f"port {sock.getsockname()[1]}", "requests at once")


def test_strangers_make_room_for_each_other(caplog):
    """More connections than an HSM takes, all silent: the oldest go, and whoever has a certificate is served.

    At the pace of the wall clock: a handshake has ten seconds there.
    """
    with HsmCluster(1, sdk=3, network="processes") as cluster, ExitStack() as crowd:
        crowd.enter_context(heard(cluster))
        for _ in range(server.MOST_LINES + 20):
            crowd.enter_context(called(cluster))
        with spoken_to(cluster) as sock:
            sock.sendall(frame(login(cluster, 1)))
            assert answer(sock) is not None
        said(caplog, cluster, "has not shown a certificate yet", nap_s=0.05)


def test_three_hundred_connections_are_served(cluster, client):
    context = context_of(cluster)
    with heard(cluster), ExitStack() as crowd:
        socks = [crowd.enter_context(spoken_to(cluster, context)) for _ in range(300)]
        for number, sock in enumerate(socks):
            sock.sendall(frame(request(RANDOM, number, session=5000 + number)))
        for number, sock in enumerate(socks):
            assert msgspec.msgpack.decode(answer(sock))[1] == number
        client.random(8)
