"""What is measured against, and what is needed for it?"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_hsmcluster import Client, HsmCluster

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
ROOM = 10_000_000
"""Key capacity of clusters that are measured: thousands of keys are made in one."""


@pytest.fixture(params=[5, 3], ids=["sdk5", "sdk3"])
def app(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a 3-HSM cluster with room for many keys."""
    with HsmCluster(3, sdk=request.param, seed=1, key_capacity=ROOM) as cluster:
        yield cluster.client("app")


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An open read-write session of SoftHSM2 through python-pkcs11."""
    if not SOFTHSM.exists() or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM2 is not installed: apt-get install softhsm2")
    pkcs11 = pytest.importorskip("pkcs11", reason="pip install python-pkcs11")
    home = tmp_path_factory.mktemp("softhsm")
    (home / "tokens").mkdir()
    (home / "softhsm2.conf").write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(home / "softhsm2.conf")
    init = ["softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", "1234", "--so-pin", "1234"]
    subprocess.run(init, check=True, capture_output=True)
    token = pkcs11.lib(str(SOFTHSM)).get_token(token_label="bench")
    with token.open(user_pin="1234", rw=True) as session:
        yield session
