"""How does a key travel between HSMs?

As a masked object: key, attributes, owner and sharing, encrypted and authenticated
under a key that only the cluster and its clones have.

    nonce (12) | AES-256-GCM of the payload | tag (16)

    payload: handle u64, tag u64, bits u16, kind u8, part u8, curve u8, then the lengths
    of what follows: key u16, attributes u16, owner u16, number of shares u16; then key,
    attributes, owner; then each share as length u16 and text.
"""

import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..cryptoki import CKO
from ..errors import DataInvalid, UsageError
from .attribute_map import Attributes
from .curves import CURVES
from .kinds import KINDS
from .material import Material
from .source import KeySource, SystemSource

_VERSION: Final = b"\x01"
_SEALED: Final = b"sealed"
_NONCE_BYTES: Final = 12
_HEAD: Final = struct.Struct(">QQHBBBHHHH")
_SHORT: Final = struct.Struct(">H")
_KINDS: Final = tuple(KINDS)
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}
_CURVES: Final = (None, *CURVES)
_CURVE_NUMBERS: Final = {name: number for number, name in enumerate(_CURVES)}
_PARTS: Final = {int(part): part for part in CKO}


class MaskingKey:
    """The key under which a cluster and its clones exchange keys: AES-256.

    Two of them are equal when their bytes are.
    """

    __slots__ = ("_aead", "_secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32:
            raise UsageError(f"a masking key has 32 bytes, not {len(secret)}")
        self._secret = bytes(secret)
        self._aead = AESGCM(self._secret)

    @classmethod
    def random(cls, source: KeySource) -> "MaskingKey":
        """Return a new masking key."""
        return cls(source.secret(32))

    def reveal(self) -> bytes:
        """Return its bytes: an HSM that is a process of its own is given them on its private pipe."""
        return self._secret

    def seal(self, plain: bytes) -> bytes:
        """Return bytes that are to lie on a disk, encrypted and authenticated; different each time."""
        nonce = SystemSource().random(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, _SEALED)

    def unseal(self, sealed: bytes) -> bytes:
        """Return what `seal` was given.

        Raises:
            DataInvalid: it was changed, or sealed by another cluster.
        """
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _SEALED)
        except (InvalidTag, ValueError):
            pass
        raise DataInvalid("what was sealed on a disk is corrupt, or was sealed under another masking key")

    def __repr__(self) -> str:
        return "<MaskingKey>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaskingKey) and self._secret == other._secret

    def __hash__(self) -> int:
        return hash(self._secret)


@dataclass(frozen=True, slots=True)
class MaskedKey:
    """What a masked object holds.

    Attributes:
        handle: the key's handle in its cluster.
        tag: the simulator's number of the key's birth.
        material: the key.
        attributes: its attributes.
        owner: name of the user who owns it.
        shares: names of the users it is shared with, in order of sharing.
    """

    handle: int
    tag: int
    material: Material
    attributes: Attributes
    owner: str
    shares: tuple[str, ...] = ()


def mask(masking_key: MaskingKey, key: MaskedKey, source: KeySource) -> bytes:
    """Return a key as a masked object, different each time: its nonce comes from `source`."""
    material = key.material
    encoded = material.encoded
    attributes = key.attributes.packed()
    owner = key.owner.encode()
    payload = [
        _HEAD.pack(
            key.handle,
            key.tag,
            material.bits,
            _KIND_NUMBERS[material.kind],
            material.part,
            _CURVE_NUMBERS[material.curve],
            len(encoded),
            len(attributes),
            len(owner),
            len(key.shares),
        ),
        encoded,
        attributes,
        owner,
    ]
    for share in key.shares:
        name = share.encode()
        payload += (_SHORT.pack(len(name)), name)
    nonce = source.random(_NONCE_BYTES)
    return nonce + masking_key._aead.encrypt(nonce, b"".join(payload), _VERSION)


def unmask(masking_key: MaskingKey, blob: bytes) -> MaskedKey:
    """Return the key in a masked object.

    Raises:
        DataInvalid: the object was changed on its way, or comes from a cluster with
            another masking key.
    """
    try:
        payload = masking_key._aead.decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], _VERSION)
    except (InvalidTag, ValueError):
        payload = None
    if payload is None:
        raise DataInvalid("the HSM refuses this masked object: it is corrupt, or masked by a cluster that is no clone")
    handle, tag, bits, kind, part, curve, encoded, attributes, owner, shares = _HEAD.unpack_from(payload)
    at = _HEAD.size
    middle = at + encoded
    after = middle + attributes
    end = after + owner
    material = Material(_KINDS[kind], _PARTS[part], payload[at:middle], bits, _CURVES[curve])
    return MaskedKey(
        handle,
        tag,
        material,
        Attributes.unpack(payload[middle:after]),
        payload[after:end].decode(),
        _names(payload, end, shares) if shares else (),
    )


def _names(payload: bytes, at: int, count: int) -> tuple[str, ...]:
    names = []
    for _ in range(count):
        (length,) = _SHORT.unpack_from(payload, at)
        at += _SHORT.size
        names.append(payload[at : at + length].decode())
        at += length
    return tuple(names)
