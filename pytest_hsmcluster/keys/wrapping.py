"""How does a key leave under another key, and how does it come back?

What is wrapped are a secret's raw bytes or a private key's PKCS #8 DER.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.padding import PKCS7

from ..cryptoki import CKM, CKO, CKR
from ..errors import DataInvalid, KeyUnextractable
from .families import Wrapping
from .material import Material
from .parameters import RsaAesParams, nothing, optional, wrong
from .rsa import oaep_decrypt, oaep_encrypt, oaep_padding, pkcs1_decrypt, pkcs1_encrypt
from .source import KeySource
from .symmetric import gcm_decrypt, gcm_encrypt

_RSA_AES: Final = RsaAesParams()
_NamedWrap = Callable[[str, Material, Material, object, KeySource], bytes]
_NamedUnwrap = Callable[[str, Material, bytes, object], bytes]


def _bytes_of(target: Material) -> bytes:
    if target.part is CKO.PUBLIC_KEY:
        raise KeyUnextractable("a public key is read, not wrapped", ckr=CKR.KEY_NOT_WRAPPABLE)
    return target.encoded


def _refused(name: str, ckr: CKR = CKR.WRAPPED_KEY_INVALID) -> DataInvalid:
    return DataInvalid(f"{name} refuses this wrapped key: another wrapping key, or damaged", ckr=ckr)


def _too_big(name: str, target: Material, why: str) -> DataInvalid:
    return DataInvalid(f"{name} cannot wrap {target!r}: {why}", ckr=CKR.KEY_SIZE_RANGE)


# --- AES key wrap -------------------------------------------------------------------


def _no_pad(name: str, wrapping: Material, target: Material, params: object, source: KeySource) -> bytes:
    nothing(params, name)
    raw = _bytes_of(target)
    if len(raw) < 16 or len(raw) % 8:
        raise _too_big(name, target, "RFC 3394 takes 16 or more bytes in steps of 8; use the zero-padded wrap")
    return keywrap.aes_key_wrap(wrapping.encoded, raw)


def _no_pad_unwrap(name: str, unwrapping: Material, blob: bytes, params: object) -> bytes:
    nothing(params, name)
    if len(blob) < 24 or len(blob) % 8:
        raise _refused(name, CKR.WRAPPED_KEY_LEN_RANGE)
    try:
        return keywrap.aes_key_unwrap(unwrapping.encoded, blob)
    except keywrap.InvalidUnwrap:
        pass
    raise _refused(name)


def _pkcs5_pad(name: str, wrapping: Material, target: Material, params: object, source: KeySource) -> bytes:
    nothing(params, name)
    padder = PKCS7(64).padder()
    padded = padder.update(_bytes_of(target)) + padder.finalize()
    if len(padded) < 16:
        raise _too_big(name, target, "RFC 3394 takes 16 or more bytes; use the zero-padded wrap")
    return keywrap.aes_key_wrap(wrapping.encoded, padded)


def _pkcs5_pad_unwrap(name: str, unwrapping: Material, blob: bytes, params: object) -> bytes:
    padded = _no_pad_unwrap(name, unwrapping, blob, params)
    unpadder = PKCS7(64).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        pass
    raise _refused(name)


def _zero_pad(name: str, wrapping: Material, target: Material, params: object, source: KeySource) -> bytes:
    nothing(params, name)
    return keywrap.aes_key_wrap_with_padding(wrapping.encoded, _bytes_of(target))


def _zero_pad_unwrap(name: str, unwrapping: Material, blob: bytes, params: object) -> bytes:
    nothing(params, name)
    if len(blob) < 16 or len(blob) % 8:
        raise _refused(name, CKR.WRAPPED_KEY_LEN_RANGE)
    try:
        return keywrap.aes_key_unwrap_with_padding(unwrapping.encoded, blob)
    except keywrap.InvalidUnwrap:
        pass
    raise _refused(name)


# --- the others ---------------------------------------------------------------------


def _gcm(name: str, wrapping: Material, target: Material, params: object, source: KeySource) -> bytes:
    return gcm_encrypt(name, wrapping, _bytes_of(target), params, source)


def _gcm_unwrap(name: str, unwrapping: Material, blob: bytes, params: object) -> bytes:
    try:
        return gcm_decrypt(name, unwrapping, blob, params)
    except DataInvalid as refusal:
        long_enough = refusal.ckr != CKR.ENCRYPTED_DATA_LEN_RANGE
    raise _refused(name, CKR.WRAPPED_KEY_INVALID if long_enough else CKR.WRAPPED_KEY_LEN_RANGE)


def _rsa(oaep: bool, wrapping: Material, target: Material, params: object, source: KeySource) -> bytes:
    name = "RSA_PKCS_OAEP" if oaep else "RSA_PKCS"
    most = wrapping.bits // 8 - (oaep_padding(name, params)[1] if oaep else 11)
    raw = _bytes_of(target)
    if len(raw) > most:
        raise _too_big(name, target, f"this RSA key carries at most {most} bytes; use RSA_AES_KEY_WRAP")
    return (oaep_encrypt if oaep else pkcs1_encrypt)(wrapping, raw, params, source)


def _rsa_unwrap(oaep: bool, unwrapping: Material, blob: bytes, params: object) -> bytes:
    name = "RSA_PKCS_OAEP" if oaep else "RSA_PKCS"
    if len(blob) != unwrapping.bits // 8:
        raise _refused(name, CKR.WRAPPED_KEY_LEN_RANGE)
    try:
        return (oaep_decrypt if oaep else pkcs1_decrypt)(unwrapping, blob, params)
    except DataInvalid:
        pass
    raise _refused(name)


def _rsa_aes(wrapping: Material, target: Material, params: object, source: KeySource) -> bytes:
    # PKCS #11 v2.40, RSA AES KEY WRAP: a one-time AES key under OAEP, then the target
    # under that key with RFC 5649.
    given = _rsa_aes_params(params)
    once = Material("AES", CKO.SECRET_KEY, source.secret(given.aes_bits // 8), given.aes_bits)
    head = oaep_encrypt(wrapping, once.encoded, given.oaep, source)
    return head + keywrap.aes_key_wrap_with_padding(once.encoded, _bytes_of(target))


def _rsa_aes_unwrap(unwrapping: Material, blob: bytes, params: object) -> bytes:
    given = _rsa_aes_params(params)
    size = unwrapping.bits // 8
    if len(blob) < size + 16:
        raise _refused("RSA_AES_KEY_WRAP", CKR.WRAPPED_KEY_LEN_RANGE)
    once = _rsa_unwrap(True, unwrapping, blob[:size], given.oaep)
    if len(once) * 8 != given.aes_bits:
        raise _refused("RSA_AES_KEY_WRAP")
    return _zero_pad_unwrap(
        "RSA_AES_KEY_WRAP", Material("AES", CKO.SECRET_KEY, once, given.aes_bits), blob[size:], None
    )


def _rsa_aes_params(params: object) -> RsaAesParams:
    given = optional(params, _RSA_AES, "RSA_AES_KEY_WRAP")
    if given.aes_bits not in (128, 192, 256):
        raise wrong("RSA_AES_KEY_WRAP", f"takes an AES key of 128, 192 or 256 bits, not {given.aes_bits}")
    return given


def _aes(mechanism: CKM, wrap: _NamedWrap, unwrap: _NamedUnwrap) -> tuple[CKM, Wrapping]:
    return mechanism, Wrapping("AES", partial(wrap, mechanism.name), partial(unwrap, mechanism.name))


WRAPPINGS: Final[dict[CKM, Wrapping]] = dict(
    (
        _aes(CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD, _no_pad, _no_pad_unwrap),
        _aes(CKM.CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, _pkcs5_pad, _pkcs5_pad_unwrap),
        _aes(CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, _zero_pad, _zero_pad_unwrap),
        # SDK 3 only. AES_KEY_WRAP pads as PKCS #5 does, against the standard: AWS CloudHSM
        # User Guide, "AES key wrapping", note 1, and "Known issues for all HSM instances".
        # That the one with PAD in its name does the same is a guess.
        _aes(CKM.AES_KEY_WRAP, _pkcs5_pad, _pkcs5_pad_unwrap),
        _aes(CKM.AES_KEY_WRAP_PAD, _pkcs5_pad, _pkcs5_pad_unwrap),
        _aes(CKM.AES_GCM, _gcm, _gcm_unwrap),
        _aes(CKM.CLOUDHSM_AES_GCM, _gcm, _gcm_unwrap),
        (CKM.RSA_PKCS, Wrapping("RSA", partial(_rsa, False), partial(_rsa_unwrap, False))),
        (CKM.RSA_PKCS_OAEP, Wrapping("RSA", partial(_rsa, True), partial(_rsa_unwrap, True))),
        (CKM.RSA_AES_KEY_WRAP, Wrapping("RSA", _rsa_aes, _rsa_aes_unwrap)),
    )
)
