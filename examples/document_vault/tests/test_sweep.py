"""Is there any step of a rotation at which a failure costs a document or a key?

The other files name their faults.  Here nobody does: each rotation is run once to see which points it passes, and then
once for every fault at every point.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest
from faker import Faker

from pytest_hsmcluster import Chaos, Client, HsmCheck, HsmClock, HsmCluster

from .. import HardenedVault, Store, VaultUnavailable
from ..hsm import Hsm
from .mortal import Mortal
from .promises import CHECKS, SDK3, SDK5

EVERYTHING = ("crash", "destroy", "drop", "corrupt", "fail CKR_DEVICE_ERROR", "delay 30s", "hold")

Recover = Callable[[], HardenedVault]


@pytest.fixture
def dying(hsm_client: Client, store: Store, hsm_clock: HsmClock) -> HardenedVault:
    """A hardened vault, not started, that a fault may kill."""
    return HardenedVault(cast(Hsm, Mortal(hsm_client)), store, sleep=hsm_clock.advance)


@pytest.fixture
def recover(hsm_cluster: HsmCluster, hsm_chaos: Chaos, hsm_clock: HsmClock, store: Store) -> Recover:
    """End the storm, let ten minutes pass, and return the vault's next process, started."""

    def recover() -> HardenedVault:
        hsm_chaos.undo_all()
        for hsm in hsm_cluster.hsms:
            if hsm.state == "down":
                hsm_chaos.restart(hsm.id)
        while len(hsm_cluster.hsms) < 3:  # the service replaces HSMs that were lost
            hsm_cluster.add_hsm("a")
        hsm_clock.advance(600)
        vault = HardenedVault(hsm_cluster.client("app"), store, sleep=hsm_clock.advance)
        vault.start()
        return vault

    return recover


@pytest.fixture
def document(hardened: HardenedVault, hsm_faker: Faker) -> bytes:
    """A kilobyte that is in the hardened vault already."""
    document = hsm_faker.hsm_payload(1024)
    hardened.start()
    hardened.put("contract", document)
    return document


@pytest.mark.hsm_sweep(*EVERYTHING, points="*", checks=CHECKS)
@pytest.mark.parametrize("", [pytest.param(marks=SDK3, id="SDK 3"), pytest.param(marks=SDK5, id="SDK 5")])
def test_rotation(
    document: bytes,
    dying: HardenedVault,
    recover: Recover,
    hsm_cluster: HsmCluster,
    hsm_clock: HsmClock,
    hsm_check: HsmCheck,
    store: Store,
) -> None:
    """Whatever fails at whatever step, the process itself included: afterwards the document is there, under one key."""
    with suppress(VaultUnavailable, SystemExit):
        dying.rotate()

    vault = recover()
    assert vault.get("contract") == document
    vault.rotate()
    hsm_clock.advance(60)
    vault.maintain()
    assert vault.get("contract") == document
    assert [[key.label for key in hsm.keys.values()] for hsm in hsm_cluster.hsms] == [[store.current()]] * 3
    hsm_check.session_keys_stay_put()


@SDK3
@pytest.mark.hsm_sweep("crash", "drop", points="hsm.commit wire.* client.*", op="generate_key", depth=2, checks=CHECKS)
def test_first_key_and_two_failures(
    dying: HardenedVault, recover: Recover, hsm_cluster: HsmCluster, hsm_clock: HsmClock, store: Store
) -> None:
    """Two failures while the first key is made, in every order that can happen: in the end there is one key."""
    with suppress(VaultUnavailable, SystemExit):
        dying.start()

    vault = recover()
    hsm_clock.advance(60)
    vault.maintain()
    assert [[key.label for key in hsm.keys.values()] for hsm in hsm_cluster.hsms] == [[store.current()]] * 3
