"""Whose time is simulated, and whose is real?"""

import sys
import threading
import time
import types

import pytest

from pytest_hsmcluster.apptime.callers import keeps_real_time
from tests.apptime.conftest import simulated


def module(name: str) -> types.ModuleType:
    """Return a module of this name that tells and waits."""
    made = types.ModuleType(name)
    code = """
import threading, time

def now(): return time.monotonic()
def wait(seconds): return threading.Event().wait(seconds)
"""
    exec(code, made.__dict__)
    return made


@pytest.mark.parametrize(
    "name", ["pytest", "_pytest.runner", "pytest_timeout", "xdist.remote", "execnet", "coverage", "subprocess", "trio"]
)
def test_who_runs_tests_keeps_real_time(app_time: object, name: str) -> None:
    """By the module from which a clock is asked, or that has an event wait."""
    assert keeps_real_time(name)
    assert module(name).now() != time.monotonic()
    began = time.monotonic()
    assert module(name).wait(0.001) is False
    assert time.monotonic() == began


@pytest.mark.parametrize(
    "name", ["app", "tenacity.nap", "queue", "asyncio.base_events", "pytester", "socks", "trio_app"]
)
def test_everybody_else_on_the_thread_lives_in_simulated_time(app_time: object, name: str) -> None:
    """The standard library, retry libraries, and names that only look like those of test tools."""
    assert not keeps_real_time(name)
    assert module(name).now() == time.monotonic()


def test_threads_from_before_keep_real_time() -> None:
    """They are not the application's: their clocks are real, and so are their waits."""
    asked, told = threading.Event(), list[float]()

    def serve() -> None:
        asked.wait()
        told.append(time.monotonic())
        threading.Event().wait(0.001)
        told.append(time.monotonic())

    thread = threading.Thread(target=serve)
    thread.start()
    with simulated():
        asked.set()
        thread.join()
        assert time.monotonic() == 1_000_000
    assert told[1] - told[0] >= 0.001
    assert told[0] < time.monotonic()


def test_coverage_and_profilers_ask_the_real_clock(app_time: object) -> None:
    """What Python calls from C asks on behalf of nobody's module; a trace function is served too."""
    seen = list[str]()
    old = sys.gettrace()
    sys.settrace(lambda frame, event, argument: seen.append(event))
    try:
        time.sleep(1)
    finally:
        sys.settrace(old)
    assert seen
