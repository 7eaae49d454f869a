"""Is an application told that it has kept a handle for too long, and by which line?"""

import ctypes
import gc
import re
import weakref
from pathlib import Path

import pytest

from pytest_hsmcluster import CKM, CKR
from tests.pkcs11.ckcalls import mechanism, refused

DATA = b"data"
CMAC = mechanism(CKM.AES_CMAC)


def sign(ck, session, key):
    return ck.once(session, "Sign", CMAC, key, DATA)


def test_handles_that_are_used_in_their_login_are_fine(ck, session, hsm_pkcs11, hsm_check):
    """In any session; and so are keys that are found again after a new login."""
    key = ck.aes(session, "kek")
    other = ck.open(hsm_pkcs11.slot_id)
    ck.close(session)
    sign(ck, other, key)
    ck.logout(other)
    ck.login(other, hsm_pkcs11.user_pin)
    [again] = ck.find(other, {3: "kek"})
    assert again != key
    sign(ck, other, again)
    hsm_check.no_stale_handles()
    assert hsm_check.stale_handles() == []


def test_a_refusal_keeps_nothing_of_its_caller(ck, session, hsm_pkcs11):
    """Else that would live until garbage is collected, at any time: `PyKCS11` then waits for itself for ever."""

    class Kept:
        pass

    def call():
        kept = Kept()
        assert ck.rv("C_SignInit", session, ctypes.byref(CMAC), key) == CKR.KEY_HANDLE_INVALID
        return weakref.ref(kept)

    key = ck.aes(session, "kek")
    ck.logout(session)
    ck.login(session, hsm_pkcs11.user_pin)
    gc.disable()
    try:
        assert call()() is None
    finally:
        gc.enable()


def test_a_refusal_leaves_the_error_alone_that_the_application_handles(ck, session):
    """It is the context of the refusal, where both happen on one thread, and still says where it comes from."""

    def risky():
        raise ValueError("the application's own")

    def handle():
        try:
            risky()
        except ValueError:
            assert ck.rv("C_SignInit", session, ctypes.byref(CMAC), 4711) == CKR.KEY_HANDLE_INVALID
            raise

    with pytest.raises(ValueError, match="own") as own:
        handle()
    assert own.traceback[-1].name == "risky"


def test_a_handle_of_before_a_logout_is_found(ck, session, hsm_pkcs11, hsm_check):
    """A token key's, too: PKCS #11 v2.40, C_Logout."""
    key = ck.aes(session, "kek")
    ck.logout(session)
    ck.login(session, hsm_pkcs11.user_pin)
    for _ in range(2):
        with refused(CKR.KEY_HANDLE_INVALID):
            sign(ck, session, key)
    [stale] = hsm_check.stale_handles()
    assert (stale.key, stale.label) == ("key-1", "kek")
    assert re.fullmatch(
        rf"object {key} was given out in session {session} and stored by tests/pkcs11/ckcalls.py:\d+ \(Calls.rv\); "
        rf".* logged out at 0\.\d+ s; then it was used in session {session}; "
        r"used afterwards twice by .*: sign at tests/pkcs11/ckcalls.py:\d+ \(Calls.rv\)",
        stale.cause,
    )
    with pytest.raises(AssertionError, match=r"stale handle of key 'kek' \(key-1, handle \d+\)"):
        hsm_check.no_stale_handles()


@pytest.mark.hsm_cluster(handle_scope="process")
def test_a_profile_can_let_handles_live_as_long_as_the_process(ck, session, hsm_pkcs11, hsm_check):
    """`handle_scope="process"`: they mean their keys after another login."""
    key = ck.aes(session, "kek")
    ck.logout(session)
    ck.login(session, hsm_pkcs11.user_pin)
    sign(ck, session, key)
    hsm_check.no_stale_handles()


def test_a_session_key_of_a_closed_session_is_found(ck, session, hsm_pkcs11, hsm_check):
    """Others may use it while that session lives, and nobody afterwards."""
    key = ck.aes(session, "tmp", TOKEN=False)
    other = ck.open(hsm_pkcs11.slot_id)
    sign(ck, other, key)
    ck.close(session)
    with refused(CKR.KEY_HANDLE_INVALID):
        sign(ck, other, key)
    [stale] = hsm_check.stale_handles()
    assert f"session {session}, in which it was made, was closed at 0.0" in stale.cause


def test_a_handle_of_a_lost_connection_is_found(ck, session, hsm_pkcs11, hsm_chaos, hsm_cluster, hsm_check):
    """With the last connection the login is lost, and with the login the handles."""
    key = ck.aes(session, "kek")
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        hsm_chaos.crash(hsm)
        hsm_chaos.restart(hsm)
    hsm_cluster.clock.advance(10)
    ck.rv("C_SignInit", session, mechanism(CKM.AES_CMAC), key)
    assert ck.state(session) == 2
    ck.login(session, hsm_pkcs11.user_pin)
    with refused(CKR.KEY_HANDLE_INVALID):
        sign(ck, session, key)
    assert "lost its login with its last connection at" in hsm_check.stale_handles()[0].cause


