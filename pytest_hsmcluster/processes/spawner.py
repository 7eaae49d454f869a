"""Where do HSM processes come from, and who makes sure that none is left?

One process per test process, the nursery, has everything imported and forks an HSM process in a few milliseconds.  It
is started from a thread of its own that lives as long as the test process: a process that is to die with its parent
dies with the thread that forked it.  When the test process ends, however it ends, the nursery ends the HSM processes
and removes their folders; when the nursery is killed, the HSM processes die with it.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..errors import UsageError
from .folder import sweep
from .guard import die_with, keep_secret

START_S = 60
_ORDER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was forked.

    Attributes:
        pid: its number.
        fd: stands for this very process, also when its number belongs to another one.
        end: the test process's end of its private pipe.
    """

    pid: int
    fd: int
    end: socket.socket


class Spawner:
    """The test process's side of the nursery.

    Attributes:
        why: what it said when it ended by itself, or why it could not be started.
    """

    def __init__(self) -> None:
        self.why = ""
        self._owner = os.getpid()
        self._ended = False
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(START_S)
        self._orders = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._start, args=(theirs,), name="hsmcluster nursery", daemon=True)
        self._guard = threading.Lock()
        self._thread.start()
        self._started.wait(START_S)
        atexit.register(self.close)

    @property
    def alive(self) -> bool:
        """Whether it is this process's own and its nursery has not ended."""
        return self._owner == os.getpid() and not self._ended

    def fork(self, folder: Path) -> Child:
        """Return a new HSM process, which waits for its first order.

        Args:
            folder: which the nursery removes if the test process ends before `forget`.

        Raises:
            NurseryEnded: somebody killed the nursery.
            UsageError: the system starts no further process.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise UsageError(f"the system starts no further HSM process: {error.strerror}") from None
        try:
            with theirs:
                answer, fds = self._ask({"fork": str(folder)}, theirs.fileno())
            if not fds:
                why = answer.get("refusal", "too many open files")
                raise UsageError(f"the system starts no further HSM process: {why}")
            return Child(int(answer["pid"]), fds[0], ours)
        except BaseException:
            ours.close()
            raise

    def forget(self, folder: Path) -> None:
        """Leave a folder alone: it has been removed.

        Raises:
            NurseryEnded: somebody killed the nursery.
        """
        self._ask({"forget": str(folder)})

    def close(self) -> None:
        """End the nursery and all HSM processes that are left; in a process that was forked, do without it."""
        self._ended = True
        if self._owner == os.getpid():
            with suppress(OSError):
                self._ours.shutdown(socket.SHUT_RDWR)  # forks of this process keep it open
            self._thread.join(START_S)
        self._ours.close()
        atexit.unregister(self.close)

    def _ask(self, order: dict[str, object], *fds: int) -> tuple[dict[str, Any], list[int]]:
        with self._guard:
            self._orders += 1
            try:
                socket.send_fds(self._ours, [json.dumps({**order, "number": self._orders}).encode()], list(fds))
                while True:
                    body, got, _, _ = socket.recv_fds(self._ours, _ORDER_BYTES, 1)
                    if not body:
                        raise ConnectionResetError
                    answer = json.loads(body)
                    if answer["number"] == self._orders:
                        return answer, list(got)
                    for fd in got:  # of an order whose sender was interrupted
                        os.close(fd)
            except TimeoutError:
                raise UsageError(f"the nursery of HSM processes does not answer within {START_S} s") from None
            except OSError:
                self._ended = True
                raise NurseryEnded from None

    def _start(self, theirs: socket.socket) -> None:
        # What is imported here is imported there from the same places, but not before what Python itself brings: so
        # not `-m` either, which looks for modules in the current folder first.
        program = "import sys; sys.path += sys.argv[3:]; from {0} import main; main(*map(int, sys.argv[1:3]))"
        places = [str(Path(__file__).parent.parent.parent), *map(os.path.abspath, sys.path)]
        numbers = str(theirs.fileno()), str(os.getpid())
        try:
            with theirs:
                nursery = subprocess.Popen(
                    [sys.executable, "-P", "-c", program.format(__name__), *numbers, *dict.fromkeys(places)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for the test process
                )
        except OSError as error:
            self.why = str(error)
            self._ended = True
            return
        finally:
            self._started.set()
        with nursery:
            assert nursery.stderr is not None, "it was asked for"
            *_, self.why = ["", *nursery.stderr.read().decode(errors="replace").splitlines()]


class NurseryEnded(Exception):
    """Somebody killed the nursery, and all its HSM processes have died with it."""


_SPAWNER: list[Spawner] = []
_CHOICE = threading.Lock()


def fork(folder: Path) -> Child:
    """Return a new HSM process, which waits for its first order; the nursery is made when it is first needed.

    Args:
        folder: where its disk is; it does not outlive the test process.

    Raises:
        UsageError: the system starts no process.
    """
    for _ in range(2):
        spawner = _spawner()
        with suppress(NurseryEnded):
            return spawner.fork(folder)
        spawner.close()
        if spawner.why:
            raise UsageError(f"HSM processes cannot be started by {sys.executable}: {spawner.why}")
    raise UsageError(f"HSM processes cannot be started: {sys.executable} ends at once, or is killed")


def forget(folder: Path) -> None:
    """Let the nursery know that a folder has been removed."""
    if _SPAWNER and _SPAWNER[-1].alive:
        with suppress(NurseryEnded):
            _SPAWNER[-1].forget(folder)


def _spawner() -> Spawner:
    with _CHOICE:
        if not _SPAWNER or not _SPAWNER[-1].alive:
            for old in _SPAWNER:
                old.close()
            sweep()
            _SPAWNER[:] = [Spawner()]
        return _SPAWNER[-1]


# -- the nursery ---------------------------------------------------------------------------------


class Nursery:
    """Forks HSM processes until the test process ends."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._folders: dict[str, None] = {}
        self._pids: dict[int, None] = {}

    def run(self) -> None:
        """Carry out orders until there is nobody to give them."""
        while True:
            order, fds, _, _ = socket.recv_fds(self._orders, _ORDER_BYTES, 1)
            if not order:
                return
            self._reap()
            wanted = json.loads(order)
            number = wanted["number"]
            if "fork" in wanted:
                self._folders[wanted["fork"]] = None
                self._fork(number, fds[0])
            else:
                self._folders.pop(wanted["forget"], None)
                self._orders.send(json.dumps({"number": number}).encode())

    def end(self) -> None:
        """End what is left, and remove it."""
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._pids:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _fork(self, number: int, end: int) -> None:
        nursery = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(end)
            self._orders.send(json.dumps({"number": number, "refusal": error.strerror}).encode())
            return
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with(nursery)
            self._orders.close()
            from .server import main

            main(socket.socket(fileno=end))
        os.close(end)
        self._pids[pid] = None
        process = os.pidfd_open(pid)
        socket.send_fds(self._orders, [json.dumps({"number": number, "pid": pid}).encode()], [process])
        os.close(process)

    def _reap(self) -> None:
        """Let go of processes that have ended; those that stopped or go on are no matter."""
        while self._pids:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._pids.pop(pid, None)


def main(fd: int, parent: int) -> NoReturn:
    """Be the nursery."""

    def end(*_: object) -> None:
        nursery.end()
        os._exit(0)

    nursery = Nursery(socket.socket(fileno=fd))
    signal.signal(signal.SIGTERM, end)
    die_with(parent, signal.SIGTERM)
    keep_secret()
    from . import server  # noqa: F401  imported once, for all who are forked

    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())  # the test process has heard all that there is to hear
    with suppress(OSError):
        nursery.run()
    end()
    raise AssertionError("end() does not return")
