"""Which test is this, and which command runs it once more?"""

import shlex
from collections.abc import Sequence
from typing import Any

import pytest

from .keeping import CASE, Case
from .options import SETTINGS, Settings

SHARD = "_hsm_shard"
"""Name of the parameter that tells the shards of a sweep apart."""


def identity(item: pytest.Item) -> str:
    """Return the node id as collected: without a sweep's spec or shard, and without xdist's `@group`.

    The seed of a test is derived from it, so that reruns, cases, shards, workers and replays have the same one.
    """
    case = item.stash.get(CASE, None)
    if case is not None:
        return case.test
    nodeid = ungrouped(item)
    shard = shard_of(item)
    if shard is None:
        return nodeid
    return nodeid.removesuffix(f"[{shard}]") if nodeid.endswith(f"[{shard}]") else nodeid.replace(f"-{shard}]", "]")


def shard_of(item: pytest.Item) -> str | None:
    """Return what the node id says of a test that is one shard of a sweep: `shard 1 of 4`; None for another test."""
    parameters: dict[str, str] = getattr(getattr(item, "callspec", None), "params", {})
    return parameters.get(SHARD)


def ungrouped(item: pytest.Item) -> str:
    """Return the node id without what xdist appends under `--dist=loadgroup`."""
    nodeid = item.nodeid
    if "@" not in nodeid or not item.config.getoption("loadgroup", False):
        return nodeid
    groups = {str(m.args[0] if m.args else m.kwargs.get("name", "default")) for m in item.iter_markers("xdist_group")}
    return nodeid.removesuffix(f"@{'_'.join(sorted(groups))}")


def order_of(case: Case | None, settings: Settings) -> int | None:
    """Return the hand-over order that a run is told to have: by what makes it a case, or else by the command line."""
    return settings.order if case is None or case.order is None else case.order


def replay_command(item: pytest.Item, specs: Sequence[str] | None = None) -> str:
    """Return one line for a shell that runs a test with the seed, the faults and the options of this run.

    Args:
        item: the test.
        specs: faults beside those of the run; None for those of the case that it is.
    """
    settings = item.config.stash[SETTINGS]
    words = ["pytest", identity(item), f"--hsm-seed={settings.seed}"]
    case = item.stash.get(CASE, None)
    if specs is None:
        specs = case.specs if case else ()
    if (order := order_of(case, settings)) is not None:
        words.append(f"--hsm-order={order}")
    words += [f"--hsm-chaos={spec}" for spec in (*settings.chaos, *specs)]
    # The application may draw from `random`, which pytest-randomly seeds for each test.
    randomly: Any = item.config.getoption("randomly_seed", None)
    if isinstance(randomly, int):
        words.append(f"--randomly-seed={randomly}")
    return shlex.join([*words, *settings.replayed])
