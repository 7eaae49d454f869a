"""Which elliptic curves does the service know, and under which names?"""

import difflib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from ..cryptoki import CKR
from ..errors import TemplateInvalid

POLICY_CODE = 0xB3
POLICY_TEXT = "HSM Error: This operation violates the current configured/FIPS policies"


@dataclass(frozen=True, slots=True)
class Curve:
    """A named curve with what the mechanisms need to know of it."""

    name: str
    aliases: tuple[str, ...]
    bits: int
    native: ec.EllipticCurve
    order: int
    oid: bytes
    """DER of the curve's object identifier, as `CKA_EC_PARAMS` holds it."""

    @property
    def half(self) -> int:
        """Bytes of one half (r or s) of a raw signature."""
        return (self.order.bit_length() + 7) // 8


# Orders: SEC 2 v2.0, sections 2.4 to 2.6.
CURVES: dict[str, Curve] = {
    curve.name: curve
    for curve in (
        Curve(
            "secp224r1",
            ("P-224", "P224"),
            224,
            ec.SECP224R1(),
            0xFFFFFFFFFFFFFFFFFFFFFFFFFFFF16A2E0B8F03E13DD29455C5C2A3D,
            bytes.fromhex("06052b81040021"),
        ),
        Curve(
            "secp256r1",
            ("P-256", "P256", "prime256v1"),
            256,
            ec.SECP256R1(),
            0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
            bytes.fromhex("06082a8648ce3d030107"),
        ),
        Curve(
            "secp256k1",
            ("P-256K", "K-256"),
            256,
            ec.SECP256K1(),
            0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
            bytes.fromhex("06052b8104000a"),
        ),
        Curve(
            "secp384r1",
            ("P-384", "P384"),
            384,
            ec.SECP384R1(),
            0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
            bytes.fromhex("06052b81040022"),
        ),
        Curve(
            "secp521r1",
            ("P-521", "P521"),
            521,
            ec.SECP521R1(),
            int(
                "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
                16,
            ),
            bytes.fromhex("06052b81040023"),
        ),
    )
}

_BY_SPELLING = {spelling.lower(): curve for curve in CURVES.values() for spelling in (curve.name, *curve.aliases)}
_BY_OID = {curve.oid: curve for curve in CURVES.values()}


def find_curve(name: str | bytes) -> Curve:
    """Return the curve with this name, alias or DER object identifier.

    Raises:
        TemplateInvalid: the service has no such curve; carries HSM code 0xB3, as
            `genECCKeyPair` answers for an unsupported curve.

    Source:
        AWS CloudHSM User Guide, "Key types" (the list) and "genECCKeyPair" (the code).
    """
    found = _BY_OID.get(name) if isinstance(name, bytes) else _BY_SPELLING.get(str(name).lower())
    if found is not None:
        return found
    asked = "this object identifier" if isinstance(name, bytes) else repr(str(name))
    near = [] if isinstance(name, bytes) else difflib.get_close_matches(name.lower(), _BY_SPELLING, n=1)
    hint = f"; did you mean {_BY_SPELLING[near[0]].name}?" if near else ""
    raise TemplateInvalid(
        f"{POLICY_TEXT}: the service has no curve {asked}{hint} (it has {', '.join(CURVES)})",
        ckr=CKR.ATTRIBUTE_VALUE_INVALID,
        hsm_code=POLICY_CODE,
    )
