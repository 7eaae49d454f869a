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
from typing import NoReturn

from ..errors import UsageError
from .guard import die_with

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
    """The test process's side of the nursery."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(START_S)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._start, args=(theirs,), name="hsmcluster nursery", daemon=True)
        self._guard = threading.Lock()
        self._thread.start()
        self._started.wait(START_S)
        atexit.register(self.close)

    @property
    def alive(self) -> bool:
        """Whether it is this process's own and its nursery has not ended."""
        return self._owner == os.getpid() and self._thread.is_alive()

    def fork(self) -> Child:
        """Return a new HSM process, which waits for its first order."""
        ours, theirs = socket.socketpair()
        with theirs:
            answer, fds = self._ask({"fork": True}, theirs.fileno())
        return Child(int(answer["pid"]), fds[0], ours)

    def keep(self, folder: Path) -> None:
        """Have the nursery remove a folder if the test process ends before `forget`."""
        self._ask({"keep": str(folder)})

    def forget(self, folder: Path) -> None:
        """Leave a folder alone: it has been removed."""
        self._ask({"forget": str(folder)})

    def close(self) -> None:
        """End the nursery and all HSM processes that are left."""
        if self._owner == os.getpid():
            self._ours.close()
            self._thread.join(START_S)

    def _ask(self, order: dict[str, object], *fds: int) -> tuple[dict[str, int], list[int]]:
        with self._guard:
            try:
                socket.send_fds(self._ours, [json.dumps(order).encode()], list(fds))
                answer, got, _, _ = socket.recv_fds(self._ours, _ORDER_BYTES, 1)
            except OSError as error:
                answer, got = b"", []
                raise UsageError(f"the process that starts HSM processes does not answer: {error}") from None
        if not answer:
            raise UsageError("the process that starts HSM processes has ended; somebody killed it")
        return json.loads(answer), list(got)

    def _start(self, theirs: socket.socket) -> None:
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid())]
            nursery = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the test process
            )
        self._started.set()
        nursery.wait()


_SPAWNER: list[Spawner] = []


def spawner() -> Spawner:
    """Return the spawner of this process; it is made when it is first needed."""
    if not _SPAWNER or not _SPAWNER[-1].alive:
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
            if "fork" in wanted:
                self._fork(fds[0])
                continue
            if "keep" in wanted:
                self._folders[wanted["keep"]] = None
            else:
                self._folders.pop(wanted["forget"], None)
            self._orders.send(b"{}")

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

    def _fork(self, end: int) -> None:
        nursery = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with(nursery)
            self._orders.close()
            from .server import main

            main(socket.socket(fileno=end))
        os.close(end)
        self._pids[pid] = None
        process = os.pidfd_open(pid)
        socket.send_fds(self._orders, [json.dumps({"pid": pid}).encode()], [process])
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
    from . import server  # noqa: F401  imported once, for all who are forked

    with suppress(OSError):
        nursery.run()
    end()
    raise AssertionError("end() does not return")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
