"""Does each operation take the mechanisms and keys that fit, and refuse all others?"""

import pytest

from pytest_hsmcluster.cryptoki import CKM, CKO, CKR
from pytest_hsmcluster.errors import MechanismInvalid, UsageError
from pytest_hsmcluster.keys import mechanisms
from pytest_hsmcluster.keys.families import giving_part, keeping_part
from pytest_hsmcluster.keys.material import generate_pair, generate_secret
from pytest_hsmcluster.keys.policy import CIPHERS, DERIVATIONS, SIGNATURES, WRAPPINGS


@pytest.fixture
def keys(rsa_key, seeded):
    """One key of each kind and part."""
    source = seeded("keys")
    secrets = [generate_secret(kind, bits, source) for kind, bits in (("AES", 256), ("DES3", 192))]
    secrets.append(generate_secret("GENERIC_SECRET", 256, source))
    return [*secrets, *rsa_key, *generate_pair("EC", "P-256", source)]


def calls(key, other, source):
    """Each operation with this key, whatever the mechanism."""
    return {
        "encrypt": lambda mechanism: mechanisms.encrypt(key, mechanism, bytes(16), None, source),
        "decrypt": lambda mechanism: mechanisms.decrypt(key, mechanism, bytes(16)),
        "sign": lambda mechanism: mechanisms.sign(key, mechanism, bytes(16), None, source),
        "verify": lambda mechanism: mechanisms.verify(key, mechanism, bytes(16), bytes(16)),
        "wrap": lambda mechanism: mechanisms.wrap(key, mechanism, other, None, source),
        "unwrap": lambda mechanism: mechanisms.unwrap(key, mechanism, bytes(16), "AES", CKO.SECRET_KEY),
        "derive": lambda mechanism: mechanisms.derive(key, mechanism, None, bits=128),
    }


def test_a_key_of_another_kind_or_half_does_not_fit(keys, system):
    """Every mechanism refuses every key of another kind, and the wrong half of a pair."""
    refused = 0
    for operation, table in (
        ("encrypt", CIPHERS),
        ("decrypt", CIPHERS),
        ("sign", SIGNATURES),
        ("verify", SIGNATURES),
        ("wrap", WRAPPINGS),
        ("unwrap", WRAPPINGS),
        ("derive", DERIVATIONS),
    ):
        part_of = giving_part if operation in ("encrypt", "verify", "wrap") else keeping_part
        for mechanism, row in table.items():
            kinds = row.kinds if operation == "derive" else (row.kind,)
            for key in keys:
                if key.kind in kinds and key.part is part_of(key.kind):
                    continue
                with pytest.raises(MechanismInvalid, match=f"{mechanism.name} cannot {operation} with <Mat") as caught:
                    calls(key, keys[0], system)[operation](mechanism)
                assert caught.value.ckr is CKR.KEY_TYPE_INCONSISTENT
                refused += 1
    assert refused > 300


@pytest.mark.parametrize("operation", mechanisms.NEEDS)
def test_a_mechanism_does_only_what_it_can(operation, keys, system):
    """A mechanism that exists but cannot do this is refused, with those that can."""
    for mechanism in CKM:
        if mechanism not in mechanisms.MECHANISMS[operation]:
            with pytest.raises(MechanismInvalid, match=rf"{mechanism.name} cannot {operation} \(possible: "):
                calls(keys[0], keys[1], system)[operation](mechanism)


@pytest.mark.parametrize("operation", mechanisms.NEEDS)
def test_an_unknown_mechanism_comes_with_the_nearest(operation, keys, system):
    """A misspelt name is answered with the nearest one, an unknown number with itself."""
    with pytest.raises(MechanismInvalid, match=r"did you mean CKM\.AES_GCM\?") as caught:
        calls(keys[0], keys[1], system)[operation]("AES_GMC")
    assert caught.value.ckr is CKR.MECHANISM_INVALID
    with pytest.raises(MechanismInvalid, match="0x00001234"):
        calls(keys[0], keys[1], system)[operation](0x1234)


