"""What is swept by `benchmarks/sweeps.py`: the vault's rotation, of a kilobyte or of more."""

import os
from collections.abc import Iterator

import pytest

from examples.document_vault import HardenedVault, Store
from examples.document_vault.tests.promises import SDK3
from pytest_hsmcluster import Client, HsmClock

DOCUMENTS = int(os.environ.get("DOCUMENTS", "1"))
SHARDS = int(os.environ.get("SHARDS", "1"))
OP = os.environ.get("OP", "generate_key decrypt encrypt")
EFFECTS = ("crash", "destroy", "drop", "corrupt", "fail CKR_DEVICE_ERROR", "delay 30s", "hold")


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.close()


@pytest.fixture
def vault(hsm_client: Client, store: Store, hsm_clock: HsmClock) -> HardenedVault:
    vault = HardenedVault(hsm_client, store, sleep=hsm_clock.advance)
    vault.start()
    for number in range(DOCUMENTS):
        vault.put(f"contract-{number}", bytes(1024))
    return vault


@SDK3
@pytest.mark.hsm_sweep(*EFFECTS, op=OP, shards=SHARDS)
def test_rotation(vault: HardenedVault) -> None:
    vault.rotate()
    assert vault.get("contract-0") == bytes(1024)
