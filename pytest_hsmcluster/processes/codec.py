"""What does a command look like on its way between two processes, and what does its answer?

    request: VERSION, id, op, op_name, client, user, session, key, label, handle, source, [command, argument, …]
    answer: VERSION, id, None | bool | int | bytes | [what it is, …]

A frame is one array of MessagePack.  A command travels as its constructor's arguments (`forms`): a new one needs no
line here, but a new `VERSION`.  An answer tells no secret: the bytes of a key that is not public stay with the HSM.
Whole keys are `KeyRecord`s, which travel on private pipes only.
"""

import inspect
import re
import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, ClassVar, Final, TypeVar, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType, defstruct, structs

from .. import errors
from ..cryptoki import CKO, CKR
from ..errors import ClusterError, UsageError
from ..keys.material import Material
from ..service import commands
from ..service.calls import Call
from ..service.commands import Command, Logout
from ..service.keystore import StoredKey
from .forms import Curve, Form, Kind, Value, Wire, one_of, received, received_attributes, return_value, sent, told

VERSION: Final = 1
"""Counts the forms that frames have had: another one for each change of a command's arguments or an error's attributes.

Every frame begins with it, and one of another version is malformed.
"""

_Made = TypeVar("_Made")


class Malformed(ValueError):
    """Bytes that are no frame of this `VERSION`: says where and which type was expected, and shows none of them."""


# -- keys ------------------------------------------------------------------------------------------


class KeyRecord(Wire, tag="key", frozen=True):
    """One key as one HSM holds it, all of it: for private pipes only.

    Attributes:
        kind, part, encoded, bits, curve: see `Material`.
        attributes: `Attributes.packed()`.
        handle, name, mat, owner, shares, session, changed: see `StoredKey`.
    """

    handle: int
    name: str
    mat: str
    kind: Kind
    part: CKO
    encoded: bytes
    bits: int
    curve: Curve | None
    attributes: bytes
    owner: str
    shares: tuple[str, ...]
    session: int | None
    changed: tuple[tuple[str, Value], ...]

    def __repr__(self) -> str:
        return f"<KeyRecord {self.name} {self.handle} {self.kind} {self.part.name} {self.curve or self.bits}>"


def record_of(key: StoredKey) -> KeyRecord:
    """Return a key with all its bytes."""
    return _record(key, key.material.encoded)


def key_of(record: KeyRecord) -> StoredKey:
    """Return the key that `record_of` was given.

    Raises:
        Malformed: its attributes are damaged.
    """
    return _checked("a key record", lambda: _key(record))


def _record(key: StoredKey, encoded: bytes) -> KeyRecord:
    material = key.material
    return KeyRecord(
        key.handle,
        key.name,
        key.mat,
        material.kind,
        material.part,
        encoded,
        material.bits,
        material.curve,
        key.attributes.packed(),
        key.owner,
        key.shares,
        key.session,
        tuple((name, sent(value)) for name, value in key.changed),
    )


def _key(record: KeyRecord) -> StoredKey:
    return StoredKey(
        record.handle,
        record.name,
        record.mat,
        Material(record.kind, record.part, record.encoded, record.bits, record.curve),
        received_attributes(record.attributes),
        record.owner,
        record.shares,
        record.session,
        tuple((name, received(value)) for name, value in record.changed),
    )


class _Keys(Wire, tag="keys", frozen=True):
    """Some keys, as a tuple (`fixed`) or as a list."""

    keys: tuple[KeyRecord, ...]
    fixed: bool


# -- errors ----------------------------------------------------------------------------------------


