"""Which test is this, whatever runs it?"""

import pytest


def identity(item: pytest.Item) -> str:
    """Return the node id as collected: without the `@group` that xdist appends under `--dist=loadgroup`.

    The seed of a test is derived from it, so that reruns, workers and replays have the same one.
    """
    nodeid = item.nodeid
    if "@" in nodeid and item.config.getoption("loadgroup", False):
        for mark in item.iter_markers("xdist_group"):
            group = mark.args[0] if mark.args else mark.kwargs.get("name", "default")
            nodeid = nodeid.removesuffix(f"@{group}")
    return nodeid
