"""How many scenarios a second does the library play, and does it matter what else is in the process?

Three HSMs, five calls, one fault, checks on; without pytest and Hypothesis.  A simulator that collects garbage for each
seed grows slower with everything that somebody else has imported, so the same is measured beside a large heap.
"""

import statistics
import time
from itertools import count

from pytest_hsmcluster.stories.drawing import scenario
from pytest_hsmcluster.stories.playing import play

ROUNDS = 9
SCENARIOS = 500
STRANGERS = 2_000_000


def main() -> None:
    """Measure and print."""
    seeds = count()
    rate(seeds)  # what is imported at first use
    alone = [rate(seeds) for _ in range(ROUNDS)]
    strangers = [[number] for number in range(STRANGERS)]
    crowded = [rate(seeds) for _ in range(ROUNDS)]
    print(f"scenarios a second: {told(alone)}")
    print(f"beside {len(strangers):,} lists of somebody else: {told(crowded)}")
    print(f"    {statistics.median(crowded) / statistics.median(alone):.2f} × as many")


def rate(seeds: "count[int]") -> float:
    """Return how many scenarios a second were played."""
    began = time.perf_counter()
    for _ in range(SCENARIOS):
        play(scenario(next(seeds)))
    return SCENARIOS / (time.perf_counter() - began)


def told(rates: list[float]) -> str:
    """Return median and quartiles."""
    low, middle, high = statistics.quantiles(rates, n=4)
    return f"{middle:,.0f} ({low:,.0f} … {high:,.0f})"


if __name__ == "__main__":
    main()
