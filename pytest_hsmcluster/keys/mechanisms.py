"""What can be done with a key, and by which mechanism?

Every function is handed its key material and decides nothing about who may use it: whether
the key's attributes allow the use (`NEEDS`) and whether the cluster's policy does
(`check_policy`) the HSM asks before.

Signatures, ciphertexts and wrapped keys have the layout of PKCS #11: ECDSA signatures are
r and s, each as long as the order; AES-GCM gives IV (12 bytes), ciphertext and tag.
"""

from typing import Final

from ..cryptoki import CKM, CKO, CKR
from ..errors import MechanismInvalid, TemplateInvalid, UsageError
from .derivation import DERIVATIONS
from .families import giving_part, keeping_part
from .hashing import DIGESTS, hashed
from .kinds import check_kind, check_secret_size
from .material import Material, import_material
from .parameters import (
    CounterKdfParams,
    CtrParams,
    EcdhParams,
    GcmParams,
    IvParams,
    MechanismParams,
    OaepParams,
    PssParams,
    RsaAesParams,
)
from .policy import (
    CIPHERS,
    MECHANISMS,
    NEEDS,
    SIGNATURES,
    Mechanism,
    check_policy,
    max_bytes,
    no_such_use,
    resolve,
    too_long,
)
from .source import KeySource
from .wrapping import WRAPPINGS

__all__ = [
    "MECHANISMS",
    "NEEDS",
    "CounterKdfParams",
    "CtrParams",
    "EcdhParams",
    "GcmParams",
    "IvParams",
    "Mechanism",
    "MechanismParams",
    "OaepParams",
    "PssParams",
    "RsaAesParams",
    "check_policy",
    "decrypt",
    "default_mechanism",
    "derive",
    "digest",
    "encrypt",
    "max_bytes",
    "resolve",
    "sign",
    "unwrap",
    "verify",
    "wrap",
]

_DEFAULTS: Final = {
    ("encrypt", "AES"): CKM.CLOUDHSM_AES_GCM,
    ("encrypt", "RSA"): CKM.RSA_PKCS_OAEP,
    ("sign", "AES"): CKM.AES_CMAC,
    ("sign", "GENERIC_SECRET"): CKM.SHA256_HMAC,
    ("sign", "RSA"): CKM.SHA256_RSA_PKCS,
    ("wrap", "AES"): CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD,
    ("wrap", "RSA"): CKM.RSA_AES_KEY_WRAP,
    ("derive", "AES"): CKM.SP800_108_COUNTER_KDF,
    ("derive", "GENERIC_SECRET"): CKM.SP800_108_COUNTER_KDF,
    ("derive", "EC"): CKM.ECDH1_DERIVE,
    ("generate", "AES"): CKM.AES_KEY_GEN,
    ("generate", "DES3"): CKM.DES3_KEY_GEN,
    ("generate", "GENERIC_SECRET"): CKM.GENERIC_SECRET_KEY_GEN,
    ("generate", "RSA"): CKM.RSA_PKCS_KEY_PAIR_GEN,
    ("generate", "EC"): CKM.EC_KEY_PAIR_GEN,
}
_ECDSA: Final = {
    "secp224r1": CKM.ECDSA_SHA224,
    "secp256r1": CKM.ECDSA_SHA256,
    "secp256k1": CKM.ECDSA_SHA256,
    "secp384r1": CKM.ECDSA_SHA384,
    "secp521r1": CKM.ECDSA_SHA512,
}
_INVERSE: Final = {"decrypt": "encrypt", "verify": "sign", "unwrap": "wrap"}


def encrypt(
    material: Material, mechanism: Mechanism, data: bytes, params: object, source: KeySource, *, limited: bool = True
) -> bytes:
    """Return the ciphertext of `data`.

    Args:
        material: a secret or a public key.
        mechanism: member, number or name.
        data: at most `max_bytes("encrypt", mechanism)` bytes.
        params: the mechanism's own (`GcmParams`, `IvParams`, …), or None.
        source: makes the IV of AES-GCM.
        limited: whether longer data are refused.

    Raises:
        MechanismInvalid: unknown, cannot encrypt, does not fit the key
            (KEY_TYPE_INCONSISTENT) or the parameters (MECHANISM_PARAM_INVALID).
        DataInvalid: data of this length cannot be encrypted (DATA_LEN_RANGE).
    """
    cipher = CIPHERS.get(mechanism)
    if cipher is None:
        mechanism = _known("encrypt", mechanism)
        cipher = CIPHERS[mechanism]
    if material.kind != cipher.kind or material.part is CKO.PRIVATE_KEY:
        raise _misfit("encrypt", mechanism, material)
    if limited and cipher.limit is not None and len(data) > cipher.limit:
        raise too_long("encrypt", resolve(mechanism), len(data), cipher.limit)
    return cipher.encrypt(material, data, params, source)


