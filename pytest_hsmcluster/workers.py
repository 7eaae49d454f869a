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

    def __init__(self) -> None:
        self._session: pytest.Session | None = None
        self._known: dict[str, None] = {}
        self._made = False

    @pytest.hookimpl
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    @pytest.hookimpl
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._known.update(dict.fromkeys(ids))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Let the progress know of a case that a worker has made: nobody collected it."""
        if self._known and self._session is not None and report.nodeid not in self._known:
            self._known[report.nodeid] = None
            # One is always still to come, for pytest breaks no line at what it takes for the last test.
            self._session.testscollected += 1 if self._made else 2
            self._made = True

    @pytest.hookimpl
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the base seed to a worker: only the controller resolves it."""
        node.workerinput[NAME] = shared_settings(node.config.stash[SETTINGS])

    @pytest.hookimpl
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Add what a worker counted; one that crashed has told nothing."""
        add_parts(node.config, getattr(node, "workeroutput", {}).get(NAME) or {})
