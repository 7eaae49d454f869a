"""Is a key what it says it is?"""

import copy
import pickle

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pytest_hsmcluster.cryptoki import CKO, CKR
from pytest_hsmcluster.errors import DataInvalid, TemplateInvalid, UsageError
from pytest_hsmcluster.keys.material import Material, generate_pair, generate_secret, import_material

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
CLEAR = serialization.NoEncryption()


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("AES", 128), ("AES", 192), ("AES", 256), ("DES3", 192), ("GENERIC_SECRET", 8), ("GENERIC_SECRET", 6400)],
)
def test_a_secret_has_its_size(kind, bits, system):
    """A generated secret is as long as it was asked for, and knows it."""
    key = generate_secret(kind, bits, system)

    assert (key.kind, key.part, key.bits, len(key.encoded) * 8) == (kind, CKO.SECRET_KEY, bits, bits)
    assert key.native == key.encoded


@pytest.mark.parametrize("bits", ["256", 256.0, True, None])
def test_a_size_is_a_number(bits, system):
    """Else the call is written wrongly."""
    with pytest.raises(UsageError, match="bits is a whole number"):
        generate_secret("AES", bits, system)


@pytest.mark.parametrize(
    ("kind", "bits", "ckr"),
    [
        ("AES", 64, CKR.KEY_SIZE_RANGE),
        ("AES", 0, CKR.KEY_SIZE_RANGE),
        ("DES3", 128, CKR.KEY_SIZE_RANGE),
        ("GENERIC_SECRET", 0, CKR.KEY_SIZE_RANGE),
        ("GENERIC_SECRET", 12, CKR.KEY_SIZE_RANGE),
        ("GENERIC_SECRET", 6408, CKR.KEY_SIZE_RANGE),
        ("RSA", 2048, CKR.TEMPLATE_INCONSISTENT),
        ("aes", 256, CKR.TEMPLATE_INCONSISTENT),
    ],
)
def test_other_secrets_are_refused(kind, bits, ckr, system):
    """A kind or size outside the service's list is refused, and the list is named."""
    with pytest.raises(TemplateInvalid) as caught:
        generate_secret(kind, bits, system)

    assert caught.value.ckr is ckr


def test_sdk_3_has_shorter_generic_secrets(system):
    """A generic secret has up to 800 bytes with SDK 5 and 64 with SDK 3."""
    generate_secret("GENERIC_SECRET", 64 * 8, system, max_generic_bytes=64)
    with pytest.raises(TemplateInvalid, match="1 to 64 whole bytes"):
        generate_secret("GENERIC_SECRET", 65 * 8, system, max_generic_bytes=64)
    with pytest.raises(TemplateInvalid, match="1 to 64 whole bytes"):
        import_material("GENERIC_SECRET", CKO.SECRET_KEY, bytes(65), max_generic_bytes=64)


def test_a_misspelt_kind_comes_with_the_nearest(system):
    """A typing mistake is answered with the kind that was probably meant."""
    with pytest.raises(TemplateInvalid, match="did you mean AES"):
        generate_secret("AESS", 256, system)
    with pytest.raises(TemplateInvalid, match=r"allowed: RSA, EC\)"):
        generate_pair("DSA", 2048, system)
    with pytest.raises(TemplateInvalid, match=r"'Quux' is no kind of secret key \(allowed"):
        generate_secret("Quux", 256, system)


