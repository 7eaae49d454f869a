"""What can be wrong with HSMs that come and go?"""

from dataclasses import replace

from ..cluster import HsmCluster
from ..history.events import Cause
from ..service.accounts import Accounts
from ..service.backup import Backup
from ..service.hsm import Hsm, HsmState
from ..service.service import Service
from .mutant import Acted, Mutant, become


def _forgetful_restart(cluster: HsmCluster, acted: Acted) -> None:
    class Forgetful(Service):
        def _on(self, hsm: Hsm) -> None:
            for key in list(hsm.store.token_keys()) if hsm.state is HsmState.DOWN else ():
                acted()
                hsm.store.remove(key.handle, Cause.CRASH)
            super()._on(hsm)

    become(cluster.service, Forgetful)


def _old_backups(cluster: HsmCluster, acted: Acted) -> None:
    class Old(Service):
        def backup(self, id: str | None = None) -> Backup:
            backup = super().backup(id)
            if backup.keys:
                acted()
                newest = max(key.handle for key in backup.keys)
                backup = replace(backup, keys=tuple(key for key in backup.keys if key.handle != newest))
                self.backups[backup.id] = backup
            return backup

    become(cluster.service, Old)


def _strange_joins(cluster: HsmCluster, acted: Acted) -> None:
    class Strange(Service):
        def _restore(self, hsm: Hsm, backup: Backup, cause: Cause) -> None:
            super()._restore(hsm, backup, cause)
            acted()
            hsm.accounts = Accounts({name: user for name, user in hsm.accounts.users.items() if user.type != "CU"})

    become(cluster.service, Strange)


MEMBERSHIP = (
    Mutant(
        "forgetful-restart",
        "an HSM that was switched off has lost its token keys",
        "durable() or in_sync() right after a restart, no_lost_keys() after an outage of all",
        _forgetful_restart,
        signs=("up restart",),
    ),
    Mutant(
        "old-backups",
        "backups, and HSMs that join, miss the newest key",
        "labels of a backup, keys of a clone, in_sync() right after a join",
        _old_backups,
        signs=("backup",),
    ),
    Mutant(
        "strange-joins",
        "an HSM that joins knows no crypto user",
        "coverage() of a user after a join, the use of keys on the new HSM",
        _strange_joins,
        signs=("joined",),
    ),
)
