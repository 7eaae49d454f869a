"""Do faults reach an application as CloudHSM's own library lets them, under SDK 3 and SDK 5?

The rows of the reference that concern PKCS #11: what a C program sees.
"""

import ctypes

import pytest

from pytest_hsmcluster import CKM, CKR
from tests.pkcs11.ckcalls import Calls, mechanism, refused

CMAC = mechanism(CKM.AES_CMAC)


def under(*, sdk3, sdk5, **profile):
    """Return a decorator: the test runs under both SDKs, and `ckr` is what each of them answers."""
    return pytest.mark.parametrize(
        "ckr",
        [
            pytest.param(sdk3, id="sdk3", marks=pytest.mark.hsm_cluster(sdk=3, **profile)),
            pytest.param(sdk5, id="sdk5", marks=pytest.mark.hsm_cluster(sdk=5, **profile)),
        ],
    )


@under(sdk3=CKR.OBJECT_HANDLE_INVALID, sdk5=CKR.KEY_HANDLE_INVALID)
def test_a_routing_miss(ck, session, hsm_chaos, ckr):
    """The HSM that is asked has not got the key: it comes with C_SignInit, and the next call may work."""
    with hsm_chaos.fail_clone("hsm-2"):
        key = ck.aes(session, "kek")
    with hsm_chaos.route_to("hsm-2"), refused(ckr):
        ck.ok("C_SignInit", session, CMAC, key)
    with hsm_chaos.route_to("hsm-1", next=2):
        assert ck.once(session, "Sign", CMAC, key, b"data")


@under(sdk3=CKR.OBJECT_HANDLE_INVALID, sdk5=CKR.KEY_HANDLE_INVALID, validate_key_at_init=False)
def test_a_routing_miss_without_validation(ck, session, hsm_chaos, ckr):
    """With `disable_validate_key_at_init` it comes with C_Sign, and ends the operation."""
    with hsm_chaos.fail_clone("hsm-2"):
        key = ck.aes(session, "kek")
    ck.ok("C_SignInit", session, CMAC, key)
    with hsm_chaos.route_to("hsm-2"), refused(ckr):
        ck.output("C_Sign", session, b"data", 4) and ck.output("C_Sign", session, b"data", 4)
    with refused(CKR.OPERATION_NOT_INITIALIZED):
        ck.output("C_Sign", session, b"data", 4)


@under(sdk3=CKR.OPERATION_ACTIVE, sdk5=CKR.FUNCTION_FAILED)
def test_throttling(ck, session, hsm_chaos, ckr):
    """SDK 5 tries again by itself before it says so."""
    key = ck.aes(session, "kek")
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        hsm_chaos.throttle(hsm)
    with refused(ckr):
        ck.ok("C_SignInit", session, CMAC, key)
    hsm_chaos.undo_all()
    assert ck.once(session, "Sign", CMAC, key, b"data")


@pytest.mark.hsm_cluster(checks=())
def test_the_availability_check(ck, session, hsm_chaos):
    """SDK 5: a create that no second HSM has is CKR_FUNCTION_FAILED."""
    with hsm_chaos.fail_clone(), hsm_chaos.stall_sync(), refused(CKR.FUNCTION_FAILED):
        ck.aes(session, "kek")


@pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
def test_too_few_copies(ck, session, hsm_chaos):
    """SDK 3 with a minimum: CKR_FUNCTION_FAILED, and nothing is left."""
    with hsm_chaos.fail_clone(), refused(CKR.FUNCTION_FAILED):
        ck.aes(session, "kek")
    assert ck.find(session, {3: "kek"}) == []


@under(sdk3=CKR.GENERAL_ERROR, sdk5=CKR.DEVICE_ERROR)
def test_a_connection_that_is_lost_during_a_call(ck, session, hsm_chaos, ckr):
    """Nobody tries again by itself; the next call goes to another HSM."""
    key = ck.aes(session, "kek")
    with hsm_chaos.inject("crash here @ hsm.execute command=sign nth=1"), refused(ckr):
        ck.once(session, "Sign", CMAC, key, b"data")
    assert ck.once(session, "Sign", CMAC, key, b"data")


@under(sdk3=CKR.GENERAL_ERROR, sdk5=CKR.DEVICE_ERROR)
def test_an_answer_that_never_comes(ck, session, hsm_chaos, hsm_cluster, ckr):
    """After the request's time-out, in simulated time."""
    key = ck.aes(session, "kek")
    before = hsm_cluster.clock.now
    with hsm_chaos.lose_response("sign"), refused(ckr):
        ck.once(session, "Sign", CMAC, key, b"data")
    assert hsm_cluster.clock.now - before > 19


