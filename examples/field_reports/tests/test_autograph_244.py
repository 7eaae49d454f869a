"""Does one HSM of three take the signer with it?"""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install python-pkcs11")
from pkcs11 import PKCS11Error

from pytest_hsmcluster import Chaos, HsmCheck, HsmClock, HsmCluster

from ..autograph_244 import UNAVAILABLE, AsReported, Repaired

pytestmark = pytest.mark.usefixtures("hsm_app_time")


REQUESTS = [b"an add-on", b"an update", b"a certificate", b"a recommendation"]


@pytest.fixture
def replaced(hsm_cluster: HsmCluster, hsm_chaos: Chaos, hsm_clock: HsmClock) -> Callable[[], None]:
    """One HSM fails and is replaced by one that has no keys yet; asked for before any are made."""
    before = hsm_cluster.backup()

    def replaced() -> None:
        hsm_chaos.stall_sync()
        hsm_chaos.replace("hsm-1", backup=before)
        hsm_clock.advance(600)

    return replaced


@pytest.fixture
def signing(replaced: Callable[[], None], stored: Any) -> str:
    """The label of the signing key."""
    stored.rsa("signing")
    return "signing"


def test_as_reported_the_service_ends(
    signing: str, token: Any, pin: str, replaced: Callable[[], None], hsm_check: HsmCheck
) -> None:
    """The request that is sent to the new HSM is the last one."""
    service = AsReported(token, pin, signing).serve(REQUESTS)
    next(service)
    replaced()

    with pytest.raises(PKCS11Error):
        list(service)

    assert list(service) == [], "it has ended"
    with pytest.raises(
        AssertionError,
        match=r"^routing miss of key 'signing' .* on hsm-4 .* while hsm-2, hsm-3 held the key; never retried",
    ):
        hsm_check.misses_retried()


def test_repaired(signing: str, token: Any, pin: str, replaced: Callable[[], None], hsm_check: HsmCheck) -> None:
    """The next attempt goes to an HSM that has the key."""
    service = Repaired(token, pin, signing).serve(REQUESTS)
    answers = [next(service)]
    replaced()
    answers += service

    assert UNAVAILABLE not in answers
    assert len(hsm_check.routing_misses()) > 0
    hsm_check.misses_retried()
    hsm_check.retries(max_attempts=2)


@pytest.mark.hsm_sweep(
    "crash", "drop", "fail CKR_DEVICE_ERROR", points="hsm.execute wire.*", checks=("misses_retried",)
)
def test_repaired_wherever_an_hsm_fails(signing: str, token: Any, pin: str) -> None:
    """Whichever call an HSM fails, all requests are answered with a signature."""
    assert UNAVAILABLE not in list(Repaired(token, pin, signing).serve(REQUESTS))
