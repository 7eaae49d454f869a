"""What can be made to happen at a point?

`str(effect)` is its spelling in a spec, and `effect_of` reads it back.  An effect is a
value: what it does to a client, a message or an HSM is done by whoever owns these.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from ..errors import ClusterError, Outcome, UsageError
from .answers import WANTED, canonical, error_of
from .points import nearest

_UNITS_NS = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_DURATION = re.compile(r"([0-9]{1,2000}(?:\.[0-9]{1,2000})?)(h|m|s|ms|us|ns)")
_HSM_ID = re.compile(r"[A-Za-z0-9_.:-]+")


def duration_ns(text: str) -> int:
    """Return the duration in ns that is written as `250ms`, `30s`, `1.5m`; units are h, m, s, ms, us, ns.

    Raises:
        UsageError: not a number with a unit, negative, or not a whole number of nanoseconds.
    """
    parts = _DURATION.fullmatch(text)
    if parts is None:
        hint = f" (did you mean '{text}s'?)" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else ""
        raise UsageError(f"{text!r} is not a duration{hint}; write a number and one of h m s ms us ns, such as 30s")
    exact = Fraction(parts[1]) * _UNITS_NS[parts[2]]
    if exact.denominator != 1:
        raise UsageError(f"{text!r} is not a whole number of nanoseconds, the smallest step of simulated time")
    return exact.numerator


def duration_text(ns: int) -> str:
    """Return the shortest spelling of a duration of `ns` nanoseconds that `duration_ns` reads back exactly."""
    if ns == 0:
        return "0s"
    spellings = []
    for unit, size in _UNITS_NS.items():
        if ns >= size and (number := _decimal(ns, size)) is not None:
            spellings.append(number + unit)
    return min(spellings, key=lambda text: (len(text), "." in text))


def _decimal(dividend: int, divisor: int) -> str | None:
    """Return the quotient in decimal digits, or None where these would never end."""
    whole, rest = divmod(dividend, divisor)
    digits = ""
    while rest and len(digits) < len(str(divisor)):
        digit, rest = divmod(rest * 10, divisor)
        digits += str(digit)
    if rest:
        return None
    return f"{whole}.{digits}" if digits else str(whole)


@dataclass(frozen=True, slots=True)
class Pass:
    """Nothing happens: the passage is only counted."""

    name: ClassVar[str] = "pass"
    meaning: ClassVar[str] = "nothing; only counts"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Delay:
    """What is next happens later, by `ns` nanoseconds of simulated time."""

    name: ClassVar[str] = "delay"
    meaning: ClassVar[str] = "later: delay 30s"

    ns: int

    def __post_init__(self) -> None:
        if not isinstance(self.ns, int) or isinstance(self.ns, bool):
            raise UsageError(f"Delay takes whole nanoseconds, got {self.ns!r}; Delay.of('30s') reads a duration")
        if self.ns < 0:
            raise UsageError(f"a delay cannot be negative, got {self.ns} ns")

    @classmethod
    def of(cls, text: str) -> "Delay":
        """Return the delay of a duration such as `30s` (see `duration_ns`)."""
        return cls(duration_ns(text))

    def __str__(self) -> str:
        return f"{self.name} {duration_text(self.ns)}"


@dataclass(frozen=True, slots=True)
class Hold:
    """It stops there until it is released."""

    name: ClassVar[str] = "hold"
    meaning: ClassVar[str] = "stops there until it is released"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Drop:
    """The message vanishes; at a client or sync point the step is skipped and counts as not done."""

    name: ClassVar[str] = "drop"
    meaning: ClassVar[str] = "the message vanishes; elsewhere the step is skipped and counts as not done"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Corrupt:
    """The receiver closes the connection; with `payload` a bit of the masked object flips instead."""

    name: ClassVar[str] = "corrupt"
    meaning: ClassVar[str] = "the receiver closes the connection; corrupt payload: a bit of the masked object flips"

    payload: bool = False

    def __str__(self) -> str:
        return f"{self.name} payload" if self.payload else self.name


@dataclass(frozen=True, slots=True)
class Fail:
    """An error answer.

    Attributes:
        answer: a PKCS#11 return value (`CKR_DEVICE_ERROR`), a code of the HSM (`0xBB`, kept in
            upper case hex; decimal is read too) or the name of an error class (`HsmBusy`).
    """

    name: ClassVar[str] = "fail"
    meaning: ClassVar[str] = "an error answer: fail CKR_DEVICE_ERROR, fail 0xBB, fail KeyNotOnHsm"

    answer: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "answer", canonical(self.answer))

    def error(self, hsm: str | None = None, outcome: Outcome | None = None, sdk: int = 5) -> ClusterError:
        """Return the error that an application of this SDK (3 or 5) meets (see `answers.error_of`)."""
        return error_of(self.answer, hsm, outcome, sdk)

    def __str__(self) -> str:
        return f"{self.name} {self.answer}"


@dataclass(frozen=True, slots=True)
class Aimed:
    """An effect on an HSM as a whole, which has a name.

    Attributes:
        target: an HSM's id, `source` (which made the key), `here` (which the passage is about), or None for here.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]

    target: str | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not (isinstance(self.target, str) and _HSM_ID.fullmatch(self.target)):
            raise UsageError(f"{self.name} takes the id of an HSM, 'source', 'here' or nothing, got {self.target!r}")

    def __str__(self) -> str:
        return f"{self.name} {self.target}" if self.target else self.name


