"""What of a journal is worth drawing, and whose lane is it in?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ..history.events import OUTCOMES, Cause, Event, Kind, read
from ..history.history import History
from ..history.holdings import Holdings, HsmHoldings

Place = tuple[str, str]
"""Kind of lane (`client`, `hsm`, `service`) and name."""

SERVICE: Place = ("service", "service")
LONGEST_LABEL = 24


class Sign(StrEnum):
    """What a mark shows."""

    START = "start"  # an operation was invoked: its bar begins
    END = "end"  # ok or fail: its bar ends
    OPEN = "open"  # info: its bar never ends
    CALL = "call"  # invoke and outcome with nothing in between, once or often
    FAULT = "fault"
    STATE = "state"  # of an HSM
    ADDED = "added"
    REMOVED = "removed"
    TOMBSTONED = "tombstoned"
    KEY = "key"  # an attribute or a share changed
    USER = "user"
    SWEEP = "sweep"  # the service copied; where to stands in the lanes of HSMs


KEY_SIGNS = (Sign.ADDED, Sign.REMOVED, Sign.TOMBSTONED, Sign.KEY)
BAR_SIGNS = (Sign.START, Sign.END, Sign.OPEN, Sign.CALL)


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing to draw, in words; the glyph is the drawer's.

    Attributes:
        index: place in the journal of the event that it shows.
        place: the lane that it wants.
        who: full names of the processes or HSMs that it is about ("app#2", "hsm-1").
        names: what it is about: keys, users, the number of a fault.
        text: the words: "generate_key 'payroll'", a cause, a state.
        result: the outcome of a call, the cause of a state.
        bar: the index of the mark where its operation's bar begins, for bar signs.
        made: what calls produced: a word, the first and the last number.
        count: how many calls it stands for; the last one began at `until_ns`.
    """

    index: int
    at_ns: int
    place: Place
    sign: Sign
    who: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    text: str = ""
    result: str = ""
    bar: int | None = None
    made: tuple[str, int, int] | None = None
    count: int = 1
    until_ns: int = 0


@dataclass(slots=True)
class Story:
    """A journal as marks, and what the legend needs.

    Attributes:
        marks: in the order of the journal.
        zones: HSM → zone, in order of appearance.
        clients: names of the lanes of clients, in order of appearance.
        births: key → the event that first put it on an HSM.
        faults: spec → how often it was performed.
        errors: error class → return value.
        bar_keys: bar → keys that its operation concerned, as the keys of a dict.
        outcomes: bar → how the operation ended; bars without one were still running.
        holdings: what each HSM holds at the end.
        end_ns: the last instant of the journal.
    """

    marks: list[Mark] = field(default_factory=list)
    zones: dict[str, str] = field(default_factory=dict)
    clients: dict[str, None] = field(default_factory=dict)
    births: dict[str, Event] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    bar_keys: dict[int, dict[str, None]] = field(default_factory=dict)
    outcomes: dict[int, Kind] = field(default_factory=dict)
    holdings: Holdings = field(default_factory=Holdings)
    end_ns: int = 0


def tell(history: History) -> Story:
    """Return what is worth drawing of a history, also of one that is empty, cut off or odd."""
    teller = _Teller()
    for index, record in enumerate(history.records):
        if record[0] in _TOLD:
            teller.take(_tame(read(record, index)))
    if history.records:
        teller.story.end_ns = history.records[-1][1]
    return teller.story


def lane_of(client: str) -> str:
    """Return the name of the lane in which a process is drawn: "app" for "app#2" too."""
    base, hash_sign, number = client.rpartition("#")
    return base if hash_sign and base and number.isdigit() else client


