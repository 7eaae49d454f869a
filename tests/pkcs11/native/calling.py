"""How does a test call the library itself, by ctypes, with arguments that no binding would let through?"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pytest_hsmcluster.wire.functions import FUNCTIONS, IN

Exchange: Final = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong)
OK, GENERAL_ERROR, ARGUMENTS_BAD = 0x0, 0x5, 0x7
NOT_SUPPORTED, NOT_INITIALIZED, SESSION_INVALID, SLOT_INVALID = 0x54, 0x190, 0xB3, 0x3
ALREADY_INITIALIZED, TOO_SMALL, LEN_RANGE = 0x191, 0x150, 0x21
RW_SERIAL = 6

_C = {"CK_ULONG": ctypes.c_ulong, "CK_BBOOL": ctypes.c_ubyte}
TYPES: Final = {
    function.name: [_C.get(type_, ctypes.c_void_p) for kind in function.takes for type_ in IN[kind].split()]
    for function in FUNCTIONS
}


class Library:
    """One instance of the library; one that was copied to another path knows nothing of the first."""

    def __init__(self, path: str | Path) -> None:
        self.handle = ctypes.CDLL(str(path))
        self._kept: list[Any] = []
        for name, types in TYPES.items():
            function = getattr(self.handle, name)
            function.argtypes, function.restype = types, ctypes.c_ulong

    def __getattr__(self, name: str) -> Callable[..., int]:
        return getattr(self.handle, name)  # type: ignore[no-any-return]

    def carry(self, answer: Callable[[bytes, int], bytes | tuple[int, bytes]] | None) -> None:
        """Have calls answered by a function of request and room: an answer, or what it returns and what it writes."""
        if answer is None:
            self.handle.hsmcluster_carry(None)
            return

        def exchange(request: int, length: int, place: int, room: int) -> int:
            told = answer(ctypes.string_at(request, length), room)
            size, written = told if isinstance(told, tuple) else (len(told), told)
            ctypes.memmove(place, written, min(len(written), room))
            return size

        self._kept.append(Exchange(exchange))
        self.handle.hsmcluster_carry(self._kept[-1])

    def session(self, slot: int) -> int:
        """Open a session."""
        number = ctypes.c_ulong()
        assert self.C_OpenSession(slot, RW_SERIAL, None, None, ctypes.byref(number)) == OK
        return number.value
