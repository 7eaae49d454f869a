"""How long does a run take from the end of its first test to the end of its last?  A plugin for `benchmarks/sweeps.py`.

In the first test everything is imported: what comes after it is what a sweep costs, its unseen second run included.
"""

import json
import os
import time
from pathlib import Path

import pytest

TIMES: list[float] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the time; on xdist's controller too, which hears of every report."""
    if report.when == "teardown":
        TIMES.append(time.perf_counter())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was seen."""
    if TIMES and not hasattr(session.config, "workerinput"):
        seen = {"seconds": TIMES[-1] - TIMES[0], "cases": len(TIMES) - 1}
        Path(os.environ["SEEN"]).write_text(json.dumps(seen))
