"""Does another library simulate time already?

It has to be asked before the real functions are looked up: those that one finds might be the other's.
"""

import sys
import time
from types import BuiltinFunctionType
from typing import Any

from ..errors import UsageError

_WAY_OUT = (
    ", and in hsm_app_time and run() the application lives in the cluster's time: leave one of them out "
    "(a fixed date is no loss: simulated time begins at 2025-01-01 00:00 UTC in every run)"
)


def check_alone(*, started: bool = True) -> None:
    """Refuse to share time with another library.

    Args:
        started: whether our stand-ins are in place.

    Raises:
        UsageError: names the library.
    """
    hatch = getattr(sys.modules.get("time_machine"), "escape_hatch", None)
    if hatch is not None and hatch.is_travelling():
        raise UsageError(f"time-machine has replaced the clocks{_WAY_OUT}")
    for name in ("time", "monotonic", "sleep"):
        found = getattr(time, name)
        if _ours(found):
            continue
        if not isinstance(found, BuiltinFunctionType):
            who = (getattr(found, "__module__", None) or type(found).__name__).partition(".")[0]
            raise UsageError(f"{who} has replaced time.{name}{_WAY_OUT}")
        if started:
            raise UsageError(
                f"something has put the real time.{name} back, as freezegun does at the end of its block{_WAY_OUT}"
            )


def check_loop(loop: object) -> None:
    """Refuse a loop of asyncio whose time looptime simulates.

    Raises:
        UsageError: says how to switch looptime off.
    """
    if getattr(loop, "looptime_on", False):
        raise UsageError(
            "looptime simulates the time of this asyncio loop already, and hsm_app_time would, too: leave one of them "
            "out (@pytest.mark.looptime(False) switches looptime off for a test)"
        )


def _ours(found: Any) -> bool:
    return str(getattr(found, "__module__", "")).startswith("pytest_hsmcluster.")
