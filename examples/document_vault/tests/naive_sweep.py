"""What does each fault at each step do to the naive vault?

No part of the suite, for much of it fails: `test_naive_sweep.py` runs it and compares what broke with
`naive_sweep.txt`.  By hand: `python -m pytest examples/document_vault/tests/naive_sweep.py`.
"""

import pytest

from examples.swept import Verdict
from pytest_hsmcluster import Chaos, HsmClock, HsmCluster

from .. import NaiveVault, Store
from .promises import CHECKS

DOCUMENT = bytes(range(256)) * 4
CAREFUL_SDK3 = pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
HASTY_SDK5 = pytest.mark.hsm_cluster(sdk=5, availability_budget_s=1)

pytestmark = [
    pytest.mark.hsm_cluster(checks=()),
    pytest.mark.hsm_sweep(
        *("crash", "destroy", "drop", "fail CKR_DEVICE_ERROR", "delay 30s"),
        points="client.* wire.* hsm.commit hsm.reply",
        op="generate_key encrypt decrypt delete_key",
    ),
]


@pytest.fixture
def stored(naive: NaiveVault) -> NaiveVault:
    """A naive vault with a document in it."""
    naive.start()
    naive.put("contract", DOCUMENT)
    return naive


@pytest.mark.hsm_cluster(sdk=3)
def test_rotation(stored: NaiveVault, hsm_cluster: HsmCluster, store: Store, verdict: Verdict) -> None:
    """Its only key is replaced by another one; afterwards the next process looks for the document."""

    def document() -> str | None:
        try:
            next_process = NaiveVault(hsm_cluster.client("app"), store)
            next_process.start()
            return None if next_process.get("contract") == DOCUMENT else "the document is another one"
        except Exception as error:
            return f"the next process cannot open the document ({type(error).__name__})"

    verdict.of(stored.rotate, CHECKS, document)


@pytest.mark.parametrize(
    "",
    [
        pytest.param(marks=[CAREFUL_SDK3, pytest.mark.hsm_chaos("fail-clone")], id="SDK 3 refuses"),
        pytest.param(marks=[HASTY_SDK5, pytest.mark.hsm_chaos("fail-clone", "stall-sync")], id="SDK 5 refuses"),
        pytest.param(marks=[CAREFUL_SDK3, pytest.mark.hsm_chaos("fail-clone hsm-3")], id="SDK 3 only just"),
    ],
)
def test_first_key(naive: NaiveVault, verdict: Verdict) -> None:
    """Copies cannot be made, so the key is refused, and what is there of it is removed; or one copy is just enough."""
    verdict.of(naive.start, CHECKS)


@pytest.mark.hsm_cluster(sdk=3)
@pytest.mark.hsm_chaos("drop @ client.clone hsm=hsm-3 nth=1")
@pytest.mark.hsm_sweep("delay 30s", "drop", "fail CKR_DEVICE_ERROR", points="sync.*")
def test_repair(naive: NaiveVault, hsm_chaos: Chaos, hsm_clock: HsmClock, verdict: Verdict) -> None:
    """One copy is missing; the service is to make it, but that is late, and then the HSM is switched off."""

    def work() -> None:
        naive.start()
        hsm_clock.advance(70)
        hsm_chaos.crash("hsm-3")
        hsm_clock.advance(60)

    verdict.of(work, CHECKS)