class _Refusal:
    """How errors of one class travel: their message, and those attributes that were set for one alone."""

    _WIRE_TYPES: ClassVar[dict[Any, Any]] = {CKR | int: int, CKR | int | None: int, Sequence[str]: tuple[str, ...]}

    def __init__(self, kind: type[ClusterError]) -> None:
        hints = get_type_hints(kind.__init__) | get_type_hints(kind)
        fields = [
            (name, one_of(self._WIRE_TYPES.get(hint, hint), UnsetType), UNSET)
            for name, hint in hints.items()
            if name not in ("message", "return") and get_origin(hint) is not ClassVar
        ]
        self.kind = kind
        self.said: Any = defstruct("Said", fields, forbid_unknown_fields=True, module=__name__)
        self.struct: Any = defstruct(
            kind.__name__, [("message", str), ("said", self.said)], bases=(Wire,), tag=kind.__name__, module=__name__
        )

    def sent(self, error: ClusterError) -> Any:
        # Notes are for people, where they were added.
        said = {name: value for name, value in vars(error).items() if name != "__notes__"}
        return self.struct(str(error), self.said(**said))

    def received(self, wire: Any) -> ClusterError:
        error = self.kind.__new__(self.kind, wire.message)
        said = {name: value for name, value in structs.asdict(wire.said).items() if value is not UNSET}
        if "ckr" in said:
            said["ckr"] = return_value(said["ckr"])
        vars(error).update(said)
        return error


def _subclasses(module: Any, base: type[_Made]) -> list[type[_Made]]:
    return [kind for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, base)]


_REFUSALS: Final = {kind: _Refusal(kind) for kind in _subclasses(errors, ClusterError)}

# -- requests --------------------------------------------------------------------------------------

_LOGOUT: Final = {"first": lambda logout: logout.opcode is not None}
_FORMS: Final = {
    kind: Form(kind, kind.name, _LOGOUT if kind is Logout else None)
    for kind in _subclasses(commands, Command)
    if kind is not Command
}
_FORM_OF: Final = {form.struct: form for form in _FORMS.values()}

_CALL: Final = {
    "op": int,
    "op_name": str | None,
    "client": str | None,
    "user": str | None,
    "session": int,
    "key": str | None,
    "label": str | None,
    "handle": int | None,
    "source": str | None,
}
_of_call = attrgetter(*_CALL)
_Request: Any = defstruct(
    "Request",
    [("id", int), *_CALL.items(), ("request", one_of(*_FORM_OF))],
    bases=(Wire,),
    tag=VERSION,
    module=__name__,
)
_REQUESTS: Final = msgspec.msgpack.Decoder(_Request)
_ENCODER: Final = msgspec.msgpack.Encoder()


