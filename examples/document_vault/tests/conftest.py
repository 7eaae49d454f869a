"""What do the vault's tests work with?"""

import sysconfig
from pathlib import Path

import pytest

from pytest_hsmcluster import Client, HsmClock

from .. import HardenedVault, NaiveVault, Store

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def naive(hsm_client: Client) -> NaiveVault:
    """A naive vault with an empty database, not started."""
    return NaiveVault(hsm_client, Store())


@pytest.fixture
def hardened(hsm_client: Client, hsm_clock: HsmClock) -> HardenedVault:
    """A hardened vault with an empty database, not started; it waits in simulated time."""
    return HardenedVault(hsm_client, Store(), sleep=hsm_clock.advance)


@pytest.fixture(scope="session")
def real_files() -> dict[str, bytes]:
    """Files that came with Python and with this repository: text and binary, from 0 bytes to megabytes."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    found = [*stdlib.glob("*.py"), *stdlib.glob("pydoc_data/*"), *stdlib.glob("*/__init__.py")]
    found += [*stdlib.glob("lib-dynload/*.so"), *stdlib.glob("ensurepip/_bundled/*.whl")]
    found += [*REPOSITORY.glob("docs/*.md"), REPOSITORY / "LICENSE"]
    return {str(path): path.read_bytes() for path in sorted(found) if path.is_file()}
