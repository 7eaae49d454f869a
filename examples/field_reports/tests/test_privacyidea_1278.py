"""Does a retry on a new session find its key again?"""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install python-pkcs11")
from pkcs11 import PKCS11Error

from pytest_hsmcluster import HsmCheck

from ..privacyidea_1278 import AsReported, Repaired

pytestmark = pytest.mark.usefixtures("hsm_app_time")


@pytest.fixture
def secrets(stored: Any) -> str:
    """The label of a key that an operator made."""
    stored.aes("secrets")
    return "secrets"


def test_as_reported_the_old_key_is_used_in_the_new_session(
    secrets: str, token: Any, pin: str, outage: Callable[[], None], hsm_check: HsmCheck
) -> None:
    """All attempts fail, for the login of the key's handle is over; the next call would succeed."""
    application = AsReported(token, pin, secrets)
    application.encrypt(b"seed of an OTP token")
    outage()

    with pytest.raises(PKCS11Error):
        application.encrypt(b"seed of an OTP token")

    with pytest.raises(
        AssertionError,
        match=r"^stale handle of key 'secrets' .* lost its login .* used afterwards .* by app: encrypt at .*AsReported",
    ):
        hsm_check.no_stale_handles()
    with pytest.raises(AssertionError, match=r"tried again \d times after StaleHandle, which no retry heals"):
        hsm_check.retries()
    application.encrypt(b"seed of an OTP token")


def test_repaired(secrets: str, token: Any, pin: str, outage: Callable[[], None], hsm_check: HsmCheck) -> None:
    """The same outage costs one attempt."""
    application = Repaired(token, pin, secrets)
    application.encrypt(b"seed of an OTP token")
    outage()

    application.encrypt(b"seed of an OTP token")

    hsm_check.no_stale_handles()
    hsm_check.retries(max_attempts=2)


@pytest.mark.hsm_sweep("crash", "drop", points="hsm.receive hsm.reply wire.*", checks=("no_stale_handles", "retries"))
def test_repaired_wherever_an_hsm_fails(secrets: str, token: Any, pin: str) -> None:
    """Whatever is lost under two calls, both are done."""
    application = Repaired(token, pin, secrets)
    for _ in range(2):
        assert len(application.encrypt(b"seed of an OTP token")) == 48