def decrypt(
    material: Material, mechanism: Mechanism, data: bytes, params: object = None, *, limited: bool = True
) -> bytes:
    """Return the plaintext of a ciphertext.

    Raises:
        MechanismInvalid: as for `encrypt`.
        DataInvalid: the ciphertext is refused (ENCRYPTED_DATA_INVALID) or has an
            impossible length (ENCRYPTED_DATA_LEN_RANGE).
    """
    cipher = CIPHERS.get(mechanism)
    if cipher is None:
        mechanism = _known("decrypt", mechanism)
        cipher = CIPHERS[mechanism]
    if material.kind != cipher.kind or material.part is CKO.PUBLIC_KEY:
        raise _misfit("decrypt", mechanism, material)
    if limited and cipher.limit is not None and len(data) > cipher.limit + cipher.overhead:
        raise too_long("decrypt", resolve(mechanism), len(data), cipher.limit + cipher.overhead)
    return cipher.decrypt(material, data, params)


def sign(
    material: Material, mechanism: Mechanism, data: bytes, params: object, source: KeySource, *, limited: bool = True
) -> bytes:
    """Return the signature of `data` under a secret or private key.

    A deterministic source makes ECDSA deterministic (RFC 6979); PSS salts are always random.

    Raises:
        MechanismInvalid: unknown, cannot sign, does not fit the key or the parameters.
        DataInvalid: data of this length cannot be signed (DATA_LEN_RANGE).
    """
    scheme = SIGNATURES.get(mechanism)
    if scheme is None:
        mechanism = _known("sign", mechanism)
        scheme = SIGNATURES[mechanism]
    if material.kind != scheme.kind or material.part is CKO.PUBLIC_KEY:
        raise _misfit("sign", mechanism, material)
    if limited and scheme.limit is not None and len(data) > scheme.limit:
        raise too_long("sign", resolve(mechanism), len(data), scheme.limit)
    return scheme.sign(material, data, params, source)


def verify(
    material: Material,
    mechanism: Mechanism,
    data: bytes,
    signature: bytes,
    params: object = None,
    *,
    limited: bool = True,
) -> None:
    """Return if the signature fits, under a secret or public key.

    Raises:
        SignatureInvalid: it does not (SIGNATURE_INVALID), or cannot be one of this key
            and mechanism (SIGNATURE_LEN_RANGE).
        MechanismInvalid: unknown, cannot verify, does not fit the key or the parameters.
        DataInvalid: data of this length cannot have been signed (DATA_LEN_RANGE).
    """
    scheme = SIGNATURES.get(mechanism)
    if scheme is None:
        mechanism = _known("verify", mechanism)
        scheme = SIGNATURES[mechanism]
    if material.kind != scheme.kind or material.part is CKO.PRIVATE_KEY:
        raise _misfit("verify", mechanism, material)
    if limited and scheme.limit is not None and len(data) > scheme.limit:
        raise too_long("verify", resolve(mechanism), len(data), scheme.limit)
    scheme.verify(material, data, signature, params)


def wrap(wrapping: Material, mechanism: Mechanism, target: Material, params: object, source: KeySource) -> bytes:
    """Return a secret or private key encrypted under another key.

    Args:
        wrapping: an AES key or an RSA public key.
        mechanism: member, number or name.
        target: a secret's raw bytes are wrapped, of a private key its PKCS #8 DER.
        params: the mechanism's own, or None.
        source: makes the IV or the one-time key.

    Raises:
        MechanismInvalid: unknown, cannot wrap, does not fit the key or the parameters.
        DataInvalid: the target's size cannot be wrapped so (KEY_SIZE_RANGE).
        KeyUnextractable: the target is a public key (KEY_NOT_WRAPPABLE).
    """
    found = _known("wrap", mechanism)
    wrapper = WRAPPINGS[found]
    if wrapping.kind != wrapper.kind or wrapping.part is not giving_part(wrapper.kind):
        raise _misfit("wrap", found, wrapping)
    return wrapper.wrap(wrapping, target, params, source)