@under(sdk3=CKR.GENERAL_ERROR, sdk5=CKR.DEVICE_ERROR)
def test_an_hsm_that_is_lost_for_good(ck, session, hsm_chaos, ckr):
    """In the middle of a create: whether the key is there nobody knows."""
    with hsm_chaos.inject("destroy here @ hsm.reply command=generate_key nth=1"), refused(ckr):
        ck.aes(session, "kek")
    assert ck.aes(session, "dek")


@under(sdk3=CKR.GENERAL_ERROR, sdk5=CKR.DEVICE_ERROR)
def test_all_hsms_lost(ck, session, hsm_pkcs11, hsm_chaos, hsm_cluster, ckr):
    """There is no implicit login: whoever has lost the last connection logs in again."""
    key = ck.aes(session, "kek")
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        hsm_chaos.crash(hsm)
    with refused(CKR.KEY_HANDLE_INVALID):
        ck.ok("C_SignInit", session, CMAC, key)
    with refused(ckr):
        ck.aes(session, "other")
    assert ck.state(session) == 2
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        hsm_chaos.restart(hsm)
    hsm_cluster.clock.advance(10)
    with refused(CKR.USER_NOT_LOGGED_IN):
        ck.aes(session, "other")
    ck.login(session, hsm_pkcs11.user_pin)
    [again] = ck.find(session, {3: "kek"})
    assert ck.once(session, "Sign", CMAC, again, b"data")


@under(sdk3=CKR.DEVICE_MEMORY, sdk5=CKR.DEVICE_MEMORY)
def test_a_full_hsm(ck, session, hsm_chaos, ckr):
    """As many keys as it can hold."""
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        hsm_chaos.fill(hsm)
    with refused(ckr):
        ck.aes(session, "kek")


@under(sdk3=CKR.PIN_INCORRECT, sdk5=CKR.PIN_INCORRECT)
def test_a_wrong_pin_and_then_a_locked_user(ck, hsm_pkcs11, ckr):
    """Failed logins are counted on each HSM: five are allowed there, then it is CKR_PIN_LOCKED."""
    session = ck.open(hsm_pkcs11.slot_id)
    for _ in range(15):
        with refused(ckr):
            ck.login(session, "crypto_user:wrong")
    for _ in range(3):
        ck.rv("C_Login", session, 1, b"crypto_user:wrong", 17)
    with refused(CKR.PIN_LOCKED):
        ck.login(session, hsm_pkcs11.user_pin)


@under(sdk3=CKR.PIN_INCORRECT, sdk5=CKR.PIN_INCORRECT)
def test_a_user_that_is_missing_on_one_hsm(ck, hsm_pkcs11, hsm_chaos, ckr):
    """The login fails sometimes, although the password is right."""
    hsm_chaos.drop_user("hsm-1", "crypto_user")
    session = ck.open(hsm_pkcs11.slot_id)
    with refused(ckr):
        ck.login(session, hsm_pkcs11.user_pin)
    ck.login(session, hsm_pkcs11.user_pin)


@under(sdk3=CKR.DEVICE_MEMORY, sdk5=CKR.DEVICE_MEMORY)
def test_an_error_by_name(ck, session, hsm_chaos, ckr):
    """What a test injects is what the application gets."""
    key = ck.aes(session, "kek")
    with hsm_chaos.inject("fail CKR_DEVICE_MEMORY @ hsm.execute command=sign nth=1"), refused(ckr):
        ck.once(session, "Sign", CMAC, key, b"data")


def test_an_application_that_dies(ck, session, hsm_pkcs11, hsm_chaos):
    """A crash at a point of the client: everything is CKR_DEVICE_ERROR until it starts anew."""
    with hsm_chaos.inject("crash @ client.report op=generate_key nth=1"), refused(CKR.GENERAL_ERROR):
        ck.aes(session, "kek")
    with refused(CKR.DEVICE_ERROR):
        ck.aes(session, "kek")
    ck.finalize()
    ck.initialize()
    session = ck.open(hsm_pkcs11.slot_id)
    ck.login(session, hsm_pkcs11.user_pin)
    assert len(ck.find(session, {3: "kek"})) == 1


@pytest.mark.hsm_cluster(device_error_sticks=True)
def test_a_device_error_sticks_until_initialized_anew(ck, session, hsm_pkcs11, hsm_chaos):
    """Sessions, logins, everything: the remedy is C_Finalize and C_Initialize (aws-kms-xks-proxy does that)."""
    key = ck.aes(session, "kek")
    with hsm_chaos.inject("crash here @ hsm.execute command=sign nth=1"), refused(CKR.DEVICE_ERROR):
        ck.once(session, "Sign", CMAC, key, b"data")
    for function, arguments in (
        ("C_SignInit", (session, CMAC, key)),
        ("C_FindObjectsInit", (session, None, 0)),
        ("C_GetTokenInfo", (hsm_pkcs11.slot_id, None)),
        ("C_OpenSession", (hsm_pkcs11.slot_id, 6, None, None, None)),
    ):
        assert ck.rv(function, *arguments) in (CKR.DEVICE_ERROR, CKR.ARGUMENTS_BAD), function
    with refused(CKR.DEVICE_ERROR):
        ck.open(hsm_pkcs11.slot_id)
    assert "until C_Initialize is called anew: Communication with the device was lost" in hsm_pkcs11.calls[-1].why
    ck.finalize()
    ck.initialize()
    again = ck.open(hsm_pkcs11.slot_id)
    ck.login(again, hsm_pkcs11.user_pin)
    [key] = ck.find(again, {3: "kek"})
    assert ck.once(again, "Sign", CMAC, key, b"data")


