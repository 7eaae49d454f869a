"""How does the test process hold on to one HSM process?"""

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..drivers.reactor import Reactor
from ..errors import ClusterError, HsmUnavailable
from . import control
from .codec import decode_answer
from .control import Done, Order, Ready
from .pipe import Pipe
from .spawner import Child, fork

PATIENCE_S = 30
"""How long an order may take that no fault can delay; then the process is taken for dead."""


class Link:
    """One HSM process: its pid, and the private pipe to it.

    Args:
        hsm: the HSM's id, for people.
        reactor: reads the pipe while the test process waits.
        heard: is told what the HSM process tells by itself.

    Attributes:
        frozen: whether it was stopped; orders wait here until it goes on.
    """

    def __init__(self, hsm: str, reactor: Reactor, heard: Callable[[Any], None]) -> None:
        self.hsm = hsm
        self.frozen = False
        self._reactor = reactor
        self._heard = heard
        self._child: Child | None = None
        self._pipe: Pipe | None = None
        self._number = self._looks = 0
        self._done: dict[int, Done | None] = {}
        self._held_back: list[Any] = []
        self._port = 0
        self.on_end: Callable[[], None] = _nothing

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """Its number, or None."""
        return self._child.pid if self._child else None

    @property
    def port(self) -> int:
        """Where it listens, or listened last; waits until it does."""
        if self._child is not None:
            self._wait(lambda: bool(self._port), "did not come up")
        return self._port

    @property
    def foreign(self) -> bool:
        """Whether it belongs to the process that this one was forked from."""
        return self._reactor.foreign

    def check_process(self) -> None:
        """Refuse to act in a process that was forked from the one to which it is told.

        Raises:
            UsageError: this is such a process.
        """
        self._reactor.check_process()

    def start(self, folder: Path, begin: control.Begin) -> None:
        """Start a process; what it needs first is on its way when this returns.

        Args:
            folder: which is not to outlive the test process.
            begin: what it needs first.
        """
        self.check_process()
        self._child = fork(folder)
        self._pipe = Pipe(self._child.end, control.decode_telling)
        self._port = 0
        self._reactor.watch(self._pipe.fileno(), self._readable)
        self._pipe.send(begin)

    def tell(self, order: Any) -> None:
        """Send an order whose answer does not matter; a stopped process gets it when it goes on."""
        self.check_process()
        if self.frozen:
            self._held_back.append(order)  # the pipe has little room, and nobody makes any
        elif self._pipe is not None:
            self._pipe.send(order)
            if self._pipe.pending:
                self.hear()

    def ask(self, make: Callable[[int], Order]) -> Done:
        """Send an order and return the answer.

        Raises:
            ClusterError: the HSM refuses it, or its process has ended (`info`: it may have been carried out).
        """
        self._number += 1
        number = self._number
        self._done[number] = None
        try:
            self.tell(make(number))
            self._wait(lambda: self._done[number] is not None, "did not carry out an order")
        finally:
            done = self._done.pop(number)
        if done is None:
            raise HsmUnavailable(
                f"the process of {self.hsm} ended while it carried out an order", hsm=self.hsm, outcome="info"
            )
        if done.refusal is not None:
            _, refusal = decode_answer(done.refusal)
            assert isinstance(refusal, ClusterError)
            raise refusal
        return done

    def post(self, make: Callable[[int], Order]) -> None:
        """Send an order that is carried out in its turn; nobody waits for it."""
        self._number += 1
        self.tell(make(self._number))

    def hear(self) -> None:
        """Take in what has come, without waiting."""
        self._looks = self._reactor.looks
        pipe = self._pipe
        if pipe is None:
            return
        for message in pipe.receive():
            if isinstance(message, Done):
                if message.number in self._done:  # else nobody waits for it
                    self._done[message.number] = message
            elif isinstance(message, Ready):
                self._port = message.port
            else:
                self._heard(message)
        if pipe.ended and self._pipe is pipe:
            self._let_go()
            self.on_end()

    def kill(self) -> None:
        """End the process with SIGKILL, and return when it has ended and all that it told has been heard."""
        child, pipe = self._child, self._pipe
        if child is None or pipe is None:
            return
        self._signal(signal.SIGKILL)
        ended = select.poll()
        ended.register(child.fd, select.POLLIN)
        ended.poll()
        on_end, self.on_end = self.on_end, _nothing
        try:
            self.hear()  # all that it told is here
        finally:
            self.on_end = on_end
            if self._pipe is pipe:  # what it told was a mistake of ours, or a fork of this process keeps the pipe open
                self._let_go()

    def freeze(self) -> None:
        """Stop the process with SIGSTOP, and return when it stands still."""
        if self._child is not None and not self.frozen:
            self.frozen = True
            self._signal(signal.SIGSTOP)
            while _state(self._child.pid) not in ("T", "t", "Z", "X"):
                os.sched_yield()

    def thaw(self) -> None:
        """Let the process go on with SIGCONT, whoever has stopped it, and give it the orders that have waited."""
        if self._child is not None:
            self.frozen = False
            self._signal(signal.SIGCONT)
            orders, self._held_back = self._held_back, []
            for order in orders:
                self.tell(order)

    # -- inside -----------------------------------------------------------------------------

    def _readable(self) -> None:
        """Take in what the reactor has seen, unless that was done since it looked."""
        if self._looks != self._reactor.looks:
            self.hear()

    def _signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self.check_process()
        try:
            signal.pidfd_send_signal(self._child.fd, number)
        except ProcessLookupError:
            return

    def _wait(self, come: Callable[[], bool], what: str) -> None:
        """Hear until something has come, or the process has ended."""
        self.check_process()
        while not come() and self._pipe is not None:
            ready = select.poll()
            ready.register(self._pipe.fileno(), select.POLLIN)
            for _ in range(PATIENCE_S):
                if ready.poll(1000):
                    break
                if self.pid is not None and not self.frozen and _state(self.pid) in "Tt":
                    raise self._silent(f"{what}: somebody has stopped it (SIGSTOP), and not the cluster")
            else:
                raise self._silent(f"{what} within {PATIENCE_S} s: the machine is overloaded")
            self.hear()

    def _silent(self, what: str) -> HsmUnavailable:
        return HsmUnavailable(f"the process of {self.hsm} (pid {self.pid}) {what}", hsm=self.hsm, outcome="info")

    def _let_go(self) -> None:
        child, pipe = self._child, self._pipe
        assert child is not None and pipe is not None
        self._child = self._pipe = None
        self.frozen = False
        self._held_back.clear()
        self._reactor.forget(pipe.fileno())
        pipe.close()
        os.close(child.fd)


def _state(pid: int) -> str:
    """Return the state of a process as `ps` shows it; X when there is none."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _nothing() -> None:
    """Nobody wants to know."""
