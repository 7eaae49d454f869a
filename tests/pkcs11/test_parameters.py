"""Are mechanisms with wrong parameters refused before anything begins?"""

import ctypes as c

import pytest

from pytest_hsmcluster import CKM, CKR
from tests.pkcs11.ckcalls import (
    ULONG,
    Ctr,
    Ecdh,
    Mechanism,
    Oaep,
    Pss,
    RsaAes,
    counter_kdf,
    gcm,
    mechanism,
    refused,
    template,
)

NO_PLACE = Mechanism(CKM.AES_CBC, None, 16)
WRONG = {
    "IV of 8 bytes": mechanism(CKM.AES_CBC, bytes(8)),
    "no IV": mechanism(CKM.AES_CBC),
    "IV at no place": NO_PLACE,
    "IV for ECB": mechanism(CKM.AES_ECB, bytes(16)),
    "counter without its bits": mechanism(CKM.AES_CTR, bytes(16)),
    "no bits of a counter": mechanism(CKM.AES_CTR, Ctr(0)),
    "129 bits of a counter": mechanism(CKM.AES_CTR, Ctr(129)),
    "no GCM parameters": mechanism(CKM.AES_GCM),
    "an IV alone": mechanism(CKM.AES_GCM, bytes(12)),
    "IV of 16 bytes": mechanism(CKM.AES_GCM, gcm(bytes(16))),
    "IV of the caller's": mechanism(CKM.AES_GCM, gcm(b"\1" * 12)),
    "tag of 32 bits": mechanism(CKM.AES_GCM, gcm(bytes(12), tag_bits=32)),
    "IV for the vendor's": mechanism(CKM.CLOUDHSM_AES_GCM, gcm(bytes(12))),
}


@pytest.mark.parametrize("how", list(WRONG.values()), ids=list(WRONG))
def test_an_operation_does_not_begin_with_a_wrong_parameter(ck, session, how):
    """CKR_MECHANISM_PARAM_INVALID; a right one can begin afterwards."""
    key = ck.aes(session, "kek")
    assert ck.rv("C_EncryptInit", session, c.byref(how), key) == CKR.MECHANISM_PARAM_INVALID
    assert ck.rv("C_EncryptInit", session, c.byref(mechanism(CKM.AES_ECB)), key) == CKR.OK


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("Encrypt", mechanism(CKM.RSA_PKCS_OAEP)),
        ("Encrypt", mechanism(CKM.RSA_PKCS_OAEP, bytes(8))),
        ("Encrypt", mechanism(CKM.RSA_PKCS_OAEP, Oaep(CKM.SHA256, 99, 0, None, 0))),
        ("Encrypt", mechanism(CKM.RSA_PKCS_OAEP, Oaep(CKM.AES_ECB, 2, 0, None, 0))),
        ("Encrypt", mechanism(CKM.RSA_PKCS_OAEP, Oaep(CKM.SHA256, 2, 7, None, 0))),
        ("Sign", mechanism(CKM.SHA256_RSA_PKCS_PSS)),
        ("Sign", mechanism(CKM.SHA256_RSA_PKCS_PSS, Pss(0x9999, 2, 32))),
        ("Sign", mechanism(CKM.SHA256_RSA_PKCS_PSS, bytes(23))),
        ("Sign", mechanism(CKM.SHA256_RSA_PKCS, bytes(1))),
    ],
)
def test_a_wrong_parameter_comes_before_the_key(ck, session, what, how):
    """It is refused also where there is no such key."""
    assert ck.rv(f"C_{what}Init", session, c.byref(how), 999) == CKR.MECHANISM_PARAM_INVALID


