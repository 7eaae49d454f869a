"""What of a story is drawn where: lanes, rows, bars and what is left out, without a character of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from .bars import Bars, Track
from .rows import Finding, Row, chosen, rank_of, rows_of, with_findings
from .story import KEY_SIGNS, SERVICE, Place, Sign, Story

MOST_NAMES = 3
"""Names in one mark; of more, it says how many."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One column: a client with all its processes, an HSM, the service, or several folded into one.

    Attributes:
        folded: how many clients or HSMs share it because they found no room; 0 for a lane of its own.
    """

    kind: str
    name: str
    zone: str = ""
    folded: int = 0


@dataclass(frozen=True, slots=True)
class EndState:
    """One HSM at the end: its state, the keys that it holds and those that are only tombstones."""

    hsm: str
    state: str
    keys: tuple[str, ...]
    tombstones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A timeline, ready to be drawn.

    Attributes:
        lanes: from left to right.
        rows: from top to bottom; `left_out` of `total` are missing, `left_out_below` of them after the last.
        end: lane of an HSM → what it, or each one folded into it, looks like at the end.
        end_tracks: lane of a client → bars that are still open at the end.
        keys: what the legend explains: the wanted ones, then those drawn.
    """

    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    total: int
    left_out: int
    left_out_below: int
    end_ns: int
    end: dict[int, tuple[EndState, ...]]
    end_tracks: dict[int, tuple[Track, ...]]
    keys: tuple[str, ...]
    wanted: tuple[str, ...]


def lay_out(
    story: Story,
    *,
    keys: Collection[str] = (),
    findings: Sequence[Finding] = (),
    limit: int = 40,
    clients: int | None = None,
    hsms: int | None = None,
) -> Layout:
    """Return where everything goes.

    Args:
        story: what there is to draw.
        keys: names ("key-1") that matter most; those of `findings` are added.
        findings: each marks the row where it begins.
        limit: the most rows; the rest is left out, and counted.
        clients: the most lanes of clients; the last one takes all that find no room.  None: as many as there are.
        hsms: the same for HSMs.
    """
    found = [finding.key for finding in findings if finding.key is not None]
    wanted = tuple(dict.fromkeys([*keys, *found]))
    lanes, lane_of = _lanes(story, wanted, clients, hsms)
    rows = [*rows_of(story.marks, lane_of)]
    rows = _with_states(with_findings(rows, findings), lanes, lane_of)
    shown = chosen(rows, story, wanted, limit)
    drawn, end_tracks = _with_tracks(shown, lanes)
    counted = len(rows) - len(drawn)
    below = counted - sum(row.left_out for row in drawn)
    return Layout(
        lanes=lanes,
        rows=tuple(drawn),
        total=len(rows),
        left_out=counted,
        left_out_below=below,
        end_ns=story.end_ns,
        end=_end(story, lane_of, wanted),
        end_tracks=end_tracks,
        keys=_explained(drawn, story, wanted),
        wanted=wanted,
    )


def _lanes(
    story: Story, wanted: Collection[str], clients: int | None, hsms: int | None
) -> tuple[tuple[Lane, ...], dict[Place, int]]:
    """Return the lanes, and for each place the one in which it is drawn."""
    weights: dict[Place, int] = {}
    for mark in story.marks:
        weights[mark.place] = weights.get(mark.place, 0) + (rank_of(mark, story, wanted) < 2)
    lanes: list[Lane] = []
    lane_of: dict[Place, int] = {}
    groups = ("client", list(story.clients), clients), ("hsm", list(story.zones), hsms)
    for kind, names, most in groups:
        alone = names
        if most is not None and len(names) > most:
            by_weight = sorted(names, key=lambda name: -weights.get((kind, name), 0))
            alone = [name for name in names if name in by_weight[: most - 1]]
        for name in alone:
            lane_of[kind, name] = len(lanes)
            lanes.append(Lane(kind, name, story.zones.get(name, "") if kind == "hsm" else ""))
        folded = [name for name in names if name not in alone]
        if folded:
            lane_of |= dict.fromkeys(((kind, name) for name in folded), len(lanes))
            what = "clients" if kind == "client" else "HSMs"
            lanes.append(Lane(kind, f"{len(folded)} {'more ' if alone else ''}{what}", folded=len(folded)))
    if any(mark.place == SERVICE for mark in story.marks):
        lane_of[SERVICE] = len(lanes)
        lanes.append(Lane("service", "service"))
    return tuple(lanes), lane_of


def _with_states(rows: list[Row], lanes: tuple[Lane, ...], lane_of: dict[Place, int]) -> list[Row]:
    states = {index: "" for index, lane in enumerate(lanes) if lane.kind == "hsm" and not lane.folded}
    done = []
    for row in rows:
        for lane, marks in row.marks.items():
            for mark in marks:
                if lane in states:
                    states[lane] = mark.text if mark.sign is Sign.STATE else states[lane] or "unknown"
        done.append(replace(row, states=dict(states)))
    return done


def _with_tracks(rows: list[Row], lanes: tuple[Lane, ...]) -> tuple[list[Row], dict[int, tuple[Track, ...]]]:
    """Return the rows with the bars of each client, and the bars that are open at the end."""
    bars = {index: Bars() for index, lane in enumerate(lanes) if lane.kind == "client"}
    done = []
    for row in rows:
        marks = {lane: next((m for m in row.marks.get(lane, ()) if m.bar is not None), None) for lane in bars}
        done.append(replace(row, tracks={lane: bars[lane].row(mark) for lane, mark in marks.items()}))
    return done, {lane: of_lane.below for lane, of_lane in bars.items()}


def _end(story: Story, lane_of: dict[Place, int], wanted: Collection[str]) -> dict[int, tuple[EndState, ...]]:
    ends: dict[int, tuple[EndState, ...]] = {}
    age = {key: number for number, key in enumerate(story.births)}
    for hsm in story.zones:
        here = story.holdings.hsms.get(hsm)
        if here is None:
            continue
        copies = here.copies if here.restartable else {}
        keys = sorted(copies, key=lambda key: (key not in wanted, age.get(key, 0)))
        held = tuple(key for key in keys if copies[key].tombstoned is None)
        dead = tuple(key for key in keys if copies[key].tombstoned is not None)
        lane = lane_of["hsm", hsm]
        ends[lane] = (*ends.get(lane, ()), EndState(hsm, here.state, held, dead))
    return ends


def _explained(rows: list[Row], story: Story, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that a reader meets in these rows: the wanted ones, then the others by age."""
    met: dict[str, None] = {}
    for row in rows:
        for mark in (mark for marks in row.marks.values() for mark in marks):
            names = mark.names if mark.sign in KEY_SIGNS else ()
            if mark.bar is not None:
                names = tuple(story.bar_keys.get(mark.bar, ()))
            met.update(dict.fromkeys(names[:MOST_NAMES]))
    age = {key: number for number, key in enumerate(story.births)}
    others = [key for key in met if key not in wanted]
    return (*wanted, *sorted(others, key=lambda key: age.get(key, len(age))))
