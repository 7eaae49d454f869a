"""How do several threads of one application take turns, so that the same seed gives the same run?

The threads are *actors* of one company.  One of them has the turn (`Turns` says how it goes round); it gives it up
inside the cluster's calls and in simulated waits, nowhere else.  Whoever gives it up looks who could go on: one of
these is drawn by lot; while there is none, the worlds are stepped, that is, simulated time passes.

An actor with the turn may come to wait for something else: for a lock of the application's that another actor holds, or
for a socket.  It is watched; once it stands still, the turn is taken from it, and given back when it returns.
"""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from ..errors import Stuck, UsageError
from ..sim.clock import NS
from ..sim.flow import Flow
from ..sim.scheduler import Scheduler
from .actors import AT_WORK as AT_WORK
from .actors import Actor, ActorEnded, Group, Order, State
from .pace import pause
from .reach import Reached
from .turns import Turns
from .turnstile import Turnstile
from .watching import LOOK_S, Standing, Watched, watch
from .worlds import Worlds

T = TypeVar("T")

PATIENCE = 3_000
"""Looks at actors that wait outside of simulated time before nothing is expected of them; some 15 real seconds."""

COURTESY = 100
"""Looks, each of several, at an actor that waits for a file, a socket or a process before others go on: 0.5 s."""

DILIGENCE = 20_000
"""Milliseconds of a processor's that an actor may use in one turn."""

BRIEFLY = 100
"""Looks when all actors wait in simulated time, but threads that are no actors could wake one."""


