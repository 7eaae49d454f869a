"""What becomes of a login and of session keys, when sessions are closed at any time?"""

import ctypes as c

from pytest_hsmcluster import CKR
from tests.pkcs11.ckcalls import refused


def test_nothing_is_made_after_the_last_session_without_a_new_login(ck, session, hsm_pkcs11, hsm_cluster):
    """The HSMs have not heard of the end of the login yet, but the library has."""
    ck.close(session)
    again = ck.open(hsm_pkcs11.slot_id)
    with refused(CKR.USER_NOT_LOGGED_IN):
        ck.aes(again, "kek")
    assert ck.rv("C_GenerateRandom", again, c.create_string_buffer(8), 8) == CKR.USER_NOT_LOGGED_IN
    assert not any(hsm.keys for hsm in hsm_cluster.hsms)
    ck.login(again, hsm_pkcs11.user_pin)
    assert ck.aes(again, "kek")


def test_closing_writes_nothing_and_what_ended_goes_with_the_next_create(ck, session, hsm_pkcs11, hsm_history):
    """Garbage collection closes sessions when it likes: the history must not show when."""
    other = ck.open(hsm_pkcs11.slot_id)
    ck.aes(session, "tmp", TOKEN=False)
    before = len(hsm_history)
    ck.close(session)
    assert len(hsm_history) == before
    ck.aes(other, "kek")
    gone = [event for event in hsm_history if event.kind == "gone"]
    assert [event.key for event in gone] == ["key-1"]


def test_a_session_key_that_was_found_is_its_makers(ck, session, hsm_pkcs11):
    """It ends with the session that made it, not with the one that found it."""
    key = ck.aes(session, "tmp", TOKEN=False)
    other = ck.open(hsm_pkcs11.slot_id)
    assert ck.find(other, {3: "tmp"}) == [key]
    ck.close(other)
    assert ck.attribute(session, key, 3) == b"tmp"
