"""What does the library tell about itself, its slots, tokens and mechanisms?

Manufacturer, model, flags and sizes of mechanisms are not documented: ours are a guess.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..cryptoki import CKM, CKR
from ..keys.policy import GENERATIONS, MECHANISMS, SDK3_ONLY
from ..wire.frames import Room
from .access import Access
from .refusals import Refused, bad_arguments

if TYPE_CHECKING:
    from .application import Application

_MANUFACTURER = "Marvell Semiconductors, Inc."
_LIBRARY = "pytest-hsmcluster"
_VERSION = b"\x02\x28"  # 2.40
_OWN_VERSION = b"\x00\x01"
_TOKEN_PRESENT, _HW_SLOT = 0x1, 0x4
_RNG, _LOGIN_REQUIRED, _USER_PIN_INITIALIZED, _TOKEN_INITIALIZED = 0x1, 0x4, 0x8, 0x400
_UNAVAILABLE = (1 << 64) - 1
_HW = 0x1
_FLAGS = {
    "encrypt": 0x100,
    "decrypt": 0x200,
    "digest": 0x400,
    "sign": 0x800,
    "verify": 0x2000,
    "wrap": 0x20000,
    "unwrap": 0x40000,
    "derive": 0x80000,
}
_GENERATE, _GENERATE_PAIR = 0x8000, 0x10000
_CURVES = 0x100000 | 0x800000 | 0x1000000  # CKF_EC_F_P, CKF_EC_NAMEDCURVE, CKF_EC_UNCOMPRESS
_SIZES = {"AES": (16, 32), "DES3": (24, 24), "GENERIC_SECRET": (1, 800), "RSA": (2048, 4096), "EC": (224, 521)}


class Information:
    """The functions that tell."""

    def __init__(self, application: "Application") -> None:
        self._application = application

    def c_get_info(self, there: int) -> list[Any]:
        _needs(there, "C_GetInfo")
        return [[_VERSION, _text(_MANUFACTURER, 32), 0, _text(_LIBRARY, 32), _OWN_VERSION]]

    def c_get_slot_list(self, present: int, room: Room) -> list[Any]:
        return [_listed(room, list(self._application.slots))]

    def c_get_slot_info(self, slot: int, there: int) -> list[Any]:
        _needs(there, "C_GetSlotInfo")
        access = self._application.access(slot)
        where = f"{access.token.cluster} of {access.token.test}" if access.token.test else access.token.cluster
        return [
            [
                _text(where, 64),
                _text(_MANUFACTURER, 32),
                _TOKEN_PRESENT | _HW_SLOT,
                _OWN_VERSION,
                _OWN_VERSION,
            ]
        ]

    def c_get_token_info(self, slot: int, there: int) -> list[Any]:
        _needs(there, "C_GetTokenInfo")
        access = self._application.access(slot)
        most = access.token.profile.sessions_per_application
        opened = len(access.sessions)
        writable = sum(one.writable for one in access.sessions.values())
        flags = _RNG | _LOGIN_REQUIRED | _USER_PIN_INITIALIZED | _TOKEN_INITIALIZED
        memory = [_UNAVAILABLE] * 4
        return [
            [
                _text(access.token.label, 32),
                _text(_MANUFACTURER, 32),
                _text("LS2", 16),
                _text(access.token.cluster[-16:], 16),
                flags,
                most,
                opened,
                most,
                writable,
                64,  # a user name of 31 characters, a colon, a password of 32
                8,
                *memory,
                _OWN_VERSION,
                _OWN_VERSION,
                bytes(16),
            ]
        ]

    def c_get_mechanism_list(self, slot: int, room: Room) -> list[Any]:
        return [_listed(room, [int(mechanism) for mechanism in _offered(self._application.access(slot))])]

    def c_get_mechanism_info(self, slot: int, number: int, there: int) -> list[Any]:
        _needs(there, "C_GetMechanismInfo")
        access = self._application.access(slot)
        if number not in (int(one) for one in _offered(access)):
            raise Refused(CKR.MECHANISM_INVALID, f"mechanism 0x{number:X} is not offered")
        mechanism = CKM(number)
        flags = _HW | sum(flag for operation, flag in _FLAGS.items() if mechanism in MECHANISMS[operation])
        if mechanism in GENERATIONS:
            flags |= _GENERATE_PAIR if GENERATIONS[mechanism] in ("RSA", "EC") else _GENERATE
        if _kind(mechanism) == "EC":
            # PKCS #11 v2.40, 2.3.1: what curves an EC mechanism takes; CloudHSM has named ones over prime fields.
            flags |= _CURVES
        least, most = _SIZES.get(_kind(mechanism), (0, 0))
        return [[least, most, flags]]


def _offered(access: Access) -> list[CKM]:
    """Return the mechanisms that the SDK offers, by number."""
    sdk3 = access.token.profile.sdk == 3
    return sorted(mechanism for mechanism in CKM if sdk3 or mechanism not in SDK3_ONLY)


def _kind(mechanism: CKM) -> str:
    name = mechanism.name
    if mechanism in GENERATIONS:
        return GENERATIONS[mechanism]
    for part, kind in (("RSA", "RSA"), ("EC", "EC"), ("AES", "AES"), ("DES3", "DES3"), ("HMAC", "GENERIC_SECRET")):
        if part in name:
            return kind
    return ""


def _listed(room: Room, numbers: Sequence[int]) -> tuple[int, Sequence[int]]:
    """Return a list of numbers in two calls: how many, then they themselves (PKCS #11 v2.40, 5.2)."""
    if not room.asked:
        raise bad_arguments("the pointer to the number of entries is NULL")
    if room.size is None:
        return len(numbers), ()
    if room.size < len(numbers):
        raise Refused(
            CKR.BUFFER_TOO_SMALL, f"there are {len(numbers)} entries and room for {room.size}", ((len(numbers), ()),)
        )
    return len(numbers), numbers


def _needs(there: int, function: str) -> None:
    if not there:
        raise bad_arguments(f"{function} needs a place for its answer")


def _text(text: str, size: int) -> bytes:
    return text.encode()[:size].ljust(size)
