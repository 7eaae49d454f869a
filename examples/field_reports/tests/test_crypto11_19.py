"""Is a key known that was made and refused?"""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install python-pkcs11")

from pytest_hsmcluster import HsmCheck

from ..crypto11_19 import AsReported, LabelTaken, Repaired

pytestmark = pytest.mark.usefixtures("hsm_app_time")


REFUSES = pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2, duplicates="refused")


@pytest.fixture
def taken(stored: Any) -> str:
    """A label that is taken."""
    stored.aes("backup")
    return "backup"


@REFUSES
def test_as_reported_the_refused_key_is_there(taken: str, token: Any, pin: str, hsm_check: HsmCheck) -> None:
    """Each attempt is refused and leaves a key."""
    maker = AsReported(token, pin)
    for _ in range(2):
        with pytest.raises(LabelTaken):
            maker.make(taken)

    assert len(hsm_check.orphan_keys()) == 2
    with pytest.raises(
        AssertionError, match=r"^orphan key 'backup' .* on hsm-1, hsm-2, hsm-3 .*info \(TemplateInvalid\)"
    ):
        hsm_check.no_orphan_keys()
    with pytest.raises(AssertionError, match=r"^duplicate key 'backup' .*info \(TemplateInvalid\).*has the same label"):
        hsm_check.no_duplicate_labels()


@REFUSES
def test_repaired(taken: str, token: Any, pin: str, hsm_check: HsmCheck) -> None:
    """The label is looked for, and nothing is made."""
    maker = Repaired(token, pin)
    for _ in range(2):
        with pytest.raises(LabelTaken):
            maker.make(taken)
    maker.make("another")

    hsm_check.no_orphan_keys()
    hsm_check.no_duplicate_labels()
    hsm_check.retries()


@REFUSES
@pytest.mark.hsm_sweep(
    "drop",
    "fail CKR_DEVICE_ERROR",
    points="hsm.execute wire.*",
    op="generate_key",
    checks=("retries", "no_duplicate_labels", "no_orphan_keys"),
)
def test_repaired_wherever_an_hsm_fails(token: Any, pin: str, calm: Callable[[], None]) -> None:
    """What an attempt has left is removed before the next one."""
    maker = Repaired(token, pin)
    maker.make("backup")
    calm()
    maker.reap()
