"""What happened together, and which of it is worth a line?"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..history.events import Kind
from .bars import Track
from .story import BAR_SIGNS, KEY_SIGNS, Mark, Place, Sign, Story


class Finding(Protocol):
    """What a timeline needs of a checker's finding."""

    @property
    def key(self) -> str | None: ...

    @property
    def since_ns(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Row:
    """What happened in one instant, between an invocation that opens it and an outcome that closes it.

    Attributes:
        at_ns: instant in ns since the start.
        marks: lane → what is drawn there; equal marks are one with many names.
        tracks: lane of a client → its bars, from the left.
        states: lane of an HSM → its state after the row, "" before it was first seen.
        left_out: how many rows are left out just above.
        begins: keys about which a finding begins here ("" for one about no key).
    """

    at_ns: int
    marks: dict[int, tuple[Mark, ...]] = field(default_factory=dict)
    tracks: dict[int, tuple[Track, ...]] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    left_out: int = 0
    begins: tuple[str, ...] = ()


def rows_of(marks: Iterable[Mark], lane_of: dict[Place, int]) -> Iterable[Row]:
    """Yield rows so that reading them downwards never turns the order of what a client did and met."""
    row: Row | None = None
    closed = True
    for mark in marks:
        lane = lane_of[mark.place]
        taken = row is not None and mark.place[0] == "client" and lane in row.marks
        if row is None or closed or taken or row.at_ns != mark.at_ns or mark.sign in (Sign.START, Sign.CALL):
            if row is not None:
                yield row
            row = Row(mark.at_ns)
        row.marks[lane] = _joined(row.marks.get(lane, ()), mark)
        closed = mark.sign in (Sign.END, Sign.OPEN, Sign.CALL)
    if row is not None:
        yield row


def _joined(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    """Return the marks of a cell with one more, made one with the mark before where only a name differs."""
    if not marks or mark.sign in BAR_SIGNS or mark.sign is Sign.FAULT:
        return (*marks, mark)
    *others, last = marks
    if (last.sign, last.text, last.result) == (mark.sign, mark.text, mark.result):
        if last.who == mark.who:
            return (*others, replace(last, names=tuple(dict.fromkeys(last.names + mark.names))))
        if last.names == mark.names:
            return (*others, replace(last, who=last.who + mark.who))
    return (*marks, mark)


def with_findings(rows: list[Row], findings: Sequence[Finding]) -> list[Row]:
    """Return the rows with the beginning of each finding, on a row of its own where nothing else happened then."""
    for finding in findings:
        if finding.since_ns is None:
            continue
        key = finding.key or ""
        there = [at for at, row in enumerate(rows) if row.at_ns == finding.since_ns]
        about = [at for at in there if any(key in m.names for marks in rows[at].marks.values() for m in marks)]
        if there:
            at = [*about, *there][0]
            rows[at] = replace(rows[at], begins=tuple(dict.fromkeys((*rows[at].begins, key))))
        else:
            later = (at for at, row in enumerate(rows) if row.at_ns > finding.since_ns)
            rows.insert(next(later, len(rows)), Row(finding.since_ns, begins=(key,)))
    return rows


def rank_of(mark: Mark, story: Story, wanted: Collection[str]) -> int:
    """Return how much a mark is missed when it is left out: 0 most."""
    if mark.sign in (Sign.STATE, Sign.FAULT):
        return 0
    if mark.sign in KEY_SIGNS:
        return 0 if any(name in wanted for name in mark.names) else 3
    if mark.bar is not None:
        certain = story.outcomes.get(mark.bar) is Kind.OK
        if any(key in wanted for key in story.bar_keys.get(mark.bar, ())):
            return 1 if mark.sign is Sign.CALL and certain else 0
        return 3 if certain else 2
    return 2 if mark.sign is Sign.USER else 3


def chosen(rows: list[Row], story: Story, wanted: Collection[str], limit: int) -> list[Row]:
    """Return the rows that matter most, a bar's beginning never without its end; in doubt the newest."""
    if len(rows) <= limit:
        return rows
    ranks: list[int] = []
    partners: dict[int, list[int]] = {}
    born: set[str] = set()
    for at, row in enumerate(rows):
        marks = [mark for cell in row.marks.values() for mark in cell]
        rank = min((rank_of(mark, story, wanted) for mark in marks), default=3)
        births = [n for m in marks if m.sign is Sign.ADDED for n in m.names if n in wanted and n not in born]
        born.update(births)
        ranks.append(-1 if births or row.begins else rank)
        for mark in marks:
            if mark.bar is not None and mark.sign is not Sign.CALL:
                partners.setdefault(mark.bar, []).append(at)
    beside: dict[int, list[int]] = {}
    for ends in partners.values():
        for at in ends:
            beside.setdefault(at, []).extend(ends)
    kept: dict[int, None] = {}
    for at in sorted(range(len(rows)), key=lambda at: (ranks[at], -at)):
        unit = {row: None for row in (at, *beside.get(at, ())) if row not in kept}
        if len(kept) + len(unit) <= limit:
            kept |= unit
        elif ranks[at] >= 2:
            break  # half an operation, only because it still fits, tells nobody anything
    shown, above = [], -1
    for at in sorted(kept):
        shown.append(replace(rows[at], left_out=at - above - 1))
        above = at
    return shown
