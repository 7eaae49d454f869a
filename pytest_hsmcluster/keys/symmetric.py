"""How do AES and triple DES encrypt?"""

from functools import partial
from typing import Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import CipherContext, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from ..cryptoki import CKM, CKR
from ..errors import DataInvalid
from .families import Cipher
from .material import Material
from .parameters import CtrParams, GcmParams, IvParams, needed, nothing, optional, wrong
from .source import KeySource

IV_BYTES: Final = 12
_TAG_BITS: Final = (96, 104, 112, 120, 128)
_NO_AAD: Final = GcmParams()
_Mode = TypeVar("_Mode", bound=modes.Mode)


def _blocks(material: Material, mode: _Mode) -> ciphers.Cipher[_Mode]:
    algorithm = algorithms.AES(material.encoded) if material.kind == "AES" else TripleDES(material.encoded)
    return ciphers.Cipher(algorithm, mode)


def _block_bytes(material: Material) -> int:
    return 16 if material.kind == "AES" else 8


def _run(context: CipherContext, data: bytes) -> bytes:
    return context.update(data) + context.finalize()


def _whole_blocks(material: Material, data: bytes, name: str, ckr: CKR) -> None:
    size = _block_bytes(material)
    if len(data) % size:
        raise DataInvalid(f"{name} takes whole blocks of {size} bytes, not {len(data)} bytes", ckr=ckr)


