"""What happens next, and when?

A heap of timers ordered by instant, then by lane, then by number.  Lanes order what
happens at one instant: the test's own first, then the service, then clients in the order in
which they were made.  Within a lane, a deadline comes after everything else of its
instant: an answer that arrives at the very deadline is in time.

*Running ahead* is the fast path: a flow that would wait asks `ahead`; when nothing else is
due up to and including that instant, the clock is set and the flow simply goes on.
`run_ahead = False` switches it off, and every story must give the same journal.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from heapq import heappop, heappush
from typing import Any

from ..errors import Stuck, UsageError
from .flow import Flow, Join, Signal, Wait
from .task import Task, Timer

FOREVER_NS = 1 << 62
TEST_LANE = 0
SERVICE_LANE = 1
FIRST_CLIENT_LANE = 2


class Scheduler:
    """Steps flows through simulated time; it never waits itself.

    Args:
        alone: within it no other thread drives or changes this world; one thread may enter it repeatedly.

    Attributes:
        now_ns: the present instant in ns.
        run_ahead: whether flows may skip the heap when nothing else is due.
        horizon_ns: no flow runs ahead of this instant.
        catch_up: brings the world to the present, where time is real; for whoever has it alone.
    """

    def __init__(self, alone: AbstractContextManager[object] | None = None) -> None:
        self.alone = nullcontext() if alone is None else alone
        self.now_ns = 0
        self.run_ahead = True
        self.horizon_ns = FOREVER_NS
        self.stepping = False
        self.ended = False
        self._heap: list[tuple[int, int, int, int, Timer]] = []
        self._number = 0
        self._foreground = 0
        self._tasks: dict[Task, None] = {}
        self._naps: dict[object, tuple[int, Callable[[], None]]] = {}
        self._latest_nap_ns = 0
        self.catch_up: Callable[[], None] = _nothing

    # -- timers ---------------------------------------------------------------

    def at(
        self,
        due_ns: int,
        action: Callable[[], None],
        lane: int = TEST_LANE,
        *,
        late: bool = False,
        background: bool = False,
    ) -> Timer:
        """Have `action` called at an instant (ns) and return its timer."""
        timer = Timer(max(due_ns, self.now_ns), action, background)
        self._number += 1
        heappush(self._heap, (timer.due_ns, lane, late, self._number, timer))
        if timer.due_ns < self._latest_nap_ns:
            self._rouse(timer.due_ns)
        if not background:
            self._foreground += 1
        return timer

    def cancel(self, timer: Timer) -> None:
        """Make sure that a timer's action is not called; one that has run already is left alone."""
        if timer.action is not None:
            timer.action = None
            if not timer.background:
                self._foreground -= 1

    def next_due_ns(self) -> int | None:
        """Return the instant of the next live timer, or None; cancelled ones on top are dropped."""
        heap = self._heap
        while heap and heap[0][4].action is None:
            heappop(heap)
        return heap[0][0] if heap else None

    @property
    def idle(self) -> bool:
        """Whether only background timers are left."""
        return self._foreground == 0

    def ahead(self, duration_ns: int, limit_ns: int = FOREVER_NS) -> bool:
        """Let `duration_ns` pass at once if nothing else is due by then, and say whether it did.

        Args:
            duration_ns: how long the caller would wait.
            limit_ns: an instant of the caller's own (a deadline) beyond which it must not run.
        """
        due_ns = self.now_ns + duration_ns
        if not self.run_ahead or due_ns > limit_ns or due_ns > self.horizon_ns:
            return False
        heap = self._heap
        while heap and heap[0][0] <= due_ns:
            if heap[0][4].action is not None:
                return False
            heappop(heap)
        self.now_ns = due_ns
        return True

    def step(self) -> None:
        """Go to the next timer and do what it says."""
        due_ns = self.next_due_ns()
        if due_ns is None:
            raise Stuck(self.who_waits())
        timer = heappop(self._heap)[4]
        action, timer.action = timer.action, None
        if not timer.background:
            self._foreground -= 1
        self.now_ns = due_ns
        assert action is not None, "next_due_ns leaves a live timer on top"
        action()

    def nap(self, who: object, until_ns: int, rouse: Callable[[], None]) -> None:
        """Note that somebody waits in real time for what is due next.

        Args:
            who: ends it with `rise`.
            until_ns: the instant that it waits for.
            rouse: called once, by whoever has something due sooner.
        """
        self._naps[who] = until_ns, rouse
        self._latest_nap_ns = max(self._latest_nap_ns, until_ns)

    def rise(self, who: object) -> None:
        """Note that somebody waits in real time no longer; to be called alone, as all that changes this world."""
        if self._naps.pop(who, None) is not None:
            self._latest_nap_ns = max([until_ns for until_ns, _ in self._naps.values()]) if self._naps else 0

    # -- flows ----------------------------------------------------------------

    def spawn(self, flow: Flow[Any], lane: int, what: str, *, after_ns: int = 0, background: bool = False) -> Task:
        """Make a task of a flow that has not begun; it begins `after_ns` from now."""
        task = Task(flow, lane, what, background)
        self._tasks[task] = None
        self._park(task, after_ns)
        return task

    def adopt(self, flow: Flow[Any], wait: Wait, lane: int, what: str) -> Task:
        """Make a task of a flow that somebody else has begun and that now waits for `wait`."""
        task = Task(flow, lane, what, background=False)
        self._tasks[task] = None
        self._park(task, wait)
        return task

    def fire(self, signal: Signal, value: Any = None) -> None:
        """Let a signal happen: all who wait for it go on at this instant, in lane order."""
        if signal.fired:
            return
        signal.fired, signal.value = True, value
        waiters, signal.waiters = signal.waiters, []
        for task in waiters:
            self._wake(task, value)

    def interrupt(self, task: Task, error: BaseException) -> None:
        """Have `error` raised in a waiting task, at this instant, in its lane's turn."""
        if task.done:
            return
        self._unpark(task)

        def strike() -> None:
            try:
                self._resume(task, None, error)
            finally:
                error.__traceback__ = None  # its frames lead here, and to the error

        task.timer = self.at(self.now_ns, strike, task.lane, background=task.background)

    def end(self, task: Task) -> None:
        """Close a task without letting it go on; nobody hears of it."""
        if not task.done:
            self._unpark(task)
            task.done = True
            self._tasks.pop(task, None)
            task.flow.close()

    def end_all(self) -> None:
        """Close every task and forget every timer: the world stops here."""
        for task in list(self._tasks):
            self.end(task)
        self._heap.clear()
        self._foreground = 0
        self.ended = True
        self.catch_up = _nothing

    def advance_to(self, instant_ns: int) -> None:
        """Do all that is due up to an instant, background included, and set the clock to it."""
        self.enter()
        try:
            self.drive_to(instant_ns)
        finally:
            self.leave()

    def drive_to(self, instant_ns: int) -> None:
        """Do what `advance_to` does, where the caller drives already."""
        horizon_ns, self.horizon_ns = self.horizon_ns, instant_ns
        try:
            while (due_ns := self.next_due_ns()) is not None and due_ns <= instant_ns:
                self.step()
            self.now_ns = max(self.now_ns, instant_ns)
        finally:
            self.horizon_ns = horizon_ns

    def enter(self) -> None:
        """Begin to drive, once no other thread does; `leave` ends it.

        Raises:
            UsageError: called from inside a step: a hook or callback drives the cluster that calls it; or
                after the end of the world.
        """
        self.alone.__enter__()
        if not (self.ended or self.stepping):
            self.stepping = True
            return
        self.alone.__exit__(None, None, None)
        if self.ended:
            raise UsageError("this cluster is closed: no time passes there any more; each test has its own")
        raise UsageError(
            "a cluster call was made from inside a step of the same cluster (a fault, hook or callback "
            "drives the cluster that is driving it); use a flow or schedule it for later"
        )

    def leave(self) -> None:
        """Drive no longer."""
        self.stepping = False
        self.alone.__exit__(None, None, None)

    def come_back(self) -> None:
        """Drive on after a `leave` in between, once no other thread does; `leave` has to follow in any case.

        Raises:
            UsageError: the world has ended meanwhile.
        """
        self.alone.__enter__()
        self.stepping = True
        if self.ended:
            raise UsageError("this cluster was closed while a call waited for its answer")

    def who_waits(self) -> str:
        """Return who waits for what, since when; for `Stuck`."""
        lines = [f"nothing can happen any more at {self.now_ns / 1e9:.6f} s; who waits:"]
        for task in self._tasks:
            lines.append(f"  {task.what}: for {_awaited(task.waiting)}, since {task.since_ns / 1e9:.6f} s")
        return "\n".join(lines if len(lines) > 1 else [*lines, "  nobody"])

    # -- inside ---------------------------------------------------------------

    def _rouse(self, due_ns: int) -> None:
        for who, (until_ns, rouse) in list(self._naps.items()):
            if due_ns < until_ns:
                self.rise(who)
                rouse()

    def _wake(self, task: Task, value: Any) -> None:
        task.timer = self.at(self.now_ns, lambda: self._resume(task, value), task.lane, background=task.background)

    def _park(self, task: Task, wait: Wait) -> None:
        task.waiting, task.since_ns = wait, self.now_ns
        if isinstance(wait, int):
            task.timer = self.at(
                self.now_ns + wait, lambda: self._resume(task, None), task.lane, background=task.background
            )
        elif isinstance(wait, Signal):
            if wait.fired:
                self._wake(task, wait.value)
            else:
                wait.waiters.append(task)
        elif wait.task.done:
            self._wake(task, True)
        else:
            wait.task.joiner = task
            task.deadline = self.at(
                wait.until_ns,
                lambda: self._give_up(task, wait.task),
                task.lane,
                late=True,
                background=task.background,
            )

    def _unpark(self, task: Task) -> None:
        waiting, task.waiting = task.waiting, None
        if isinstance(waiting, Signal) and task in waiting.waiters:
            waiting.waiters.remove(task)
        elif isinstance(waiting, Join):
            waiting.task.joiner = None
        for timer in (task.timer, task.deadline):
            if timer is not None:
                self.cancel(timer)
        task.timer = task.deadline = None

    def _give_up(self, task: Task, other: Task) -> None:
        other.joiner = None
        self._resume(task, False)

    def _resume(self, task: Task, value: Any, error: BaseException | None = None) -> None:
        task.waiting = task.timer = task.deadline = None
        try:
            wait = task.flow.send(value) if error is None else task.flow.throw(error)
        except StopIteration as end:
            task.value = end.value
        except Exception as end:
            task.error = end
        else:
            self._park(task, wait)
            return
        # Not within `except`: what others raise, now that they go on, does not come from how this flow ended.
        self._ended(task)

    def _ended(self, task: Task) -> None:
        task.done = True
        self._tasks.pop(task, None)
        joiner = task.joiner
        if joiner is not None:
            # The parent goes on in the same step, as it would if the child had never waited.
            task.joiner = None
            if joiner.deadline is not None:
                self.cancel(joiner.deadline)
            self._resume(joiner, True)
        elif task.collect is not None:
            task.collect(task)
        elif task.error is not None:
            task.result()


def _nothing() -> None:
    """Simulated time is always the present."""


def _awaited(wait: Wait | None) -> str:
    """Return what somebody waits for, for people."""
    if isinstance(wait, Signal):
        return wait.name
    return f"{wait.task.what!r} to end" if isinstance(wait, Join) else "its turn"
