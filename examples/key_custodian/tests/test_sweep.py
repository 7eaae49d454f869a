"""Is there any step of the job's night at which a failure costs a key, leaves one behind, or shuts out a service?

The other files name their faults.  Here nobody does: a night is run once to see which points it passes, and then once
for every fault at every point.
"""

from contextlib import closing, suppress

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.inventory import Inventory
from examples.key_custodian.tests.small import DAY_S, STRANGER, small_company
from examples.mortal import dead_men_search
from pytest_hsmcluster import ApplicationDied, Chaos, HsmCluster, HsmState, KeyAccessDenied, Pkcs11Door

pytestmark = dead_men_search

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
"""They make keys differently; sharing and deleting is the same."""

NIGHTS = 3
"""After so many quiet nights nothing may be left of a bad one: what nobody knows is seen, watched, and deleted."""


CHANGES = pytest.mark.hsm_sweep(
    *("crash", "destroy", "drop", "corrupt", "fail CKR_DEVICE_ERROR", "delay 30s", "hold"),
    points="client.* wire.* hsm.commit hsm.reply",
    op="generate_key_pair share_key delete_key",
    checks=PROMISES,
)
CREATES = CHANGES.with_args(op="generate_key")
QUESTIONS = pytest.mark.hsm_sweep(
    *("crash", "drop"), points="client.receive wire.response", op="login find_keys sign verify", checks=PROMISES
)
PRODUCTION_CHANGES = pytest.mark.hsm_sweep(
    *("crash", "drop", "fail CKR_DEVICE_ERROR"),
    points="client.clone client.receive client.report wire.response hsm.commit",
    op="generate_key generate_key_pair delete_key",
    checks=PROMISES,
)
"""It has nothing to do with sharing: that is the operator's.  Each end that a call can have is met, done or not."""
PRODUCTION_QUESTIONS = pytest.mark.hsm_sweep(
    "drop",
    points="wire.response",
    op="login find_keys sign verify read_attributes validate_key",
    checks=PROMISES,
)


@pytest.fixture
def company(
    request: pytest.FixtureRequest, hsm_cluster: HsmCluster, inventory: Inventory, door: Pkcs11Door | None
) -> Company:
    """A company with one key, on the eve of a night on which it is replaced and deleted."""
    company = small_company(hsm_cluster, inventory, request.param, door)
    company.night(company.careful)
    company.cluster.clock.advance(1.5 * DAY_S)  # a day and a night on which nothing is due
    return company


def recover(company: Company, chaos: Chaos) -> None:
    """End the storm, switch on what is off, and let nights pass until one brings nothing new."""
    chaos.undo_all()
    for hsm in company.cluster.hsms:
        if hsm.state is HsmState.DOWN:
            chaos.restart(hsm.id)
    company.day()
    for _ in range(NIGHTS):
        company.night(company.careful)
        if company.reports[-1].is_routine:
            return
        company.cluster.clock.advance(DAY_S / 2)
    pytest.fail(f"even {NIGHTS} nights later:\n{company.reports[-1]}")


def check_what_is_there(company: Company) -> None:
    """Look at the HSMs themselves: the inventory's key is on each of three, alike, and nothing else."""
    [plan], owner = company.inventory.keys, company.cluster.default_user
    [entry] = company.ledger.entries("active", "retired", "intended")
    halves = {"private": plan.share_with, "public": ()} if plan.is_pair else {"secret": plan.share_with}
    expected = [
        (number, entry.label, half, owner, shares, True)
        for number, (half, shares) in zip(entry.handles, halves.items(), strict=True)
    ]
    for hsm in company.cluster.hsms:
        there = [
            (company.number(key), key.label, key.cls, key.owner, key.shares, key.token) for key in hsm.keys.values()
        ]
        assert sorted(there) == sorted(expected), f"what is on {hsm.id}"
    assert len(company.cluster.hsms) == 3


def check_who_may(company: Company) -> None:
    """Look with the eyes of services: their users see their key and cannot delete it, a stranger does not see it."""
    [plan] = company.inventory.keys
    [entry] = company.ledger.entries("active")
    for user in (plan.share_with[-1], STRANGER):
        with closing(company.cluster.client(plan.service, login=False)) as service:
            service.login(user, company.cluster.default_password)
            seen = [key for key in service.find_keys() if key.cls != "public"]
            numbers = {key.handle: company.number(key) for key in company.cluster.hsms[0].keys.values()}
            expected = [] if user == STRANGER else [entry.handles[0]]
            assert [numbers[key.number] for key in seen] == expected, f"what {user} sees"
            for key in seen:
                with pytest.raises(KeyAccessDenied):
                    service.delete_key(key)


@pytest.mark.parametrize(
    ("form", "company"),
    [
        pytest.param("hardened", "invoices/signer", marks=[SDK3, CHANGES], id="a pair, SDK 3"),
        pytest.param("hardened", "invoices/signer", marks=[SDK3, QUESTIONS], id="what is only asked"),
        pytest.param("hardened", "payments/card-vault", marks=[SDK5, CREATES], id="a key, SDK 5"),
        pytest.param("production", "invoices/signer", marks=[SDK3, PRODUCTION_CHANGES], id="production, a pair, SDK 3"),
        pytest.param("production", "invoices/signer", marks=[SDK3, PRODUCTION_QUESTIONS], id="production, asked"),
        pytest.param(
            "production",
            "payments/card-vault",
            marks=[SDK5, PRODUCTION_CHANGES.with_args(op="generate_key")],
            id="production, a key, SDK 5",
        ),
    ],
    indirect=True,
)
def test_night(company: Company, hsm_chaos: Chaos) -> None:
    """Whatever fails while a key is made, shared and deleted, the job's own process included, the next one repairs.

    The hardened form has met all seven effects at every step.  The production form meets the three that differ in its
    return values, at the points from which on a call has done something.
    """
    with suppress(ApplicationDied):
        company.night(company.careful)

    recover(company, hsm_chaos)
    check_what_is_there(company)
    check_who_may(company)
