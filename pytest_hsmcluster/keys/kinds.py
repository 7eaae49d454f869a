"""Which kinds and sizes of keys does the service offer?

Source: AWS CloudHSM User Guide, "Key types" of both SDKs.
"""

import difflib
from typing import Final

from ..cryptoki import CKK, CKO, CKR
from ..errors import TemplateInvalid, UsageError

KINDS: Final = {
    "AES": CKK.AES,
    "DES3": CKK.DES3,
    "GENERIC_SECRET": CKK.GENERIC_SECRET,
    "RSA": CKK.RSA,
    "EC": CKK.EC,
}
PAIR_KINDS: Final = ("RSA", "EC")
AES_BITS: Final = (128, 192, 256)
RSA_BITS: Final = range(2048, 4096 + 1, 256)
MAX_GENERIC_BYTES: Final = 800
"""SDK 5; SDK 3 allows 64 (AWS CloudHSM User Guide, "Key types")."""


def check_kind(kind: str, allowed: tuple[str, ...] = tuple(KINDS), what: str = "a key") -> None:
    """Refuse a kind that is unknown or does not fit, with the nearest spelling."""
    if kind in allowed:
        return
    near = difflib.get_close_matches(str(kind).upper(), allowed, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise TemplateInvalid(f"{kind!r} is no kind of {what}{hint} (allowed: {', '.join(allowed)})")


def check_secret_size(kind: str, bits: int, max_generic_bytes: int = MAX_GENERIC_BYTES) -> None:
    """Refuse a secret key of a size that the service does not offer.

    Raises:
        TemplateInvalid: it does not.
        UsageError: the size is no number.

    Source:
        AWS CloudHSM User Guide, "Key types". The return value is a guess.
    """
    if isinstance(bits, bool) or not isinstance(bits, int):
        raise UsageError(f"bits is a whole number; got {bits!r}")
    if kind == "AES":
        if bits in AES_BITS:
            return
        allowed = "128, 192 or 256 bits"
    elif kind == "DES3":
        if bits == 192:
            return
        allowed = "192 bits"
    else:
        check_kind(kind, ("AES", "DES3", "GENERIC_SECRET"), "secret key")
        if bits % 8 == 0 and 1 <= bits // 8 <= max_generic_bytes:
            return
        allowed = f"1 to {max_generic_bytes} whole bytes"
    raise TemplateInvalid(f"{kind} keys have {allowed}, not {bits} bits", ckr=CKR.KEY_SIZE_RANGE)


def check_rsa_size(bits: object) -> None:
    """Refuse a modulus that is not 2048 to 4096 bits in steps of 256."""
    if not isinstance(bits, int) or bits not in RSA_BITS:
        raise TemplateInvalid(f"an RSA key has 2048 to 4096 bits in steps of 256, not {bits}", ckr=CKR.KEY_SIZE_RANGE)


def part_name(part: CKO) -> str:
    """Return `secret key`, `private key` or `public key`."""
    return part.name.lower().replace("_", " ")
