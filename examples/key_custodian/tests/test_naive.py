"""What does a partial failure do to the naive job?  Each of these tests fails, and says so strictly."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.tests import storms
from pytest_hsmcluster import Chaos, Finding, HsmCheck

LABEL = "kc/payments/card-vault/v1"

default_sdk3 = pytest.mark.hsm_cluster(sdk=3)
careful_sdk3 = pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
default_sdk5 = pytest.mark.hsm_cluster(sdk=5)
careless_sdk5 = pytest.mark.hsm_cluster(sdk=5, availability_check=False)
any_check = pytest.mark.hsm_cluster(checks=())  # each test makes the one that it is about


def expect(findings: Sequence[Finding], *hsms: tuple[str, ...]) -> None:
    """Return if there is one finding about the card vault's key for each of these groups of HSMs.

    Raises:
        LookupError: there is not; no AssertionError, so that no xfail can swallow it.
    """
    found = [(finding.label, finding.hsms) for finding in findings]
    if found != [(LABEL, group) for group in hsms]:
        raise LookupError(f"expected a finding about {LABEL} on each of {hsms}, found {found}")


@pytest.fixture
def door() -> None:
    """No library: the naive job has one form."""


@pytest.fixture
def one_key(company: Company) -> Company:
    """A company that needs the card vault's key only."""
    company.inventory = replace(company.inventory, keys=company.inventory.keys[:1])
    return company


@pytest.mark.parametrize("sdk", [pytest.param(3, marks=default_sdk3), pytest.param(5, marks=default_sdk5)])
def test_a_quiet_fortnight_goes_well(sdk: int, company: Company, hsm_check: HsmCheck) -> None:
    """While nothing is broken the naive job keeps every promise."""
    company.days(14, company.naive)

    assert not any(report.of("failed") for report in company.reports)
    hsm_check.durable()
    hsm_check.no_orphan_keys()
    hsm_check.no_duplicate_labels()
    hsm_check.in_sync()


@any_check
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the key is lost with the HSM that made it")
@pytest.mark.parametrize("sdk", [pytest.param(3, marks=default_sdk3), pytest.param(5, marks=careless_sdk5)])
def test_no_key_is_lost(sdk: int, one_key: Company, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
    """With one copy good enough for a create, the ledger names a key that no HSM has."""
    with storms.lost_with_its_hsm(hsm_chaos):
        one_key.night(one_key.naive)

    expect(hsm_check.lost_keys(), ("hsm-1",))
    hsm_check.no_lost_keys()


@any_check
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the first use misses the key, and is not tried again")
@pytest.mark.parametrize("sdk", [pytest.param(3, marks=default_sdk3), pytest.param(5, marks=default_sdk5)])
def test_no_miss_is_left(sdk: int, one_key: Company, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
    """A new key is not on every HSM yet, and the job takes the first "no such key" for an answer."""
    with storms.missed_by_routing(hsm_chaos):
        one_key.night(one_key.naive)

    expect(hsm_check.routing_misses(), ("hsm-2",))
    hsm_check.misses_retried()


@any_check
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="two creates fail, and each leaves a key behind")
@pytest.mark.parametrize("sdk", [pytest.param(3, marks=careful_sdk3), pytest.param(5, marks=default_sdk5)])
def test_no_orphan_is_left(sdk: int, one_key: Company, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
    """A create that failed has left its key on an HSM, the next one on another, and nobody knows of them."""
    with storms.orphan_left(hsm_chaos):
        one_key.night(one_key.naive)

    expect(hsm_check.orphan_keys(), ("hsm-1",), ("hsm-2",))
    hsm_check.no_orphan_keys()


@any_check
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the second try makes a second key of the same label")
@pytest.mark.parametrize("sdk", [pytest.param(3, marks=default_sdk3), pytest.param(5, marks=default_sdk5)])
def test_no_label_is_there_twice(sdk: int, one_key: Company, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
    """A create whose answer was lost is tried again without a look, and now there are two."""
    with storms.duplicate_after_retry(hsm_chaos):
        one_key.night(one_key.naive)

    expect(hsm_check.duplicate_labels(), ("hsm-1", "hsm-2", "hsm-3"))
    hsm_check.no_duplicate_labels()


@any_check
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a delete that an HSM missed is undone by the sweep")
@pytest.mark.parametrize("sdk", [pytest.param(3, marks=default_sdk3), pytest.param(5, marks=default_sdk5)])
def test_no_deleted_key_comes_back(sdk: int, one_key: Company, hsm_chaos: Chaos, hsm_check: HsmCheck) -> None:
    """A key is deleted while one HSM is off; the job never looks at it again."""
    one_key.days(4, one_key.naive)
    with hsm_chaos.crash("hsm-3"):
        one_key.night(one_key.naive)
    one_key.day()
    one_key.days(1, one_key.naive)

    expect(hsm_check.resurrected_keys(), ("hsm-1", "hsm-2", "hsm-3"))
    hsm_check.no_resurrected_keys()
