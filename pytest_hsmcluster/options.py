"""What did the command line, the environment and the ini file ask for?

Imports pytest and the standard library only: every pytest run on the machine loads this.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import pytest

CACHED_SEED = "hsmcluster/seed"
"""Where the cache keeps the base seed of the last run that used a cluster."""

CLOCKS = ("virtual", "real")
TIMELINES = ("on-failure", "always", "never")
CATALOGUES = ("points", "effects", "scenarios", "checks")


class Settings(NamedTuple):
    """What holds for the whole run.

    Attributes:
        seed: the base seed, from which that of each test is derived.
        seed_from: who said so: `--hsm-seed`, `HSM_SEED`, `hsm_seed`, or `default`.
        chaos: specs of `--hsm-chaos`, in order.
        timeline: when timelines are shown: `on-failure`, `always` or `never`.
        defaults: arguments of clusters that an option or an ini sets, as pairs.
        checks: names of checks at the end of each test whose markers say nothing, beside `no_lost_keys`.
        configured: whether an option, the variable or an ini of ours was set.
        replayed: words of pytest's command line that a replay needs too.
        width: columns of the terminal.
        ascii: whether the terminal can show no more than ASCII.
        background: the budget of background chaos: `light`, `heavy`, a file, or None.
        background_from: who said so: `--hsm-background` or `hsm_background`.
        mutants: whether the suite runs against wrong clusters too.
        coverage: whether failure modes are counted at call sites.
        coverage_fail_under: percentage below which the run fails, or None.
        coverage_json: file for the numbers, or None.
        sweep_limit: how many cases a sweep may have.
        order: the hand-over order of every cluster, or None.
    """

    seed: int
    seed_from: str
    chaos: tuple[str, ...]
    timeline: str
    defaults: tuple[tuple[str, Any], ...]
    checks: tuple[str, ...]
    configured: bool
    replayed: tuple[str, ...]
    width: int
    ascii: bool
    background: str | None = None
    background_from: str = "default"
    mutants: bool = False
    coverage: bool = False
    coverage_fail_under: float | None = None
    coverage_json: str | None = None
    sweep_limit: int = 2000
    order: int | None = None


SETTINGS = pytest.StashKey[Settings]()


def add_options(parser: pytest.Parser) -> None:
    """Add every option and its ini twin."""
    group = parser.getgroup("hsmcluster", "HSM cluster chaos testing")
    group.addoption(
        "--hsm-seed",
        metavar="N|last|random",
        help="Base seed of all clusters; each test's own is derived from it and the node id. 'last' takes that of the "
        "last run with a cluster, 'random' draws one. Default: HSM_SEED, then ini hsm_seed, then 0.",
    )
    group.addoption(
        "--hsm-chaos",
        action="append",
        metavar="SPEC",
        help="Install this fault or scenario in every selected test that uses a cluster, after those of its markers: "
        "'crash @ hsm.commit command=insert_masked nth=1', 'kill-mid-create after_copies=2'. Can be repeated.",
    )
    group.addoption(
        "--hsm-clock",
        metavar="virtual|real",
        help="Clock of tests whose marker names none: simulated time, or real pace for demonstrations. "
        "Default: ini hsm_clock, then virtual.",
    )
    group.addoption(
        "--hsm-order",
        metavar="N",
        help="Use this hand-over order of the seed in every run() of every cluster, and explore no others: this is "
        "what the replay command of an order that broke a promise uses. Default: what markers say, then 0.",
    )
    group.addoption(
        "--hsm-timeline",
        metavar="on-failure|always|never",
        help="When the timeline of a test's clusters is shown. Default: ini hsm_timeline, then on-failure.",
    )
    group.addoption(
        "--hsm-background",
        metavar="light|heavy|FILE",
        help="Let seeded faults strike in every test that uses a cluster, within the budget that 'light', 'heavy' or a "
        "TOML file promises; what fails only then is bisected to the smallest set of faults. Default: ini "
        "hsm_background, then none.",
    )
    group.addoption(
        "--hsm-mutants",
        action="store_true",
        help="Run each test that uses a cluster against deliberately wrong clusters too; a wrong cluster that no test "
        "notices survives, and the assertions have no teeth there.",
    )
    group.addoption(
        "--hsm-coverage",
        action="store_true",
        help="Count which documented failure modes were exercised at which call sites of the application.",
    )
    group.addoption(
        "--hsm-coverage-fail-under",
        metavar="N",
        help="Fail the run when less than N percent of failure modes × call sites were exercised and survived. Implies "
        "--hsm-coverage. Default: ini hsm_coverage_fail_under, which counts with --hsm-coverage only.",
    )
    group.addoption(
        "--hsm-coverage-json",
        metavar="FILE",
        help="Write the failure modes × call sites as JSON. Implies --hsm-coverage.",
    )
    group.addoption(
        "--hsm-list",
        metavar="points|effects|scenarios|checks",
        help="Print what can be written in specs and markers, and exit.",
    )
    # Before pytest 8.4 an ini has no type "int": it is text there, and we convert it.
    number: Literal["int", "string"] = "int" if pytest.version_tuple >= (8, 4) else "string"
    kind: Literal["int", "string", "args"]
    for name, kind, text in (
        ("hsm_seed", "string", "Base seed: a number, 'last' or 'random'."),
        ("hsm_clock", "string", "Clock of tests whose marker names none: virtual or real."),
        ("hsm_timeline", "string", "When timelines are shown: on-failure, always or never."),
        ("hsm_hsms", number, "How many HSMs a cluster has whose marker does not say: 1 to 28, default 3."),
        ("hsm_sdk", number, "Which client software is used where the marker does not say: 3 or 5, default 5."),
        ("hsm_checks", "args", "Checks at the end of each test whose markers name none, beside no_lost_keys."),
        ("hsm_background", "string", "Budget of background chaos: light, heavy or a TOML file."),
        ("hsm_coverage_fail_under", "string", "Percentage of failure modes × call sites that --hsm-coverage wants."),
        ("hsm_sweep_limit", number, "How many cases a sweep may have before it is refused: default 2000."),
        ("hsm_keys", "string", "random, or seeded for reproducible key bytes, where the marker does not say."),
    ):
        parser.addini(name, text, type=kind, default=None)


def read_settings(config: pytest.Config) -> Settings:
    """Return what holds for this run; an xdist worker is told the controller's seed and terminal.

    Raises:
        pytest.UsageError: a value that is not allowed; says who gave it and what is.
    """
    seed, seed_from = _asked(config, "seed", os.environ.get("HSM_SEED") or None)
    clock, clock_from = _asked(config, "clock")
    timeline, timeline_from = _asked(config, "timeline")
    background, background_from = _asked(config, "background")
    fail_under, fail_under_from = _asked(config, "coverage_fail_under")
    coverage_json: str | None = config.getoption("hsm_coverage_json")
    covered = config.getoption("hsm_coverage") or fail_under_from.startswith("--") or coverage_json is not None
    mutants: bool = config.getoption("hsm_mutants")
    _one_of("--hsm-list", config.getoption("hsm_list"), CATALOGUES)
    chaos = tuple(config.getoption("hsm_chaos") or ())
    checks = _ini(config, "hsm_checks")
    order = _order(config.getoption("hsm_order"))
    defaults = {
        "hsms": _number("hsm_hsms", _ini(config, "hsm_hsms")),
        "sdk": _number("hsm_sdk", _ini(config, "hsm_sdk")),
        "keys": _ini(config, "hsm_keys"),
        "clock": _one_of(clock_from, clock, CLOCKS),
    }
    asked = (seed, timeline, checks, chaos or None, background, covered or None, mutants or None, order)
    shared = getattr(config, "workerinput", {}).get("hsmcluster") or {
        "seed": _seed(config, seed_from, seed),
        "replayed": tuple(_replayed([*map(str, config.invocation_params.args)])),
        "width": min(shutil.get_terminal_size().columns, 160),
        "ascii": not _utf8(sys.__stdout__),
    }
    return Settings(
        seed=shared["seed"],
        seed_from=seed_from,
        chaos=chaos,
        timeline=_one_of(timeline_from, timeline, TIMELINES) or "on-failure",
        defaults=tuple((name, value) for name, value in defaults.items() if value is not None),
        checks=tuple(checks or ()),
        configured=any(value is not None for value in (*asked, *defaults.values())),
        replayed=tuple(shared["replayed"]),
        width=shared["width"],
        ascii=shared["ascii"],
        background=background,
        background_from=background_from,
        mutants=mutants,
        coverage=covered,
        coverage_fail_under=_percentage(fail_under_from, fail_under),
        coverage_json=coverage_json,
        sweep_limit=_limit(_number("hsm_sweep_limit", _ini(config, "hsm_sweep_limit"))),
        order=order,
    )


def shared_settings(settings: Settings) -> dict[str, Any]:
    """Return what the controller tells xdist's workers, in JSON's types."""
    return {
        "seed": settings.seed,
        "replayed": [*settings.replayed],
        "width": settings.width,
        "ascii": settings.ascii,
    }


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
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise pytest.UsageError(f"ini {name}: {error}") from error


def _number(name: str, value: Any) -> int | None:
    if value is None or isinstance(value, int):
        return value
    try:
        return int(value)
    except ValueError:
        raise pytest.UsageError(f"ini {name}: a whole number is wanted; got {value!r}") from None


def _limit(value: int | None) -> int:
    if value is not None and value < 1:
        raise pytest.UsageError(f"ini hsm_sweep_limit: a number of cases, 1 or more, is wanted; got {value}")
    return 2000 if value is None else value


def _order(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise pytest.UsageError(f"--hsm-order: the number of a hand-over order, 0 or more, is wanted; got {text!r}")
    return number


def _percentage(who: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise pytest.UsageError(f"{who}: a percentage from 0 to 100 is wanted; got {text!r}")
    return number


def _one_of(who: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    if value is None or value in allowed:
        return value
    raise pytest.UsageError(f"{who}: {value!r} is none of {', '.join(allowed)}{_hint(value, allowed)}")


def _seed(config: pytest.Config, who: str, text: str | None) -> int:
    if text is None:
        return 0
    if text == "random":
        from .keys.source import SystemSource  # the package's one door to the system's randomness

        return int.from_bytes(SystemSource().random(4))
    if text == "last":
        return _last_seed(config, who)
    try:
        return int(text)
    except ValueError:
        hint = _hint(text, ("last", "random"))
        raise pytest.UsageError(f"{who}: {text!r} is no whole number, 'last' or 'random'{hint}") from None


def _last_seed(config: pytest.Config, who: str) -> int:
    if not config.pluginmanager.hasplugin("cacheprovider"):
        raise pytest.UsageError(f"{who}: 'last' is read from pytest's cache, which is off (-p no:cacheprovider)")
    stored = config.cache.get(CACHED_SEED, None) if config.cache else None
    if not isinstance(stored, int):
        raise pytest.UsageError(f"{who}: 'last' is not known: no run with a cluster has left its seed in the cache")
    return stored


def _hint(value: str, allowed: tuple[str, ...]) -> str:
    import difflib  # only a wrong value needs it

    near = difflib.get_close_matches(value, allowed, 1, 0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


_HARMLESS = ("no:cacheprovider", "no:terminal")
_REPLAYED = ("-c", "--config-file", "--rootdir", "-p", "-o", "--override-ini", "--import-mode", "-W", "--hsm-clock")


def _replayed(words: list[str]) -> Iterator[str]:
    """Yield the options of the command line without which a test might run in another way, and their values."""
    while words:
        word = words.pop(0)
        if word == "-p" and words and words[0] in _HARMLESS:
            words.pop(0)
        elif word == "--disable-plugin-autoload" or word.startswith(tuple(f"{name}=" for name in _REPLAYED)):
            yield word
        elif word in _REPLAYED and words:
            yield from (word, words.pop(0))
        elif word[:2] in ("-p", "-o", "-c", "-W") and len(word) > 2 and not word.startswith("--"):
            yield word


def _utf8(stream: Any) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
