"""What does each fault at each step of a night do to the naive custodian's keys?

No part of the suite, for much of it fails: `test_naive_sweep.py` runs it and compares what broke with
`naive_sweep.txt`.  By hand: `python -m pytest examples/key_custodian/tests/naive_sweep.py`.
"""

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.inventory import Inventory
from examples.key_custodian.tests.small import DAY_S, small_company
from examples.key_custodian.tests.test_sweep import PROMISES
from examples.swept import Verdict
from pytest_hsmcluster import HsmCluster

STEPS = "client.* wire.* hsm.commit hsm.reply"
LEFT_BEHIND = ("no_lost_keys", "durable", "no_orphan_keys", "no_duplicate_labels")
EVERYTHING = ("no_lost_keys", *PROMISES)


def night(company: Company) -> str:
    """Let the naive job work, and return what it says of it."""
    report = company.naive()
    return "; ".join(f"{note.verb} {note.detail.partition(':')[0]}".strip() for note in report.notes)


def services(company: Company) -> str | None:
    """Return what keeps the services from using their keys, if anything does."""
    try:
        company.day()
    except Exception as error:
        return f"a service cannot use its key ({type(error).__name__})"
    return None


@pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2, checks=())
@pytest.mark.hsm_chaos("fail-clone hsm-3")
@pytest.mark.hsm_sweep("crash", "drop", "fail CKR_DEVICE_ERROR", "delay 30s", points=STEPS, op="generate_key_pair")
def test_a_pair_that_can_be_copied_once(
    hsm_cluster: HsmCluster,
    inventory: Inventory,
    verdict: Verdict,
) -> None:
    """The third HSM takes no copy, so the second has to, and of both halves."""
    company = small_company(hsm_cluster, inventory, "invoices/signer")
    # The HSM without the pair is asked too, and the naive job takes its "no such key" for an answer in every case.
    verdict.of(lambda: night(company), LEFT_BEHIND, lambda: services(company))


@pytest.fixture
def second_night(hsm_cluster: HsmCluster, inventory: Inventory) -> Company:
    """A company on the eve of the night on which its key is replaced."""
    company = small_company(hsm_cluster, inventory, "payments/card-vault")
    company.days(1, company.naive)
    company.cluster.clock.advance(DAY_S)
    return company


@pytest.mark.hsm_cluster(sdk=5, checks=())
@pytest.mark.hsm_sweep("crash", "drop", "fail CKR_DEVICE_ERROR", points=STEPS, op="generate_key share_key delete_key")
def test_rotation(second_night: Company, verdict: Verdict) -> None:
    """A key is replaced, shared with two users, and the old one is deleted."""
    verdict.of(lambda: night(second_night), EVERYTHING, lambda: services(second_night))
