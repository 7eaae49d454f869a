"""Where does a Toxiproxy server come from, and what ends it?

`TOXIPROXY_URL` names one that runs; it may be shared.  Otherwise `toxiproxy-server` is started, for this process alone:
on a port of 127.0.0.1 that the system chooses, found in /proc, since the server does not tell it.

It must not outlive us, also if we are killed.  `PR_SET_PDEATHSIG` has the system kill it, and follows the thread that
forked: so one thread starts the server, waits until it is to end, ends it by its process id, and lives no shorter.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .answers import ToxiproxyError
from .api import Api

VARIABLE: Final = "TOXIPROXY_URL"
PROGRAM: Final = "toxiproxy-server"
SOURCE: Final = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.8.0"
"""What `go install` builds: the newest version that Debian 12's Go 1.19 can build."""

_PATIENCE_S: Final = 30
_PAUSE_S: Final = 0.01
_LISTENS: Final = "0A"

# Arguments: our process id, the program, its arguments.  Who lost his parent before the signal was set does not begin.
_LAUNCH: Final = """\
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class NoServer(Exception):
    """There is no Toxiproxy here; says how to get one."""


def install_command() -> str:
    """Return the shell command that puts the server beside the Python that runs."""
    folder = Path(sys.executable).parent
    return f"GOBIN={folder} go install {SOURCE} && mv {folder}/server {folder}/{PROGRAM}"


def program() -> str | None:
    """Return the path of the server's program: on the PATH, else beside the Python that runs; None if there is none."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path=str(Path(sys.executable).parent))


@contextmanager
def serving() -> Iterator[str]:
    """Yield the URL of a server that answers; one that was started for it is ended with the block.

    Raises:
        NoServer: `TOXIPROXY_URL` is not set, and there is no `toxiproxy-server`.
        ToxiproxyError: what `TOXIPROXY_URL` names does not answer, or the server does not start.
        UsageError: `TOXIPROXY_URL` is no address on this machine.
    """
    if url := os.environ.get(VARIABLE):
        shared = Api(url)
        shared.version()
        yield shared.url
        return
    found = program()
    if found is None:
        raise NoServer(
            f"no Toxiproxy: {VARIABLE} is not set and {PROGRAM} is not on the PATH. Install it: {install_command()}"
        )
    started = StartedServer(found)
    try:
        yield started.url
    finally:
        started.close()


class StartedServer:
    """A server that was started for this process and ends with it.

    Args:
        path: of the program.

    Attributes:
        pid: its process id.
        url: where it answers.

    Raises:
        ToxiproxyError: it does not start.
    """

    def __init__(self, path: str) -> None:
        self.pid = 0
        self.url = ""
        self._path = path
        self._why = ""
        self._said = threading.Event()
        self._enough = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="hsmcluster toxiproxy", daemon=True)
        self._keeper.start()
        self._said.wait()
        if not self.url:
            self._keeper.join()
            why = f"cannot be started: {self._why}" if self._why else "did not begin to listen"
            raise ToxiproxyError(f"{path} {why}; try `{path} -host 127.0.0.1 -port 0`")

    def close(self) -> None:
        """End the server.  Doing it twice is harmless."""
        self._enough.set()
        self._keeper.join()

    def _keep(self) -> None:
        words = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), self._path]
        words += ["-host", "127.0.0.1", "-port", "0"]
        quiet = subprocess.DEVNULL
        try:
            # In a session of its own, so that Ctrl-C reaches the tests only, which still have to undo.
            process = subprocess.Popen(
                words, stdin=quiet, stdout=quiet, stderr=quiet, close_fds=True, start_new_session=True
            )
            try:
                if self._await_port(process):
                    self._said.set()
                    self._enough.wait()
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # also what a wrapper has started
                process.wait()
        except OSError as error:
            self._why = str(error)
        finally:
            self._said.set()

    def _await_port(self, process: "subprocess.Popen[bytes]") -> bool:
        """Wait until the server listens, and say whether it does."""
        self.pid = process.pid
        for _ in range(round(_PATIENCE_S / _PAUSE_S)):
            if process.poll() is not None:
                break
            if port := _listening_port(process.pid):
                self.url = f"http://127.0.0.1:{port}"
                return True
            self._enough.wait(_PAUSE_S)
        return False


def _listening_port(pid: int) -> int | None:
    """Return the port on which a process listens, None as long as it does not.

    Source:
        proc(5): /proc/PID/fd names sockets by inode; /proc/PID/net/tcp has for each its address in hexadecimal digits
        (field 1), its state (field 3) and its inode (field 9).
    """
    try:
        files = [os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()]
        rows = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:  # a file was closed meanwhile, or the process ended
        return None
    for row in map(str.split, rows):
        if row[3] == _LISTENS and f"socket:[{row[9]}]" in files:
            return int(row[1].partition(":")[2], 16)
    return None
