"""Is it tried again what may pass, and given up what may not?"""

from typing import Any

import pytest

pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install python-pkcs11")
from pkcs11 import PinIncorrect, PinLocked, PKCS11Error

from pytest_hsmcluster import Chaos, HsmCheck

from ..krill_542 import AsReported, Repaired

pytestmark = pytest.mark.usefixtures("hsm_app_time")


@pytest.fixture
def krill(stored: Any) -> str:
    """The label of the signer's key."""
    stored.rsa("krill")
    return "krill"


@pytest.mark.hsm_cluster(hsms=1, availability_check=False)
def test_as_reported_a_wrong_password_locks_the_account(krill: str, token: Any, pin: str, hsm_check: HsmCheck) -> None:
    """No retry makes a password right, and an HSM counts them; of three, each would have got a third."""
    with pytest.raises(PKCS11Error):
        AsReported(token, krill).sign("crypto_user:not it", b"a manifest")

    with pytest.raises(
        AssertionError,
        match=r"^retry of login by app .* tried again 5 times after LoginFailed, which no retry heals",
    ):
        hsm_check.retries()
    with pytest.raises(PinLocked):
        AsReported(token, krill).sign(pin, b"a manifest")


def test_as_reported_busy_hsms_are_hurried(
    krill: str, token: Any, pin: str, hsm_chaos: Chaos, hsm_check: HsmCheck
) -> None:
    """An HSM that is busy is no less busy at once."""
    signer = AsReported(token, krill)
    signer.sign(pin, b"a manifest")
    with hsm_chaos.throttle("hsm-1"), hsm_chaos.throttle("hsm-2"), hsm_chaos.throttle("hsm-3"):
        with pytest.raises(PKCS11Error):
            signer.sign(pin, b"another manifest")

    with pytest.raises(
        AssertionError,
        match=r"did not back off: tried again at once 5 times after HsmBusy: an HSM that is busy",
    ):
        hsm_check.retries()


@pytest.mark.hsm_cluster(hsms=1, availability_check=False)
def test_repaired_what_is_final(krill: str, token: Any, pin: str, hsm_check: HsmCheck) -> None:
    """A wrong password is tried once, and the account stays open."""
    signer = Repaired(token, krill)
    with pytest.raises(PinIncorrect):
        signer.sign("crypto_user:not it", b"a manifest")

    hsm_check.retries(max_attempts=1)
    signer.sign(pin, b"a manifest")


def test_repaired_what_passes(
    krill: str, token: Any, pin: str, hsm_chaos: Chaos, hsm_clock: Any, hsm_check: HsmCheck
) -> None:
    """It waits until the HSMs have time."""
    signer = Repaired(token, krill)
    signer.sign(pin, b"a manifest")
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        hsm_chaos.inject(f"fail 0xBB @ hsm.receive hsm={hsm} during=5s")
    signer.sign(pin, b"another manifest")

    hsm_check.retries(max_elapsed=30)


@pytest.mark.hsm_sweep("crash", "drop", "fail 0xBB", points="hsm.receive wire.*", checks=("retries",))
def test_repaired_wherever_an_hsm_fails(krill: str, token: Any, pin: str) -> None:
    """Whatever passes is outlasted."""
    signer = Repaired(token, krill)
    for _ in range(2):
        signer.sign(pin, b"a manifest")
