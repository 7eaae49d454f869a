"""How does Python read a frame, and write the answer?

A number is 8 bytes, little-endian.  Bytes are their number, then they themselves.  What an argument is the table says;
what each kind of argument looks like here:

    ulong flag pointer number     an int
    start                         `Start`
    bytes fill                    bytes or None; the length that is wanted
    mechanism                     `MechanismGiven`, or None
    template                      a tuple of (type, value); a value is bytes, None, or for a template in it a tuple
    attributes                    a tuple of (type, room); room is None where only the length is asked for
    output list                   `Room`
    found                         how many there is room for, or None
    a struct                      whether there is one

and each kind of result:

    mechanism fill                bytes
    attributes                    a sequence of (length, bytes)
    output                        (length, bytes)
    list                          (count, numbers)
    found                         numbers
    number                        an int
    a struct                      its fields: ints, and bytes of the length that the struct has
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from .functions import FUNCTIONS, LIMIT, SHAPES, STRUCTS, VERSION, Function

ABSENT: Final = (1 << 64) - 1
"""A length, where there is nothing at all."""

UNAVAILABLE: Final = ABSENT
"""CK_UNAVAILABLE_INFORMATION: the length of an attribute that is not given out."""

_NUMBER: Final = struct.Struct("<Q")
_PAIR: Final = struct.Struct("<QQ")
_HEADER: Final = struct.Struct("<IHH")
_RESULT: Final = struct.Struct("<IIQ")
_SHAPES: Final = ("plain", *sorted(set(SHAPES.values())))  # as in the enum of `c_source`
_BAD_SHAPE: Final = 255


class FrameError(Exception):
    """A frame that no library of ours has written."""


class Start(NamedTuple):
    """What `C_Initialize` was given: CK_C_INITIALIZE_ARGS.

    Attributes:
        given: whether anything.
        flags: CKF_OS_LOCKING_OK and others.
        reserved: whether `pReserved` is not NULL.
        mutexes: how many of the four functions there are.
    """

    given: bool
    flags: int
    reserved: bool
    mutexes: int


class Room(NamedTuple):
    """Where an output goes.

    Attributes:
        asked: whether there is a place for its length; without one nothing can be said.
        size: how much fits; None where only the length is asked for.
    """

    asked: bool
    size: int | None


class MechanismGiven(NamedTuple):
    """A mechanism as the application gave it.

    Attributes:
        number: CKM.
        shape: `plain`, `gcm`, `oaep`, `ecdh`, `rsa_aes`, `kdf`, or `bad` for a parameter of the wrong size.
        values: what the parameter holds: bytes and numbers in the order of the struct, without lengths.
    """

    number: int
    shape: str
    values: tuple[Any, ...]


class Reader:
    """Reads a frame from its beginning on."""

    __slots__ = ("_at", "_frame")

    def __init__(self, frame: bytes, at: int = 0) -> None:
        self._frame = frame
        self._at = at

    def number(self) -> int:
        """Return the next number; `FrameError`: the frame ends before."""
        at = self._at
        self._at = at + 8
        try:
            found: int = _NUMBER.unpack_from(self._frame, at)[0]
        except struct.error:
            raise FrameError("a frame ends in the middle of a number") from None
        return found

    def bytes(self) -> bytes | None:
        """Return the next bytes, None where the caller had no place for them; `FrameError`: the frame ends before."""
        length = self.number()
        if length == ABSENT:
            return None
        at = self._at
        self._at = end = at + length
        if end > len(self._frame):
            raise FrameError(f"a frame ends {end - len(self._frame)} bytes early")
        return self._frame[at:end]

    def end(self) -> None:
        """Refuse what is behind the last argument."""
        if self._at != len(self._frame):
            raise FrameError(f"a frame has {len(self._frame) - self._at} bytes too many")


def _template(reader: Reader, depth: int = 0) -> tuple[tuple[int, Any], ...] | None:
    count = reader.number()
    if count == ABSENT:
        return None
    if count > LIMIT // 16:
        raise FrameError(f"a template of {count} attributes")
    found = []
    for _ in range(count):
        kind = reader.number()
        nested = kind & 0x40000000 and depth == 0
        found.append((kind, _template(reader, 1) if nested else reader.bytes()))
    return tuple(found)


def _rooms(reader: Reader) -> tuple[tuple[int, int | None], ...] | None:
    count = reader.number()
    if count == ABSENT:
        return None
    if count > LIMIT // 16:
        raise FrameError(f"a template of {count} attributes")
    return tuple([(reader.number(), _or_none(reader.number())) for _ in range(count)])


def _or_none(length: int) -> int | None:
    return None if length == ABSENT else length


def _oaep(reader: Reader) -> tuple[Any, ...]:
    return reader.number(), reader.number(), reader.number(), reader.bytes()


def _kdf(reader: Reader) -> tuple[Any, ...]:
    prf, more, count = reader.number(), reader.number(), reader.number()
    if count > LIMIT // 16:
        raise FrameError(f"a KDF of {count} parameters")
    return prf, more, tuple((reader.number(), reader.bytes()) for _ in range(count))


_PARAMETERS: Final[dict[str, Callable[[Reader], tuple[Any, ...]]]] = {
    "plain": lambda reader: (reader.bytes(),),
    "gcm": lambda reader: (reader.bytes(), reader.bytes(), reader.number()),
    "oaep": _oaep,
    "ecdh": lambda reader: (reader.number(), reader.bytes(), reader.bytes()),
    "rsa_aes": lambda reader: (reader.number(), *_oaep(reader)),
    "kdf": _kdf,
}


def _mechanism(reader: Reader) -> MechanismGiven | None:
    if not reader.number():
        return None
    number, shape = reader.number(), reader.number()
    if shape == _BAD_SHAPE:
        return MechanismGiven(number, "bad", (reader.number(),))
    if shape >= len(_SHAPES):
        raise FrameError(f"a mechanism's parameter of shape {shape}")
    name = _SHAPES[shape]
    return MechanismGiven(number, name, _PARAMETERS[name](reader))


def _room(reader: Reader) -> Room:
    state, size = reader.number(), reader.number()
    if state > 2:
        raise FrameError(f"room in state {state}")
    return Room(state > 0, size if state == 2 else None)


def _fill(reader: Reader) -> int | None:
    wanted = _or_none(reader.number())
    if wanted is not None and wanted > LIMIT:
        raise FrameError(f"room for {wanted} bytes, and the longest frame has {LIMIT}")
    return wanted


def _found(reader: Reader) -> int | None:
    there, most = reader.number(), reader.number()
    return most if there else None


def _start(reader: Reader) -> Start:
    return Start(bool(reader.number()), reader.number(), bool(reader.number()), reader.number())


_READ: Final[dict[str, Callable[[Reader], Any]]] = {
    "ulong": Reader.number,
    "flag": Reader.number,
    "pointer": Reader.number,
    "notify": Reader.number,
    "number": Reader.number,
    "start": _start,
    "bytes": Reader.bytes,
    "fill": _fill,
    "mechanism": _mechanism,
    "template": _template,
    "attributes": _rooms,
    "output": _room,
    "list": _room,
    "found": _found,
    **dict.fromkeys(STRUCTS, Reader.number),
}

# What a frame of a function is read with; None for those that the library answers alone.
_PLANS: Final = tuple(
    tuple(_READ[kind] for kind in function.takes) if function.offered else None for function in FUNCTIONS
)


def read_request(frame: bytes) -> tuple[int, Function, list[Any]]:
    """Return a frame's sequence number, the function that is called, and its arguments.

    Raises:
        FrameError: no library of this version has written this.
    """
    try:
        sequence, version, number = _HEADER.unpack_from(frame)
    except struct.error:
        raise FrameError("a frame without a header") from None
    if version != VERSION:
        raise FrameError(f"a frame of version {version}; this is version {VERSION}: build the library anew")
    plan = _PLANS[number - 1] if 1 <= number <= len(_PLANS) else None
    if plan is None:
        raise FrameError(f"a frame of function {number}")
    reader = Reader(frame, _HEADER.size)
    arguments = [read(reader) for read in plan]
    reader.end()
    return sequence, FUNCTIONS[number - 1], arguments


def _pack_bytes(value: bytes) -> bytes:
    return _NUMBER.pack(len(value)) + value


def _pack_output(value: tuple[int | None, bytes]) -> bytes:
    told, data = value
    return _PAIR.pack(ABSENT if told is None else told, len(data)) + data


def _pack_attributes(values: Sequence[tuple[int, bytes]]) -> bytes:
    parts = [_NUMBER.pack(len(values))]
    for told, data in values:
        parts.append(_PAIR.pack(told, len(data)) + data)
    return b"".join(parts)


def _pack_list(value: tuple[int, Sequence[int]]) -> bytes:
    told, numbers = value
    return struct.pack(f"<{2 + len(numbers)}Q", told, len(numbers), *numbers)


def _pack_struct(values: Sequence[int | bytes]) -> bytes:
    return b"".join(value if isinstance(value, bytes) else _NUMBER.pack(value) for value in values)


_WRITE: Final[dict[str, Callable[[Any], bytes]]] = {
    "mechanism": _pack_bytes,
    "fill": _pack_bytes,
    "attributes": _pack_attributes,
    "output": _pack_output,
    "list": _pack_list,
    "found": lambda numbers: _pack_list((len(numbers), numbers)),
    "number": _NUMBER.pack,
    **dict.fromkeys(STRUCTS, _pack_struct),
}

_RESULTS: Final = {
    function.name: tuple(_WRITE[kind] for kind in function.takes if kind in _WRITE) for function in FUNCTIONS
}


def write_answer(sequence: int, function: Function | None, result: int, outputs: Sequence[Any] = ()) -> bytes:
    """Return the frame that answers a call.

    Args:
        sequence: of the request.
        function: what was called; None if that is not known, and then there are no outputs.
        result: CKR.
        outputs: one for each result that the function has, in the order of its arguments; or none at all.
    """
    head = _RESULT.pack(sequence, 0, result)
    if not outputs or function is None:
        return head
    writers = _RESULTS[function.name]
    assert len(writers) == len(outputs), f"{function.name} has {len(writers)} results, not {len(outputs)}"
    return head + b"".join([write(value) for write, value in zip(writers, outputs, strict=True)])
