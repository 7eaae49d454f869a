"""Whoever answers cannot make the library write where there is no room, or tell an application what is not so."""

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.pkcs11.native.calling import ARGUMENTS_BAD, GENERAL_ERROR, OK, SLOT_INVALID, TOO_SMALL, Library

ABSENT = (1 << 64) - 1
CANARY = 0xA5


def n(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


class Buffers:
    """16 bytes, a count of 16, and canaries around both."""

    def __init__(self) -> None:
        self._all = (ctypes.c_ubyte * 96)(*[CANARY] * 96)
        self.data = ctypes.addressof(self._all) + 24
        self.count = ctypes.addressof(self._all) + 64
        ctypes.c_ulong.from_address(self.count).value = 16

    @property
    def told(self) -> int:
        return ctypes.c_ulong.from_address(self.count).value

    @property
    def content(self) -> bytes:
        return bytes(self._all)[24:40]

    @property
    def intact(self) -> bool:
        whole = bytes(self._all)
        return all(byte == CANARY for byte in whole[:24] + whole[40:64] + whole[72:])


@pytest.fixture
def buffers() -> Buffers:
    return Buffers()


@pytest.fixture
def hostile(library: Library) -> Callable[..., Library]:
    """The library, initialised; from now on what comes back is `rest` behind the right sequence and a result."""

    def made(rest: bytes = b"", result: int = OK, answer: Any = None) -> Library:
        library.carry(lambda request, room: request[:4] + bytes(4) + n(OK))
        assert library.C_Initialize(None) == OK
        library.carry(answer or (lambda request, room: request[:4] + bytes(4) + n(result) + rest))
        return library

    return made


def encrypt(library: Library, buffers: Buffers) -> int:
    return int(library.C_Encrypt(1, b"data", 4, buffers.data, buffers.count))


@pytest.mark.parametrize(
    "answer",
    [
        lambda request, room: (0, b""),
        lambda request, room: (-1, b""),
        lambda request, room: (-(1 << 63), b""),
        lambda request, room: (room + 1, bytes(room)),
        lambda request, room: ((1 << 63) - 1, bytes(room)),
        lambda request, room: b"\0",
        lambda request, room: request[:4] + bytes(4),
        lambda request, room: request[:4] + bytes(11),
        lambda request, room: bytes([request[0] ^ 1]) + request[1:4] + bytes(4) + n(0, 4, 4) + b"true",
        lambda request, room: request[:4] + bytes(4) + n(0, 4, 4) + b"true" + b"more",
        lambda request, room: (room, request[:4] + bytes(room - 4)),
    ],
    ids=[
        "nothing",
        "negative",
        "most-negative",
        "too-long",
        "longest",
        "byte",
        "no-result",
        "half-result",
        "other-call",
        "trailing",
        "zeros",
    ],
)
def test_a_frame_that_is_none_is_a_general_error(hostile: Any, buffers: Buffers, answer: Any) -> None:
    """And the application's buffer keeps to itself."""
    assert encrypt(hostile(answer=answer), buffers) == GENERAL_ERROR
    assert buffers.intact


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        n(16),
        n(16, 17) + bytes(17),
        n(17, 17) + bytes(17),
        n(16, 1 << 40),
        n(16, ABSENT),
        n(16, ABSENT - 15) + bytes(16),
        n(17, 16) + bytes(16),
        n(1 << 40, 4) + bytes(4),
        n(ABSENT, 4) + bytes(4),
        n(4, 0),
        n(16, 16) + bytes(15),
    ],
)
def test_an_output_that_does_not_fit_is_a_general_error(hostile: Any, buffers: Buffers, rest: bytes) -> None:
    """Nor is a length believed that is not the one that was written: the application would read on."""
    assert encrypt(hostile(rest), buffers) == GENERAL_ERROR
    assert buffers.intact and buffers.told == 16


def test_a_good_output_is_written_whole(hostile: Any, buffers: Buffers) -> None:
    """Exactly as much as there is room for."""
    assert encrypt(hostile(n(16, 16) + b"0123456789abcdef"), buffers) == OK
    assert buffers.intact and buffers.told == 16 and buffers.content == b"0123456789abcdef"


def test_too_little_room_tells_the_length(hostile: Any, buffers: Buffers) -> None:
    """A failure may tell a length without an output."""
    assert encrypt(hostile(n(4096, 0), TOO_SMALL), buffers) == TOO_SMALL
    assert buffers.intact and buffers.told == 4096


def test_a_failure_may_say_nothing_else(hostile: Any, buffers: Buffers) -> None:
    """Then nothing is written."""
    assert encrypt(hostile(b"", ARGUMENTS_BAD), buffers) == ARGUMENTS_BAD
    assert buffers.intact and buffers.told == 16 and buffers.content == bytes([CANARY]) * 16


