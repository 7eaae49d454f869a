"""How do an application's own threads become actors, and what do they do while they wait for each other?

Everything of the standard library in which one thread waits for another, locks excepted, waits in
`threading.Condition.wait` in the end: events, semaphores, barriers, queues, futures.
"""

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..drivers.actors import Actor, ActorEnded, State
from ..drivers.company import Company
from ..sim.clock import NS
from ..sim.scheduler import FOREVER_NS
from .callers import company_of, here

_real_wait = threading.Condition.wait
_real_start, _real_join, _real_is_alive = threading.Thread.start, threading.Thread.join, threading.Thread.is_alive

_real_make_pool = ThreadPoolExecutor.__init__


def timeout_ns(seconds: float | None) -> int | None:
    """Return how long a wait may take, in ns; 0 only for what is not above 0; what is beyond 146 years has no end.

    Raises:
        TypeError, OverflowError: what the real wait raises for this, in its words.
    """
    if seconds is None:
        return None
    if not seconds > 0:  # NaN is not above 0 either, says `Condition.wait`
        return 0
    if seconds > threading.TIMEOUT_MAX:
        threading.Lock().acquire(timeout=seconds)  # refuses
    return None if seconds * NS >= FOREVER_NS else max(1, round(seconds * NS))


class _Waiter:
    """Stands in a condition's queue for an actor that waits there; `release` is what `notify` calls."""

    def __init__(self, actor: Actor) -> None:
        self.notified = False
        self._actor = actor

    def release(self) -> None:
        self.notified = True
        self._actor.wake()


class _Condition(threading.Condition):
    """What is private to conditions, for the type checker."""

    _waiters: deque[Any]
    _is_owned: Callable[[], bool]
    _release_save: Callable[[], Any]
    _acquire_restore: Callable[[Any], None]


def wait(self: _Condition, timeout: float | None = None) -> bool:
    """Wait in simulated time until notified; other actors have their turns meanwhile."""
    company = here()
    me = company.actor() if company is not None else None
    if company is None or me is None:
        return _real_wait(self, timeout)
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    limit_ns = timeout_ns(timeout)
    waiter = _Waiter(me)
    self._waiters.append(waiter)
    saved = self._release_save()
    try:
        company.wait_until(lambda: waiter.notified, limit_ns, "a notification")
    except ActorEnded:
        if timeout is not None or not _belongs_to_a_pool(threading.current_thread()):
            raise
        company.discharge(me)
    finally:
        self._acquire_restore(saved)
        if not waiter.notified and waiter in self._waiters:
            self._waiters.remove(waiter)
    if me.state is State.ENDED and not waiter.notified:
        return _real_wait(self, None)  # a pool that nobody has shut down keeps its idle threads
    return waiter.notified


class _Thread(threading.Thread):
    """What a thread that is an actor has of ours, for the type checker."""

    hsm_actor: tuple[Company, Actor] | None
    _started: threading.Event
    _target: Callable[..., object] | None


def start(self: _Thread) -> None:
    """Start a thread as an actor, if an actor starts it."""
    company = company_of(sys._getframe(1))
    me = company.actor() if company is not None else None
    if company is None or me is None or self._started.is_set():
        return _real_start(self)
    actor = company.enlist(self.name)
    work = self.run

    def act() -> None:
        try:
            company.live(actor, work)
        finally:
            del self.run

    self.run, self.hsm_actor = act, (company, actor)  # type: ignore[method-assign]
    with me.for_real():
        _real_start(self)


def join(self: _Thread, timeout: float | None = None) -> None:
    """Wait in simulated time for the end of a thread that is an actor."""
    company = here()
    me = company.actor() if company is not None else None
    theirs = getattr(self, "hsm_actor", None)
    if company is None or me is None or theirs is None or theirs[1] is me:
        return _real_join(self, timeout)
    ended = company.wait_until(lambda: theirs[1].state is State.ENDED, timeout_ns(timeout), f"{self.name} to end")
    if ended:
        with me.for_real():
            _real_join(self)


def is_alive(self: _Thread) -> bool:
    """Whether a thread that is an actor has not ended, seen from another one."""
    theirs = getattr(self, "hsm_actor", None)
    if theirs is not None and theirs[1].state is State.ENDED and here() is not None:
        return False
    return _real_is_alive(self)


class _InOrder(dict[Any, None]):
    """A set of threads in the order in which they came: a pool joins its threads in the order of this."""

    def add(self, thread: Any) -> None:
        self[thread] = None


def make_pool(self: Any, *args: Any, **kwargs: Any) -> None:
    """Make a pool of threads, which it keeps in order if an actor makes it."""
    _real_make_pool(self, *args, **kwargs)
    if here() is not None:
        self._threads = _InOrder()


def _belongs_to_a_pool(thread: Any) -> bool:
    return getattr(getattr(thread, "_target", None), "__module__", None) == "concurrent.futures.thread"


METHODS: Mapping[tuple[Any, str], Any] = {
    (threading.Condition, "wait"): wait,
    (threading.Thread, "start"): start,
    (threading.Thread, "join"): join,
    (threading.Thread, "is_alive"): is_alive,
    (ThreadPoolExecutor, "__init__"): make_pool,
    (queue, "SimpleQueue"): queue._PySimpleQueue,  # type: ignore[attr-defined]  # the one in C waits out of sight
}
"""Owner and name → what stands in for it."""
