"""Who comes in through the socket may send what it likes: it is hung up on, and nobody else notices."""

import logging
import os
import resource
import socket
import stat
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from pytest_hsmcluster import Pkcs11Door
from pytest_hsmcluster.pkcs11 import server as server_module
from pytest_hsmcluster.pkcs11.server import SOCKET_VARIABLE, Server
from pytest_hsmcluster.wire.functions import LIMIT, VERSION

pytestmark = pytest.mark.timeout(60)  # the watchdog: what hangs is ended and has failed

INITIALIZE, FINALIZE, GET_INFO, MECHANISMS = 1, 2, 3, 8
HELLO = struct.pack("<IQQQ", 24, 0, 4711, 0)


def call(number: int, body: bytes = b"", sequence: int = 1) -> bytes:
    frame = struct.pack("<IHH", sequence, VERSION, number) + body
    return struct.pack("<I", len(frame)) + frame


START = call(INITIALIZE, struct.pack("<QQQQ", 0, 0, 0, 0))
INFO = call(GET_INFO, struct.pack("<Q", 1))


class Client:
    """A raw connection."""

    def __init__(self, path: str, hello: bytes = HELLO) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(20)
        with suppress(BrokenPipeError):  # it may have hung up already
            self.socket.sendall(hello)

    def ask(self, frame: bytes) -> tuple[int, int]:
        """Return sequence and result of the answer."""
        self.socket.sendall(frame)
        return self.answer()

    def answer(self) -> tuple[int, int]:
        (size,) = struct.unpack("<I", self._exactly(4))
        sequence, _, result = struct.unpack_from("<IIQ", self._exactly(size))
        return sequence, result

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, "it hung up"
            data += more
        return data

    @property
    def hung_up_on(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()


@pytest.fixture
def path(hsm_pkcs11: Pkcs11Door) -> str:
    return hsm_pkcs11.env[SOCKET_VARIABLE]


def all_is_well(path: str) -> bool:
    with Client(path, struct.pack("<IQQQ", 24, 0, 4712, 0)) as client:
        return client.ask(START) == (1, 0) and client.ask(INFO) == (1, 0)


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack("<I", 0),
        struct.pack("<I", LIMIT + 1),
        struct.pack("<I", 0xFFFFFFFF),
        struct.pack("<I", 3) + b"abc",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        START,
        struct.pack("<IQQQ", 24, 1, 4711, 0),
        struct.pack("<IQQQQ", 32, 0, 4711, 0, 0),
    ],
    ids=["empty", "long", "huge", "short", "http", "no-hello", "not-zero", "long-hello"],
)
def test_who_does_not_say_who_it_is_is_hung_up_on(path: str, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """And the log says that a connection was closed."""
    with Client(path, sent) as client:
        assert client.hung_up_on
    assert all_is_well(path)


@pytest.mark.parametrize("sent", [struct.pack("<I", 0), struct.pack("<I", LIMIT + 1)], ids=["empty", "long"])
def test_a_length_that_is_none_ends_a_connection(path: str, sent: bytes) -> None:
    """Nothing that comes behind it can be trusted."""
    with Client(path) as client:
        assert client.ask(START) == (1, 0)
        client.socket.sendall(sent)
        assert client.hung_up_on
    assert all_is_well(path)


@pytest.mark.parametrize(
    "body",
    [b"x", bytes(7), bytes(8), b"\xff" * 100, struct.pack("<IHH", 1, 9, 3), struct.pack("<IHH", 1, VERSION, 4)],
)
def test_a_frame_that_is_none_is_a_general_error_and_the_connection_goes_on(path: str, body: bytes) -> None:
    """Its length was right: the next frame begins where it should."""
    with Client(path) as client:
        assert client.ask(START) == (1, 0)
        assert client.ask(struct.pack("<I", len(body)) + body)[1] == 0x5
        assert client.ask(INFO) == (1, 0)


@pytest.mark.parametrize("part", range(1, 40, 3))
def test_half_a_frame_and_then_nothing(path: str, part: int) -> None:
    """The application is over, wherever it stopped."""
    with Client(path) as client:
        client.ask(START)
        client.socket.sendall(START[:part])
    assert all_is_well(path)


def test_a_frame_that_comes_byte_by_byte_is_read_whole(path: str) -> None:
    """A stream has no frames; and many in one piece are answered in order."""
    with Client(path) as client:
        for byte in START:
            client.socket.sendall(bytes([byte]))
        assert client.answer() == (1, 0)
        client.socket.sendall(b"".join(call(GET_INFO, struct.pack("<Q", 1), number) for number in range(100)))
        assert [client.answer() for _ in range(100)] == [(number, 0) for number in range(100)]


def test_two_hundred_connections(path: str, hsm_pkcs11: Pkcs11Door) -> None:
    """All are let in and served, and those of one process are one application."""
    clients = [Client(path) for _ in range(200)]
    try:
        assert clients[0].ask(START) == (1, 0)
        assert [client.ask(INFO) for client in clients] == [(1, 0)] * 200
    finally:
        for client in clients:
            client.socket.close()
    assert all_is_well(path)


def test_who_never_reads_makes_nobody_wait(path: str) -> None:
    """Its answers fill all buffers on the way; others are served, and nothing more is done for it."""
    with Client(path) as slow:
        slow.ask(START)
        slow.socket.setblocking(False)
        try:
            while True:
                slow.socket.send(200 * INFO)
        except BlockingIOError:
            pass
        assert all_is_well(path)
        slow.socket.settimeout(20)
        assert slow.answer() == (1, 0)
    assert all_is_well(path)


def test_who_never_reads_does_not_keep_the_door_open(hsm_pkcs11: Pkcs11Door) -> None:
    """Closing hangs up on it."""
    server = Server(hsm_pkcs11.slots, {}, lambda called: None)
    with Client(server.path) as slow:
        slow.ask(START)
        slow.socket.setblocking(False)
        try:
            while True:
                slow.socket.send(200 * INFO)
        except BlockingIOError:
            pass
        server.close()
    assert not Path(server.path).exists()


def test_an_answer_that_cannot_be_written_is_a_failure_of_the_call_only(path: str, hsm_pkcs11: Pkcs11Door) -> None:
    """What is wrong in the door is raised in the test, and the server lives."""
    with Client(path) as client:
        client.ask(START)
        one = hsm_pkcs11._server
        assert one is not None
        for application in one.applications:
            _, needs, numbers = application._methods["C_GetInfo"]
            application._methods["C_GetInfo"] = (lambda there: [1, 2]), needs, numbers
        assert client.ask(INFO) == (1, 0x6)
        assert len(hsm_pkcs11.failures) == 1


def test_only_its_user_can_open_the_directory(path: str) -> None:
    """Mode 0700; and the path has room in a socket's address."""
    assert stat.S_IMODE(os.stat(Path(path).parent).st_mode) == 0o700
    assert len(os.fsencode(path)) < 108


def test_a_deep_tmpdir_is_left_for_tmp(hsm_pkcs11: Pkcs11Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A socket's path has 108 bytes, wherever TMPDIR leads; nothing is left where it was too deep."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(server_module.tempfile, "tempdir", str(deep))
    server = Server(hsm_pkcs11.slots, {}, lambda called: None)

    assert len(os.fsencode(server.path)) < 108 and list(deep.iterdir()) == []
    server.close()


def test_another_user_is_not_let_in(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel tells who it is, whatever it says itself."""
    caplog.set_level(logging.WARNING, "pytest_hsmcluster.pkcs11")
    uid = os.getuid()
    monkeypatch.setattr(server_module.os, "getuid", lambda: uid + 1)
    with Client(path, b"") as client:
        assert client.hung_up_on
    assert f"user {uid} is not let in" in caplog.text


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_real_user_is_not_let_in(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither through the directory, nor when somebody opened it by mistake."""
    script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.exit(len(s.recv(1)))"
    command: Any = {"user": 65534, "group": 65534, "extra_groups": [], "capture_output": True}
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable

    closed = subprocess.run([python, "-c", script, path], **command)
    assert b"PermissionError" in closed.stderr
    os.chmod(Path(path).parent, 0o755)
    os.chmod(path, 0o777)
    opened = subprocess.run([python, "-c", script, path], **command)
    assert opened.returncode == 0 and "user 65534 is not let in" in caplog.text
    assert all_is_well(path)


def test_nothing_is_left_after_close(hsm_pkcs11: Pkcs11Door) -> None:
    """No file, no thread, no open file: also with clients that are still there."""
    threads, files = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    server = Server(hsm_pkcs11.slots, {}, lambda called: None)
    clients = [Client(server.path) for _ in range(5)]
    clients[0].ask(START)
    server.close()

    assert all(client.hung_up_on for client in clients)
    for client in clients:
        client.socket.close()
    assert not Path(server.path).parent.exists()
    assert set(threading.enumerate()) == threads and set(os.listdir("/proc/self/fd")) == files


def test_a_forked_child_of_the_test_keeps_nothing_open(hsm_pkcs11: Pkcs11Door) -> None:
    """It has copies of all sockets; closing the door ends the thread, and clients are told, all the same."""
    server = Server(hsm_pkcs11.slots, {}, lambda called: None)
    client = Client(server.path)
    client.ask(START)
    ended, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.read(ended, 1)  # until the parent has checked
        os._exit(0)
    server.close()
    assert client.hung_up_on
    os.close(end)
    assert os.waitpid(child, 0)[1] == 0
    os.close(ended)
    client.socket.close()


class _Files:
    """Takes all files that this process may still open."""

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._taken: list[int] = []

    def take(self) -> None:
        with suppress(OSError):
            while True:
                self._taken.append(os.dup(0))

    def __enter__(self) -> Self:
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, self._limits[1]))
        return self

    def __exit__(self, *exc_info: object) -> None:
        for one in self._taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


def test_who_comes_when_no_file_can_be_opened_is_hung_up_on(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each is told at once, once; who was there before is served meanwhile, and whoever comes when there is one."""
    caplog.set_level(logging.WARNING, "pytest_hsmcluster.pkcs11")
    late = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    with Client(path) as early:
        assert early.ask(START) == (1, 0)
        with _Files() as files:
            files.take()
            for one in late:
                one.settimeout(20)
                one.connect(path)
                assert one.recv(1) == b""
                assert early.ask(INFO) == (1, 0)
    for one in late:
        one.close()

    assert caplog.text.count("Too many open files") == 3
    assert all_is_well(path)


def test_without_a_spare_file_the_door_pauses(
    path: str, hsm_pkcs11: Pkcs11Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another thread has taken what was kept to hang up with: nobody is looked for until the pause is over."""
    caplog.set_level(logging.WARNING, "pytest_hsmcluster.pkcs11")
    monkeypatch.setattr(server_module, "_PAUSE_S", 3600)
    server, late = hsm_pkcs11._server, Client.__new__(Client)
    assert server is not None
    late.socket = socket.socket(socket.AF_UNIX)
    late.socket.settimeout(20)
    with Client(path) as early, late:
        assert early.ask(START) == (1, 0)
        with _Files() as files:
            monkeypatch.setattr(server, "_keep_a_spare", lambda: False)
            server._give_the_spare()
            files.take()
            late.socket.connect(path)
            while not server._closed_for_now:  # the watchdog ends it
                pass
            assert caplog.text.count("Too many open files") == 1
        monkeypatch.undo()
        assert early.ask(INFO) == (1, 0)  # ends the pause
        late.socket.sendall(HELLO)
        assert late.ask(INFO) == (1, 0)