@pytest.mark.parametrize("rest", [n(2, 3, 1, 2, 3), n(3, 2, 1, 2), n(2, 1 << 61), n(2, 2, 1), n(2, ABSENT), n(1, 0)])
def test_a_wrong_count_of_numbers_is_a_general_error(hostile: Any, buffers: Buffers, rest: bytes) -> None:
    """There is room for two."""
    ctypes.c_ulong.from_address(buffers.count).value = 2
    library = hostile(rest)

    assert library.C_GetSlotList(1, buffers.data, buffers.count) == GENERAL_ERROR
    assert library.C_FindObjects(1, buffers.data, 2, buffers.count) == GENERAL_ERROR
    assert buffers.intact and buffers.told == 2


@pytest.mark.parametrize(
    "rest",
    [
        n(0),
        n(2, 4, 4) + bytes(4) + n(0, 0),
        n(1, 17, 17) + bytes(17),
        n(1, 17, 16) + bytes(16),
        n(1, 16, 1 << 60),
        n(1, ABSENT, ABSENT),
        n(ABSENT),
        n(1),
        b"",
    ],
)
def test_wrong_attributes_are_a_general_error(hostile: Any, buffers: Buffers, rest: bytes) -> None:
    """One attribute with 16 bytes of room; its length stays what it was."""
    template = (ctypes.c_ulong * 3)(0x11, buffers.data, 16)

    assert hostile(rest).C_GetAttributeValue(1, 1, template, 1) == GENERAL_ERROR
    assert buffers.intact and template[2] == 16


def test_attributes_for_a_template_of_null_are_a_general_error(hostile: Any) -> None:
    """The fuzzer's first finding: the count was right, and there was nothing to write it to."""
    assert hostile(n(2, 0, 0, 0, 0)).C_GetAttributeValue(1, 1, None, 2) == GENERAL_ERROR


@pytest.mark.parametrize("rest", [b"", n(7), n(7)[:5], n(7, 8, 9)])
def test_a_pair_needs_both_handles(hostile: Any, rest: bytes) -> None:
    """One that was left out would be whatever was in the application's memory."""
    mechanism, handles = (ctypes.c_ulong * 3)(0x1040, 0, 0), (ctypes.c_ulong * 2)()
    there = ctypes.addressof(handles)

    library = hostile(n(0) + rest)
    assert library.C_GenerateKeyPair(1, mechanism, None, 0, None, 0, there, there + 8) == GENERAL_ERROR


@pytest.mark.parametrize("size", [0, 1, 3, 71, 75, 200])
def test_a_struct_has_one_length(hostile: Any, size: int) -> None:
    """CK_INFO has 78 bytes on the wire: shorter and longer ones are refused, and nothing is written behind it."""
    info = (ctypes.c_ubyte * 128)(*[CANARY] * 128)

    assert hostile(bytes(size)).C_GetInfo(info) == GENERAL_ERROR
    assert all(byte == CANARY for byte in bytes(info)[88:])


def test_an_iv_does_not_grow(hostile: Any, buffers: Buffers) -> None:
    """The HSM writes the IV into CK_GCM_PARAMS: as much as fits there, and nothing where there is none."""
    gcm = (ctypes.c_ulong * 6)(buffers.data, 16, 128, 0, 0, 128)
    mechanism = (ctypes.c_ulong * 3)(0x1087, ctypes.addressof(gcm), 48)
    library = hostile(n(17) + bytes(17))

    assert library.C_EncryptInit(1, mechanism, 1) == GENERAL_ERROR
    gcm[0] = gcm[1] = 0
    assert library.C_EncryptInit(1, mechanism, 1) == GENERAL_ERROR
    assert buffers.intact and buffers.content == bytes([CANARY]) * 16


def test_a_library_that_was_refused_goes_on(hostile: Any, buffers: Buffers) -> None:
    """After nonsense the next good answer counts."""
    library = hostile(b"nonsense")
    assert encrypt(library, buffers) == GENERAL_ERROR
    library.carry(lambda request, room: request[:4] + bytes(4) + n(SLOT_INVALID))

    assert encrypt(library, buffers) == SLOT_INVALID


def test_a_carrier_that_was_taken_out_leaves_only_tidying_up(hostile: Any, buffers: Buffers, capfd: Any) -> None:
    """As after the interpreter has ended: closing succeeds, the rest is not initialised, and a new start says why."""
    library = hostile()
    library.carry(None)

    assert encrypt(library, buffers) == 0x190
    assert library.C_CloseSession(1) == library.C_Finalize(None) == OK
    assert library.C_Initialize(None) == GENERAL_ERROR
    assert "the test run that carried the calls has ended" in capfd.readouterr().err
