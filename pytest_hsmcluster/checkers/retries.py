"""Which retries of an application left their bounds, did not back off, or made a key twice?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import UsageError
from ..history.places import Place
from .attempts import Attempt, Chain
from .facts import Facts
from .retry_report import NO_PAUSE_NS, RetryReport, curve, retried_in_vain
from .verdict import Finding, instant

PATIENT = {
    "HsmBusy": "an HSM that is busy is no less busy at once",
    "KeyUnavailable": "a key comes to more HSMs with time only",
    "TooFewCopies": "HSMs come back with time only",
    "KeyCapacityReached": "an HSM that is full does not empty at once",
    "SessionLimitReached": "sessions end with time only",
}
"""Errors after which even the first retry needs a pause.

After the others it may come at once: the next attempt may go to another HSM, that has the key or is up.

Source:
    AWS CloudHSM User Guide, "Best practices for application integration": retries with exponential backoff.  "Key
    synchronization": a call that met an HSM without the key is tried again.  AWS support, as quoted in
    mozilla-services/autograph issue 244: the next attempt may be balanced to a healthy HSM.  That the first retry may
    come at once, and none after it, is a guess.
"""

NOBODY = "no HSM can be reached, and a reconnect takes time"
"""Why `HsmUnavailable` needs a pause where it is about no HSM in particular.

Source: aws-samples/aws-cloudhsm-jce-examples, ClientFailureRunner: back off, the daemon reconnects.
"""


@dataclass(frozen=True, slots=True)
class RetryFinding(Finding):
    """A bound that a retry broke.

    `key` is empty and `handle` 0 where no key was known; `hsms` are those that the errors are about.

    Attributes:
        operation: what was called.
        application: who called.
        place: the line of the attempt that broke the bound, or None where it is not known.
    """

    operation: str = ""
    application: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        named = f" ({self.key}, handle {self.handle})" if self.key else ""
        about = f" {self.label!r}{named}" if self.label or self.key else ""
        return f"retry of {self.operation}{about} by {self.application} since {instant(self.since_ns)}: {self.cause}"


def broken(
    facts: Facts, report: RetryReport, max_attempts: int | None, max_elapsed: float | None, blind_creates: bool
) -> list[RetryFinding]:
    """Return the findings, in the order of the calls.

    Args:
        max_attempts: how often one thing may be tried.
        max_elapsed: seconds from the first attempt to the end of the last.
        blind_creates: whether a key may be made again without a look for the one that may have been left.

    Raises:
        UsageError: a bound that makes no sense; says what is allowed.
    """
    _check_bounds(max_attempts, max_elapsed, blind_creates)
    shrinking = {chain.attempts[0].op for site in report.sites if site.shrinks for chain in site.retried}
    found: list[RetryFinding] = []
    for chain in report.chains:
        causes = [
            *_too_often(chain, max_attempts),
            *_too_long(chain, max_elapsed),
            *_in_vain(chain),
            *_at_once(chain),
            *(_shrinking(chain) if chain.attempts[0].op in shrinking else ()),
            *(() if blind_creates else _blindly(facts, chain)),
        ]
        found.extend(_finding(facts, chain, *cause) for cause in causes)
    return found


_Cause = tuple[Attempt, str]
"""The attempt that broke a bound, and how."""


def _too_often(chain: Chain, most: int | None) -> Iterator[_Cause]:
    tried = len(chain.attempts)
    if most is not None and tried > most:
        yield chain.attempts[most], f"tried {tried} times, and at most {most} are allowed; {_errors(chain)}"


def _too_long(chain: Chain, longest: float | None) -> Iterator[_Cause]:
    if longest is not None and len(chain.attempts) > 1 and chain.elapsed_ns > longest * 1e9:
        took = f"{chain.elapsed_ns / 1e9:.6g} s"
        yield (
            chain.attempts[-1],
            f"went on for {took} in {len(chain.attempts)} attempts, and at most {longest:g} s are allowed; "
            f"{_errors(chain)}",
        )


def _in_vain(chain: Chain) -> Iterator[_Cause]:
    errors = retried_in_vain(chain)
    if errors:
        first = next(number for number, one in enumerate(chain.attempts) if one.incurable)
        times = _times(len(chain.attempts) - first - 1)
        yield chain.attempts[first + 1], f"tried again {times} after {errors[0]}, which no retry heals"


def _at_once(chain: Chain) -> Iterator[_Cause]:
    """Yield the first retry that came at once and should not have."""
    hasty: list[tuple[int, str]] = []
    for number, wait in enumerate(chain.waits_ns):
        before = chain.attempts[number]
        why = _patience(before) or ("a second retry needs a pause" if number else "")
        if wait < NO_PAUSE_NS and why and not before.incurable:
            hasty.append((number, why))
    if hasty:
        number, why = hasty[0]
        errors = ", ".join(dict.fromkeys(str(chain.attempts[one].error) for one, _ in hasty))
        times = "" if len(hasty) == 1 else f" {_times(len(hasty))}"
        yield chain.attempts[number + 1], f"did not back off: tried again at once{times} after {errors}: {why}"


def _shrinking(chain: Chain) -> Iterator[_Cause]:
    yield chain.attempts[-1], f"did not back off: its waits shrink: {curve(chain.waits_ns)}"


def _blindly(facts: Facts, chain: Chain) -> Iterator[_Cause]:
    for number, attempt in enumerate(chain.attempts):
        if attempt.blind:
            before = chain.attempts[number - 1] if number else None
            error = f" ({before.error})" if before else ""
            left = f"; {before.key} was left" if before and before.key in facts.keys else ""
            yield (
                attempt,
                f"made the key again after an unknown outcome{error} without looking for the first one: "
                f"find_keys() with its label shows whether it is there{left}",
            )


def _finding(facts: Facts, chain: Chain, attempt: Attempt, cause: str) -> RetryFinding:
    key = facts.keys.get(chain.key or "")
    where = "" if attempt.place is None else f"{attempt.place} "
    return RetryFinding(
        check="retries",
        key="" if key is None else key.name,
        label=chain.label or "",
        handle=0 if key is None else key.handle,
        hsms=tuple(dict.fromkeys(one.hsm for one in chain.attempts if one.hsm is not None)),
        since_ns=attempt.began_ns,
        cause=where + cause,
        operation=chain.operation,
        application=chain.application,
        place=attempt.place,
    )


def _patience(attempt: Attempt) -> str:
    """Return why the attempt after this one needs a pause, or nothing."""
    if attempt.error == "HsmUnavailable" and attempt.hsm is None:
        return NOBODY
    return PATIENT.get(attempt.error or "", "")


def _errors(chain: Chain) -> str:
    counts: dict[str, int] = {}
    for error in chain.errors:
        counts[error] = counts.get(error, 0) + 1
    told = ", ".join(f"{error} {_times(count)}" for error, count in counts.items())
    return f"{told}; waited {curve(chain.waits_ns)}" if chain.waits_ns else told


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _check_bounds(max_attempts: object, max_elapsed: object, blind_creates: object) -> None:
    if max_attempts is not None and (
        isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1
    ):
        raise UsageError(f"retries: max_attempts is a number of attempts, an integer, 1 or more; got {max_attempts!r}")
    if max_elapsed is not None and (
        isinstance(max_elapsed, bool) or not isinstance(max_elapsed, int | float) or not 0 <= max_elapsed < math.inf
    ):
        raise UsageError(f"retries: max_elapsed is a number of seconds, 0 or more; got {max_elapsed!r}")
    if not isinstance(blind_creates, bool):
        raise UsageError(f"retries: blind_creates is True or False; got {blind_creates!r}")