def _ecb_encrypt(name: str, material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    nothing(params, name)
    _whole_blocks(material, data, name, CKR.DATA_LEN_RANGE)
    return _run(_blocks(material, modes.ECB()).encryptor(), data)


def _ecb_decrypt(name: str, material: Material, data: bytes, params: object) -> bytes:
    nothing(params, name)
    _whole_blocks(material, data, name, CKR.ENCRYPTED_DATA_LEN_RANGE)
    return _run(_blocks(material, modes.ECB()).decryptor(), data)


def _cbc(name: str, material: Material, params: object) -> ciphers.Cipher[modes.CBC]:
    iv = needed(params, IvParams, name).iv
    size = _block_bytes(material)
    if len(iv) != size:
        raise wrong(name, f"takes an IV of {size} bytes, not {len(iv)}")
    return _blocks(material, modes.CBC(iv))


def _cbc_encrypt(name: str, padded: bool, material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    cipher = _cbc(name, material, params)
    if padded:
        padder = PKCS7(_block_bytes(material) * 8).padder()
        data = padder.update(data) + padder.finalize()
    else:
        _whole_blocks(material, data, name, CKR.DATA_LEN_RANGE)
    return _run(cipher.encryptor(), data)


def _cbc_decrypt(name: str, padded: bool, material: Material, data: bytes, params: object) -> bytes:
    cipher = _cbc(name, material, params)
    _whole_blocks(material, data, name, CKR.ENCRYPTED_DATA_LEN_RANGE)
    plain = _run(cipher.decryptor(), data)
    if not padded:
        return plain
    unpadder = PKCS7(_block_bytes(material) * 8).unpadder()
    try:
        return unpadder.update(plain) + unpadder.finalize()
    except ValueError:
        pass
    raise DataInvalid(
        f"{name}: the padding is wrong: another key, another IV or damaged", ckr=CKR.ENCRYPTED_DATA_INVALID
    )


def _ctr(material: Material, data: bytes, params: object) -> bytes:
    given = needed(params, CtrParams, "AES_CTR")
    bits = given.counter_bits
    if len(given.counter) != 16 or not 1 <= bits <= 128:
        raise wrong("AES_CTR", "takes a counter block of 16 bytes of which the last 1 to 128 bits count")
    # PKCS #11 v2.40, 2.10.4 (AES-CTR): data that would make the counter overflow are refused.
    left = (1 << bits) - int.from_bytes(given.counter, "big") % (1 << bits)
    if (len(data) + 15) // 16 > left:
        raise DataInvalid(f"AES_CTR: the {bits} bits of the counter overflow within these data", ckr=CKR.DATA_LEN_RANGE)
    return _run(_blocks(material, modes.CTR(given.counter)).encryptor(), data)


def _ctr_encrypt(material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    return _ctr(material, data, params)


def gcm_seal(material: Material, iv: bytes, data: bytes, aad: bytes, tag_bits: int) -> bytes:
    """Return ciphertext and tag under an IV of 12 bytes that the caller chose."""
    if tag_bits == 128:
        return material.aead.encrypt(iv, data, aad)
    context = _blocks(material, modes.GCM(iv)).encryptor()
    context.authenticate_additional_data(aad)
    sealed = _run(context, data)
    return sealed + context.tag[: tag_bits // 8]


def gcm_open(material: Material, iv: bytes, sealed: bytes, aad: bytes, tag_bits: int) -> bytes:
    """Return the plaintext of ciphertext and tag.

    Raises:
        DataInvalid: ciphertext, tag, IV, key or AAD do not belong together.
    """
    try:
        if tag_bits == 128:
            return material.aead.decrypt(iv, sealed, aad)
        size = tag_bits // 8
        if len(sealed) >= size:
            tag = sealed[len(sealed) - size :]
            context = _blocks(material, modes.GCM(iv, tag, min_tag_length=size)).decryptor()
            context.authenticate_additional_data(aad)
            return _run(context, sealed[: len(sealed) - size])
    except InvalidTag:
        pass
    raise DataInvalid(
        "AES-GCM refuses this ciphertext: another key, another AAD, or damaged", ckr=CKR.ENCRYPTED_DATA_INVALID
    )


def _gcm_params(name: str, params: object) -> GcmParams:
    given = optional(params, _NO_AAD, name)
    if given.tag_bits not in _TAG_BITS:
        raise wrong(name, f"takes a tag of 96, 104, 112, 120 or 128 bits, not {given.tag_bits}")
    return given


def gcm_encrypt(name: str, material: Material, data: bytes, params: object, source: KeySource) -> bytes:
    """Return IV (12 bytes), ciphertext and tag; the IV is always made here.

    A zeroed IV buffer is what `CKM_AES_GCM` wants; any other IV is refused, since it
    would not be honoured (AWS CloudHSM User Guide, "Supported mechanisms", annotation
    on AES-GCM; the return value is a guess).
    """
    given = _NO_AAD
    if params is not None:
        given = _gcm_params(name, params)
        if given.iv is not None and (name == "CLOUDHSM_AES_GCM" or given.iv != bytes(IV_BYTES)):
            allowed = "none" if name == "CLOUDHSM_AES_GCM" else "none or 12 zero bytes"
            raise wrong(name, f"makes its own IV and takes {allowed} from the caller")
    iv = given.begun_iv or source.random(IV_BYTES)
    return iv + gcm_seal(material, iv, data, given.aad, given.tag_bits)


def gcm_decrypt(name: str, material: Material, data: bytes, params: object) -> bytes:
    """Return the plaintext of IV, ciphertext and tag (of ciphertext and tag with an IV in the parameters)."""
    given = _NO_AAD if params is None else _gcm_params(name, params)
    if given.iv is None:
        if len(data) < IV_BYTES + given.tag_bits // 8:
            raise DataInvalid(
                f"{name} decrypts IV, ciphertext and tag: {len(data)} bytes are too few",
                ckr=CKR.ENCRYPTED_DATA_LEN_RANGE,
            )
        return gcm_open(material, data[:IV_BYTES], data[IV_BYTES:], given.aad, given.tag_bits)
    if name == "CLOUDHSM_AES_GCM" or len(given.iv) != IV_BYTES:
        raise wrong(name, f"takes an IV of {IV_BYTES} bytes, and CLOUDHSM_AES_GCM only before the ciphertext")
    return gcm_open(material, given.iv, data, given.aad, given.tag_bits)


def _ecb_row(kind: str, name: str) -> Cipher:
    return Cipher(kind, partial(_ecb_encrypt, name), partial(_ecb_decrypt, name))


def _cbc_row(kind: str, name: str, padded: bool, limit: int | None = None) -> Cipher:
    return Cipher(kind, partial(_cbc_encrypt, name, padded), partial(_cbc_decrypt, name, padded), limit)


def _gcm_row(name: str) -> Cipher:
    return Cipher("AES", partial(gcm_encrypt, name), partial(gcm_decrypt, name), 16224, IV_BYTES + 16)


# Limits: AWS CloudHSM User Guide, "Supported mechanisms", maximum data size for each mechanism.
CIPHERS: Final[dict[CKM, Cipher]] = {
    CKM.AES_ECB: _ecb_row("AES", "AES_ECB"),
    CKM.AES_CBC: _cbc_row("AES", "AES_CBC", False, 16272),
    CKM.AES_CBC_PAD: _cbc_row("AES", "AES_CBC_PAD", True),
    CKM.AES_CTR: Cipher("AES", _ctr_encrypt, _ctr),
    CKM.AES_GCM: _gcm_row("AES_GCM"),
    CKM.CLOUDHSM_AES_GCM: _gcm_row("CLOUDHSM_AES_GCM"),
    CKM.DES3_ECB: _ecb_row("DES3", "DES3_ECB"),
    CKM.DES3_CBC: _cbc_row("DES3", "DES3_CBC", False, 16280),
    CKM.DES3_CBC_PAD: _cbc_row("DES3", "DES3_CBC_PAD", True),
}
