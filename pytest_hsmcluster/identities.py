"""Which test is this, and which command runs it once more?"""

import shlex
from typing import Any

import pytest

from .options import SETTINGS


def identity(item: pytest.Item) -> str:
    """Return the node id as collected: without the `@group` that xdist appends under `--dist=loadgroup`.

    The seed of a test is derived from it, so that reruns, workers and replays have the same one.
    """
    nodeid = item.nodeid
    if "@" not in nodeid or not item.config.getoption("loadgroup", False):
        return nodeid
    groups = {str(m.args[0] if m.args else m.kwargs.get("name", "default")) for m in item.iter_markers("xdist_group")}
    return nodeid.removesuffix(f"@{'_'.join(sorted(groups))}")


def replay_command(item: pytest.Item) -> str:
    """Return one line for a shell that runs a test with the seed, the faults and the options of this run."""
    settings = item.config.stash[SETTINGS]
    words = ["pytest", identity(item), f"--hsm-seed={settings.seed}"]
    words += [f"--hsm-chaos={spec}" for spec in settings.chaos]
    # The application may draw from `random`, which pytest-randomly seeds for each test.
    randomly: Any = item.config.getoption("randomly_seed", None)
    if isinstance(randomly, int):
        words.append(f"--randomly-seed={randomly}")
    return shlex.join([*words, *settings.replayed])
