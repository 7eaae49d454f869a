"""How many pairs has an alias, after something has failed?"""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install python-pkcs11")
from pkcs11 import PKCS11Error

from pytest_hsmcluster import HsmCheck

from ..esignet_2331 import AsReported, Repaired

pytestmark = pytest.mark.usefixtures("hsm_app_time")


NO_SIGNATURE = pytest.mark.hsm_chaos("fail CKR_DEVICE_ERROR @ hsm.execute command=sign nth=1")


class Certificates(dict[str, bytes]):
    """Where certificates are stored."""

    def store(self, alias: str, certificate: bytes) -> None:
        self[alias] = certificate


@NO_SIGNATURE
def test_as_reported_the_retry_makes_a_second_pair(token: Any, pin: str, hsm_check: HsmCheck) -> None:
    """The signature of the certificate fails; the pair stays."""
    certificates = Certificates()
    authority = AsReported(token, pin, certificates.store)
    with pytest.raises(PKCS11Error):
        authority.issue("ROOT")
    authority.issue("ROOT")

    with pytest.raises(
        AssertionError, match=r"^duplicate key 'ROOT' .*generate_key_pair by app, ok at .*has the same label"
    ):
        hsm_check.no_duplicate_labels(strict=True)


@pytest.mark.hsm_chaos("lost-ack generate_key_pair")
def test_as_reported_an_answer_that_is_lost_leaves_an_orphan(token: Any, pin: str, hsm_check: HsmCheck) -> None:
    """The pair was made and nobody was told; the retry makes another one without looking."""
    authority = AsReported(token, pin, Certificates().store)
    with pytest.raises(PKCS11Error):
        authority.issue("ROOT")
    authority.issue("ROOT")

    with pytest.raises(
        AssertionError, match=r"^orphan key 'ROOT' .* info \(RequestTimeout\) .*nobody was told of the key"
    ):
        hsm_check.no_orphan_keys()
    with pytest.raises(
        AssertionError,
        match=r"\(AsReported\.issue\) made the key again after an unknown outcome \(RequestTimeout\) without looking",
    ):
        hsm_check.retries()


@pytest.mark.parametrize(
    "chaos",
    [
        pytest.param("a signature", marks=NO_SIGNATURE),
        pytest.param("an answer", marks=pytest.mark.hsm_chaos("lost-ack generate_key_pair")),
    ],
)
def test_repaired(token: Any, pin: str, chaos: str, calm: Callable[[], None], hsm_check: HsmCheck) -> None:
    """Whether a signature fails or an answer is lost: there is one pair in the end."""
    certificates = Certificates()
    authority = Repaired(token, pin, certificates.store)
    authority.issue("ROOT")
    calm()
    authority.reap()

    assert list(certificates) == ["ROOT"]
    hsm_check.no_duplicate_labels(strict=True)
    hsm_check.no_orphan_keys()
    hsm_check.retries()


@pytest.mark.hsm_sweep(
    "crash", "drop", points="hsm.reply wire.*", op="generate_key_pair sign validate_key", checks=("no_orphan_keys",)
)
def test_repaired_wherever_an_hsm_fails(token: Any, pin: str, calm: Callable[[], None], hsm_check: HsmCheck) -> None:
    """Whatever is lost: there is one pair in the end."""
    certificates = Certificates()
    authority = Repaired(token, pin, certificates.store)
    authority.issue("ROOT")
    calm()
    authority.reap()
    hsm_check.no_duplicate_labels(strict=True)
    assert list(certificates) == ["ROOT"]
