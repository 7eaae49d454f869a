"""How do other processes come in?

A Unix socket in a directory that only its user can open.  Each thread of another process has a connection of its own;
those of one process are one application.  One thread serves them all, a frame at a time: simulated time is one.

One process that calls on one thread, while the test waits for it, is as good as a call in the test: its history has a
digest.  Where several are connected, or the test acts meanwhile, chance decides who is first, and the history says so.
"""

import os
import selectors
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ..drivers.pace import RealPace
from ..wire.functions import LIMIT
from .application import Application, Called, log
from .token import Token

SOCKET_VARIABLE: Final = "HSMCLUSTER_PKCS11_SOCKET"
_SIZE: Final = struct.Struct("<I")
_HELLO: Final = struct.Struct("<QQQ")
_PEER: Final = struct.Struct("iII")  # pid, uid, gid of SO_PEERCRED


class _Connection:
    """One connection: what has come of a frame so far, and whose it is."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.received = bytearray()
        self.application: Application | None = None
        self.key: tuple[int, int] = (0, 0)

    def frame(self) -> bytes | None:
        """Return the next whole frame, or None.

        Raises:
            ValueError: its length is none that a library of ours sends.
        """
        if len(self.received) < _SIZE.size:
            return None
        (size,) = _SIZE.unpack_from(self.received)
        if not 0 < size <= LIMIT:
            raise ValueError(f"a frame of {size} bytes")
        if len(self.received) < _SIZE.size + size:
            return None
        frame = bytes(self.received[_SIZE.size : _SIZE.size + size])
        del self.received[: _SIZE.size + size]
        return frame


class Server:
    """Serves the socket, from when it is made until it is closed.

    Args:
        slots: what there is to see.
        gone: number of a slot → why it is not there any more.
        called: is told of every call.
        pace: ties simulated time to the wall clock between frames; None: only calls take time.

    Attributes:
        path: of the socket.
        applications: those that have been connected.
    """

    def __init__(
        self,
        slots: Mapping[int, Token],
        gone: Mapping[int, str],
        called: Callable[[Called], object],
        pace: RealPace | None = None,
    ) -> None:
        # A socket's path has 108 bytes at the most, and pytest's folders are deeper.
        self._folder = tempfile.mkdtemp(prefix="hsm-")
        self.path = str(Path(self._folder, "pkcs11"))
        self.applications: list[Application] = []
        self._slots, self._gone, self._called = slots, gone, called
        self._pace, self._tied = pace, False
        self._by_process: dict[tuple[int, int], Application] = {}
        self._connections: dict[socket.socket, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._ended, self._end = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="hsmcluster pkcs11", daemon=True)
        self._thread.start()
        for token in slots.values():
            self.serve(token)

    def serve(self, token: Token) -> None:
        """Have a cluster expect this server's thread."""
        assert self._thread.ident is not None, "it was started"
        token.turnstile.welcome(self._thread.ident, self._settled)

    def close(self) -> None:
        """Hang up on everybody; the socket is gone."""
        for token in self._slots.values():
            token.turnstile.bid_farewell()
        self._end.close()
        self._thread.join()
        for connection in list(self._connections.values()):
            self._hang_up(connection)
        for one in (self._listener, self._ended):
            one.close()
        self._selector.close()
        for application in self.applications:
            application.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _settled(self) -> bool:
        """Wait until everything is done that has come in, and return whether nobody is connected any more."""
        if not self._thread.is_alive():
            return True
        # Over a socket: conditions of `threading` wait in simulated time where an application lives in it.
        self._end.send(b"?")
        self._end.recv(1)
        return not self._connections

    def _serve(self) -> None:
        asked = 0
        while True:
            ready = [key.fileobj for key, _ in self._selector.select(0 if asked else None)]
            busy = [one for one in ready if one is not self._ended]
            # Who has hung up did so before somebody else came.
            for one in sorted(busy, key=lambda one: one is self._listener):
                if one is self._listener:
                    self._accept()
                else:
                    self._receive(self._connections[one])  # type: ignore[index]
            if self._ended in ready:
                questions = self._ended.recv(64)
                if not questions:
                    return
                asked += len(questions)
            elif asked and not busy:
                self._ended.send(b"!" * asked)
                asked = 0

    def _accept(self) -> None:
        peer, _ = self._listener.accept()
        _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid != os.getuid():
            log.warning("user %d is not let in: the socket is that of user %d", uid, os.getuid())
            peer.close()
            return
        self._connections[peer] = _Connection(peer)
        self._selector.register(peer, selectors.EVENT_READ)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.peer.recv(1 << 16)
            if not data:
                raise ConnectionError("it hung up")
            connection.received += data
            while (frame := connection.frame()) is not None:
                self._carry_out(connection, frame)
        except (OSError, ValueError, struct.error) as error:
            if not isinstance(error, ConnectionError):
                log.warning("a connection is closed: %s", error)
            self._hang_up(connection)

    def _carry_out(self, connection: _Connection, frame: bytes) -> None:
        if connection.application is None:
            zero, pid, era = _HELLO.unpack(frame)
            if zero:
                raise ValueError("it does not say who it is")
            connection.key = pid, era
            connection.application = self._application(connection.key)
            if sum(other.application is not None for other in self._connections.values()) > 1:
                self._doubt("several applications, or threads of one, were connected at its socket at once")
            return
        self._catch_up()
        answer = connection.application.answer(frame)
        self._tie()
        connection.peer.setblocking(True)
        connection.peer.sendall(_SIZE.pack(len(answer)) + answer)

    def _catch_up(self) -> None:
        """Let as much simulated time pass as wall time has since the last answer."""
        if self._pace is not None and self._tied:
            for token in self._slots.values():
                token.pass_time(self._pace.gone_ns())

    def _tie(self) -> None:
        if self._pace is not None:
            self._doubt('simulated time followed the wall clock between the calls (pace="wall")')
            self._pace.begin(0)
            self._tied = True

    def _doubt(self, why: str) -> None:
        for token in self._slots.values():
            token.turnstile.doubt(why)

    def _application(self, key: tuple[int, int]) -> Application:
        """Return the application of a process, from one C_Initialize to the C_Finalize."""
        found = self._by_process.get(key)
        if found is None:
            found = Application(_name_of(key[0]), lambda: self._slots, self._gone, self._called)
            self._by_process[key] = found
            self.applications.append(found)
        return found

    def _hang_up(self, connection: _Connection) -> None:
        """Close a connection; with its last one an application is over, as it is when it dies without a word."""
        self._selector.unregister(connection.peer)
        connection.peer.close()
        del self._connections[connection.peer]
        if any(other.key == connection.key for other in self._connections.values()):
            return
        application = self._by_process.pop(connection.key, None)
        if application is not None:
            application.end()


def _name_of(pid: int) -> str:
    """Return what a process calls itself."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() or "app"
    except (OSError, UnicodeDecodeError):
        return "app"
