"""How do RSA keys encrypt and sign?"""

from functools import partial
from typing import Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from ..cryptoki import CKM, CKR
from ..errors import DataInvalid, SignatureInvalid
from .families import Cipher, Signature
from .hashing import HASHES, hash_of
from .material import Material
from .parameters import OaepParams, PssParams, nothing, optional, wrong
from .source import KeySource

_PKCS1: Final = padding.PKCS1v15()
_OAEP: Final = OaepParams()
_PSS: Final = PssParams()
# RFC 8017, 9.2, note 1: what stands before a digest in a PKCS #1 v1.5 signature.
_DIGEST_INFO: Final = tuple(
    (bytes.fromhex(header), HASHES[name])
    for name, header in (
        ("SHA1", "3021300906052b0e03021a05000414"),
        ("SHA224", "302d300d06096086480165030402040500041c"),
        ("SHA256", "3031300d060960864801650304020105000420"),
        ("SHA384", "3041300d060960864801650304020205000430"),
        ("SHA512", "3051300d060960864801650304020305000440"),
    )
)


def _private(material: Material) -> RSAPrivateKey:
    return cast(RSAPrivateKey, material.native)


def _public(material: Material) -> RSAPublicKey:
    return cast(RSAPublicKey, material.native)


def _size(material: Material) -> int:
    return (material.bits + 7) // 8


def _fits(name: str, data: bytes, most: int) -> None:
    if len(data) > most:
        raise DataInvalid(f"{name} takes at most {most} bytes with this key, not {len(data)}", ckr=CKR.DATA_LEN_RANGE)


def _whole(name: str, material: Material, data: bytes) -> None:
    if len(data) != _size(material):
        raise DataInvalid(
            f"{name}: a ciphertext of this key has {_size(material)} bytes, not {len(data)}",
            ckr=CKR.ENCRYPTED_DATA_LEN_RANGE,
        )


# --- encryption ---------------------------------------------------------------------


def oaep_padding(name: str, params: object) -> tuple[AsymmetricPadding, int]:
    """Return the library's OAEP and how many bytes it adds."""
    given = optional(params, _OAEP, name)
    hashed = hash_of(given.hash, name)
    if given.mgf is not None and hash_of(given.mgf, name) is not hashed:
        raise wrong(name, f"takes the same hash for OAEP and MGF1, not {given.hash} and {given.mgf}")
    mgf = padding.MGF1(hashed.native)
    return padding.OAEP(mgf=mgf, algorithm=hashed.native, label=given.label or None), 2 * hashed.nbytes + 2