def unwrap(
    unwrapping: Material,
    mechanism: Mechanism,
    blob: bytes,
    kind: str,
    part: CKO,
    params: object = None,
    *,
    max_generic_bytes: int = 800,
) -> Material:
    """Return the key in a wrapped key.

    Raises:
        MechanismInvalid: unknown, cannot unwrap, does not fit the key or the parameters.
        DataInvalid: the blob is refused (WRAPPED_KEY_INVALID), has an impossible length
            (WRAPPED_KEY_LEN_RANGE) or holds no key of this kind.
        TemplateInvalid: the key has a size that is not offered.
    """
    found = _known("unwrap", mechanism)
    wrapper = WRAPPINGS[found]
    if unwrapping.kind != wrapper.kind or unwrapping.part is not keeping_part(wrapper.kind):
        raise _misfit("unwrap", found, unwrapping)
    if part is CKO.PUBLIC_KEY:
        raise TemplateInvalid("a public key is imported, not unwrapped")
    return import_material(kind, part, wrapper.unwrap(unwrapping, blob, params), max_generic_bytes=max_generic_bytes)


def derive(
    base: Material,
    mechanism: Mechanism,
    params: object,
    kind: str = "GENERIC_SECRET",
    bits: int = 0,
    *,
    max_generic_bytes: int = 800,
) -> Material:
    """Return a secret key made out of another key.

    Args:
        base: an EC private key (ECDH) or a secret key (SP 800-108).
        mechanism: member, number or name.
        params: `EcdhParams` or `CounterKdfParams`.
        kind: kind of the new key.
        bits: its size; 0 takes it from the parameters' `value_bytes`.
        max_generic_bytes: the longest GENERIC_SECRET.

    Raises:
        MechanismInvalid: unknown, cannot derive, does not fit the key or the parameters.
        TemplateInvalid: no such kind, or a size that is not offered.
        DataInvalid: the shared secret is shorter than the key (KEY_SIZE_RANGE).
    """
    found = _known("derive", mechanism)
    derivation = DERIVATIONS[found]
    if base.kind not in derivation.kinds or base.part is not keeping_part(base.kind):
        raise _misfit("derive", found, base)
    check_kind(kind, ("AES", "DES3", "GENERIC_SECRET"), "derived key")
    asked = params.value_bytes if isinstance(params, EcdhParams | CounterKdfParams) else None
    bits = bits or (asked * 8 if asked is not None else 192 if kind == "DES3" else 0)
    if asked is not None and asked * 8 != bits:
        raise TemplateInvalid(f"{found.name}: the parameters ask for {asked} bytes, the call for {bits} bits")
    if not bits:
        raise TemplateInvalid(f"{found.name}: nothing says how long the key is", ckr=CKR.TEMPLATE_INCOMPLETE)
    check_secret_size(kind, bits, max_generic_bytes)
    return Material(kind, CKO.SECRET_KEY, derivation.derive(base, params, bits // 8), bits)


def digest(mechanism: Mechanism, data: bytes) -> bytes:
    """Return the digest of `data` by `CKM.SHA_1`, `SHA224`, `SHA256`, `SHA384` or `SHA512`."""
    return hashed(DIGESTS[_known("digest", mechanism)], data)


def default_mechanism(operation: str, material: Material) -> CKM:
    """Return the mechanism that is meant when none is named.

    The service has no defaults; these are the safest that every key of the kind can do.
    DES3 has none: its mechanisms need an IV or show patterns.

    Raises:
        MechanismInvalid: there is none, or the kind cannot do this.
        UsageError: no such operation.
    """
    if operation not in MECHANISMS:
        raise UsageError(f"there is no operation {operation!r} (there are {', '.join(MECHANISMS)})")
    basic = _INVERSE.get(operation, operation)
    if basic == "sign" and material.kind == "EC":
        return _ECDSA[str(material.curve)]
    found = _DEFAULTS.get((basic, material.kind))
    if found is None:
        raise MechanismInvalid(
            f"there is no default by which {material.kind} keys {operation}: name the mechanism",
            ckr=CKR.KEY_TYPE_INCONSISTENT,
        )
    return found


def _known(operation: str, mechanism: Mechanism) -> CKM:
    found = resolve(mechanism)
    if found not in MECHANISMS[operation]:
        raise no_such_use(operation, found)
    return found


def _misfit(operation: str, mechanism: Mechanism, material: Material) -> MechanismInvalid:
    return MechanismInvalid(
        f"{resolve(mechanism).name} cannot {operation} with {material!r}", ckr=CKR.KEY_TYPE_INCONSISTENT
    )
