"""What does a family of mechanisms say of each of its members?"""

from collections.abc import Callable
from dataclasses import dataclass

from ..cryptoki import CKO
from .material import Material
from .source import KeySource

Encrypt = Callable[[Material, bytes, object, KeySource], bytes]
Decrypt = Callable[[Material, bytes, object], bytes]
Sign = Callable[[Material, bytes, object, KeySource], bytes]
Verify = Callable[[Material, bytes, bytes, object], None]
Wrap = Callable[[Material, Material, object, KeySource], bytes]
Unwrap = Callable[[Material, bytes, object], bytes]
Derive = Callable[[Material, object, int], bytes]


@dataclass(frozen=True, slots=True)
class Cipher:
    """Encrypts at most `limit` bytes, and decrypts so many and `overhead`."""

    kind: str
    encrypt: Encrypt
    decrypt: Decrypt
    limit: int | None = None
    overhead: int = 0


@dataclass(frozen=True, slots=True)
class Signature:
    """Signs and verifies; `limit` is the most bytes in one operation."""

    kind: str
    sign: Sign
    verify: Verify
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Wrapping:
    """Wraps a key's bytes and gives them back."""

    kind: str
    wrap: Wrap
    unwrap: Unwrap


@dataclass(frozen=True, slots=True)
class Derivation:
    """Makes a secret's bytes, as many as asked for, out of a base key."""

    kinds: tuple[str, ...]
    derive: Derive


def giving_part(kind: str) -> CKO:
    """Return the half that encrypts, verifies and wraps."""
    return CKO.PUBLIC_KEY if kind in ("RSA", "EC") else CKO.SECRET_KEY


def keeping_part(kind: str) -> CKO:
    """Return the half that decrypts, signs, unwraps and derives."""
    return CKO.PRIVATE_KEY if kind in ("RSA", "EC") else CKO.SECRET_KEY
