"""What would a wrong cluster have got away with?  See the vault's tests of the same name."""

from dataclasses import replace

import pytest

from examples.key_custodian.company import Company
from pytest_hsmcluster import HsmCluster, KeyAccessDenied, KeyHandle

CARD_VAULT = "kc/payments/card-vault/v1"


def try_the_card_vault(cluster: HsmCluster, user: str) -> KeyHandle:
    """Let a user encrypt with the card vault's key, and return it.

    Raises:
        KeyAccessDenied: he may not.
    """
    [key] = cluster.client("custodian").find_keys(label=CARD_VAULT)
    client = cluster.client("service", login=False)
    client.login(user, cluster.default_password)
    client.encrypt(key, b"4111 1111 1111 1111")
    return key


def test_nobody_else_can_use_a_key(company: Company, hsm_cluster: HsmCluster) -> None:
    """Those who are listed can; another service's user, and one who was struck off the list, cannot."""
    company.days(1, company.careful)
    users = company.inventory.keys[0].share_with
    for user in users:
        try_the_card_vault(hsm_cluster, user)
    with pytest.raises(KeyAccessDenied):
        try_the_card_vault(hsm_cluster, "webshop_app")

    vault, *others = company.inventory.keys
    company.inventory = replace(company.inventory, keys=(replace(vault, share_with=users[:1]), *others))
    company.days(1, company.careful)
    for user in users[1:]:
        with pytest.raises(KeyAccessDenied):
            try_the_card_vault(hsm_cluster, user)
