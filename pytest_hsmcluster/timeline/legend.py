"""What do the names and signs of a timeline mean?"""

from collections.abc import Iterator

from ..cryptoki import CKR
from ..history.events import Kind
from .bars import Track
from .columns import padded, width_of, wrapped
from .layout import Layout
from .pen import Pen
from .story import Sign, Story, quoted

MOST_KEYS = 12
MOST_FAULTS = 12
MOST_HOLDERS = 6
MOST_WANTED = 6


def legend(story: Story, plan: Layout, pen: Pen, width: int) -> Iterator[str]:
    """Yield the lines below a timeline: what was left out, then keys, faults, signs and errors that it shows."""
    if plan.left_out:
        about = f"rows about {pen.some(plan.wanted, MOST_WANTED)}, " if plan.wanted else ""
        were = "row is" if plan.left_out == 1 else "rows are"
        told = f"{plan.left_out} of {plan.total} {were} left out; {about}faults and states of HSMs come first."
        yield from wrapped(pen.plain(told), width)
    notes = [*_keys(story, plan), *_faults(story, pen), *_signs(story, plan, pen), *_errors(story)]
    notes = [(pen.plain(head), pen.plain(words)) for head, words in notes]
    indent = min(max((width_of(head) for head, _ in notes), default=0) + 2, width // 3)
    for head, words in notes:
        if width_of(head) > indent - 2:
            yield from wrapped(head, width)
            head = ""
        first, *rest = wrapped(words, width - indent)
        yield padded(head, indent) + first
        yield from (" " * indent + line for line in rest)


def _keys(story: Story, plan: Layout) -> Iterator[tuple[str, str]]:
    for key in plan.keys[:MOST_KEYS]:
        yield key, _key(story, key)
    if len(plan.keys) > MOST_KEYS:
        yield "", f"and {len(plan.keys) - MOST_KEYS} more keys"


def _key(story: Story, key: str) -> str:
    birth = story.births.get(key)
    if birth is None:
        return "was on no HSM in this journal"
    # The journal calls the kind of a key `kind`, and so does an event its own.
    kind = birth.key_kind
    label = quoted(birth.label) if isinstance(birth.label, str) and birth.label else "no label"
    half = f"{birth.cls} " if birth.cls in ("public", "private") else ""
    what = f"{kind} {half}{'token' if birth.token else 'session'} key"
    owner = f"owner {birth.owner}" if birth.owner else "no owner"
    return f"{label}, handle {birth.handle}, {what}, {owner}; at the end on {_holders(story, key)}"


def _holders(story: Story, key: str) -> str:
    holders = []
    for hsm, here in story.holdings.hsms.items():
        copy = here.copies.get(key) if here.restartable else None
        if copy is not None:
            oddities = [*([] if here.alive else [here.state]), *(["tombstoned"] if copy.tombstoned else [])]
            holders.append(f"{hsm} ({', '.join(oddities)})" if oddities else str(hsm))
    more = f" and {len(holders) - MOST_HOLDERS} more" if len(holders) > MOST_HOLDERS else ""
    return ", ".join(holders[:MOST_HOLDERS]) + more or "no HSM"


def _faults(story: Story, pen: Pen) -> Iterator[tuple[str, str]]:
    for number, (spec, hits) in enumerate([*story.faults.items()][:MOST_FAULTS], 1):
        yield f"{pen.glyphs.fault}{number}", spec + (f" (performed {hits} times)" if hits > 1 else "")
    if len(story.faults) > MOST_FAULTS:
        yield "", f"and {len(story.faults) - MOST_FAULTS} more faults"


def _signs(story: Story, plan: Layout, pen: Pen) -> Iterator[tuple[str, str]]:
    unknown = sum(outcome is Kind.INFO for outcome in story.outcomes.values())
    if unknown:
        what = "one operation, open to the end" if unknown == 1 else f"{unknown} operations, open to the end"
        yield f"{pen.glyphs.tracks[Track.UNKNOWN]} info", f"{what}: nobody knows whether it happened"
    starts = [mark.bar for mark in story.marks if mark.sign is Sign.START and mark.bar not in story.outcomes]
    if starts:
        what = "one operation" if len(starts) == 1 else f"{len(starts)} operations"
        yield pen.glyphs.tracks[Track.RUNS], f"at the end: {what} without an outcome"
    begins = [f"{key} at {pen.at(row.at_ns)} s".strip() for row in plan.rows for key in row.begins]
    if begins:
        yield pen.glyphs.here, f"here a finding begins: {', '.join(begins)}"


def _errors(story: Story) -> Iterator[tuple[str, str]]:
    for error, ckr in story.errors.items():
        if isinstance(ckr, int):
            name = f"CKR_{CKR(ckr).name}" if ckr in CKR.__members__.values() else "return value"
            yield error, f"{name} (0x{ckr:02X})"
