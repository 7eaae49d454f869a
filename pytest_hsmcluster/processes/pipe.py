"""How do whole messages come through the private pipe between the test process and an HSM process?"""

import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from .control import Message, encode

_LENGTH = struct.Struct(">I")
_CHUNK = 1 << 16


class Pipe:
    """One end of the private pipe: whole messages in, whole messages out.

    Args:
        end: a connected stream socket.
        decode: makes a message of bytes.
    """

    def __init__(self, end: socket.socket, decode: Callable[[bytes], Any]) -> None:
        self._end = end
        self._decode = decode
        self._came = bytearray()
        self.ended = False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._end.fileno()

    def send(self, message: Message) -> None:
        """Send a message; one that nobody can read any more is forgotten.

        While there is no room for it, what comes is taken in: two ends that only send would wait for each other for
        ever.
        """
        self._send_all(_framed(message))

    def offer(self, message: Message) -> bool:
        """Send a message if there is room for it now, and return whether there was."""
        whole = _framed(message)
        try:
            sent = self._end.send(whole, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True
        self._send_all(whole[sent:])
        return True

    def _send_all(self, left: memoryview) -> None:
        while left and not self.ended:
            try:
                left = left[self._end.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._make_room()
            except (BrokenPipeError, ConnectionResetError):
                return

    def receive(self) -> Iterator[Any]:
        """Iterate over the messages that have come, without waiting; `ended` tells when no more can come."""
        while not self.ended and self._take() == _CHUNK:
            pass
        return iter(self._next, None)

    def wait(self, longest_s: float) -> Any:
        """Wait for one message and return it; None when none came in time or none can come."""
        while (message := self._next()) is None and not self.ended:
            poll = select.poll()
            poll.register(self._end, select.POLLIN)
            if not poll.poll(longest_s * 1000):
                return None
            for message in self.receive():
                return message
        return message

    @property
    def pending(self) -> bool:
        """Whether something has been taken in that nobody has been handed: no poll will tell of it."""
        return bool(self._came)

    def _make_room(self) -> None:
        """Wait until something can be sent, or has been taken in."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN | select.POLLOUT)
        for _, events in poll.poll():
            if events & ~select.POLLOUT:
                self._take()

    def _take(self) -> int:
        """Take in what has come, up to a chunk, and return how many bytes that was."""
        try:
            chunk = self._end.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            chunk = b""
        self._came += chunk
        self.ended = not chunk
        return len(chunk)

    def _next(self) -> Any:
        """Return the next whole message that has come, or None."""
        if len(self._came) < 4:
            return None
        (length,) = _LENGTH.unpack_from(self._came)
        if len(self._came) < 4 + length:
            return None
        body = bytes(self._came[4 : 4 + length])
        del self._came[: 4 + length]
        return self._decode(body)

    def close(self) -> None:
        """Close this end."""
        self._end.close()


def _framed(message: Message) -> memoryview:
    body = encode(message)
    return memoryview(_LENGTH.pack(len(body)) + body)
