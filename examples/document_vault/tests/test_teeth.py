"""What would a wrong cluster have got away with?

`pytest examples --hsm-mutants` runs all tests against clusters that are wrong on purpose.  These are the ones that it
took until each of those that a vault can meet was noticed.
"""

import pytest

from pytest_hsmcluster import Chaos, Client, HsmCheck, HsmClock, HsmCluster

from .. import HardenedVault, Store, envelope
from .promises import SDK3


def test_every_document_has_a_data_key_of_its_own(
    documents: dict[str, bytes], store: Store, hsm_client: Client
) -> None:
    """Their nonces are all the same, so one data key for two documents would give both away."""
    rows = [store.load(name)[0] for name in documents]
    [kek] = hsm_client.find_keys(label=rows[0].kek)
    deks = [hsm_client.decrypt(kek, row.wrapped_dek, aad=envelope.bound_to(row.name)) for row in rows]
    assert len(dict.fromkeys(deks)) == len(documents)
    assert {len(dek) for dek in deks} == {envelope.DEK_BYTES}


@SDK3
@pytest.mark.parametrize("hsm", ["hsm-1", "hsm-2", "hsm-3"])
def test_a_busy_hsm_is_left_alone_for_a_while(
    hsm: str, vault: HardenedVault, documents: dict[str, bytes], hsm_chaos: Chaos, hsm_clock: HsmClock
) -> None:
    """It is asked again, or another one is, after a pause."""
    before = hsm_clock.now
    with hsm_chaos.throttle(hsm), hsm_chaos.route_to(hsm):
        assert vault.get("contract-0") == documents["contract-0"]
    assert hsm_clock.now - before >= 0.1


@pytest.mark.hsm_cluster(sweep=False)
def test_a_new_hsm_joins_with_the_newest_key(
    vault: HardenedVault, documents: dict[str, bytes], hsm_cluster: HsmCluster, hsm_check: HsmCheck
) -> None:
    """It starts from a snapshot of one that lives: what was made before is there, without any sweep."""
    vault.rotate()
    hsm_cluster.add_hsm("a")
    hsm_cluster.clock.advance(400)
    hsm_check.in_sync()
    assert {name: vault.get(name) for name in documents} == documents
