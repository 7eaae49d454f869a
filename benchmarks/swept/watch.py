"""How long does a run take from its first report to its last?  A plugin for `benchmarks/sweeps.py`."""

import json
import os
import time
from pathlib import Path

import pytest

TIMES: list[float] = []
CASES: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the time; on xdist's controller too, which hears of every report."""
    TIMES.append(time.perf_counter())
    if report.when == "call":
        CASES.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was seen."""
    if TIMES and not hasattr(session.config, "workerinput"):
        seen = {"seconds": TIMES[-1] - TIMES[0], "cases": len(CASES)}
        Path(os.environ["SEEN"]).write_text(json.dumps(seen))
