"""Is a wrong inventory refused, with the key and the reason?"""

from pathlib import Path

import pytest

from examples.key_custodian.inventory import Inventory, InventoryError, load_inventory

HEAD = 'prefix = "kc"\ngrace_days = 2\nquarantine_days = 1\n'
KEY = (
    '[[keys]]\nservice = "a"\nname = "b"\nkind = "AES"\nsize = 256\nrotate_after_days = 7\nshare_with = ["somebody"]\n'
)


def test_the_inventory_that_ships(inventory: Inventory) -> None:
    """It names three keys, one of them a pair."""
    assert [plan.id for plan in inventory.keys] == ["payments/card-vault", "webshop/session-mac", "invoices/signer"]
    assert [plan.is_pair for plan in inventory.keys] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + KEY + KEY, "a/b is there 2 times"),
        (HEAD + KEY.replace("AES", "IDEA"), "a/b: kind is AES, GENERIC_SECRET or EC; got 'IDEA'"),
        (HEAD + KEY.replace("size = 256", "size = []"), "a/b: size cannot be"),
        (HEAD + KEY.replace("service", "srevice"), "unknown field 'srevice'"),
        (HEAD + KEY.replace("rotate_after_days = 7\n", ""), "a/b: 'rotate_after_days' is missing"),
        (HEAD.replace("grace", "grave") + KEY, "unknown field 'grave_days'"),
        ("prefix = ", "inventory.toml"),
    ],
)
def test_a_wrong_inventory_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    """The message names the file, the key and what is wrong with it."""
    path = tmp_path / "inventory.toml"
    path.write_text(text)
    with pytest.raises(InventoryError, match=r"inventory\.toml") as refused:
        load_inventory(path)
    assert reason in str(refused.value)
