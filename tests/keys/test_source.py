"""Are seeded keys reproducible, and random ones not?"""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pytest_hsmcluster.cryptoki import CKM
from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.keys.curves import CURVES
from pytest_hsmcluster.keys.material import generate_pair, generate_secret
from pytest_hsmcluster.keys.mechanisms import encrypt, sign, verify
from pytest_hsmcluster.keys.rsa_pool import TEST_PRIMES


@pytest.mark.parametrize(("kind", "bits"), [("AES", 256), ("DES3", 192), ("GENERIC_SECRET", 6400)])
def test_seeded_secrets_repeat(kind, bits, seeded):
    """The same seed makes the same secret, another seed another."""
    assert generate_secret(kind, bits, seeded("a")) == generate_secret(kind, bits, seeded("a"))
    assert generate_secret(kind, bits, seeded("a")) != generate_secret(kind, bits, seeded("b"))


@pytest.mark.parametrize("curve", CURVES)
def test_seeded_pairs_and_signatures_repeat(curve, seeded):
    """The same seed makes the same EC pair and, by RFC 6979, the same signature."""
    first = generate_pair("EC", curve, seeded("a"))
    again = generate_pair("EC", curve, seeded("a"))

    assert first == again
    assert first != generate_pair("EC", curve, seeded("b"))
    for mechanism, data in ((CKM.ECDSA_SHA256, b"text"), (CKM.ECDSA, bytes(31)), (CKM.ECDSA, bytes(range(48)))):
        signatures = [sign(private, mechanism, data, None, seeded("c")) for _, private in (first, again)]
        assert signatures[0] == signatures[1]
        verify(first[0], mechanism, data, signatures[0])


def test_seeded_ivs_repeat(seeded):
    """The IV of AES-GCM comes from the source: the same seed, the same ciphertext."""
    key = generate_secret("AES", 128, seeded("key"))
    boxes = [encrypt(key, CKM.AES_GCM, b"text", None, seeded("iv")) for _ in range(2)]

    assert boxes[0] == boxes[1]


def test_the_scalar_is_within_the_order(seeded):
    """Even a stream of zeros or ones gives a private key from 1 to the order less one."""
    from pytest_hsmcluster.keys.source import SeededSource

    for curve in CURVES.values():
        for byte in (b"\x00", b"\xff"):
            source = SeededSource(lambda nbytes, byte=byte: byte * nbytes)
            scalar = source.ec_private(curve.native).private_numbers().private_value
            assert 1 <= scalar < curve.order


@pytest.mark.parametrize("bits", TEST_PRIMES)
def test_seeded_rsa_pairs_come_from_the_pool_in_order(bits, seeded):
    """A seeded source goes through all test keys of a size before one comes again."""
    source = seeded("a")
    made = [generate_pair("RSA", bits, source)[1] for _ in range(len(TEST_PRIMES[bits]) + 1)]

    assert len({key.fingerprint() for key in made[:-1]}) == len(made) - 1
    assert made[-1] == made[0]
    assert made[0] == generate_pair("RSA", bits, seeded("a"))[1]
    assert made[0].bits == bits


def test_the_pool_serves_other_exponents(seeded):
    """A test key's primes take the exponent that was asked for."""
    public, private = generate_pair("RSA", 2048, seeded("a"), 65539)

    assert public.native.public_numbers().e == 65539
    verify(public, CKM.SHA256_RSA_PKCS, b"text", sign(private, CKM.SHA256_RSA_PKCS, b"text", None, seeded("a")))


def test_a_size_outside_the_pool_is_refused_honestly(seeded):
    """Without a test key of this size the seeded source says so and names what it has."""
    with pytest.raises(UsageError, match=r'keys="seeded".*4 of 2048 bits, 2 of 3072 bits, 2 of 4096 bits'):
        generate_pair("RSA", 2304, seeded("a"))


def test_system_keys_differ(system):
    """The default source is the operating system: no two keys are equal."""
    assert generate_secret("AES", 256, system) != generate_secret("AES", 256, system)
    assert system.ec_private(ec.SECP256R1()).private_numbers() != system.ec_private(ec.SECP256R1()).private_numbers()
    assert not system.deterministic


def test_system_rsa_takes_any_allowed_exponent(system):
    """An exponent that the library cannot generate with is served all the same."""
    public, private = generate_pair("RSA", 2048, system, 3 * 65539)

    assert public.native.public_numbers().e == 3 * 65539
    verify(public, CKM.SHA256_RSA_PKCS, b"text", sign(private, CKM.SHA256_RSA_PKCS, b"text", None, system))
