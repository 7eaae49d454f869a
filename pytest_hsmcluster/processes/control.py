"""What do the test process and an HSM process tell each other over their private pipe?

The pipe is a Unix socket pair that nobody else has.  Secrets travel on it: keys for the mirror in the test process,
the masking key, the HSM's private TLS key.  The test process orders; each order is answered.  The HSM process tells
facts, what it has become and what passed through it, before it answers the client that caused them.
"""

from typing import Any

import msgspec

from ..service.profile import Profile
from .codec import KeyRecord


class Message(msgspec.Struct, array_like=True, tag=True, tag_field="message", gc=False):
    """Anything that is sent."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


# -- facts, from the HSM process --------------------------------------------------------------


class Reached(Message):
    """A call passed these points, one after the other: nothing waits there."""

    points: list[str]
    op: int
    op_name: str | None
    command: str | None
    client: str | None
    user: str | None
    key: str | None


class Held(Message):
    """A key came."""

    op: int
    cause: str
    source: str | None
    fingerprint: bytes
    key: KeyRecord


class Gone(Message):
    """A key went."""

    op: int
    cause: str
    handle: int


class Tombstoned(Message):
    """A key was marked for deletion."""

    op: int
    cause: str
    handle: int


class Changed(Message):
    """An attribute of a key was changed."""

    op: int
    handle: int
    name: str
    value: Any


class Shared(Message):
    """A key was shared with a user, or taken back."""

    op: int
    handle: int
    user: str
    shared: bool


class Locked(Message):
    """A user was locked out."""

    op: int
    user: str
    type: str


class Failures(Message):
    """How many bad passwords have been tried: user → number."""

    counts: dict[str, int]


class Opened(Message):
    """A client logged in."""

    client: int
    session: int
    user: str


class Closed(Message):
    """A client's session ended."""

    client: int


class Logged(Message):
    """A line of the audit log: see `AuditRecord`."""

    at_ns: int
    boots: int
    opcode: str
    session: int
    response: int
    text: str
    user: str | None
    handles: tuple[int, ...]


Fact = Reached | Held | Gone | Tombstoned | Changed | Shared | Locked | Failures | Opened | Closed | Logged

# -- from the HSM process ------------------------------------------------------------------------


class Ready(Message):
    """The HSM listens."""

    port: int


class Report(Message):
    """Facts in their order.

    Attributes:
        number: counts reports that changed the disk, in the order of their commits; 0 for one that did not.
    """

    number: int
    facts: list[Fact]


class Asking(Message):
    """A request has come to an armed point and waits there for its fate."""

    number: int
    request: int
    point: str
    done: bool


class Done(Message):
    """An order was carried out, or refused."""

    number: int
    refusal: bytes | None = None
    handles: list[tuple[int, bool, bool]] | None = None


class Failed(Message):
    """A request was given up because of a mistake: in this package, or of a client that is none of ours."""

    request: int
    port: int
    trace: str


class Said(Message):
    """A line for the log of this HSM."""

    line: str


class Broken(Message):
    """The HSM process ends because of a mistake in this package."""

    trace: str


Telling = Ready | Report | Asking | Done | Failed | Said | Broken

# -- to the HSM process -----------------------------------------------------------------------------


class User(Message):
    """One account."""

    name: str
    type: str
    number: int
    digest: bytes


class Begin(Message):
    """All that an HSM process needs to know before it can live."""

    cluster: str
    hsm: str
    zone: str
    ip: str
    boots: int
    profile: Profile
    now_ns: int
    rate: float
    masking_key: bytes
    seed: str | None
    first_handle: int
    certificate: bytes
    private_key: bytes
    trust_anchor: bytes
    folder: str
    port: int
    points: tuple[str, ...]


class Fate(Message):
    """What becomes of a request that waits at a point: it goes on, later, or with an error."""

    number: int
    delay_ns: int = 0
    error: str | None = None


class Arm(Message):
    """Requests wait for their fate at these points from now on."""

    number: int
    points: tuple[str, ...]


class Limits(Message):
    """What a hardship has set."""

    number: int
    throttled: bool
    capacity: int
    sessions: int
    disk_full: bool


class Insert(Message):
    """Take keys in, all of them or none."""

    number: int
    cause: str
    source: str | None
    keys: list[KeyRecord]
    tombstones: list[int]


class Remove(Message):
    """Forget a key."""

    number: int
    cause: str
    handle: int


class Change(Message):
    """Set an attribute of a key."""

    number: int
    handle: int
    attribute: int
    value: Any


class Close(Message):
    """End a client's session."""

    number: int
    client: int
    cause: str


class Users(Message):
    """These are all users from now on."""

    number: int
    users: list[User]
    failures: dict[str, int]


class Members(Message):
    """These are the members of the cluster now: what clients are told."""

    number: int
    body: bytes


class Audit(Message):
    """Say what you hold."""

    number: int


Order = Begin | Fate | Arm | Limits | Insert | Remove | Change | Close | Users | Members | Audit

encode = msgspec.msgpack.Encoder().encode
decode_telling = msgspec.msgpack.Decoder(Telling).decode
decode_order = msgspec.msgpack.Decoder(Order).decode
