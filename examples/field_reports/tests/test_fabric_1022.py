"""Does a dead session leave the cache?"""

from typing import Any

import pytest

pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install python-pkcs11")
from pkcs11 import PKCS11Error

from pytest_hsmcluster import Chaos, HsmCheck

from ..fabric_1022 import AsReported, Repaired

pytestmark = pytest.mark.usefixtures("hsm_app_time")


STICKY = pytest.mark.hsm_cluster(device_error_sticks=True)


@pytest.fixture
def peer(stored: Any) -> str:
    """The label of the peer's key."""
    stored.rsa("peer")
    return "peer"


# python-pkcs11 ends a search when it is collected, also one that the library refused to begin.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@STICKY
def test_as_reported_dead_sessions_are_handed_out_again(
    peer: str, token: Any, pin: str, library: Any, hsm_chaos: Chaos, hsm_check: HsmCheck
) -> None:
    """After an error the peer connects anew; the cache is full of sessions of the old connection, and stays so."""
    signer = AsReported(library, token, pin)
    signer.connect()
    signer.sign(peer, b"a block")
    hsm_chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=sign nth=1")
    with pytest.raises(PKCS11Error):
        signer.sign(peer, b"another block")
    signer.connect()
    for _ in range(3):
        with pytest.raises(PKCS11Error):
            signer.sign(peer, b"another block")

    with pytest.raises(
        AssertionError,
        match=r"^stale session of app .* \(AsReported\.sign\), is over: .* used afterwards .*: find_keys at",
    ):
        hsm_check.no_stale_handles()


@STICKY
def test_repaired(peer: str, token: Any, pin: str, library: Any, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
    """The session of the error is closed, and with the new connection the cache begins empty."""
    signer = Repaired(library, token, pin)
    signer.connect()
    signer.sign(peer, b"a block")
    hsm_chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=sign nth=1")

    for _ in range(3):
        signer.sign(peer, b"another block")

    hsm_check.no_stale_handles()
    hsm_check.retries(max_attempts=2)


@STICKY
@pytest.mark.hsm_sweep("crash", "drop", points="hsm.receive hsm.reply wire.*", checks=("no_stale_handles", "retries"))
def test_repaired_wherever_an_hsm_fails(peer: str, token: Any, pin: str, library: Any, hsm_pkcs11: Any) -> None:
    """Whatever is lost, the next connection serves."""
    signer = Repaired(library, token, pin)
    for _ in range(2):
        signer.sign(peer, b"a block")
