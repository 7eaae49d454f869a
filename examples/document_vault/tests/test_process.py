"""Does the production form run in a process of its own, which knows nothing of pytest-hsmcluster?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.hurried import on_both_networks
from pytest_hsmcluster import HsmCheck, HsmCluster, Pkcs11Door

from .conftest import REPOSITORY

IMPORTS = """
import sys
import examples.document_vault.production, examples.key_custodian.production
sys.exit(", ".join(name for name in sys.modules if name.startswith("pytest")))
"""


def test_production_code_imports_nothing_of_ours() -> None:
    """Neither application brings pytest-hsmcluster, or pytest, into its process."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == ""


@on_both_networks
@pytest.mark.hsm_chaos("glitch encrypt", checks=("durable", "no_orphan_keys", "no_duplicate_labels", "in_sync"))
def test_a_vault_in_a_process_of_its_own(
    hsm_pkcs11: Pkcs11Door, hsm_cluster: HsmCluster, hsm_check: HsmCheck, tmp_path: Path
) -> None:
    """Three processes, one after the other, over the socket: store, rotate, read; the PIN stands in no argument."""
    document = (REPOSITORY / "LICENSE").read_bytes()

    def vault(*arguments: str) -> bytes:
        command = [sys.executable, "-m", "examples.document_vault", hsm_pkcs11.module, hsm_pkcs11.token_label]
        done = subprocess.run(
            [*command, str(tmp_path / "vault.db"), *arguments],
            input=f"{hsm_pkcs11.user_pin}\n".encode(),
            env={**os.environ, **hsm_pkcs11.env},
            cwd=REPOSITORY,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    vault("put", "licence", str(REPOSITORY / "LICENSE"))
    vault("rotate")
    assert vault("get", "licence") == document
    assert [[key.label for key in hsm.keys.values()] for hsm in hsm_cluster.hsms] == [["vault-kek-2"]] * 3
    hsm_check.no_undecryptable_data()
