"""What is a key made of?"""

import hashlib
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..cryptoki import CKO, CKR
from ..errors import DataInvalid, TemplateInvalid
from .curves import CURVES, Curve, find_curve
from .kinds import MAX_GENERIC_BYTES, PAIR_KINDS, check_kind, check_rsa_size, check_secret_size, part_name
from .source import KeySource

NativeKey = bytes | rsa.RSAPrivateKey | rsa.RSAPublicKey | ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey

_DER = serialization.Encoding.DER
_PKCS8 = serialization.PrivateFormat.PKCS8
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
_CLEAR = serialization.NoEncryption()
_set = object.__setattr__


class Material:
    """One key's bytes, without a name, a handle or an owner. Never changes.

    Attributes:
        kind: `AES`, `DES3`, `GENERIC_SECRET`, `RSA` or `EC`.
        part: secret, private or public.
        encoded: a secret's raw bytes; a private key's PKCS #8 DER; a public key's
            SubjectPublicKeyInfo DER.
        bits: bits of the secret, of the modulus or of the curve's field.
        curve: the curve's name (`secp256r1`), or None.

    Copies travel as bytes and most are never used, so the library's own key object
    (`native`) is made when it is first asked for. The constructor checks nothing: keys
    come from `generate_secret`, `generate_pair`, `import_material` or an unwrapped blob.
    """

    __slots__ = ("_aead", "_fingerprint", "_native", "bits", "curve", "encoded", "kind", "part")

    kind: str
    part: CKO
    encoded: bytes
    bits: int
    curve: str | None
    _native: NativeKey
    _aead: AESGCM
    _fingerprint: bytes

    def __init__(
        self,
        kind: str,
        part: CKO,
        encoded: bytes,
        bits: int,
        curve: str | None = None,
        native: NativeKey | None = None,
    ) -> None:
        _set(self, "kind", kind)
        _set(self, "part", part)
        _set(self, "encoded", encoded)
        _set(self, "bits", bits)
        _set(self, "curve", curve)
        if native is not None:
            _set(self, "_native", native)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"key material never changes: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"key material never changes: cannot delete {name}")

    def __repr__(self) -> str:
        return f"<Material {self.kind} {self.part.name} {self.curve or self.bits}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Material):
            return NotImplemented
        return self is other or (self.kind, self.part, self.encoded) == (other.kind, other.part, other.encoded)

    def __hash__(self) -> int:
        return hash((self.kind, self.part, self.encoded))

    def __copy__(self) -> "Material":
        return self

    def __deepcopy__(self, memo: object) -> "Material":
        return self

    def __reduce__(self) -> Any:
        raise TypeError("key material is not pickled: it would leave in the clear; mask it instead")

    @property
    def native(self) -> NativeKey:
        """The key as `cryptography` wants it; a secret's raw bytes."""
        try:
            return self._native
        except AttributeError:
            _set(self, "_native", self._parse())
        return self._native

    def _parse(self) -> NativeKey:
        if self.part is CKO.PRIVATE_KEY:
            # Trial divisions and primality tests were done when the key was made or came in.
            return cast(
                NativeKey,
                serialization.load_der_private_key(self.encoded, None, unsafe_skip_rsa_key_validation=True),
            )
        if self.part is CKO.PUBLIC_KEY:
            return cast(NativeKey, serialization.load_der_public_key(self.encoded))
        return self.encoded

    @property
    def aead(self) -> AESGCM:
        """AES-GCM under this AES key, set up once."""
        try:
            return self._aead
        except AttributeError:
            _set(self, "_aead", AESGCM(self.encoded))
        return self._aead

    def public(self) -> "Material":
        """Return the public half of a private key.

        Raises:
            TemplateInvalid: this is no private key.
        """
        if self.part is not CKO.PRIVATE_KEY:
            raise TemplateInvalid(f"{self!r} has no public half", ckr=CKR.KEY_TYPE_INCONSISTENT)
        return _public_material(cast(rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, self.native).public_key())

    def check_value(self) -> bytes | None:
        """Return the 3 bytes by which people compare keys, or None for GENERIC_SECRET.

        Symmetric keys: the start of the encryption of one block of zeros. Key pairs: the
        start of SHA-1 over the public key, for both halves. Which encoding of the public
        key is hashed is not published; SubjectPublicKeyInfo DER is a guess.

        Source:
            AWS CloudHSM User Guide, "Key attribute reference", OBJ_ATTR_KCV.
        """
        if self.kind == "GENERIC_SECRET":
            return None
        if self.kind in PAIR_KINDS:
            public = self if self.part is CKO.PUBLIC_KEY else self.public()
            return hashlib.sha1(public.encoded, usedforsecurity=False).digest()[:3]
        algorithm = algorithms.AES(self.encoded) if self.kind == "AES" else TripleDES(self.encoded)
        block = algorithm.block_size // 8
        return Cipher(algorithm, modes.ECB()).encryptor().update(bytes(block))[:3]

    def fingerprint(self) -> bytes:
        """Return 32 bytes that are equal for equal key material and nothing else.

        A SHA-256 over kind, part and bytes: for a secret too short to hide (a GENERIC_SECRET
        of a few bytes) it can be searched, so it stays inside the simulator.
        """
        try:
            return self._fingerprint
        except AttributeError:
            named = b"%b/%d/%b" % (self.kind.encode(), self.part, self.encoded)
            _set(self, "_fingerprint", hashlib.sha256(named).digest())
        return self._fingerprint


def generate_secret(kind: str, bits: int, source: KeySource, *, max_generic_bytes: int = MAX_GENERIC_BYTES) -> Material:
    """Return a new AES, DES3 or GENERIC_SECRET key.

    Raises:
        TemplateInvalid: the kind is unknown or the size is not offered.
    """
    check_secret_size(kind, bits, max_generic_bytes)
    return Material(kind, CKO.SECRET_KEY, source.secret(bits >> 3), bits)


