"""What do the vault's tests work with?"""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from faker import Faker

from examples import pkcs11_session
from examples.hurried import live_in_its_time
from examples.swept import verdict as verdict
from pytest_hsmcluster import Client, HsmCluster

from .. import HardenedVault, NaiveVault, Store, production
from .forms import Form, Hardened, Production

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


@pytest.fixture(params=["hardened", "production"])
def form(request: pytest.FixtureRequest, hsm_cluster: HsmCluster, store: Store) -> Form:
    """The form in which the vault runs: every test of it is run on both."""
    if request.param == "hardened":
        return Hardened(hsm_cluster, store)
    live_in_its_time(request, production, pkcs11_session)  # it waits with time.sleep, as applications do
    return Production(request.getfixturevalue("hsm_pkcs11"), store)


@pytest.fixture
def vault(form: Form) -> HardenedVault:
    """A vault that expects HSMs to fail, not started; it waits in simulated time."""
    return form.vault()


@pytest.fixture
def documents(vault: HardenedVault, hsm_faker: Faker) -> dict[str, bytes]:
    """Documents that are in the vault already when the storm begins: faults come with the test, not before."""
    documents = {f"contract-{number}": hsm_faker.hsm_payload(2048) for number in range(4)}
    vault.start()
    for name, document in documents.items():
        vault.put(name, document)
    return documents


@pytest.fixture(scope="session")
def real_files() -> dict[str, bytes]:
    """Files that came with Python and with this repository, text and binary, of up to megabytes."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    found = [*stdlib.glob("*.py"), *stdlib.glob("pydoc_data/*")]
    found += [*stdlib.glob("lib-dynload/*.so"), *stdlib.glob("ensurepip/_bundled/*.whl")]
    found += [*REPOSITORY.glob("docs/*.md"), REPOSITORY / "LICENSE"]
    return {str(path): path.read_bytes() for path in sorted(found) if path.is_file()}
