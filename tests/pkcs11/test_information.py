"""What does the library tell about itself?"""

import ctypes as c

import pytest

from pytest_hsmcluster import CKM, CKR
from tests.pkcs11.ckcalls import ULONG


def mechanism_info(ck, slot, number):
    info = (ULONG * 3)()
    ck.ok("C_GetMechanismInfo", slot, number, info)
    return tuple(info)


def test_the_library_tells_about_itself(ck, hsm_pkcs11):
    """Version 2.40, and whose it is."""
    info = c.create_string_buffer(88)
    ck.ok("C_GetInfo", info)
    assert info.raw[:2] == b"\x02\x28"
    assert b"pytest-hsmcluster" in info.raw
    assert ck.rv("C_GetInfo", None) == CKR.ARGUMENTS_BAD


def test_a_slot_tells_whose_cluster_is_in_it(ck, hsm_pkcs11, hsm_cluster):
    """With the test's name: a person who debugs sees which one it is."""
    info = c.create_string_buffer(120)
    ck.ok("C_GetSlotInfo", hsm_pkcs11.slot_id, info)
    assert info.raw.startswith(hsm_cluster.id.encode())


def test_a_token_wants_a_login(ck, hsm_pkcs11):
    """CKF_LOGIN_REQUIRED, CKF_USER_PIN_INITIALIZED, CKF_TOKEN_INITIALIZED, CKF_RNG; and its sessions are counted."""
    ck.open(hsm_pkcs11.slot_id)
    info = ck.token_info(hsm_pkcs11.slot_id)
    assert info.flags == 0x40D
    assert (info.sessions, info.rw_sessions, info.most_sessions) == (1, 1, 1024)
    assert info.label.strip() == b"hsm1"


@pytest.mark.parametrize("sdk", [pytest.param(n, marks=pytest.mark.hsm_cluster(sdk=n)) for n in (3, 5)])
def test_mechanisms_are_those_of_the_sdk(ck, hsm_pkcs11, hsm_cluster, sdk):
    """Each with what it does."""
    found = ck.mechanisms(hsm_pkcs11.slot_id)
    assert (CKM.AES_KEY_WRAP in found) == (sdk == 3)
    assert {CKM.CLOUDHSM_AES_GCM, CKM.AES_GCM, CKM.SHA256_RSA_PKCS_PSS, CKM.SP800_108_COUNTER_KDF} <= set(found)
    for number in found:
        assert mechanism_info(ck, hsm_pkcs11.slot_id, number)[2] > 1, hex(number)
    assert mechanism_info(ck, hsm_pkcs11.slot_id, CKM.AES_GCM) == (16, 32, 0x60301)
    assert mechanism_info(ck, hsm_pkcs11.slot_id, CKM.EC_KEY_PAIR_GEN) == (224, 521, 0x1910001)
    info = (ULONG * 3)()
    assert ck.rv("C_GetMechanismInfo", hsm_pkcs11.slot_id, 0x9999, info) == CKR.MECHANISM_INVALID


def test_what_is_no_slot_is_none(ck, hsm_pkcs11):
    """CKR_SLOT_ID_INVALID for every function of slots."""
    wrong, room = hsm_pkcs11.slot_id + 1000, c.create_string_buffer(300)
    for function, more in (
        ("C_GetSlotInfo", (room,)),
        ("C_GetTokenInfo", (room,)),
        ("C_GetMechanismList", (None, c.byref(ULONG()))),
        ("C_OpenSession", (6, None, None, c.byref(ULONG()))),
        ("C_CloseAllSessions", ()),
    ):
        assert ck.rv(function, wrong, *more) == CKR.SLOT_ID_INVALID, function
