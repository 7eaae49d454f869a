"""What has a run counted, all its processes taken together?"""

from importlib import import_module
from typing import Any, cast

import pytest

from .keeping import PARTS, Part

_KINDS = {
    "tally": "tally:Tally",
    "sweeps": "sweeps:Sweeps",
    "orders": "exploring:Orders",
    "mutants": "mutation:Mutations",
    "coverage": "covering:Covering",
    "background": "storming:BackgroundChaos",
}
"""Name → module and class; also the order in which they report."""


def part(config: pytest.Config, name: str) -> Part:
    """Return a part of this process, a new one at first."""
    parts = config.stash.setdefault(PARTS, {})
    if name not in parts:
        module, _, kind = _KINDS[name].partition(":")
        parts[name] = cast(Part, getattr(import_module(f".{module}", __package__), kind)())
    return parts[name]


def export_parts(config: pytest.Config) -> dict[str, Any]:
    """Return what a worker tells the controller, in JSON's types."""
    return {name: one.export() for name, one in config.stash.get(PARTS, {}).items()}


def add_parts(config: pytest.Config, told: dict[str, Any]) -> None:
    """Add what a worker told."""
    for name, counted in told.items():
        part(config, name).add(counted)


def keep_parts(config: pytest.Config) -> None:
    """Leave in pytest's cache, if there is one, what the next run asks for."""
    if config.pluginmanager.hasplugin("cacheprovider") and config.cache:
        for one in config.stash[PARTS].values():
            one.keep(config.cache, config)


def parts_fail(config: pytest.Config) -> bool:
    """Whether something that was counted fails the run, although no test did."""
    return any(one.fails(config) for one in config.stash.get(PARTS, {}).values())


def report_parts(terminal: Any, config: pytest.Config) -> None:
    """Write all sums, in a stable order."""
    parts = config.stash.get(PARTS, {})
    for name in _KINDS:
        if name in parts:
            parts[name].report(terminal, config)
