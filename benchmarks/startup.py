"""What does an installed plugin cost a test run that does not use it?

Runs pairs of one plain test, with the plugin and without, interleaved, each to the very end of its
process, and prints the median differences of processor time and of elapsed time.  Other plugins are
switched off: they would only add noise to both sides.
"""

import os
import resource
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
        processor, elapsed = [], []
        for number in range(PAIRS + 2):
            pair = [("with", ("-p", "hsmcluster")), ("without", ())]
            took = {name: run(folder, extra) for name, extra in (pair if number % 2 else pair[::-1])}
            if number >= 2:  # the first two warm the disk
                processor.append((took["with"][0] - took["without"][0]) * 1000)
                elapsed.append((took["with"][1] - took["without"][1]) * 1000)
    for what, differences in (("processor time", processor), ("elapsed time", elapsed)):
        low, middle, high = statistics.quantiles(differences, n=4)
        print(f"start-up cost, {what}: median {middle:.1f} ms, quartiles {low:.1f} … {high:.1f} ms, {PAIRS} pairs")


def run(folder: str, extra: tuple[str, ...]) -> tuple[float, float]:
    """Return the seconds of processor time and of elapsed time that one test run takes."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *extra, folder]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    before, started = _processor_s(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder, env=environment)
    return _processor_s() - before, time.perf_counter() - started


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
