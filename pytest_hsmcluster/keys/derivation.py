"""How is a new key made out of another one?"""

from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, KBKDFHMAC, CounterLocation, Mode
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from ..cryptoki import CKD, CKM, CKO, CKR
from ..errors import DataInvalid, MechanismInvalid
from .families import Derivation
from .hashing import HASHES
from .material import Material, curve_of
from .parameters import CounterKdfParams, EcdhParams, needed, wrong

_ECDH: Final = "ECDH1_DERIVE"
_KDF: Final = "SP800_108_COUNTER_KDF"

_X963: Final[dict[CKD, str]] = {
    CKD.CLOUDHSM_X963_SHA1_KDF: "SHA1",
    CKD.CLOUDHSM_X963_SHA224_KDF: "SHA224",
    CKD.CLOUDHSM_X963_SHA256_KDF: "SHA256",
    CKD.CLOUDHSM_X963_SHA384_KDF: "SHA384",
    CKD.CLOUDHSM_X963_SHA512_KDF: "SHA512",
}
_PRFS: Final[dict[CKM, str]] = {
    CKM.SHA_1_HMAC: "SHA1",
    CKM.SHA224_HMAC: "SHA224",
    CKM.SHA256_HMAC: "SHA256",
    CKM.SHA384_HMAC: "SHA384",
    CKM.SHA512_HMAC: "SHA512",
}


def _ecdh(base: Material, params: object, nbytes: int) -> bytes:
    given = needed(params, EcdhParams, _ECDH)
    peer = _peer(base, given.peer)
    shared = cast(ec.EllipticCurvePrivateKey, base.native).exchange(ec.ECDH(), peer)
    if given.kdf in _X963:
        hashed = HASHES[_X963[given.kdf]].native
        return X963KDF(algorithm=hashed, length=nbytes, sharedinfo=given.shared_info or None).derive(shared)
    if given.kdf is not CKD.NULL:
        raise wrong(_ECDH, f"knows no KDF {given.kdf!r}")
    if given.shared_info:
        raise wrong(_ECDH, "takes shared_info with a KDF only")
    if nbytes > len(shared):
        raise DataInvalid(
            f"{_ECDH} without a KDF gives {len(shared)} bytes on {base.curve}, not {nbytes}", ckr=CKR.KEY_SIZE_RANGE
        )
    # PKCS #11 v2.40, 2.3.8: truncation removes bytes from the leading end of the secret.
    return shared[len(shared) - nbytes :]


def _peer(base: Material, peer: object) -> ec.EllipticCurvePublicKey:
    curve = curve_of(base)
    if isinstance(peer, Material):
        if peer.kind != "EC" or peer.part is not CKO.PUBLIC_KEY or peer.curve != base.curve:
            raise wrong(_ECDH, f"needs the peer's public key on {base.curve}, got {peer!r}")
        return cast(ec.EllipticCurvePublicKey, peer.native)
    if not isinstance(peer, bytes):
        raise wrong(_ECDH, f"needs the peer's public key or point, got {type(peer).__name__}")
    for point in (peer, _inside(peer)):
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(curve.native, point)
        except ValueError:
            continue
    raise wrong(_ECDH, f"got a peer's point that does not lie on {base.curve}")


def _inside(encoded: bytes) -> bytes:
    """Return what a DER OCTET STRING of fewer than 256 bytes holds, or nothing."""
    head = 3 if encoded[1:2] == b"\x81" else 2
    content = encoded[head:]
    whole = encoded[:1] == b"\x04" and encoded[head - 1 : head] == bytes([len(content) % 256])
    return content if whole else b""


def _counter_kdf(base: Material, params: object, nbytes: int) -> bytes:
    given = needed(params, CounterKdfParams, _KDF)
    if given.counter_bits not in (8, 16, 24, 32):
        raise wrong(_KDF, f"takes a counter of 8, 16, 24 or 32 bits, not {given.counter_bits}")
    if given.length_bits not in range(8, 65, 8):
        raise wrong(_KDF, f"takes a length of 8 to 64 bits in steps of 8, not {given.length_bits}")
    if given.fixed is not None and (given.label or given.context):
        raise wrong(_KDF, "takes either fixed input or label and context")
    if nbytes * 8 >= 1 << given.length_bits:
        raise wrong(_KDF, f"cannot write the length of {nbytes} bytes in {given.length_bits} bits")
    fixed = given.fixed
    if fixed is None:
        # NIST SP 800-108, 5.1: label, a zero byte, context, the output's length in bits.
        length = (nbytes * 8).to_bytes(given.length_bits // 8, "big")
        fixed = given.label + b"\0" + given.context + length
    location, after = CounterLocation.BeforeFixed, None
    if given.counter_at == "after":
        location = CounterLocation.AfterFixed
    elif isinstance(given.counter_at, int):
        if not 0 <= given.counter_at <= len(fixed):
            raise wrong(_KDF, f"cannot put the counter after byte {given.counter_at} of {len(fixed)}")
        location, after = CounterLocation.MiddleFixed, given.counter_at
    return _prf(base, given, nbytes, location, after, fixed)


def _prf(
    base: Material, given: CounterKdfParams, nbytes: int, location: CounterLocation, after: int | None, fixed: bytes
) -> bytes:
    counter_bytes = given.counter_bits // 8
    try:
        if given.prf in _PRFS:
            return KBKDFHMAC(
                algorithm=HASHES[_PRFS[given.prf]].native,
                mode=Mode.CounterMode,
                length=nbytes,
                rlen=counter_bytes,
                llen=None,
                location=location,
                label=None,
                context=None,
                fixed=fixed,
                break_location=after,
            ).derive(base.encoded)
        if given.prf is CKM.AES_CMAC:
            if base.kind != "AES":
                raise MechanismInvalid(
                    f"{_KDF} with AES_CMAC needs an AES base key, not {base.kind}", ckr=CKR.KEY_TYPE_INCONSISTENT
                )
            return KBKDFCMAC(
                algorithm=algorithms.AES,
                mode=Mode.CounterMode,
                length=nbytes,
                rlen=counter_bytes,
                llen=None,
                location=location,
                label=None,
                context=None,
                fixed=fixed,
                break_location=after,
            ).derive(base.encoded)
    except ValueError:
        # The only way left: more blocks than the counter can count.
        raise wrong(_KDF, f"cannot count {nbytes} bytes with a counter of {given.counter_bits} bits") from None
    names = ", ".join(prf.name for prf in (*_PRFS, CKM.AES_CMAC))
    raise wrong(_KDF, f"knows no PRF {given.prf!r} (it has {names})")


DERIVATIONS: Final[dict[CKM, Derivation]] = {
    CKM.ECDH1_DERIVE: Derivation(("EC",), _ecdh),
    CKM.SP800_108_COUNTER_KDF: Derivation(("AES", "DES3", "GENERIC_SECRET"), _counter_kdf),
}
