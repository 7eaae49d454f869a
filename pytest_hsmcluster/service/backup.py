"""What is kept of an HSM when a backup is taken?"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..keys.masking import MaskingKey
from .accounts import Accounts
from .keystore import StoredKey

if TYPE_CHECKING:
    from .hsm import Hsm


@dataclass(frozen=True, slots=True)
class Backup:
    """Users, keys and policies of one HSM at one instant.

    A clone of the cluster is made from it (`HsmCluster.from_backup`): the same keys, users and
    passwords, and the same masking key, so that keys can be copied between the two by hand.

    Attributes:
        id: `backup-1`, …
        cluster: id of the cluster; hsm: id of the HSM.
        at_ns: instant in ns.
        keys: token keys; tombstones: those marked for deletion.
    """

    id: str
    cluster: str
    hsm: str
    at_ns: int
    keys: tuple[StoredKey, ...] = field(repr=False)
    tombstones: tuple[StoredKey, ...] = field(repr=False)
    accounts: Accounts = field(repr=False)
    masking_key: MaskingKey = field(repr=False)
    default_password: str = field(repr=False)

    @property
    def key_names(self) -> tuple[str, ...]:
        """Births of the keys in it."""
        return tuple(key.name for key in self.keys)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the keys in it."""
        return tuple(key.label for key in self.keys)


def take(hsm: "Hsm", id: str, cluster: str, default_password: str) -> Backup:
    """Return a backup of an HSM's token keys and users; session keys are never in one."""
    return Backup(
        id,
        cluster,
        hsm.id,
        hsm.scheduler.now_ns,
        tuple(hsm.store.token_keys()),
        tuple(hsm.store.tombstones.values()),
        hsm.accounts.copy(),
        hsm.masking_key,
        default_password,
    )
