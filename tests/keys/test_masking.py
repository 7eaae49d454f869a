"""Does a masked object bring a key over whole, or not at all?"""

import pytest

from pytest_hsmcluster.cryptoki import CKO
from pytest_hsmcluster.errors import DataInvalid, UsageError
from pytest_hsmcluster.keys.attributes import new_attributes
from pytest_hsmcluster.keys.masking import MaskedKey, MaskingKey, mask, unmask
from pytest_hsmcluster.keys.material import generate_pair, generate_secret


def masked_key(material, **fields):
    attributes = new_attributes(
        material.kind, material.part, origin="generate", label="payroll", bits=material.bits, curve=material.curve
    )
    return MaskedKey(262144, 17, material, attributes, **{"owner": "alice", "shares": ("bob", "zoë"), **fields})


@pytest.fixture
def masking_key(system):
    return MaskingKey.random(system)


@pytest.fixture
def aes(system):
    return masked_key(generate_secret("AES", 256, system))


def test_every_kind_of_key_comes_over_whole(masking_key, rsa_key, system):
    """Key, handle, birth number, attributes, owner and shares are the same on the other side."""
    materials = [
        generate_secret("AES", 128, system),
        generate_secret("DES3", 192, system),
        generate_secret("GENERIC_SECRET", 6400, system),
        *rsa_key,
        *(
            half
            for curve in ("P-224", "P-256", "secp256k1", "P-384", "P-521")
            for half in generate_pair("EC", curve, system)
        ),
    ]
    for material in materials:
        sent = masked_key(material)
        received = unmask(masking_key, mask(masking_key, sent, system))
        assert received == sent
        assert received.material.bits == material.bits
        assert received.material.curve == material.curve
        assert received.material.fingerprint() == material.fingerprint()


@pytest.mark.parametrize("shares", [(), ("bob",), ("bob", "carol", "dave")])
@pytest.mark.parametrize("owner", ["", "alice", "Åsa"])
def test_owner_and_shares_come_over(owner, shares, masking_key, system):
    """Names of any script and number, in their order."""
    sent = masked_key(generate_secret("AES", 256, system), owner=owner, shares=shares)
    received = unmask(masking_key, mask(masking_key, sent, system))

    assert (received.owner, received.shares) == (owner, shares)


def test_large_numbers_come_over(masking_key, system):
    """Handles and birth numbers have 64 bits."""
    sent = masked_key(generate_secret("AES", 256, system))
    sent = MaskedKey(2**64 - 1, 2**64 - 2, sent.material, sent.attributes, "alice")

    assert unmask(masking_key, mask(masking_key, sent, system)) == sent


def test_one_flipped_bit_anywhere_is_refused(masking_key, aes, system):
    """Nonce, every byte of the ciphertext and the tag are protected."""
    blob = mask(masking_key, aes, system)
    for place in range(len(blob)):
        damaged = bytearray(blob)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(DataInvalid, match="the HSM refuses this masked object"):
            unmask(masking_key, bytes(damaged))


@pytest.mark.parametrize("cut", [0, 1, 11, 12, 27, 28, -1])
def test_cut_and_lengthened_objects_are_refused(cut, masking_key, aes, system):
    """A part of a masked object is none, nor is one with something behind it."""
    blob = mask(masking_key, aes, system)
    for wrong in (blob[:cut], blob + blob[: abs(cut) + 1]):
        with pytest.raises(DataInvalid):
            unmask(masking_key, wrong)


def test_a_foreign_object_is_refused(masking_key, aes, system):
    """What another cluster masked cannot be unmasked here; a clone with the same key can."""
    blob = mask(masking_key, aes, system)
    with pytest.raises(DataInvalid, match="no clone"):
        unmask(MaskingKey.random(system), blob)


def test_masking_is_different_each_time(masking_key, aes, system):
    """The nonce comes from the source: equal keys give different objects."""
    assert mask(masking_key, aes, system) != mask(masking_key, aes, system)


def test_seeded_masking_repeats(aes, seeded):
    """With a seeded source masking key and object are the same again."""
    objects = [mask(MaskingKey.random(seeded("key")), aes, seeded("nonce")) for _ in range(2)]
    assert objects[0] == objects[1]
    assert MaskingKey.random(seeded("key")) == MaskingKey.random(seeded("key"))
    assert len({MaskingKey.random(seeded("key")), MaskingKey.random(seeded("key"))}) == 1


def test_a_masked_object_shows_nothing(masking_key, aes, system):
    """Neither key, label nor owner can be seen in a masked object."""
    blob = mask(masking_key, aes, system)

    assert aes.material.encoded not in blob
    assert b"payroll" not in blob
    assert b"alice" not in blob
    assert len(blob) < 200


def test_a_copy_is_not_parsed_on_its_way(masking_key, seeded, system):
    """A private key travels as bytes: what is no key at all arrives just the same."""
    from pytest_hsmcluster.keys.material import Material

    broken = Material("EC", CKO.PRIVATE_KEY, b"never parsed", 256, "secp256r1")
    received = unmask(masking_key, mask(masking_key, masked_key(broken), system))

    assert received.material == broken


@pytest.mark.parametrize("nbytes", [0, 16, 31, 33])
def test_a_masking_key_has_32_bytes(nbytes):
    """Anything else is a mistake of the caller."""
    with pytest.raises(UsageError, match="32 bytes"):
        MaskingKey(bytes(nbytes))
