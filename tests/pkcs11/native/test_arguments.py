"""Whatever an application passes, the library neither crashes nor writes where there is no room."""

import ctypes
from typing import Any

import pytest

from pytest_hsmcluster import Pkcs11Door
from pytest_hsmcluster.wire.functions import FUNCTIONS
from tests.pkcs11.native.calling import (
    ARGUMENTS_BAD,
    LEN_RANGE,
    NOT_INITIALIZED,
    NOT_SUPPORTED,
    OK,
    TOO_SMALL,
    TYPES,
    Library,
)

NAMES = [function.name for function in FUNCTIONS]
ALONE = [function.name for function in FUNCTIONS if not function.offered and function.name != "C_GetFunctionList"]


@pytest.fixture
def door(hsm_pkcs11: Pkcs11Door) -> Any:
    library = Library(hsm_pkcs11.module)
    assert library.C_Initialize(None) in (OK, 0x191)
    yield library
    library.C_Finalize(None)


@pytest.mark.parametrize("number", [0, 1, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("name", NAMES)
def test_null_everywhere_is_refused(hsm_pkcs11: Pkcs11Door, door: Library, name: str, number: int) -> None:
    """All pointers are NULL, all numbers and lengths are 0, small or huge."""
    arguments = [None if type_ is ctypes.c_void_p else number & 0xFF if type_ is ctypes.c_ubyte else number
                 for type_ in TYPES[name]]  # fmt: skip
    if name == "C_OpenSession":
        arguments[0] = hsm_pkcs11.slot_id
    result = getattr(door, name)(*arguments)

    assert (result == OK) == (
        name in ("C_Finalize",) or (name == "C_CloseAllSessions" and number == hsm_pkcs11.slot_id)
    )
    assert hsm_pkcs11.failures == []


@pytest.mark.parametrize("name", NAMES)
def test_null_in_a_session_is_refused_or_means_nothing(hsm_pkcs11: Pkcs11Door, door: Library, name: str) -> None:
    """The session is a good one, the rest is NULL with a length."""
    if TYPES[name][0] is not ctypes.c_ulong or name in ("C_OpenSession", "C_GetSlotInfo", "C_GetTokenInfo"):
        return
    arguments = [None if type_ is ctypes.c_void_p else 3 for type_ in TYPES[name]]
    arguments[0] = door.session(hsm_pkcs11.slot_id)
    getattr(door, name)(*arguments)

    assert hsm_pkcs11.failures == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_works_before_c_initialize(library: Library, name: str) -> None:
    """Except C_Initialize and C_GetFunctionList; what is not offered says so before that, too."""
    if name in ("C_Initialize", "C_GetFunctionList"):
        return
    result = getattr(library, name)(*(None if type_ is ctypes.c_void_p else 0 for type_ in TYPES[name]))

    assert result == (NOT_SUPPORTED if name in ALONE else NOT_INITIALIZED)


def test_the_function_list_is_2_40_and_has_all_functions_in_order(library: Library) -> None:
    """A pointer to a struct of a version and 68 functions."""
    there = ctypes.c_void_p()
    assert library.C_GetFunctionList(ctypes.byref(there)) == OK
    assert there.value is not None

    assert ctypes.string_at(there.value, 2) == b"\x02\x28"
    listed = (ctypes.c_void_p * 68).from_address(there.value + 8)
    assert list(listed) == [ctypes.cast(getattr(library.handle, name), ctypes.c_void_p).value for name in NAMES]


def test_v3_is_not_offered(library: Library) -> None:
    """python-pkcs11 asks for C_GetInterface, and would believe a 2.40 list that it gets for 3.0."""
    assert not hasattr(library.handle, "C_GetInterface")


def test_a_list_is_asked_for_twice(hsm_pkcs11: Pkcs11Door, door: Library) -> None:
    """Its length, then itself; with too little room the length comes, and the buffer stays as it is."""
    count, room = ctypes.c_ulong(77), (ctypes.c_ulong * 3)(9, 9, 9)
    assert door.C_GetMechanismList(hsm_pkcs11.slot_id, None, ctypes.byref(count)) == OK
    needed, count.value = count.value, 2

    assert door.C_GetMechanismList(hsm_pkcs11.slot_id, room, ctypes.byref(count)) == TOO_SMALL
    assert needed > 3 and count.value == needed and list(room) == [9, 9, 9]


def test_a_digest_is_asked_for_twice(hsm_pkcs11: Pkcs11Door, door: Library) -> None:
    """A length, too little room, then the digest; the byte behind the buffer stays as it is."""
    session = door.session(hsm_pkcs11.slot_id)
    mechanism = (ctypes.c_ulong * 3)(0x250, 0, 0)
    assert door.C_DigestInit(session, mechanism) == OK
    size, room = ctypes.c_ulong(0), ctypes.create_string_buffer(b"\xa5" * 33, 33)

    assert door.C_Digest(session, b"abc", 3, None, ctypes.byref(size)) == OK and size.value == 32
    size.value = 31
    assert door.C_Digest(session, b"abc", 3, room, ctypes.byref(size)) == TOO_SMALL and size.value == 32
    assert room.raw == b"\xa5" * 33
    assert door.C_Digest(session, b"abc", 3, room, ctypes.byref(size)) == OK
    assert room.raw[:4].hex() == "ba7816bf" and room.raw[32:] == b"\xa5"


@pytest.mark.parametrize(("name", "before"), [("C_Digest", (1, b"abc", 3)), ("C_GetMechanismList", (1,))])
def test_a_length_that_means_nothing_is_not_passed_on(library: Library, name: str, before: tuple[Any, ...]) -> None:
    """GnuTLS asks for a length and leaves in its place what was on the stack: nobody's business, and never the same."""
    seen = []
    library.carry(lambda request, room: (seen.append(request), request[:4] + bytes(12))[1])
    assert library.C_Initialize(None) == OK
    for left in (0, 0xA5A5A5A5):
        getattr(library, name)(*before, None, ctypes.byref(ctypes.c_ulong(left)))
    assert seen[-2][4:] == seen[-1][4:]


def test_a_struct_may_stand_anywhere(hsm_pkcs11: Pkcs11Door, door: Library) -> None:
    """A mechanism, a count and a template at odd addresses: void pointers promise no alignment."""
    session = door.session(hsm_pkcs11.slot_id)
    raw = ctypes.create_string_buffer(128)
    odd = ctypes.addressof(raw) + 1
    (ctypes.c_ulong * 3).from_address(odd)[:] = [0x250, 0, 0]
    assert door.C_DigestInit(session, odd) == OK
    ctypes.c_ulong.from_address(odd).value = 64
    assert door.C_DigestFinal(session, odd + 8, odd) == OK
    assert ctypes.c_ulong.from_address(odd).value == 32


@pytest.mark.parametrize("size", [1 << 20, 1 << 40, (1 << 64) - 1])
def test_more_than_a_frame_holds_is_refused(hsm_pkcs11: Pkcs11Door, door: Library, size: int) -> None:
    """Before it is read: neither so much data is there, nor room for so many random bytes."""
    session, some = door.session(hsm_pkcs11.slot_id), ctypes.create_string_buffer(16)

    assert door.C_GenerateRandom(session, some, size) == LEN_RANGE
    assert size < 1 << 21 or door.C_Login(session, 1, some, size) == LEN_RANGE
    template = (ctypes.c_ulong * 3)(3, ctypes.addressof(some), size)
    assert size < 1 << 21 or door.C_FindObjectsInit(session, template, 1) == LEN_RANGE
    assert door.C_FindObjectsInit(session, template, size) == LEN_RANGE


def test_templates_in_templates_in_templates_end(hsm_pkcs11: Pkcs11Door, door: Library) -> None:
    """One that holds itself is read one storey deep."""
    session, wrap = door.session(hsm_pkcs11.slot_id), 0x40000211
    template = (ctypes.c_ulong * 3)(wrap, 0, 24)
    template[1] = ctypes.addressof(template)

    assert door.C_FindObjectsInit(session, template, 1) not in (OK, LEN_RANGE)
    template[2] = (1 << 64) - 1
    assert door.C_FindObjectsInit(session, template, 1) not in (OK, LEN_RANGE)
    assert hsm_pkcs11.failures == []


@pytest.mark.parametrize("start, result", [((1, 0, 0, 0), ARGUMENTS_BAD), ((0, 0, 0, 0), OK), ((1, 1, 1, 1), OK)])
def test_mutex_functions_are_all_or_none_and_never_called(
    hsm_pkcs11: Pkcs11Door, start: tuple[int, ...], result: int
) -> None:
    """They are no functions here: whoever called one would not come back."""
    library = Library(hsm_pkcs11.module)
    library.C_Finalize(None)
    arguments = (ctypes.c_ulong * 6)(*start, 2, 0)

    assert library.C_Initialize(arguments) == result
    assert library.C_Finalize(None) == (OK if result == OK else NOT_INITIALIZED)
