"""Is there any step of the job's night at which a failure costs a key, leaves one behind, or shuts out a service?

The other files name their faults.  Here nobody does: a night is run once to see which points it passes, and then once
for every fault at every point.
"""

from contextlib import closing, suppress

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.inventory import Inventory
from examples.key_custodian.tests.small import DAY_S, small_company
from pytest_hsmcluster import ApplicationDied, Chaos, HsmCluster, HsmState

EVERYTHING = ("crash", "destroy", "drop", "corrupt", "fail CKR_DEVICE_ERROR", "delay 30s", "hold")
PROMISES = (
    "durable",
    "no_orphan_keys",
    "no_resurrected_keys",
    "no_duplicate_labels",
    "misses_retried",
    "in_sync",
    "no_undecryptable_data",
)

SDK3 = pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
SDK5 = pytest.mark.hsm_cluster(sdk=5)
NIGHTS = 3
"""After so many quiet nights nothing may be left of a bad one: what nobody knows is seen, watched, and deleted."""


@pytest.fixture
def company(request: pytest.FixtureRequest, hsm_cluster: HsmCluster, inventory: Inventory) -> Company:
    """A company with one key, on the eve of a night on which it is replaced and deleted."""
    company = small_company(hsm_cluster, inventory, request.param)
    company.days(1, company.hardened)
    company.cluster.clock.advance(DAY_S)  # a night on which nothing would be due
    return company


def recover(company: Company, chaos: Chaos) -> None:
    """End the storm, switch on what is off, and let the company live until a night brings nothing new."""
    chaos.undo_all()
    for hsm in company.cluster.hsms:
        if hsm.state is HsmState.DOWN:
            chaos.restart(hsm.id)
    company.day()
    for _ in range(NIGHTS):
        company.days(1, company.hardened)
        if company.reports[-1].is_routine:
            return
    pytest.fail(f"even {NIGHTS} nights later:\n{company.reports[-1]}")


def check_what_is_there(company: Company) -> None:
    """Compare the HSMs, and what the services see, with the inventory: one key for each plan, the same everywhere."""
    expected = []
    for plan in company.inventory.keys:
        [active] = [entry for entry in company.ledger.entries("active", "retired", "intended") if entry.plan == plan.id]
        halves = ("private", "public") if plan.is_pair else ("secret",)
        for handle, half in zip(active.handles, halves, strict=True):
            shares = () if half == "public" else plan.share_with
            expected.append((handle, active.label, half, company.cluster.default_user, shares))
        for user in plan.share_with:
            with closing(company.cluster.client(plan.service, login=False)) as service:
                service.login(user, company.cluster.default_password)
                assert {key.number for key in service.find_keys()} == set(active.handles), f"what {user} sees"
    for hsm in company.cluster.hsms:
        there = [(key.handle, key.label, key.cls, key.owner, key.shares) for key in hsm.keys.values()]
        assert sorted(there) == sorted(expected), f"what is on {hsm.id}"


@pytest.mark.hsm_sweep(
    *EVERYTHING,
    points="client.* wire.* hsm.commit hsm.reply",
    op="generate_key* share_key delete_key",
    checks=PROMISES,
)
@pytest.mark.parametrize(
    "company",
    [
        pytest.param("payments/card-vault", marks=SDK5, id="key-SDK 5"),
        pytest.param("invoices/signer", marks=SDK3, id="pair-SDK 3"),
    ],
    indirect=True,
)
def test_changes(company: Company, hsm_chaos: Chaos) -> None:
    """Whatever fails while a key is made, shared and deleted, the job's own process included, is repaired by the next."""
    with suppress(ApplicationDied):
        company.night(company.hardened)

    recover(company, hsm_chaos)
    check_what_is_there(company)
