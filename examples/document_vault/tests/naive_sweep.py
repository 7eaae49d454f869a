"""What does each fault at each step do to the naive vault?

No part of the suite, for much of it fails: `test_naive_sweep.py` runs it and compares what broke with `naive_sweep.txt`.
By hand: `python -m pytest examples/document_vault/tests/naive_sweep.py`.
"""

import pytest

from examples.swept import Verdict, verdict  # noqa: F401
from pytest_hsmcluster import HsmCluster

from .. import NaiveVault, Store
from .promises import CHECKS

DOCUMENT = bytes(range(256)) * 4
EFFECTS = ("crash", "destroy", "drop", "fail CKR_DEVICE_ERROR", "delay 30s")
swept = pytest.mark.hsm_sweep(*EFFECTS, points="*", op="generate_key encrypt decrypt delete_key")


@pytest.fixture
def stored(naive: NaiveVault) -> NaiveVault:
    """A naive vault with a document in it."""
    naive.start()
    naive.put("contract", DOCUMENT)
    return naive


@swept
@pytest.mark.hsm_cluster(checks=())
@pytest.mark.parametrize(
    "",
    [
        pytest.param(marks=pytest.mark.hsm_cluster(sdk=3), id="SDK 3"),
        pytest.param(marks=pytest.mark.hsm_cluster(sdk=5), id="SDK 5"),
    ],
)
def test_rotation(stored: NaiveVault, hsm_cluster: HsmCluster, store: Store, verdict: Verdict) -> None:  # noqa: F811
    """Its only key is replaced by another one; afterwards the next process looks for the document."""

    def document() -> str | None:
        try:
            next_process = NaiveVault(hsm_cluster.client("app"), store)
            next_process.start()
            return None if next_process.get("contract") == DOCUMENT else "the document is another one"
        except Exception as error:
            return f"the next process cannot open the document ({type(error).__name__})"

    verdict.of(stored.rotate, CHECKS, document)


@swept
@pytest.mark.hsm_cluster(checks=())
@pytest.mark.parametrize(
    "",
    [
        pytest.param(
            marks=[
                pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2),
                pytest.mark.hsm_chaos("fail-clone"),
            ],
            id="SDK 3",
        ),
        pytest.param(
            marks=[
                pytest.mark.hsm_cluster(sdk=5, availability_budget_s=1),
                pytest.mark.hsm_chaos("fail-clone", "stall-sync"),
            ],
            id="SDK 5",
        ),
        pytest.param(
            marks=[
                pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2),
                pytest.mark.hsm_chaos("fail-clone hsm-3"),
            ],
            id="SDK 3, only just",
        ),
    ],
)
def test_first_key(naive: NaiveVault, verdict: Verdict) -> None:  # noqa: F811
    """No second copy can be made, so the key is refused, and what is there of it has to be removed again."""
    verdict.of(naive.start, CHECKS)
