"""Do wrapped keys have the standards' form, and come back or are refused?"""

import pytest

from pytest_hsmcluster.cryptoki import CKM, CKO, CKR
from pytest_hsmcluster.errors import DataInvalid, KeyUnextractable, MechanismInvalid, TemplateInvalid
from pytest_hsmcluster.keys.material import generate_pair, generate_secret
from pytest_hsmcluster.keys.mechanisms import (
    GcmParams,
    IvParams,
    OaepParams,
    RsaAesParams,
    decrypt,
    unwrap,
    wrap,
)
from pytest_hsmcluster.keys.wrapping import WRAPPINGS

AES_WRAPS = [mechanism for mechanism, row in WRAPPINGS.items() if row.kind == "AES"]
RSA_WRAPS = [mechanism for mechanism, row in WRAPPINGS.items() if row.kind == "RSA"]
KEY_WRAPS = [mechanism for mechanism in AES_WRAPS if "GCM" not in mechanism.name]


@pytest.fixture
def kek(secret):
    return secret("AES", bytes(range(32)))


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_no_pad_is_rfc_3394(bits, records, secret, system):
    """Without padding, NIST's KW vectors wrap and unwrap."""
    seen = {"AE": 0, "AD": 0, "FAIL": 0}
    for direction in ("AE", "AD"):
        for record in records(f"keywrap/kwtestvectors/KW_{direction}_{bits}.txt"):
            if "K" not in record or "COUNT" not in record:
                continue
            key, blob = secret("AES", record["K"]), bytes.fromhex(record["C"])
            if "FAIL" in record:
                with pytest.raises(DataInvalid) as caught:
                    WRAPPINGS[CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD].unwrap(key, blob, None)
                assert caught.value.ckr is CKR.WRAPPED_KEY_INVALID
                seen["FAIL"] += 1
                continue
            target = secret("GENERIC_SECRET", record["P"])
            assert wrap(key, CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD, target, None, system) == blob
            assert WRAPPINGS[CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD].unwrap(key, blob, None) == target.encoded
            seen[direction] += 1
    assert min(seen.values()) >= 50


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_zero_pad_is_rfc_5649(bits, records, secret, system):
    """With zero padding, NIST's KWP vectors wrap and unwrap."""
    seen = {"AE": 0, "AD": 0, "FAIL": 0}
    for direction in ("AE", "AD"):
        for record in records(f"keywrap/kwtestvectors/KWP_{direction}_{bits}.txt"):
            if "K" not in record or "COUNT" not in record:
                continue
            key, blob = secret("AES", record["K"]), bytes.fromhex(record["C"])
            if "FAIL" in record:
                with pytest.raises(DataInvalid) as caught:
                    WRAPPINGS[CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD].unwrap(key, blob, None)
                assert caught.value.ckr is CKR.WRAPPED_KEY_INVALID
                seen["FAIL"] += 1
                continue
            target = secret("GENERIC_SECRET", record["P"])
            assert wrap(key, CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, target, None, system) == blob
            assert WRAPPINGS[CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD].unwrap(key, blob, None) == target.encoded
            seen[direction] += 1
    assert min(seen.values()) >= 50


def test_pkcs5_pad_adds_eight_bytes_to_a_whole_key(kek, secret, system):
    """PKCS #5 padding before RFC 3394: a block-aligned key grows by 8 bytes of 08."""
    target = secret("AES", bytes(range(16)))
    blob = wrap(kek, CKM.CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, target, None, system)

    assert len(blob) == 16 + 8 + 8
    padded = unwrap(kek, CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD, blob, "GENERIC_SECRET", CKO.SECRET_KEY)
    assert padded.encoded == target.encoded + b"\x08" * 8


@pytest.mark.parametrize("mechanism", [CKM.AES_KEY_WRAP, CKM.AES_KEY_WRAP_PAD])
def test_sdk_3s_wraps_pad_as_pkcs5(mechanism, kek, secret, system):
    """SDK 3's AES_KEY_WRAP pads against the standard, as is documented."""
    target = secret("AES", bytes(range(16)))

    assert wrap(kek, mechanism, target, None, system) == wrap(
        kek, CKM.CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, target, None, system
    )


def test_pkcs5_pad_refuses_what_has_no_padding(kek, secret, system):
    """A key that was wrapped without padding is refused where padding is expected."""
    blob = wrap(kek, CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD, secret("AES", bytes(16)), None, system)
    with pytest.raises(DataInvalid) as caught:
        unwrap(kek, CKM.CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, blob, "AES", CKO.SECRET_KEY)
    assert caught.value.ckr is CKR.WRAPPED_KEY_INVALID


