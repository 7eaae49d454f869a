"""How do frames travel over one TLS connection whose socket must never block?

Both ends are the same: a frame is its length, its kind and its body.  A frame that is too long, or what is no TLS,
ends this connection and no other.
"""

import os
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum

from ..drivers.reactor import Reactor

PROTOCOL = "hsmcluster/1"
"""Offered in the TLS handshake (ALPN): two versions of this package do not talk to each other by mistake."""

MOST_BYTES = 8 << 20
"""The longest frame: a list of all keys of the largest HSM, four times over."""

MOST_UNSENT_BYTES = 2 * MOST_BYTES
"""So much may wait to be sent: whoever takes nothing any more is not worth the memory."""

_HEAD = struct.Struct(">IB")
_RECORD_BYTES = 1 << 14
"""The longest record of TLS: whoever asks for it leaves nothing behind in OpenSSL, where no poll sees it."""


class Frame(IntEnum):
    """What a frame is about."""

    REQUEST = 0
    ANSWER = 1
    MEMBERS = 2


class Line:
    """One connection, from TCP to its end.

    Args:
        sock: connected, or connecting; it becomes the line's own.
        context: TLS, for this side.
        server_name: of the other side, for a client; None on the server's side.
        reactor: says when there is something to read.

    Attributes:
        on_shaken: called once, when both sides have been verified.
        on_frame: called with each frame: kind and body.
        on_closed: called once, with the reason in words; "" is an orderly end.
        shaken: whether both sides have been verified.
        peer: the certificate of the other side (DER), once it has been verified.
        port: of the other side, for people.
        closed: whether it has ended.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str | None, reactor: Reactor) -> None:
        sock.setblocking(False)
        self.on_shaken: Callable[[], None] = _nothing
        self.on_frame: Callable[[int, bytes], None] = _nobody
        self.on_closed: Callable[[str], None] = _unheard
        self.shaken = self.closed = False
        self.peer = b""
        self.port = 0
        self._reactor = reactor
        self._came = bytearray()
        self._unsent = bytearray()
        self._bare: socket.socket | None = sock
        self._context, self._server_name = context, server_name
        self._sock: ssl.SSLSocket
        self._fd = sock.fileno()
        reactor.watch(self._fd, self._readable, self._writable)
        reactor.await_room(self._fd, True)

    def send(self, kind: Frame, body: bytes) -> None:
        """Send a frame, now or as soon as there is room."""
        if self.closed:
            return
        self._unsent += _HEAD.pack(len(body), kind) + body
        if self.shaken:
            self._write()
        if len(self._unsent) > MOST_UNSENT_BYTES:
            self.close("the other side does not read what it is sent")

    def spoil(self) -> None:
        """Send what is no TLS record, as a line that flips bits would: the other side ends the connection."""
        if not self.closed and self._bare is None:
            with suppress(OSError):
                socket.socket.send(self._sock, b"\x17\x03\x03\x00\x20" + bytes(32))

    def hear(self) -> None:
        """Take in what has come, without waiting for anybody to say that there is something."""
        while self.shaken and not self.closed and self._take():
            pass

    def close(self, why: str = "") -> None:
        """End the connection."""
        if self.closed:
            return
        self.closed = True
        with suppress(OSError):  # `ssl` closes a socket itself whose other side has gone before the handshake
            self._reactor.forget(self._fd)
        (self._bare or self._sock).close()
        self.on_closed(why)

    # -- inside -----------------------------------------------------------------------------

    def _shake(self) -> None:
        """Go on with the handshake."""
        try:
            if self._bare is not None:
                if error := self._bare.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(error, os.strerror(error))
                self._bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sock = self._context.wrap_socket(
                    self._bare,
                    server_side=self._server_name is None,
                    do_handshake_on_connect=False,
                    server_hostname=self._server_name,
                )
                self._bare = None
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._reactor.await_room(self._fd, False)
        except ssl.SSLWantWriteError:
            self._reactor.await_room(self._fd, True)
        except (OSError, ValueError) as error:
            self.close(_reason(error))
        else:
            if self._sock.selected_alpn_protocol() != PROTOCOL:
                self.close(f"the other side does not speak {PROTOCOL}")
                return
            self.shaken = True
            self.peer = self._sock.getpeercert(binary_form=True) or b""
            self._reactor.await_room(self._fd, bool(self._unsent))
            self.on_shaken()

    def _writable(self) -> None:
        if self.shaken:
            self._write()
        else:
            self._shake()

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except ssl.SSLWantWriteError:
            self._reactor.await_room(self._fd, True)
            return
        except ssl.SSLWantReadError:
            return
        except OSError as error:
            self.close(_reason(error))
            return
        self._reactor.await_room(self._fd, False)

    def _readable(self) -> None:
        if self.shaken:
            self._take()
        else:
            self._shake()

    def _take(self) -> bool:
        """Take in one record, and return whether there was one."""
        try:
            chunk = self._sock.read(_RECORD_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self.close(_reason(error))
            return False
        if chunk:
            self._came += chunk
            self._deliver()
        else:
            self.close("it ended in the middle of a frame" if self._came else "")
        return bool(chunk)

    def _deliver(self) -> None:
        while len(self._came) >= _HEAD.size and not self.closed:
            length, kind = _HEAD.unpack_from(self._came)
            if length > MOST_BYTES:
                self.close(f"a frame of {length} bytes; {MOST_BYTES} are allowed")
                return
            end = _HEAD.size + length
            if len(self._came) < end:
                return
            body = bytes(self._came[_HEAD.size : end])
            del self._came[:end]
            self.on_frame(kind, body)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return getattr(error, "strerror", None) or type(error).__name__


def _nothing() -> None:
    """Nobody wants to know."""


def _nobody(kind: int, body: bytes) -> None:
    """Nobody listens."""


def _unheard(why: str) -> None:
    """Nobody asks why."""
