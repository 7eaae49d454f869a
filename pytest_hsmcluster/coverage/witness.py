"""How is the evidence about every operation gathered from a journal, in one pass?"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..checkers.operation import CREATES
from ..history.events import BIRTHS, OUTCOMES, Event, Kind, Record, read
from ..history.history import History
from ..history.holdings import Copy, Holdings
from .evidence import DEAD, Evidence, Exchange, View

_BETWEEN = ("client.route", "client.clone", "client.cleanup", "client.report")
"""Points of the client that are passed between two commands."""

_ABSENT = ("lost", "joining")


def gathered(history: History) -> list[Evidence]:
    """Return the evidence about each operation of a history, in the order in which they were invoked."""
    witness = _Witness(history)
    for index, record in enumerate(history.records):
        witness.see(record, index)
    return list(witness.operations.values())


class _Witness:
    """Follows a journal and notes, for each operation, how things stood when it began and when it ended."""

    def __init__(self, history: History) -> None:
        note = history.note
        self.sdk = int(note.get("sdk", 5))
        self.hsms = int(note.get("hsms", 1))
        checked = bool(note.get("availability_check", False))
        self.guarded = checked or (self.sdk == 3 and int(note.get("create_object_minimum_nodes", 1)) > 1)
        self.operations: dict[int, Evidence] = {}
        self._open: dict[int, Evidence] = {}
        self._holdings = Holdings()
        self._states: Mapping[str, str] = {}
        self._most = 0
        self._births: dict[str, Event] = {}
        self._labels: dict[str, list[str]] = {}  # label → keys that were born with it
        self._told: dict[str, None] = {}
        self._wanted_gone: dict[str, None] = {}  # keys that somebody asked to delete
        self._gone: dict[str, int] = {}  # key → index of the first `ok` of a delete of it
        self._joined: dict[str, None] = {}
        self._accounts = _Accounts()

    def see(self, record: Record, index: int) -> None:
        """Take one more line of the journal into account."""
        if record[0] == Kind.REACH:
            self._reach(record)
        elif (step := _STEPS.get(record[0])) is not None:
            step(self, read(record, index))

    # -- commands and faults -----------------------------------------------------------

    def _reach(self, record: Record) -> None:
        _, at_ns, op, point, _, command, hsm, *_ = record
        evidence = self.operations.get(op)
        if evidence is None:
            return
        if point == "client.send":
            _close(evidence, at_ns)
            evidence.exchanges.append(Exchange(command, hsm, [point], at_ns, self._states.get(hsm) in DEAD))
        elif point in _BETWEEN:
            _close(evidence, at_ns)
        elif (exchange := _latest(evidence, hsm, command)) is not None:
            exchange.points.append(point)
            if exchange.ended_ns is None:
                exchange.last_ns = at_ns

    def _inject(self, event: Event) -> None:
        evidence = self.operations.get(event.op)
        if evidence is None:
            return
        evidence.struck.append(event.spec)
        exchange = next((one for one in reversed(evidence.exchanges) if one.hsm == event.hsm), None)
        if exchange is not None and exchange.points[-1] == event.point:
            exchange.struck.append(event.spec)

    # -- operations ---------------------------------------------------------------------

    def _invoke(self, event: Event) -> None:
        key = event.key
        self.operations[event.op] = self._open[event.op] = Evidence(
            invoked=event,
            sdk=self.sdk,
            guarded=self.guarded,
            hsms=self.hsms,
            before=self._states,
            most=self._most,
            key_before=None if key is None else self._view([key]),
            gone_before=key in self._gone,
        )
        if event.name == "delete_key" and key is not None:
            self._wanted_gone[key] = None

    def _outcome(self, event: Event) -> None:
        evidence = self._open.pop(event.op)
        evidence.ended = event
        evidence.after = self._states
        if evidence.error != "Cancelled":
            _close(evidence, event.at_ns)
        evidence.drifted = self._accounts.differ(
            str(evidence.invoked.args[0] if event.name == "login" else evidence.invoked.user),
            [
                hsm
                for hsm, state in self._states.items()
                if state not in ("lost", "joining") and hsm not in self._joined
            ],
        )
        made = [change.key for change in evidence.changes if change.kind is Kind.HELD and change.cause in BIRTHS]
        about = evidence.invoked.key
        if event.kind is Kind.OK:
            self._ok(evidence, event)
        else:
            evidence.joined_since = event.hsm in self._joined
            about = event.key
        keys = made or ([] if about is None else [about])
        evidence.deleted = any(key in self._wanted_gone for key in keys)
        evidence.key_after = self._view(keys) if keys else None

    def _ok(self, evidence: Evidence, event: Event) -> None:
        named = [key for key in event.keys if key in self._births]
        evidence.revenants = tuple(
            key for key in named if key in self._gone and self._gone[key] < evidence.invoked.index
        )
        if event.name == "find_keys":
            births = [self._births[key] for key in named]
            alike = [(birth.label, birth.cls, birth.key_kind) for birth in births if birth.label]
            evidence.twins = len(set(alike)) < len(alike)
            evidence.strangers = tuple(key for key in named if key not in self._told and self._left_over(key))
            evidence.hidden = tuple(self._hidden(evidence.invoked, named))
        if event.name == "find_keys" or event.name in CREATES:
            self._told.update(dict.fromkeys(named))
        if event.name == "delete_key" and evidence.invoked.key is not None:
            self._gone.setdefault(evidence.invoked.key, event.index)

    def _left_over(self, key: str) -> bool:
        """Whether the create that made a key ended in any way but `ok`."""
        birth = self._births[key]
        create = self.operations.get(birth.op) if birth.cause in BIRTHS else None
        return create is not None and create.outcome in ("fail", "info")

    def _hidden(self, asked: Event, named: Sequence[str]) -> Iterator[str]:
        """Yield the keys that a find was to show and that only HSMs have which it did not reach."""
        for key in self._labels.get(asked.label, ()) if asked.label else ():
            birth = self._births[key]
            if key in named or key in self._wanted_gone or birth.index > asked.index or not birth.token:
                continue
            if asked.cls not in (None, birth.cls) or asked.key_kind not in (None, birth.key_kind):
                continue
            copies = self._copies(key).values()
            if any(birth.cls == "public" or asked.user in (birth.owner, *copy.shares) for copy in copies):
                yield key

    # -- keys, HSMs, accounts ---------------------------------------------------------------

    def _held(self, event: Event) -> None:
        self._holdings.feed(event)
        if event.key not in self._births:
            self._births[event.key] = event
            self._labels.setdefault(event.label, []).append(event.key)
        self._changed(event)

    def _left(self, event: Event) -> None:
        self._holdings.feed(event)
        self._changed(event)

    def _changed(self, event: Event) -> None:
        evidence = self.operations.get(event.op)
        if evidence is not None:
            evidence.changes.append(event)

    def _state(self, event: Event) -> None:
        self._holdings.feed(event)
        state = self._holdings.hsms[event.hsm].state
        self._states = {**self._states, event.hsm: state}
        self._most = max(self._most, sum(one in ("up", "paused") for one in self._states.values()))
        if event.kind is Kind.JOINED:
            self._joined[event.hsm] = None
        if state in DEAD:
            for evidence in self._open.values():
                evidence.deaths.append((event.index, event.hsm, state))
                exchange = evidence.exchanges[-1] if evidence.exchanges else None
                if exchange is not None and exchange.hsm == event.hsm and exchange.ended_ns is None:
                    exchange.died, exchange.last_ns = True, event.at_ns

    def _user(self, event: Event) -> None:
        self._accounts.note(event)

    def _copies(self, key: str) -> dict[str, Copy]:
        """Return HSM → untombstoned copy of a key, on HSMs that are not lost."""
        found = {}
        for hsm, holdings in self._holdings.hsms.items():
            copy = holdings.copies.get(key)
            if copy is not None and copy.tombstoned is None and holdings.restartable:
                found[hsm] = copy
        return found

    def _view(self, keys: Sequence[str]) -> View:
        each = [self._copies(key) for key in keys]
        holders = [hsm for hsm in self._states if all(hsm in copies for copies in each)]
        return View(
            holders=tuple(holders),
            running=tuple(hsm for hsm in holders if self._states[hsm] in ("up", "paused")),
            partly=tuple(hsm for hsm in self._states if any(hsm in copies for copies in each)),
            lacking=tuple(hsm for hsm, state in self._states.items() if state == "up" and hsm not in holders),
            differ=any(
                (copy.attributes, sorted(copy.shares)) != (first.attributes, sorted(first.shares))
                for copies in each
                for first in list(copies.values())[:1]
                for copy in copies.values()
            ),
            token=any(
                self._births[key].token or any(copy.token for copy in copies.values())
                for key, copies in zip(keys, each, strict=True)
                if key in self._births
            ),
        )


class _Accounts:
    """What was last done to each account on each HSM."""

    def __init__(self) -> None:
        self._done: dict[str, dict[str, str]] = {}
        self._made: dict[str, None] = {}  # users who were created in the course of the journal

    def note(self, event: Event) -> None:
        """Take a `user` event into account."""
        if event.user not in self._done and event.action == "created":
            self._made[event.user] = None
        done = self._done.setdefault(event.user, {})
        # A new password unlocks too; that one is told after the other must not hide it.
        if event.action != "unlocked" or done.get(event.hsm) != "password":
            done[event.hsm] = "" if event.action in ("created", "unlocked") else event.action

    def differ(self, user: str, hsms: Sequence[str]) -> bool:
        """Whether an account is not the same on these HSMs: missing, locked, or with another password."""
        done = self._done.get(user)
        if done is None:
            return False
        before = "deleted" if user in self._made else ""
        return len({done.get(hsm, before) for hsm in hsms}) > 1


def _close(evidence: Evidence, at_ns: int) -> None:
    """Note that an operation went on: whatever it waited for, it waits no longer."""
    if evidence.exchanges and evidence.exchanges[-1].ended_ns is None:
        evidence.exchanges[-1].ended_ns = at_ns


def _latest(evidence: Evidence, hsm: str, command: str) -> Exchange | None:
    for exchange in reversed(evidence.exchanges):
        if exchange.hsm == hsm and exchange.command == command:
            return exchange
    return None


_STEPS: Mapping[Kind, Callable[[_Witness, Event], None]] = {
    Kind.INVOKE: _Witness._invoke,
    **dict.fromkeys(OUTCOMES, _Witness._outcome),
    Kind.INJECT: _Witness._inject,
    Kind.HELD: _Witness._held,
    **dict.fromkeys((Kind.GONE, Kind.TOMBSTONED, Kind.ATTRIBUTE, Kind.SHARE), _Witness._left),
    **dict.fromkeys((Kind.UP, Kind.DOWN, Kind.PAUSED, Kind.LOST, Kind.JOINING, Kind.JOINED), _Witness._state),
    Kind.USER: _Witness._user,
}
