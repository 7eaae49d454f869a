"""What does an installed plugin cost a test run that does not use it?

Runs pairs of one plain test, with the plugin as it is installed and with `-p no:hsmcluster`, interleaved,
each to the very end of its process.  Prints the difference between the fastest runs of both sides, which
a noisy machine disturbs least, and the median difference with its quartiles.  Other plugins are switched
off: they would only add noise to both sides.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS = int(os.environ.get("PAIRS", "60"))
OTHERS = ("anyio", "asyncio", "benchmark", "faker", "hypothesispytest", "randomly", "rerunfailures", "timeout", "xdist")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_plain.py").write_text("def test_plain():\n    assert True\n")
        sides: dict[str, list[float]] = {"with": [], "without": []}
        for number in range(PAIRS):
            for side in ("with", "without") if number % 2 else ("without", "with"):
                sides[side].append(run(folder, side == "with") * 1000)
    differences = [with_it - without for with_it, without in zip(sides["with"], sides["without"], strict=True)]
    low, middle, high = statistics.quantiles(differences, n=4)
    print(
        f"start-up cost: {min(sides['with']) - min(sides['without']):.1f} ms between the fastest runs; "
        f"median {middle:.1f} ms, quartiles {low:.1f} … {high:.1f} ms; {PAIRS} pairs, "
        f"a run without takes {min(sides['without']):.0f} ms at least"
    )


def run(folder: str, with_it: bool) -> float:
    """Return the seconds that one test run takes, to the end of its process."""
    blocked = OTHERS if with_it else (*OTHERS, "hsmcluster")
    switches = [word for name in blocked for word in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *switches, folder]
    started = time.perf_counter()
    # Where nothing is kept, pytest rewrites the assertions of every plugin anew in each run.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, cwd=folder, env=kept)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