@under(sdk3=CKR.GENERAL_ERROR, sdk5=CKR.DEVICE_ERROR, device_error_sticks=True)
def test_silence_sticks_as_well(ck, session, hsm_chaos, ckr):
    """A request without an answer is a device error like any other."""
    key = ck.aes(session, "kek")
    with hsm_chaos.lose_response("sign"), refused(ckr):
        ck.once(session, "Sign", CMAC, key, b"data")
    with refused(CKR.DEVICE_ERROR):
        ck.state(session)


def test_a_device_error_does_not_stick_by_default(ck, session, hsm_chaos):
    """AWS support: the next attempt may go to a healthy HSM."""
    key = ck.aes(session, "kek")
    with hsm_chaos.inject("crash here @ hsm.execute command=sign nth=1"), refused(CKR.DEVICE_ERROR):
        ck.once(session, "Sign", CMAC, key, b"data")
    assert ck.once(session, "Sign", CMAC, key, b"data")


def test_our_own_mistakes_are_raised_in_the_test(ck, session, hsm_cluster, monkeypatch, request):
    """No exception can pass a C frame: the call is CKR_FUNCTION_FAILED, and the test fails with the exception."""
    key = ck.aes(session, "kek")
    monkeypatch.setattr("pytest_hsmcluster.client.blocking.Client.sign", lambda *a, **b: 1 / 0)
    with refused(CKR.FUNCTION_FAILED):
        ck.once(session, "Sign", CMAC, key, b"data")
    from pytest_hsmcluster.pkcs11.active import SLOTS

    [failure] = SLOTS.application.failures
    assert isinstance(failure, ZeroDivisionError)
    SLOTS.application.failures.clear()


def test_several_clusters_are_several_slots(ck, session, hsm_pkcs11, hsm_cluster_factory):
    """A key, a session and a login of one mean nothing in the other."""
    key = ck.aes(session, "kek")
    other = hsm_cluster_factory(sdk=3)
    first, second = ck.slots()
    assert first == hsm_pkcs11.slot_id
    assert [ck.token_info(slot).label.strip() for slot in (first, second)] == [b"hsm1", b"cavium"]
    there = ck.open(second)
    assert ck.state(there) == 2
    ck.login(there, f"{other.default_user}:{other.default_password}")
    with refused(CKR.KEY_HANDLE_INVALID):
        ck.once(there, "Sign", CMAC, key, b"data")
    assert ck.find(there, {3: "kek"}) == []


def test_a_cluster_that_is_closed_under_an_open_session(ck, session, hsm_pkcs11, hsm_cluster, hsm_cluster_factory):
    """By the test itself: the calls fail, and say why."""
    other = hsm_cluster_factory()
    slot = list(hsm_pkcs11.slots)[1]
    there = ck.open(slot)
    ck.login(there, f"{other.default_user}:{other.default_password}")
    key = ck.aes(there, "kek")
    other.close()
    assert ck.rv("C_SignInit", there, CMAC, key) == CKR.SESSION_HANDLE_INVALID
    assert f"is over: {other.id} was closed at" in hsm_pkcs11.calls[-1].why
    assert ck.rv("C_OpenSession", slot, 6, None, None, ctypes.byref(ctypes.c_ulong())) == CKR.SLOT_ID_INVALID
    assert ck.slots() == [hsm_pkcs11.slot_id]
    with refused(CKR.KEY_HANDLE_INVALID):
        ck.ok("C_SignInit", session, CMAC, key)
    assert "stored by tests/pkcs11/" in hsm_pkcs11.calls[-1].why
    assert ck.aes(session, "still here")


def test_the_library_is_one_and_its_slots_are_new(hsm_pkcs11, request):
    """No slot has the number of an earlier test's."""
    seen = request.config.stash.setdefault(SEEN, [])
    assert hsm_pkcs11.slot_id not in seen
    ck = Calls(hsm_pkcs11.module)
    ck.initialize()
    assert ck.slots() == [hsm_pkcs11.slot_id]
    ck.finalize()


SEEN = pytest.StashKey[list]()
