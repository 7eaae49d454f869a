"""What do the clocks show, and what does `time.sleep` do, while an application lives in simulated time?

Each function stands in for the one of the same name.  A caller that keeps real time gets the real one.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..sim.clock import NS
from ..sim.scheduler import FOREVER_NS
from .callers import here

EPOCH_NS = 1_735_689_600 * NS
"""The wall clock's instant when simulated time begins, 2025-01-01 00:00:00 UTC: the same in every run."""

MONOTONIC_NS = 1_000_000 * NS
"""What the other clocks show then: so much that nothing seems to have been done a moment ago."""

_real_sleep = time.sleep
_real_time, _real_time_ns = time.time, time.time_ns
_real_monotonic, _real_monotonic_ns = time.monotonic, time.monotonic_ns
_real_perf_counter, _real_perf_counter_ns = time.perf_counter, time.perf_counter_ns


def timeout_ns(seconds: float | None) -> int | None:
    """Return a time-out in ns; what is not above 0 gives no time, what is beyond 146 years has no end."""
    if seconds is None or seconds * NS >= FOREVER_NS:
        return None
    return round(seconds * NS) if seconds > 0 else 0


def sleep(seconds: float, /) -> None:
    """Let simulated time pass.

    Raises:
        ValueError: negative or not a number, with the texts of `time.sleep`.
        OverflowError: more than 146 years.
    """
    company = here()
    if company is None:
        return _real_sleep(seconds)
    if not isinstance(seconds, int | float):
        seconds = seconds.__index__()
    if math.isnan(seconds):
        raise ValueError("Invalid value NaN (not a number)")
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    if seconds * NS >= FOREVER_NS:
        raise OverflowError("timestamp too large to convert to C PyTime_t")
    company.wait(round(seconds * NS))


def time_ns() -> int:
    company = here()
    return _real_time_ns() if company is None else EPOCH_NS + company.now_ns


def wall_clock() -> float:
    company = here()
    return _real_time() if company is None else (EPOCH_NS + company.now_ns) / NS


def monotonic_ns() -> int:
    company = here()
    return _real_monotonic_ns() if company is None else MONOTONIC_NS + company.now_ns


def monotonic() -> float:
    company = here()
    return _real_monotonic() if company is None else (MONOTONIC_NS + company.now_ns) / NS


def perf_counter_ns() -> int:
    company = here()
    return _real_perf_counter_ns() if company is None else MONOTONIC_NS + company.now_ns


def perf_counter() -> float:
    company = here()
    return _real_perf_counter() if company is None else (MONOTONIC_NS + company.now_ns) / NS


STAND_INS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    _real_sleep: sleep,
    _real_time: wall_clock,
    _real_time_ns: time_ns,
    _real_monotonic: monotonic,
    _real_monotonic_ns: monotonic_ns,
    _real_perf_counter: perf_counter,
    _real_perf_counter_ns: perf_counter_ns,
}
"""The real function → what stands in for it."""
