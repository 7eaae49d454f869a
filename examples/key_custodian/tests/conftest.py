"""What do all tests of the key custodian start from?"""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from examples import pkcs11_session
from examples.hurried import live_in_its_time
from examples.key_custodian import production
from examples.key_custodian.company import Company
from examples.key_custodian.hardened import DAY_S
from examples.key_custodian.inventory import Inventory, load_inventory
from examples.key_custodian.ledger import Ledger
from examples.swept import verdict as verdict
from pytest_hsmcluster import HsmCluster, Pkcs11Door


@pytest.fixture
def inventory() -> Inventory:
    """The inventory that ships with the job."""
    return load_inventory(Path(__file__).parents[1] / "inventory.toml")


@pytest.fixture(params=["hardened", "production"])
def form(request: pytest.FixtureRequest) -> str:
    """The form in which the careful job runs: every test of it is run on both."""
    return str(request.param)


@pytest.fixture
def door(form: str, request: pytest.FixtureRequest) -> Pkcs11Door | None:
    """The PKCS #11 library that the production form is given; it waits with time.sleep, as applications do."""
    if form == "hardened":
        return None
    live_in_its_time(request, production, pkcs11_session)
    return cast(Pkcs11Door, request.getfixturevalue("hsm_pkcs11"))


@pytest.fixture
def open_ledger() -> Callable[[Path], Ledger]:
    """How the job's file is opened: as it is."""
    return Ledger


@pytest.fixture
def company(
    hsm_cluster: HsmCluster,
    inventory: Inventory,
    door: Pkcs11Door | None,
    open_ledger: Callable[[Path], Ledger],
    tmp_path: Path,
) -> Company:
    """A company that has just bought the test's cluster."""
    # With hsm_app_time each round of the service's synchronisation is lived through: its days are shorter.
    day_s = DAY_S if door is None else 2 * 3600.0
    return Company(hsm_cluster, inventory, tmp_path / "ledger.json", day_s=day_s, open_ledger=open_ledger, door=door)
