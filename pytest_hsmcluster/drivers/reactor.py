"""How does a world wait for real time and for what comes in from other processes, whichever happens first?

Where HSMs are processes, an answer is no timer: it comes in on a socket.  The reactor is the pace of such a world:
it waits until the next timer is due or something can be read, and hands that to whoever watches it.

Several threads may wait at once.  One of them leads: it waits for all and does what is due; the others sleep.  Each
is awakened when its own call has ended, and one of them when the lead is free.  Awakening a thread is the dearest
thing here, and worse while others run: they would fight for the interpreter's lock.  So the leader first does what
is due, and awakens the others when it has to wait itself.
"""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

from ..errors import Stuck, UsageError
from ..sim.scheduler import Scheduler
from .pace import RealPace

Ready = Callable[[], None]

LONGEST_NAP_S = 60.0

STEPS_AT_ONCE = 100
"""Steps after which the leader looks what has come in, even if more is due."""


class Reactor(RealPace):
    """Ties a scheduler to the wall clock and to file descriptors.

    Args:
        scheduler: whose time it is.
        rate: simulated seconds a real one.

    Attributes:
        looks: how often it has asked the system what has come in.
    """

    def __init__(self, scheduler: Scheduler, rate: float = 1.0) -> None:
        super().__init__(rate)
        self._scheduler = scheduler
        self._owner = os.getpid()
        self._epoll = select.epoll()
        self._watched: dict[int, _Watched] = {}
        self.looks = 0
        self._watches = self._watches_seen = 0
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._sleepers: list[_Sleeper] = []
        self._led = False
        self._waits = False
        self._closed = False

    @property
    def foreign(self) -> bool:
        """Whether it belongs to the process that this one was forked from."""
        return self._owner != os.getpid()

    def check_process(self) -> None:
        """Refuse to act in a process that was forked: what is watched belongs to its parent.

        Raises:
            UsageError: this is such a process.
        """
        if self._owner != os.getpid():
            raise UsageError(
                f"this cluster's HSM processes and connections belong to process {self._owner}, and this one "
                f"({os.getpid()}) was forked from it; call the cluster there, or make one of its own here"
            )

    # -- who is watched -------------------------------------------------------------------

    def watch(self, fd: int, readable: Ready, writable: Ready | None = None) -> None:
        """Call `readable` when there is something to read or the other side has gone; until `forget`.

        Now and then it is called for nothing: two threads saw the same, and the other one was first.
        """
        self._watches += 1
        self._watched[fd] = _Watched(self._watches, readable, writable or readable)
        self._epoll.register(fd, select.EPOLLIN)

    def await_room(self, fd: int, wanted: bool) -> None:
        """Call `writable`, too, when there is room to write, or no longer."""
        watched = self._watched[fd]
        if watched.wants_room != wanted:
            watched.wants_room = wanted
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Watch it no longer; to be called before it is closed."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def fileno(self) -> int:
        """Return a descriptor that can be read when something has come in: for event loops of others."""
        return self._epoll.fileno()

    # -- waiting ----------------------------------------------------------------------------

    def look(self, longest_s: float = 0.0) -> bool:
        """Hand over what has come in, waiting for it no longer than that, and return whether there was something.

        The caller drives.  Where somebody leads there is nothing to look for: the leader does, and everybody else
        would be in the way.

        Raises:
            UsageError: it is closed.
        """
        return not self._led and self._hand_over(self._poll(longest_s))

    def enter(self, scheduler: Scheduler) -> None:
        """Begin to drive a scheduler, and have it catch up with real time and what has come in.

        Raises:
            UsageError: this process was forked from the one that made it, or the world has ended.
        """
        self.check_process()
        super().enter(scheduler)

    def wait_until(self, instant_ns: int) -> None:
        """Do what is due until real time has come to an instant.

        Raises:
            UsageError: the world ended meanwhile, or this process was forked from the one that made it.
        """
        self.check_process()
        scheduler = self._scheduler
        scheduler.enter()
        come = scheduler.at(instant_ns, _nothing)
        try:
            self.drive(scheduler, lambda: come.action is None)
        finally:
            with scheduler.alone:
                scheduler.cancel(come)

    def drive(self, scheduler: Scheduler, done: Callable[[], bool]) -> None:
        """Step a scheduler that the caller drives until `done()`, and drive it no longer; others do while it waits.

        Raises:
            Stuck: nothing can ever come.
            UsageError: the world ended meanwhile.
        """
        drives = True
        try:
            while drives and not done():
                if self._led:
                    drives = self._follow(done)
                else:
                    self._lead(done)
        finally:
            if drives:
                if not self._led:
                    self._awaken(to_lead=True)
                scheduler.leave()

    def close(self) -> None:
        """Watch nothing any more; whoever waits is told."""
        with self._scheduler.alone:
            if self._closed:
                return
            self._closed = True
            self._watched.clear()
            if self._waits:
                self._ring()  # the leader dismantles what it is waiting for
            else:
                self._dismantle()
            while self._sleepers:
                self._sleepers.pop().wake()

    # -- inside: leading and following ------------------------------------------------------------

    def _lead(self, done: Callable[[], bool]) -> None:
        """Do what is due and wait for what comes, until the leader's own call has ended."""
        scheduler, steps = self._scheduler, 0
        self._led = True
        try:
            while not done():
                if scheduler.idle:
                    raise Stuck(scheduler.who_waits())
                due_ns = scheduler.next_due_ns() or 0
                early_s = self.early_s(due_ns)
                if early_s <= 0 and steps < STEPS_AT_ONCE:
                    steps += 1
                    scheduler.step()
                    continue
                steps = 0
                self._awaken()
                self._hand_over(self._wait(due_ns, early_s) if early_s > 0 else self._poll(0))
        finally:
            self._led = False

    def _wait(self, due_ns: int, early_s: float) -> list[tuple[int, int]]:
        """Wait until something comes in or a timer is due, and let others have their turns meanwhile."""
        scheduler = self._scheduler
        scheduler.nap(self, due_ns, self._ring)
        self._waits = True
        scheduler.leave()
        try:
            return self._poll(min(LONGEST_NAP_S, early_s))
        finally:
            try:
                scheduler.come_back()
            finally:
                self._waits = False
                scheduler.rise(self)
                if self._closed:
                    self._dismantle()

    def _follow(self, done: Callable[[], bool]) -> bool:
        """Sleep until the call has ended, or the lead is free, and return whether the caller drives again.

        Whoever has got what it waited for does not, it would only stand in the way; unless it has to pass the lead on.
        """
        sleeper = _Sleeper(done)
        self._sleepers.append(sleeper)
        self._scheduler.leave()  # from here on it may be awakened, and be interrupted as well
        try:
            sleeper.sleep()
            if done() and not sleeper.leads and not self._scheduler.ended:
                return False
        except BaseException:
            self._scheduler.come_back()
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
            raise
        self._scheduler.come_back()
        return True

    def _awaken(self, *, to_lead: bool = False) -> None:
        """Awaken those whose calls have ended, and perhaps one of the others, who is to lead."""
        for sleeper in self._sleepers.copy():
            sleeper.leads = to_lead and not sleeper.done()
            if sleeper.leads or sleeper.done():
                to_lead = to_lead and not sleeper.leads
                self._sleepers.remove(sleeper)
                sleeper.wake()

    # -- inside: what comes in ----------------------------------------------------------------------

    def _poll(self, longest_s: float) -> list[tuple[int, int]]:
        """Return what has come in: descriptors and events.  Nobody else polls meanwhile.

        Raises:
            UsageError: it is closed.
        """
        if self._closed:
            raise UsageError("this cluster is closed: nobody waits there any more; each test has its own")
        self.looks += 1
        self._watches_seen = self._watches
        return self._epoll.poll(longest_s)

    def _hand_over(self, came: list[tuple[int, int]]) -> bool:
        """Let those hear who watch what came in, and return whether there was something for anybody.

        Simulated time has come to the present by then, but not beyond what is due next.
        """
        scheduler, heard = self._scheduler, False
        if came:
            due_ns, reached_ns = scheduler.next_due_ns(), self.reached_ns()
            scheduler.now_ns = max(scheduler.now_ns, reached_ns if due_ns is None else min(due_ns, reached_ns))
        for fd, events in reversed(came):  # an answer first: whoever takes it hears what was told before it
            watched = self._watched.get(fd)
            if watched is None or watched.number > self._watches_seen:
                # The bell, or a number that belongs to something else by now, of which nothing has been seen yet.
                if fd == self._bell:
                    with suppress(BlockingIOError):
                        os.eventfd_read(fd)
                continue
            heard = True
            if events & select.EPOLLOUT:
                watched.writable()
            if events & ~select.EPOLLOUT and self._watched.get(fd) is watched:
                watched.readable()
        return heard

    def _ring(self) -> None:
        """Have the leader look anew."""
        if not self._epoll.closed:
            os.eventfd_write(self._bell, 1)

    def _dismantle(self) -> None:
        self._epoll.close()
        os.close(self._bell)


def _nothing() -> None:
    """An instant has come, and that is all."""


class _Watched:
    """Who is to hear of a descriptor."""

    __slots__ = ("number", "readable", "wants_room", "writable")

    def __init__(self, number: int, readable: Ready, writable: Ready) -> None:
        self.number = number
        self.readable = readable
        self.writable = writable
        self.wants_room = False


class _Sleeper:
    """A thread that waits for its call while another one leads.

    Attributes:
        done: whether its call has ended.
        leads: whether it was awakened because the lead is free.
    """

    __slots__ = ("_gate", "done", "leads")

    def __init__(self, done: Callable[[], bool]) -> None:
        self.done = done
        self.leads = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def sleep(self) -> None:
        """Return once somebody has called `wake`."""
        self._gate.acquire()

    def wake(self) -> None:
        """Let it go on; once."""
        self._gate.release()
