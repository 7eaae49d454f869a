"""Which calls met an HSM that did not have the key yet, and did the application try again?"""

import math

from ..errors import UsageError
from .facts import Facts
from .operation import Miss
from .verdict import Finding, instant, listed


def routing_misses(facts: Facts) -> list[Finding]:
    """Return every routing miss, retried or not, in order.  `Finding.hsms` is the HSM that was asked."""
    return [_finding(facts, miss) for miss in facts.misses]


def unretried_misses(facts: Facts, within: float | None) -> list[Finding]:
    """Return the misses that no `ok` of the same operation on the key by the same application followed.

    A miss whose key was deleted since is none.

    Args:
        within: seconds in which the retry must have succeeded; None for any time.

    Raises:
        UsageError: `within` is no number of seconds.
    """
    limit_ns = _limit_ns(within)
    return [
        _finding(facts, miss)
        for miss in facts.misses
        if (miss.retried_ns is None or (limit_ns is not None and miss.retried_ns - miss.at_ns > limit_ns))
        and all(delete.outcome == "fail" for delete in facts.keys[miss.key].deletes)
    ]


def _limit_ns(within: float | None) -> int | None:
    if within is None:
        return None
    if isinstance(within, bool) or not isinstance(within, int | float) or not math.isfinite(within) or within < 0:
        raise UsageError(f"misses_retried: within is a number of seconds, 0 or more, got {within!r}")
    return round(within * 1e9)


def _finding(facts: Facts, miss: Miss) -> Finding:
    key, call = facts.keys[miss.key], miss.operation
    if miss.retried_ns is None:
        after = "never retried with success"
    else:
        after = f"retried ok after {instant(miss.retried_ns - miss.at_ns)}"
    cause = f"{call.name} by {call.client} was routed there while {listed(miss.holders)} held the key; {after}"
    return Finding("misses_retried", key.name, key.label, key.handle, (miss.hsm,), miss.at_ns, cause)
