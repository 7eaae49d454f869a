"""What do the bytes of a template say, and how are attributes written as bytes?

CK_ULONG and CK_BBOOL are those of this machine: the library and we are on the same one.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..cryptoki import CKA, CKK, CKO, CKR
from ..keys.attribute_map import FLAGS, NUMBERS, TEMPLATES
from ..keys.kinds import KINDS
from .refusals import Refused, bad_arguments

ULONG: Final = struct.Struct("@L")
KIND_OF: Final = {int(number): kind for kind, number in KINDS.items()}
CLASS_NAMES: Final = {CKO.SECRET_KEY: "secret", CKO.PRIVATE_KEY: "private", CKO.PUBLIC_KEY: "public"}

Given = tuple[tuple[int, Any], ...] | None
"""A template as the wire brings it: type and bytes."""

_KNOWN: Final = {int(name): name for name in CKA}


def read_template(given: Given, unknown: CKR = CKR.TEMPLATE_INCONSISTENT) -> dict[CKA, Any]:
    """Return what a template asks for: CKA → bool, int, str, bytes, or a dict for a template in it.

    Args:
        unknown: what an attribute that the service does not know is refused with.

    Raises:
        Refused: ATTRIBUTE_VALUE_INVALID for a value of a wrong length, or as `unknown` says.

    Source:
        AWS CloudHSM User Guide, "Interpreting error codes": an attribute that is not supported is
        CKR_TEMPLATE_INCONSISTENT.
    """
    if given is None:
        raise bad_arguments("the template is NULL, but it is to have attributes")
    values: dict[CKA, Any] = {}
    for number, raw in given:
        name = _KNOWN.get(number)
        if name is None:
            raise Refused(unknown, f"attribute 0x{number:X} is not supported: leave it out")
        if name in values:
            raise Refused(CKR.TEMPLATE_INCONSISTENT, f"CKA_{name.name} stands in the template twice")
        values[name] = _value(name, raw)
    return values


def _value(name: CKA, raw: Any) -> Any:
    if name in TEMPLATES:
        return read_template(raw)
    if raw is None:
        raise Refused(CKR.ATTRIBUTE_VALUE_INVALID, f"CKA_{name.name} has a length but no value")
    if name in FLAGS:
        if len(raw) == 1:
            return raw != b"\0"
        raise _wrong_length(name, raw, 1)
    if name in NUMBERS:
        if len(raw) == ULONG.size:
            return ULONG.unpack(raw)[0]
        raise _wrong_length(name, raw, ULONG.size)
    if name is CKA.LABEL:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise Refused(CKR.ATTRIBUTE_VALUE_INVALID, "CKA_LABEL is no UTF-8") from None
    return raw


def _wrong_length(name: CKA, raw: bytes, right: int) -> Refused:
    return Refused(CKR.ATTRIBUTE_VALUE_INVALID, f"CKA_{name.name} has {right} bytes, not {len(raw)}")


def written(value: Any) -> bytes | None:
    """Return an attribute as bytes; None for one that has no such form (a template)."""
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    if isinstance(value, int):
        return ULONG.pack(value)
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else None


def kind_of(template: Mapping[CKA, Any]) -> str:
    """Return the kind of key that CKA_KEY_TYPE asks for.

    Raises:
        Refused: it is missing (TEMPLATE_INCOMPLETE), or not offered (ATTRIBUTE_VALUE_INVALID).
    """
    number = template.get(CKA.KEY_TYPE)
    if number is None:
        raise Refused(CKR.TEMPLATE_INCOMPLETE, "the template needs CKA_KEY_TYPE")
    if number not in KIND_OF:
        offered = ", ".join(f"CKK_{kind.name}" for kind in CKK)
        raise Refused(CKR.ATTRIBUTE_VALUE_INVALID, f"CKA_KEY_TYPE 0x{number:X} is not offered (offered: {offered})")
    return KIND_OF[number]


def class_of(template: Mapping[CKA, Any]) -> CKO:
    """Return the class of object that CKA_CLASS asks for.

    Raises:
        Refused: it is missing (TEMPLATE_INCOMPLETE), or no key (ATTRIBUTE_VALUE_INVALID).
    """
    number = template.get(CKA.CLASS)
    if number is None:
        raise Refused(CKR.TEMPLATE_INCOMPLETE, "the template needs CKA_CLASS")
    try:
        return CKO(number)
    except ValueError:
        raise Refused(
            CKR.ATTRIBUTE_VALUE_INVALID, f"CKA_CLASS {number} is not offered: only secret, private and public keys are"
        ) from None


def known(wanted: Iterable[int]) -> list[CKA | None]:
    """Return the attributes by their numbers; None for those that the service does not know."""
    return [_KNOWN.get(number) for number in wanted]
