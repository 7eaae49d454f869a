"""How do other packages add to this one?

Hooks of pytest, to be implemented in a plugin or a `conftest.py`.  Each may be left out, and each may be implemented by
many.  They are asked when a cluster is made, when a marker is judged and for `--hsm-list`; a run that uses nothing
of ours never calls them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .cluster import HsmCluster
    from .hardships import ScenarioKind
    from .history.history import History


def pytest_hsm_faults(item: pytest.Item) -> Iterable[str]:  # type: ignore[empty-body]
    """Return specs of faults and scenarios that a test gets after those of its markers.

    They strike from the end of the test's setup on, in its first cluster, as those of a marker do; those of
    `--hsm-chaos` come last.  The result has to be the same for each run of the test, or it cannot be replayed.

    Args:
        item: the test; it uses a cluster.

    Returns:
        Specs such as `"crash @ hsm.commit nth=1"` or `"kill-mid-create after_copies=2"`; none leaves the test alone.
    """


def pytest_hsm_scenarios() -> "Mapping[str, Callable[..., object] | ScenarioKind]":  # type: ignore[empty-body]
    """Return scenarios by name, for `hsm_chaos`, `--hsm-chaos`, `Chaos.install` and `--hsm-list=scenarios`.

    Returns:
        Name → a function.  It is called with the `Chaos` and the arguments of the spec as keywords; arguments annotated
        as `int` or `float` are converted, all others are text, and the first may stand without a key.  The first line
        of its docstring is listed.  What it does through the `Chaos` is undone at the end of the test; a `Hardship`
        that it returns counts its hits.  A name that is taken is refused.
    """


def pytest_hsm_checks() -> "Mapping[str, Callable[[History], None]]":  # type: ignore[empty-body]
    """Return checks by name, for `checks=` of both markers, the ini `hsm_checks` and `--hsm-list=checks`.

    Returns:
        Name → a function of the `History` of one cluster that raises AssertionError with one finding a line, the
        broken promise first, or returns nothing.  It must not write.  The first line of its docstring is listed.
        A name that is taken is refused.
    """


def pytest_hsm_profile(config: pytest.Config) -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Return how clusters are where their marker does not say.

    Args:
        config: of this run.

    Returns:
        Arguments of `hsm_cluster` by name, fields of the profile among them: `{"sdk": 3, "sweep_period_s": 30}`.
        They come before the ini file and options and after markers; of several plugins the one that came later wins.
    """


def pytest_hsm_report(item: pytest.Item, cluster: "HsmCluster") -> Iterable[tuple[str, str]]:  # type: ignore[empty-body]
    """Return sections for the report of a failed test, once for each of its clusters.

    Args:
        item: the test.
        cluster: still open, as the test left it; to be read only.

    Returns:
        (title, text) pairs.  Text with key bytes or PINs in it ends up in CI logs.
    """
