"""A real Toxiproxy, real TCP connections, and an HSM that only gives back what it gets."""

import socket
import threading
from contextlib import suppress

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.toxiproxy.server import ToxiproxyServer
from pytest_hsmcluster.toxiproxy.starting import NoServer, serving

PATIENCE_S = 60
"""When a test gives up; none takes that long."""


class Echo:
    """Listens on a loopback port, gives back what it gets, and keeps each part as it came."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.ends = 0
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def address(self) -> tuple[str, int]:
        return self._listener.getsockname()

    @property
    def received(self) -> bytes:
        return b"".join(self.parts)

    def await_bytes(self, number: int) -> bytes:
        """Wait until so many bytes have come, and return all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= number, PATIENCE_S)
            return self.received

    def await_end(self, number: int = 1) -> None:
        """Wait until so many connections have ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ends >= number, PATIENCE_S)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._open.append(peer)
                thread = threading.Thread(target=self._serve, args=(peer,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            while part := peer.recv(65536):
                with self._changed:
                    self.parts.append(part)
                    self._changed.notify_all()
                peer.sendall(part)
        with self._changed:
            self.ends += 1
            self._changed.notify_all()


class EchoRoads:
    """Roads to echoes, as the network of a cluster gives them."""

    def __init__(self, *hsms: str) -> None:
        self.echoes = {hsm: Echo() for hsm in hsms}
        self.detours: dict[tuple[str, str], tuple[str, int]] = {}
        self.on_needed = self.on_moved = lambda *_: None
        self._travelled: dict[tuple[str, str], None] = {}
        self._sockets: list[socket.socket] = []

    def upstream(self, hsm: str) -> tuple[str, int]:
        if hsm not in self.echoes:
            raise UsageError(f"there is no HSM {hsm!r}; there are {', '.join(self.echoes)}")
        return self.echoes[hsm].address

    def travelled(self) -> list[tuple[str, str]]:
        return [*self._travelled]

    def detour(self, client: str, hsm: str, address: tuple[str, int] | None) -> None:
        self.detours.pop((client, hsm), None)
        if address is not None:
            self.detours[client, hsm] = address

    def connect(self, client: str = "app", hsm: str = "hsm-1") -> socket.socket:
        """Open a connection as an application does."""
        if (client, hsm) not in self._travelled:
            self._travelled[client, hsm] = None
            self.on_needed(client, hsm)
        address = self.detours.get((client, hsm)) or self.upstream(hsm)
        one = socket.create_connection(address, timeout=PATIENCE_S)
        self._sockets.append(one)
        return one

    def move(self, hsm: str) -> None:
        """Have an HSM come back on another port."""
        old, self.echoes[hsm] = self.echoes[hsm], Echo()
        old.close()
        self.on_moved(hsm)

    def close(self) -> None:
        for one in self._sockets:
            one.close()
        for echo in self.echoes.values():
            echo.close()


def read(one: socket.socket, number: int) -> bytes:
    """Read so many bytes, fewer if the connection ends."""
    found = b""
    while len(found) < number and (part := one.recv(number - len(found))):
        found += part
    return found


def is_silent(one: socket.socket) -> bool:
    """Whether nothing has come, neither bytes nor an end."""
    one.setblocking(False)
    try:
        one.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        one.settimeout(PATIENCE_S)
    return False


@pytest.fixture(scope="session")
def url():
    """A server of this run's own, or that of TOXIPROXY_URL."""
    try:
        with serving() as url:
            yield url
    except NoServer as error:
        pytest.skip(str(error))


@pytest.fixture
def roads():
    roads = EchoRoads("hsm-1", "hsm-2")
    yield roads
    roads.close()


@pytest.fixture
def proxied(url, roads):
    """A `ToxiproxyServer` that stands before two echoes."""
    with ToxiproxyServer(url) as server:
        server.attach(roads)
        yield server
