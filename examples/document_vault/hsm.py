"""What does the vault ask of its HSM client, and which refusals will pass?"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Protocol

Key = Any
"""Whatever the client names a key by; the vault only hands it back."""


class Hsm(Protocol):
    """The six calls that the vault makes.

    In production this is a thin adapter over PKCS #11 (`production.py`).  Its errors carry the return value as `.ckr`.
    """

    def generate_key(self, kind: str, bits: int, *, label: str) -> Key:
        """Make a token key."""

    def find_keys(self, *, label: str) -> Sequence[Key]:
        """Return the keys with this label that can be seen now."""

    def delete_key(self, key: Key) -> None:
        """Delete a key everywhere."""

    def encrypt(self, key: Key, data: bytes, *, aad: bytes) -> bytes:
        """Encrypt up to 16,224 bytes with AES-GCM; the HSM makes the IV and puts it in front."""

    def decrypt(self, key: Key, data: bytes, *, aad: bytes) -> bytes:
        """Return what was encrypted."""

    def random(self, count: int) -> bytes:
        """Return random bytes."""


class Passing(IntEnum):
    """PKCS #11 return values that mean "not now" or "not on this HSM", never "wrong"."""

    GENERAL_ERROR = 0x05
    FUNCTION_FAILED = 0x06
    DEVICE_ERROR = 0x30
    DEVICE_MEMORY = 0x31
    DEVICE_REMOVED = 0x32
    KEY_HANDLE_INVALID = 0x60
    OBJECT_HANDLE_INVALID = 0x82
    OPERATION_ACTIVE = 0x90
    SESSION_CLOSED = 0xB0
    SESSION_HANDLE_INVALID = 0xB3
    USER_NOT_LOGGED_IN = 0x101


class KeyMissing(Exception):
    """No HSM that can be reached now shows the key."""

    ckr = Passing.KEY_HANDLE_INVALID


class VaultUnavailable(Exception):
    """The HSMs did not do it in good time.  Nothing is lost; it can be tried again later."""


def will_pass(error: Exception) -> bool:
    """Whether the same call may succeed a moment later, or on another HSM."""
    return getattr(error, "ckr", None) in frozenset(Passing)


def named(error: Exception) -> str:
    """Return what a log calls an error: its class, and its return value where it has one that passes."""
    name, ckr = type(error).__name__, getattr(error, "ckr", None)
    return f"{name} (CKR_{Passing(ckr).name})" if ckr is not None and will_pass(error) else name
