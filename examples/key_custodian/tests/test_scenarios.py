"""Does the hardened job keep every promise in every scenario that the plugin knows?"""

from collections.abc import Callable
from pathlib import Path

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.ledger import Ledger
from examples.key_custodian.tests import storms
from examples.key_custodian.tests.small import in_memory
from pytest_hsmcluster import Chaos, HsmCheck
from pytest_hsmcluster.scenarios import SCENARIOS

STORMY_NIGHT = 4
"""On this night all keys are rotated, a pair among them, and a retired one is deleted."""

FITTING: dict[str, tuple[str, ...]] = {
    "kill-mid-create": ("after_copies=1", "after_copies=2"),
    "replaced-hsm": ("hsm-1", "hsm-3"),
    "delay-sync": ("1h",),
    "stall-sync": ("",),
    "fail-clone": ("", "hsm-2"),
    "fail-cleanup": ("",),
    "lost-ack": (
        "generate_key",
        "generate_key_pair",
        "share_key",
        "find_keys",
        "sign",
        "verify",
        "delete_key",
        "login",
    ),
    "failed-ack": ("generate_key", "share_key", "delete_key", "sign"),
    "glitch": ("generate_key", "share_key", "delete_key", "sign"),
    "partition": (
        "a=custodian b=hsm-1",
        "a=custodian b=hsm-2 direction=one-way",
        "a=hsm-2 b=custodian direction=one-way",
    ),
    "gray-failure": ("hsm-1", "hsm-2"),
    "throttled": ("hsm-1", "hsm-2"),
    "full-hsm": ("hsm-1", "hsm-2"),
    "full-disk": ("hsm-1", "hsm-2"),
    "full-sessions": ("hsm-1", "hsm-2"),
    "joining-hsm": ("b",),
    "az-outage": ("a", "b"),
    "rolling-restart": ("", "down_s=2 gap_s=1"),
    "flapping": ("hsm-3", "hsm-1 up_s=2 down_s=1"),
    "user-drift": ("hsm=hsm-2 user=webshop_app", "hsm=hsm-1 user=crypto_user", "hsm=hsm-2 user=crypto_user"),
    "crashed-hsm": ("hsm-1", "hsm-3"),
    "destroyed-hsm": ("hsm-1", "hsm-3"),
    "routed-to": ("hsm-2 next=20",),
}
"""Scenario → the arguments with which it hits this job."""

BY_OPERATION = ("kill-mid-create", "lost-ack", "failed-ack", "glitch", "rolling-restart")
"""Scenarios whose arguments say more than which HSM is hit."""

NEEDS_A_MINIMUM = ("fail-cleanup",)
"""Scenarios of SDK 3's minimum of copies; they have no meaning under SDK 5."""

SDK3 = pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
SDK5 = pytest.mark.hsm_cluster(sdk=5)

CASES = [
    pytest.param(
        form, f"{name} {arguments}".strip(), marks=sdk, id=f"{form}-" + f"{name} {arguments}".strip() + f"-sdk{number}"
    )
    for form in ("hardened", "production")
    for name, choices in FITTING.items()
    for arguments in (choices if form == "hardened" or name in BY_OPERATION else choices[:1])
    for number, sdk in ((3, SDK3), (5, SDK5))
    if number == 3 or name not in NEEDS_A_MINIMUM
    if form == "hardened" or number == 5 or name in NEEDS_A_MINIMUM
]

PROMISES = ("durable", "no_orphan_keys", "no_resurrected_keys", "no_duplicate_labels", "misses_retried", "in_sync")
kept = pytest.mark.hsm_cluster(checks=(*PROMISES, "no_undecryptable_data"))


@pytest.fixture
def open_ledger() -> Callable[[Path], Ledger]:
    """Into memory: the other tests write thousands of files, each down to the disk."""
    return in_memory()


def test_every_scenario_has_a_case() -> None:
    """A scenario that is new in the plugin fails this test until somebody thinks about it."""
    assert FITTING.keys() == SCENARIOS.keys()


@kept
@pytest.mark.parametrize(("form", "scenario"), CASES, indirect=["form"])
def test_a_stormy_night_is_made_good_within_days(scenario: str, company: Company, hsm_chaos: Chaos) -> None:
    """Whatever a night brings, services can use their keys the next day, and soon all is as if nothing had been.

    That it does not matter which HSM is hit, and which SDK is used, the hardened form shows.  The production form goes
    through each hardship once, under SDK 5; the document vault's does so under SDK 3.
    """
    company.days(STORMY_NIGHT, company.careful)
    with hsm_chaos.install(scenario.replace("custodian", company.application)):
        company.night(company.careful)
    company.day()
    company.days(3, company.careful)

    assert company.reports[-1].is_routine, str(company.reports[-1])


@kept
@pytest.mark.parametrize(
    "storm", [storms.lost_with_its_hsm, storms.missed_by_routing, storms.orphan_left, storms.duplicate_after_retry]
)
@pytest.mark.parametrize("sdk", [pytest.param(3, marks=SDK3), pytest.param(5, marks=SDK5)])
def test_the_four_classic_losses_do_not_happen(
    sdk: int, storm: Callable[[Chaos], storms.Storm], company: Company, hsm_chaos: Chaos, hsm_check: HsmCheck
) -> None:
    """What breaks the naive job on its first night costs the hardened one a retry."""
    with storm(hsm_chaos):
        company.night(company.careful)
    company.replace_lost_hsms()
    company.days(3, company.careful)

    assert hsm_check.lost_keys() == []
