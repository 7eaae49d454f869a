"""What do the clocks show, and what does `time.sleep` do, while an application lives in simulated time?

Each function stands in for the one of the same name.  A caller that keeps real time gets the real one.
"""

import time
from collections.abc import Callable, Mapping
from operator import index
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


def sleep(seconds: float, /) -> None:
    """Let simulated time pass.

    Raises:
        ValueError, OverflowError, TypeError: what `time.sleep` raises for this, in its words.
        OverflowError: more than 146 years, too; `time.sleep` goes to 292.
    """
    company = here()
    if company is None or company.actor() is None:
        return _real_sleep(seconds)
    number = seconds if isinstance(seconds, int | float) else index(seconds)
    if 0 <= number * NS < FOREVER_NS:
        company.wait(round(number * NS))
    elif 0 <= number * NS < 2 * FOREVER_NS:
        raise OverflowError("simulated time does not go on for more than 146 years")
    else:
        _real_sleep(seconds)  # which refuses, and does not wait


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
