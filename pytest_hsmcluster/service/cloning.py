"""How does a key get from a cluster to its clone?

Only by hand, and only between clusters with a common backup: `syncKey` of cloudhsm_mgmt_util,
`key replicate` of the CLI (AWS CloudHSM User Guide, "Managing cloned clusters").
"""

from dataclasses import replace

from ..errors import ClusterError, DataInvalid, KeyNotOnHsm
from ..history.events import Cause
from ..keys.masking import unmask
from .commands import masked
from .hsm import HsmState
from .keystore import StoredKey
from .service import Service


def copy_key(handle: int, source: Service, destination: Service) -> StoredKey:
    """Copy one token key to every up HSM of another cluster and return what arrived there.

    It keeps its handle where that is free, else gets a new one (a guess).

    Raises:
        KeyNotOnHsm: no HSM of the source cluster that is up holds it.
        ClusterError: `The selected key is not synchronized throughout the cluster`, or its owner
            or a user that it is shared with does not exist in the destination; `Key replicate failed on
            <x> of <n> connections`, and then the destination is inconsistent until it is repeated.
        DataInvalid: the destination is no clone: it has another masking key.
    """
    members = [hsm for hsm in source.members if hsm.state is HsmState.UP]
    holders = [hsm for hsm in members if handle in hsm.store.keys]
    if not holders or not holders[0].store.keys[handle].token:
        raise KeyNotOnHsm(f"no HSM of {source.cluster_id} that is up holds a token key {handle}")
    if len(holders) < len(members):
        raise ClusterError(
            f"The selected key is not synchronized throughout the cluster: key {handle} is on {len(holders)} of "
            f"{len(members)} HSMs of {source.cluster_id}"
        )
    key = holders[0].store.keys[handle]
    targets = [hsm for hsm in destination.members if hsm.state is HsmState.UP]
    for hsm in targets:
        for user in (key.owner, *key.shares):
            if user not in hsm.accounts.users:
                raise ClusterError(
                    f"Specified user is inconsistent across the cluster: "
                    f"{user!r} is not on {hsm.id} of {destination.cluster_id}"
                )
    if destination.world.masking_key != source.world.masking_key:
        raise DataInvalid(
            f"{destination.cluster_id} is no clone of {source.cluster_id}: it cannot open its masked objects"
        )
    arrived = unmask(destination.world.masking_key, masked(holders[0], key))
    register = destination.world.register
    mat = register.material(arrived.material)
    known = next((hsm.store.keys[handle] for hsm in targets if handle in hsm.store.keys), None)
    if known is not None and known.mat == mat:
        number, name = known.handle, known.name
    else:
        number, name = register.birth(mat, handle)
    copy = replace(key, handle=number, name=name, mat=mat, material=arrived.material, attributes=arrived.attributes)
    failed = 0
    for hsm in targets:
        try:
            hsm.store.insert(copy, Cause.SYNC_KEY)
        except ClusterError as error:
            failed, why = failed + 1, error
    if failed:
        raise ClusterError(
            f"Key replicate failed on {failed} of {len(targets)} connections: {why}", outcome="info"
        ) from why
    return copy
