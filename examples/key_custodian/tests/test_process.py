"""Does the production form of the job run in a process of its own, which knows nothing of pytest-hsmcluster?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.hurried import on_both_networks
from pytest_hsmcluster import HsmCheck, HsmCluster
from pytest_hsmcluster.pkcs11.door import Pkcs11Door

CUSTODIAN = Path(__file__).parents[1]


@on_both_networks
@pytest.mark.hsm_cluster(checks=("durable", "no_orphan_keys", "no_duplicate_labels", "in_sync"))
def test_two_nights_in_processes_of_their_own(
    hsm_pkcs11: Pkcs11Door, hsm_cluster: HsmCluster, hsm_check: HsmCheck, tmp_path: Path
) -> None:
    """Over the socket, one process makes the inventory's keys, and the next finds them and has nothing to make."""

    def night() -> str:
        command = [sys.executable, "-m", "examples.key_custodian", hsm_pkcs11.module, hsm_pkcs11.token_label]
        done = subprocess.run(
            [*command, str(tmp_path / "ledger.json"), str(CUSTODIAN / "inventory.toml")],
            input=f"{hsm_pkcs11.user_pin}\n",
            env={**os.environ, **hsm_pkcs11.env},
            cwd=CUSTODIAN.parents[1],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first, second = night(), night()
    made = ["kc/invoices/signer/v1"] * 2 + ["kc/payments/card-vault/v1", "kc/webshop/session-mac/v1"]
    assert [sorted(key.label for key in hsm.keys.values()) for hsm in hsm_cluster.hsms] == [made] * 3
    assert first.count("created") == 3
    assert "created" not in second
    shares = [line for line in second.splitlines() if line.startswith("cloudhsm-cli key share --filter attr.id=0x")]
    assert set(shares) <= set(first.splitlines()), "what is said every night is the same"
    assert shares, "there are users to share with"
    hsm_check.no_lost_keys()
