"""What listens on the socket may say what it likes: a call fails, the next one begins anew, and nothing hangs."""

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.pkcs11.native.calling import GENERAL_ERROR, NOT_INITIALIZED, OK, Library

pytestmark = pytest.mark.timeout(30)  # the watchdog: what hangs is ended and has failed


def n(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def _frame(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def _read(peer: socket.socket) -> bytes:
    with peer.makefile("rb", buffering=0) as file:
        size = _exactly(file, 4)
        return _exactly(file, struct.unpack("<I", size)[0]) if len(size) == 4 else b""


def _exactly(file: Any, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


class Peer:
    """Answers everything with OK until it is told what else to send."""

    def __init__(self, path: Path) -> None:
        self.says: Callable[[bytes], bytes | None] | None = None
        self.hangs_up = False
        self.hellos: list[tuple[int, ...]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=run, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, peer)

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(ConnectionError):
            self.hellos.append(struct.unpack("<QQQ", _read(peer)))
            while request := _read(peer):
                good = _frame(request[:4] + bytes(4) + n(OK))
                said = self.says(request) if self.says is not None else good
                if said is None:
                    return
                peer.sendall(said)
                if self.hangs_up:
                    return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Library) -> Iterator[Peer]:
    path = Path(os.path.relpath(tmp_path)) / "peer"
    monkeypatch.setenv("HSMCLUSTER_PKCS11_SOCKET", str(path))
    one = Peer(path)
    assert library.C_Initialize(None) == OK
    yield one
    one.says = None
    library.C_Finalize(None)
    one.close()


def random_bytes(library: Library) -> int:
    return int(library.C_GenerateRandom(1, ctypes.create_string_buffer(16), 16))


NONSENSE: dict[str, Callable[[bytes], bytes | None]] = {
    "closes": lambda request: None,
    "empty": lambda request: struct.pack("<I", 0),
    "short": lambda request: struct.pack("<I", 3) + b"abc",
    "huge": lambda request: struct.pack("<I", 0xFFFFFFFF),
    "unasked": lambda request: struct.pack("<I", 4096) + bytes(4096),
    "no result": lambda request: _frame(request[:4]),
    "no output": lambda request: _frame(request[:4] + bytes(4) + n(OK)),
    "long output": lambda request: _frame(request[:4] + bytes(4) + n(OK, 17) + bytes(17)),
    "huge output": lambda request: _frame(request[:4] + bytes(4) + n(OK, 1 << 60)),
    "other call": lambda request: _frame(bytes([request[0] ^ 255]) + request[1:4] + bytes(4) + n(OK, 16) + bytes(16)),
}
HALVES: dict[str, Callable[[bytes], bytes | None]] = {
    "nothing": lambda request: b"",
    "half a length": lambda request: b"\x10\0",
    "only a length": lambda request: struct.pack("<I", 1024),
    "half an answer": lambda request: _frame(request[:4] + bytes(4) + n(OK))[:9],
}


@pytest.mark.parametrize("name", [*NONSENSE, *HALVES])
def test_nonsense_is_a_general_error_and_the_next_call_goes_on(peer: Peer, library: Library, name: str) -> None:
    """What announces more than it sends hangs up then: whoever waits for it is told."""
    peer.says = {**NONSENSE, **HALVES}[name]
    peer.hangs_up = name in HALVES
    assert random_bytes(library) == GENERAL_ERROR
    peer.says = lambda request: _frame(request[:4] + bytes(4) + n(OK, 16) + b"0123456789abcdef")
    peer.hangs_up = False
    assert [random_bytes(library) for _ in range(2)] == [OK, OK]


def test_a_second_answer_spoils_the_connection_and_not_the_next_ones(peer: Peer, library: Library) -> None:
    """It is taken for no answer to another call, and after one failure all is well."""
    peer.says = lambda request: 2 * _frame(request[:4] + bytes(4) + n(OK, 16) + bytes(16))
    assert random_bytes(library) == OK
    peer.says = lambda request: _frame(request[:4] + bytes(4) + n(OK, 16) + bytes(16))

    assert [random_bytes(library) for _ in range(3)] == [GENERAL_ERROR, OK, OK]


def test_connections_end_with_the_peer_and_c_finalize_does_not_wait(peer: Peer, library: Library) -> None:
    """When nobody is there to hear of it, an application is over all the same, and may begin again."""
    peer.says = lambda request: None

    assert library.C_Finalize(None) == GENERAL_ERROR
    assert random_bytes(library) == NOT_INITIALIZED
    peer.says = None
    assert library.C_Initialize(None) == OK
    assert len({era for _, _, era in peer.hellos}) == 2


def test_all_connections_lead_to_where_c_initialize_led(
    peer: Peer, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of the environment: another thread is the same application."""
    monkeypatch.delenv("HSMCLUSTER_PKCS11_SOCKET")
    peer.says = lambda request: None
    assert random_bytes(library) == GENERAL_ERROR
    peer.says = None

    assert library.C_CloseAllSessions(1) == OK


@pytest.mark.parametrize("path", ["/nowhere/at/all", "x" * 107, "x" * 108, "x" * 5000, ""])
def test_where_nobody_listens_c_initialize_says_so(
    library: Library, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], path: str
) -> None:
    """On stderr, too, since CKR_GENERAL_ERROR says little; also for a path that is too long for a socket."""
    monkeypatch.setenv("HSMCLUSTER_PKCS11_SOCKET", path)

    assert library.C_Initialize(None) == GENERAL_ERROR
    assert capfd.readouterr().err == (
        "hsmcluster: C_Initialize: no cluster is running: use the fixture hsm_pkcs11, "
        "and in other processes its environment (HSMCLUSTER_PKCS11_SOCKET)\n"
    )
