"""Who looks for a mistake, and what does he say when he has found one?"""

import importlib.metadata
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 4 << 30
"""Of address space: a mistake that never stops shall not take the machine with it."""
LONGEST_S = 600
"""Whoever needs longer, without any mistake, hangs."""


@dataclass(frozen=True, slots=True)
class Catcher:
    """A command that fails when something is wrong.

    Attributes:
        name: for the table.
        words: of the command, after the interpreter's name.
        culprit: a pattern of its output; the first group says which test or promise it was.
    """

    name: str
    words: tuple[str, ...]
    culprit: str

    def look(self, tree: Path, longest_s: float = LONGEST_S) -> "Look":
        """Run it in a copy of the tree.

        Imports come from there: the interpreter looks in the present folder first.  A mistake that stops the world
        is found too: by the time that it takes.
        """
        began = time.monotonic()
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
        environment.pop("PYTHONPATH", None)
        command = [sys.executable, *self.words]
        pipe = subprocess.PIPE
        # A group of its own: what hangs may have started others.
        with subprocess.Popen(
            command, cwd=tree, env=environment, stdout=pipe, stderr=pipe, text=True, process_group=0
        ) as process:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            try:
                told, complained = process.communicate(timeout=longest_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return Look(self.name, True, f"it hangs: nothing came in {longest_s:.0f} s", time.monotonic() - began)
        found = re.search(self.culprit, told, re.MULTILINE)
        last = (told + complained).strip().rpartition("\n")[2]
        return Look(
            self.name,
            process.returncode != 0,
            found[1] if found else f"{process.returncode}: {last}",
            time.monotonic() - began,
        )


@dataclass(frozen=True, slots=True)
class Look:
    """What came of one look.

    Attributes:
        catcher: who looked.
        found: whether something was wrong.
        culprit: what said so.
        seconds: of real time.
    """

    catcher: str
    found: bool
    culprit: str
    seconds: float


def _plugin() -> tuple[str, ...]:
    """Return how pytest is told of our plugin where the package is not installed."""
    known = importlib.metadata.entry_points(group="pytest11", name="hsmcluster")
    return () if known else ("-p", "pytest_hsmcluster.plugin")


def _pytest(*words: str) -> tuple[str, ...]:
    quiet = ("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-x", "-r", "fE", "--tb", "line")
    return ("-m", "pytest", *_plugin(), *quiet, *words)


FAILED = r"^(?:FAILED|ERROR) \S*?([^/\s]+\.py.*?)(?: - .*)?$"

CATCHERS = (
    Catcher("the campaign", ("-m", "campaign"), r"^(seed \d+: .*)$"),
    Catcher("the vault's sweep", _pytest("examples/document_vault", "-m", "hsm_sweep"), FAILED),
    Catcher("the custodian's sweep", _pytest("examples/key_custodian", "-m", "hsm_sweep"), FAILED),
)
"""In the order in which they are asked: the quickest first."""
