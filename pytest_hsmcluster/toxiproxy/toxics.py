"""What can a proxy do to a connection, in this project's units and in Toxiproxy's?

Toxics see the bytes of TLS, not messages: a slicer cuts records, a limit ends in the middle of one, and nothing can be
changed without the receiver noticing, so there is no `corrupt` here.

Source:
    Toxiproxy's README, "Toxics", and its folder `toxics/` (v2.8.0) for units and for what the page leaves open.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from ..errors import UsageError

BOTH: Final = "both"
DIRECTIONS: Final = {BOTH: ("upstream", "downstream"), "upstream": ("upstream",), "downstream": ("downstream",)}
"""Word → streams: upstream is from the application to the HSM."""

Poison = tuple[str, Mapping[str, int]]
"""Toxiproxy's type of a toxic, and its attributes."""

LONGEST_S: Final = 24 * 3600.0


def latency(seconds: float, jitter_s: float) -> Poison:
    """Bytes come later; as for all of these, `UsageError` says which argument is wrong."""
    milliseconds = _ms("latency: seconds", seconds)
    jitter = _ms("latency: jitter_s", jitter_s)
    if jitter > milliseconds:
        raise UsageError(
            f"latency: jitter_s is how much the delay varies up and down, at most as much as it is: {seconds} s; "
            f"got {jitter_s}"
        )
    return "latency", {"latency": milliseconds, "jitter": jitter}


def bandwidth(kb_s: int) -> Poison:
    """So many bytes a second, and no more."""
    # Toxiproxy sends `rate` bytes a millisecond.  With 0 it would spin without sending anything.
    return "bandwidth", {"rate": _whole("bandwidth: kb_s", kb_s, "units of 1000 bytes a second", 1)}


def slow_close(seconds: float) -> Poison:
    """The end of a connection comes later."""
    return "slow_close", {"delay": _ms("slow_close: seconds", seconds)}


def timeout(seconds: float) -> Poison:
    """Nothing comes, and then the end."""
    return "timeout", {"timeout": _ms("timeout: seconds", seconds)}


def reset_peer(seconds: float) -> Poison:
    """The next bytes end the connection."""
    # Toxiproxy cannot take the toxic off while it waits, and gives up a request after 25 s.
    return "reset_peer", {"timeout": _ms("reset_peer: seconds", seconds, longest_s=20)}


def slicer(average_bytes: int, variation_bytes: int, delay_s: float) -> Poison:
    """Bytes come in small parts."""
    average = _whole("slicer: average_bytes", average_bytes, "bytes", 1)
    variation = _whole("slicer: variation_bytes", variation_bytes, "bytes", 0)
    if variation >= average:
        raise UsageError(f"slicer: variation_bytes is less than average_bytes ({average}); got {variation}")
    microseconds = round(_seconds("slicer: delay_s", delay_s, 60) * 1_000_000)
    return "slicer", {"average_size": average, "size_variation": variation, "delay": microseconds}


def limit_data(bytes: int) -> Poison:
    """After so many bytes comes the end."""
    return "limit_data", {"bytes": _whole("limit_data: bytes", bytes, "bytes", 0)}


def streams(direction: str) -> tuple[str, ...]:
    """Return Toxiproxy's streams of a direction.

    Raises:
        UsageError: it is none.
    """
    if direction not in DIRECTIONS:
        raise UsageError(
            "direction is 'both', 'upstream' (from the application to the HSM) or 'downstream' (back); "
            f"got {direction!r}"
        )
    return DIRECTIONS[direction]


def check_toxicity(toxicity: Any) -> float:
    """Return the share of connections that are struck.

    Raises:
        UsageError: not within 0 to 1, or 0: that strikes nobody.
    """
    if not _is_number(toxicity) or not 0 < toxicity <= 1:
        raise UsageError(f"toxicity is the share of connections that are struck, above 0 to 1; got {toxicity!r}")
    return float(toxicity)


def _ms(what: str, seconds: Any, longest_s: float = LONGEST_S) -> int:
    milliseconds = round(_seconds(what, seconds, longest_s) * 1000)
    if milliseconds == 0 and seconds != 0:
        raise UsageError(f"{what}: Toxiproxy counts whole milliseconds, 0.001 is the least; got {seconds!r}")
    return milliseconds


def _seconds(what: str, seconds: Any, longest_s: float) -> float:
    if not _is_number(seconds) or not 0 <= seconds <= longest_s:
        raise UsageError(f"{what} is a number of seconds, 0 to {longest_s:g}; got {seconds!r}")
    return float(seconds)


def _whole(what: str, number: Any, unit: str, least: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number < 2**31:
        raise UsageError(f"{what} is a whole number of {unit}, {least} or more; got {number!r}")
    return number


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
