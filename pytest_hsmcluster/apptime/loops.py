"""How does an asyncio loop wait in simulated time?

A loop that has nothing to do waits in the `select` of its selector, until its next timer at the latest.  There
simulated time passes: an answer of the cluster, the timer, or an event on a real socket ends it.
"""

import selectors
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from ..drivers.actors import LOOKS_AT_ONCE
from ..drivers.company import AT_WORK
from ..errors import Stuck
from ..sim.clock import NS
from ..sim.scheduler import FOREVER_NS
from .callers import company_of
from .neighbours import check_loop

PATIENT_S = 0.005
"""Real seconds for each look of the company's patience, while a thread that is no actor might call the loop."""


def _stand_in(real: Any) -> Any:
    def select(self: Any, timeout: float | None = None) -> Any:
        company = company_of(sys._getframe(1)) if AT_WORK and _is_loop(sys._getframe(1)) else None
        me = company.actor() if company is not None else None
        if company is None or me is None:
            return real(self, timeout)
        found = real(self, 0)
        wait_ns = None if timeout is None or timeout * NS >= FOREVER_NS else max(0, round(timeout * NS))
        if found or (wait_ns == 0 and company.alone and me.looks < LOOKS_AT_ONCE):
            me.looks += 1
            return found
        try:
            company.wait_until(lambda: bool(found.extend(real(self, 0)) or found), wait_ns, "its event loop")
        except Stuck as stuck:
            if sum(heard(stuck) for heard in me.on_stuck):  # all of them shall hear of it
                return found
            if len(self.get_map()) > 1:  # beside the loop's own pipe there is a real socket
                return real(self, timeout)
            if not company.accompanied() or not (found := real(self, company.patience * PATIENT_S)):
                raise
        return found

    return select


def _is_loop(caller: FrameType) -> bool:
    if caller.f_globals.get("__name__", "").partition(".")[0] == "looptime":  # stands between, once it is installed
        check_loop(caller.f_locals.get("self"))
        caller = caller.f_back or caller
    return bool(caller.f_globals.get("__name__") == "asyncio.base_events")


_NAMES = ("EpollSelector", "KqueueSelector", "DevpollSelector", "PollSelector", "SelectSelector")

METHODS: Mapping[tuple[Any, str], Any] = {
    (kind, "select"): _stand_in(kind.select)
    for kind in (getattr(selectors, name, None) for name in _NAMES)
    if kind is not None
}
"""Owner and name → what stands in for it."""
