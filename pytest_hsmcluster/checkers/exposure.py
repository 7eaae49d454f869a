"""How long was a key that an application relies on one misfortune away from being lost, and who used it meanwhile?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from .durability import copies_needed, preventing, running_copies
from .facts import Facts, KeyFacts
from .operation import CREATES, NO_USE, Operation
from .verdict import Finding, instant

NEEDED = copies_needed(None, survive=1)
"""Running HSMs that are enough, as for `durable()`."""


@dataclass(frozen=True, slots=True)
class Exposure(Finding):
    """The time of one key from its first copy to enough copies.

    `hsms` are the running HSMs that held it all that time or came to hold it; `since` is its first copy.

    Attributes:
        until_ns: when it was on enough running HSMs for the first time, or was deleted or lost before, or the history
            ended; ns of simulated time.
        enough: whether it ever was on enough.
        uses: how many calls that used it were ok before.
    """

    until_ns: int = 0
    enough: bool = True
    uses: int = 0

    @property
    def lasted_ns(self) -> int:
        """How long it was exposed; ns of simulated time."""
        return self.until_ns - self.since_ns


def exposures(facts: Facts) -> list[Exposure]:
    """Return the exposure of each acknowledged key, in order of birth."""
    uses: dict[str, list[Operation]] = {}
    for operation in facts.operations.values():
        if operation.outcome == "ok" and operation.name not in NO_USE:
            for name in operation.named:
                uses.setdefault(name, []).append(operation)
    return [_exposure(facts, key, uses.get(key.name, ())) for key in facts.token_keys() if key.acknowledged is not None]


def unbearable(found: Sequence[Exposure], p99: float | None, uses_before_durable: int | None) -> list[Exposure]:
    """Return the exposures that break a bound.

    Args:
        found: all of them.
        p99: seconds that 99 of 100 exposures may last at most; if more of them last longer, those are returned.
        uses_before_durable: how often a key may be used meanwhile.

    Raises:
        UsageError: a bound that is no number, or negative.
    """
    _check("p99", p99, "seconds, a number", (int, float))
    _check("uses_before_durable", uses_before_durable, "a number of uses, an integer", int)
    longest_ns = math.inf if p99 is None else p99 * 1e9
    if percentile([one.lasted_ns for one in found], 99) <= longest_ns:
        longest_ns = math.inf  # one in a hundred may
    most = math.inf if uses_before_durable is None else uses_before_durable
    return [one for one in found if one.lasted_ns > longest_ns or one.uses > most]


def percentile(values: Sequence[int], percent: int) -> int:
    """Return the smallest value that so many percent of the values do not exceed (nearest rank); 0 of none."""
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1] if values else 0


def _exposure(facts: Facts, key: KeyFacts, uses: Sequence[Operation]) -> Exposure:
    began_ns, enough, index, until_ns, most = key.born.at_ns, False, len(facts.history), facts.instant_ns, 0
    ends = [(delete.invoked.index, delete.invoked.at_ns) for delete in key.deletes if delete.outcome != "fail"]
    if not facts.holders(key) and key.moves:
        ends.append(key.moves[-1][:2])
    if ends:
        index, until_ns = min(ends)
    for at, at_ns, count in running_copies(facts, key):
        if at >= index:
            break
        most = max(most, count)
        if count >= NEEDED:
            enough, index, until_ns = True, at, at_ns
            break
    meanwhile = [one for one in uses if one.ended is not None and one.ended.index < index and not _made(one, key)]
    lasted = f"{(until_ns - began_ns) / 1e9:.6f} s on fewer than {NEEDED} running HSMs"
    told = lasted if enough else f"{lasted}, and never on more than {most}"
    if meanwhile:
        times = "once" if len(meanwhile) == 1 else f"{len(meanwhile)} times"
        last = meanwhile[-1].ended
        assert last is not None
        told += f"; used {times} meanwhile, by {meanwhile[-1].client} at {instant(last.at_ns)} for the last time"
    return Exposure(
        "exposure",
        key.name,
        key.label,
        key.handle,
        facts.by_rank(dict.fromkeys(hsm for at, _, hsm, held in key.moves if held and at <= index)),
        began_ns,
        told,
        preventing(facts, key, NEEDED),
        until_ns,
        enough,
        len(meanwhile),
    )


def _made(operation: Operation, key: KeyFacts) -> bool:
    return operation.name in CREATES and operation.invoked.op == key.born.op


def _check(name: str, value: object, what: str, kind: type | tuple[type, ...]) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise UsageError(f"exposure: {name} is {what}, 0 or more; got {value!r}")