@pytest.mark.parametrize("mechanism", AES_WRAPS)
def test_aes_wraps_bring_every_kind_back(mechanism, kek, seeded, system):
    """Every kind of key that fits comes back as it was, private keys as PKCS #8."""
    targets = [
        generate_secret("AES", 256, system),
        generate_secret("DES3", 192, system),
        generate_secret("GENERIC_SECRET", 6400, system),
        generate_pair("EC", "P-384", system)[1],
        generate_pair("RSA", 2048, seeded("a"))[1],
    ]
    for target in targets:
        if "NO_PAD" in mechanism.name and len(target.encoded) % 8:
            with pytest.raises(DataInvalid, match="use the zero-padded wrap") as caught:
                wrap(kek, mechanism, target, None, system)
            assert caught.value.ckr is CKR.KEY_SIZE_RANGE
            continue
        blob = wrap(kek, mechanism, target, None, system)
        assert unwrap(kek, mechanism, blob, target.kind, target.part) == target
        assert target.encoded not in blob


@pytest.mark.parametrize("mechanism", [CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD, CKM.CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD])
def test_rfc_3394_cannot_carry_very_short_keys(mechanism, kek, secret, system):
    """Fewer than 16 bytes do not fit RFC 3394; the zero-padded wrap takes a single byte."""
    with pytest.raises(DataInvalid, match="use the zero-padded wrap") as caught:
        wrap(kek, mechanism, secret("GENERIC_SECRET", b"\x01"), None, system)
    assert caught.value.ckr is CKR.KEY_SIZE_RANGE


def test_gcm_wraps_decrypt_to_the_key(kek, secret, system):
    """A key under AES-GCM is an ordinary box: IV, ciphertext and tag over the key's bytes."""
    target = secret("AES", bytes(range(16)))
    blob = wrap(kek, CKM.CLOUDHSM_AES_GCM, target, GcmParams(b"aad"), system)

    assert len(blob) == 12 + 16 + 16
    assert decrypt(kek, CKM.CLOUDHSM_AES_GCM, blob, GcmParams(b"aad")) == target.encoded
    with pytest.raises(DataInvalid):
        unwrap(kek, CKM.CLOUDHSM_AES_GCM, blob, "AES", CKO.SECRET_KEY)


@pytest.mark.parametrize("mechanism", RSA_WRAPS)
def test_rsa_wraps_bring_secrets_back(mechanism, rsa_key, system):
    """A secret goes out under the public and comes back under the private half."""
    public, private = rsa_key
    for target in (generate_secret("AES", 256, system), generate_secret("DES3", 192, system)):
        blob = wrap(public, mechanism, target, None, system)
        assert unwrap(private, mechanism, blob, target.kind, target.part) == target


@pytest.mark.parametrize(("mechanism", "most"), [(CKM.RSA_PKCS, 245), (CKM.RSA_PKCS_OAEP, 190)])
def test_rsa_carries_what_fits_its_block(mechanism, most, rsa_key, secret, system):
    """A private key is too long for one RSA block; the answer names the mechanism that carries it."""
    public, private = rsa_key
    wrap(public, mechanism, secret("GENERIC_SECRET", bytes(most)), None, system)
    for target in (private, secret("GENERIC_SECRET", bytes(most + 1))):
        with pytest.raises(DataInvalid, match=f"at most {most} bytes; use RSA_AES_KEY_WRAP") as caught:
            wrap(public, mechanism, target, None, system)
        assert caught.value.ckr is CKR.KEY_SIZE_RANGE


@pytest.mark.parametrize("aes_bits", [128, 192, 256])
def test_rsa_aes_key_wrap_has_two_parts(aes_bits, rsa_key, seeded, system):
    """A private key goes under a one-time AES key, which goes before it under OAEP."""
    public, private = rsa_key
    params = RsaAesParams(aes_bits, OaepParams("SHA1"))
    target = generate_pair("RSA", 2048, seeded("b"))[1]
    blob = wrap(public, CKM.RSA_AES_KEY_WRAP, target, params, system)

    once = unwrap(private, CKM.RSA_PKCS_OAEP, blob[:256], "AES", CKO.SECRET_KEY, OaepParams("SHA1"))
    assert once.bits == aes_bits
    assert unwrap(once, CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, blob[256:], "RSA", CKO.PRIVATE_KEY) == target
    assert unwrap(private, CKM.RSA_AES_KEY_WRAP, blob, "RSA", CKO.PRIVATE_KEY, params) == target
    other = RsaAesParams(128 if aes_bits == 256 else 256, OaepParams("SHA1"))
    with pytest.raises(DataInvalid) as caught:
        unwrap(private, CKM.RSA_AES_KEY_WRAP, blob, "RSA", CKO.PRIVATE_KEY, other)
    assert caught.value.ckr is CKR.WRAPPED_KEY_INVALID