def quoted(label: str) -> str:
    """Return a label as it is shown: in quotes, harmless to a terminal, not long."""
    return repr(label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…")


class _Teller:
    """Takes events in order and keeps which operations are open."""

    def __init__(self) -> None:
        self.story = Story()
        self._open: dict[Any, Mark] = {}
        # Of operations that ended too: a late commit belongs to one that was given up.
        self._bars: dict[Any, int] = {}

    def take(self, event: Event) -> None:
        """Add what one event has to show."""
        if event.kind not in OUTCOMES and None not in (event.fields.get("hsm"), event.fields.get("key", "")):
            self._meet(event)
        _TOLD[event.kind](self, event)

    def _add(self, event: Event, place: Place, sign: Sign, **words: Any) -> Mark:
        mark = Mark(event.index, event.at_ns, place, sign, **words)
        self.story.marks.append(mark)
        return mark

    def _meet(self, event: Event) -> None:
        """Make the fold hold even where the journal begins in the middle, and take the event into it."""
        hsm, holdings = event.hsm, self.story.holdings
        self.story.zones.setdefault(_word(hsm), _word(event.fields.get("zone") or ""))
        if hsm not in holdings.hsms and "zone" not in event.fields:
            holdings.hsms[hsm] = HsmHoldings(hsm, "", "unknown", event.at_ns)
        changes_a_copy = event.kind in (Kind.TOMBSTONED, Kind.ATTRIBUTE, Kind.SHARE)
        if not changes_a_copy or event.key in holdings.hsms[hsm].copies:
            holdings.feed(event)

    def _invoke(self, event: Event) -> None:
        subject = event.key or (quoted(event.label) if isinstance(event.label, str) and event.label else "")
        mark = self._bar_mark(event, Sign.START, event.index, text=f"{_word(event.name)} {subject}".strip())
        self._open[event.op] = mark
        self._bars[event.op] = event.index
        self._concern(event.index, event.key)

    def _outcome(self, event: Event) -> None:
        start = self._open.pop(event.op, None)
        bar = event.index if start is None else start.index
        asked = start.text if start else _word(event.name)
        result, made = self._answer(event, asked)
        self._concern(bar, *(event.keys if event.kind is Kind.OK else (event.key,)))
        self.story.outcomes[bar] = event.kind
        text = asked if start is None else ""
        if start is not None and start is self.story.marks[-1] and event.kind is not Kind.INFO:
            self.story.marks[-1] = replace(start, sign=Sign.CALL, result=result, made=made, until_ns=start.at_ns)
            self._merge_calls()
        else:
            sign = Sign.OPEN if event.kind is Kind.INFO else Sign.END
            self._bar_mark(event, sign, bar, text=text, result=result, made=made)

    def _bar_mark(self, event: Event, sign: Sign, bar: int, **words: Any) -> Mark:
        client = _word(event.client)
        lane = lane_of(client)
        self.story.clients.setdefault(lane)
        return self._add(event, ("client", lane), sign, who=(client,), bar=bar, **words)

    def _answer(self, event: Event, asked: str) -> tuple[str, tuple[str, int, int] | None]:
        """Return the words of an outcome, and what was made."""
        if event.kind is not Kind.OK:
            self.story.errors.setdefault(_word(event.error), event.ckr)
            where = f" at {_word(event.hsm)}" if event.hsm else ""
            return f"{event.kind} {_word(event.error)}{where}", None
        news = [_word(key) for key in event.keys if key not in asked.split()]
        shown = ", ".join(news[:3]) + (f" +{len(news) - 3}" if len(news) > 3 else "")
        made = (_word(event.made[0]), event.made[1], event.made[1]) if event.made else None
        nothing = " nothing" if "find" in asked.partition(" ")[0] and not news else ""
        return f"ok {shown}".rstrip() + nothing, made

    def _merge_calls(self) -> None:
        """Let equal calls in a row be one mark: a loop is read faster as its count."""
        *_, before, last = [None, None, *self.story.marks[-2:]]
        if before is None or before.sign is not Sign.CALL or last is None or _alike(before) != _alike(last):
            return
        made = before.made and last.made and (before.made[0], before.made[1], last.made[1])
        self.story.marks[-2:] = [replace(before, count=before.count + 1, until_ns=last.at_ns, made=made)]
        self._concern(before.index, *self.story.bar_keys.pop(last.index))

    def _concern(self, bar: int, *keys: Any) -> None:
        known = self.story.bar_keys.setdefault(bar, {})
        known.update(dict.fromkeys(_word(key) for key in keys if key is not None))

    def _inject(self, event: Event) -> None:
        spec, point = _word(event.spec), _word(event.point or "")
        faults = self.story.faults
        faults[spec] = faults.get(spec, 0) + 1
        number = list(faults).index(spec) + 1
        client, hsm = event.client, event.hsm
        place, who = SERVICE, ""
        if client and (point.startswith("client.") or not hsm):
            place, who = ("client", lane_of(_word(client))), _word(client)
            self.story.clients.setdefault(place[1])
        elif hsm and not point.startswith("sync.sweep"):
            place, who = ("hsm", _word(hsm)), _word(hsm)
        effect = spec.partition(" @ ")[0]
        self._add(event, place, Sign.FAULT, who=(who,) if who else (), names=(str(number),), text=effect)

    def _state(self, event: Event) -> None:
        self._on_hsm(event, Sign.STATE, text=event.kind.value, result=_word(event.cause or ""))

    def _held(self, event: Event) -> None:
        self.story.births.setdefault(_word(event.key), event)
        self._copy(event)
        if event.cause == Cause.SWEEP:
            source = f"sweep from {_word(event.source)}" if event.source else "sweep"
            self._add(event, SERVICE, Sign.SWEEP, text=source)

    def _copy(self, event: Event) -> None:
        self._on_hsm(event, _COPY_SIGNS[event.kind], names=(_word(event.key),), text=_word(event.cause))
        if event.op in self._bars and event.cause != Cause.SWEEP:
            self._concern(self._bars[event.op], event.key)

    def _attribute(self, event: Event) -> None:
        value = quoted(event.value) if isinstance(event.value, str) else str(event.value).lower()
        self._on_hsm(event, Sign.KEY, names=(_word(event.key),), text=f"{_word(event.name)}={value}")

    def _share(self, event: Event) -> None:
        verb = "shared with" if event.shared else "no longer shared with"
        self._on_hsm(event, Sign.KEY, names=(_word(event.key),), text=f"{verb} {_word(event.user)}")

    def _user(self, event: Event) -> None:
        self._on_hsm(event, Sign.USER, names=(_word(event.user),), text=_word(event.action))

    def _on_hsm(self, event: Event, sign: Sign, **words: Any) -> None:
        hsm = _word(event.hsm)
        self.story.zones.setdefault(hsm, "")
        self._add(event, ("hsm", hsm), sign, who=(hsm,), **words)


def _tame(event: Event) -> Event:
    """Return the event with fields of the shapes that a cluster writes: a file promises their number only."""
    fields: dict[str, Any] = {}
    for name, value in event.fields.items():
        if name in _TUPLES:
            items = value if isinstance(value, tuple) else ()
            fields[name] = tuple(item for item in items if _TUPLES[name](item))
        else:
            kept = value is None or isinstance(value, str) or (name in _NUMBERS and isinstance(value, int))
            fields[name] = value if kept else str(value)
    if "made" in fields and [type(item) for item in fields["made"][:2]] != [str, int]:
        fields["made"] = ()
    return Event(event.kind, event.index, event.at_ns, fields)


def _is_plain(item: Any) -> bool:
    return isinstance(item, str | int)


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and _is_plain(item[0])


def _alike(call: Mark) -> tuple[Any, ...]:
    return call.who, call.text, call.result, call.made and call.made[0]


def _word(value: Any) -> str:
    """Return a name from the journal, whatever stands there."""
    return "?" if value is None else str(value)


_NUMBERS = frozenset({"op", "handle", "ckr", "hit", "token", "shared", "value"})
_TUPLES: Mapping[str, Callable[[Any], bool]] = {
    "keys": _is_plain,
    "made": _is_plain,
    "shares": _is_plain,
    "changed": _is_pair,
    "args": _is_pair,
}
_COPY_SIGNS = {Kind.HELD: Sign.ADDED, Kind.GONE: Sign.REMOVED, Kind.TOMBSTONED: Sign.TOMBSTONED}

_TOLD: Mapping[Kind, Callable[[_Teller, Event], None]] = {
    Kind.INVOKE: _Teller._invoke,
    **dict.fromkeys(OUTCOMES, _Teller._outcome),
    Kind.INJECT: _Teller._inject,
    Kind.HELD: _Teller._held,
    Kind.GONE: _Teller._copy,
    Kind.TOMBSTONED: _Teller._copy,
    Kind.USER: _Teller._user,
    Kind.ATTRIBUTE: _Teller._attribute,
    Kind.SHARE: _Teller._share,
    **dict.fromkeys((Kind.UP, Kind.DOWN, Kind.PAUSED, Kind.LOST, Kind.JOINING, Kind.JOINED), _Teller._state),
}
