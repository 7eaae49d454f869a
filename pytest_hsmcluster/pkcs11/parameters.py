"""What does a mechanism's parameter say?

Source:
    OASIS PKCS #11 v2.40, "Current Mechanisms": CK_AES_CTR_PARAMS, CK_RSA_PKCS_PSS_PARAMS and the others; v3.0 for
    CK_SP800_108_KDF_PARAMS, which CloudHSM uses under a number of its own.  That a wrong parameter is refused before
    the key is looked at is a guess.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

from ..cryptoki import CKD, CKM, CKR
from ..keys.hashing import DIGESTS
from ..keys.parameters import (
    CounterKdfParams,
    CtrParams,
    EcdhParams,
    GcmParams,
    IvParams,
    OaepParams,
    PssParams,
    RsaAesParams,
)
from ..wire.frames import MechanismGiven
from ..wire.functions import SHAPES
from .refusals import Refused, bad_arguments

_MGF: Final = {1: "SHA1", 2: "SHA256", 3: "SHA384", 4: "SHA512", 5: "SHA224"}  # CKG_MGF1_SHA1, …
_IV: Final = (CKM.AES_CBC, CKM.AES_CBC_PAD, CKM.DES3_CBC, CKM.DES3_CBC_PAD)
_PSS: Final = tuple(mechanism for mechanism in CKM if mechanism.name.endswith("_PSS"))
_DEFAULT_IV: Final = {CKM.AES_KEY_WRAP: b"\xa6" * 8, CKM.AES_KEY_WRAP_PAD: b"\xa6\x59\x59\xa6"}  # RFC 3394, RFC 5649
_CTR: Final = struct.Struct("@L16s")
_THREE: Final = struct.Struct("@LLL")
_FORMAT: Final = struct.Struct("@?xxxxxxxL")  # CK_SP800_108_COUNTER_FORMAT
_LENGTH_FORMAT: Final = struct.Struct("@L?xxxxxxxL")  # CK_SP800_108_DKM_LENGTH_FORMAT
_ITERATION, _DKM_LENGTH, _BYTES = 1, 3, 4
_IV_BYTES: Final = 12
_TAG_BITS: Final = (96, 104, 112, 120, 128)
_OAEP_SOURCE: Final = (0, 1)  # none, or CKZ_DATA_SPECIFIED
_SP800_OF_V3 = 0x3AC

Read = tuple[CKM, Any]
"""A mechanism and its parameters as `keys` has them; None where it takes none."""


def read_mechanism(given: MechanismGiven | None, derived_bytes: int = 0) -> Read:
    """Return what a mechanism and its parameter say.

    Args:
        derived_bytes: length of the key that is derived, which goes into the input of SP 800-108.

    Raises:
        Refused: no mechanism (ARGUMENTS_BAD), an unknown one (MECHANISM_INVALID), or a wrong parameter
            (MECHANISM_PARAM_INVALID).
    """
    if given is None:
        raise bad_arguments("the mechanism is NULL")
    try:
        mechanism = CKM.SP800_108_COUNTER_KDF if given.number == _SP800_OF_V3 else CKM(given.number)
    except ValueError:
        raise Refused(CKR.MECHANISM_INVALID, f"mechanism 0x{given.number:X} is not offered") from None
    if given.shape == "bad":
        raise _wrong(mechanism, f"takes no parameter of {given.values[0]} bytes")
    if given.shape == "plain":
        if mechanism in SHAPES:
            raise _wrong(mechanism, "needs its parameter")
        return mechanism, _plain(mechanism, given.values[0])
    if given.shape == "kdf":
        return mechanism, _kdf(mechanism, given.values, derived_bytes)
    return mechanism, _SHAPED[given.shape](mechanism, *given.values)


def _plain(mechanism: CKM, raw: bytes | None) -> Any:
    if raw is None:
        raise _wrong(mechanism, "has a parameter with a length and no place")
    if mechanism in _IV:
        size = 16 if mechanism.name.startswith("AES") else 8
        if len(raw) != size:
            raise _wrong(mechanism, f"takes an IV of {size} bytes, not {len(raw)}")
        return IvParams(raw)
    if mechanism is CKM.AES_CTR:
        if len(raw) != _CTR.size:
            raise _wrong(mechanism, f"takes CK_AES_CTR_PARAMS of {_CTR.size} bytes, not {len(raw)}")
        bits, counter = _CTR.unpack(raw)
        if not 1 <= bits <= 128:
            raise _wrong(mechanism, f"counts with 1 to 128 bits, not {bits}")
        return CtrParams(counter, bits)
    if mechanism in _PSS:
        if len(raw) != _THREE.size:
            raise _wrong(mechanism, f"takes CK_RSA_PKCS_PSS_PARAMS of {_THREE.size} bytes, not {len(raw)}")
        hash, mgf, salt = _THREE.unpack(raw)
        return PssParams(_hash(mechanism, hash), _mgf(mechanism, mgf), salt)
    if raw and raw != _DEFAULT_IV.get(mechanism):
        raise _wrong(mechanism, f"takes no parameter, got {len(raw)} bytes")
    return None


def _gcm(mechanism: CKM, iv: bytes | None, aad: bytes | None, tag_bits: int) -> GcmParams:
    if tag_bits not in _TAG_BITS:
        raise _wrong(mechanism, f"takes a tag of 96, 104, 112, 120 or 128 bits, not {tag_bits}")
    if iv and mechanism is CKM.CLOUDHSM_AES_GCM:
        raise _wrong(mechanism, "makes its own IV, and puts it in front: pIv is NULL")
    if iv and len(iv) != _IV_BYTES:
        raise _wrong(mechanism, f"has an IV of {_IV_BYTES} bytes, not {len(iv)}")
    return GcmParams(aad or b"", tag_bits, iv or None)


def _oaep(mechanism: CKM, hash: int, mgf: int, source: int, label: bytes | None) -> OaepParams:
    if source not in _OAEP_SOURCE:
        raise _wrong(mechanism, f"takes CKZ_DATA_SPECIFIED as the source of its label, not {source}")
    return OaepParams(_hash(mechanism, hash), _mgf(mechanism, mgf), label or b"")


def _rsa_aes(mechanism: CKM, bits: int, *oaep: Any) -> RsaAesParams:
    return RsaAesParams(bits, _oaep(mechanism, *oaep))


def _ecdh(mechanism: CKM, kdf: int, shared: bytes | None, peer: bytes | None) -> EcdhParams:
    try:
        return EcdhParams(peer or b"", CKD(kdf), shared or b"")
    except ValueError:
        offered = ", ".join(one.name for one in CKD)
        raise _wrong(mechanism, f"knows no KDF {kdf} (it has {offered})") from None


_SHAPED: Final[dict[str, Callable[..., Any]]] = {"gcm": _gcm, "oaep": _oaep, "rsa_aes": _rsa_aes, "ecdh": _ecdh}


def _kdf(mechanism: CKM, values: tuple[Any, ...], derived_bytes: int) -> CounterKdfParams:
    """Put the input together from its pieces; the counter stands where its piece does."""
    prf, more, pieces = values
    if more:
        raise _wrong(mechanism, "derives one key at a time")
    fixed, counter_at, counter_bits = b"", None, 32
    for kind, raw in pieces:
        raw = raw or b""
        if kind == _BYTES:
            fixed += raw
        elif kind == _ITERATION and counter_at is None and len(raw) == _FORMAT.size:
            little, counter_bits = _FORMAT.unpack(raw)
            counter_at = len(fixed)
            if little:
                raise _wrong(mechanism, "writes its counter big-endian")
        elif kind == _DKM_LENGTH and len(raw) == _LENGTH_FORMAT.size:
            _, little, width = _LENGTH_FORMAT.unpack(raw)
            if width not in range(8, 65, 8):
                raise _wrong(mechanism, f"writes the length in 8 to 64 bits, not {width}")
            fixed += (derived_bytes * 8).to_bytes(width // 8, "little" if little else "big")
        else:
            raise _wrong(mechanism, f"takes no piece of type {kind} with {len(raw)} bytes there")
    if counter_at is None:
        raise _wrong(mechanism, "needs CK_SP800_108_ITERATION_VARIABLE: where the counter stands")
    try:
        function = CKM(prf)
    except ValueError:
        raise _wrong(mechanism, f"knows no pseudo-random function 0x{prf:X}") from None
    return CounterKdfParams(function, fixed=fixed, counter_bits=counter_bits, counter_at=counter_at)


def _hash(mechanism: CKM, number: int) -> Any:
    try:
        return DIGESTS[CKM(number)]
    except (ValueError, KeyError):
        raise _wrong(mechanism, f"knows no hash 0x{number:X}") from None


def _mgf(mechanism: CKM, number: int) -> Any:
    if number not in _MGF:
        raise _wrong(mechanism, f"knows no mask generation {number}")
    return _MGF[number]


def _wrong(mechanism: CKM, why: str) -> Refused:
    return Refused(CKR.MECHANISM_PARAM_INVALID, f"CKM_{mechanism.name} {why}")