@pytest.mark.parametrize("spelling", [CKM.AES_CMAC, 0x108A, "AES_CMAC", "CKM_AES_CMAC", "aes_cmac"])
def test_a_mechanism_has_many_spellings(spelling, keys, system):
    """Member, number and name, with or without prefix, mean the same mechanism."""
    signature = mechanisms.sign(keys[0], spelling, b"data", None, system)
    mechanisms.verify(keys[0], spelling, b"data", signature)

    assert signature == mechanisms.sign(keys[0], CKM.AES_CMAC, b"data", None, system)
    assert mechanisms.resolve(spelling) is CKM.AES_CMAC


def test_names_work_for_ciphers_too(keys, system):
    """Encryption and decryption by name are those by member."""
    box = mechanisms.encrypt(keys[0], "CKM_CLOUDHSM_AES_GCM", b"data", None, system)
    assert mechanisms.decrypt(keys[0], "cloudhsm_aes_gcm", box) == b"data"


@pytest.mark.parametrize(
    ("operation", "kind", "expected"),
    [
        ("encrypt", "AES", CKM.CLOUDHSM_AES_GCM),
        ("decrypt", "AES", CKM.CLOUDHSM_AES_GCM),
        ("encrypt", "RSA", CKM.RSA_PKCS_OAEP),
        ("sign", "AES", CKM.AES_CMAC),
        ("verify", "GENERIC_SECRET", CKM.SHA256_HMAC),
        ("sign", "RSA", CKM.SHA256_RSA_PKCS),
        ("verify", "EC", CKM.ECDSA_SHA256),
        ("wrap", "AES", CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD),
        ("unwrap", "RSA", CKM.RSA_AES_KEY_WRAP),
        ("derive", "EC", CKM.ECDH1_DERIVE),
        ("generate", "DES3", CKM.DES3_KEY_GEN),
    ],
)
def test_there_is_a_default_mechanism(operation, kind, expected, keys):
    """What is meant without a mechanism depends on operation and kind; inverse operations agree."""
    (key,) = (key for key in keys if key.kind == kind and key.part is keeping_part(kind))
    assert mechanisms.default_mechanism(operation, key) is expected


@pytest.mark.parametrize(
    ("curve", "name"),
    [("P-224", "SHA224"), ("P-256", "SHA256"), ("secp256k1", "SHA256"), ("P-384", "SHA384"), ("P-521", "SHA512")],
)
def test_the_default_hash_fits_the_curve(curve, name, system):
    """Larger curves sign with longer hashes, for both halves."""
    for key in generate_pair("EC", curve, system):
        assert mechanisms.default_mechanism("sign", key) is CKM[f"ECDSA_{name}"]


@pytest.mark.parametrize(("operation", "place"), [("encrypt", 1), ("encrypt", 2), ("wrap", 5), ("derive", 3)])
def test_without_a_default_the_mechanism_must_be_named(operation, place, keys):
    """DES3 has no default cipher, and a key that cannot do the operation has none either."""
    with pytest.raises(MechanismInvalid, match="name the mechanism"):
        mechanisms.default_mechanism(operation, keys[place])


def test_an_unknown_operation_is_a_mistake_of_the_test(keys):
    """An operation that does not exist is the caller's mistake, not the service's."""
    with pytest.raises(UsageError, match="no operation 'shred'"):
        mechanisms.default_mechanism("shred", keys[0])


def test_a_default_works(keys, system):
    """With their defaults, AES and RSA encrypt, sign and wrap out of the box."""
    aes, _, generic, public, private, ec_public, ec_private = keys
    for giving, keeping in ((aes, aes), (public, private)):
        mechanism = mechanisms.default_mechanism("encrypt", giving)
        box = mechanisms.encrypt(giving, mechanism, b"data", None, system)
        assert mechanisms.decrypt(keeping, mechanisms.default_mechanism("decrypt", keeping), box) == b"data"
        mechanism = mechanisms.default_mechanism("wrap", giving)
        blob = mechanisms.wrap(giving, mechanism, ec_private, None, system)
        assert mechanisms.unwrap(keeping, mechanism, blob, "EC", CKO.PRIVATE_KEY) == ec_private
    for giving, keeping in ((aes, aes), (generic, generic), (public, private), (ec_public, ec_private)):
        mechanism = mechanisms.default_mechanism("sign", keeping)
        mechanisms.verify(giving, mechanism, b"data", mechanisms.sign(keeping, mechanism, b"data", None, system))
