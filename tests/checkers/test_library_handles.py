"""Do the checks see what an application does wrong with the handles that the PKCS#11 library gave it?"""

import pytest

pkcs11 = pytest.importorskip("pkcs11", reason="pip install python-pkcs11")

CBC = {"mechanism": pkcs11.Mechanism.AES_CBC_PAD, "mechanism_param": bytes(16)}
HSMS = ("hsm-1", "hsm-2", "hsm-3")


@pytest.fixture
def token(hsm_pkcs11):
    lib = pkcs11.lib(hsm_pkcs11.module)
    if not lib.initialized:
        lib.initialize()
    yield next(slot.get_token() for slot in lib.get_slots() if slot.slot_id == hsm_pkcs11.slot_id)
    lib.finalize()  # for whoever loads it next in this process


@pytest.fixture
def login(token, hsm_pkcs11):
    return lambda: token.open(rw=True, user_pin=hsm_pkcs11.user_pin)


def new_key(session, label="kek"):
    key = session.generate_key(pkcs11.KeyType.AES, 256, label=label, store=True)
    assert (
        key.key_type is pkcs11.KeyType.AES
    )  # python-pkcs11 remembers it: later calls begin with no C_GetAttributeValue
    return key


def test_a_handle_from_before_a_login_is_found(login, hsm_check):
    """A token key's too, once somebody is logged in anew; where it was found again nothing is said."""
    old = login()
    key = new_key(old)
    old.close()
    session = login()
    session.get_key(label="kek").encrypt(b"data", **CBC)
    hsm_check.no_stale_handles()
    with pytest.raises(pkcs11.SessionHandleInvalid):
        key.encrypt(b"data", **CBC)  # python-pkcs11 ties it to its session
    with pytest.raises(
        AssertionError, match=r"^stale session of app since .*: session \d+, opened by .*login.* is over: it "
    ):
        hsm_check.no_stale_handles()


def test_a_lost_login_voids_handles_but_the_first_to_hear_of_it_is_no_finding(login, hsm_check, hsm_chaos, hsm_clock):
    """All connections are lost, and with them the login; a use before the next login only tells."""
    key = new_key(login())
    for hsm in HSMS:
        hsm_chaos.crash(hsm)
    for hsm in HSMS:
        hsm_chaos.restart(hsm)
    hsm_clock.advance(60)
    with pytest.raises(pkcs11.KeyHandleInvalid):
        key.encrypt(b"data", **CBC)
    hsm_check.no_stale_handles()
    session = login()
    for _ in range(2):
        with pytest.raises(pkcs11.KeyHandleInvalid):
            key.encrypt(b"data", **CBC)
    session.close()
    [stale] = hsm_check.stale_handles()
    assert (stale.key, stale.label, stale.hsms) == ("key-1", "kek", HSMS)
    assert "app lost its login with its last connection" in stale.cause
    with pytest.raises(
        AssertionError, match=r"^stale handle of key 'kek' .*; used afterwards twice by app: encrypt at "
    ):
        hsm_check.no_stale_handles()


def test_a_deleted_key_is_no_stale_handle(login, hsm_check):
    """Who deleted a key knows that its handle is void."""
    key = new_key(login())
    key.destroy()
    with pytest.raises(pkcs11.KeyHandleInvalid):
        key.encrypt(b"data", **CBC)
    hsm_check.no_stale_handles()


def test_a_session_that_ended_with_the_library_is_found_at_its_second_use(login, hsm_pkcs11, hsm_check):
    """The first use tells the application; the second is a mistake, and a retry in vain."""
    key = new_key(login())
    pkcs11.lib(hsm_pkcs11.module).reinitialize()

    def use():
        with pytest.raises(pkcs11.SessionHandleInvalid):
            key.encrypt(b"data", **CBC)

    use()
    hsm_check.no_stale_handles()
    use()
    use()
    [stale] = hsm_check.stale_handles()
    assert (stale.key, stale.handle, stale.hsms, stale.application) == ("", 0, (), "app")
    assert "is over: the application ended" in stale.cause
    assert "; used afterwards 3 times by app: encrypt at " in stale.cause
    with pytest.raises(AssertionError, match=r"tried again twice after StaleSession, which no retry heals"):
        hsm_check.retries()


@pytest.mark.hsm_cluster(sdk=3, duplicates="refused")
def test_a_refused_duplicate_is_an_orphan(login, hsm_check):
    """The library says no and the key is there: nobody was told of it, and the library's own look is nobody's."""
    session = login()
    new_key(session)
    for _ in range(2):
        with pytest.raises(pkcs11.AttributeValueInvalid):
            new_key(session)
    with pytest.raises(AssertionError, match=r"(?s)^orphan key 'kek' .*info \(TemplateInvalid\).*orphan key 'kek' "):
        hsm_check.no_orphan_keys()
    with pytest.raises(AssertionError, match=r"made the key again after an unknown outcome"):
        hsm_check.retries()


def test_reading_attributes_twice_over_is_one_use_of_a_session(login, hsm_pkcs11, hsm_check):
    """A library that asks for many attributes and then for each has used the session once."""
    session = login()
    session.generate_key(pkcs11.KeyType.AES, 256, label="kek", store=True)
    key = session.get_key(label="kek")
    pkcs11.lib(hsm_pkcs11.module).reinitialize()
    with pytest.raises(pkcs11.SessionHandleInvalid):
        key.encrypt(b"data", **CBC)
    assert [str(call).split(":")[0] for call in hsm_pkcs11.calls[-2:]] == [
        "C_GetAttributeValue → CKR_SESSION_HANDLE_INVALID"
    ] * 2
    hsm_check.no_stale_handles()


@pytest.mark.hsm_cluster(sdk=3, routing="pinned")
@pytest.mark.hsm_chaos("fail-clone", "stall-sync")
def test_reading_attributes_is_no_use(login, hsm_check):
    """C_GetAttributeValue names a key and relies on nothing: no exposure, no adoption."""
    key = new_key(login())
    assert key.label == "kek"
    hsm_check.exposure()


@pytest.mark.hsm_chaos("fail CKR_DEVICE_ERROR @ hsm.execute command=encrypt")
def test_a_retry_at_once_is_seen_although_the_library_asks_for_the_key_first(login, hsm_check):
    """C_EncryptInit takes its time on an HSM; that is no pause of the application."""
    key = new_key(login())

    def encrypt():
        for _ in range(4):
            try:
                return key.encrypt(b"data", **CBC)
            except pkcs11.PKCS11Error:
                pass

    encrypt()
    with pytest.raises(AssertionError, match=r"did not back off: tried again at once twice after HsmUnavailable"):
        hsm_check.retries()
