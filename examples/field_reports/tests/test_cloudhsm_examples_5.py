"""How does an application react when one HSM stops?"""

from typing import Any

import pytest

pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install python-pkcs11")
from pkcs11 import PKCS11Error

from pytest_hsmcluster import HsmCheck

from ..cloudhsm_examples_5 import AsReported, Repaired

pytestmark = pytest.mark.usefixtures("hsm_app_time")


STOPS = pytest.mark.hsm_chaos("destroy source @ client.clone nth=1")


@STOPS
@pytest.mark.hsm_cluster(sdk=3, checks=())
def test_as_reported_the_key_is_gone_with_the_hsm(token: Any, pin: str, hsm_check: HsmCheck) -> None:
    """The one HSM that had the key stops, and the sample with it."""
    with pytest.raises(PKCS11Error):
        AsReported(token, pin).protect("documents", b"signed and sealed")

    with pytest.raises(
        AssertionError,
        match=r"^lost key 'documents' .*, which held the only copy, .* create_object_minimum_nodes=2 would",
    ):
        hsm_check.no_lost_keys()


@STOPS
@pytest.mark.hsm_cluster(
    sdk=3, create_object_minimum_nodes=2, checks=("durable", "no_undecryptable_data", "no_orphan_keys")
)
def test_repaired(token: Any, pin: str, hsm_check: HsmCheck) -> None:
    """The create fails, and succeeds on the two HSMs that are left."""
    assert Repaired(token, pin).protect("documents", b"signed and sealed")

    hsm_check.retries()


@pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
@pytest.mark.hsm_sweep("crash", "destroy", points="hsm.*", checks=("no_undecryptable_data", "no_lost_keys"))
def test_repaired_wherever_an_hsm_stops(token: Any, pin: str) -> None:
    """At whatever step one HSM stops: the data is encrypted, and can be opened."""
    assert len(Repaired(token, pin).protect("documents", b"signed and sealed")) == 48
