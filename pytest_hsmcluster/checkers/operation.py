"""What did one call of an application come to?"""

from dataclasses import dataclass
from typing import Literal

from ..history.events import Event, Kind

Outcome = Literal["ok", "fail", "info", "open"]

CREATES = ("generate_key", "generate_key_pair", "import_key", "unwrap_key", "derive_key")
"""Operations that make keys: their `ok` names them."""

FAN_OUT = ("find_keys", "delete_key", "share_key", "unshare_key", "set_attribute", "login", "logout")
"""Operations that ask every HSM: one that answers "no such key" is no routing miss."""

NO_USE = ("find_keys", "get_attributes", "read_attributes", "validate_key", "delete_key")
"""Operations that name a key without relying on it: they do not adopt it."""

_OUTCOMES: dict[Kind, Outcome] = {Kind.OK: "ok", Kind.FAIL: "fail", Kind.INFO: "info"}


@dataclass(slots=True)
class Operation:
    """One call of an application: what it asked and what it was told.

    Attributes:
        invoked: the `invoke` event.
        ended: the `ok`, `fail` or `info` event; None while it is open.
    """

    invoked: Event
    ended: Event | None = None

    @property
    def name(self) -> str:
        """The operation: `generate_key`, …"""
        return str(self.invoked.name)

    @property
    def client(self) -> str:
        """The application: "app" for its process "app#2" too."""
        return application(self.invoked.client)

    @property
    def key(self) -> str | None:
        """The key that it was called with; an unwrap or derive may name its key in its arguments instead."""
        key: str | None = self.invoked.key
        if key is None and self.name in ("unwrap_key", "derive_key") and self.invoked.args:
            first = self.invoked.args[0]
            return first if isinstance(first, str) and first.startswith("key-") else None
        return key

    @property
    def outcome(self) -> Outcome:
        """How it ended; `open` while nobody has been told."""
        return "open" if self.ended is None else _OUTCOMES[self.ended.kind]

    @property
    def named(self) -> tuple[str, ...]:
        """The keys that an `ok` call is about: asked for, told or wrapped, each once; else the key asked for."""
        names = [] if self.key is None else [self.key]
        if self.ended is not None and self.ended.kind is Kind.OK:
            names.extend(self.ended.keys)
            names.extend(self.ended.made[2:])
        return tuple(dict.fromkeys(names))

    def __str__(self) -> str:
        if self.ended is None:
            return f"{self.name} by {self.client}, still open"
        error = f" ({self.ended.error})" if self.ended.kind is not Kind.OK else ""
        return f"{self.name} by {self.client}, {self.outcome}{error} at {self.ended.at_ns / 1e9:.6f} s"


@dataclass(slots=True)
class Miss:
    """A call that met an HSM without the key while another one held it.

    Attributes:
        operation: the call that failed.
        key: "key-N".
        hsm: the HSM that was asked.
        index, at_ns: place and instant of the event with which the application was told.
        holders: the HSMs that held the key then.
        retried_ns: when the same operation on the key was first `ok` for the same application, or None.
    """

    operation: Operation
    key: str
    hsm: str
    index: int
    at_ns: int
    holders: tuple[str, ...]
    retried_ns: int | None = None


def application(process: str) -> str:
    """Return the application of a process: after an unknown outcome "app" goes on as "app#2"."""
    name, mark, number = process.rpartition("#")
    return name if mark and name and number.isdigit() else process
