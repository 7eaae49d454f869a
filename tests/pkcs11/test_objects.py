"""Are keys found, read and deleted as PKCS#11 and CloudHSM say?"""

import ctypes as c

import pytest

from pytest_hsmcluster import CKA, CKK, CKM, CKO, CKR
from tests.pkcs11.ckcalls import ULONG, UNAVAILABLE, mechanism, refused, template


def read(ck, session, key, *wanted):
    """Ask for attributes (type, room or None) at once; return CKR and the lengths that are told."""
    array = template([(kind, b"\xee" * (room or 0)) for kind, room in wanted])
    for entry, (_, room) in zip(array, wanted, strict=True):
        if room is None:
            entry.value = None
    ckr = ck.rv("C_GetAttributeValue", session, key, array, len(wanted))
    return ckr, [entry.length for entry in array]


# -- finding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_keys_are_found_a_few_at_a_time(ck, session, at_once):
    """All of them, each once, with the handle that it has."""
    made = [ck.aes(session, f"kek-{number}") for number in range(7)]
    assert sorted(ck.find(session, {}, at_once)) == sorted(made)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({CKA.LABEL: "one"}, ["one"]),
        ({CKA.LABEL: "none"}, []),
        ({CKA.LABEL: "one", CKA.CLASS: CKO.SECRET_KEY, CKA.TOKEN: True}, ["one"]),
        ({CKA.ID: b"\1"}, ["two"]),
        ({CKA.CLASS: CKO.PRIVATE_KEY}, []),
        ({CKA.CLASS: 0}, []),
        ({CKA.CLASS: 1}, []),
        ({CKA.KEY_TYPE: CKK.AES}, ["one", "two"]),
        ({CKA.KEY_TYPE: 0x77}, []),
        ({CKA.PRIVATE: False}, []),
        ({CKA.VALUE_LEN: 16}, ["two"]),
        ({CKA.ENCRYPT: False}, ["two"]),
    ],
)
def test_a_find_compares_every_attribute(ck, session, wanted, found):
    """Classes that there are not, data objects and certificates for instance, are never found and no error."""
    ck.aes(session, "one")
    ck.aes(session, "two", 128, ID=b"\1", ENCRYPT=False)
    labels = [ck.attribute(session, key, CKA.LABEL).decode() for key in ck.find(session, wanted)]
    assert sorted(labels) == found


def test_two_finds_cannot_go_on_in_a_session(ck, session):
    """CKR_OPERATION_ACTIVE; without one there is nothing to go on with."""
    number, count = (ULONG * 1)(), ULONG()
    with refused(CKR.OPERATION_NOT_INITIALIZED):
        ck.ok("C_FindObjects", session, number, 1, c.byref(count))
    with refused(CKR.OPERATION_NOT_INITIALIZED):
        ck.ok("C_FindObjectsFinal", session)
    ck.ok("C_FindObjectsInit", session, None, 0)
    with refused(CKR.OPERATION_ACTIVE):
        ck.ok("C_FindObjectsInit", session, None, 0)
    assert ck.rv("C_FindObjects", session, None, 1, c.byref(count)) == CKR.ARGUMENTS_BAD
    assert ck.rv("C_FindObjects", session, number, 1, None) == CKR.ARGUMENTS_BAD
    ck.ok("C_FindObjectsFinal", session)


def test_a_find_without_a_login_finds_nothing(ck, hsm_pkcs11, hsm_history):
    """All keys are private objects; no HSM is asked."""
    number = ck.open(hsm_pkcs11.slot_id)
    before = len(hsm_history)
    assert ck.find(number, {}) == []
    assert len(hsm_history) == before


@pytest.mark.parametrize(
    ("wanted", "ckr"),
    [({0x9999: b"x"}, CKR.ATTRIBUTE_TYPE_INVALID), ({CKA.TOKEN: b"xx"}, CKR.ATTRIBUTE_VALUE_INVALID)],
)
def test_a_find_for_what_there_cannot_be_is_refused(ck, session, wanted, ckr):
    """And none is going on afterwards."""
    with refused(ckr):
        ck.find(session, wanted)
    assert ck.find(session, {}) == []


def test_null_with_a_count_is_no_template(ck, session):
    """CKR_ARGUMENTS_BAD."""
    assert ck.rv("C_FindObjectsInit", session, None, 3) == CKR.ARGUMENTS_BAD


# -- reading -------------------------------------------------------------------------------------


def test_attributes_are_read_in_two_calls_and_asked_for_once(ck, session, hsm_history):
    """The length, then the value: an HSM answers once."""
    key = ck.aes(session, "kek")
    assert ck.attribute(session, key, CKA.LABEL) == b"kek"
    assert ck.attribute(session, key, CKA.VALUE_LEN) == bytes(ULONG(32))
    assert sum(event.kind == "invoke" and event.name == "read_attributes" for event in hsm_history) == 2


def test_what_cannot_be_read_does_not_hide_the_rest(ck, session):
    """PKCS #11 v2.40, C_GetAttributeValue: a length of CK_UNAVAILABLE_INFORMATION for each that is not told."""
    key = ck.aes(session, "kek")
    ckr, lengths = read(ck, session, key, (CKA.LABEL, 10), (CKA.VALUE, 32), (CKA.KEY_TYPE, None))
    assert (ckr, lengths) == (CKR.ATTRIBUTE_SENSITIVE, [3, UNAVAILABLE, 8])
    ckr, lengths = read(ck, session, key, (0x9999, 10), (CKA.LABEL, None))
    assert (ckr, lengths) == (CKR.ATTRIBUTE_TYPE_INVALID, [UNAVAILABLE, 3])
    ckr, lengths = read(ck, session, key, (CKA.MODULUS, None), (CKA.LABEL, None))
    assert (ckr, lengths) == (CKR.ATTRIBUTE_TYPE_INVALID, [UNAVAILABLE, 3])
    ckr, lengths = read(ck, session, key, (CKA.LABEL, 2), (CKA.TOKEN, 1))
    assert (ckr, lengths) == (CKR.BUFFER_TOO_SMALL, [UNAVAILABLE, 1])
    assert ck.rv("C_GetAttributeValue", session, key, None, 1) == CKR.ARGUMENTS_BAD


# -- deleting ---------------------------------------------------------------------------------------


def test_a_key_is_deleted_everywhere(ck, session, hsm_cluster):
    """Its handle means nothing afterwards."""
    key = ck.aes(session, "kek")
    ck.destroy(session, key)
    assert not any(hsm.keys for hsm in hsm_cluster.hsms)
    assert ck.find(session, {}) == []
    with refused(CKR.OBJECT_HANDLE_INVALID):
        ck.attribute(session, key, CKA.LABEL)


def test_a_key_that_is_not_destroyable_stays(ck, session):
    """CKA_DESTROYABLE is false."""
    key = ck.aes(session, "kek", DESTROYABLE=False)
    with refused(CKR.ACTION_PROHIBITED):
        ck.destroy(session, key)
    assert ck.find(session, {}) == [key]


def test_a_key_that_another_application_made_is_found(ck, session, hsm_cluster):
    """Through whatever door it came."""
    hsm_cluster.client("other").generate_key("AES", 256, label="theirs")
    [key] = ck.find(session, {CKA.LABEL: "theirs"})
    assert ck.once(session, "Encrypt", mechanism(CKM.AES_ECB), key, bytes(16))
