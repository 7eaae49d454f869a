"""Does the library begin and end as PKCS#11 says, and offer what CloudHSM offers?"""

import ctypes as c

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pytest_hsmcluster import CKA, CKM, CKR
from pytest_hsmcluster.wire.functions import FUNCTIONS
from tests.pkcs11.ckcalls import ULONG, Calls, mechanism, refused

NOT_OFFERED = [function for function in FUNCTIONS if not function.offered and function.name != "C_GetFunctionList"]
ARGUMENTS = {"ulong": (0,), "bytes": (None, 0), "template": (None, 0), "output": (None, None)}


def test_there_are_47_functions_and_four():
    """As the guide lists them, with C_GetFunctionList, which the library answers alone."""
    assert sum(function.offered for function in FUNCTIONS) + 1 == 47 + 4


@pytest.mark.parametrize("function", NOT_OFFERED, ids=lambda function: function.name)
def test_functions_that_are_not_offered_say_so(ck, function):
    """CKR_FUNCTION_NOT_SUPPORTED, for each of them."""
    arguments = [one for kind in function.takes for one in ARGUMENTS.get(kind, (None,))]
    assert ck.rv(function.name, *arguments) == CKR.FUNCTION_NOT_SUPPORTED


def test_nothing_works_before_the_beginning_and_after_the_end(hsm_pkcs11):
    """CKR_CRYPTOKI_NOT_INITIALIZED, and never twice."""
    ck = Calls(hsm_pkcs11.module)
    count = ULONG()
    for _ in range(2):
        assert ck.rv("C_GetSlotList", c.c_ubyte(1), None, c.byref(count)) == CKR.CRYPTOKI_NOT_INITIALIZED
        ck.initialize()
        assert ck.rv("C_Initialize", None) == CKR.CRYPTOKI_ALREADY_INITIALIZED
        session = ck.open(hsm_pkcs11.slot_id)
        assert ck.rv("C_Finalize", b"reserved") == CKR.ARGUMENTS_BAD
        ck.finalize()
        assert ck.rv("C_Finalize", None) == CKR.CRYPTOKI_NOT_INITIALIZED
        assert ck.rv("C_CloseSession", session) == CKR.CRYPTOKI_NOT_INITIALIZED


class InitializeArgs(c.Structure):
    _fields_ = (("mutexes", c.c_void_p * 4), ("flags", ULONG), ("reserved", c.c_void_p))


@pytest.mark.parametrize(
    ("mutexes", "reserved", "ckr"),
    [(4, False, CKR.OK), (0, False, CKR.OK), (1, False, CKR.ARGUMENTS_BAD), (0, True, CKR.ARGUMENTS_BAD)],
)
def test_mutexes_are_all_or_none(hsm_pkcs11, mutexes, reserved, ckr):
    """The library needs none, and calls none; pReserved is NULL."""
    ck = Calls(hsm_pkcs11.module)
    given = InitializeArgs((c.c_void_p * 4)(*[1] * mutexes), 2, 1 if reserved else None)
    assert ck.rv("C_Initialize", c.byref(given)) == ckr
    ck.rv("C_Finalize", None)


def test_the_end_is_that_of_sessions_and_session_keys(ck, session, hsm_pkcs11, hsm_cluster):
    """C_Finalize logs out, too; token keys stay, and the slot as well."""
    ck.aes(session, "kek")
    ck.aes(session, "tmp", TOKEN=False)
    ck.finalize()
    assert [len(hsm.keys) for hsm in hsm_cluster.hsms] == [1, 1, 1]
    ck.initialize()
    with refused(CKR.SESSION_HANDLE_INVALID):
        ck.state(session)
    assert ck.state(ck.open(hsm_pkcs11.slot_id)) == 2


def pair(ck, session):
    return ck.generate_pair(
        session,
        CKM.RSA_PKCS_KEY_PAIR_GEN,
        {CKA.MODULUS_BITS: 2048, CKA.PUBLIC_EXPONENT: b"\1\0\1", CKA.VERIFY: True},
        {CKA.SIGN: True},
    )


@pytest.mark.hsm_cluster(sdk=3, keys="seeded")
def test_data_are_recovered_from_signatures(ck, session):
    """SDK 3: C_SignRecover and C_VerifyRecover; `cryptography` recovers the same."""
    public, private = pair(ck, session)
    how = mechanism(CKM.RSA_PKCS)
    ck.ok("C_SignRecoverInit", session, how, private)
    room = c.create_string_buffer(100)
    assert ck.rv("C_SignRecover", session, b"data", 4, room, c.byref(ULONG(100))) == CKR.BUFFER_TOO_SMALL
    signature = ck.output("C_SignRecover", session, b"data", 4)
    ck.ok("C_VerifyRecoverInit", session, how, public)
    short = c.byref(ULONG(3))
    assert ck.rv("C_VerifyRecover", session, signature, len(signature), room, short) == CKR.BUFFER_TOO_SMALL
    assert ck.output("C_VerifyRecover", session, signature, len(signature)) == b"data"
    modulus = int.from_bytes(ck.attribute(session, public, CKA.MODULUS), "big")
    theirs = rsa.RSAPublicNumbers(65537, modulus).public_key()
    assert theirs.recover_data_from_signature(signature, padding.PKCS1v15(), None) == b"data"


@pytest.mark.hsm_cluster(keys="seeded")
def test_recovery_is_sdk_3s_alone(ck, session):
    """SDK 5 answers CKR_FUNCTION_NOT_SUPPORTED."""
    public, private = pair(ck, session)
    assert ck.rv("C_SignRecoverInit", session, mechanism(CKM.RSA_PKCS), private) == CKR.FUNCTION_NOT_SUPPORTED
    assert ck.rv("C_VerifyRecoverInit", session, mechanism(CKM.RSA_PKCS), public) == CKR.FUNCTION_NOT_SUPPORTED


def test_no_secret_is_in_the_trace(ck, session, hsm_pkcs11, caplog):
    """Neither PIN nor data."""
    ck.logout(session)
    with refused(CKR.PIN_INCORRECT):
        ck.login(session, "crypto_user:not-the-password")
    told = "".join(map(str, hsm_pkcs11.calls)) + caplog.text
    assert "not-the-password" not in told
    assert hsm_pkcs11.user_pin.partition(":")[2] not in told
