"""How does a plain function call wait for a flow?"""

from collections.abc import Callable
from threading import get_ident
from typing import TypeVar, cast

from ..errors import Stuck, UsageError
from ..sim.clock import Pace
from ..sim.flow import Flow
from ..sim.scheduler import Scheduler
from ..sim.task import Task
from .company import AT_WORK, Company
from .pace import enter

T = TypeVar("T")


class BlockingDriver:
    """Steps the scheduler until the caller's own flow has ended.

    Whatever else is due meanwhile happens too: a sweep, a second client's background copies.  A caller who is one of
    several actors gives up its turn instead.
    """

    def __init__(self, scheduler: Scheduler, pace: Pace | None = None) -> None:
        self._scheduler = scheduler
        self._pace = pace
        self._drive = _at_once if pace is None else pace.drive

    def run(self, flow: Flow[T], lane: int, what: str) -> T:
        """Return what the flow returns, or raise what it raises.

        Raises:
            Stuck: nothing is left that could ever wake the flow.
            UsageError: called from inside a step of the same scheduler.
        """
        scheduler = self._scheduler
        if (company := AT_WORK.get(get_ident())) is not None:
            if not company.alone:
                return company.perform(scheduler, flow, lane, what)
            company.catch_up(scheduler)
        enter(scheduler, self._pace)
        try:
            due_ns = scheduler.next_due_ns()
            if due_ns is not None and due_ns <= scheduler.now_ns:
                task = scheduler.spawn(flow, lane, what)
            else:
                task = scheduler.adopt(flow, next(flow), lane, what)
        except StopIteration as end:
            scheduler.leave()
            return cast(T, end.value)
        except BaseException:
            scheduler.leave()
            raise
        task.collect = _collected
        try:
            self._drive(scheduler, lambda: task.done)
        except BaseException:
            with scheduler.alone:
                scheduler.end(task)
            raise
        return cast(T, task.result())

    def wait(self, duration_ns: int) -> bool:
        """Let an actor wait for so much time to pass in every world, and return whether the caller is one."""
        company = self.company()
        if company is not None:
            company.wait(duration_ns)
        return company is not None

    def company(self) -> Company | None:
        """Return the company in which the caller acts; it has an eye on this world from now on.

        Raises:
            UsageError: a real clock ties this world to real time.
        """
        company = AT_WORK.get(get_ident())
        if company is not None:
            if self._pace is not None:
                raise UsageError('an application in simulated time (hsm_app_time) cannot use a cluster of clock="real"')
            company.join(self._scheduler)
        return company


def _at_once(scheduler: Scheduler, done: Callable[[], bool]) -> None:
    """Step a scheduler that the caller drives until `done()`, and drive it no longer: no real time has to pass."""
    try:
        while not done():
            if scheduler.idle:
                raise Stuck(scheduler.who_waits())
            scheduler.step()
    finally:
        scheduler.leave()


def _collected(task: Task) -> None:
    """The driver that steps takes the result itself."""
