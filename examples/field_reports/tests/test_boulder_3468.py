"""Does a CA sign again after its library was restarted?"""

from typing import Any

import pytest

pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install python-pkcs11")
from pkcs11 import PKCS11Error

from pytest_hsmcluster import Chaos, HsmCheck

from ..boulder_3468 import AsReported, Repaired

pytestmark = pytest.mark.usefixtures("hsm_app_time")


@pytest.fixture
def issuer(stored: Any) -> str:
    """The label of the CA's key."""
    stored.rsa("issuer")
    return "issuer"


def restart(library: Any) -> None:
    """What becomes of a CA's sessions when the daemon that has them is restarted."""
    library.reinitialize()


def test_as_reported_the_session_is_dead_for_ever(
    issuer: str, token: Any, pin: str, library: Any, hsm_chaos: Chaos, hsm_check: HsmCheck
) -> None:
    """A device error, and then the same session again and again."""
    signer = AsReported(token, pin, issuer)
    signer.sign(b"a certificate")
    hsm_chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=sign nth=1")
    errors = []
    for _ in range(4):
        with pytest.raises(PKCS11Error) as failed:
            signer.sign(b"another certificate")
        errors.append(failed.typename)
        if len(errors) == 1:
            restart(library)

    assert errors == ["DeviceError", *["SessionHandleInvalid"] * 3]
    with pytest.raises(
        AssertionError,
        match=r"^stale session of app .* \(AsReported\.__init__\), is over: .* used afterwards 3 times by app: sign",
    ):
        hsm_check.no_stale_handles()
    with pytest.raises(
        AssertionError, match=r"\(AsReported\.sign\) tried again twice after StaleSession, which no retry heals"
    ):
        hsm_check.retries()


def test_repaired(issuer: str, token: Any, pin: str, library: Any, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
    """A device error and a restart cost an attempt each."""
    signer = Repaired(token, pin, issuer)
    signer.sign(b"a certificate")
    hsm_chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=sign nth=1")
    signer.sign(b"another certificate")
    restart(library)
    signer.sign(b"a third certificate")

    hsm_check.no_stale_handles()
    hsm_check.retries(max_attempts=2)


@pytest.mark.hsm_sweep("crash", "drop", points="hsm.receive hsm.reply wire.*", checks=("no_stale_handles", "retries"))
def test_repaired_wherever_an_hsm_fails(issuer: str, token: Any, pin: str, library: Any) -> None:
    """An HSM that fails before or after the restart changes nothing."""
    signer = Repaired(token, pin, issuer)
    signer.sign(b"a certificate")
    restart(library)
    signer.sign(b"another certificate")
