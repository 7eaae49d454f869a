"""How do other packages add to this one?"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .cluster import HsmCluster
    from .history.history import History


def pytest_hsm_faults(item: pytest.Item) -> Iterable[str] | None:
    """Return specs of faults and scenarios to install in this test, after those of its markers."""


def pytest_hsm_scenarios() -> Mapping[str, Callable[..., object]] | None:
    """Return scenarios by name."""


def pytest_hsm_checks() -> "Mapping[str, Callable[[History], None]] | None":
    """Return checks by name."""


def pytest_hsm_profile(config: pytest.Config) -> Mapping[str, Any] | None:
    """Return arguments of clusters and fields of their profile that hold unless the marker says otherwise."""


def pytest_hsm_report(item: pytest.Item, cluster: "HsmCluster") -> Iterable[tuple[str, str]] | None:
    """Return (title, text) of sections that a failed test's report gets."""
