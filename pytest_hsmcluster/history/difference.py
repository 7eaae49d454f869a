"""Where do two runs part that should have been the same?"""

from itertools import zip_longest

from .events import FIELDS, Kind
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

def first_difference(one: History, other: History) -> str | None:
    """Return in a few lines the first event in which two histories differ, or None.

    What a digest leaves out is no difference: names that the application chose count by first appearance.

    Returns:
        Lines of text: the event on each side, the operation that it belongs to, and the likely causes.
    """
    lines = zip_longest(one.canonical(), other.canonical())
    index = next((index for index, (mine, theirs) in enumerate(lines) if mine != theirs), None)
    if index is None:
        return None
    sides = "\n".join(
        f"  {name}: {history[index] if index < len(history) else 'nothing more happens'}"
        for name, history in (("first ", one), ("second", other))
    )
    likely = "; ".join(_likely(one, other, index))
    return f"event {index} is the first that differs\n{sides}\n  likely causes: {likely}"


def _likely(one: History, other: History, index: int) -> tuple[str, ...]:
    """Return the causes, those first that fit this difference."""
    if index < min(len(one), len(other)):
        mine, theirs = one.records[index], other.records[index]
        fields = ("kind", "at_ns", *FIELDS.get(mine[0], ()))
        if mine[0] == theirs[0] and len(mine) == len(theirs):
            differing = [name for name, a, b in zip(fields, mine, theirs, strict=True) if a != b]
            if differing == ["at_ns"]:
                return (CAUSES[1], CAUSES[0], *CAUSES[3:])
            if mine[0] == Kind.INVOKE and {"client", "user"} & set(differing):
                return (CAUSES[0], *CAUSES[2:])
            if mine[0] == Kind.INVOKE:
                return (CAUSES[2], CAUSES[3], CAUSES[0], CAUSES[4], CAUSES[1])
    return CAUSES
