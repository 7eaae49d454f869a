"""How do elliptic-curve keys sign?

Signatures are raw, as in PKCS #11: r and s, each as long as the curve's order.
"""

from functools import lru_cache, partial
from typing import Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from ..cryptoki import CKM, CKR
from ..errors import DataInvalid, SignatureInvalid
from .curves import Curve
from .families import Signature
from .hashing import HASHES
from .material import Material, curve_of
from .parameters import nothing
from .source import KeySource

_LONGEST: Final = HASHES["SHA512"].nbytes


@lru_cache(maxsize=32)
def _scheme(hashed: str, prehashed: bool, deterministic: bool) -> ec.ECDSA:
    algorithm: Prehashed | hashes.HashAlgorithm = HASHES[hashed].native
    if prehashed:
        algorithm = Prehashed(HASHES[hashed].native)
    return ec.ECDSA(algorithm, deterministic_signing=deterministic)


def _sign(name: str, hashed: str, material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    if params is not None:
        nothing(params, name)
    return _raw(material, data, _scheme(hashed, False, source.deterministic))


def _verify(name: str, hashed: str, material: Material, data: bytes, signature: bytes, params: object) -> None:
    nothing(params, name)
    _check(material, data, signature, _scheme(hashed, False, False), name)


def _sign_digest(material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    nothing(params, "ECDSA")
    digest, hashed = _as_digest(data, curve_of(material))
    return _raw(material, digest, _scheme(hashed, True, source.deterministic))


def _verify_digest(material: Material, data: bytes, signature: bytes, params: object) -> None:
    nothing(params, "ECDSA")
    digest, hashed = _as_digest(data, curve_of(material))
    _check(material, digest, signature, _scheme(hashed, True, False), "ECDSA")


def _raw(material: Material, data: bytes, scheme: ec.ECDSA) -> bytes:
    half = curve_of(material).half
    r, s = decode_dss_signature(cast(ec.EllipticCurvePrivateKey, material.native).sign(data, scheme))
    return r.to_bytes(half, "big") + s.to_bytes(half, "big")


def _check(material: Material, data: bytes, signature: bytes, scheme: ec.ECDSA, name: str) -> None:
    half = curve_of(material).half
    if len(signature) != 2 * half:
        raise SignatureInvalid(
            f"a {name} signature on {material.curve} has {2 * half} bytes, not {len(signature)}",
            ckr=CKR.SIGNATURE_LEN_RANGE,
        )
    encoded = encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    try:
        cast(ec.EllipticCurvePublicKey, material.native).verify(encoded, data, scheme)
        return
    except InvalidSignature:
        pass
    raise SignatureInvalid(f"this {name} signature does not fit data and key")


def _as_digest(data: bytes, curve: Curve) -> tuple[bytes, str]:
    """Return `data` as a digest of a length that the library knows, and the hash of that length.

    PKCS #11 lets `CKM_ECDSA` take a digest of any length and cuts it to the length of the
    order; zeros before a shorter one do not change the number it stands for. A digest of a
    usual length is left alone, since RFC 6979 makes the nonce out of the whole of it.
    """
    if not 1 <= len(data) <= _LONGEST:
        raise DataInvalid(
            f"ECDSA signs a digest of 1 to {_LONGEST} bytes, not {len(data)}: "
            "for data use one of ECDSA_SHA1 … ECDSA_SHA512",
            ckr=CKR.DATA_LEN_RANGE,
        )
    fitting = next(item for item in HASHES.values() if item.nbytes >= len(data))
    if fitting.nbytes != len(data) and curve.order.bit_length() % 8 == 0:
        data = data[: curve.half]
        fitting = next(item for item in HASHES.values() if item.nbytes >= len(data))
    return data.rjust(fitting.nbytes, b"\0"), fitting.name


SIGNATURES: Final[dict[CKM, Signature]] = {
    mechanism: Signature("EC", partial(_sign, mechanism.name, hashed), partial(_verify, mechanism.name, hashed))
    for mechanism, hashed in (
        (CKM.ECDSA_SHA1, "SHA1"),
        (CKM.ECDSA_SHA224, "SHA224"),
        (CKM.ECDSA_SHA256, "SHA256"),
        (CKM.ECDSA_SHA384, "SHA384"),
        (CKM.ECDSA_SHA512, "SHA512"),
    )
} | {CKM.ECDSA: Signature("EC", _sign_digest, _verify_digest)}