def oaep_encrypt(material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    """Return the OAEP encryption; its seed is the library's own, also with a seeded source."""
    scheme, overhead = oaep_padding("RSA_PKCS_OAEP", params)
    _fits("RSA_PKCS_OAEP", data, _size(material) - overhead)
    return _public(material).encrypt(data, scheme)


def oaep_decrypt(material: Material, data: bytes, params: object) -> bytes:
    """Return what was encrypted.

    Raises:
        DataInvalid: not a ciphertext for this key, hash and label.
    """
    scheme, _ = oaep_padding("RSA_PKCS_OAEP", params)
    _whole("RSA_PKCS_OAEP", material, data)
    try:
        return _private(material).decrypt(data, scheme)
    except ValueError:
        pass
    raise DataInvalid(
        "RSA_PKCS_OAEP refuses this ciphertext: another key, hash or label, or damaged", ckr=CKR.ENCRYPTED_DATA_INVALID
    )


def pkcs1_encrypt(material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    """Return the PKCS #1 v1.5 encryption; its padding is the library's own, also with a seeded source."""
    nothing(params, "RSA_PKCS")
    _fits("RSA_PKCS", data, _size(material) - 11)
    return _public(material).encrypt(data, _PKCS1)


def pkcs1_decrypt(material: Material, data: bytes, params: object) -> bytes:
    """Return what was encrypted.

    A ciphertext that is damaged may give random bytes instead of an error: that is
    OpenSSL's implicit rejection, against padding oracles.
    """
    nothing(params, "RSA_PKCS")
    _whole("RSA_PKCS", material, data)
    try:
        return _private(material).decrypt(data, _PKCS1)
    except ValueError:
        pass
    raise DataInvalid("RSA_PKCS refuses this ciphertext: another key, or damaged", ckr=CKR.ENCRYPTED_DATA_INVALID)


# --- the bare operation -------------------------------------------------------------


def _number(material: Material, data: bytes) -> int:
    """Return the data as a number below the modulus, zeros before it understood."""
    _fits("RSA_X_509", data, _size(material))
    number = int.from_bytes(data, "big")
    public = _public(material) if isinstance(material.native, RSAPublicKey) else _private(material).public_key()
    if number >= public.public_numbers().n:
        raise DataInvalid("RSA_X_509: as a number the data must be below the modulus", ckr=CKR.DATA_INVALID)
    return number


def _bare_public(material: Material, data: bytes) -> bytes:
    numbers = _public(material).public_numbers()
    return pow(_number(material, data), numbers.e, numbers.n).to_bytes(_size(material), "big")


def _bare_private(material: Material, data: bytes) -> bytes:
    # The library has no private operation without padding. Not constant in time: these
    # keys guard tests.
    numbers = _private(material).private_numbers()
    number, p, q = _number(material, data), numbers.p, numbers.q
    at_q = pow(number, numbers.dmq1, q)
    high = (pow(number, numbers.dmp1, p) - at_q) * numbers.iqmp % p
    return (at_q + high * q).to_bytes(_size(material), "big")


def _bare_encrypt(material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    nothing(params, "RSA_X_509")
    return _bare_public(material, data)


def _bare_decrypt(material: Material, data: bytes, params: object) -> bytes:
    nothing(params, "RSA_X_509")
    _whole("RSA_X_509", material, data)
    return _bare_private(material, data)


def _bare_sign(material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    nothing(params, "RSA_X_509")
    return _bare_private(material, data)


def _bare_verify(material: Material, data: bytes, signature: bytes, params: object) -> None:
    nothing(params, "RSA_X_509")
    _check_length("RSA_X_509", material, signature)
    number = int.from_bytes(signature, "big")
    numbers = _public(material).public_numbers()
    if number >= numbers.n or pow(number, numbers.e, numbers.n) != _number(material, data):
        raise _unfit("RSA_X_509")


# --- signatures ---------------------------------------------------------------------


def _pkcs1_sign(
    name: str, hashed: str | None, material: Material, data: bytes, params: object, source: KeySource
) -> bytes:
    nothing(params, name)
    if hashed is not None:
        return _private(material).sign(data, _PKCS1, HASHES[hashed].native)
    _fits(name, data, _size(material) - 11)
    for prefix, item in _DIGEST_INFO:
        # What nearly everybody signs so: a digest with its DER header. The library can do that, and fast.
        if data.startswith(prefix) and len(data) == len(prefix) + item.nbytes:
            return _private(material).sign(data[len(prefix) :], _PKCS1, utils.Prehashed(item.native))
    return _bare_private(material, b"\0\1".ljust(_size(material) - len(data) - 1, b"\xff") + b"\0" + data)


def _pkcs1_verify(
    name: str, hashed: str | None, material: Material, data: bytes, signature: bytes, params: object
) -> None:
    nothing(params, name)
    _check_length(name, material, signature)
    try:
        if hashed is not None:
            _public(material).verify(signature, data, _PKCS1, HASHES[hashed].native)
            return
        _fits(name, data, _size(material) - 11)
        if _public(material).recover_data_from_signature(signature, _PKCS1, None) == data:
            return
    except InvalidSignature:
        pass
    raise _unfit(name)


def _pss_sign(
    name: str, hashed: str | None, material: Material, data: bytes, params: object, source: KeySource
) -> bytes:
    scheme, algorithm = _pss_scheme(name, hashed, material, data, params)
    return _private(material).sign(data, scheme, algorithm)


def _pss_verify(
    name: str, hashed: str | None, material: Material, data: bytes, signature: bytes, params: object
) -> None:
    scheme, algorithm = _pss_scheme(name, hashed, material, data, params)
    _check_length(name, material, signature)
    try:
        _public(material).verify(signature, data, scheme, algorithm)
        return
    except InvalidSignature:
        pass
    raise _unfit(name)


def _pss_scheme(
    name: str, hashed: str | None, material: Material, data: bytes, params: object
) -> tuple[AsymmetricPadding, hashes.HashAlgorithm | utils.Prehashed]:
    given = optional(params, _PSS, name)
    if hashed is not None and given.hash not in (None, hashed):
        raise wrong(name, f"hashes with {hashed}, not with {given.hash}")
    inner = hash_of(hashed or given.hash or "SHA256", name)
    salt_bytes = inner.nbytes if given.salt_bytes is None else given.salt_bytes
    most = (material.bits + 6) // 8 - inner.nbytes - 2
    if not 0 <= salt_bytes <= most:
        raise wrong(name, f"takes a salt of 0 to {most} bytes with this key and hash, not {salt_bytes}")
    scheme = padding.PSS(padding.MGF1(hash_of(given.mgf or inner.name, name).native), salt_bytes)
    if hashed is not None:
        return scheme, inner.native
    if len(data) != inner.nbytes:
        raise DataInvalid(
            f"{name} signs a digest of {inner.nbytes} bytes ({inner.name}), not {len(data)} bytes",
            ckr=CKR.DATA_LEN_RANGE,
        )
    return scheme, utils.Prehashed(inner.native)


def _check_length(name: str, material: Material, signature: bytes) -> None:
    if len(signature) != _size(material):
        raise SignatureInvalid(
            f"a {name} signature of this key has {_size(material)} bytes, not {len(signature)}",
            ckr=CKR.SIGNATURE_LEN_RANGE,
        )


def _unfit(name: str) -> SignatureInvalid:
    return SignatureInvalid(f"this {name} signature does not fit data and key")


CIPHERS: Final[dict[CKM, Cipher]] = {
    CKM.RSA_PKCS: Cipher("RSA", pkcs1_encrypt, pkcs1_decrypt),
    CKM.RSA_PKCS_OAEP: Cipher("RSA", oaep_encrypt, oaep_decrypt),
    CKM.RSA_X_509: Cipher("RSA", _bare_encrypt, _bare_decrypt),
}

_HASHED: Final = (
    (CKM.RSA_PKCS, CKM.RSA_PKCS_PSS, None),
    (CKM.SHA1_RSA_PKCS, CKM.SHA1_RSA_PKCS_PSS, "SHA1"),
    (CKM.SHA224_RSA_PKCS, CKM.SHA224_RSA_PKCS_PSS, "SHA224"),
    (CKM.SHA256_RSA_PKCS, CKM.SHA256_RSA_PKCS_PSS, "SHA256"),
    (CKM.SHA384_RSA_PKCS, CKM.SHA384_RSA_PKCS_PSS, "SHA384"),
    (CKM.SHA512_RSA_PKCS, CKM.SHA512_RSA_PKCS_PSS, "SHA512"),
)

SIGNATURES: Final[dict[CKM, Signature]] = {
    CKM.RSA_X_509: Signature("RSA", _bare_sign, _bare_verify),
    **{
        plain: Signature("RSA", partial(_pkcs1_sign, plain.name, hashed), partial(_pkcs1_verify, plain.name, hashed))
        for plain, _, hashed in _HASHED
    },
    **{
        pss: Signature("RSA", partial(_pss_sign, pss.name, hashed), partial(_pss_verify, pss.name, hashed))
        for _, pss, hashed in _HASHED
    },
}
