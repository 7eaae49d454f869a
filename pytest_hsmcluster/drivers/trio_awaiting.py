"""How does a trio task wait for a flow?

While callers wait, a system task steps the scheduler until a call has ended, hands over its result, and lets everybody
run until all are blocked again: whoever was awakened acts before simulated time goes on.

trio draws by lot in which order it runs tasks that are ready at the same time.  The journal
follows no lot: one answer is handed over at a time, calls of one instant begin in the order of
their clients, and those through one client in that of the tasks' family tree.  Where that tells
no order, `drawn` is told.
"""

from bisect import bisect
from collections.abc import Callable
from contextlib import suppress
from inspect import GEN_CREATED, getgeneratorstate
from threading import get_ident
from typing import Any, TypeVar, cast

import trio
import trio.testing

from ..errors import Stuck, UsageError
from ..sim.clock import Pace
from ..sim.flow import Flow
from ..sim.scheduler import Scheduler
from ..sim.task import Task
from .company import AT_WORK
from .pace import check_ticks, enter
from .trio_family import Family, Kin

T = TypeVar("T")

DRAWN = (
    "several trio tasks called through one client at the same instant, and trio draws by lot who is first; "
    "give each task a client of its own, or await one call before the tasks are started"
)


class _Run:
    """One `trio.run` in which somebody awaits."""

    def __init__(self, token: trio.lowlevel.TrioToken, ended: Callable[["_Run"], None]) -> None:
        self.token = token
        self.family = Family(lambda: ended(self))
        self.pumped = False
        self.nap: trio.CancelScope | None = None

    def wake(self) -> None:
        """Have the pump look anew, even if it meant to wait for real time."""
        if self.nap is not None:
            self.nap.cancel()

    def soon(self, what: Callable[..., object], *args: object) -> None:
        """Call something within the run: at once if it is this one, else when its turn comes."""
        try:
            here = trio.lowlevel.current_trio_token() is self.token
        except RuntimeError:  # no trio in this thread
            here = False
        if here:
            what(*args)
        else:
            with suppress(trio.RunFinishedError):
                self.token.run_sync_soon(what, *args)


class _Call:
    """A call that a task awaits.

    Attributes:
        task: of the scheduler; before the flow has begun another call may take its place there.
        told: whether its result is on the way to the waiter.
        cancelled: whether trio has awakened the waiter instead.
    """

    __slots__ = ("cancelled", "flow", "kin", "run", "task", "told", "waiter", "what")

    def __init__(self, flow: Flow[Any], what: str, run: _Run, task: Task) -> None:
        self.flow = flow
        self.what = what
        self.run = run
        self.task = task
        self.waiter = trio.lowlevel.current_task()
        self.kin: Kin = run.family.of(self.waiter)
        self.told = False
        self.cancelled = False

    @property
    def begun(self) -> bool:
        return getgeneratorstate(self.flow) != GEN_CREATED

    def abort(self, _: object) -> trio.lowlevel.Abort:
        if self.told:
            return trio.lowlevel.Abort.FAILED
        self.cancelled = True
        return trio.lowlevel.Abort.SUCCEEDED

    def tell(self) -> None:
        """Awaken the waiter; the result stays in the task until it takes it."""
        if not (self.cancelled or self.told):
            self.told = True
            self.run.soon(trio.lowlevel.reschedule, self.waiter)


