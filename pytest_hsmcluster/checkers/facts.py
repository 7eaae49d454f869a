"""What follows from a history that more than one check needs, in one pass over its events?"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import UsageError
from ..history.events import BIRTHS, OUTCOMES, Cause, Event, Kind, Record, read
from ..history.history import History
from ..history.holdings import Copy, Holdings
from .operation import CREATES, FAN_OUT, NO_USE, Miss, Operation, application

Place = tuple[str | None, str | None]
"""HSM and application whose sessions ended; None stands for all."""


@dataclass(slots=True)
class KeyFacts:
    """What a history says about one key.

    Attributes:
        name: "key-N".
        born: the event that first put it on an HSM.
        label, token: its label and whether it is a token key, as it was changed last.
        told: the first `ok` create or find that names it, or None.
        found: whether an `ok` find names it.
        acknowledged: the `ok` from which an application relied on it, or None.
        copies_then: how many HSMs held it when it was acknowledged.
        deletes: the calls that were to delete it, in order.
        cleaned_up: whether the client's own cleanup took its last copy away.
        copies: HSM → its copy there, tombstoned or not.
        left: HSM → the event that took or tombstoned its last copy there.
        moves: (index, ns, HSM, whether it holds the key from here on), in order.
        changed_ns: (HSM, attribute name or "shares") → when that last changed there.
    """

    name: str
    born: Event
    label: str
    token: bool
    told: Event | None = None
    found: bool = False
    acknowledged: Event | None = None
    copies_then: int = 0
    deletes: list[Operation] = field(default_factory=list)
    cleaned_up: bool = False
    copies: dict[str, Copy] = field(default_factory=dict)
    left: dict[str, Event] = field(default_factory=dict)
    moves: list[tuple[int, int, str, bool]] = field(default_factory=list)
    changed_ns: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def handle(self) -> int:
        """CKA handle: the number that applications know it by."""
        return int(self.born.handle)

    @property
    def mat(self) -> str:
        """The material that it was born with, by its name in the history."""
        return str(self.born.mat)

    @property
    def removed(self) -> bool:
        """Whether it may be gone on purpose: a delete that is ok, info or open, or the client's own cleanup."""
        return self.cleaned_up or any(delete.outcome != "fail" for delete in self.deletes)

    @property
    def deleted(self) -> Operation | None:
        """The first delete that is ok."""
        return next((delete for delete in self.deletes if delete.outcome == "ok"), None)


@dataclass(slots=True)
class Member:
    """What a history says about one HSM's life.

    Attributes:
        rank: its place in the order in which HSMs joined, from 0.
        lives: (index, ns, whether it runs from here on), in order.
        came_up: index of the last event with which it came up, or -1.
        lost: index of the event with which it was lost, or None.
    """

    rank: int
    lives: list[tuple[int, int, bool]] = field(default_factory=list)
    came_up: int = -1
    lost: int | None = None