def generate_pair(
    kind: str, size: int | str | bytes, source: KeySource, exponent: int = 65537
) -> tuple[Material, Material]:
    """Return a new RSA or EC pair: (public, private).

    Args:
        kind: `RSA` or `EC`.
        size: modulus bits, or a curve by name, alias (`P-256`) or DER object identifier.
        source: where the randomness comes from.
        exponent: RSA's public exponent.

    Raises:
        TemplateInvalid: kind, size, curve or exponent is not offered.
        UsageError: a seeded source has no test key of this size.
    """
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if kind == "EC":
        if isinstance(size, int):
            raise TemplateInvalid(
                f"an EC pair is asked for by curve, not by {size} bits: try 'secp256r1'",
                ckr=CKR.ATTRIBUTE_VALUE_INVALID,
            )
        private = source.ec_private(find_curve(size).native)
    else:
        check_kind(kind, PAIR_KINDS, "a key pair")
        check_rsa_size(size)
        if exponent < 65537 or exponent % 2 == 0:
            raise TemplateInvalid(
                f"an RSA public exponent is odd and at least 65537, got {exponent}",
                ckr=CKR.ATTRIBUTE_VALUE_INVALID,
            )
        private = source.rsa_private(cast(int, size), exponent)
    return _public_material(private.public_key()), _private_material(private)


def import_material(kind: str, part: CKO, raw: bytes, *, max_generic_bytes: int = MAX_GENERIC_BYTES) -> Material:
    """Return a key made elsewhere.

    Args:
        kind: the kind that the bytes are said to be.
        part: secret, private or public.
        raw: a secret's bytes (the parity of DES3 is not enforced); a private key as
            PKCS #8, a public one as SubjectPublicKeyInfo, DER or PEM, not encrypted.
        max_generic_bytes: the longest GENERIC_SECRET.

    Raises:
        TemplateInvalid: kind, part, size or curve is not offered.
        DataInvalid: the bytes are no such key.
    """
    __tracebackhide__ = True  # pytest would print `raw`
    if part is CKO.SECRET_KEY:
        check_secret_size(kind, len(raw) * 8, max_generic_bytes)
        return Material(kind, part, bytes(raw), len(raw) * 8)
    check_kind(kind, PAIR_KINDS, "a key pair's half")
    found = _load(raw, part)
    wanted = {
        ("RSA", CKO.PRIVATE_KEY): rsa.RSAPrivateKey,
        ("RSA", CKO.PUBLIC_KEY): rsa.RSAPublicKey,
        ("EC", CKO.PRIVATE_KEY): ec.EllipticCurvePrivateKey,
        ("EC", CKO.PUBLIC_KEY): ec.EllipticCurvePublicKey,
    }[kind, part]
    if not isinstance(found, wanted):
        raise DataInvalid(f"these bytes hold a key, but no {kind} {part_name(part)}")
    if isinstance(found, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        check_rsa_size(found.key_size)
    if isinstance(found, rsa.RSAPrivateKey):
        _check_rsa_numbers(found)
    if isinstance(found, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return _private_material(found)
    return _public_material(cast(rsa.RSAPublicKey | ec.EllipticCurvePublicKey, found))


def curve_of(material: Material) -> Curve:
    """Return the curve of an EC key."""
    return CURVES[cast(str, material.curve)]


def _load(raw: bytes, part: CKO) -> object:
    __tracebackhide__ = True
    pem = raw.lstrip()[:10] == b"-----BEGIN"
    try:
        if part is CKO.PRIVATE_KEY:
            if pem:
                return serialization.load_pem_private_key(raw, None, unsafe_skip_rsa_key_validation=True)
            return serialization.load_der_private_key(raw, None, unsafe_skip_rsa_key_validation=True)
        return serialization.load_pem_public_key(raw) if pem else serialization.load_der_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Raised below, outside: the library's own words may quote their input.
        form = "PKCS #8" if part is CKO.PRIVATE_KEY else "SubjectPublicKeyInfo"
    raise DataInvalid(f"these bytes are no unencrypted {form} key, neither DER nor PEM")


def _check_rsa_numbers(key: rsa.RSAPrivateKey) -> None:
    """Refuse a private key whose numbers contradict each other.

    Cheaper by a factor of a thousand than the library's own check, which also tests the
    primes for being prime.
    """
    n = key.private_numbers()
    p, q, d = n.p, n.q, n.d
    e = n.public_numbers.e
    sound = (
        p * q == n.public_numbers.n
        and d * e % (p - 1) == 1 == d * e % (q - 1)
        and (n.dmp1, n.dmq1) == (d % (p - 1), d % (q - 1))
        and n.iqmp * q % p == 1
    )
    if not sound:
        raise DataInvalid("the numbers of this RSA private key contradict each other")


def _private_material(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Material:
    encoded = key.private_bytes(_DER, _PKCS8, _CLEAR)
    if isinstance(key, rsa.RSAPrivateKey):
        return Material("RSA", CKO.PRIVATE_KEY, encoded, key.key_size, None, key)
    curve = find_curve(key.curve.name)
    return Material("EC", CKO.PRIVATE_KEY, encoded, curve.bits, curve.name, key)


def _public_material(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> Material:
    encoded = key.public_bytes(_DER, _SPKI)
    if isinstance(key, rsa.RSAPublicKey):
        return Material("RSA", CKO.PUBLIC_KEY, encoded, key.key_size, None, key)
    curve = find_curve(key.curve.name)
    return Material("EC", CKO.PUBLIC_KEY, encoded, curve.bits, curve.name, key)
