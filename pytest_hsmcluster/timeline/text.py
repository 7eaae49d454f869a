"""How does a timeline look in a terminal, in plain characters?"""

from collections.abc import Collection, Iterator, Sequence

from ..history.history import History
from .bars import after
from .columns import clipped, padded, width_of, wrapped
from .layout import Lane, Layout, lay_out
from .legend import legend
from .pen import Pen
from .rows import Finding, Row
from .story import Mark, Sign, lane_of, tell

NARROWEST = 60
"""Below this width nothing can be read; a smaller one is taken as this."""

GAP = "  "
MOST_CLIENTS = 3
LEAST = {"client": 16, "hsm": 9, "service": 9}
"""Columns that a lane needs; where there is no room for that, lanes are folded."""
FOLDED = 15
"""What a lane needs that several HSMs share: it has their names to show."""

Piece = tuple[str, str, str]
"""What stands left of the first line of a text, what stands left of its further lines, and the text."""


def timeline_text(
    history: History,
    *,
    width: int = 100,
    limit: int = 40,
    ascii: bool = False,
    keys: Collection[str] | None = None,
    marks: Sequence[Finding] = (),
) -> str:
    """Return a history as a picture in plain text, time running downwards.

    A lane for each client, each HSM, and the service where it acted.  An operation is a bar from its invoke
    to its outcome; the bar of an `info` stays open to the end, because nobody knows whether it happened.
    Below stand what each HSM holds at the end and a legend of the keys, faults and errors that are shown.

    Args:
        history: live or loaded; one that is empty, cut off or odd is drawn as far as it tells.
        width: the most columns of a line; a value below 60 counts as 60.
        limit: the most rows.  Left out are first those that are neither about `keys` or `marks`, nor a fault or a
            state of an HSM; how many are left out is always said.
        ascii: use no character beyond ASCII.
        keys: names of keys ("key-1") that the reader asks about.
        marks: findings with `.key` and `.since_ns`: the row where each begins is marked, its key counts to `keys`.

    Returns:
        Lines without a newline at the end and without colour.
    """
    if not history.records:
        return "Nothing happened: the journal is empty."
    story, width = tell(history), max(width, NARROWEST)

    def planned(clients: int | None, hsms: int | None) -> Layout:
        return lay_out(story, keys=tuple(keys or ()), findings=marks, limit=limit, clients=clients, hsms=hsms)

    plan = planned(None, None)
    room = width - _time_width(plan, Pen(plan, ascii=ascii))
    if sum(len(GAP) + _least(lane) for lane in plan.lanes) > room:
        plan = planned(*_fold(plan.lanes, room))
    pen = Pen(plan, ascii=ascii)
    lines = [*_Table(plan, pen, width).lines(), "", *legend(story, plan, pen, width)]
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _time_width(plan: Layout, pen: Pen) -> int:
    longest = max([len(pen.at(row.at_ns)) for row in plan.rows] + [len("seconds")])
    return longest + (2 if any(row.begins for row in plan.rows) else 0)


def _least(lane: Lane) -> int:
    return max(LEAST[lane.kind], FOLDED if lane.folded else 0)