class Facts:
    """An index over a history, linear in its events; checks ask it instead of reading again.

    Attributes:
        operations: number → call.
        keys: "key-N" → what is known of it, in order of birth.
        members: HSM → its life, in the order in which they joined.
        misses: routing misses, in order.
        data: `ok` encrypts and wraps, in order.
        ends: whose sessions ended → (index, ns, why), in order.
        holdings: what each HSM holds at the end.
        instant_ns: the last instant of the history.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.operations: dict[int, Operation] = {}
        self.keys: dict[str, KeyFacts] = {}
        self.members: dict[str, Member] = {}
        self.misses: list[Miss] = []
        self.data: list[Operation] = []
        self.ends: dict[Place, list[tuple[int, int, str]]] = {}
        self.holdings = Holdings()
        self.instant_ns = 0
        self._seen = 0
        self._unretried: dict[tuple[str, str, str], list[Miss]] = {}
        self.catch_up()

    def catch_up(self) -> "Facts":
        """Read the events that were written since the last time, and return this index.

        Raises:
            UsageError: an event is about an HSM, a copy or a call that there has not been.
        """
        records, record = self.history.records, None
        for index in range(self._seen, len(records)):
            record = records[index]
            if record[0] == _REACH:  # most are: of these, only one says which HSM has ended a session
                if record[5] == "logout" and record[3] == "hsm.reply":
                    self._logout(record, index)
            elif (step := _STEPS.get(record[0])) is not None:
                event = read(record, index)
                try:
                    step(self, event)
                except KeyError as missing:
                    raise UsageError(
                        f"event {index} of the history ({event}) is about {missing}, which no event before it made "
                        "known: the history was cut or edited"
                    ) from missing
        if record is not None:
            self.instant_ns = record[1]
        self._seen = len(records)
        return self

    def token_keys(self) -> Iterable[KeyFacts]:
        """Iterate over the token keys in order of birth."""
        return (key for key in self.keys.values() if key.token)

    def holders(self, key: KeyFacts) -> tuple[str, ...]:
        """Return the HSMs that hold an untombstoned copy and are not lost."""
        return self.by_rank(h for h, copy in key.copies.items() if copy.tombstoned is None and self._restartable(h))

    def running_holders(self, key: KeyFacts) -> tuple[str, ...]:
        """Return those of the holders that run: up, paused, throttled or partitioned."""
        return tuple(hsm for hsm in self.holders(key) if self.holdings.hsms[hsm].alive)

    def hsms_of(self, key: KeyFacts) -> tuple[str, ...]:
        """Return the HSMs that hold a key or ever did."""
        return self.by_rank(dict.fromkeys(hsm for _, _, hsm, _ in key.moves))

    def by_rank(self, hsms: Iterable[str]) -> tuple[str, ...]:
        """Return HSMs in the order in which they joined."""
        return tuple(sorted(hsms, key=lambda hsm: self.members[hsm].rank))

    def present(self) -> list[str]:
        """Return the HSMs that are not lost."""
        return [hsm for hsm in self.members if self._restartable(hsm)]

    def creator(self, key: KeyFacts) -> Operation | None:
        """Return the call that made a key; None if it was seeded, restored or copied from another cluster."""
        return self.operations.get(key.born.op) if key.born.cause in BIRTHS else None

    def _restartable(self, hsm: str) -> bool:
        return self.holdings.hsms[hsm].restartable

    # -- calls ---------------------------------------------------------------------

    def _invoke(self, event: Event) -> None:
        operation = self.operations[event.op] = Operation(event)
        key = self.keys.get(event.key)
        if operation.name == "delete_key" and key is not None:
            key.deletes.append(operation)

    def _outcome(self, event: Event) -> None:
        operation = self.operations[event.op]
        operation.ended = event
        if event.kind is Kind.OK:
            self._ok(operation, event)
        elif event.kind is Kind.FAIL and event.error == "KeyNotOnHsm":
            self._no_such_key(operation, event)
        elif event.error == "ApplicationDied":
            self._end((None, operation.client), event.index, event.at_ns, f"{operation.client} died")

    def _ok(self, operation: Operation, event: Event) -> None:
        if event.made:
            self.data.append(operation)
        for name in operation.named:
            self._retry(operation, event, name)
            key = self.keys.get(name)
            if key is None:
                continue
            if operation.name in CREATES and name in event.keys:
                key.told = key.told or event
                self._acknowledge(key, event)
            elif operation.name == "find_keys":
                key.told = key.told or event
                key.found = True
            elif key.found and operation.name not in NO_USE:
                self._acknowledge(key, event)

    def _acknowledge(self, key: KeyFacts, event: Event) -> None:
        if key.acknowledged is None:
            key.acknowledged = event
            key.copies_then = len(self.holders(key))

    def _no_such_key(self, operation: Operation, event: Event) -> None:
        key = self.keys.get(event.key or operation.key or "")
        if key is None or event.hsm is None or not key.token or operation.name in FAN_OUT or key.deletes:
            return
        holders = tuple(hsm for hsm in self.holders(key) if hsm != event.hsm)
        if holders:
            miss = Miss(operation, key.name, event.hsm, event.index, event.at_ns, holders)
            self.misses.append(miss)
            self._unretried.setdefault((operation.client, operation.name, key.name), []).append(miss)

    def _retry(self, operation: Operation, event: Event, key: str) -> None:
        waiting = self._unretried.pop((operation.client, operation.name, key), ())
        for miss in waiting:
            # A call that was under way already when the application was told of the miss is no answer to it.
            if miss.index < operation.invoked.index:
                miss.retried_ns = event.at_ns
            else:
                self._unretried.setdefault((operation.client, operation.name, key), []).append(miss)

    # -- copies --------------------------------------------------------------------

    def _held(self, event: Event) -> None:
        self.holdings.feed(event)
        key = self.keys.get(event.key)
        if key is None:
            key = self.keys[event.key] = KeyFacts(event.key, event, event.label, bool(event.token))
        key.copies[event.hsm] = self.holdings.hsms[event.hsm].copies[event.key]
        self._move(key, event, True)

    def _left(self, event: Event) -> None:
        self.holdings.feed(event)
        key = self.keys[event.key]
        copy = key.copies.get(event.hsm)
        if event.kind is Kind.GONE:
            key.copies.pop(event.hsm, None)
        if copy is not None and (copy.tombstoned is None or copy.tombstoned is event):
            self._move(key, event, False)
            key.left[event.hsm] = event
            if event.cause == Cause.CLEANUP:
                key.cleaned_up = not self.holders(key)

    def _move(self, key: KeyFacts, event: Event, held: bool) -> None:
        key.moves.append((event.index, event.at_ns, event.hsm, held))

    def _changed(self, event: Event) -> None:
        self.holdings.feed(event)
        key = self.keys[event.key]
        aspect = "shares" if event.kind is Kind.SHARE else event.name
        key.changed_ns[event.hsm, aspect] = event.at_ns
        if aspect == "label":
            key.label = event.value
        elif aspect == "token":
            key.token = event.value

    # -- HSMs ----------------------------------------------------------------------

    def _state(self, event: Event) -> None:
        before = self.holdings.hsms.get(event.hsm)
        was_up = before is not None and before.state == "up"
        self.holdings.feed(event)
        now = self.holdings.hsms[event.hsm]
        member = self.members.setdefault(event.hsm, Member(len(self.members)))
        member.lives.append((event.index, event.at_ns, now.alive))
        if now.state == "up" and not was_up:
            member.came_up = event.index
        if event.kind is Kind.LOST:
            member.lost = event.index
        if event.kind in (Kind.DOWN, Kind.LOST):
            self._end((event.hsm, None), event.index, event.at_ns, f"{event.hsm} went {event.kind}")

    def _logout(self, record: Record, index: int) -> None:
        _, at_ns, _, _, _, _, hsm, client, *_ = record
        app = application(client)
        self._end((hsm, app), index, at_ns, f"{app} logged out")

    def _end(self, place: Place, index: int, at_ns: int, why: str) -> None:
        self.ends.setdefault(place, []).append((index, at_ns, why))


_REACH = Kind.REACH.value

_STEPS: Mapping[Kind, Callable[[Facts, Event], None]] = {
    Kind.INVOKE: Facts._invoke,
    **dict.fromkeys(OUTCOMES, Facts._outcome),
    Kind.HELD: Facts._held,
    Kind.GONE: Facts._left,
    Kind.TOMBSTONED: Facts._left,
    Kind.ATTRIBUTE: Facts._changed,
    Kind.SHARE: Facts._changed,
    **dict.fromkeys((Kind.UP, Kind.DOWN, Kind.PAUSED, Kind.LOST, Kind.JOINING, Kind.JOINED), Facts._state),
}
