"""A C program in this process, in the test's own cluster."""

import pytest

from tests.pkcs11.ckcalls import Calls


@pytest.fixture
def ck(hsm_pkcs11):
    """The library, initialized."""
    calls = Calls(hsm_pkcs11.module)
    calls.initialize()
    yield calls
    calls.rv("C_Finalize", None)


@pytest.fixture
def session(ck, hsm_pkcs11):
    """A session in which the crypto user is logged in."""
    number = ck.open(hsm_pkcs11.slot_id)
    ck.login(number, hsm_pkcs11.user_pin)
    return number
