"""What does a mechanism need besides key and data?"""

from dataclasses import dataclass
from typing import Literal, TypeVar

from ..cryptoki import CKD, CKM, CKR
from ..errors import MechanismInvalid
from .material import Material

HashName = Literal["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"]

_Params = TypeVar("_Params")


@dataclass(frozen=True, slots=True)
class GcmParams:
    """AES-GCM: data that is authenticated only, and the length of the tag.

    Attributes:
        aad: authenticated, not encrypted.
        tag_bits: 96, 104, 112, 120 or 128 (NIST SP 800-38D, 5.2.1.2).
        iv: for encryption None or zeros, since the HSM makes it. For decryption with
            `CKM.AES_GCM` the 12 bytes of the IV where it does not stand before the
            ciphertext.
        begun_iv: for encryption an IV that the HSM made for this very operation when it
            began, as `C_EncryptInit` does.
    """

    aad: bytes = b""
    tag_bits: int = 128
    iv: bytes | None = None
    begun_iv: bytes | None = None


@dataclass(frozen=True, slots=True)
class IvParams:
    """CBC: one block."""

    iv: bytes


@dataclass(frozen=True, slots=True)
class CtrParams:
    """AES-CTR: the first counter block, and how many of its last bits count (1 to 128)."""

    counter: bytes
    counter_bits: int = 128


@dataclass(frozen=True, slots=True)
class OaepParams:
    """RSA OAEP: hash, hash of the mask generation (the same unless given) and label.

    CloudHSM takes only pairs of the same hash (User Guide, "Supported mechanisms").
    """

    hash: HashName = "SHA256"
    mgf: HashName | None = None
    label: bytes = b""


@dataclass(frozen=True, slots=True)
class PssParams:
    """RSA PSS: hash, hash of the mask generation (the same unless given), bytes of salt.

    None stands for the mechanism's own hash, and for a salt as long as the hash.
    """

    hash: HashName | None = None
    mgf: HashName | None = None
    salt_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RsaAesParams:
    """RSA_AES_KEY_WRAP: bits of the one-time AES key (128, 192, 256) and its OAEP."""

    aes_bits: int = 256
    oaep: OaepParams = OaepParams()


@dataclass(frozen=True, slots=True)
class EcdhParams:
    """ECDH: the other side's public key and what is made of the shared secret.

    Attributes:
        peer: public key material, or its uncompressed or compressed point, raw or in a
            DER OCTET STRING.
        kdf: an X9.63 KDF, or NULL for the shared x coordinate itself.
        shared_info: goes into the X9.63 KDF.
        value_bytes: bytes of the derived key; None where the kind or the caller says it.
    """

    peer: Material | bytes
    kdf: CKD = CKD.CLOUDHSM_X963_SHA256_KDF
    shared_info: bytes = b""
    value_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CounterKdfParams:
    """SP 800-108 KDF in counter mode.

    Attributes:
        prf: `SHA*_HMAC`, `SHA_1_HMAC` or `AES_CMAC`.
        label: names the purpose.
        context: names the parties.
        counter_bits: 8, 16, 24 or 32.
        length_bits: bits in which the output's length is written, 8 to 64 in steps of 8.
        fixed: the whole fixed input instead of label, zero byte, context and length.
        counter_at: where the counter stands: before the fixed input, after it, or after
            its first n bytes.
        value_bytes: bytes of the derived key; None where the kind or the caller says it.
    """

    prf: CKM = CKM.SHA256_HMAC
    label: bytes = b""
    context: bytes = b""
    counter_bits: int = 32
    length_bits: int = 32
    fixed: bytes | None = None
    counter_at: Literal["before", "after"] | int = "before"
    value_bytes: int | None = None


MechanismParams = (
    GcmParams | IvParams | CtrParams | OaepParams | PssParams | RsaAesParams | EcdhParams | CounterKdfParams
)


def needed(params: object, kind: type[_Params], mechanism: str) -> _Params:
    """Return the parameters if they are the mechanism's own.

    Raises:
        MechanismInvalid: they are missing or another mechanism's (MECHANISM_PARAM_INVALID).
    """
    if isinstance(params, kind):
        return params
    raise wrong(mechanism, f"needs {kind.__name__}, got {'nothing' if params is None else type(params).__name__}")


def optional(params: object, default: _Params, mechanism: str) -> _Params:
    """Return the parameters, or the default for None."""
    return default if params is None else needed(params, type(default), mechanism)


def nothing(params: object, mechanism: str) -> None:
    """Refuse parameters for a mechanism that has none."""
    if params is not None:
        raise wrong(mechanism, f"takes no parameters, got {type(params).__name__}")


def wrong(mechanism: str, what: str) -> MechanismInvalid:
    """Return the refusal of a mechanism's parameters."""
    return MechanismInvalid(f"{mechanism} {what}", ckr=CKR.MECHANISM_PARAM_INVALID)
