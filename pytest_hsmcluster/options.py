"""What did the command line, the environment and the ini file ask for?

Imports pytest and the standard library only: every pytest run on the machine loads this.
"""

import difflib
import os
from dataclasses import dataclass
from typing import Any

import pytest

CACHED_SEED = "hsmcluster/seed"
"""Where the cache keeps the base seed of the last run that used a cluster."""

CLOCKS = ("virtual", "real")
TIMELINES = ("on-failure", "always", "never")
CATALOGUES = ("points", "effects", "scenarios", "checks")
SDKS = (3, 5)


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for the whole run.

    Attributes:
        seed: the base seed, from which that of each test is derived.
        seed_from: who said so: `--hsm-seed`, `HSM_SEED`, `hsm_seed`, or `default`.
        chaos: specs of `--hsm-chaos`, in order.
        clock: `virtual` or `real`; what a marker says comes first.
        timeline: when a failure is drawn.
        defaults: arguments of `hsm_cluster` that an ini or an option sets.
        checks: names of checks at the end of each test whose markers say nothing, beside `no_lost_keys`.
        configured: whether an option, the variable or an ini of ours was set.
    """

    seed: int = 0
    seed_from: str = "default"
    chaos: tuple[str, ...] = ()
    clock: str = "virtual"
    timeline: str = "on-failure"
    defaults: tuple[tuple[str, Any], ...] = ()
    checks: tuple[str, ...] = ()
    configured: bool = False


SETTINGS = pytest.StashKey[Settings]()


def add_options(parser: pytest.Parser) -> None:
    """Add every option and its ini twin."""
    group = parser.getgroup("hsmcluster", "HSM cluster chaos testing")
    group.addoption(
        "--hsm-seed",
        metavar="N|last|random",
        help="Base seed of all clusters; each test's own is derived from it and the node id. "
        "'last' takes that of the last run, 'random' draws one. Default: HSM_SEED, hsm_seed, 0.",
    )
    group.addoption(
        "--hsm-chaos",
        action="append",
        metavar="SPEC",
        help="Install this fault or scenario in every selected test that uses a cluster, after those of its markers, such as "
        "'crash @ hsm.commit command=insert_masked nth=1' or 'kill-mid-create after_copies=2'. Can be repeated.",
    )
    group.addoption(
        "--hsm-clock",
        metavar="virtual|real",
        help="Pace of tests whose marker names none: simulated time, or real time for demonstrations. Default: hsm_clock, virtual.",
    )
    group.addoption(
        "--hsm-timeline",
        metavar="on-failure|always|never",
        help="When the timeline of a test's clusters is shown. Default: hsm_timeline, on-failure.",
    )
    group.addoption(
        "--hsm-list",
        choices=CATALOGUES,
        help="Print what there is to write in a spec or a marker, and exit.",
    )
    # Before pytest 8.4 an ini has no type "int": read as text it is converted by us.
    number: Any = "int" if pytest.version_tuple >= (8, 4) else "string"
    parser.addini("hsm_seed", "Base seed: a number, 'last' or 'random'.", type="string", default=None)
    parser.addini("hsm_clock", "virtual or real.", type="string", default=None)
    parser.addini("hsm_timeline", "on-failure, always or never.", type="string", default=None)
    parser.addini("hsm_hsms", "How many HSMs a cluster has when its marker does not say: 1 to 28.", number, None)
    parser.addini("hsm_sdk", "Which client software applications use when the marker does not say: 3 or 5.", number, None)
    parser.addini("hsm_checks", "Checks at the end of each test whose markers name none.", type="args", default=None)
    parser.addini("hsm_keys", "random, or seeded for reproducible key bytes.", type="string", default=None)


def read_settings(config: pytest.Config) -> Settings:
    """Return what holds for this run; on an xdist worker the seed is the controller's.

    Raises:
        pytest.UsageError: a value that is not allowed; says who gave it and what is.
    """
    worker = getattr(config, "workerinput", {}).get("hsmcluster")
    seed_text, seed_from = _asked(config, "seed", os.environ.get("HSM_SEED") or None)
    clock, clock_from = _asked(config, "clock")
    timeline, timeline_from = _asked(config, "timeline")
    chaos = tuple(config.getoption("hsm_chaos") or ())
    inis = {name: _ini(config, name) for name in ("hsm_hsms", "hsm_sdk", "hsm_checks", "hsm_keys")}
    defaults = {
        "hsms": _number("hsm_hsms", inis["hsm_hsms"]),
        "sdk": _number("hsm_sdk", inis["hsm_sdk"]),
        "keys": inis["hsm_keys"],
        "clock": _one_of(clock_from, clock, CLOCKS),
    }
    asked = (seed_text, clock, timeline, chaos or None, *inis.values())
    return Settings(
        seed=worker["seed"] if worker else _seed(config, seed_from, seed_text),
        seed_from=seed_from,
        chaos=chaos,
        clock=clock or "virtual",
        timeline=_one_of(timeline_from, timeline, TIMELINES) or "on-failure",
        defaults=tuple((name, value) for name, value in defaults.items() if value is not None),
        checks=tuple(inis["hsm_checks"] or ()),
        configured=any(value is not None for value in asked),
    )


def _asked(config: pytest.Config, name: str, variable: str | None = None) -> tuple[str | None, str]:
    """Return what was asked for and by whom: command line, environment, ini."""
    option = config.getoption(f"hsm_{name}")
    if option is not None:
        return option, f"--hsm-{name}"
    if variable is not None:
        return variable, f"HSM_{name.upper()}"
    ini = _ini(config, f"hsm_{name}")
    return (None, "default") if ini is None else (ini, f"hsm_{name}")


def _ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"{name} in {config.inipath}: {error}") from error


def _number(name: str, value: Any) -> int | None:
    if value is None or isinstance(value, int):
        return value
    try:
        return int(value)
    except ValueError:
        raise pytest.UsageError(f"{name} is a whole number; got {value!r}") from None


def _one_of(who: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    if value is None or value in allowed:
        return value
    raise pytest.UsageError(f"{who} is {' or '.join(allowed)}; got {value!r}{_hint(value, allowed)}")


def _seed(config: pytest.Config, who: str, text: str | None) -> int:
    if text is None:
        return 0
    if text == "random":
        from .keys.source import SystemSource  # the package's one door to the system's randomness

        return int.from_bytes(SystemSource().random(4))
    if text == "last":
        cache = config.cache if hasattr(config, "cache") else None
        if cache is None:
            raise pytest.UsageError(f"{who}: 'last' reads pytest's cache, which is switched off (-p no:cacheprovider)")
        stored = cache.get(CACHED_SEED, None)
        if not isinstance(stored, int):
            raise pytest.UsageError(f"{who}: no run that used a cluster has left its seed in the cache yet; give a number")
        return stored
    try:
        return int(text)
    except ValueError:
        hint = _hint(text, ("last", "random"))
        raise pytest.UsageError(f"{who} is a whole number, 'last' or 'random'; got {text!r}{hint}") from None


def _hint(value: str, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(value, allowed, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
