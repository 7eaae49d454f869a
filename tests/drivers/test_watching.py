"""Does the machine's pace decide who of several actors goes on?

Real files, sockets and processes are the point here, and so is real time; what is asserted does not depend on it.
"""

import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_hsmcluster import HsmCluster, Stuck, UsageError
from pytest_hsmcluster.drivers import company, watching

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a thread waits for")


def digest(work: Callable[[], object]) -> str:
    """Return the digest of a run in which one actor does something between calls, and two others only call."""
    with HsmCluster(2, seed=5) as cluster:
        client = cluster.client()

        def busy() -> None:
            for _ in range(3):
                work()
                client.random(4)

        def call() -> None:
            for _ in range(10):
                client.random(4)

        cluster.run(busy, call, call)
        return cluster.history.digest()


class Server:
    """A thread that is no actor and answers each byte on a socket, each later than the one before."""

    def __init__(self) -> None:
        self.mine, self.theirs = socket.socketpair()
        self.late_s = 0.0
        self._sleep = time.sleep
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self.theirs.recv(1):
            self.late_s += 0.006
            self._sleep(self.late_s)
            self.theirs.sendall(b"x")

    def ask(self) -> bytes:
        self.mine.sendall(b"x")
        return self.mine.recv(1)

    def close(self) -> None:
        self.mine.close()
        self._thread.join(30)
        self.theirs.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@linux
def test_actor_that_waits_for_a_socket_keeps_its_turn(server: Server) -> None:
    """An answer that comes in 6 ms, or in 36: others stand still meanwhile, and the order is the same."""
    assert digest(server.ask) == digest(server.ask) == digest(lambda: None)


@linux
def test_actor_that_waits_for_a_process_or_a_file_keeps_its_turn(tmp_path: Path) -> None:
    def work() -> None:
        subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
        (tmp_path / "file").write_bytes(b"x" * 1_000_000)

    assert digest(work) == digest(work)


def test_actor_that_computes_keeps_its_turn() -> None:
    """Some 50 ms of computing are no reason to let others go on."""
    assert digest(lambda: sum(number * number for number in range(400_000))) == digest(lambda: None)


@linux
def test_thread_that_ends_between_two_looks_is_no_error(tmp_path: Path) -> None:
    """What the system tells of it vanishes while it is read: here the last of three files is gone."""
    (tmp_path / "stat").write_text("7 (python) S 1 1")
    (tmp_path / "syscall").write_text(f"{watching._FUTEX or 202} 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8")
    made, done = queue.Queue[watching.Watched](), threading.Event()

    def wait() -> None:
        made.put(watching.Watched(threading.get_ident()))
        done.wait(30)

    thread = threading.Thread(target=wait)
    thread.start()
    watched = made.get()
    watched._status, watched._call = tmp_path / "stat", tmp_path / "syscall"
    try:
        assert watched.look() in (watching.Standing.IN_LINE, watching.Standing.RUNS)
    finally:
        done.set()
        thread.join()


@linux
def test_answer_that_takes_too_long_is_told_of(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while others go on, and the journal says that there is no digest, and why."""
    monkeypatch.setattr(company, "COURTESY", 2)
    server.late_s = 0.1
    with pytest.raises(UsageError, match=r"busy, actor 1 waited for something in real time \(a file, a socket, a proc"):
        digest(server.ask)


@linux
def test_actors_that_talk_over_a_socket_get_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for what only another one can send: it gets there, after a moment, and there is no digest."""
    monkeypatch.setattr(company, "COURTESY", 2)
    mine, theirs = socket.socketpair()
    with HsmCluster(1, seed=5) as cluster, mine, theirs:
        client = cluster.client()

        def send() -> None:
            client.random(4)
            theirs.sendall(b"x")

        assert cluster.run(lambda: mine.recv(1), send) == [b"x", None]
    with pytest.raises(UsageError, match="has no digest"):
        cluster.history.digest()


def test_actor_that_never_comes_back_is_given_a_measure_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is what it used itself: a machine that is busy with other things ends nobody."""
    monkeypatch.setattr(company, "DILIGENCE", 30)

    def spin() -> None:
        while True:
            pass

    with HsmCluster(1) as cluster, pytest.raises(Stuck, match="has the turn and comes to no call of the cluster"):
        cluster.run(spin)


@linux
def test_prompt_of_a_debugger_waits_as_long_as_it_takes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody is asked nobody else goes on, and simulated time stands still."""
    monkeypatch.setattr(company, "COURTESY", 0)
    server.late_s = 0.1
    scope: dict[str, object] = {"ask": server.ask}
    exec(compile("def interact(): return ask()", "/usr/lib/python3/pdb.py", "exec"), scope)
    interact: Callable[[], object] = scope["interact"]  # type: ignore[assignment]
    assert digest(interact) == digest(lambda: None)
