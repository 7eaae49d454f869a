"""What does each fault at each step of a night do to the naive custodian's keys?

No part of the suite, for much of it fails: `test_naive_sweep.py` runs it and compares what broke with `naive_sweep.txt`.
By hand: `python -m pytest examples/key_custodian/tests/naive_sweep.py`.
"""

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.inventory import Inventory
from examples.key_custodian.tests.small import DAY_S, small_company
from examples.key_custodian.tests.test_sweep import PROMISES
from examples.swept import Verdict, verdict  # noqa: F401
from pytest_hsmcluster import HsmCluster

EFFECTS = ("crash", "destroy", "drop", "fail CKR_DEVICE_ERROR", "delay 30s")
CHECKS = ("no_lost_keys", *PROMISES)

no_checks = pytest.mark.hsm_cluster(checks=())


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


@no_checks
@pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
@pytest.mark.hsm_chaos("fail-clone hsm-3")
@pytest.mark.hsm_sweep(*EFFECTS, points="*", op="generate_key_pair")
def test_pair_only_just(hsm_cluster: HsmCluster, inventory: Inventory, verdict: Verdict) -> None:  # noqa: F811
    """A pair is made that can be copied to one other HSM only, which is just enough."""
    company = small_company(hsm_cluster, inventory, "invoices/signer")
    verdict.of(lambda: night(company), CHECKS, lambda: services(company))


@pytest.fixture
def second_night(hsm_cluster: HsmCluster, inventory: Inventory) -> Company:
    """A company on the eve of the night on which its key is replaced."""
    company = small_company(hsm_cluster, inventory, "payments/card-vault")
    company.days(1, company.naive)
    company.cluster.clock.advance(DAY_S)
    return company


@no_checks
@pytest.mark.hsm_cluster(sdk=5)
@pytest.mark.hsm_sweep(*EFFECTS, points="*", op="generate_key share_key delete_key")
def test_rotation(second_night: Company, verdict: Verdict) -> None:  # noqa: F811
    """A key is replaced, shared with two users, and the old one deleted."""
    verdict.of(lambda: night(second_night), CHECKS, lambda: services(second_night))
