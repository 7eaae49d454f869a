"""How does a coroutine wait for a flow?

Under asyncio nobody blocks: while callers await, one callback at a time steps the scheduler
until a call has ended, hands over its result in that very step, and lets the loop take some
turns, so that whoever was awakened acts before simulated time goes on.  Under trio, `trio_awaiting` does it.

A loop that waits in simulated time itself (see `apptime`) needs no such callback: time goes on where it waits.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, TypeVar, cast

from ..errors import Stuck, UsageError
from ..sim.clock import Pace
from ..sim.flow import Flow
from ..sim.scheduler import Scheduler
from ..sim.task import Task
from .actors import Actor
from .company import AT_WORK
from .pace import check_ticks, enter

if TYPE_CHECKING:
    from .trio_awaiting import TrioDriver

T = TypeVar("T")

TURNS_TO_BEGIN = 2
TURNS_TO_ACT = 5
"""Turns of the loop in which simulated time stands still after a call has begun, and after one has ended.

An answer passes through `wait_for`, `gather` or a task group in three turns, what its receiver cancels
or calls then needs one or two more.  With a real clock time stands still for nobody, and one turn is enough.
"""


class AwaitingDriver:
    """Lets coroutines await flows; each loop on which somebody awaits has its own callback.

    A loop may end and another one begin: whoever still awaited on a loop that was closed is ended.

    Attributes:
        drawn: is told why, when the order of calls was left to chance.
    """

    drawn: Callable[[str], object] | None = None

    def __init__(self, scheduler: Scheduler, pace: Pace | None = None) -> None:
        self._scheduler = scheduler
        self._pace = pace
        self._trio: TrioDriver | None = None
        self._futures: dict[Task, asyncio.Future[object]] = {}
        self._pumps: dict[asyncio.AbstractEventLoop, asyncio.Handle] = {}
        self._reads: dict[asyncio.AbstractEventLoop, int] = {}
        self._newest_loop: asyncio.AbstractEventLoop | None = None
        self._handed_over = False
        self._actors: dict[asyncio.AbstractEventLoop, Actor] = {}

    async def run(self, flow: Flow[T], lane: int, what: str) -> T:
        """Return what the flow returns, or raise what it raises; cancelling ends the flow.

        Raises:
            UsageError: neither asyncio nor trio runs here, or the loop's clock stands still.
            Stuck: nothing is left that could ever wake the flow.
        """
        if _trio_runs_here():
            return await self._under_trio().run(flow, lane, what)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            flow.close()
            raise UsageError(
                "the async client is awaited under asyncio or trio, or under anyio with either of them; "
                "none of them runs here: use the blocking client"
            ) from None
        self._check_ticks(loop, flow)
        if loop is not self._newest_loop:
            self._newest_loop = loop
            with self._scheduler.alone:
                self._forget_closed_loops()
        company = AT_WORK.get(get_ident())
        if company is not None:
            company.catch_up(self._scheduler)
            self._actors[loop] = company.welcome(self._fail_all)
        enter(self._scheduler, self._pace)
        try:
            if company is None:
                self._arm(loop, TURNS_TO_BEGIN if self._pace is None else 1)
            task = self._scheduler.spawn(flow, lane, what)
            task.collect = self._collect
            future = self._futures[task] = loop.create_future()
        finally:
            self._scheduler.leave()
        try:
            return cast(T, await future)
        finally:
            with self._scheduler.alone:
                if future.cancelled():
                    self._end_cancelled()
                self._futures.pop(task, None)
                self._scheduler.end(task)
                if not self._awaited_on(loop):
                    self._disarm(loop)

    def close(self) -> None:
        """Forget whoever still awaits; their loop is about to end."""
        if self._trio is not None:
            self._trio.close()
        for loop in list(self._pumps):
            _on(loop, self._disarm, loop)
        for future in self._futures.values():
            _on(future.get_loop(), future.cancel)
        self._futures.clear()

    def _check_ticks(self, loop: asyncio.AbstractEventLoop, flow: Flow[T]) -> None:
        """Refuse a new loop in which real time does not pass, where real time is needed.

        Raises:
            UsageError: says what to leave out.
        """
        if loop is self._newest_loop or self._pace is None or self._pace.fileno() is None:
            return
        try:
            check_ticks(loop.time, "the clock of this asyncio loop")
        except UsageError:
            flow.close()
            raise

    def _under_trio(self) -> "TrioDriver":
        if self._trio is None:
            from .trio_awaiting import TrioDriver

            self._trio = TrioDriver(self._scheduler, self._pace, self.drawn)
        return self._trio

    def _collect(self, task: Task) -> None:
        future = self._futures.pop(task, None)
        if future is None or future.done() or future.get_loop().is_closed():
            return
        self._handed_over = True
        if (actor := self._actors.get(future.get_loop())) is not None:
            actor.wake()
        _on(future.get_loop(), _settle, future, task.value, task.error)

    def _end_cancelled(self) -> None:
        """End all calls that were cancelled in one go, in the order in which they began.

        `asyncio.run` and task groups keep their tasks in a set and cancel them in the order of their addresses.
        """
        for task, future in list(self._futures.items()):
            if future.cancelled():
                del self._futures[task]
                self._scheduler.end(task)

    def _awaited_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        return any(future.get_loop() is loop for future in list(self._futures.values()))

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._pumps if loop.is_closed()]:
            self._disarm(loop)
        self._actors = {loop: actor for loop, actor in self._actors.items() if not loop.is_closed()}
        for task, future in list(self._futures.items()):
            if future.get_loop().is_closed():
                del self._futures[task]
                self._scheduler.end(task)

    def _arm(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        """Have the loop step after some turns, even if it meant to wait for real time."""
        if isinstance(handle := self._pumps.get(loop), asyncio.TimerHandle):
            handle.cancel()
            del self._pumps[loop]
        if loop not in self._pumps:
            self._pumps[loop] = loop.call_soon(self._pump, loop, turns)

    def _disarm(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._scheduler.alone:
            self._scheduler.rise(loop)
        handle = self._pumps.pop(loop, None)
        if handle is not None:
            handle.cancel()
        if (fd := self._reads.pop(loop, None)) is not None and not loop.is_closed():
            loop.remove_reader(fd)

    def _nap(self, loop: asyncio.AbstractEventLoop, due_ns: int, early_s: float) -> None:
        """Have the loop step when real time has come, something comes in, or something is due sooner."""
        assert self._pace is not None, "who is early has a real clock"
        self._pumps[loop] = loop.call_later(early_s, self._pump, loop, 1)
        self._scheduler.nap(loop, due_ns, lambda: _soon(loop, self._roused, loop))
        if loop not in self._reads and (fd := self._pace.fileno()) is not None:
            self._reads[loop] = fd
            loop.add_reader(fd, self._roused, loop)

    def _roused(self, loop: asyncio.AbstractEventLoop) -> None:
        """Step now if the loop meant to wait, and somebody still awaits."""
        if isinstance(handle := self._pumps.get(loop), asyncio.TimerHandle):
            handle.cancel()
            self._pump(loop, 1)

    def _pump(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        del self._pumps[loop]
        if turns > 1:
            self._pumps[loop] = loop.call_soon(self._pump, loop, turns - 1)
            return
        scheduler = self._scheduler
        try:
            scheduler.enter()
        except UsageError as error:  # closed by another thread
            self._fail_all(error)
            return
        self._handed_over = False
        try:
            scheduler.rise(loop)
            while not self._handed_over and self._awaited_on(loop):
                if scheduler.idle:
                    raise Stuck(scheduler.who_waits())
                due_ns = scheduler.next_due_ns() or 0
                if self._pace is not None and (early_s := self._pace.early_s(due_ns)) > 0:
                    if self._pace.look():
                        continue
                    self._nap(loop, due_ns, early_s)
                    return
                scheduler.step()
        except Exception as error:
            self._fail_all(error)
        finally:
            scheduler.leave()
        if self._awaited_on(loop):
            self._arm(loop, TURNS_TO_ACT if self._pace is None else 1)

    def _fail_all(self, error: Exception) -> bool:
        """Tell everybody who awaits that the world broke, and return whether there is somebody."""
        heard = bool(self._futures)
        with self._scheduler.alone:
            for task, future in list(self._futures.items()):
                self._scheduler.end(task)
                _on(future.get_loop(), _settle, future, None, error)
            self._futures.clear()
        return heard


def _on(loop: asyncio.AbstractEventLoop, what: Callable[..., object], *args: object) -> None:
    """Call something on a loop: at once if it runs here, or nowhere; else when its turn comes, or never if it ends."""
    if loop is _running() or not (loop.is_running() or loop.is_closed()):
        what(*args)
    else:
        _soon(loop, what, *args)


def _soon(loop: asyncio.AbstractEventLoop, what: Callable[..., object], *args: object) -> None:
    """Call something on a loop when its turn comes, or never if it ends."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *args)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _settle(future: asyncio.Future[object], value: object, error: BaseException | None) -> None:
    """Hand a result over, unless its receiver was cancelled meanwhile."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


def task_origin() -> tuple[tuple[str, int, str], ...]:
    """Return the frames that made the coroutine of the running task, innermost first: file, line, function.

    Empty outside of a task, and unless `sys.set_coroutine_origin_tracking_depth` asked Python to keep them.
    """
    if _trio_runs_here():
        from . import trio_awaiting

        return trio_awaiting.task_origin()
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return ()
    return getattr(task and task.get_coro(), "cr_origin", None) or ()


thread_here = get_ident
"""Return a number for the running thread."""


def task_here() -> object | None:
    """Return the running task, of asyncio or trio; None outside of one."""
    if _trio_runs_here():
        return cast(object, sys.modules["trio"].lowlevel.current_task())
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _trio_runs_here() -> bool:
    """Whether a task of trio asks; trio is not imported to find that out."""
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()  # trio can be asked outright since 0.29 only
    except RuntimeError:
        return False
    return True
