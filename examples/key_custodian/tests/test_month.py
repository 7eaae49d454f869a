"""Does the hardened job live through a month in which something breaks every other night?"""

from pathlib import Path

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.inventory import Inventory
from pytest_hsmcluster import HsmCluster

SDK3 = pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
SDK5 = pytest.mark.hsm_cluster(sdk=5)

STORMS = {
    1: "lost-ack share_key",
    2: "lost-ack generate_key",
    4: "kill-mid-create",
    6: "replaced-hsm {first}",
    8: "gray-failure {second}",
    9: "partition a=custodian b={first}",
    10: "user-drift hsm={third} user=webshop_app",
    12: "az-outage {zone}",
    13: "fail-clone",
    15: "user-drift hsm={first} user=crypto_user",
    17: "flapping {third}",
    19: "full-hsm {second}",
    21: "rolling-restart down_s=20 gap_s=5",
    23: "throttled {first}",
    24: "stall-sync",
    26: "destroyed-hsm {second}",
}
"""Night → what breaks on it; an HSM is named by its place, because by the end none is the one it was."""


def weather(cluster: HsmCluster, night: int, application: str) -> str:
    """Return the scenario of a night, for the HSMs that there are by then."""
    first, second, third = cluster.hsms
    storm = STORMS[night].replace("custodian", application)
    return storm.format(first=first.id, second=second.id, third=third.id, zone=second.zone)


def live_through(company: Company, nights: int) -> None:
    """Let nights and days pass, the stormy ones among them."""
    for night in range(nights):
        if night in STORMS:
            with company.cluster.chaos.install(weather(company.cluster, night, company.application)):
                company.night(company.careful)
        else:
            company.night(company.careful)
        company.day()


@pytest.mark.hsm_cluster(
    checks=("durable", "no_orphan_keys", "no_resurrected_keys", "no_duplicate_labels", "misses_retried", "in_sync")
)
@pytest.mark.parametrize(
    "form",
    [
        pytest.param("hardened", marks=SDK3, id="hardened, SDK 3"),
        pytest.param("hardened", marks=SDK5, id="hardened, SDK 5"),
        pytest.param("production", marks=SDK5, id="production, SDK 5"),
    ],
    indirect=True,
)
def test_a_month_of_bad_weather(form: str, company: Company) -> None:
    """After thirty nights every service has had its key on every day, and nothing is left that should not be there.

    One month of the production form is enough: its nights under SDK 3 are in the sweep.
    """
    live_through(company, nights=30)

    assert company.reports[-1].is_routine, str(company.reports[-1])
    ours = [key.label for key in company.cluster.hsms[0].keys.values()]
    kept = [entry.label for entry in company.ledger.entries("active", "retired") for _ in entry.handles]
    assert sorted(ours) == sorted(kept)
    assert sum(len(report.of("rotated")) for report in company.reports) >= 15
    assert len(company.cluster.history.of("lost")) == 4  # two of them in one night


def test_the_same_storms_twice(inventory: Inventory, tmp_path: Path) -> None:
    """The same seed gives the same story, event for event and night for night."""

    def story(name: str) -> tuple[str, str]:
        with HsmCluster(3, seed=7) as cluster:
            company = Company(cluster, inventory, tmp_path / name)
            live_through(company, nights=11)
            return cluster.history.digest(), "\n".join(map(str, company.reports))

    assert story("one.json") == story("other.json")
