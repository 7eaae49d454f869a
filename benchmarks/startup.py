"""What does an installed plugin cost a test run that does not use it?

Runs pairs of one plain test, with the plugin and with `-p no:hsmcluster`, interleaved, and prints
the median difference.  Other plugins are switched off: they would only add noise to both sides.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS = int(os.environ.get("PAIRS", "60"))


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_plain.py").write_text("def test_plain():\n    assert True\n")
        differences = []
        for number in range(PAIRS + 2):
            pair = [("with", ("-p", "hsmcluster")), ("without", ())]
            took = {name: run(folder, extra) for name, extra in (pair if number % 2 else pair[::-1])}
            if number >= 2:  # the first two warm the disk
                differences.append((took["with"] - took["without"]) * 1000)
    low, middle, high = statistics.quantiles(differences, n=4)
    print(f"start-up cost: median {middle:.1f} ms, quartiles {low:.1f} … {high:.1f} ms, {PAIRS} interleaved pairs")


def run(folder: str, extra: tuple[str, ...]) -> float:
    """Return the seconds that one test run takes, to the very end of its process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *extra, folder]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder, env=environment)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
