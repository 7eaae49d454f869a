"""What do the vault's tests work with?"""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from faker import Faker

from examples.swept import verdict as verdict
from pytest_hsmcluster import Client, HsmClock

from .. import HardenedVault, NaiveVault, Store

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty database."""
    store = Store()
    yield store
    store.close()


@pytest.fixture
def naive(hsm_client: Client, store: Store) -> NaiveVault:
    """A naive vault, not started."""
    return NaiveVault(hsm_client, store)


@pytest.fixture
def hardened(hsm_client: Client, store: Store, hsm_clock: HsmClock) -> HardenedVault:
    """A hardened vault, not started; it waits in simulated time."""
    return HardenedVault(hsm_client, store, sleep=hsm_clock.advance)


@pytest.fixture
def documents(hardened: HardenedVault, hsm_faker: Faker) -> dict[str, bytes]:
    """Documents that are in the hardened vault already when the storm begins: faults come with the test, not before."""
    documents = {f"contract-{number}": hsm_faker.hsm_payload(2048) for number in range(4)}
    hardened.start()
    for name, document in documents.items():
        hardened.put(name, document)
    return documents


@pytest.fixture(scope="session")
def real_files() -> dict[str, bytes]:
    """Files that came with Python and with this repository, text and binary, of up to megabytes."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    found = [*stdlib.glob("*.py"), *stdlib.glob("pydoc_data/*")]
    found += [*stdlib.glob("lib-dynload/*.so"), *stdlib.glob("ensurepip/_bundled/*.whl")]
    found += [*REPOSITORY.glob("docs/*.md"), REPOSITORY / "LICENSE"]
    return {str(path): path.read_bytes() for path in sorted(found) if path.is_file()}
