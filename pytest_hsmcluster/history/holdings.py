"""Which HSM holds which key at an instant, according to the journal alone?"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .events import Event, Kind, Record, read


@dataclass(slots=True)
class Copy:
    """One key on one HSM, as the journal tells it.

    Attributes:
        held: the `held` event that brought it.
        tombstoned: the event that marked it, or None.
        attributes: attribute name → value, where it differs from birth.
        shares: names of users that it is shared with, in order.
    """

    held: Event
    tombstoned: Event | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    shares: list[str] = field(default_factory=list)

    @property
    def token(self) -> bool:
        """Whether it is a token key, by birth or because it was made one."""
        return bool(self.held.token or self.attributes.get("token"))


@dataclass(slots=True)
class HsmHoldings:
    """What one HSM holds and how it is.

    Attributes:
        state: `up`, `down`, `paused`, `lost` or `joining`.
        since_ns: instant of the last change of state.
        copies: key name → copy, in the order in which they came.
    """

    hsm: str
    zone: str
    state: str
    since_ns: int
    copies: dict[str, Copy] = field(default_factory=dict)

    @property
    def restartable(self) -> bool:
        """Whether its keys may be seen again."""
        return self.state != "lost"

    @property
    def alive(self) -> bool:
        """Up, paused, throttled or partitioned: it runs and holds its keys now."""
        return self.state in ("up", "paused")


class Holdings:
    """A fold over the journal: feed it records or events, then ask.

    What it says at the end of a run must equal the audit, which is read from the HSMs themselves.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.hsms: dict[str, HsmHoldings] = {}
        for index, record in enumerate(records):
            if record[0] in _FOLD:
                self.feed(read(record, index))

    def feed(self, event: Event) -> None:
        """Take one more event into account; events that say nothing about holdings are passed over."""
        step = _FOLD.get(event.kind)
        if step is not None:
            step(self, event)

    def holders(self, key: str) -> list[str]:
        """Return the ids of HSMs that hold an untombstoned copy of `key` and are not lost."""
        return [h.hsm for h in self.hsms.values() if h.restartable and self.copy(h.hsm, key) is not None]

    def copy(self, hsm: str, key: str) -> Copy | None:
        """Return the untombstoned copy of `key` on `hsm`, or None."""
        held = self.hsms[hsm].copies.get(key)
        return held if held is not None and held.tombstoned is None else None

    def audit(self) -> tuple[tuple[str, str, tuple[tuple[str, int, bool, bool], ...]], ...]:
        """Return what an audit of this instant must say: (hsm, state, keys by handle), by HSM in order of birth."""
        return tuple(
            (
                h.hsm,
                h.state,
                tuple(
                    (name, c.held.handle, c.token, c.tombstoned is not None)
                    for name, c in sorted(h.copies.items(), key=lambda item: item[1].held.handle)
                ),
            )
            for h in self.hsms.values()
        )

    def _state(self, event: Event) -> None:
        known = self.hsms.get(event.hsm)
        state = _STATES[event.kind]
        if known is None:
            self.hsms[event.hsm] = HsmHoldings(event.hsm, event.zone, state, event.at_ns)
        else:
            known.state, known.since_ns = state, event.at_ns

    def _held(self, event: Event) -> None:
        copy = Copy(event, attributes=dict(event.changed), shares=list(event.shares))
        copies = self.hsms[event.hsm].copies
        copies.pop(event.key, None)  # a tombstoned copy that is replaced comes anew
        copies[event.key] = copy

    def _gone(self, event: Event) -> None:
        self.hsms[event.hsm].copies.pop(event.key, None)

    def _tombstoned(self, event: Event) -> None:
        self.hsms[event.hsm].copies[event.key].tombstoned = event

    def _attribute(self, event: Event) -> None:
        attributes = self.hsms[event.hsm].copies[event.key].attributes
        if isinstance(event.value, bool) and attributes.get(event.name, event.value) != event.value:
            del attributes[event.name]  # of two values, it has the one again with which it was born
        else:
            attributes[event.name] = event.value

    def _share(self, event: Event) -> None:
        shares = self.hsms[event.hsm].copies[event.key].shares
        if event.shared and event.user not in shares:
            shares.append(event.user)
        elif not event.shared and event.user in shares:
            shares.remove(event.user)


_STATES = {
    Kind.UP: "up",
    Kind.DOWN: "down",
    Kind.PAUSED: "paused",
    Kind.LOST: "lost",
    Kind.JOINING: "joining",
    Kind.JOINED: "up",
}

_FOLD = {
    **dict.fromkeys(_STATES, Holdings._state),
    Kind.HELD: Holdings._held,
    Kind.GONE: Holdings._gone,
    Kind.TOMBSTONED: Holdings._tombstoned,
    Kind.ATTRIBUTE: Holdings._attribute,
    Kind.SHARE: Holdings._share,
}
