"""What can be written down about a run, and which words of it come from outside?

A journal is a list of plain tuples `(kind, at_ns, *fields)`; `FIELDS` names the fields of
each kind.  They become `Event` objects only when somebody reads them: a run writes
thousands, a reader looks at a few.

Words: `key-N` is the N-th birth (generate, import, unwrap, derive, …), not a label and not
a handle; `mat-N` names equal key material (both halves of a pair share it).  Instants are
integer nanoseconds of simulated time since the cluster was made.  Never in here: key bytes,
PINs, signatures, plaintext, ciphertext.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What an event is about."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"
    REACH = "reach"
    INJECT = "inject"
    HELD = "held"
    GONE = "gone"
    TOMBSTONED = "tombstoned"
    USER = "user"
    ATTRIBUTE = "attribute"
    SHARE = "share"
    UP = "up"
    DOWN = "down"
    PAUSED = "paused"
    LOST = "lost"
    JOINING = "joining"
    JOINED = "joined"
    AUDIT = "audit"


class Cause(StrEnum):
    """Why a key came to an HSM or left it."""

    CREATE = "create"
    IMPORT = "import"
    UNWRAP = "unwrap"
    DERIVE = "derive"
    CLONE = "clone"
    SWEEP = "sweep"
    JOIN = "join"
    RESTORE = "restore"
    SYNC_KEY = "sync_key"
    DELETE = "delete"
    CLEANUP = "cleanup"
    SESSION_END = "session_end"
    CRASH = "crash"
    DESTROY = "destroy"


BIRTHS = (Cause.CREATE, Cause.IMPORT, Cause.UNWRAP, Cause.DERIVE)
"""Causes by which an application's own operation makes a key."""

Record = tuple[Any, ...]
"""One line of a journal: kind, instant in ns, then the fields of `FIELDS[kind]`."""

_OUTCOME = ("op", "client", "name", "error", "ckr", "hsm", "key")
_HSM = ("hsm", "zone", "cause")

FIELDS: Mapping[Kind, tuple[str, ...]] = {
    # op: number of the operation, from 1.  client: process name ("app", after an `info` "app#2").
    # name: the operation ("generate_key").  key: "key-N" it is about, None for creates and finds.
    # label: of the key, given or known.  cls/key_kind: "secret"/"AES", … of it, or wanted.  args: detail pairs.
    Kind.INVOKE: ("op", "client", "user", "name", "key", "label", "cls", "key_kind", "token", "args"),
    # keys: tuple of "key-N" that the answer names (made, found or used).
    # made: ("ciphertext", n) for an encrypt, ("wrapped", n, wrapped key, …) for a wrap, else ().
    Kind.OK: ("op", "client", "name", "keys", "made"),
    # error: class name.  ckr: number.  hsm: where, or None.  key: "key-N" or None.
    Kind.FAIL: _OUTCOME,
    Kind.INFO: _OUTCOME,
    # op is 0 for the service's own work.  command: what one HSM is asked to do, or None.
    Kind.REACH: ("op", "point", "name", "command", "hsm", "client", "user", "key"),
    # spec: the fault as text.  hit: ordinal of this performance of it, from 1.
    Kind.INJECT: ("op", "spec", "point", "hsm", "client", "hit"),
    # One key on one HSM.  changed: ((attribute name, value), …) that differ from birth.  shares: user names.
    # source: HSM that it was copied from, or None.
    Kind.HELD: (
        "op",
        "hsm",
        "key",
        "handle",
        "cause",
        "mat",
        "token",
        "cls",
        "key_kind",
        "label",
        "owner",
        "changed",
        "shares",
        "source",
    ),
    Kind.GONE: ("op", "hsm", "key", "handle", "cause"),
    Kind.TOMBSTONED: ("op", "hsm", "key", "handle", "cause"),
    # action: created deleted locked unlocked password
    Kind.USER: ("op", "hsm", "user", "type", "action"),
    # name: CKA name in lower case; value: bool, int, or a label
    Kind.ATTRIBUTE: ("op", "hsm", "key", "name", "value"),
    Kind.SHARE: ("op", "hsm", "key", "user", "shared"),
    Kind.UP: _HSM,
    Kind.DOWN: _HSM,
    Kind.PAUSED: _HSM,
    Kind.LOST: _HSM,
    Kind.JOINING: _HSM,
    Kind.JOINED: _HSM,
    # hsms: ((hsm, state, ((key, handle, token, tombstoned), …)), …), keys by handle
    Kind.AUDIT: ("hsms",),
}

OUTSIDE: Mapping[str, str] = {
    "client": "client",
    "user": "user",
    "owner": "user",
    "shares": "user",
    "label": "label",
    "value": "label",
    "changed": "label",
    "spec": "spec",
    "args": "args",
    "zone": "zone",
}
"""Fields with strings that the application chose → what kind of name it is.

A digest replaces each by its ordinal of first appearance among names of its kind, so that it makes no
difference whether a label happens to be spelled like a client.
"""

OUTCOMES = (Kind.OK, Kind.FAIL, Kind.INFO)


# No slots: what is in its dictionary is found in a tenth of the time of a __getattr__.
@dataclass(frozen=True, init=False)
class Event:
    """One line of a journal, readable.

    Fields are attributes: `event.hsm`, `event.key`; which there are depends on `kind` (see
    `FIELDS`).  A field that the kind does not have raises AttributeError naming those it has.

    Attributes:
        kind: what it is about.
        index: its place in the journal, from 0.
        at_ns: instant in ns of simulated time.
        fields: name → value.
    """

    kind: Kind
    index: int
    at_ns: int
    fields: Mapping[str, Any]

    def __init__(self, kind: Kind, index: int, at_ns: int, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields, kind=kind, index=index, at_ns=at_ns, fields=fields)

    def __getattr__(self, name: str) -> Any:
        has = ", ".join(self.__dict__.get("fields", ()))  # a copy that is being made has none yet
        raise AttributeError(f"a {self.__dict__.get('kind')} event has no {name!r}; it has {has}")

    def __str__(self) -> str:
        shown = " ".join(f"{k}={v}" for k, v in self.fields.items() if v not in (None, (), ""))
        return f"{self.at_ns / 1e9:.6f}s {self.kind} {shown}"


def read(record: Record, index: int) -> Event:
    """Return the `Event` of one journal line."""
    kind, names = _NAMED[record[0]]
    return Event(kind, index, record[1], dict(zip(names, record[2:], strict=True)))


_NAMED = {kind.value: (kind, names) for kind, names in FIELDS.items()}