class TrioDriver:
    """Lets trio tasks await flows; each `trio.run` in which somebody awaits has a system task that steps.

    Args:
        drawn: is told why, when the order of calls is left to chance.
    """

    def __init__(
        self, scheduler: Scheduler, pace: Pace | None = None, drawn: Callable[[str], object] | None = None
    ) -> None:
        self._scheduler = scheduler
        self._pace = pace
        self._drawn = drawn
        self._runs: dict[trio.lowlevel.TrioToken, _Run] = {}
        self._calls: dict[Task, _Call] = {}
        self._next: dict[int, list[_Call]] = {}
        self._handed_over = False

    async def run(self, flow: Flow[T], lane: int, what: str) -> T:
        """Return what the flow returns, or raise what it raises; cancelling ends the flow.

        Raises:
            Stuck: nothing is left that could ever wake the flow.
            UsageError: the cluster is closed, or was meanwhile; the run's clock stands still.
        """
        if (company := AT_WORK.get(get_ident())) is not None:
            company.catch_up(self._scheduler)
        enter(self._scheduler, self._pace)
        try:
            call = self._begin(flow, lane, what, self._run_here(flow))
        finally:
            self._scheduler.leave()
        self._pump_in(call.run)
        try:
            await trio.lowlevel.wait_task_rescheduled(call.abort)
            return cast(T, call.task.result())
        finally:
            with self._scheduler.alone:
                self._end(call)

    def close(self) -> None:
        """Tell whoever still awaits that the world has ended, and part from all runs."""
        for call in self._in_order():
            self._fail(call, UsageError(f"the cluster was closed while a task awaited {call.what!r}"))
        for run in self._runs.values():
            run.soon(run.wake)
            run.soon(_dismiss, run.family)
        self._runs.clear()

    # -- calls --------------------------------------------------------------------------

    def _begin(self, flow: Flow[Any], lane: int, what: str, run: _Run) -> _Call:
        """Line a call up behind those of its lane that come before it, and before the others."""
        task = self._scheduler.spawn(flow, lane, what)
        task.collect = self._collect
        call = self._calls[task] = _Call(flow, what, run, task)
        line = self._next.setdefault(lane, [])
        while line and line[0].begun:
            line.pop(0)
        tasks = [other.task for other in line]
        at = bisect(line, call.kin.rank, key=lambda other: other.kin.rank)
        if self._drawn is not None and any(call.kin.undecided(other.kin) for other in line[max(0, at - 1) : at + 1]):
            self._drawn(DRAWN)
        line.insert(at, call)
        for place, other in zip([*tasks, task][at:], line[at:], strict=True):
            place.flow, place.what, other.task = other.flow, other.what, place
            self._calls[place] = other
        return call

    def _end(self, call: _Call) -> None:
        if call.cancelled:
            self._end_cancelled()
        self._forget(call)
        if not self._awaited_in(call.run):
            call.run.wake()

    def _end_cancelled(self) -> None:
        """End all calls that were cancelled in one go.

        trio keeps the tasks of a nursery in a set, and cancels them in the order of their addresses.
        """
        for call in self._in_order():
            if call.cancelled:
                self._forget(call)

    def _in_order(self) -> list[_Call]:
        """Return all calls, client after client, those of a client in the order of their begin."""
        return sorted(self._calls.values(), key=lambda call: call.task.lane)

    def _forget(self, call: _Call) -> None:
        """End a call's flow, unless it has ended."""
        self._calls.pop(call.task, None)
        line = self._next.get(call.task.lane, [])
        if call in line:
            line.remove(call)
        self._scheduler.end(call.task)

    def _collect(self, task: Task) -> None:
        call = self._calls.pop(task, None)
        if call is not None:
            self._handed_over = True
            call.tell()

    def _fail(self, call: _Call, error: Exception) -> None:
        self._forget(call)
        call.task.error = error
        call.tell()

    def _awaited_in(self, run: _Run) -> bool:
        return any(call.run is run for call in list(self._calls.values()))

    # -- runs ---------------------------------------------------------------------------

    def _run_here(self, flow: Flow[Any]) -> _Run:
        token = trio.lowlevel.current_trio_token()
        run = self._runs.get(token)
        if run is None:
            if self._pace is not None and self._pace.fileno() is not None:
                try:
                    check_ticks(trio.current_time, "the clock of this trio run")
                except UsageError:
                    flow.close()
                    raise
            run = self._runs[token] = _Run(token, self._forget_run)
            trio.lowlevel.add_instrument(run.family)
        return run

    def _forget_run(self, run: _Run) -> None:
        """End what was awaited in a run that broke off."""
        self._runs.pop(run.token, None)
        run.nap = None
        for call in self._in_order():
            if call.run is run:
                self._forget(call)

    def _pump_in(self, run: _Run) -> None:
        """Have time go on in a run."""
        run.wake()
        if not run.pumped:
            run.pumped = True
            trio.lowlevel.spawn_system_task(self._pump, run, name="pytest_hsmcluster")

    async def _pump(self, run: _Run) -> None:
        # Shielded: whoever still awaits while trio ends its system tasks is served to the last.
        with trio.CancelScope(shield=True):
            await _all_have_acted()
            while self._awaited_in(run):
                early_s = self._step_until_told(run)
                if early_s > 0:
                    fd = self._pace.fileno() if self._pace is not None else None
                    with trio.move_on_after(early_s) as run.nap:
                        if fd is None:
                            await trio.sleep_forever()
                        else:
                            await trio.lowlevel.wait_readable(fd)
                    run.nap = None
                    with self._scheduler.alone:
                        self._scheduler.rise(run)
                await _all_have_acted()
        run.pumped = False

    def _step_until_told(self, run: _Run) -> float:
        """Step until somebody has been told something, or return how many real seconds it is too early for that."""
        scheduler = self._scheduler
        self._handed_over = False
        try:
            scheduler.enter()
            try:
                while not self._handed_over and self._awaited_in(run):
                    if scheduler.idle:
                        raise Stuck(scheduler.who_waits())
                    due_ns = scheduler.next_due_ns() or 0
                    if self._pace is not None and (early_s := self._pace.early_s(due_ns)) > 0:
                        if self._pace.look():
                            continue
                        scheduler.nap(run, due_ns, lambda: run.soon(run.wake))
                        return early_s
                    scheduler.step()
            finally:
                scheduler.leave()
        except Exception as error:
            for call in self._in_order():
                self._fail(call, error)
        return 0


async def _all_have_acted() -> None:
    """Return when nobody is left who could act without simulated time.

    The first wait ends together with those of the application itself; what they do then is waited for too.
    It takes no real time: trio looks once whether there is input, and goes on.
    """
    await trio.testing.wait_all_tasks_blocked()
    await trio.testing.wait_all_tasks_blocked()


def _dismiss(family: Family) -> None:
    with suppress(KeyError):
        trio.lowlevel.remove_instrument(family)


def task_origin() -> tuple[tuple[str, int, str], ...]:
    """Return the frames outside of trio that made the coroutine of the running task, innermost first."""
    origin = getattr(trio.lowlevel.current_task().coro, "cr_origin", None) or ()
    library = trio.__file__.removesuffix("__init__.py")
    return tuple(frame for frame in origin if not frame[0].startswith(library))