class Company:
    """The threads of one application, and the worlds in which they act.

    Whoever makes it is its first actor and has the turn, until `close`.

    Args:
        order: draws who goes on.
        before_wait: called before each wait; it may refuse.

    Attributes:
        order: as given.
        patience: looks at actors that wait outside of simulated time before nothing is expected of them.
        courtesy: looks at an actor that waits for the real world before others go on.
        diligence: milliseconds of a processor's that an actor may use in one turn.
        doubted: whether some order has been left to real time.
    """

    def __init__(self, order: Order, before_wait: Callable[[], None] = lambda: None) -> None:
        self.order = order
        self._before_wait = before_wait
        self.patience, self.courtesy, self.diligence = PATIENCE, COURTESY, DILIGENCE
        self.doubted = False
        self._worlds = Worlds()
        self._groups: list[Group] = []
        self._watcher: threading.Thread | None = None
        self._locks = Reached()
        self._over = threading.Event()
        self._by_thread: dict[int, Actor] = {}
        self._threads = Group()
        self.main = Actor("the test", Group(), 0)
        self._turns = Turns(self.main, self._choose)
        self._enter(self.main)

    def close(self) -> None:
        """End the threads that are left, and the company with them; those that wait outside end when they come back."""
        self._threads.ending = True
        try:
            if not self.alone or self._turns.holder is not self.main:
                self.wait_until(self._deserted, None, "its threads to end")
        finally:
            self._turns.closed = True
            self._locks.undo()
            self._over.set()
            self._leave(self.main)
            if self._watcher is not None:
                self._watcher.join()

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._turns.closed

    def _deserted(self) -> bool:
        return all(actor is self.main or actor.state is State.OUTSIDE for actor in self._turns.actors)

    def __contains__(self, ident: object) -> bool:
        """Whether a thread acts here, or gives turns."""
        return ident in self._by_thread or (self._watcher is not None and ident == self._watcher.ident)

    # -- worlds -----------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """The application's present instant: ns since the company was made."""
        return self._worlds.now_ns

    def join(self, scheduler: Scheduler) -> None:
        """Have a world live on while actors wait.  Doing it twice is harmless."""
        if scheduler not in self._worlds.schedulers:
            self._worlds.add(scheduler)
            if isinstance(scheduler.alone, Turnstile):
                scheduler.alone.expected = self

    def catch_up(self, scheduler: Scheduler) -> None:
        """Bring a world to the present, before the application uses it."""
        self.join(scheduler)
        self._worlds.catch_up(scheduler)

    # -- actors -----------------------------------------------------------------------------

    @property
    def alone(self) -> bool:
        """Whether there is one actor only."""
        return len(self._turns.actors) == 1

    def acts_here(self) -> bool:
        """Whether this thread is an actor that does not wait for real just now."""
        actor = self._by_thread.get(threading.get_ident())
        return actor is not None and not actor.real

    def actor(self) -> Actor | None:
        """Return the actor that may wait on this thread.

        None where it waits for real on purpose, or waits already: signal handlers and finalizers come in between, and
        what they wait for is waited for in real time.
        """
        actor = self._by_thread.get(threading.get_ident())
        return None if actor is None or actor.real or actor.inside else actor

    def welcome(self, on_stuck: Callable[[Exception], bool]) -> Actor:
        """Return the actor of this thread, whose event loop waits for answers from now on."""
        actor = self._by_thread[threading.get_ident()]
        if on_stuck not in actor.on_stuck:
            actor.on_stuck.append(on_stuck)
        return actor

    def run(self, functions: Sequence[Callable[[], T]], longest_ns: int, turns: int) -> list[T]:
        """Let functions act, each on a thread of its own, and return what they return, in their order.

        Raises:
            Stuck: they have not ended, and nothing can happen any more or the limits are reached.
            BaseException: what a function raised; of several functions a BaseExceptionGroup.
        """
        me = self._uninterrupted()
        if me is not self.main:
            raise UsageError(
                "run() inside of run(): an actor that wants others to act starts a threading.Thread or a "
                "concurrent.futures.ThreadPoolExecutor; both act like the functions of run()"
            )
        group = Group(self.now_ns + longest_ns, turns)
        results: dict[int, T] = {}
        self._groups.append(group)
        for number, function in enumerate(functions):
            name = f"{getattr(function, '__qualname__', type(function).__name__)}, actor {number + 1}"

            def work(number: int = number, function: Callable[[], T] = function, name: str = name) -> None:
                try:
                    results[number] = function()
                except ActorEnded:
                    raise
                except BaseException as error:
                    group.fail(name, error)

            actor = self.enlist(name, group)
            group.functions.append(actor)
            thread = threading.Thread(target=self.live, args=(actor, work), name=name, daemon=True)
            with me.for_real():
                thread.start()
        try:
            self.wait_until(group.over, None, "its functions to end")
        finally:
            group.ending = True
            self._groups.remove(group)
        group.raise_errors()
        return [results[number] for number in range(len(functions))]

    def enlist(self, name: str, group: Group | None = None) -> Actor:
        """Return a new actor; whoever asks starts its thread, which calls `live`.

        Args:
            name: for people.
            group: with whom it ends; None: with whoever asks.
        """
        me = self._by_thread[threading.get_ident()]
        actor = Actor(name, group or (self._threads if me is self.main else me.group), self.now_ns)
        self._turns.actors.append(actor)
        if self._watcher is None:
            self._watcher = threading.Thread(target=watch, args=(self,), name="hsmcluster watches", daemon=True)
            with me.for_real():
                self._watcher.start()
        return actor

    def live(self, actor: Actor, work: Callable[[], object]) -> None:
        """Be an actor on this thread, from its first turn on, until the work is done."""
        self._enter(actor)
        actor.gate.acquire()
        try:
            if not actor.group.ending:
                self._locks.reach(work)
                work()
        except ActorEnded:
            pass
        finally:
            self._leave(actor)

    def discharge(self, actor: Actor) -> None:
        """Let the thread of an actor go on as any other thread."""
        self._leave(actor)

    # -- what actors wait for ------------------------------------------------------------------

    def perform(self, scheduler: Scheduler, flow: Flow[T], lane: int, what: str) -> T:
        """Return what a flow returns, or raise what it raises; others have their turns meanwhile."""
        me = self._uninterrupted()
        try:
            me.inside, me.looks = True, 0
            self._turns.arrive(me, self.now_ns)
            self.catch_up(scheduler)
            scheduler.enter()
            try:
                task = scheduler.spawn(flow, lane, what, after_ns=self.order.delay_ns())
                task.collect = me.wake
            finally:
                scheduler.leave()
            try:
                self._turns.give_up(me, what, self.now_ns)
            finally:
                with scheduler.alone:
                    scheduler.end(task)
        finally:
            me.inside = False
        return cast(T, task.result())

    def wait(self, duration_ns: int) -> None:
        """Return when so much simulated time has passed."""
        self.wait_until(None, duration_ns, "time to pass")

    def wait_until(self, poll: Callable[[], bool] | None, timeout_ns: int | None, what: str) -> bool:
        """Return True as soon as `poll()` holds or somebody wakes the actor, False after the time-out.

        Raises:
            Stuck: nothing is left that could ever make it so.
        """
        me = self._uninterrupted()
        over: list[bool] = []
        timer = None

        def ring() -> None:
            over.append(True)
            me.wake()

        try:
            me.inside = True
            self._turns.arrive(me, self.now_ns)
            self._before_wait()
            if timeout_ns == 0:
                timeout_ns = me.look_ns()
            else:
                me.looks = 0
            timer = None if timeout_ns is None else self._worlds.at(self.now_ns + timeout_ns, ring)
            me.poll = poll
            self._turns.give_up(me, what, self.now_ns)
            return not over or (poll is not None and poll())
        finally:
            me.poll = None
            if timer is not None:
                self._worlds.cancel(timer)
            self._worlds.catch_up()
            me.inside = False

    # -- turns --------------------------------------------------------------------------------

    def _enter(self, actor: Actor) -> None:
        ident = threading.get_ident()
        actor.watched = Watched(ident)
        self._by_thread[ident] = actor
        AT_WORK[ident] = self

    def _uninterrupted(self) -> Actor:
        """Return the actor of this thread, which is not in the middle of a wait."""
        me = self._by_thread[threading.get_ident()]
        if me.inside:
            raise UsageError(
                f"{me.name} waits, and a signal handler or finalizer that came in between uses the cluster: "
                "let it set a flag that the application looks at"
            )
        return me

    def _leave(self, me: Actor) -> None:
        """End an actor; the turn goes to another one."""
        if me.state is State.ENDED:
            return
        # Until it is decided who is next this thread is one of those who are expected in the worlds: it steps them.
        following = self._turns.end(me)
        ident = threading.get_ident()
        del self._by_thread[ident], AT_WORK[ident]
        if following is not None:
            following.gate.release()

    def _choose(self) -> Actor | None:
        """Return who has the turn from now on; simulated time passes until there is somebody."""
        looks = 0
        while self._turns.actors and not self.closed:
            outside = self._settled()
            ready = [actor for actor in self._turns.actors if actor.can_go_on]
            if ready:
                chosen = self.order.choose(ready)
                if looks:
                    self._doubt(chosen)
                return chosen
            if not self._stepped():
                looks += 1
                hopeful = looks <= (self.patience if outside else BRIEFLY if self.accompanied() else 0)
                if hopeful or not self._told(Stuck(self._report("nothing can happen any more"))):
                    pause(LOOK_S)
        return None

    def _settled(self) -> bool:
        """Wait until each actor that waited outside has come back or is known to wait still; return whether one is."""
        found = False
        for actor in list(self._turns.actors):
            looks = 0
            while actor.state is State.OUTSIDE and actor.watched is not None:
                standing = actor.watched.look()  # somebody who runs will come back, or wait
                looks = looks + 1 if standing is Standing.AWAY else 0
                if standing is Standing.AWAY and not self.doubted and looks > self.courtesy:
                    self._doubt(actor)
                if standing is Standing.IN_LINE or (standing is Standing.AWAY and self.doubted):
                    break
            found = found or actor.state is State.OUTSIDE
        return found

    def _doubt(self, who: Actor) -> None:
        """Say in every world that its order was left to real time, and why."""
        self.doubted = True
        for scheduler in self._worlds.schedulers:
            if isinstance(scheduler.alone, Turnstile):
                scheduler.alone.doubt(
                    f"{who.name} waited for something in real time (a file, a socket, a process, a thread that is no "
                    "actor), and others went on meanwhile"
                )

    def accompanied(self) -> bool:
        """Whether there are other threads that might wake an actor."""
        return threading.active_count() > len(self._by_thread) + (self._watcher is not None)

    def _stepped(self) -> bool:
        """Let the next thing happen, and return whether there was one."""
        instant_ns = self._worlds.next_due_ns()
        if instant_ns is None:
            return False
        if not self._exhausted(instant_ns):
            try:
                self._worlds.step()
            except Exception as error:  # a mistake in a hook or here: whoever waits for all of this must know
                self._told(error)
        return True

    # -- what goes wrong -----------------------------------------------------------------------

    def _exhausted(self, instant_ns: int) -> bool:
        """Whether a group has used up its time or its turns; it ends."""
        for group in self._groups:
            group.turns -= 1
            why = "simulated time" if instant_ns > group.longest_ns else "turns" if group.turns < 0 else None
            if why and not group.ending:
                group.fail("", Stuck(self._report(f"run() has not ended in the {why} that it may take")))
                return True
        return False

    def _told(self, error: BaseException) -> bool:
        """Tell whoever waits for all of this of an error, and return whether there is somebody."""
        waiting = [group for group in self._groups if not group.ending]
        if waiting:
            waiting[-1].fail("", error)
        elif self.main.state is State.WAITS:
            self.main.error = error
        return bool(waiting) or self.main.error is error

    def look_away(self, seconds: float) -> None:
        """Let real seconds pass, or fewer if it ends."""
        self._over.wait(seconds)

    def watched(self) -> tuple[Actor, Watched, int] | None:
        """Return who has the turn, how to look at him, and which turn it is; None if nobody needs to be watched."""
        found = self._turns.watched()
        return None if found is None or found[0].watched is None else (found[0], found[0].watched, found[1])

    def take_turn_from(self, holder: Actor, number: int, *, away: bool) -> None:
        """Let somebody else have the turn: its holder waits for something that simulated time knows nothing of.

        Args:
            holder: who has the turn.
            number: which turn it is.
            away: whether it waits for the world, and so real time will say when it comes back.
        """
        if self._turns.take_from(holder, number):
            if away and not self.alone:
                self._doubt(holder)
            self._turns.pass_on()

    def stop(self, holder: Actor) -> None:
        """End an actor that never comes to a call or a wait, also one that was told to end."""
        if holder.watched is not None and holder.group.ending:
            holder.watched.interrupt(ActorEnded)
        elif holder.watched is not None and holder.group in self._groups:
            why = f"{holder.name} has the turn and comes to no call of the cluster"
            holder.group.fail("", Stuck(self._report(f"{why}, at {holder.watched.where()}")))
            holder.watched.interrupt(ActorEnded)

    def _report(self, why: str) -> str:
        """Return why nothing goes on, where, and who waits for what since when."""
        whose = [actor for actor in self._turns.actors if actor is not self.main or not self._groups]
        waiting = [line for actor in whose if (line := actor.waits())]
        return "\n".join([f"{why} at {self.now_ns / NS:.6f} s; who waits:", *(waiting or ["  nobody"])])
