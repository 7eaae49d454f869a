"""How does a test drive a program of another language, line by line, and build it once in a run?"""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_hsmcluster import HsmCluster, Pkcs11Door
from pytest_hsmcluster.cryptoki import CKR


class Failed(Exception):
    """The program answered `error …`: what it had to say."""


class Program:
    """A program that reads a PIN and then commands on its standard input, and answers each in one line.

    Args:
        command: what is run.
        door: its environment is added to that of this process; its PIN is the first line of the input, because neither
            an argument nor the environment is private.
    """

    def __init__(self, command: Sequence[str | Path], door: Pkcs11Door) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the program
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **door.env},
        )
        self._door = door

    def begin(self) -> "Program":
        """Log in.

        Raises:
            Failed: it could not.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(self._door.user_pin + "\n")  # as no argument: a traceback shows those
        self.process.stdin.flush()
        self._answer()
        return self

    def ask(self, *words: str | bytes) -> str:
        """Return the answer to a command; bytes are passed as hexadecimal digits.

        Raises:
            Failed: the program says that it failed, and why.
        """
        self.tell(*words)
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        verdict, _, answer = self.process.stdout.readline().rstrip("\n").partition(" ")
        if verdict == "error":
            raise Failed(answer)
        assert verdict == "ok", f"it said {verdict!r} and on its standard error: {self.errors()}"
        return answer

    def tell(self, *words: str | bytes) -> None:
        """Give a command and do not wait for the answer."""
        assert self.process.stdin is not None
        line = " ".join(word if isinstance(word, str) else word.hex() for word in words)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask_bytes(self, *words: str | bytes) -> bytes:
        """Return the answer to a command, read as hexadecimal digits; blanks between them count for nothing."""
        return bytes.fromhex(self.ask(*words))

    def errors(self) -> str:
        """Return what it wrote on its standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def kill(self) -> None:
        """Have it die in the middle of everything: SIGKILL."""
        self.process.kill()
        self.process.wait()

    def kill_at(self, door: Pkcs11Door, function: str) -> None:
        """Have it die while it works: once it has called this function of the library a few times."""
        while len(results(door, function)) < 20:
            assert self.process.poll() is None, self.errors()
        self.kill()

    def end(self) -> None:
        """Let it end by itself: there is no more input."""
        self.process.communicate(timeout=60)
        self._errors.close()


@contextmanager
def starting(door: Pkcs11Door) -> Iterator[Callable[..., Program]]:
    """Start programs within the block; all have ended when it is left."""
    programs: list[Program] = []

    def start(*command: str | Path) -> Program:
        programs.append(Program(command, door))
        return programs[-1].begin()

    try:
        yield start
    finally:
        for program in programs:
            try:
                program.end()
            except subprocess.TimeoutExpired:
                program.kill()
                raise


def built(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return what `build` makes at the path that it is given, once in a run, however many workers there are."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            build(made)
    return made


def results(door: Pkcs11Door, function: str) -> list[CKR]:
    """Return what a function of the library returned, call by call."""
    return [CKR(call.result) for call in door.calls if call.function == function]


def held(cluster: HsmCluster) -> list[str]:
    """Return the labels of all keys on all HSMs."""
    return sorted(key.label for hsm in cluster.hsms for key in hsm.keys.values())
