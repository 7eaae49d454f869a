"""How does a world wait for real time and for what comes in from other processes, whichever happens first?

Where HSMs are processes, an answer is no timer: it comes in on a socket.  The reactor is the pace of such a world:
it waits until the next timer is due or something can be read, and hands that to whoever watches it.

Several threads may wait at once.  One of them leads: it waits for all, does what is due, and wakes those whose calls
have ended; the others sleep until then.  Whoever leads and is done hands the lead on.
"""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

from ..errors import Stuck
from ..sim.scheduler import Scheduler
from .pace import RealPace

Ready = Callable[[], None]

LONGEST_NAP_S = 60.0


class Reactor(RealPace):
    """Ties a scheduler to the wall clock and to file descriptors.

    Args:
        scheduler: whose time it is.
        rate: simulated seconds a real one.
    """

    def __init__(self, scheduler: Scheduler, rate: float = 1.0) -> None:
        super().__init__(rate)
        self._scheduler = scheduler
        self._epoll = select.epoll()
        self._ready: dict[int, tuple[Ready, Ready]] = {}
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._sleepers: list[_Sleeper] = []
        self._led = False
        self._until_ns = 0

    # -- who is watched -------------------------------------------------------------------

    def watch(self, fd: int, readable: Ready, writable: Ready | None = None) -> None:
        """Call `readable` when there is something to read or the other side has gone; until `forget`."""
        self._ready[fd] = readable, writable or readable
        self._epoll.register(fd, select.EPOLLIN)

    def await_room(self, fd: int, wanted: bool) -> None:
        """Call `writable`, too, when there is room to write, or no longer."""
        self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Watch it no longer; to be called before it is closed."""
        if self._ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def fileno(self) -> int:
        """Return a descriptor that can be read when something has come in: for event loops of others."""
        return self._epoll.fileno()

    # -- waiting ----------------------------------------------------------------------------

    def look(self, longest_s: float = 0.0) -> bool:
        """Hand over what has come in, waiting for it no longer than that, and return whether there was something."""
        return self._hand_over(self._epoll.poll(longest_s))

    def wait_until(self, instant_ns: int) -> bool:
        """Wait until real time has come to an instant, but no longer than until something comes in.

        Returns:
            Whether the instant has come.
        """
        early_s = self.early_s(instant_ns)
        if early_s > 0:
            self.look(min(early_s, LONGEST_NAP_S))
        return self.early_s(instant_ns) <= 0

    def drive(self, scheduler: Scheduler, done: Callable[[], bool]) -> None:
        """Step the scheduler, whose turn the caller has, until `done()`; others have their turns while it waits.

        Raises:
            Stuck: nothing can ever come.
        """
        while not done():
            if self._led:
                self._follow(done)
                continue
            self._led = True
            try:
                self._lead(done)
            finally:
                self._led = False
                self._wake()

    def close(self) -> None:
        """Watch nothing any more."""
        self._ready.clear()
        self._epoll.close()
        os.close(self._bell)

    # -- inside -----------------------------------------------------------------------------

    def _lead(self, done: Callable[[], bool]) -> None:
        """Wait for all, until the leader's own call has ended."""
        scheduler = self._scheduler
        while not done():
            if scheduler.idle:
                raise Stuck(scheduler.who_waits())
            due_ns = scheduler.next_due_ns() or 0
            early_s = self.early_s(due_ns)
            if early_s <= 0:
                scheduler.step()
            else:
                self._until_ns = due_ns
                scheduler.leave()
                try:
                    came = self._epoll.poll(min(LONGEST_NAP_S, early_s))
                finally:
                    scheduler.enter()
                self._until_ns = 0
                self._hand_over(came)
            if self._sleepers:
                self._wake(only_done=True)

    def _follow(self, done: Callable[[], bool]) -> None:
        """Sleep until the call has ended, or the lead is free."""
        sleeper = _Sleeper(done)
        self._sleepers.append(sleeper)
        due_ns = self._scheduler.next_due_ns()
        if due_ns is not None and due_ns < self._until_ns:
            os.eventfd_write(self._bell, 1)  # the leader means to wait longer than the newcomer
        self._scheduler.leave()
        try:
            sleeper.awake.acquire()
        finally:
            self._scheduler.enter()
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    def _wake(self, *, only_done: bool = False) -> None:
        """Wake those whose calls have ended; when the lead is free, one more."""
        for sleeper in [one for one in self._sleepers if one.done()]:
            self._sleepers.remove(sleeper)
            sleeper.awake.release()
        if not only_done and self._sleepers:
            self._sleepers.pop(0).awake.release()

    def _hand_over(self, came: list[tuple[int, int]]) -> bool:
        """Let those hear who watch what came in; simulated time has come to the present by then."""
        if not came:
            return False
        scheduler = self._scheduler
        with scheduler.alone:
            due_ns, reached_ns = scheduler.next_due_ns(), self.reached_ns()
            scheduler.now_ns = max(scheduler.now_ns, reached_ns if due_ns is None else min(due_ns, reached_ns))
            for fd, events in came:
                if fd == self._bell:
                    with suppress(BlockingIOError):  # another thread heard it first
                        os.eventfd_read(fd)
                elif (ready := self._ready.get(fd)) is not None:
                    if events & select.EPOLLOUT:
                        ready[1]()
                    if events & ~select.EPOLLOUT and fd in self._ready:
                        ready[0]()
        return True


class _Sleeper:
    """A thread that waits for its call while another one leads."""

    __slots__ = ("awake", "done")

    def __init__(self, done: Callable[[], bool]) -> None:
        self.done = done
        self.awake = threading.Lock()
        self.awake.acquire()