@pytest.mark.parametrize(
    ("function", "how"),
    [
        ("C_DeriveKey", mechanism(CKM.ECDH1_DERIVE, Ecdh(99, 0, None, 65, bytes(65)))),
        ("C_DeriveKey", mechanism(CKM.ECDH1_DERIVE)),
        ("C_DeriveKey", mechanism(CKM.SP800_108_COUNTER_KDF)),
        ("C_DeriveKey", mechanism(CKM.SP800_108_COUNTER_KDF, counter_kdf(0x9999, b"x"))),
        ("C_DeriveKey", mechanism(CKM.SP800_108_COUNTER_KDF, bytes(40))),
        ("C_WrapKey", mechanism(CKM.RSA_AES_KEY_WRAP)),
        ("C_WrapKey", mechanism(CKM.RSA_AES_KEY_WRAP, RsaAes(256, None))),
        ("C_WrapKey", mechanism(CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD, bytes(8))),
        ("C_WrapKey", mechanism(CKM.AES_KEY_WRAP, bytes(8))),
    ],
)
def test_a_wrong_parameter_makes_no_key_and_lets_none_out(ck, session, function, how):
    """Derivations and wraps."""
    key, number = ck.aes(session, "kek"), ULONG(64)
    more = (key, None, 0, c.byref(number)) if function == "C_DeriveKey" else (key, key, None, c.byref(number))
    if function == "C_DeriveKey":
        more = (key, template({0x161: 32}), 1, c.byref(number))
    assert ck.rv(function, session, c.byref(how), *more) == CKR.MECHANISM_PARAM_INVALID


def test_no_mechanism_is_no_argument(ck, session):
    """CKR_ARGUMENTS_BAD for NULL, CKR_MECHANISM_INVALID for a number that nobody knows."""
    key = ck.aes(session, "kek")
    assert ck.rv("C_EncryptInit", session, None, key) == CKR.ARGUMENTS_BAD
    assert ck.rv("C_EncryptInit", session, c.byref(mechanism(0x9999)), key) == CKR.MECHANISM_INVALID


@pytest.mark.parametrize(
    ("what", "number", "ckr"),
    [
        ("Encrypt", CKM.AES_CMAC, CKR.MECHANISM_INVALID),
        ("Sign", CKM.AES_ECB, CKR.MECHANISM_INVALID),
        ("Sign", CKM.SHA256_HMAC, CKR.KEY_TYPE_INCONSISTENT),
        ("Verify", CKM.ECDSA_SHA256, CKR.KEY_TYPE_INCONSISTENT),
        ("Digest", CKM.AES_ECB, CKR.MECHANISM_INVALID),
    ],
)
def test_a_mechanism_does_what_it_can_with_keys_of_its_kind(ck, session, what, number, ckr):
    """What does not fit is refused when the operation is to begin, and no HSM is asked."""
    key = () if what == "Digest" else (ck.aes(session, "kek"),)
    assert ck.rv(f"C_{what}Init", session, c.byref(mechanism(number)), *key) == ckr


def test_two_operations_of_a_kind_cannot_go_on_in_a_session(ck, session):
    """CKR_OPERATION_ACTIVE; another session, or another kind, is free."""
    key = ck.aes(session, "kek")
    how = c.byref(mechanism(CKM.AES_CMAC))
    ck.ok("C_SignInit", session, how, key)
    assert ck.rv("C_SignInit", session, how, key) == CKR.OPERATION_ACTIVE
    ck.ok("C_VerifyInit", session, how, key)
    assert ck.rv("C_EncryptUpdate", session, b"x", 1, None, c.byref(ULONG())) == CKR.OPERATION_NOT_INITIALIZED


def test_begun_in_parts_is_ended_in_parts(ck, session):
    """C_Sign after C_SignUpdate: the guide calls it undefined, here it is CKR_OPERATION_ACTIVE."""
    key = ck.aes(session, "kek")
    how = mechanism(CKM.AES_CMAC)
    ck.ok("C_SignInit", session, c.byref(how), key)
    ck.ok("C_SignUpdate", session, b"da", 2)
    with refused(CKR.OPERATION_ACTIVE):
        ck.output("C_Sign", session, b"ta", 2)
    ck.ok("C_SignUpdate", session, b"ta", 2)
    ck.verify(session, how, key, b"data", ck.output("C_SignFinal", session))