def encode_request(id: int, call: Call) -> bytes:
    """Return a call of one command as a frame.

    Of the call, `hsm`, `lane` and deadline stay behind: they are the receiver's.

    Raises:
        UsageError: an argument that no HSM could be handed, as a number that is a text.
    """
    __tracebackhide__ = True  # pytest would print PINs and data
    request = call.request
    assert request is not None, "a call of an HSM carries a request"
    form = _FORMS[type(request)]
    try:
        frame = _ENCODER.encode(_Request(id, *_of_call(call), form.sent(request)))
        _REQUESTS.decode(frame)
        return frame
    except (msgspec.ValidationError, TypeError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        why = _shown(error)
    place = re.search(r" - at (?:`key` in )?`\$\[11\]\[(\d+)\]", why)
    argument = f", {form.names[int(place[1]) - 1]}=…" if place else ""
    raise UsageError(
        f"{request.name}{argument} cannot be sent to an HSM in a process of its own: {why.partition(' - at ')[0]}; "
        "give it an argument of the type that its documentation names"
    )


def decode_request(data: bytes, lane: int, hsm: str | None = None) -> tuple[int, Call]:
    """Return the id of a request and its call.

    Args:
        data: a frame of `encode_request`.
        lane: in which the call waits on this side.
        hsm: id of the HSM that received it.

    Raises:
        Malformed: it is no such frame.
    """
    __tracebackhide__ = True
    return _checked("a request", lambda: _call(_REQUESTS.decode(data), lane, hsm))


def _call(wire: Any, lane: int, hsm: str | None) -> tuple[int, Call]:
    request = _FORM_OF[type(wire.request)].received(wire.request)
    call = Call(
        wire.op,
        wire.op_name,
        wire.client,
        wire.user,
        lane,
        session=wire.session,
        hsm=hsm,
        command=request.name,
        key=wire.key,
        label=wire.label,
        handle=wire.handle,
        source=wire.source,
        request=request,
    )
    return wire.id, call


# -- answers ---------------------------------------------------------------------------------------

_Answer: Any = defstruct(
    "Answer",
    [("id", int), ("answer", one_of(Value, KeyRecord, _Keys, *(refusal.struct for refusal in _REFUSALS.values())))],
    bases=(Wire,),
    tag=VERSION,
    module=__name__,
)
_ANSWERS: Final = msgspec.msgpack.Decoder(_Answer)


def encode_answer(id: int, answer: Any) -> bytes:
    """Return what a command gave back, or the `ClusterError` with which it was refused, as a frame."""
    __tracebackhide__ = True
    return _ENCODER.encode(_Answer(id, _sent_answer(answer)))


def decode_answer(data: bytes) -> tuple[int, Any]:
    """Return the id of a request and its answer; an error is returned, and not raised.

    The material of a key that is not public has no bytes.

    Raises:
        Malformed: it is no frame of `encode_answer`.
    """
    __tracebackhide__ = True
    return _checked("an answer", lambda: _answer(_ANSWERS.decode(data)))


def _sent_answer(answer: Any) -> Any:
    if isinstance(answer, StoredKey):
        return _record(answer, told(answer.material))
    if isinstance(answer, tuple | list):
        return _Keys(tuple(_record(key, told(key.material)) for key in answer), isinstance(answer, tuple))
    if isinstance(answer, ClusterError):
        return _REFUSALS[type(answer)].sent(answer)
    return sent(answer)


def _answer(wire: Any) -> tuple[int, Any]:
    change = _RECEIVED.get(type(wire.answer), received)
    return wire.id, change(wire.answer)


def _told_key(record: KeyRecord) -> StoredKey:
    if record.encoded and record.part is not CKO.PUBLIC_KEY:
        raise ValueError("a secret in an answer")
    return _key(record)


def _received_keys(wire: _Keys) -> Sequence[StoredKey]:
    keys = map(_told_key, wire.keys)
    return tuple(keys) if wire.fixed else list(keys)


_RECEIVED: Final[dict[Any, Callable[[Any], Any]]] = {
    KeyRecord: _told_key,
    _Keys: _received_keys,
    **{refusal.struct: refusal.received for refusal in _REFUSALS.values()},
}

# -- what is malformed -----------------------------------------------------------------------------

_DAMAGE: Final = (msgspec.DecodeError, ClusterError, ValueError, KeyError, struct.error, RecursionError)
"""What comes of bytes that are no frame, and of attributes or a public key within one that are none."""

_HARMLESS: Final = (
    "Expected ",
    "Input data ",
    "Invalid UTF-8",
    "MessagePack data ",
    "Encoding objects ",
    "can't serialize ",
)
"""How `msgspec` begins what quotes nothing of a frame: types, lengths and places."""

_PLACE: Final = re.compile(r" - at (?:`key` in )?`\$[\[\].\w]*`$")


def _checked(what: str, make: Callable[[], _Made]) -> _Made:
    __tracebackhide__ = True
    try:
        return make()
    except _DAMAGE as error:
        why = _shown(error)
    raise Malformed(f"this is not {what} of version {VERSION}: {why}")  # with no context: that may show bytes


def _shown(error: Exception) -> str:
    """Return what can be told of an error without telling what was in the frame."""
    if isinstance(error, RecursionError):
        return "values within values within values"
    if isinstance(error, UnicodeError):
        return "text that is no UTF-8"
    if not isinstance(error, msgspec.DecodeError | TypeError | OverflowError):
        return "a damaged key, or a damaged set of attributes"
    text = str(error)
    if text.startswith(_HARMLESS):
        return text
    place = _PLACE.search(text)  # unknown words, numbers and fields are quoted before it
    return f"something unknown{place[0] if place else ''}"
