"""Where do two runs part that should have been the same?"""

import json
from itertools import zip_longest

from .events import FIELDS, Kind, read
from .history import History

CAUSES = (
    "threads that race for the cluster",
    "the wall clock, `time.time()` or `datetime.now()`, where simulated time belongs",
    "the order of a `set`, or `hash()` of a str",
    "`random`, `uuid4()` or `id()` without a seed",
    "state that outlives the test: a module's variable, a file, a fixture of a wider scope",
    "an answer from the network",
)
"""Why an application does not repeat itself, the likeliest first."""

_WHERE_ONE_GOES_ON = tuple(CAUSES[index] for index in (4, 1, 3, 0, 2, 5))


def first_difference(one: History, other: History) -> str | None:
    """Return in a few lines the first event in which two histories differ, or None.

    What a digest leaves out is no difference: names that the application chose count by first appearance.

    Returns:
        Lines of text: the event on each side, the operation that it belongs to, and the likely causes.
    """
    pairs = enumerate(zip_longest(one.canonical(), other.canonical()))
    found = next(((index, mine, theirs) for index, (mine, theirs) in pairs if mine != theirs), None)
    if found is None:
        return None
    index, mine, theirs = found
    going_on = [history for history in (one, other) if not _over(history, index)]
    sides = [str(history[index]) if history in going_on else "nothing more happens" for history in (one, other)]
    if sides[0] == sides[1]:  # the same name, but it is not as new as it was
        sides = [str(mine), str(theirs)]
    lines = [f"event {index} is the first that differs{_within(going_on[0], index) if going_on else ''}"]
    lines += [f"  {name}: {side}" for name, side in zip(("first ", "second"), sides, strict=True)]
    likely = _likely(str(mine), str(theirs)) if len(going_on) == 2 else _WHERE_ONE_GOES_ON
    return "\n".join([*lines, f"  likely causes: {'; '.join(likely)}"])


def _over(history: History, index: int) -> bool:
    """Whether nothing happens from here on; the audit of a cluster that is closed is no event of its story."""
    return index >= len(history) or history[index].kind == Kind.AUDIT


def _within(history: History, index: int) -> str:
    """Return which operation an event belongs to, if it is not the beginning of one."""
    op = 0 if history[index].kind == Kind.INVOKE else history[index].fields.get("op")
    for record in reversed(history.records[:index]) if op else ():
        if record[0] == Kind.INVOKE and record[2] == op:
            event = read(record, 0)
            return f", within {event.name} of {event.client}"
    return ""


def _likely(mine: str, theirs: str) -> tuple[str, ...]:
    """Return the causes of a difference between two canonical records, the likeliest first."""
    threads, clock, order, dice, state, network = CAUSES
    a, b = json.loads(mine), json.loads(theirs)
    if a[0] != b[0]:
        return CAUSES
    differing = [name for name, x, y in zip(("kind", "at_ns", *FIELDS[a[0]]), a, b, strict=True) if x != y]
    if differing == ["at_ns"]:
        return (clock, threads, dice, state, network)
    if a[0] != Kind.INVOKE or {"client", "user"} & set(differing):
        return (threads, order, dice, state, clock, network)
    return (order, dice, state, threads, clock, network)
