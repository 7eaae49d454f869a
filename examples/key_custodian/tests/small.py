"""How is a company made that is lived through a thousand times in a sweep?"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from examples.key_custodian.company import Company
from examples.key_custodian.inventory import Inventory
from examples.key_custodian.ledger import Ledger
from pytest_hsmcluster import HsmCluster, Pkcs11Door

DAY_S = 600.0
"""Ten rounds of the service's synchronisation, and thirty times as long as a client waits for an answer."""
STRANGER = "canteen_app"
"""A crypto user with whom nothing is shared."""


def small_company(
    cluster: HsmCluster,
    inventory: Inventory,
    key: str,
    door: Pkcs11Door | None = None,
    day_s: float = DAY_S,
    path: Path | None = None,
) -> Company:
    """Return a company that needs one of the inventory's keys, replaces it every other night and keeps no old one.

    Its days are short, and its ledger is no file unless a path is given.
    """
    plans = [replace(plan, rotate_after_days=2) for plan in inventory.keys if plan.id == key]
    small = replace(inventory, keys=tuple(plans), grace_days=0)
    cluster.create_user(STRANGER, cluster.default_password)
    if path is not None:
        return Company(cluster, small, path, day_s=day_s, door=door)
    return Company(cluster, small, Path("in memory"), day_s=day_s, open_ledger=in_memory(), door=door)


def in_memory() -> Callable[[Path], Ledger]:
    """Return a way to open a ledger that touches no disk; it is read as it was written, as text."""
    written: list[str] = []

    class InMemory(Ledger):
        def _read(self) -> dict[str, Any] | None:
            return json.loads(written[-1]) if written else None

        def _replace(self, document: dict[str, Any]) -> None:
            written[:] = [json.dumps(document)]

    return InMemory