@pytest.mark.parametrize("mechanism", [*AES_WRAPS, CKM.RSA_PKCS_OAEP, CKM.RSA_AES_KEY_WRAP])
def test_damaged_blobs_are_refused(mechanism, kek, rsa_key, secret, system):
    """One flipped bit anywhere, and the wrapped key is refused."""
    wrapping, unwrapping = (kek, kek) if mechanism in AES_WRAPS else rsa_key
    blob = wrap(wrapping, mechanism, secret("AES", bytes(16)), None, system)
    for place in range(0, len(blob), 7):
        damaged = bytearray(blob)
        damaged[place] ^= 0x10
        with pytest.raises(DataInvalid, match="refuses this wrapped key") as caught:
            unwrap(unwrapping, mechanism, bytes(damaged), "AES", CKO.SECRET_KEY)
        assert caught.value.ckr is CKR.WRAPPED_KEY_INVALID


@pytest.mark.parametrize("mechanism", WRAPPINGS)
def test_blobs_of_impossible_length_are_refused(mechanism, kek, rsa_key):
    """Nothing, a few bytes, or an odd length cannot be a wrapped key."""
    unwrapping = kek if mechanism in AES_WRAPS else rsa_key[1]
    for blob in (b"", bytes(15)):
        with pytest.raises(DataInvalid) as caught:
            unwrap(unwrapping, mechanism, blob, "AES", CKO.SECRET_KEY)
        assert caught.value.ckr is CKR.WRAPPED_KEY_LEN_RANGE


def test_another_rsa_key_does_not_unwrap(rsa_key, seeded, system):
    """PKCS #1 v1.5 under another key gives an error or bytes that are no such key."""
    mechanism, source = CKM.RSA_PKCS, seeded("any")
    other = next(key for _, key in (generate_pair("RSA", 2048, source) for _ in range(4)) if key != rsa_key[1])
    blob = wrap(rsa_key[0], mechanism, generate_pair("EC", "P-256", system)[1], None, system)
    with pytest.raises(DataInvalid):
        unwrap(other, mechanism, blob, "EC", CKO.PRIVATE_KEY)
    with pytest.raises(DataInvalid, match="RSA_PKCS refuses this wrapped key"):
        unwrap(other, mechanism, b"\xff" * 256, "EC", CKO.PRIVATE_KEY)


@pytest.mark.parametrize("mechanism", WRAPPINGS)
def test_wrong_parameters_are_refused(mechanism, kek, rsa_key, secret, system):
    """A foreign parameter is refused when wrapping and when unwrapping."""
    wrapping, unwrapping = (kek, kek) if mechanism in AES_WRAPS else rsa_key
    size = 256 + 24 if mechanism is CKM.RSA_AES_KEY_WRAP else 256
    for attempt in (
        lambda: wrap(wrapping, mechanism, secret("AES", bytes(16)), IvParams(b""), system),
        lambda: unwrap(unwrapping, mechanism, bytes(size), "AES", CKO.SECRET_KEY, IvParams(b"")),
    ):
        with pytest.raises(MechanismInvalid) as caught:
            attempt()
        assert caught.value.ckr is CKR.MECHANISM_PARAM_INVALID


def test_the_one_time_key_is_an_aes_key(rsa_key, secret, system):
    """RSA_AES_KEY_WRAP takes an AES key size only."""
    with pytest.raises(MechanismInvalid, match="128, 192 or 256 bits, not 64"):
        wrap(rsa_key[0], CKM.RSA_AES_KEY_WRAP, secret("AES", bytes(16)), RsaAesParams(64), system)


@pytest.mark.parametrize("mechanism", WRAPPINGS)
def test_public_keys_are_not_wrapped(mechanism, kek, rsa_key, system):
    """A public key is read, not wrapped, and imported, not unwrapped."""
    wrapping, unwrapping = (kek, kek) if mechanism in AES_WRAPS else rsa_key
    with pytest.raises(KeyUnextractable) as caught:
        wrap(wrapping, mechanism, rsa_key[0], None, system)
    assert caught.value.ckr is CKR.KEY_NOT_WRAPPABLE
    with pytest.raises(TemplateInvalid, match="imported, not unwrapped"):
        unwrap(unwrapping, mechanism, bytes(256), "RSA", CKO.PUBLIC_KEY)


def test_what_comes_out_must_be_the_kind_that_was_asked_for(kek, secret, system):
    """An AES key of 16 bytes is no DES3 key, no EC key, and too long for a short generic secret."""
    blob = wrap(kek, CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, secret("AES", bytes(16)), None, system)
    with pytest.raises(TemplateInvalid, match="DES3"):
        unwrap(kek, CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, blob, "DES3", CKO.SECRET_KEY)
    with pytest.raises(DataInvalid, match="no unencrypted PKCS #8"):
        unwrap(kek, CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, blob, "EC", CKO.PRIVATE_KEY)
    with pytest.raises(TemplateInvalid, match="1 to 8 whole bytes"):
        unwrap(
            kek,
            CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD,
            blob,
            "GENERIC_SECRET",
            CKO.SECRET_KEY,
            max_generic_bytes=8,
        )
