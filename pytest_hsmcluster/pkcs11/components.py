"""How do the parts of a key in a template become a key that can be imported?"""

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ..cryptoki import CKA, CKO, CKR
from ..errors import TemplateInvalid
from ..keys.curves import find_curve
from .refusals import Refused

PRIVATE_EXPONENT, PRIME_1, PRIME_2 = 0x123, 0x124, 0x125
EXPONENT_1, EXPONENT_2, COEFFICIENT = 0x126, 0x127, 0x128
RSA_PARTS = (PRIVATE_EXPONENT, PRIME_1, PRIME_2, EXPONENT_1, EXPONENT_2, COEFFICIENT)
"""Attributes that `C_CreateObject` takes and nobody can read: CKA_PRIVATE_EXPONENT, CKA_PRIME_1, …"""


def imported(kind: str, part: CKO, template: Mapping[CKA, Any], secrets: Mapping[int, bytes]) -> bytes:
    """Return a key as `import_key` takes it: raw bytes, PKCS #8 or SubjectPublicKeyInfo.

    Args:
        secrets: the parts of a private RSA key.

    Raises:
        Refused: a part is missing (TEMPLATE_INCOMPLETE), or they make no key (ATTRIBUTE_VALUE_INVALID); both codes are
            a guess.
    """
    if part is CKO.SECRET_KEY:
        return bytes(_needed(template, CKA.VALUE))
    try:
        if kind == "RSA":
            return _rsa(part, template, secrets)
        if kind == "EC":
            return _ec(part, template)
    except (ValueError, UnsupportedAlgorithm, TemplateInvalid):
        raise Refused(CKR.ATTRIBUTE_VALUE_INVALID, f"the parts of this {kind} key make no key") from None
    raise Refused(CKR.TEMPLATE_INCONSISTENT, f"{kind} keys are secret keys")


def _rsa(part: CKO, template: Mapping[CKA, Any], secrets: Mapping[int, bytes]) -> bytes:
    modulus, exponent = _number(_needed(template, CKA.MODULUS)), _number(_needed(template, CKA.PUBLIC_EXPONENT))
    public = rsa.RSAPublicNumbers(exponent, modulus)
    if part is CKO.PUBLIC_KEY:
        return _spki(public.public_key())
    missing = [f"0x{number:X}" for number in RSA_PARTS if not secrets.get(number)]
    if missing:
        raise Refused(CKR.TEMPLATE_INCOMPLETE, f"a private RSA key needs all its parts; missing: {', '.join(missing)}")
    d, p, q, dp, dq, qi = (_number(secrets[number]) for number in RSA_PARTS)
    return _pkcs8(rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key())


def _ec(part: CKO, template: Mapping[CKA, Any]) -> bytes:
    curve = find_curve(_needed(template, CKA.EC_PARAMS)).native
    if part is CKO.PUBLIC_KEY:
        point = bytes(_needed(template, CKA.EC_POINT))
        for encoded in (_inside(point), point):
            try:
                return _spki(ec.EllipticCurvePublicKey.from_encoded_point(curve, encoded))
            except ValueError:
                continue
        raise ValueError("no point")
    return _pkcs8(ec.derive_private_key(_number(_needed(template, CKA.VALUE)), curve))


def _inside(encoded: bytes) -> bytes:
    """Return what a DER OCTET STRING of fewer than 256 bytes holds."""
    return encoded[3 if encoded[1:2] == b"\x81" else 2 :]


def _spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pkcs8(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _needed(template: Mapping[CKA, Any], name: CKA) -> bytes:
    value = template.get(name)
    if not value:
        raise Refused(CKR.TEMPLATE_INCOMPLETE, f"the template needs CKA_{name.name}")
    return value  # type: ignore[no-any-return]
