"""How do other processes come in?

A Unix socket in a directory that only its user can open.  Calls of another process that go on at once have a connection
each; those of one process are one application.  One thread serves them all, a frame at a time: simulated time is one.
Nobody can make it wait: answers that a peer does not read are kept, and until it does no more of its calls are carried
out.  Who comes when no file can be opened any more is hung up on, and told by that.

A cluster whose clock is real needs no such care: time passes there by itself, and the test may act in the middle of a
call from here.

One process that calls on one thread, while the test waits for it, is as good as a call in the test: its history has a
digest.  Where several are connected, or the test acts meanwhile, chance decides who is first, and the history says so.
"""

import errno
import os
import selectors
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
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
_LONGEST_PATH: Final = 107
_TOO_MANY_FILES: Final = (errno.EMFILE, errno.ENFILE)
_PAUSE_S: Final = 0.1


class _Connection:
    """One connection: what has come of a frame so far, what of an answer has not gone out yet, and whose it is."""

    def __init__(self, peer: socket.socket, pid: int) -> None:
        self.peer = peer
        self.pid = pid  # as the kernel tells; 0 for a process that is not in our namespace
        self.received = bytearray()
        self.unsent = b""
        self.application: Application | None = None
        self.key: tuple[int, int, int] = (0, 0, 0)

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
        self._folder, self.path = _private_place()
        self.applications: list[Application] = []
        self._slots, self._gone, self._called = slots, gone, called
        self._pace, self._tied = pace, False
        self._by_process: dict[tuple[int, int, int], Application] = {}
        self._connections: dict[socket.socket, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(socket.SOMAXCONN)
        self._listener.setblocking(False)
        self._spare: int | None = None  # a descriptor to let somebody in with, if only to hang up
        self._closed_for_now = False
        self._keep_a_spare()
        self._ended, self._end = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="hsmcluster pkcs11", daemon=True)
        self._thread.start()
        for token in slots.values():
            self.serve(token)

    def serve(self, token: Token) -> None:
        """Have a cluster expect this server's thread.

        With a real clock it is a thread like any other: there a test may mend what a call of an application waits for.
        """
        assert self._thread.ident is not None, "it was started"
        if token.pass_time is not None:
            token.turnstile.welcome(self._thread.ident, self._settled)

    def close(self) -> None:
        """Hang up on everybody; the socket is gone."""
        self._end.send(b"\0")  # closing it would tell nothing as long as a forked child has it, too
        self._thread.join()
        # Not before: it may be ending an application that has just hung up, and is no stranger there.
        for token in self._slots.values():
            token.turnstile.bid_farewell()
        shutil.rmtree(self._folder, ignore_errors=True)
        for connection in list(self._connections.values()):
            self._hang_up(connection)
        for one in (self._listener, self._ended, self._end):
            _shut(one)
        self._give_the_spare()
        self._selector.close()
        for application in self.applications:
            application.end()

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
            wait_s = 0 if asked else _PAUSE_S if self._closed_for_now else None
            found = {key.fileobj: events for key, events in self._selector.select(wait_s)}
            if self._closed_for_now:
                self._selector.register(self._listener, selectors.EVENT_READ)
                self._closed_for_now = False
            busy = [one for one in found if one is not self._ended]
            # Who has hung up did so before somebody else came.
            for one in sorted(busy, key=lambda one: one is self._listener):
                if one is self._listener:
                    self._accept()
                else:
                    self._attend(self._connections[one], found[one])  # type: ignore[index]
            if self._ended in found:
                questions = self._ended.recv(64)
                if questions.strip(b"?"):
                    return
                asked += len(questions)
            elif asked and not busy:
                self._ended.send(b"!" * asked)
                asked = 0

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError as error:  # it has gone, or there are too many open files
            log.warning("a connection is not accepted: %s", error)
            if error.errno in _TOO_MANY_FILES:
                self._turn_away()
            return
        pid, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid != os.getuid():
            log.warning("user %d is not let in: the socket is that of user %d", uid, os.getuid())
            peer.close()
            return
        peer.setblocking(False)
        self._connections[peer] = _Connection(peer, pid)
        self._selector.register(peer, selectors.EVENT_READ)

    def _turn_away(self) -> None:
        """Hang up on who waits; left where it is it would be reported again and again, and never know.

        Another thread may take the spare descriptor meanwhile.  Then nobody is looked for, for a moment.
        """
        self._give_the_spare()
        with suppress(OSError):
            peer, _ = self._listener.accept()
            _shut(peer)
        if not self._keep_a_spare():
            self._selector.unregister(self._listener)
            self._closed_for_now = True

    def _keep_a_spare(self) -> bool:
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return self._spare is not None

    def _give_the_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _attend(self, connection: _Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._send(connection)
            else:
                self._receive(connection)
            while not connection.unsent and (frame := connection.frame()) is not None:
                self._carry_out(connection, frame)
        except (OSError, ValueError, struct.error) as error:
            if not isinstance(error, ConnectionError):
                log.warning("a connection is closed: %s", error)
            self._hang_up(connection)
            return
        self._selector.modify(connection.peer, selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ)

    def _receive(self, connection: _Connection) -> None:
        data = connection.peer.recv(1 << 16)
        if not data:
            raise ConnectionError("it hung up")
        connection.received += data

    def _send(self, connection: _Connection) -> None:
        try:
            sent = connection.peer.send(connection.unsent)
        except BlockingIOError:
            return
        connection.unsent = connection.unsent[sent:]

    def _carry_out(self, connection: _Connection, frame: bytes) -> None:
        if connection.application is None:
            zero, pid, era = _HELLO.unpack(frame)
            if zero:
                raise ValueError("it does not say who it is")
            connection.key = connection.pid, pid, era
            connection.application = self._application(connection.key)
            if sum(other.application is not None for other in self._connections.values()) > 1:
                self._doubt("several applications, or threads of one, were connected at its socket at once")
            return
        try:
            self._catch_up()
        except Exception as error:  # of a fault or hook of the test, or ours: the application gets its answer
            connection.application.failures.append(error)
        answer = connection.application.answer(frame)
        self._tie()
        connection.unsent = _SIZE.pack(len(answer)) + answer
        self._send(connection)

    def _catch_up(self) -> None:
        """Let as much simulated time pass as wall time has since the last answer."""
        if self._pace is not None and self._tied:
            for token in self._slots.values():
                if token.pass_time is not None and not token.closed():
                    token.pass_time(self._pace.gone_ns())

    def _tie(self) -> None:
        if self._pace is not None:
            self._doubt('simulated time followed the wall clock between the calls (pace="wall")')
            self._pace.begin(0)
            self._tied = True

    def _doubt(self, why: str) -> None:
        for token in self._slots.values():
            token.turnstile.doubt(why)

    def _application(self, key: tuple[int, int, int]) -> Application:
        """Return the application of a process, from one C_Initialize to the C_Finalize.

        Args:
            key: process ID as the kernel tells, and as it says itself (in a container they differ); era.
        """
        found = self._by_process.get(key)
        if found is None:
            found = Application(_name_of(key[0] or key[1]), lambda: self._slots, self._gone, self._called)
            self._by_process[key] = found
            self.applications.append(found)
        return found

    def _hang_up(self, connection: _Connection) -> None:
        """Close a connection; with its last one an application is over, as it is when it dies without a word."""
        self._selector.unregister(connection.peer)
        _shut(connection.peer)
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


def _private_place() -> tuple[str, str]:
    """Return a new directory that only its user can open, and the path of a socket in it.

    A socket's path has 108 bytes at the most, with the zero at its end; pytest's folders are deeper, and sometimes
    TMPDIR is, too.
    """
    for above in (None, "/tmp"):
        folder = tempfile.mkdtemp(prefix="hsm-", dir=above)
        path = str(Path(folder, "pkcs11"))
        if len(os.fsencode(path)) <= _LONGEST_PATH:
            break
        os.rmdir(folder)
    return folder, path


def _shut(one: socket.socket) -> None:
    """Close a socket for those, too, who have it from a fork: whoever is at the other end hears of it."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
