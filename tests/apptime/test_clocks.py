"""What do the clocks show, and what does `time.sleep` do, in simulated time?"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from pytest_hsmcluster import HsmCluster
from tests.apptime.conftest import simulated

NOW_S = 1_735_689_600  # 2025-01-01 00:00 UTC

CLOCKS = [time.time, time.monotonic, time.perf_counter]
CLOCKS_NS = [time.time_ns, time.monotonic_ns, time.perf_counter_ns]


@pytest.mark.parametrize("name", ["time", "monotonic", "perf_counter"])
def test_each_clock_goes_on_by_what_is_slept(app_time: object, name: str) -> None:
    """To the nanosecond, in both units; in between time stands still."""
    seconds, ns = getattr(time, name), getattr(time, f"{name}_ns")
    began, began_ns = seconds(), ns()
    assert seconds() == began
    time.sleep(0.000_000_001)
    assert ns() - began_ns == 1
    time.sleep(86_400)
    assert ns() - began_ns == 86_400_000_000_001
    assert seconds() - began == pytest.approx(86_400)


def test_simulated_time_begins_at_the_same_instant_in_every_run() -> None:
    """New Year 2025; the clocks that count from nowhere show a million seconds."""
    for _ in range(2):
        with simulated():
            assert (time.time(), time.time_ns()) == (NOW_S, NOW_S * 10**9)
            assert time.monotonic() == time.perf_counter() == 1_000_000
            time.sleep(5)


def test_functions_that_a_module_imported_are_simulated_too(app_time: object) -> None:
    """`from time import sleep, monotonic`, as this module does."""
    began = monotonic()
    sleep(1800)
    assert monotonic() - began == 1800


def test_cluster_lives_on_while_the_application_sleeps(app_time: object) -> None:
    """Sweeps happen, and a deadline of the application and the cluster's clock agree."""
    with HsmCluster(3, seed=1) as cluster:
        began = time.monotonic()
        time.sleep(600)
        assert cluster.clock.now == time.monotonic() - began == 600
        cluster.clock.advance(60)
        assert time.monotonic() - began == 660


def test_call_of_the_cluster_takes_the_application_time(app_time: object) -> None:
    with HsmCluster(3, seed=1) as cluster:
        client, began = cluster.client(), time.monotonic_ns()
        at_ns = cluster.clock.now_ns
        client.generate_key("AES", 256, label="kek")
        assert time.monotonic_ns() - began == cluster.clock.now_ns - at_ns > 0


@pytest.mark.parametrize("seconds", [-1, -0.001, -math.inf, math.nan, math.inf, 1e300, 10**30, 10**400, "1", None, [1]])
def test_bad_duration_is_refused_as_by_the_real_sleep(seconds: Any) -> None:
    """The same error with the same words; no time has passed."""
    with pytest.raises(Exception) as real:
        time.sleep(seconds)
    with simulated() as app_time:
        with pytest.raises(type(real.value)) as raised:
            time.sleep(seconds)
        assert app_time.company.now_ns == 0
    assert str(raised.value) == str(real.value)


def test_sleep_of_more_than_146_years_is_refused(app_time: object) -> None:
    """The real one goes to 292 years; that is the only difference."""
    time.sleep(100 * 365 * 86_400)
    with pytest.raises(OverflowError, match="146 years"):
        time.sleep(200 * 365 * 86_400)


@pytest.mark.parametrize("seconds", [True, 1, 1.0])
def test_what_counts_as_a_second_is_slept(app_time: object, seconds: float) -> None:
    began = time.monotonic()
    time.sleep(seconds)
    assert time.monotonic() - began == 1


def test_polling_comes_to_its_end(app_time: object) -> None:
    """A loop that sleeps for no time does so in no time, a hundred times; then time passes, or it would never end."""
    began = time.monotonic()
    for _ in range(100):
        time.sleep(0)
    assert time.monotonic() == began
    while time.monotonic() <= began + 1:
        time.sleep(0)
    assert time.monotonic() - began == pytest.approx(1, abs=0.001)


def test_generators_and_context_managers_sleep(app_time: object) -> None:
    def ticks() -> Iterator[float]:
        while True:
            yield time.monotonic()
            time.sleep(5)

    with contextlib.closing(ticks()) as ticking:
        first = next(ticking)
        assert [next(ticking) - first for _ in range(3)] == [5, 10, 15]


def test_log_records_have_the_simulated_instant(app_time: object, caplog: pytest.LogCaptureFixture) -> None:
    """Logging works on, and its stamps are those of the application's clock."""
    logging.getLogger("app").warning("before")
    time.sleep(60)
    logging.getLogger("app").warning("after")
    assert [record.created for record in caplog.records] == [NOW_S, NOW_S + 60]


@pytest.mark.parametrize("clock", [*CLOCKS, *CLOCKS_NS], ids=lambda clock: clock.__name__)
def test_clock_that_is_kept_elsewhere_stays_real(app_time: object, clock: Callable[[], float]) -> None:
    """A default argument, a list, a class attribute that hold a function from before: nobody finds them there."""
    assert clock() not in (NOW_S, 1_000_000, NOW_S * 10**9, 10**15)
