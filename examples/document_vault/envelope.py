"""How is one document encrypted?

An HSM takes 16,224 bytes at a time and about a millisecond for them, so a document of a megabyte would cost
65 calls, each of which can fail.  Only the data key goes there: 32 bytes, one call, whatever the size of the document.
"""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DEK_BYTES = 32
NONCE_BYTES = 12


def seal(dek: bytes, name: str, document: bytes) -> bytes:
    """Return the document encrypted with AES-256-GCM under a data key that is used for nothing else.

    The name is authenticated along with it, so that nobody can exchange two rows of the database.
    """
    # One key, one message: a constant nonce repeats nothing.
    return AESGCM(dek).encrypt(bytes(NONCE_BYTES), document, bound_to(name))


def unseal(dek: bytes, name: str, sealed: bytes) -> bytes:
    """Return the document.

    Raises:
        cryptography.exceptions.InvalidTag: it was changed, or is another document's.
    """
    return AESGCM(dek).decrypt(bytes(NONCE_BYTES), sealed, bound_to(name))


def bound_to(name: str) -> bytes:
    """Return what binds a ciphertext, or a wrapped data key, to its document."""
    return b"document-vault/1\0" + name.encode()
