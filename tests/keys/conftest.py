"""Where do published test vectors and reproducible keys come from?"""

import hashlib
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pytest_hsmcluster.cryptoki import CKO
from pytest_hsmcluster.keys.material import Material
from pytest_hsmcluster.keys.source import SeededSource, SystemSource

Record = dict[str, str]


def read_records(path: str) -> Iterator[Record]:
    """Yield the records of a vector file: `name = value` lines, ended by a blank line.

    A line in brackets starts a section; what it says is part of each record that follows.
    """
    vectors = pytest.importorskip("cryptography_vectors")
    section: Record = {}
    record: Record = {}
    with vectors.open_vector_file(path, "r") as lines:
        for line in [*lines, ""]:
            text = line.strip()
            if text.startswith("#"):
                continue
            if not text:
                if record:
                    yield {**section, **record}
                record = {}
            elif text.startswith("["):
                name, _, value = text.strip("[]").partition("=")
                section[name.strip() if value else "section"] = (value or name).strip()
            else:
                name, _, value = text.partition("=")
                record[name.strip()] = value.strip()


@pytest.fixture(scope="session")
def records() -> Callable[[str], Iterator[Record]]:
    """Reads a file of the `cryptography_vectors` package."""
    return read_records


@pytest.fixture
def system() -> SystemSource:
    return SystemSource()


@pytest.fixture
def seeded() -> Callable[[str], SeededSource]:
    """Makes a source from a seed."""

    def make(seed: str) -> SeededSource:
        drawn = 0

        def stream(nbytes: int) -> bytes:
            nonlocal drawn
            drawn += 1
            return hashlib.shake_256(f"{seed}/{drawn}".encode()).digest(nbytes)

        return SeededSource(stream)

    return make


@pytest.fixture(scope="session")
def secret() -> Callable[[str, str | bytes], Material]:
    """Makes a secret key from bytes, without the size limits of an import."""

    def make(kind: str, raw: str | bytes) -> Material:
        raw = bytes.fromhex(raw) if isinstance(raw, str) else raw
        return Material(kind, CKO.SECRET_KEY, raw, len(raw) * 8)

    return make


@pytest.fixture(scope="session")
def rsa_pair() -> Callable[[rsa.RSAPrivateKey], tuple[Material, Material]]:
    """Makes (public, private) from the library's key, without the size limits of an import."""

    def make(key: rsa.RSAPrivateKey) -> tuple[Material, Material]:
        private = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return (
            Material("RSA", CKO.PUBLIC_KEY, public, key.key_size),
            Material("RSA", CKO.PRIVATE_KEY, private, key.key_size, None, key),
        )

    return make


@pytest.fixture(scope="session")
def rsa_key() -> tuple[Material, Material]:
    """One RSA pair (public, private) for all tests that do not care which."""
    from pytest_hsmcluster.keys.material import generate_pair

    return generate_pair("RSA", 2048, SeededSource(bytes))
