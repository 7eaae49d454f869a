"""What did each run write down, and where do runs differ?

A run is a folder.  Each of its processes appends lines `name TAB digest` to a file of its own in it, so that nobody
waits for anybody.
"""

import os
from collections.abc import Mapping
from pathlib import Path

Digests = Mapping[str, frozenset[str]]
"""What one run wrote down: name → the digests that it had.  A name that several processes tell has one in each."""


def own_file(run: Path) -> Path:
    """Return the file that this process may append to; its folder is there afterwards."""
    folder = run.resolve()  # tests change the working directory
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{os.environ.get('PYTEST_XDIST_WORKER', 'master')}.tsv"


def write_down(file: Path, name: str, digest: str) -> None:
    with file.open("a") as out:
        out.write(f"{name}\t{digest}\n")


def read_run(run: Path) -> Digests:
    """Return what all processes of a run wrote down."""
    found: dict[str, set[str]] = {}
    for file in sorted(run.glob("*.tsv")):
        for line in file.read_text().splitlines():
            name, _, digest = line.rpartition("\t")
            found.setdefault(name, set()).add(digest)
    return {name: frozenset(digests) for name, digests in found.items()}


def differing(*runs: Digests) -> list[str]:
    """Return the names that have not the same digests in all runs, sorted; one that a run lacks is among them."""
    names = sorted({name for run in runs for name in run})
    return [name for name in names if len({run.get(name) for run in runs}) > 1]
