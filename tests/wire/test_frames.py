"""What is written is read back, and what no library of ours has written is a `FrameError`, and nothing else."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_hsmcluster.wire.frames import (
    ABSENT,
    FrameError,
    MechanismGiven,
    Reader,
    Room,
    Start,
    read_request,
    write_answer,
)
from pytest_hsmcluster.wire.functions import FUNCTIONS, LIMIT, STRUCTS, VERSION, Function

OFFERED = [function for function in FUNCTIONS if function.offered]
SHAPES = ("plain", "ecdh", "gcm", "kdf", "oaep", "rsa_aes")

numbers = st.integers(0, (1 << 64) - 1)
lengths = st.integers(0, LIMIT)
some = st.none() | st.binary(max_size=40)


def n(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def b(value: bytes | None) -> bytes:
    return n(ABSENT) if value is None else n(len(value)) + value


def _template(value: Any) -> bytes:
    if value is None:
        return n(ABSENT)
    parts = (n(kind) + (_template(raw) if kind & 0x40000000 else b(raw)) for kind, raw in value)
    return n(len(value)) + b"".join(parts)


def _flat(value: Any) -> bytes:
    return n(len(value)) + b"".join(n(kind) + b(raw) for kind, raw in value)


def _mechanism(value: MechanismGiven | None) -> bytes:
    if value is None:
        return n(0)
    if value.shape == "bad":
        return n(1, value.number, 255, *value.values)
    written = b""
    for one in value.values:
        if isinstance(one, int):
            written += n(one)
        else:
            written += _flat(one) if isinstance(one, tuple) else b(one)
    return n(1, value.number, SHAPES.index(value.shape)) + written


_parameters = {
    "plain": st.tuples(some),
    "gcm": st.tuples(some, some, numbers),
    "oaep": st.tuples(numbers, numbers, numbers, some),
    "ecdh": st.tuples(numbers, some, some),
    "rsa_aes": st.tuples(numbers, numbers, numbers, numbers, some),
    "kdf": st.tuples(numbers, numbers, st.lists(st.tuples(numbers, some), max_size=4).map(tuple)),
    "bad": st.tuples(numbers),
}
_attribute = st.tuples(st.integers(0, 0x3FFFFFFF), some)
_flat_template = st.lists(_attribute, max_size=4).map(tuple)
_nested = st.tuples(st.integers(0x40000000, 0x7FFFFFFF), st.none() | _flat_template)
_rooms = st.lists(st.tuples(numbers, st.none() | lengths), max_size=5).map(tuple)
_room = st.one_of(
    st.tuples(st.just(Room(False, None)), lengths.map(lambda size: n(0, size))),
    st.tuples(st.just(Room(True, None)), lengths.map(lambda size: n(1, size))),
    lengths.map(lambda size: (Room(True, size), n(2, size))),
)


def _with(values: st.SearchStrategy[Any], write: Any) -> st.SearchStrategy[tuple[Any, bytes]]:
    return values.map(lambda value: (value, write(value)))


_KINDS: dict[str, st.SearchStrategy[tuple[Any, bytes]]] = {
    **dict.fromkeys(("ulong", "flag", "pointer", "notify", "number", *STRUCTS), _with(numbers, n)),
    "start": st.builds(Start, st.booleans(), numbers, st.booleans(), numbers).map(lambda one: (one, n(*one))),
    "bytes": _with(some, b),
    "fill": _with(st.none() | lengths, lambda size: n(ABSENT if size is None else size)),
    "mechanism": _with(
        st.none()
        | st.sampled_from(sorted(_parameters)).flatmap(
            lambda shape: st.builds(MechanismGiven, numbers, st.just(shape), _parameters[shape])
        ),
        _mechanism,
    ),
    "template": _with(st.none() | st.lists(_attribute | _nested, max_size=4).map(tuple), _template),
    "attributes": _with(
        st.none() | _rooms,
        lambda rooms: (
            n(ABSENT)
            if rooms is None
            else n(len(rooms)) + b"".join(n(kind, ABSENT if size is None else size) for kind, size in rooms)
        ),
    ),
    "output": _room,
    "list": _room,
    "found": st.one_of(st.tuples(st.none(), lengths.map(lambda most: n(0, most))), lengths.map(lambda m: (m, n(1, m)))),
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[int, Function, list[Any], bytes]:
    """A call, and the frame that the library writes for it."""
    function, sequence = draw(st.sampled_from(OFFERED)), draw(st.integers(0, (1 << 32) - 1))
    arguments = [draw(_KINDS[kind]) for kind in function.takes]
    head = struct.pack("<IHH", sequence, VERSION, function.number)
    return sequence, function, [value for value, _ in arguments], head + b"".join(raw for _, raw in arguments)


@given(call=calls())
def test_every_call_is_read_as_it_was_written(call: tuple[int, Function, list[Any], bytes]) -> None:
    """Sequence, function and arguments of all kinds."""
    sequence, function, arguments, frame = call

    assert read_request(frame) == (sequence, function, arguments)


@given(call=calls(), data=st.data())
def test_a_frame_that_ends_early_is_an_error(call: tuple[int, Function, list[Any], bytes], data: st.DataObject) -> None:
    """Wherever it ends."""
    *_, frame = call
    with pytest.raises(FrameError):
        read_request(frame[: data.draw(st.integers(0, len(frame) - 1))])


@given(call=calls(), more=st.binary(min_size=1, max_size=20))
def test_a_frame_that_goes_on_is_an_error(call: tuple[int, Function, list[Any], bytes], more: bytes) -> None:
    """Nothing stands behind the last argument."""
    with pytest.raises(FrameError):
        read_request(call[3] + more)


@given(call=calls(), data=st.data())
def test_a_frame_that_was_changed_is_read_or_is_an_error(
    call: tuple[int, Function, list[Any], bytes], data: st.DataObject
) -> None:
    """Another number, anywhere: huge lengths, wrong counts, wrong types."""
    frame = bytearray(call[3])
    at = data.draw(st.integers(0, max(0, len(frame) - 8)))
    frame[at : at + 8] = data.draw(st.sampled_from([n(0), n(1), n(ABSENT), n(ABSENT - 1), n(1 << 63), n(LIMIT)]))
    _read_or_refused(bytes(frame))


@given(number=st.integers(0, 70), body=st.binary(max_size=200))
def test_any_bytes_are_read_or_are_an_error(number: int, body: bytes) -> None:
    """Behind a good header, too."""
    _read_or_refused(body)
    _read_or_refused(struct.pack("<IHH", 7, VERSION, number) + body)


def _read_or_refused(frame: bytes) -> None:
    try:
        _, function, arguments = read_request(frame)
    except FrameError:
        return
    assert function.offered and len(arguments) == len(function.takes)


def test_a_library_of_another_version_is_told_to_be_built_anew() -> None:
    """Both ends are built together; one that was left behind is noticed."""
    with pytest.raises(FrameError, match=f"version {VERSION + 1}; .*build the library anew"):
        read_request(struct.pack("<IHHQ", 1, VERSION + 1, 2, 0))


@pytest.mark.parametrize("number", [0, 4, 69, 65535])
def test_a_function_that_nobody_offers_is_an_error(number: int) -> None:
    """0 is no function, C_GetFunctionList never travels, and there are 68."""
    with pytest.raises(FrameError, match=f"of function {number}"):
        read_request(struct.pack("<IHH", 1, VERSION, number))


@pytest.mark.parametrize("count", [LIMIT + 1, 1 << 40, ABSENT - 1])
def test_a_count_that_no_frame_can_hold_is_refused_before_it_is_believed(count: int) -> None:
    """Nothing is allocated for it, and no random bytes are made."""
    for name, before in (("C_FindObjectsInit", n(1)), ("C_GetAttributeValue", n(1, 1)), ("C_GenerateRandom", n(1))):
        function = next(one for one in FUNCTIONS if one.name == name)
        with pytest.raises(FrameError):
            read_request(struct.pack("<IHH", 1, VERSION, function.number) + before + n(count))


def _read_output(reader: Reader) -> tuple[int | None, bytes]:
    told = reader.number()
    return None if told == ABSENT else told, reader.bytes() or b""


def _read_list(reader: Reader) -> tuple[int, list[int]]:
    told = reader.number()
    return told, [reader.number() for _ in range(reader.number())]


_RESULTS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "mechanism": (st.binary(max_size=20), lambda reader: reader.bytes()),
    "fill": (st.binary(max_size=20), lambda reader: reader.bytes()),
    "output": (st.tuples(st.none() | lengths, st.binary(max_size=40)), _read_output),
    "attributes": (
        st.lists(st.tuples(numbers, st.binary(max_size=20)), max_size=4),
        lambda reader: [(reader.number(), reader.bytes()) for _ in range(reader.number())],
    ),
    "list": (st.tuples(lengths, st.lists(numbers, max_size=4)), _read_list),
    "found": (st.lists(numbers, max_size=4), lambda reader: _read_list(reader)[1]),
    "number": (numbers, Reader.number),
}


@given(data=st.data(), function=st.sampled_from(OFFERED), result=numbers)
def test_every_answer_says_what_it_was_given(data: st.DataObject, function: Function, result: int) -> None:
    """Results stand behind sequence and CKR, in the order of the arguments; structs are tested by the library."""
    kinds = [kind for kind in function.takes if kind in _RESULTS]
    outputs = [data.draw(_RESULTS[kind][0]) for kind in kinds]
    if any(kind in STRUCTS for kind in function.takes):
        return
    frame = write_answer(7, function, result, outputs)

    assert struct.unpack_from("<IIQ", frame) == (7, 0, result)
    reader = Reader(frame, 16)
    assert [_RESULTS[kind][1](reader) for kind in kinds] == outputs
    reader.end()


def test_an_answer_to_nothing_has_no_results() -> None:
    """Where not even the function is known, the result is all that can be said."""
    assert write_answer(0, None, 5) == struct.pack("<IIQ", 0, 0, 5)
