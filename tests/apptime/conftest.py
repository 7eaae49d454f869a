"""What do tests of simulated time need?"""

from collections.abc import Iterator

import pytest

from pytest_hsmcluster.apptime.apptime import AppTime
from pytest_hsmcluster.drivers.actors import Order
from pytest_hsmcluster.sim.entropy import Entropy


def simulated(seed: int = 7) -> AppTime:
    return AppTime(Order(Entropy(seed).stream("order/0")))


@pytest.fixture
def app_time() -> Iterator[AppTime]:
    """The test lives in simulated time, without a cluster."""
    with simulated() as time:
        yield time
