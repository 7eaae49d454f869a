"""How does a coroutine wait for a flow?

Under asyncio nobody blocks: while callers await, one callback at a time steps the scheduler
until a call has ended, hands over its result in that very step, and yields to the loop, so
that the awakened coroutine runs before simulated time goes on.
"""

import asyncio
from typing import TypeVar

from ..errors import Stuck, UsageError
from ..sim.clock import Pace
from ..sim.flow import Flow
from ..sim.scheduler import Scheduler, Task

# pytest prints the arguments of the frames of a traceback; keys and passwords are among ours.
__tracebackhide__ = True

T = TypeVar("T")


class AwaitingDriver:
    """Lets coroutines of one asyncio loop await flows."""

    def __init__(self, scheduler: Scheduler, pace: Pace | None = None) -> None:
        self._scheduler = scheduler
        self._pace = pace
        self._futures: dict[Task, asyncio.Future[object]] = {}
        self._pump_handle: asyncio.Handle | None = None
        self._handed_over = False

    async def run(self, flow: Flow[T], lane: int, what: str) -> T:
        """Return what the flow returns, or raise what it raises; cancelling ends the flow.

        Raises:
            UsageError: no asyncio loop runs here (trio, say).
            Stuck: nothing is left that could ever wake the flow.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            flow.close()
            raise UsageError(
                "the async client needs a running asyncio loop; under anyio choose the asyncio backend "
                '(`anyio_backend` returning "asyncio"), or use the blocking client'
            ) from None
        if self._pace is not None and not self._futures:
            self._scheduler.advance_to(self._pace.reached_ns())
        task = self._scheduler.spawn(flow, lane, what)
        task.collect = self._collect
        future: asyncio.Future[object] = loop.create_future()
        self._futures[task] = future
        self._arm(loop)
        try:
            return await future  # type: ignore[return-value]
        finally:
            self._futures.pop(task, None)
            self._scheduler.end(task)

    def close(self) -> None:
        """Forget whoever still awaits; their loop is about to end."""
        if self._pump_handle is not None:
            self._pump_handle.cancel()
            self._pump_handle = None
        for future in self._futures.values():
            if not future.get_loop().is_closed():
                future.cancel()
        self._futures.clear()

    def _collect(self, task: Task) -> None:
        future = self._futures.pop(task, None)
        if future is None or future.done():
            return
        self._handed_over = True
        if task.error is not None:
            future.set_exception(task.error)
        else:
            future.set_result(task.value)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._pump_handle is None and self._futures:
            self._pump_handle = loop.call_soon(self._pump, loop)

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pump_handle = None
        scheduler = self._scheduler
        self._handed_over = False
        scheduler.enter()
        try:
            while self._futures and not self._handed_over:
                if scheduler.idle:
                    raise Stuck(scheduler.who_waits())
                due_ns = scheduler.next_due_ns() or 0
                if self._pace is not None and (early_s := self._pace.early_s(due_ns)) > 0:
                    self._pump_handle = loop.call_later(early_s, self._pump, loop)
                    return
                scheduler.step()
        except Exception as error:
            for task, future in list(self._futures.items()):
                scheduler.end(task)
                if not future.done():
                    future.set_exception(error)
            self._futures.clear()
        finally:
            scheduler.stepping = False
        self._arm(loop)
