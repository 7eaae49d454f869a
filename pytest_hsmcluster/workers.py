"""What do xdist's controller and its workers tell each other?

Registered only where xdist is.
"""

from typing import Any

import pytest

from .options import SETTINGS, shared_settings
from .parts import add_parts

NAME = "hsmcluster"
"""Our key in xdist's `workerinput` and `workeroutput`."""


class Workers:
    """Hooks of xdist, at the controller."""

    @pytest.hookimpl
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the base seed to a worker: only the controller resolves it."""
        node.workerinput[NAME] = shared_settings(node.config.stash[SETTINGS])

    @pytest.hookimpl
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Add what a worker counted; one that crashed has told nothing."""
        add_parts(node.config, getattr(node, "workeroutput", {}).get(NAME) or {})
