"""Which processes answer over TLS, and do nothing else that could take time?"""

import os
import selectors
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from typing import Self

from pytest_hsmcluster.drivers.pace import today
from pytest_hsmcluster.processes.certificates import Activation, activate, client_context, server_context, server_name
from pytest_hsmcluster.processes.guard import die_with

NAME = "cluster-echoechoech"
_LOOPS = struct.Struct(">I")
_LOOPS_TRIED = 100_000
_TRIES = 20


class Echo:
    """Processes that answer so many bytes with so many others, with blocking sockets and a thread for each connection.

    Args:
        processes: how many.
        asked_bytes: the length of a question.
        answered_bytes: the length of an answer.
    """

    def __init__(self, processes: int, asked_bytes: int, answered_bytes: int) -> None:
        self.pids: list[int] = []
        self._ports: list[int] = []
        self._activation = activate(NAME, today())
        self._question, self._answer = bytes(asked_bytes), bytes(answered_bytes)
        self._context = client_context(self._activation.client("bench"), self._activation.customer_ca)
        for _ in range(processes):
            self._fork(self._activation)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for pid in self.pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)

    def connection(self, number: int) -> ssl.SSLSocket:
        """Return a connection to one of the processes, each in its turn."""
        bare = socket.create_connection(("127.0.0.1", self._ports[number % len(self._ports)]))
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(bare, server_hostname=server_name(NAME))

    def ask(self, sock: ssl.SSLSocket) -> None:
        """Send a question and wait for its answer."""
        sock.sendall(self._question)
        received(sock, len(self._answer))

    def _fork(self, activation: Activation) -> None:
        door = socket.create_server(("127.0.0.1", 0))
        self._ports.append(door.getsockname()[1])
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with(parent)
            with suppress(BaseException):
                self._serve(door, server_context(activation.hsm, activation.trust_anchor))
            os._exit(0)
        door.close()
        self.pids.append(pid)

    def _serve(self, door: socket.socket, context: ssl.SSLContext) -> None:
        while True:
            bare, _ = door.accept()
            bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = context.wrap_socket(bare, server_side=True)
            threading.Thread(target=self._reply, args=(sock,), daemon=True).start()

    def _reply(self, sock: ssl.SSLSocket) -> None:
        while received(sock, len(self._question)):
            sock.sendall(self._answer)


class Laden(Echo):
    """An echo with Python on both sides that does nothing but take time.

    Its processes have one thread each, as HSMs have.  Laden like a signature, it is the least that could take the
    place of clients and HSMs: what threads come to here is what machine and interpreter give to anybody.

    Attributes:
        mine: how often the one who asks goes round a loop, half before and half after.
        theirs: how often the one who answers does.
    """

    mine = theirs = 0

    def ask(self, sock: ssl.SSLSocket) -> None:
        """Send a question and wait for its answer, with loops on either side."""
        loop(self.mine // 2)
        sock.sendall(_LOOPS.pack(self.theirs) + self._question[_LOOPS.size :])
        received(sock, len(self._answer))
        loop(self.mine // 2)

    def _serve(self, door: socket.socket, context: ssl.SSLContext) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(door, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is door:
                        bare, _ = door.accept()
                        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        selector.register(context.wrap_socket(bare, server_side=True), selectors.EVENT_READ)
                    elif isinstance(key.fileobj, ssl.SSLSocket) and not self._answers(key.fileobj):
                        selector.unregister(key.fileobj)
                        key.fileobj.close()

    def _answers(self, sock: ssl.SSLSocket) -> bool:
        question = received(sock, len(self._question))
        if question:
            loop(*_LOOPS.unpack_from(question))
            sock.sendall(self._answer)
        return bool(question)


def loop(times: int) -> None:
    """Run Python so many times around a loop that does nothing."""
    for _ in range(times):
        pass


def loops_a_second() -> float:
    """Return how often the loop goes round in a second of this machine: the best of some tries."""
    took = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        loop(_LOOPS_TRIED)
        took.append(time.perf_counter() - began)
    return _LOOPS_TRIED / min(took)


def received(sock: ssl.SSLSocket, length: int) -> bytes:
    """Return so many bytes that came, or none: the other side has gone."""
    came = b""
    while len(came) < length:
        chunk = sock.recv(length - len(came))
        if not chunk:
            return b""
        came += chunk
    return came
