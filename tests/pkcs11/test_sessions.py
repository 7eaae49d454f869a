"""Do sessions come and go as PKCS#11 and CloudHSM say?"""

import ctypes

import pytest

from pytest_hsmcluster import CKR
from tests.pkcs11.ckcalls import RW, USER, refused


@pytest.mark.parametrize(("flags", "ckr"), [(0x2, CKR.SESSION_PARALLEL_NOT_SUPPORTED), (0x4, CKR.FUNCTION_FAILED)])
def test_a_session_is_serial_and_may_write(ck, hsm_pkcs11, flags, ckr):
    """SDK 5 has no other: without CKF_RW_SESSION it is CKR_FUNCTION_FAILED."""
    with refused(ckr):
        ck.open(hsm_pkcs11.slot_id, flags)
    assert ck.open(hsm_pkcs11.slot_id, RW)


@pytest.mark.hsm_cluster(sdk=3)
def test_sdk_3_has_sessions_that_only_read(ck, hsm_pkcs11):
    """Their state says so, before and after the login."""
    reader = ck.open(hsm_pkcs11.slot_id, 0x4)
    assert ck.state(reader) == 0
    ck.login(reader, hsm_pkcs11.user_pin)
    assert ck.state(reader) == 1


@pytest.mark.hsm_cluster(read_only_sessions="allowed")
def test_a_profile_can_allow_sessions_that_only_read(ck, hsm_pkcs11):
    """The refusal is a quirk: `read_only_sessions` switches it off."""
    assert ck.state(ck.open(hsm_pkcs11.slot_id, 0x4)) == 0


def test_nobody_is_called_back(ck, hsm_pkcs11):
    """pApplication and Notify are NULL."""
    number = ctypes.c_ulong()
    for more in ((b"me", None), (None, ctypes.c_void_p(1))):
        assert ck.rv("C_OpenSession", hsm_pkcs11.slot_id, RW, *more, ctypes.byref(number)) == CKR.ARGUMENTS_BAD
    assert ck.rv("C_OpenSession", hsm_pkcs11.slot_id, RW, None, None, None) == CKR.ARGUMENTS_BAD


def test_one_login_is_that_of_all_sessions(ck, hsm_pkcs11):
    """Those that are open, and those that are opened later; so is the logout."""
    first, second = ck.open(hsm_pkcs11.slot_id), ck.open(hsm_pkcs11.slot_id)
    assert ck.state(first) == 2
    ck.login(second, hsm_pkcs11.user_pin)
    third = ck.open(hsm_pkcs11.slot_id)
    assert [ck.state(one) for one in (first, second, third)] == [3, 3, 3]
    with refused(CKR.USER_ALREADY_LOGGED_IN):
        ck.login(first, hsm_pkcs11.user_pin)
    ck.logout(third)
    assert ck.state(first) == 2
    with refused(CKR.USER_NOT_LOGGED_IN):
        ck.logout(first)


def test_a_login_ends_with_the_last_session(ck, hsm_pkcs11):
    """PKCS #11 v2.40, C_CloseSession; whoever comes next logs in anew."""
    first, second = ck.open(hsm_pkcs11.slot_id), ck.open(hsm_pkcs11.slot_id)
    ck.login(first, hsm_pkcs11.user_pin)
    ck.close(first)
    assert ck.state(second) == 3
    ck.close(second)
    again = ck.open(hsm_pkcs11.slot_id)
    assert ck.state(again) == 2
    ck.login(again, hsm_pkcs11.user_pin)
    ck.ok("C_CloseAllSessions", hsm_pkcs11.slot_id)
    assert ck.state(ck.open(hsm_pkcs11.slot_id)) == 2


def test_a_closed_session_is_known_for_what_it_was(ck, hsm_pkcs11):
    """The trace says which line opened it, and when and why it closed."""
    number = ck.open(hsm_pkcs11.slot_id)
    ck.close(number)
    with refused(CKR.SESSION_HANDLE_INVALID):
        ck.state(number)
    told = str(hsm_pkcs11.calls[-1])
    assert f"C_GetSessionInfo → CKR_SESSION_HANDLE_INVALID: session {number}, opened by tests/pkcs11/" in told
    assert "is over: it was closed at 0.0" in told
    with refused(CKR.SESSION_HANDLE_INVALID):
        ck.close(number)
    with refused(CKR.SESSION_HANDLE_INVALID):
        ck.close(10**9)
    assert "there never was a session 1000000000" in str(hsm_pkcs11.calls[-1])


@pytest.mark.hsm_cluster(sessions_per_application=2)
@pytest.mark.parametrize(
    "ckr",
    [
        pytest.param(CKR.SESSION_COUNT, marks=pytest.mark.hsm_cluster(sdk=5)),
        pytest.param(CKR.ARGUMENTS_BAD, marks=pytest.mark.hsm_cluster(sdk=3)),
    ],
)
def test_sessions_run_out(ck, hsm_pkcs11, ckr):
    """One that is closed makes room for another."""
    ck.open(hsm_pkcs11.slot_id)
    last = ck.open(hsm_pkcs11.slot_id)
    with refused(ckr):
        ck.open(hsm_pkcs11.slot_id)
    assert ck.token_info(hsm_pkcs11.slot_id).sessions == 2
    ck.close(last)
    assert ck.open(hsm_pkcs11.slot_id)


@pytest.mark.parametrize(
    ("user", "pin", "ckr"),
    [
        (0, "admin:password", CKR.USER_TYPE_INVALID),
        (2, "crypto_user:password", CKR.USER_TYPE_INVALID),
        (USER, "no colon", CKR.PIN_INCORRECT),
        (USER, "", CKR.PIN_INCORRECT),
        (USER, "nobody:password", CKR.PIN_INCORRECT),
        (USER, "crypto_user:wrong one", CKR.PIN_INCORRECT),
        (USER, "crypto_user:\udcff", CKR.PIN_INCORRECT),
    ],
)
def test_other_logins_are_refused(ck, hsm_pkcs11, user, pin, ckr):
    """Only a crypto user logs in, with `name:password`."""
    number, data = ck.open(hsm_pkcs11.slot_id), pin.encode(errors="surrogateescape")
    assert ck.rv("C_Login", number, user, data, len(data)) == ckr
    assert ck.state(number) == 2


def test_a_login_without_a_pin_is_refused(ck, hsm_pkcs11):
    """There is no keypad that would be asked."""
    number = ck.open(hsm_pkcs11.slot_id)
    assert ck.rv("C_Login", number, USER, None, 0) == CKR.PIN_INCORRECT


def test_session_info_has_slot_and_flags(ck, hsm_pkcs11):
    """And needs a place."""
    number = ck.open(hsm_pkcs11.slot_id)
    assert ck.rv("C_GetSessionInfo", number, None) == CKR.ARGUMENTS_BAD