@pytest.mark.parametrize("curve", ["P-224", "P-256", "secp256k1", "P-384", "P-521"])
def test_an_ec_pair_belongs_together(curve, system):
    """Both halves know their curve, and the private half gives the public one."""
    public, private = generate_pair("EC", curve, system)

    assert (public.part, private.part) == (CKO.PUBLIC_KEY, CKO.PRIVATE_KEY)
    assert public.curve == private.curve
    assert private.public() == public
    assert isinstance(private.native, ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize("bits", [2048, 2304])
def test_an_rsa_pair_belongs_together(bits, system):
    """A real RSA key is made, of any size in the list, and the private half gives the public one."""
    public, private = generate_pair("RSA", bits, system)

    assert private.public() == public
    assert public.bits == private.bits == private.native.key_size == bits
    assert private.native.private_numbers().public_numbers.e == 65537


@pytest.mark.parametrize(
    ("kind", "size", "exponent", "ckr"),
    [
        ("RSA", 1024, 65537, CKR.KEY_SIZE_RANGE),
        ("RSA", 2049, 65537, CKR.KEY_SIZE_RANGE),
        ("RSA", 4352, 65537, CKR.KEY_SIZE_RANGE),
        ("RSA", "2048", 65537, CKR.KEY_SIZE_RANGE),
        ("RSA", 2048, 3, CKR.ATTRIBUTE_VALUE_INVALID),
        ("RSA", 2048, 65538, CKR.ATTRIBUTE_VALUE_INVALID),
        ("EC", 256, 65537, CKR.ATTRIBUTE_VALUE_INVALID),
        ("EC", "P-192", 65537, CKR.ATTRIBUTE_VALUE_INVALID),
        ("AES", 256, 65537, CKR.TEMPLATE_INCONSISTENT),
    ],
)
def test_other_pairs_are_refused(kind, size, exponent, ckr, system):
    """A kind, size, curve or exponent outside the service's list is refused."""
    with pytest.raises(TemplateInvalid) as caught:
        generate_pair(kind, size, system, exponent)

    assert caught.value.ckr is ckr


def test_material_never_changes(system):
    """No attribute of a key can be set or deleted, and a copy is the key itself."""
    key = generate_secret("AES", 128, system)

    with pytest.raises(AttributeError, match="never changes"):
        key.encoded = bytes(16)
    with pytest.raises(AttributeError, match="never changes"):
        del key.encoded
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key


def test_material_is_not_pickled(system):
    """A pickle would hold the key in the clear, so there is none."""
    with pytest.raises(TypeError, match="mask it instead"):
        pickle.dumps(generate_secret("AES", 128, system))


def test_equal_bytes_are_equal_material(system):
    """The same bytes imported twice are the same material; as another kind they are not."""
    raw = system.random(32)
    first, again = (import_material("AES", CKO.SECRET_KEY, raw) for _ in range(2))
    other = import_material("GENERIC_SECRET", CKO.SECRET_KEY, raw)

    assert first == again
    assert hash(first) == hash(again)
    assert first.fingerprint() == again.fingerprint() == again.fingerprint()
    assert first != other
    assert first.fingerprint() != other.fingerprint()
    assert first != raw


def test_fingerprints_tell_halves_apart_and_hide_secrets(system):
    """The two halves of a pair differ, and a fingerprint holds no byte of the secret."""
    public, private = generate_pair("EC", "P-256", system)
    secret = generate_secret("AES", 256, system)

    assert public.fingerprint() != private.fingerprint()
    assert secret.encoded[:8] not in secret.fingerprint()
    assert len(secret.fingerprint()) == 32


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("AES", "00" * 16, "66e94b"),
        ("AES", "00" * 24, "aae069"),
        ("AES", "00" * 32, "dc95c0"),
        ("DES3", "00" * 24, "8ca64d"),
    ],
)
def test_check_values_of_zero_keys_are_the_well_known_ones(kind, raw, expected, secret):
    """A symmetric key's check value is the start of an encrypted zero block."""
    assert secret(kind, raw).check_value().hex() == expected


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_check_values_are_published_encryptions_of_zero(bits, records, secret):
    """NIST's KeySbox and VarKey vectors encrypt a zero block under many keys: each starts with the check value."""
    seen = 0
    for name in ("KeySbox", "VarKey"):
        for record in records(f"ciphers/AES/ECB/ECB{name}{bits}.rsp"):
            if record.get("section") == "ENCRYPT":
                assert not int(record["PLAINTEXT"], 16)
                assert secret("AES", record["KEY"]).check_value().hex() == record["CIPHERTEXT"][:6]
                seen += 1
    assert seen > 100


def test_check_values_of_des3_are_published_encryptions_of_zero(records, secret):
    """NIST's variable-key vectors for triple DES encrypt a zero block, too."""
    seen = 0
    for record in records("ciphers/3DES/ECB/TECBvarkey.rsp"):
        if record.get("section") == "ENCRYPT" and "KEYs" in record:
            assert not int(record["PLAINTEXT"], 16)
            assert secret("DES3", record["KEYs"] * 3).check_value().hex() == record["CIPHERTEXT"][:6]
            seen += 1
    assert seen > 50


def test_check_values_of_pairs_are_those_of_the_public_key(system):
    """Both halves of a pair have the start of SHA-1 over the public key; HMAC keys have none."""
    import hashlib

    public, private = generate_pair("EC", "P-256", system)

    assert public.check_value() == private.check_value() == hashlib.sha1(public.encoded).digest()[:3]
    assert generate_secret("GENERIC_SECRET", 128, system).check_value() is None


def test_only_private_keys_have_a_public_half(system):
    """A secret key has no public half to give."""
    with pytest.raises(TemplateInvalid, match="no public half"):
        generate_secret("AES", 128, system).public()


@pytest.mark.parametrize("encoding", [DER, PEM])
@pytest.mark.parametrize(("kind", "size"), [("EC", "P-384"), ("RSA", 2048)])
def test_pairs_come_in_as_der_and_pem(kind, size, encoding, seeded):
    """A pair made elsewhere comes in as PKCS #8 and SubjectPublicKeyInfo, binary or text."""
    public, private = generate_pair(kind, size, seeded("a"))
    raw_private = private.native.private_bytes(encoding, PKCS8, CLEAR)
    raw_public = public.native.public_bytes(encoding, SPKI)

    assert import_material(kind, CKO.PRIVATE_KEY, raw_private) == private
    assert import_material(kind, CKO.PUBLIC_KEY, raw_public) == public


