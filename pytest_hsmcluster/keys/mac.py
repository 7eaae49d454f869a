"""How do secret keys sign?"""

from functools import partial
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hmac import HMAC

from ..cryptoki import CKM, CKR
from ..errors import SignatureInvalid
from .families import Signature
from .hashing import HASHES, Hash
from .material import Material
from .parameters import nothing
from .source import KeySource

# Limits: AWS CloudHSM User Guide, "Supported mechanisms", maximum data size for each mechanism.
_HMACS: Final = (
    (CKM.SHA_1_HMAC, "SHA1", 16288),
    (CKM.SHA224_HMAC, "SHA224", 16256),
    (CKM.SHA256_HMAC, "SHA256", 16288),
    (CKM.SHA384_HMAC, "SHA384", 16224),
    (CKM.SHA512_HMAC, "SHA512", 16224),
)


def _hmac(name: str, hashed: Hash, material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    nothing(params, name)
    context = HMAC(material.encoded, hashed.native)
    context.update(data)
    return context.finalize()


def _hmac_verify(name: str, hashed: Hash, material: Material, data: bytes, signature: bytes, params: object) -> None:
    nothing(params, name)
    context = HMAC(material.encoded, hashed.native)
    context.update(data)
    _compare(name, context.finalize(), signature)


def _cmac(material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    nothing(params, "AES_CMAC")
    context = CMAC(algorithms.AES(material.encoded))
    context.update(data)
    return context.finalize()


def _cmac_verify(material: Material, data: bytes, signature: bytes, params: object) -> None:
    nothing(params, "AES_CMAC")
    context = CMAC(algorithms.AES(material.encoded))
    context.update(data)
    _compare("AES_CMAC", context.finalize(), signature)


def _compare(name: str, wanted: bytes, signature: bytes) -> None:
    if len(signature) != len(wanted):
        raise SignatureInvalid(
            f"a {name} signature has {len(wanted)} bytes, not {len(signature)}", ckr=CKR.SIGNATURE_LEN_RANGE
        )
    if not compare_digest(wanted, signature):
        raise SignatureInvalid(f"this {name} signature does not fit data and key")


SIGNATURES: Final[dict[CKM, Signature]] = {
    mechanism: Signature(
        "GENERIC_SECRET",
        partial(_hmac, mechanism.name, HASHES[hashed]),
        partial(_hmac_verify, mechanism.name, HASHES[hashed]),
        limit,
    )
    for mechanism, hashed, limit in _HMACS
} | {CKM.AES_CMAC: Signature("AES", _cmac, _cmac_verify)}
