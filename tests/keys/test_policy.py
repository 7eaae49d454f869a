"""Does the cluster's policy forbid what it should, and nothing else?"""

import pytest

from pytest_hsmcluster.cryptoki import CKA, CKM, CKR
from pytest_hsmcluster.errors import DataInvalid, MechanismInvalid, TemplateInvalid, UsageError
from pytest_hsmcluster.keys.policy import MECHANISMS, NEEDS, check_policy, max_bytes

POLICY = "HSM Error: This operation violates the current configured/FIPS policies"


def test_uses_need_their_attribute():
    """Each use of a key needs the attribute of its name."""
    assert {operation: key.name.lower() for operation, key in NEEDS.items()} == {name: name for name in NEEDS}
    assert NEEDS["unwrap"] is CKA.UNWRAP


@pytest.mark.parametrize(
    ("operation", "mechanism"),
    [("encrypt", CKM.DES3_CBC), ("decrypt", CKM.DES3_CBC_PAD), ("sign", None), ("wrap", "AES_GCM")],
)
def test_fips_mode_forbids_the_use_of_des3(operation, mechanism):
    """Triple DES is disallowed in FIPS mode and works outside it."""
    with pytest.raises(MechanismInvalid, match=POLICY) as caught:
        check_policy(operation, mechanism, "DES3", True)
    assert caught.value.hsm_code == 0xB3
    check_policy(operation, mechanism, "DES3", False)


@pytest.mark.parametrize(("operation", "mechanism"), [("generate", CKM.DES3_KEY_GEN), ("import", None)])
def test_fips_mode_forbids_the_making_of_des3(operation, mechanism):
    """In FIPS mode no triple DES key is made or brought in."""
    with pytest.raises(TemplateInvalid, match=POLICY) as caught:
        check_policy(operation, mechanism, "DES3", True)
    assert caught.value.hsm_code == 0xB3
    check_policy(operation, mechanism, "DES3", False)


@pytest.mark.parametrize("operation", ["encrypt", "decrypt", "wrap", "unwrap"])
def test_fips_mode_forbids_pkcs1_padding(operation):
    """PKCS #1 v1.5 padding is disallowed in FIPS mode for encryption and wrapping."""
    with pytest.raises(MechanismInvalid, match="use RSA_PKCS_OAEP") as caught:
        check_policy(operation, CKM.RSA_PKCS, "RSA", True)
    assert caught.value.hsm_code == 0xB3
    check_policy(operation, CKM.RSA_PKCS, "RSA", False)
    check_policy(operation, CKM.RSA_PKCS_OAEP, "RSA", True)


def test_fips_mode_allows_the_rest():
    """Signatures with PKCS #1 v1.5 and all other kinds stay allowed."""
    check_policy("sign", CKM.RSA_PKCS, "RSA", True)
    check_policy("encrypt", "CKM_CLOUDHSM_AES_GCM", "AES", True)
    check_policy("generate", CKM.EC_KEY_PAIR_GEN, "EC", True)
    check_policy("import", None, "GENERIC_SECRET", True)
    check_policy("sign", None, "EC", True)


@pytest.mark.parametrize("mechanism", [CKM.AES_KEY_WRAP, CKM.AES_KEY_WRAP_PAD])
def test_sdk_3_has_wraps_of_its_own(mechanism):
    """AES_KEY_WRAP and its padded twin are offered by SDK 3 only."""
    check_policy("wrap", mechanism, "AES", True, sdk=3)
    with pytest.raises(MechanismInvalid, match="SDK 3 only"):
        check_policy("wrap", mechanism, "AES", True)


def test_sdk_3_does_no_ecdh_on_p_521():
    """ECDH on P-521 came with SDK 5."""
    check_policy("derive", CKM.ECDH1_DERIVE, "EC", True, curve="secp521r1")
    check_policy("derive", CKM.ECDH1_DERIVE, "EC", True, sdk=3, curve="secp384r1")
    with pytest.raises(MechanismInvalid, match="P-521"):
        check_policy("derive", CKM.ECDH1_DERIVE, "EC", True, sdk=3, curve="secp521r1")


