"""Are a thousand stories the same on every Python, on any number of workers, in any order and under load?

    python -m tests.determinism.proof [--stories=N] [--pythons="3.11 3.12"]

Each run tells all stories, with `PYTHONHASHSEED` and an order drawn at random, while other processes keep all cores
busy.  The first run is what the others are compared with.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_hsmcluster.history.difference import first_difference
from tests.determinism.digests import read_run
from tests.determinism.interpreters import FOLDER, MINORS, ROOT, Interpreter, interpreters
from tests.determinism.load import Load
from tests.determinism.telling import TELLER, journal_of, name_of

WORKERS = (0, 1, 2, 4)
SHOWN = 3
"""How many of the stories that differ are told about at length."""

_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


class RunFailed(Exception):
    """pytest did not get through the stories; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Run:
    """One telling of all stories.

    Attributes:
        python: executable of the virtual environment.
        name: of its folder and in the table.
        workers: of xdist; 0 is none.
        hash_seed: `PYTHONHASHSEED`.
        order: pytest-randomly's seed.
    """

    python: Path
    name: str
    workers: int
    hash_seed: int
    order: int

    def command(self, folder: Path, stories: int, like: str | None = None, teller: str = TELLER) -> list[str]:
        """Return the command that tells the stories into a folder of this name in a folder."""
        return [
            *(str(self.python), "-m", "pytest", "-c", os.devnull, "--rootdir=.", "--import-mode=importlib", "-q"),
            *("-W", "error", "-p", "no:cacheprovider", "-p", "xdist", "-p", "randomly"),
            *("-p", "tests.determinism.telling"),
            *("-n", str(self.workers), "--dist", "worksteal", f"--randomly-seed={self.order}"),
            *(f"--told={folder / self.name}", f"--stories={stories}", f"--teller={teller}"),
            *([f"--like={folder / like}"] if like else []),
            "tests/determinism/many_stories.py",
        ]

    def tell(self, folder: Path, stories: int, like: str | None = None, teller: str = TELLER) -> None:
        """Tell the stories and wait for the end.

        Raises:
            RunFailed: a story failed, or could not be told.
        """
        ended = subprocess.run(
            self.command(folder, stories, like, teller),
            cwd=ROOT,
            env=_ENVIRONMENT | {"PYTHONHASHSEED": str(self.hash_seed), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if ended.returncode:
            raise RunFailed(f"{self} failed:\n{ended.stdout[-4000:]}")

    def __str__(self) -> str:
        return f"{self.name} PYTHONHASHSEED={self.hash_seed} --randomly-seed={self.order}"


def runs_of(found: Sequence[Interpreter], workers: Sequence[int] = WORKERS) -> list[Run]:
    """Return a run of each Python on each number of workers, the hash seed and the order of each drawn by lot."""
    dice = random.SystemRandom()
    return [
        Run(python.python, f"{python.version} -n {number}", number, dice.randrange(2**32), dice.randrange(2**32))
        for python in found
        for number in workers
    ]


def compare(folder: Path, first: Run, other: Run, stories: int) -> dict[str, str]:
    """Return how a run tells stories otherwise than the first one: name of the story → text.

    A story that neither of them told is among them: it is no proof.
    """
    one, two = read_run(folder / first.name), read_run(folder / other.name)
    found = {}
    for name in map(name_of, range(stories)):
        silent = [run for run, told in ((first, one), (other, two)) if name not in told]
        if silent:
            found[name] = f"{name} was not told by {' and '.join(map(str, silent))}"
        elif one[name] != two[name]:
            mine, theirs = (journal_of(folder / run.name, name) for run in (first, other))
            part = first_difference(mine, theirs) or "the journals are equal, their digests are not"
            found[name] = f"{name} differs\n  first : {first}\n  second: {other}\n{part}"
    return found


def main() -> int:
    """Make the runs, print a table of them, and return 1 if any story differs or could not be told."""
    parser = argparse.ArgumentParser(prog="python -m tests.determinism.proof", description=__doc__.partition("\n")[0])
    parser.add_argument("--stories", type=int, default=1000, metavar="N")
    parser.add_argument("--pythons", default=" ".join(MINORS), help='such as "3.11 3.12"; default: all that are there')
    options = parser.parse_args()
    asked = interpreters(options.pythons.split())
    missing = [minor for minor, one in asked.items() if one is None]
    found = [one for one in asked.values() if one is not None]
    here, absent = ", ".join(one.version for one in found), f"; not here: {', '.join(missing)}" if missing else ""
    _say(f"Python {here}{absent}")
    for one in found:
        try:
            one.prepare()
        except subprocess.CalledProcessError as error:
            _say(f"{one.version} cannot have what a run needs:\n{error.stderr}")
            return 1
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="runs-", dir=FOLDER))
    try:
        with Load() as load:
            _say(f"{options.stories} stories each, while {load.cores} other processes keep {load.cores} cores busy")
            same = _prove(runs_of(found), folder, options.stories)
    except RunFailed as failed:
        _say(str(failed))
        return 1
    if not same:
        _say(f"the journals are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _prove(runs: Sequence[Run], folder: Path, stories: int) -> bool:
    """Make the runs, print a line about each, and return whether none differs from the first."""
    _say(f"\n{'run':14} {'PYTHONHASHSEED':>14} {'order':>10} {'seconds':>8} {'stories':>8} {'differing':>9}")
    seen: dict[str, str] = {}
    for run in runs:
        began = time.perf_counter()
        run.tell(folder, stories, None if run is runs[0] else runs[0].name)
        seconds = time.perf_counter() - began
        told, differ = len(read_run(folder / run.name)), compare(folder, runs[0], run, stories)
        _say(f"{run.name:14} {run.hash_seed:14} {run.order:10} {seconds:8.1f} {told:8} {len(differ):9}")
        seen = differ | seen
    if not seen:
        _say(f"\nall {len(runs)} runs tell all {stories} stories with the same digests")
        return True
    for text in list(seen.values())[:SHOWN]:
        _say(f"\n{text}")
    _say(f"\n{len(seen)} of {stories} stories differ: {', '.join(seen)}")
    return False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
