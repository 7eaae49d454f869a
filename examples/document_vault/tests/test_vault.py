"""Does a vault on a healthy cluster do what a vault is for?"""

from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from document_vault import HardenedVault, NaiveVault, Store
from document_vault.store import Row
from faker import Faker

from pytest_hsmcluster import Client, HsmCheck, HsmClock

BOTH_SDKS = [
    pytest.param(marks=pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2), id="sdk3"),
    pytest.param(marks=pytest.mark.hsm_cluster(sdk=5), id="sdk5"),
]


@pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
def test_megabytes_of_real_files_come_back_byte_for_byte(
    hsm_client: Client, hsm_clock: HsmClock, hsm_check: HsmCheck, real_files: dict[str, bytes], tmp_path: Path
) -> None:
    """Hundreds of real files are stored, their key is rotated, and each of them comes back as it was."""
    assert sum(map(len, real_files.values())) > 4_000_000, "megabytes of them"
    assert max(map(len, real_files.values())) > 16_224, "more than an HSM takes at once"

    store = Store(tmp_path / "vault.db")
    vault = HardenedVault(hsm_client, store, sleep=hsm_clock.advance)
    vault.start()
    for name, document in real_files.items():
        vault.put(name, document)
    vault.rotate()
    store.close()

    reopened = Store(tmp_path / "vault.db")
    again = HardenedVault(hsm_client, reopened, sleep=hsm_clock.advance)
    again.start()
    assert reopened.names() == sorted(real_files)
    for name, document in real_files.items():
        assert again.get(name) == document, name
    reopened.close()
    hsm_check.in_sync()
    hsm_check.no_undecryptable_data()
