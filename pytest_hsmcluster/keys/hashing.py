"""Which hash functions are there, and under which mechanism is each one used?"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes

from ..cryptoki import CKM
from .parameters import HashName, wrong


@dataclass(frozen=True, slots=True)
class Hash:
    """A hash function: its name, its length and the library's object for it."""

    name: HashName
    nbytes: int
    native: hashes.HashAlgorithm


HASHES: Final[dict[str, Hash]] = {
    item.name: item
    for item in (
        Hash("SHA1", 20, hashes.SHA1()),
        Hash("SHA224", 28, hashes.SHA224()),
        Hash("SHA256", 32, hashes.SHA256()),
        Hash("SHA384", 48, hashes.SHA384()),
        Hash("SHA512", 64, hashes.SHA512()),
    )
}

DIGESTS: Final[dict[CKM, str]] = {
    CKM.SHA_1: "SHA1",
    CKM.SHA224: "SHA224",
    CKM.SHA256: "SHA256",
    CKM.SHA384: "SHA384",
    CKM.SHA512: "SHA512",
}


def hash_of(name: str, mechanism: str) -> Hash:
    """Return a hash function by name.

    Raises:
        MechanismInvalid: there is none of this name (MECHANISM_PARAM_INVALID).
    """
    found = HASHES.get(name)
    if found is None:
        raise wrong(mechanism, f"knows no hash {name!r} (it has {', '.join(HASHES)})")
    return found


def hashed(name: str, data: bytes) -> bytes:
    """Return the digest of `data`."""
    return hashlib.new(name, data, usedforsecurity=False).digest()
