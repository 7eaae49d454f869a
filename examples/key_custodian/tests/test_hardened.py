"""What does the hardened job do about each thing that can go wrong?"""

from dataclasses import replace
from pathlib import Path

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.inventory import KeyPlan
from examples.mortal import dead_men_search
from pytest_hsmcluster import ApplicationDied, Chaos, Client, HsmCheck, HsmClock, HsmCluster

CARD_VAULT = "kc/payments/card-vault"

every_sdk = pytest.mark.parametrize(
    "sdk",
    [
        pytest.param(3, marks=pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)),
        pytest.param(5, marks=pytest.mark.hsm_cluster(sdk=5)),
    ],
)
tidy = pytest.mark.hsm_cluster(checks=("durable", "no_orphan_keys", "no_resurrected_keys", "no_duplicate_labels"))


def labels(cluster: HsmCluster) -> list[str]:
    """Return what is in the cluster, looked up where no application can look."""
    return sorted(key.label for key in cluster.hsms[0].keys.values())


CREATES = ("generate_key", "generate_key_pair")
STEPS = [
    *(f"client.{point} op={op}" for op in CREATES for point in ("route", "send", "receive", "clone", "report")),
    *(f"client.{point} op={op}" for op in ("find_keys", "sign", "share_key") for point in ("send", "receive")),
]


@tidy
@dead_men_search
@every_sdk
@pytest.mark.parametrize("step", STEPS)
def test_what_a_dying_job_leaves_is_finished_by_the_next(
    sdk: int, step: str, company: Company, hsm_chaos: Chaos
) -> None:
    """The intent is on disk before the create, so the next process knows what may be half done."""
    with hsm_chaos.inject(f"crash @ {step} nth=1"), pytest.raises(ApplicationDied):
        company.careful()
    company.days(1, company.careful)

    assert company.reports[0].of("failed") == []
    assert labels(company.cluster) == [
        "kc/invoices/signer/v1",  # a pair
        "kc/invoices/signer/v1",
        "kc/payments/card-vault/v1",
        "kc/webshop/session-mac/v1",
    ]


@tidy
@every_sdk
def test_a_create_that_happens_after_the_job_gave_up_is_reaped(sdk: int, company: Company, hsm_chaos: Chaos) -> None:
    """A request that was only late makes a second key of the same label; it is seen, watched and deleted."""
    with hsm_chaos.inject("delay 25100ms @ wire.request command=generate_key nth=1"):  # the job looks after 25 s
        company.night(company.careful)
    company.day()
    company.days(2, company.careful)

    duplicated, reaped, after = company.reports
    assert duplicated.of("duplicate") == duplicated.of("suspected") == [f"{CARD_VAULT}/v1"]
    assert reaped.of("reaped") == [f"{CARD_VAULT}/v1"]
    assert after.is_routine


@tidy
@every_sdk
def test_a_deleted_key_that_comes_back_is_deleted_again(sdk: int, company: Company, hsm_chaos: Chaos) -> None:
    """An HSM that was off brings a key back, the sweep spreads it, and the next night it goes for good."""
    company.days(4, company.careful)
    with hsm_chaos.crash("hsm-3"):
        company.night(company.careful)
    company.day()
    assert f"{CARD_VAULT}/v1" in labels(company.cluster)
    company.days(1, company.careful)

    assert company.reports[4].of("deleted") == [f"{CARD_VAULT}/v1"]
    assert company.reports[5].of("returned") == [f"{CARD_VAULT}/v1"]


def test_a_key_is_retired_only_when_another_has_proven_itself(company: Company, hsm_chaos: Chaos) -> None:
    """While no new key can be made, the old one stays in use, however old it is."""
    company.days(2, company.careful)
    with hsm_chaos.fail_clone(), hsm_chaos.stall_sync():
        report = company.night(company.careful)
        company.day()

    assert report.of("failed") == [f"make {CARD_VAULT}/v2"]
    assert [entry.label for entry in company.ledger.entries("active") if CARD_VAULT in entry.label] == [
        f"{CARD_VAULT}/v1"
    ]
    company.days(1, company.careful)
    assert company.reports[-1].of("rotated") == [f"{CARD_VAULT}/v2"]


def test_an_unknown_key_is_watched_before_it_goes_and_a_foreign_one_stays(
    company: Company, hsm_client: Client, hsm_check: HsmCheck
) -> None:
    """Only keys with the job's own prefix are its business, and even these get a night's grace."""
    company.days(1, company.careful)
    hsm_client.generate_key("AES", 256, label="kc/left/behind")
    hsm_client.generate_key("AES", 256, label="not-ours")
    company.days(2, company.careful)

    assert company.reports[1].of("suspected") == ["kc/left/behind"]
    assert company.reports[2].of("reaped") == ["kc/left/behind"]
    assert "not-ours" in labels(company.cluster)
    hsm_check.in_sync()


def test_a_job_without_its_ledger_touches_nothing(company: Company) -> None:
    """A lost ledger makes every key unknown; deleting them all would be the worst answer to that."""
    company.days(5, company.careful)
    before = labels(company.cluster)
    company.ledger_path.unlink()
    report = company.careful()

    assert report.of("failed") == ["start"]
    assert labels(company.cluster) == before


def test_shares_that_a_new_hsm_missed_are_said_again(
    company: Company, hsm_cluster: HsmCluster, hsm_clock: HsmClock, hsm_check: HsmCheck
) -> None:
    """An HSM that joins from a snapshot lacks what was shared meanwhile; nothing but the job repairs that."""
    company.days(1, company.careful)
    hsm_cluster.add_hsm("a")
    hsm_clock.advance(60)  # the snapshot is taken, the HSM has not joined yet
    company.inventory = replace(company.inventory, keys=tuple(map(shared_with_everybody, company.inventory.keys)))
    company.night(company.careful)
    assert [finding.hsms for finding in hsm_check.differences()] == [("hsm-4",)] * 2
    company.day()

    company.days(1, company.careful)
    hsm_check.in_sync()


def shared_with_everybody(plan: KeyPlan) -> KeyPlan:
    """Return a plan that lets two more users in; the pair's plan stays as it is."""
    return plan if plan.is_pair else replace(plan, share_with=("fraud_app", "invoices_app", "webshop_app"))


def test_a_user_who_is_off_the_list_loses_his_keys(company: Company) -> None:
    """What is taken back is taken back on every HSM, and again every night."""
    company.days(1, company.careful)
    vault, *others = company.inventory.keys
    company.inventory = replace(company.inventory, keys=(replace(vault, share_with=("payments_app",)), *others))
    company.days(1, company.careful)

    for hsm in company.cluster.hsms:
        shares = {key.label: key.shares for key in hsm.keys.values()}
        assert shares[f"{CARD_VAULT}/v1"] == ("payments_app",)


def test_a_locked_out_job_reports_and_does_not_lock_the_account(company: Company, hsm_cluster: HsmCluster) -> None:
    """A password that is refused is tried once a night."""
    company.days(1, company.careful)
    hsm_cluster.admin.change_password(hsm_cluster.default_user, "changed-by-somebody")
    report = company.careful()

    assert report.of("failed") == ["log in"]
    assert len([e for e in hsm_cluster.history.of("fail") if e.fields["error"] == "LoginFailed"]) == 1


def test_a_draft_of_the_ledger_is_never_read(company: Company, tmp_path: Path) -> None:
    """A job that dies while it writes leaves the ledger as it was."""
    company.days(1, company.careful)
    (tmp_path / "ledger.draft").write_text('{"entries": [')
    company.days(1, company.careful)

    assert company.reports[-1].notes == []