def test_other_encodings_of_a_key_are_the_same_material(seeded):
    """A key that comes in the older format is the same key: twin imports are recognised."""
    _, private = generate_pair("EC", "P-256", seeded("a"))
    older = private.native.private_bytes(DER, TRADITIONAL, CLEAR)

    assert older != private.encoded
    assert import_material("EC", CKO.PRIVATE_KEY, older).fingerprint() == private.fingerprint()


def test_a_copy_parses_late(seeded):
    """A key that arrives as bytes is parsed when it is used, not before."""
    _, private = generate_pair("EC", "P-256", seeded("a"))
    broken = Material("EC", CKO.PRIVATE_KEY, b"no key at all", 256, "secp256r1")
    clone = Material("EC", CKO.PRIVATE_KEY, private.encoded, 256, "secp256r1")

    assert broken.fingerprint()
    assert clone.native.private_numbers() == private.native.private_numbers()
    assert clone.native is clone.native
    with pytest.raises(ValueError, match="deserialize"):
        _ = broken.native


@pytest.mark.parametrize(
    ("kind", "part", "raw"),
    [
        ("RSA", CKO.PRIVATE_KEY, b"no key at all"),
        ("EC", CKO.PUBLIC_KEY, b""),
        ("EC", CKO.PRIVATE_KEY, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("EC", CKO.PUBLIC_KEY, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
    ],
)
def test_bytes_that_are_no_key_are_refused(kind, part, raw):
    """Garbage is refused, not stored."""
    with pytest.raises(DataInvalid, match="no unencrypted"):
        import_material(kind, part, raw)


def test_keys_that_are_something_else_are_refused(seeded):
    """A key of another kind, another half, a password or another algorithm is refused."""
    public, private = generate_pair("EC", "P-256", seeded("a"))
    locked = private.native.private_bytes(DER, PKCS8, serialization.BestAvailableEncryption(b"password"))
    edwards = ed25519.Ed25519PrivateKey.generate().private_bytes(DER, PKCS8, CLEAR)

    with pytest.raises(DataInvalid, match="no RSA private key"):
        import_material("RSA", CKO.PRIVATE_KEY, private.encoded)
    with pytest.raises(DataInvalid, match="no unencrypted"):
        import_material("EC", CKO.PRIVATE_KEY, public.encoded)
    with pytest.raises(DataInvalid, match="no unencrypted"):
        import_material("EC", CKO.PRIVATE_KEY, locked)
    with pytest.raises(DataInvalid, match="no EC private key"):
        import_material("EC", CKO.PRIVATE_KEY, edwards)


def test_keys_of_other_sizes_are_not_imported():
    """Sizes and curves outside the list are refused at import, too."""
    small = rsa.generate_private_key(65537, 1024)
    odd = ec.generate_private_key(ec.BrainpoolP256R1())

    with pytest.raises(TemplateInvalid) as caught:
        import_material("RSA", CKO.PRIVATE_KEY, small.private_bytes(DER, PKCS8, CLEAR))
    assert caught.value.ckr is CKR.KEY_SIZE_RANGE
    with pytest.raises(TemplateInvalid) as caught:
        import_material("RSA", CKO.PUBLIC_KEY, small.public_key().public_bytes(DER, SPKI))
    assert caught.value.ckr is CKR.KEY_SIZE_RANGE
    with pytest.raises(TemplateInvalid) as caught:
        import_material("EC", CKO.PRIVATE_KEY, odd.private_bytes(DER, PKCS8, CLEAR))
    assert caught.value.hsm_code == 0xB3
    with pytest.raises(TemplateInvalid):
        import_material("AES", CKO.SECRET_KEY, bytes(15))
    with pytest.raises(TemplateInvalid, match="key pair's half"):
        import_material("AES", CKO.PRIVATE_KEY, bytes(16))
    with pytest.raises(TemplateInvalid):
        import_material("EC", CKO.SECRET_KEY, bytes(16))


def test_an_rsa_key_that_contradicts_itself_is_refused(seeded):
    """A private key whose parts do not belong together is refused at import."""
    numbers = generate_pair("RSA", 2048, seeded("a"))[1].native.private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        numbers.p,
        numbers.q,
        numbers.d + 2,
        numbers.dmp1,
        numbers.dmq1,
        numbers.iqmp,
        numbers.public_numbers,
    ).private_key(unsafe_skip_rsa_key_validation=True)

    with pytest.raises(DataInvalid, match="contradict each other"):
        import_material("RSA", CKO.PRIVATE_KEY, wrong.private_bytes(DER, PKCS8, CLEAR))


def test_des3_parity_is_not_enforced(secret):
    """A DES3 key with even parity comes in as it is."""
    assert import_material("DES3", CKO.SECRET_KEY, bytes(24)) == secret("DES3", bytes(24))
