"""When does an application live in simulated time?"""

import threading
import time

import pytest

from pytest_hsmcluster import HsmCluster, UsageError
from tests.apptime.conftest import simulated


def test_blocks_follow_each_other(app_time: object) -> None:
    """Nested use is refused, on this thread and on those that it starts, and harms nobody."""
    with pytest.raises(UsageError, match="lives in simulated time already"), simulated():
        pass
    told = list[str]()

    def nest() -> None:
        try:
            with simulated():
                pass
        except UsageError as error:
            told.append(str(error))

    thread = threading.Thread(target=nest)
    thread.start()
    thread.join()
    assert len(told) == 1
    time.sleep(1)
    assert time.monotonic() == 1_000_001


def test_run_takes_the_time_of_the_block(app_time: object) -> None:
    """Functions of `cluster.run` and the application around them have one clock."""
    with HsmCluster(1, seed=1) as cluster:
        time.sleep(5)
        assert cluster.run(lambda: time.sleep(10) or time.monotonic()) == [1_000_015]
        assert time.monotonic() == 1_000_015


def test_cluster_from_before_and_from_within_live_on(app_time: object) -> None:
    """Clusters of one application have one time, whenever they were made."""
    with HsmCluster(1, seed=1) as one:
        time.sleep(10)
        with HsmCluster(1, seed=2) as two:
            time.sleep(10)
            assert (one.clock.now, two.clock.now) == (20, 10)
        time.sleep(10)
        assert one.clock.now == 30


def test_cluster_with_a_real_clock_is_refused(app_time: object) -> None:
    with pytest.raises(UsageError, match='cannot use a cluster of clock="real"'):
        HsmCluster(1, clock="real")


def test_error_of_the_block_is_raised_as_it_is() -> None:
    """Threads that are left are ended, and hide nothing."""
    with pytest.raises(KeyError, match="the reason"), simulated():
        threading.Thread(target=time.sleep, args=(10,)).start()
        raise KeyError("the reason")
    assert threading.active_count() == 1 or "hsmcluster watches" not in [one.name for one in threading.enumerate()]