def _fold(lanes: Sequence[Lane], room: int) -> tuple[int, int]:
    """Return how many lanes clients and HSMs get, each at least one."""
    has = {kind: sum(lane.kind == kind for lane in lanes) for kind in LEAST}
    cost = {kind: len(GAP) + least for kind, least in LEAST.items()}
    room -= has["service"] * cost["service"]
    clients = min(has["client"], MOST_CLIENTS)
    while clients > 1 and clients * cost["client"] + min(has["hsm"], 3) * cost["hsm"] > room:
        clients -= 1
    room -= clients * cost["client"]
    alone = min(room // cost["hsm"], has["hsm"])
    return max(clients, 1), max(alone if alone == has["hsm"] else (room - FOLDED - len(GAP)) // cost["hsm"] + 1, 1)


class _Table:
    """Puts a layout into lines."""

    def __init__(self, plan: Layout, pen: Pen, width: int) -> None:
        self._plan, self._pen = plan, pen
        self._time = _time_width(plan, pen)
        self._cells = [self._row(row) for row in plan.rows]
        self._end = self._end_row()
        self._columns = self._widths(width - self._time)

    def lines(self) -> Iterator[str]:
        """Yield header, rows and the state at the end."""
        pen, plan = self._pen, self._plan
        rule = self._line(pen.glyphs.rule * self._time, [pen.glyphs.rule * room for room in self._columns])
        yield from self._block("seconds", [[("", "", self._head(lane))] for lane in plan.lanes])
        yield rule
        before: int | None = None
        for number, row in enumerate(plan.rows):
            if row.left_out:
                yield self._left_out(row.left_out, plan.rows[number - 1] if number else None)
            time = pen.at(row.at_ns) if row.at_ns != before or row.left_out or row.begins else ""
            if row.begins:
                time = f"{pen.glyphs.here} {time.rjust(self._time - 2)}"
            yield from self._block(time, self._cells[number])
            before = row.at_ns
        if plan.left_out_below:
            yield self._left_out(plan.left_out_below, plan.rows[-1] if plan.rows else None)
        yield rule
        yield from self._block("at end", self._end)

    # What stands in a cell.

    def _head(self, lane: Lane) -> str:
        return self._pen.plain(f"{lane.name} ({lane.zone})" if lane.zone else lane.name)

    def _row(self, row: Row) -> list[list[Piece]]:
        cells: list[list[Piece]] = []
        for index, lane in enumerate(self._plan.lanes):
            tracks = row.tracks.get(index, ())
            here, below = self._pen.bars(tracks), self._pen.bars([after(track) for track in tracks])
            # A thread of dots shows that an HSM is there; it breaks where the HSM is gone or silent.
            idle = self._pen.glyphs.alive if row.states.get(index) in ("up", "joining", "joined") else ""
            texts = [self._words(mark, lane) for mark in row.marks.get(index, ())] or [idle]
            cells.append([(here, below, text) for text in texts])
        return cells

    def _end_row(self) -> list[list[Piece]]:
        cells = []
        for index, lane in enumerate(self._plan.lanes):
            bars = self._pen.bars(self._plan.end_tracks.get(index, ()))
            texts = list(self._folded_end(index) if lane.folded else self._hsm_end(index))
            cells.append([(bars, bars, self._pen.plain(text)) for text in texts or [""]])
        return cells

    def _hsm_end(self, lane: int) -> Iterator[str]:
        for end in self._plan.end.get(lane, ()):
            yield end.state
            if end.keys:
                yield self._pen.some(end.keys)
            elif end.state != "lost":
                yield "no keys"
            if end.tombstones:
                yield self._pen.glyphs.dead + self._pen.some(end.tombstones)

    def _folded_end(self, lane: int) -> Iterator[str]:
        ends = self._plan.end.get(lane, ())
        for state in dict.fromkeys(end.state for end in ends):
            yield f"{sum(end.state == state for end in ends)} {state}"

    def _words(self, mark: Mark, lane: Lane) -> str:
        """Return the text of a mark, with the name of its process or HSM where the lane does not say it."""
        if lane.kind == "client":
            whole = mark.who[0]
            who = whole if lane.folded else whole[len(lane_of(whole)) :]
            if mark.sign in (Sign.END, Sign.OPEN) and not mark.text:
                who = ""  # the bar says it
        else:
            who = self._pen.some(mark.who) if lane.folded else ""
        return self._pen.plain(f"{who} {self._mark(mark)}".strip())

    def _mark(self, mark: Mark) -> str:
        glyphs, names = self._pen.glyphs, self._pen.some(mark.names)
        match mark.sign:
            case Sign.ADDED:
                return f"+{names} {mark.text}"
            case Sign.REMOVED:
                return f"-{names} {mark.text}"
            case Sign.TOMBSTONED:
                return f"{glyphs.dead}{names} {mark.text}"
            case Sign.KEY:
                return f"{names} {mark.text}"
            case Sign.USER:
                return f"user {names} {mark.text}"
            case Sign.STATE:
                return f"{mark.text.upper()} {mark.result}"
            case Sign.FAULT:
                return f"{glyphs.fault}{names} {mark.text}"
            case Sign.CALL:
                often = f" {glyphs.times}{mark.count}" if mark.count > 1 else ""
                until = f" until {self._pen.at(mark.until_ns)}" if mark.count > 1 else ""
                return f"{mark.text}{often} {glyphs.arrow} {mark.result}{_made(mark)}{until}"
            case Sign.START | Sign.SWEEP:
                return mark.text
            case Sign.END | Sign.OPEN:
                # Text stands here only where the journal has no invoke: it was cut off at its beginning.
                return f"{mark.result}{_made(mark)}" + (f" ({mark.text})" if mark.text else "")

    # Where it stands.

    def _widths(self, room: int) -> list[int]:
        """Return the width of each lane: what it needs; where that is too much, those that have most give."""
        widths, least = [], [_least(lane) for lane in self._plan.lanes]
        for index, lane in enumerate(self._plan.lanes):
            pieces = [piece for row in (*self._cells, self._end) for piece in row[index]]
            needs = [width_of(first) + width_of(text) for first, _, text in pieces]
            widths.append(max([*needs, width_of(self._head(lane)), least[index] if lane.kind != "client" else 0]))
        room -= len(GAP) * len(widths)
        while widths and sum(widths) > room:
            widest = max(range(len(widths)), key=lambda index: widths[index] - least[index])
            widths[widest] -= 1
        return widths

    def _block(self, time: str, cells: list[list[Piece]]) -> Iterator[str]:
        """Yield the lines of one row; the bars of a client go on beside whatever needs more lines."""
        columns = []
        for room, pieces in zip(self._columns, cells, strict=True):
            lines = []
            for first, further, text in pieces:
                indent = further + (GAP if first else " ")
                head, *rest = wrapped(text, max(room - width_of(first), 2), max(room - width_of(indent), 2))
                lines += [first + head, *(indent + line for line in rest)]
            columns.append((lines, pieces[-1][1]))
        for number in range(max((len(lines) for lines, _ in columns), default=1)):
            line = [lines[number] if number < len(lines) else below for lines, below in columns]
            yield self._line("" if number else time, line)

    def _left_out(self, count: int, above: Row | None) -> str:
        """Return the line that stands for rows; bars that are open above it go on through it."""
        tracks = above.tracks if above else {}
        open_bars = [self._pen.bars([after(t) for t in tracks.get(lane, ())]) for lane in range(len(self._columns))]
        line = self._line(self._pen.glyphs.skipped, open_bars)
        words = f"{count} {'row' if count == 1 else 'rows'} left out"
        start = self._time + len(GAP) + (width_of(open_bars[0]) if open_bars else 0)
        return padded(line[:start], start) + words + line[start + len(words) :]

    def _line(self, time: str, cells: Sequence[str]) -> str:
        filled = [padded(clipped(cell, room), room) for cell, room in zip(cells, self._columns, strict=True)]
        return GAP.join([time.rjust(self._time), *filled]).rstrip()


def _made(mark: Mark) -> str:
    if mark.made is None:
        return ""
    word, first, last = mark.made
    return f" {word} {first}" if first == last else f" {word} {first} to {last}"
