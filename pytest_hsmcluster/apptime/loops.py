"""How does an asyncio loop wait in simulated time?

A loop that has nothing to do waits in the `select` of its selector, until its next timer at the latest.  There
simulated time passes: an answer of the cluster, the timer, or an event on a real socket ends it.
"""

import selectors
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from ..drivers.company import AT_WORK
from ..errors import Stuck, UsageError
from .callers import here
from .clocks import timeout_ns


def _stand_in(real: Any) -> Any:
    def select(self: Any, timeout: float | None = None) -> Any:
        caller = sys._getframe(1)
        company = here() if AT_WORK and _is_loop(caller) else None
        me = company.actor() if company is not None else None
        if company is None or me is None:
            return real(self, timeout)
        found = real(self, 0)
        wait_ns = timeout_ns(timeout)
        if found or (wait_ns == 0 and company.alone):
            return found
        try:
            company.wait_until(lambda: bool(found.extend(real(self, 0)) or found), wait_ns, "its event loop")
        except Stuck as stuck:
            if me.on_stuck is None:
                return real(self, timeout)  # it may serve a real socket, and for that it waits in real time
            me.on_stuck(stuck)
        return found

    return select


def _is_loop(caller: FrameType) -> bool:
    module = caller.f_globals.get("__name__", "")
    if module.partition(".")[0] == "looptime" and getattr(caller.f_locals.get("self"), "looptime_on", False):
        raise UsageError(
            "looptime simulates the time of this asyncio loop already, and hsm_app_time would, too: leave one of them "
            "out (@pytest.mark.looptime(False) switches looptime off for a test)"
        )
    return bool(module == "asyncio.base_events")


_NAMES = ("EpollSelector", "KqueueSelector", "DevpollSelector", "PollSelector", "SelectSelector")

METHODS: Mapping[tuple[Any, str], Any] = {
    (kind, "select"): _stand_in(kind.select)
    for kind in (getattr(selectors, name, None) for name in _NAMES)
    if kind is not None
}
"""Owner and name → what stands in for it."""
