"""What do the memory, the disk and the mirror of an HSM process say of its keys?"""

from pytest_hsmcluster import HsmCluster, HsmState
from pytest_hsmcluster.keys.masking import unmask
from pytest_hsmcluster.processes import control
from pytest_hsmcluster.processes.database import DeadDisk
from pytest_hsmcluster.service.register import Register

Said = dict[int, tuple[object, ...]]
"""Handle → what is said of the key there."""


def of_mirror(cluster: HsmCluster, hsm: str) -> Said:
    """Return what the test process thinks that an HSM has on its disk."""
    mirror = cluster.hsm(hsm)
    alive = {handle: _said(key, False) for handle, key in mirror.keys.items() if key.token}
    return alive | {handle: _said(key, True) for handle, key in mirror.tombstones.items() if key.token}


def of_disk(cluster: HsmCluster, hsm: str) -> Said:
    """Return what an HSM has on its disk, after SQLite has looked through it."""
    with DeadDisk(cluster.hsm(hsm)._home.folder(hsm)) as disk:
        assert disk.check() == "ok"
        rows = disk.rows()
    masking_key = cluster.service.world.masking_key
    return {handle: _said(unmask(masking_key, blob), dead) for handle, blob, dead in rows}


def of_memory(cluster: HsmCluster, hsm: str) -> dict[int, tuple[bool, bool]]:
    """Return what an HSM process has in its memory: handle → whether a token key, whether tombstoned."""
    handles = cluster.hsm(hsm).link.ask(lambda number: control.Audit(number)).handles or []
    return {handle: (token, dead) for handle, token, dead in handles}


def assert_agreed(cluster: HsmCluster) -> None:
    """Memory, disk and mirror of every HSM that is up say the same; of one that is off, disk and mirror."""
    for hsm in cluster.hsms:
        if hsm.state is HsmState.JOINING:
            continue
        mirror, disk = of_mirror(cluster, hsm.id), of_disk(cluster, hsm.id)
        assert disk == mirror, f"disk and mirror of {hsm.id} differ"
        if hsm.state is HsmState.UP:
            held = {handle: (key.token, False) for handle, key in hsm.keys.items()}
            held |= {handle: (key.token, True) for handle, key in hsm.tombstones.items()}
            assert of_memory(cluster, hsm.id) == held, f"memory and mirror of {hsm.id} differ"


def _said(key, tombstoned: bool) -> tuple[object, ...]:
    """Return all that matters of a key, and no bytes of it."""
    return Register.fingerprint(key.material).hex(), key.attributes.packed(), key.owner, key.shares, tombstoned
