"""How does an application name a key?"""

from dataclasses import dataclass, field

from ..errors import UsageError
from ..service.keystore import StoredKey


@dataclass(frozen=True, slots=True)
class KeyHandle:
    """A key as an application knows it.

    Attributes:
        number: the handle, the same on every HSM of the cluster.
        label: CKA_LABEL when the handle was given out.
        kind: `AES`, `DES3`, `GENERIC_SECRET`, `RSA` or `EC`.
        token: whether it is a token key; a session key lives on one HSM.
        cls: `secret`, `private` or `public`.
        cluster: id of the cluster that gave it out.
    """

    number: int
    label: str
    kind: str
    token: bool
    cls: str
    cluster: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves of a pair; each is a key of its own."""

    public: KeyHandle
    private: KeyHandle


def handle_of(key: StoredKey, cluster: str) -> KeyHandle:
    """Return the handle of a key that an HSM named."""
    return KeyHandle(key.handle, key.label, key.material.kind, key.token, key.cls, cluster)


def check_handle(key: object, what: str) -> KeyHandle:
    """Return `key` if it is a handle.

    Raises:
        UsageError: it is something else; says what is wanted.
    """
    if isinstance(key, KeyHandle):
        return key
    if isinstance(key, KeyPair):
        raise UsageError(f"{what} takes one key: pass pair.private or pair.public, not the pair")
    raise UsageError(f"{what} takes a KeyHandle, as generate_key() or find_keys() return it; got {type(key).__name__}")
