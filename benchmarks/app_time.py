"""How much faster than real time is an application that waits?

It retries with tenacity, exponentially and at most every five minutes, for half an hour, while two of three HSMs are
lost and their replacements join: what entering and leaving simulated time, the cluster and the key cost is all counted.
"""

import statistics
import time
from functools import partial

import tenacity

from pytest_hsmcluster import ClusterError, HsmCluster
from pytest_hsmcluster.apptime.apptime import AppTime
from pytest_hsmcluster.drivers.actors import Order
from pytest_hsmcluster.sim.entropy import Entropy

ROUNDS = 200
GOAL = 100_000

_CLOCKS = (time.perf_counter,)  # where no stand-in gets


def main() -> None:
    """Measure and print."""
    half_an_hour()  # what is imported and looked through at first use
    rounds = [half_an_hour() for _ in range(ROUNDS)]
    simulated_s = rounds[0][0]
    low, middle, high = statistics.quantiles([real_s for _, real_s in rounds], n=4)
    print(
        f"{simulated_s:,.0f} s of retries while an HSM is replaced: {middle * 1000:.2f} ms "
        f"({low * 1000:.2f} … {high * 1000:.2f})"
    )
    print(f"    {simulated_s / middle:,.0f} × real time; the goal is {GOAL:,} ×")


def half_an_hour() -> tuple[float, float]:
    """Return how many seconds passed for the application, and how many in reality."""
    real = _CLOCKS[0]
    began_s = real()
    shape = partial(HsmCluster, 3, seed=7, sdk=3, create_object_minimum_nodes=2, join_active_s=1800)
    with AppTime(Order(Entropy(7).stream("order/0"))), shape() as cluster:
        client = cluster.client()
        for hsm in ("hsm-1", "hsm-2"):
            cluster.chaos.replace(hsm)

        @tenacity.retry(retry=tenacity.retry_if_exception_type(ClusterError), wait=tenacity.wait_exponential(max=300))
        def make() -> None:
            client.generate_key("AES", 256, label="kek")

        make()
        simulated_s = cluster.clock.now
    return simulated_s, real() - began_s


if __name__ == "__main__":
    main()
