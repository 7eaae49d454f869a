"""Does the careful job keep its promises when HSMs are processes, and does the naive one break them there, too?"""

from pathlib import Path

import pytest

from examples.hurried import PROCESSES, pass_a_minute
from examples.key_custodian.company import Company
from examples.key_custodian.inventory import Inventory
from examples.key_custodian.tests import storms
from examples.key_custodian.tests.small import small_company
from pytest_hsmcluster import Chaos, HsmCheck, HsmCluster, Pkcs11Door

DAY_S = 20.0
"""A real second: time enough for a night's work on one key."""

pytestmark = PROCESSES

SDK3 = pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
SDK5 = pytest.mark.hsm_cluster(sdk=5)
kept = pytest.mark.hsm_cluster(
    checks=("durable", "no_orphan_keys", "no_resurrected_keys", "no_duplicate_labels", "misses_retried", "in_sync")
)


@pytest.fixture
def small(hsm_cluster: HsmCluster, inventory: Inventory, door: Pkcs11Door | None, tmp_path: Path) -> Company:
    """A company with one key, and a ledger on the disk."""
    return small_company(hsm_cluster, inventory, "payments/card-vault", door, day_s=DAY_S, path=tmp_path / "ledger")


@kept
@pytest.mark.parametrize(
    ("form", "scenario"),
    [
        pytest.param("hardened", "destroy source @ client.clone nth=1", marks=SDK3),
        pytest.param("hardened", "rolling-restart down_s=2 gap_s=1", marks=SDK5),
        pytest.param("production", "lost-ack generate_key", marks=SDK3),
        pytest.param("production", "partition a=custodian b=hsm-1", marks=SDK5),
        pytest.param("production", "gray-failure hsm-2", marks=SDK3),
    ],
    indirect=["form"],
)
def test_a_stormy_first_night_is_made_good(
    scenario: str, small: Company, hsm_cluster: HsmCluster, hsm_chaos: Chaos
) -> None:
    """The key is made in a storm; the next day services use it, and the next nights have nothing to repair."""
    with hsm_chaos.install(scenario.replace("custodian", small.application)):
        small.night(small.careful)
    small.day()
    pass_a_minute(hsm_cluster)
    small.days(1, small.careful)
    pass_a_minute(hsm_cluster)
    small.night(small.careful)
    pass_a_minute(hsm_cluster)

    assert small.reports[-1].of("failed") == [], str(small.reports[-1])
    assert len(small.ledger.entries("active")) == 1


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the key is lost with the HSM that made it")
@pytest.mark.hsm_cluster(sdk=3, checks=())
@pytest.mark.parametrize("form", ["hardened"], indirect=True)  # the naive job has one form only
def test_the_naive_job_loses_its_key(small: Company, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
    """The process that made it is killed, with its disk, before another one has a copy."""
    with storms.lost_with_its_hsm(hsm_chaos):
        small.night(small.naive)

    if [(lost.label, lost.hsms) for lost in hsm_check.lost_keys()] != [("kc/payments/card-vault/v1", ("hsm-1",))]:
        raise LookupError("another finding, which is no AssertionError: xfail does not swallow it")
    hsm_check.no_lost_keys()