def test_a_generation_mechanism_makes_its_own_kind():
    """AES_KEY_GEN makes AES keys."""
    check_policy("generate", CKM.RSA_X9_31_KEY_PAIR_GEN, "RSA", True)
    with pytest.raises(MechanismInvalid, match="AES_KEY_GEN makes AES keys, not RSA"):
        check_policy("generate", CKM.AES_KEY_GEN, "RSA", True)


def test_what_does_not_exist_is_refused():
    """Unknown operations, kinds and mechanisms, and mechanisms for something else, are refused."""
    with pytest.raises(UsageError, match="no operation 'shred'"):
        check_policy("shred", None, "AES", True)
    with pytest.raises(TemplateInvalid, match="did you mean AES"):
        check_policy("sign", None, "AESS", True)
    with pytest.raises(MechanismInvalid, match="no mechanism 'MD5'"):
        check_policy("digest", "MD5", "AES", True)
    with pytest.raises(MechanismInvalid, match="AES_CMAC cannot encrypt"):
        check_policy("encrypt", CKM.AES_CMAC, "AES", True)
    with pytest.raises(MechanismInvalid, match="cannot import"):
        check_policy("import", CKM.AES_KEY_GEN, "AES", True)


@pytest.mark.parametrize(
    ("operation", "mechanism", "sdk", "most"),
    [
        ("sign", CKM.SHA_1_HMAC, 5, 16288),
        ("verify", CKM.SHA224_HMAC, 5, 16256),
        ("sign", CKM.SHA512_HMAC, 3, 16224),
        ("encrypt", CKM.AES_CBC, 5, 16272),
        ("encrypt", CKM.AES_GCM, 5, 16224),
        ("decrypt", CKM.AES_GCM, 5, 16224 + 28),
        ("decrypt", CKM.DES3_CBC, 3, 16280),
        ("sign", CKM.SHA256_RSA_PKCS, 3, 16296),
        ("sign", CKM.SHA224_RSA_PKCS_PSS, 3, 16264),
        ("verify", CKM.ECDSA_SHA384, 3, 16232),
        ("sign", CKM.ECDSA_SHA1, 3, 16296),
        ("digest", CKM.SHA_1, 3, 16296),
        ("digest", CKM.SHA512, 3, 16232),
        ("digest", CKM.SHA512, 5, None),
        ("sign", CKM.SHA256_RSA_PKCS, 5, None),
        ("sign", CKM.ECDSA, 3, None),
        ("encrypt", CKM.AES_CTR, 5, None),
        ("wrap", CKM.AES_GCM, 5, None),
    ],
)
def test_limits_are_those_of_the_guide(operation, mechanism, sdk, most):
    """Each limit is the documented one: all data inside the HSM, or hashed in the library."""
    assert max_bytes(operation, mechanism, sdk) == most


@pytest.mark.parametrize(
    ("operation", "ckr"), [("encrypt", CKR.DATA_LEN_RANGE), ("decrypt", CKR.ENCRYPTED_DATA_LEN_RANGE)]
)
def test_a_size_over_the_limit_is_refused(operation, ckr):
    """The size is held against the limit before any work is done."""
    most = max_bytes(operation, CKM.AES_GCM)
    check_policy(operation, CKM.AES_GCM, "AES", True, size=most)
    check_policy(operation, CKM.AES_CTR, "AES", True, size=10**9)
    with pytest.raises(DataInvalid, match=f"at most {most} bytes") as caught:
        check_policy(operation, CKM.AES_GCM, "AES", True, size=most + 1)
    assert caught.value.ckr is ckr


def test_every_documented_mechanism_can_do_something():
    """No mechanism of ours is without a use."""
    assert [mechanism.name for mechanism in CKM if not any(mechanism in row for row in MECHANISMS.values())] == []
