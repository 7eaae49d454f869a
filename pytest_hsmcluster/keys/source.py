"""Where does randomness come from?

This is the one door of the package through which system randomness enters.
"""

import math
import os
from collections.abc import Callable
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ..errors import UsageError
from .curves import CURVES
from .rsa_pool import TEST_PRIMES


class KeySource(Protocol):
    """Whatever makes random bytes and keys.

    `deterministic` says whether the same source in the same state makes the same
    keys; signatures that need a nonce are then made without randomness too.
    """

    @property
    def deterministic(self) -> bool: ...

    def random(self, nbytes: int) -> bytes:
        """Return `nbytes` bytes for nonces, IVs and `C_GenerateRandom`."""
        ...

    def secret(self, nbytes: int) -> bytes:
        """Return `nbytes` bytes of a new secret key."""
        ...

    def ec_private(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        """Return a new private key on `curve`."""
        ...

    def rsa_private(self, bits: int, exponent: int) -> rsa.RSAPrivateKey:
        """Return a new RSA key with a modulus of `bits` bits."""
        ...


class SystemSource:
    """The operating system's randomness: the default."""

    __slots__ = ()
    deterministic = False

    def random(self, nbytes: int) -> bytes:
        return os.urandom(nbytes)

    secret = random

    def ec_private(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(curve)

    def rsa_private(self, bits: int, exponent: int) -> rsa.RSAPrivateKey:
        made = rsa.generate_private_key(65537, bits)
        while exponent != 65537:
            # The library makes keys with 65537 only; the primes serve any exponent prime to them.
            numbers = made.private_numbers()
            if _fits(numbers.p, numbers.q, exponent):
                return _from_primes(numbers.p, numbers.q, exponent)
            made = rsa.generate_private_key(65537, bits)
        return made


class SeededSource:
    """Keys that are the same for the same stream of bytes.

    Reproducible: AES, DES3 and GENERIC_SECRET bytes, IVs, EC keys, and ECDSA signatures
    (RFC 6979). RSA keys come from a fixed pool of public test keys, in a seeded order:
    the first keys of a size differ from each other, then the pool starts again.
    Not reproducible: PSS salts, OAEP seeds and PKCS#1 v1.5 encryption padding, which
    the library draws itself.

    Args:
        stream: called with n, returns the next n bytes of one deterministic stream.
    """

    __slots__ = ("_next_rsa", "_stream")
    deterministic = True

    def __init__(self, stream: Callable[[int], bytes]) -> None:
        self._stream = stream
        self._next_rsa: dict[int, int] = {}

    def random(self, nbytes: int) -> bytes:
        return self._stream(nbytes)

    secret = random

    def ec_private(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        # FIPS 186-5, A.2.1: 64 bits more than the order make the bias of the remainder vanish.
        order = CURVES[curve.name].order
        drawn = int.from_bytes(self._stream((order.bit_length() + 7) // 8 + 8), "big")
        return ec.derive_private_key(drawn % (order - 1) + 1, curve)

    def rsa_private(self, bits: int, exponent: int) -> rsa.RSAPrivateKey:
        """Return the next test key of this size.

        Raises:
            UsageError: the pool has no key of this size, or none fits the exponent.
        """
        pool = [primes for primes in TEST_PRIMES.get(bits, ()) if _fits(*primes, exponent)]
        if not pool:
            sizes = ", ".join(f"{len(keys)} of {size} bits" for size, keys in TEST_PRIMES.items())
            raise UsageError(
                f'with keys="seeded" an RSA key comes from a fixed pool of test keys ({sizes}); '
                f"none has {bits} bits and takes exponent {exponent}. Ask for one of these sizes "
                'with exponent 65537, or use keys="random"'
            )
        if bits not in self._next_rsa:
            self._next_rsa[bits] = self._stream(1)[0]
        primes = pool[self._next_rsa[bits] % len(pool)]
        self._next_rsa[bits] += 1
        return _from_primes(*primes, exponent)


def _fits(p: int, q: int, exponent: int) -> bool:
    return math.gcd(exponent, (p - 1) * (q - 1)) == 1


def _from_primes(p: int, q: int, exponent: int) -> rsa.RSAPrivateKey:
    d = pow(exponent, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(exponent, p * q),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)