def test_a_deleted_key_is_no_stale_handle(ck, session, hsm_check):
    """Whoever uses it makes another mistake; the trace says what became of it."""
    key = ck.aes(session, "kek")
    ck.destroy(session, key)
    with refused(CKR.KEY_HANDLE_INVALID):
        sign(ck, session, key)
    with refused(CKR.OBJECT_HANDLE_INVALID):
        ck.destroy(session, key)
    hsm_check.no_stale_handles()


def test_what_never_was_is_no_stale_handle(ck, session, hsm_check, hsm_pkcs11):
    """A number that was made up."""
    with refused(CKR.KEY_HANDLE_INVALID):
        sign(ck, session, 10**9)
    assert "object 1000000000 was never given out to app" in str(hsm_pkcs11.calls[-1])
    hsm_check.no_stale_handles()


def test_a_closed_session_that_is_used_is_found(ck, session, hsm_pkcs11, hsm_check):
    """But not one that is closed twice: garbage collection does that."""
    other = ck.open(hsm_pkcs11.slot_id)
    ck.close(other)
    assert ck.rv("C_CloseSession", other) == CKR.SESSION_HANDLE_INVALID
    hsm_check.no_stale_handles()
    with refused(CKR.SESSION_HANDLE_INVALID):
        ck.state(other)
    with pytest.raises(
        AssertionError, match=rf"stale handle: session {other}, opened by .*: C_GetSessionInfo at tests"
    ):
        hsm_check.no_stale_handles()


CACHING = """
import pytest
from tests.pkcs11.ckcalls import CKA, CKM, Calls, mechanism
import vault

CMAC = mechanism(CKM.AES_CMAC)

def test_first(hsm_pkcs11):
    vault.begin(Calls(hsm_pkcs11.module), hsm_pkcs11)
    vault.sign()

@pytest.mark.hsm_cluster(checks=CHECKS)
def test_second(hsm_pkcs11):
    HOW
"""
VAULT = """
from tests.pkcs11.ckcalls import CKM, mechanism

CMAC = mechanism(CKM.AES_CMAC)
kept = {}

def begin(ck, door):
    if not kept:
        ck.rv("C_Initialize", None)
    kept.update(ck=ck, slot=door.slot_id)
    session(door)
    kept["key"] = ck.aes(kept["session"], "kek")

def session(door, slot=None):
    kept["session"] = kept["ck"].open(slot or door.slot_id)
    kept["ck"].login(kept["session"], door.user_pin)

def sign():
    return kept["ck"].once(kept["session"], "Sign", CMAC, kept["key"], b"data")
"""


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("vault.sign()", "stale handle: session *, opened by *vault.py:* (session), is over: it belonged to cluster-"),
        ("vault.session(hsm_pkcs11, vault.kept['slot'])", "stale handle: slot *: it belonged to cluster-"),
        (
            "vault.session(hsm_pkcs11); vault.sign()",
            "stale handle: object * was given out in session * and stored by *vault.py:* (begin); it belonged to ",
        ),
    ],
    ids=["session", "slot", "key"],
)
@pytest.mark.parametrize("asked", [False, True])
def test_an_application_that_keeps_things_over_tests_is_told_so(pytester, monkeypatch, how, told, asked):
    """Session, slot or key: with file and line, and with the test that it belonged to.

    Whoever asks for `no_stale_handles` has a test fail that coped with it.  Otherwise the report of a test that failed
    for it says so.
    """
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(vault=VAULT)
    attempt = f"\n    with pytest.raises(Exception):\n        {how}" if asked else how
    checks = '("no_stale_handles",)' if asked else "()"
    pytester.makepyfile(test_it=CACHING.replace("HOW", attempt).replace("CHECKS", checks))
    result = pytester.runpytest_subprocess("-p", "hsmcluster", f"--rootdir={pytester.path}")
    result.assert_outcomes(passed=1, failed=1)
    lines = "\n".join(result.outlines)
    if asked:
        where = "test_it.py::test_first, which is over*; used afterwards: C_* at *vault.py:*"
        result.stdout.fnmatch_lines([f"*{told}*{where}"])
    else:
        assert "HSM PKCS #11 calls that were refused" in lines
        wanted = told.removeprefix("stale handle: ")
        result.stdout.fnmatch_lines([f"C_* → CKR_*_INVALID: {wanted}*test_it.py::test_first, which is over*"])
