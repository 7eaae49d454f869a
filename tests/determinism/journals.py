"""Are the journals of all tests the same in every order and on any number of workers?

A pytest plugin and a comparison; `make same` uses both:

    pytest -p tests.determinism.journals --journals=FOLDER/RUN …      once for each run
    python -m tests.determinism.journals FOLDER                       compares the runs

What is written down (see `digests`) is the file and not the test, because a cluster that a whole module shares is
closed by whoever comes last; and as a set, because each worker has such a cluster of its own.  Clusters with a real
clock have no digest and are passed over.
Runs of pytest inside of a test are left out: some of them draw a random seed on purpose.
"""

import os
import sys
from pathlib import Path

import pytest

from tests.determinism.digests import differing, own_file, read_run, write_down

BY_CHANCE = (
    "tests/apptime/test_threads.py::test_signal_handler_may_sleep",  # a signal comes when the system sends it
    "tests/pkcs11/fuzz/",  # new examples in each run
    # Applications that need half a second or more to start, as on a busy machine, cost the digest: it is refused then.
    "tests/pkcs11/test_server.py::test_actors_may_run_applications",
)
"""Tests in which chance has a say on purpose; they are passed over."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--journals", metavar="FOLDER", help="write a digest of every cluster that a test closes")


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--journals")
    if folder is not None:
        _record(own_file(Path(folder)))


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
        test = os.environ.get("PYTEST_CURRENT_TEST", "outside of tests")
        node = test.partition("::")[0]
        if "/" in node and not test.startswith(BY_CHANCE):
            write_down(file, node, digest)

    HsmCluster.close = close_and_write  # type: ignore[method-assign]


def compare(folder: Path) -> int:
    """Print what differs between the runs in a folder and return in how many test files."""
    runs = {run.name: read_run(run) for run in sorted(folder.iterdir()) if run.is_dir()}
    differ = differing(*runs.values())
    files = {file for run in runs.values() for file in run}
    for file in differ:
        sys.stdout.write(f"differs: {file}\n")
    digests = sum(len(found) for found in next(iter(runs.values()), {}).values())
    sys.stdout.write(
        f"{len(runs)} runs ({', '.join(runs)}), {digests} digests in {len(files)} test files: {len(differ)} differ\n"
    )
    return len(differ)


if __name__ == "__main__":
    sys.exit(min(compare(Path(sys.argv[1])), 1))