@dataclass(frozen=True, slots=True)
class Crash(Aimed):
    """An HSM loses power, restartable; at a client's point, without a target, the application process ends."""

    name: ClassVar[str] = "crash"
    meaning: ClassVar[str] = "power off, restartable; at client.* without a target: the application process ends"


@dataclass(frozen=True, slots=True)
class Destroy(Aimed):
    """An HSM is lost for good."""

    name: ClassVar[str] = "destroy"
    meaning: ClassVar[str] = "the HSM is lost for good"


@dataclass(frozen=True, slots=True)
class Pause(Aimed):
    """An HSM falls silent while it is up, until the fault is taken out or the HSM is resumed."""

    name: ClassVar[str] = "pause"
    meaning: ClassVar[str] = "the HSM is up and silent from there on, until the fault is taken out or resume(hsm)"


@dataclass(frozen=True, slots=True)
class FillDisk(Aimed):
    """An HSM's disk has no room for a further token key, until the fault is taken out or the disk is cleared."""

    name: ClassVar[str] = "fill-disk"
    meaning: ClassVar[str] = "the HSM's disk is full from there on, until the fault is taken out or clear_disk(hsm)"


Effect = Pass | Delay | Hold | Drop | Corrupt | Fail | Aimed

_AIMED: Mapping[str, type[Aimed]] = {kind.name: kind for kind in (Crash, Destroy, Pause, FillDisk)}

EFFECTS: Mapping[str, type[Effect]] = {
    **{kind.name: kind for kind in (Pass, Delay, Hold, Drop, Corrupt, Fail)},
    **_AIMED,
}
"""Effects by name, in the order in which they are listed for people."""


def effect_of(name: str, argument: str | None = None) -> Effect:
    """Return the effect that is spelled `name argument`.

    Raises:
        UsageError: no such effect, or its argument is missing, too much or wrong.
    """
    if name not in EFFECTS:
        raise UsageError(f"unknown effect {name!r}{nearest(name, EFFECTS)}; effects are {', '.join(EFFECTS)}")
    if name in _AIMED:
        return _AIMED[name](argument)
    if name == Corrupt.name:
        if argument not in (None, "payload"):
            raise UsageError(f"corrupt takes nothing or 'payload', got {argument!r}")
        return Corrupt(payload=argument is not None)
    if name in (Delay.name, Fail.name):
        if argument is None:
            raise UsageError("delay needs a duration: delay 30s" if name == Delay.name else f"fail needs {WANTED}")
        return Delay.of(argument) if name == Delay.name else Fail(argument)
    if argument is not None:
        raise UsageError(f"{name} takes no argument, got {argument!r}")
    if name == Pass.name:
        return Pass()
    return Hold() if name == Hold.name else Drop()
