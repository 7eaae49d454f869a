"""What does a case of a sweep cost, and what do two workers bring?

Each number is the median of several runs in processes of their own, interleaved with what it is compared with, from
the end of the first test to that of the last: start-up and the import of `cryptography` are left out.  Other plugins
are switched off.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS = int(os.environ.get("ROUNDS", "5"))
HEAVY = 80
"""Documents that make a case cost 20 ms or more."""


def main() -> None:
    """Measure and print."""
    swept, plain = interleaved(lambda: run("vault_rotation"), lambda: run("plain", "-p", "no:hsmcluster", TESTS="700"))
    print(f"a swept rotation of one kilobyte: {ms(swept)} ms a case, {1 / statistics.median(swept):.0f} cases a second")
    print(
        f"a test that does nothing, without the plugin: {ms(plain)} ms; {ratio(swept, plain):.1f} × as much for a case"
    )
    for sizes in ({"SHARDS": "8"}, {"SHARDS": "8", "DOCUMENTS": str(HEAVY), "OP": "generate_key"}):
        one, two = interleaved(partial(workers, 1, sizes), partial(workers, 2, sizes))
        print(f"-n 2 against -n 1, {ms(one)} ms a case: {ratio(one, two):.2f} × as fast")


def workers(number: int, sizes: dict[str, str]) -> float:
    """Return the seconds a case takes on so many workers."""
    return run("vault_rotation", "-p", "xdist.plugin", "-n", str(number), "--dist", "worksteal", **sizes)


def run(module: str, *arguments: str, **environment: str) -> float:
    """Return the seconds that one case of a module takes."""
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder, "seen.json")
        switches = ["-q", "-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib", "-p", "no:cacheprovider"]
        plugin = [] if "no:hsmcluster" in arguments else ["-p", "hsmcluster"]
        command = [sys.executable, "-m", "pytest", *switches, "-p", "benchmarks.swept.watch", *plugin, *arguments]
        subprocess.run(
            [*command, f"benchmarks/swept/{module}.py"],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, **environment, "SEEN": str(seen), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        told = json.loads(seen.read_text())
    return float(told["seconds"]) / int(told["cases"])


def interleaved(one: Callable[[], float], other: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Return what both sides took in each round, in seconds."""
    sides: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS):
        for side, measure in ((0, one), (1, other)) if number % 2 else ((1, other), (0, one)):
            sides[side].append(measure())
    return sides


def ms(seconds: list[float]) -> str:
    """Return median and range in ms."""
    return f"{statistics.median(seconds) * 1000:.2f} ({min(seconds) * 1000:.2f} … {max(seconds) * 1000:.2f})"


def ratio(one: list[float], other: list[float]) -> float:
    """Return the median ratio of the two sides, round by round."""
    return statistics.median(mine / theirs for mine, theirs in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
