"""What do all tests of the key custodian start from?"""

from pathlib import Path

import pytest

from examples.key_custodian.company import Company
from examples.key_custodian.inventory import Inventory, load_inventory
from examples.swept import verdict as verdict
from pytest_hsmcluster import HsmCluster


@pytest.fixture
def inventory() -> Inventory:
    """The inventory that ships with the job."""
    return load_inventory(Path(__file__).parents[1] / "inventory.toml")


@pytest.fixture
def company(hsm_cluster: HsmCluster, inventory: Inventory, tmp_path: Path) -> Company:
    """A company that has just bought the test's cluster."""
    return Company(hsm_cluster, inventory, tmp_path / "ledger.json")
