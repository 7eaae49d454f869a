"""What can be wrong with deleting keys?"""

from contextlib import suppress

from ..client.creation import Copies, Creator
from ..client.operations import Operations
from ..cluster import HsmCluster
from ..errors import ClusterError
from ..history.events import Cause
from ..service.calls import Call
from ..service.commands import DeleteKey
from ..service.hsm import Hsm, HsmState
from ..service.keystore import StoredKey
from ..service.replication import Sweep
from ..sim.flow import Flow
from .mutant import Acted, Mutant, become, every_client, every_hsm, instead


def _hollow_deletes(cluster: HsmCluster, acted: Acted) -> None:
    class Hollow(DeleteKey):
        def settle(self, hsm: Hsm, call: Call, worked: None) -> None:
            if self.cause is Cause.DELETE:
                acted()
            else:
                super().settle(hsm, call, worked)

    instead(cluster, {DeleteKey: Hollow})


def _half_deletes(cluster: HsmCluster, acted: Acted) -> None:
    deaf = cluster.hsms[-1]

    class Hollow(DeleteKey):
        def settle(self, hsm: Hsm, call: Call, worked: None) -> None:
            if hsm is deaf and self.cause is Cause.DELETE:
                acted()
            else:
                super().settle(hsm, call, worked)

    instead(cluster, {DeleteKey: Hollow})


def _undead_keys(cluster: HsmCluster, acted: Acted) -> None:
    graves: dict[int, StoredKey] = {}

    class Digging(Hsm):
        def remove_key(self, handle: int, cause: Cause, op: int) -> None:
            key = self.store.keys[handle]
            super().remove_key(handle, cause, op)
            if cause is Cause.DELETE and key.token:
                graves[handle] = key

    class Raising(Sweep):
        def round(self) -> Flow[int]:
            raised = 0
            for hsm in [hsm for hsm in cluster.hsms if hsm.state is HsmState.UP][:1]:
                for handle in sorted(graves):
                    # Where an HSM missed the delete, the right sweep brings the key back too.
                    if not any(handle in one.store.keys for one in cluster.hsms):
                        with suppress(ClusterError):  # full
                            hsm.store.insert(graves[handle], Cause.SWEEP)
                            del graves[handle]
                            acted()
                            raised += 1
            return raised + (yield from super().round())

    every_hsm(cluster, lambda hsm: become(hsm, Digging))
    become(cluster.service.sweep, Raising)


def _careless_cleanup(cluster: HsmCluster, acted: Acted) -> None:
    class Careless(Creator):
        def _clean(self, call: Call, copies: Copies, hsm: str) -> Flow[bool]:
            yield from ()  # it waits for nothing
            acted()
            return True

    def change(operations: Operations) -> None:
        become(operations.creator, Careless)

    every_client(cluster, change)


DELETING = (
    Mutant(
        "hollow-deletes",
        "a delete says ok and removes nothing",
        "find_keys() after a delete, in_sync()",
        _hollow_deletes,
        signs=("delete_key",),
    ),
    Mutant(
        "half-deletes",
        "one HSM says ok to a delete and keeps the key, and the sweep spreads it again",
        "no_resurrected_keys() after a sweep, in_sync()",
        _half_deletes,
        signs=("delete_key",),
    ),
    Mutant(
        "undead-keys",
        "a key that every HSM has deleted comes back with the next sweep",
        "no_resurrected_keys() or find_keys() after a sweep",
        _undead_keys,
        signs=("delete_key",),
    ),
    Mutant(
        "careless-cleanup",
        "a create that failed says that everything was removed, and nothing was",
        "no_orphan_keys() after a create that failed",
        _careless_cleanup,
        signs=("client.cleanup",),
    ),
)
