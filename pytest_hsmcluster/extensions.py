"""What do other packages add through our hooks?"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .hardships import ScenarioKind
    from .history.history import History


def scenarios(hook: Any) -> "Mapping[str, ScenarioKind]":
    """Return all scenarios by name, ours first.

    Raises:
        pytest.UsageError: a name is taken, or what stands behind it cannot be called.
    """
    from .hardships import ScenarioKind
    from .scenarios import SCENARIOS
    from .toxiproxy.scenarios import LINKS

    own = {**SCENARIOS, **LINKS}
    found = _united("pytest_hsm_scenarios", hook.pytest_hsm_scenarios(), own)
    kinds = {
        name: one if isinstance(one, ScenarioKind) else ScenarioKind(name, first_line(one), one, _second_argument(one))
        for name, one in found.items()
    }
    return {**own, **kinds}


def checks(hook: Any) -> "Mapping[str, Callable[[History], None]]":
    """Return the checks of other packages by name.

    Raises:
        pytest.UsageError: a name is taken, or what stands behind it cannot be called.
    """
    from .checkers.check import CHECKS

    return _united("pytest_hsm_checks", hook.pytest_hsm_checks(), CHECKS)


def profile(hook: Any, config: pytest.Config) -> dict[str, Any]:
    """Return the arguments that other packages set; those of a plugin that came later win."""
    merged: dict[str, Any] = {}
    for one in reversed(hook.pytest_hsm_profile(config=config)):
        merged.update(one)
    return merged


def faults(hook: Any, item: pytest.Item) -> tuple[str, ...]:
    """Return the specs that other packages install in a test, in the order in which the plugins came."""
    return tuple(str(spec) for specs in reversed(hook.pytest_hsm_faults(item=item)) for spec in specs)


def _united(hook: str, given: list[Mapping[str, Any]], taken: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in reversed(given):
        for name, value in one.items():
            if name in taken or name in merged:
                whose = "pytest-hsmcluster" if name in taken else "another plugin"
                raise pytest.UsageError(f"{hook}: {name!r} is the name of one of {whose}; choose another")
            if not callable(value) and not hasattr(value, "apply"):
                raise pytest.UsageError(f"{hook}: what {name!r} names cannot be called: {value!r}")
            merged[name] = value
    return merged


def first_line(function: Callable[..., object]) -> str:
    lines = (inspect.getdoc(function) or "").splitlines()
    return lines[0].rstrip(".") if lines else ""


def _second_argument(function: Callable[..., object]) -> str | None:
    """Return the argument that may stand without a key: the one after the chaos."""
    return next(iter([*inspect.signature(function).parameters][1:]), None)
