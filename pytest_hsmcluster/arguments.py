"""Which arguments may a cluster have, whoever asks for it?"""

import dataclasses
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .client.config import Sdk3Config, Sdk5Config, check_minimum, read_config
from .errors import UsageError
from .service.backup import Backup
from .service.profile import Profile
from .service.service import MAX_HSMS
from .sim.clock import to_ns


@dataclasses.dataclass(frozen=True, slots=True)
class ClientSettings:
    """What SDK, minimum and file together say."""

    minimum: int
    overrides: dict[str, Any]

    @classmethod
    def of(cls, sdk: int | None, minimum: int | None, config: str | Path | None, hsms: int) -> "ClientSettings":
        if config is not None and not isinstance(config, str | Path):
            raise UsageError(f"config is the path of a configuration file; got {config!r}")
        found = read_config(config, hsms) if config is not None else None
        of_file = 3 if isinstance(found, Sdk3Config) else 5 if isinstance(found, Sdk5Config) else None
        if sdk is not None and of_file is not None and sdk != of_file:
            raise UsageError(f"{config} is a file of SDK {of_file}, and sdk={sdk} was asked for")
        chosen = sdk if sdk is not None else of_file or 5
        overrides: dict[str, Any] = {"sdk": chosen}
        if isinstance(found, Sdk3Config):
            minimum = found.create_object_minimum_nodes if minimum is None else minimum
            overrides["reconnect_interval_s"] = found.reconnect_interval_s
        elif isinstance(found, Sdk5Config):
            overrides["availability_check"] = not found.disable_key_availability_check
            overrides["retry_mode"] = found.default_retry_mode
        if minimum is not None:
            if chosen == 5:
                raise UsageError(
                    "create_object_minimum_nodes is a setting of SDK 3; SDK 5 has only its availability check of two "
                    "HSMs (availability_check=False switches it off): use sdk=3, or leave it out"
                )
            check_minimum(minimum, hsms, "create_object_minimum_nodes")
        if chosen == 3:
            overrides["max_generic_bytes"] = 64
        return cls(minimum or 1, overrides)


def check_arguments(
    hsms: int = 3,
    *,
    zones: Sequence[str] = ("a", "b", "c"),
    sdk: Literal[3, 5] | None = None,
    create_object_minimum_nodes: int | None = None,
    config: str | Path | None = None,
    seed: int | None = None,
    keys: str = "random",
    clock: str | None = None,
    clock_rate: float = 1.0,
    network: str = "simulated",
    backup: Backup | None = None,
    order: int = 0,
    **overrides: Any,
) -> None:
    """Refuse what `HsmCluster` would refuse, without building one.

    Raises:
        UsageError: as `HsmCluster`.
    """
    check_shape(hsms, zones, seed, keys, clock, network, order)
    settings = ClientSettings.of(sdk, create_object_minimum_nodes, config, hsms)
    check_profile(network, Profile().overridden({**settings.overrides, **overrides}))
    check_rate(network, clock or "virtual", clock_rate)


def check_shape(
    hsms: object, zones: object, seed: object, keys: object, clock: object, network: object, order: object
) -> None:
    """Refuse what is wrong whatever the client software.

    Raises:
        UsageError: says what is allowed.
    """
    if isinstance(hsms, bool) or not isinstance(hsms, int) or not 1 <= hsms <= MAX_HSMS:
        raise UsageError(f"hsms is a number from 1 to {MAX_HSMS} (AWS CloudHSM quota: HSMs per cluster); got {hsms!r}")
    if (
        isinstance(zones, str)
        or not isinstance(zones, Sequence)
        or not zones
        or not all(isinstance(z, str) and z for z in zones)
    ):
        raise UsageError(f'zones is a sequence of zone names, such as ("a", "b"); got {zones!r}')
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise UsageError(f"seed is a whole number; got {seed!r}")
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise UsageError(f"order is the number of a hand-over order, 0 or more; got {order!r}")
    for name, value, allowed in (
        ("keys", keys, ("random", "seeded")),
        ("clock", clock or "virtual", ("virtual", "real")),
        ("network", network, ("simulated", "processes")),
    ):
        if value not in allowed:
            raise UsageError(f"{name} is {' or '.join(map(repr, allowed))}; got {value!r}")
    if network == "processes":
        _check_processes(clock)


def _check_processes(clock: object) -> None:
    if clock == "virtual":
        raise UsageError(
            'network="processes" has a real clock, because processes wait for nobody\'s simulated time; leave out '
            'clock="virtual" (clock_rate=20 makes it twenty times faster)'
        )
    if not sys.platform.startswith("linux"):
        raise UsageError(f'network="processes" needs Linux (process file descriptors, epoll); this is {sys.platform}')
    if importlib.util.find_spec("msgspec") is None:
        raise UsageError('network="processes" needs msgspec: python -m pip install "pytest-hsmcluster[processes]"')


def check_profile(network: str, profile: Profile) -> None:
    """Refuse a profile that a network cannot act out.

    Raises:
        UsageError: says why, and what there is instead.
    """
    if network == "processes" and profile.crash_peer == "silence":
        raise UsageError(
            'crash_peer="silence" cannot be had with network="processes": the operating system closes the connections '
            "of a process that is killed; leave it out, and cut the HSM off with chaos.partition() before it crashes: "
            "the news does not get through then"
        )


_KINDS_OF_OTHERS = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def check_run(functions: Sequence[object], longest_s: object, most_events: object, real: bool) -> None:
    """Refuse what cannot act.

    Raises:
        UsageError: says what is allowed.
    """
    if not functions:
        raise UsageError("run() needs at least one function to act: cluster.run(rotate, serve)")
    for function in functions:
        if not callable(function) or any(kind(function) for kind in _KINDS_OF_OTHERS):
            raise UsageError(
                f"run() takes plain functions without arguments; got {function!r} "
                "(functools.partial gives arguments; coroutines are for an async client and asyncio.gather, "
                "and a generator would not begin)"
            )
    if isinstance(most_events, bool) or not isinstance(most_events, int) or most_events < 1:
        raise UsageError(f"most_events is a number of events, 1 or more; got {most_events!r}")
    to_ns(longest_s, "longest_s")  # type: ignore[arg-type]
    if real:
        raise UsageError(
            "run() needs simulated time: a cluster with a real clock (network='processes' has one, too) has threads "
            "wait for real; start them with threading, and its calls let them in as they come"
        )


FASTEST = 20
"""Simulated seconds a real one with processes: a time-out of 20 s is a real second then, long enough for a process."""


def check_rate(network: str, clock: str, rate: float) -> None:
    """Refuse a rate that no real clock can have.

    Raises:
        UsageError: says what is allowed.
    """
    if clock == "real" or network == "processes":
        from .drivers.pace import RealPace

        RealPace(rate)
        if network == "processes" and rate > FASTEST:
            raise UsageError(
                f'clock_rate is at most {FASTEST} with network="processes", or a time-out of 20 s is shorter than a '
                f"process may take; got {rate!r}"
            )
