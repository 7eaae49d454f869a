"""How are the keys of a plan made and tried out?  Both forms of the job do it like this."""

from collections.abc import Sequence

from pytest_hsmcluster import Client, KeyHandle

from .inventory import KeyPlan

CANARY = b"the custodian was here"


def create(client: Client, plan: KeyPlan, label: str) -> list[KeyHandle]:
    """Create the key of a plan and return it, or both halves of a pair, the private one first.

    Raises:
        ClusterError: whatever the cluster answers; the key may exist all the same.
    """
    if plan.is_pair:
        pair = client.generate_key_pair(plan.kind, plan.size, label=label)
        return [pair.private, pair.public]
    return [client.generate_key(plan.kind, int(plan.size), label=label)]


def use(client: Client, keys: Sequence[KeyHandle]) -> None:
    """Do with a key what its service does with it.

    Raises:
        ClusterError: it cannot be used just now.
    """
    if keys[0].kind == "AES":
        client.decrypt(keys[0], client.encrypt(keys[0], CANARY))
    else:
        client.verify(keys[-1], CANARY, client.sign(keys[0], CANARY))
