"""Are the journals of all tests the same in every order and on any number of workers?

A pytest plugin and a comparison; `make same` uses both:

    pytest -p tests.determinism.journals --journals=FOLDER/RUN …      once for each run
    python -m tests.determinism.journals FOLDER                       compares the runs

Each worker appends lines `test file TAB digest` to a file of its own in FOLDER/RUN, one for each
cluster that a test closes; clusters with a real clock have no digest and are passed over.  The file
and not the test is noted because a cluster that a whole module shares is closed by whoever comes last,
and a digest counts once in a file because each worker has such a cluster of its own.
Runs of pytest inside of a test are left out: some of them draw a random seed on purpose.
"""

import os
import sys
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--journals", metavar="FOLDER", help="write a digest of every cluster that a test closes")


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--journals")
    if folder is not None:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
        run = Path(folder).resolve()  # tests change the working directory
        run.mkdir(parents=True, exist_ok=True)
        _record(run / f"{worker}.tsv")


def _record(file: Path) -> None:
    from pytest_hsmcluster import HsmCluster, UsageError

    close = HsmCluster.close

    def close_and_write(cluster: HsmCluster) -> None:
        if cluster.closed:
            return
        close(cluster)
        try:
            digest = cluster.history.digest()
        except UsageError:
            return
        node = os.environ.get("PYTEST_CURRENT_TEST", "outside of tests").partition("::")[0]
        if "/" in node:
            with file.open("a") as out:
                out.write(f"{node}\t{digest}\n")

    HsmCluster.close = close_and_write  # type: ignore[method-assign]


def compare(folder: Path) -> int:
    """Print what differs between the runs in a folder and return in how many test files."""
    runs = {run.name: _read(run) for run in sorted(folder.iterdir()) if run.is_dir()}
    files = sorted({file for run in runs.values() for file in run})
    differ = [file for file in files if len({frozenset(run.get(file, ())) for run in runs.values()}) > 1]
    for file in differ:
        sys.stdout.write(f"differs: {file}\n")
    digests = sum(len(found) for found in next(iter(runs.values()), {}).values())
    sys.stdout.write(
        f"{len(runs)} runs ({', '.join(runs)}), {digests} digests in {len(files)} test files: {len(differ)} differ\n"
    )
    return len(differ)


def _read(run: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in sorted(run.glob("*.tsv")):
        for line in file.read_text().splitlines():
            node, _, digest = line.rpartition("\t")
            found.setdefault(node, set()).add(digest)
    return found


if __name__ == "__main__":
    sys.exit(min(compare(Path(sys.argv[1])), 1))
