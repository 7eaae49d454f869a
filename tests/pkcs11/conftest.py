"""A C program in this process, in the test's own cluster."""

import pytest

from pytest_hsmcluster.pkcs11.active import MODULE
from tests.pkcs11.ckcalls import Calls, let_go


@pytest.fixture(autouse=True)
def _nobodys_library():
    """Tests here initialise and finalise the library as they like; python-pkcs11 begins anew with its next user."""
    let_go(str(MODULE))


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
