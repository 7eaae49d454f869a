"""What may somebody read of a key's attributes?"""

from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..cryptoki import CKA, CKO, CKR
from ..errors import TemplateInvalid
from .attribute_map import Attributes, Value
from .kinds import part_name
from .material import Material

_SECRET: Final = ("AES", "DES3", "GENERIC_SECRET")


def read_attribute(attributes: Attributes, material: Material, key: CKA) -> Value:
    """Return one attribute as `C_GetAttributeValue` gives it.

    Args:
        attributes: what the HSM stores of the key.
        material: the key itself, for MODULUS, PUBLIC_EXPONENT and VALUE (big-endian
            bytes), EC_POINT (DER OCTET STRING of the uncompressed point) and
            CHECK_VALUE (3 bytes).
        key: the attribute.

    Raises:
        TemplateInvalid: with `ckr` ATTRIBUTE_SENSITIVE (it may not leave) or
            ATTRIBUTE_TYPE_INVALID (a key of this kind has no such attribute).

    Source:
        AWS CloudHSM User Guide, "PKCS #11 library attributes tables", GetAttributeValue.
    """
    stored = attributes.get(key)
    if stored is not None:
        return stored
    if key is CKA.CHECK_VALUE and material.kind != "GENERIC_SECRET":
        return cast(bytes, material.check_value())
    if key is CKA.VALUE and material.part is not CKO.PUBLIC_KEY and material.kind != "RSA":
        if material.kind in _SECRET and not attributes.flag(CKA.SENSITIVE) and attributes.flag(CKA.EXTRACTABLE):
            return material.encoded
        raise TemplateInvalid("CKA_VALUE does not leave the HSM: the key is sensitive", ckr=CKR.ATTRIBUTE_SENSITIVE)
    if material.kind == "RSA" and key in (CKA.MODULUS, CKA.PUBLIC_EXPONENT):
        public = material if material.part is CKO.PUBLIC_KEY else material.public()
        numbers = cast(rsa.RSAPublicKey, public.native).public_numbers()
        number = numbers.n if key is CKA.MODULUS else numbers.e
        return number.to_bytes((number.bit_length() + 7) // 8, "big")
    if material.kind == "EC" and material.part is CKO.PUBLIC_KEY and key is CKA.EC_POINT:
        return octet_string(ec_point(material))
    raise TemplateInvalid(
        f"CKA_{key.name} cannot be read from {material.kind} {part_name(material.part)}s",
        ckr=CKR.ATTRIBUTE_TYPE_INVALID,
    )


def ec_point(material: Material) -> bytes:
    """Return the uncompressed point (0x04, x, y) of an EC public key."""
    return cast(ec.EllipticCurvePublicKey, material.native).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def octet_string(content: bytes) -> bytes:
    """Return DER for an OCTET STRING of fewer than 256 bytes."""
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return b"\x04" + length + content
