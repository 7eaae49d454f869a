"""What can be wrong with copies of a key?"""

from dataclasses import replace
from typing import Any

from ..cluster import HsmCluster
from ..history.events import Cause
from ..service.calls import Call
from ..service.commands import InsertMasked
from ..service.hsm import Hsm
from ..service.keystore import KeyStore, StoredKey
from ..service.replication import Sweep
from ..sim.flow import Flow
from .mutant import Acted, Mutant, become, every_hsm, instead


def _lying_sweep(cluster: HsmCluster, acted: Acted) -> None:
    class Lying(Sweep):
        def _copy(self, handle: int, to: Hsm) -> Flow[int]:
            yield from ()  # it waits for nothing
            if self._holder(handle, to) is None:
                return 0
            acted()
            return 1

    become(cluster.service.sweep, Lying)


def _hollow_copies(cluster: HsmCluster, acted: Acted) -> None:
    class Hollow(InsertMasked):
        def settle(self, hsm: Hsm, call: Call, worked: StoredKey) -> None:
            if self.handle not in hsm.store.keys:
                acted()

    instead(cluster, {InsertMasked: Hollow})


def _mixed_up_copies(cluster: HsmCluster, acted: Acted) -> None:
    class MixedUp(InsertMasked):
        def work(self, hsm: Hsm, call: Call) -> StoredKey:
            key = super().work(hsm, call)
            like = (key.material.kind, key.cls, key.material.bits, key.material.curve)
            for other in hsm.store.keys.values():
                of = other.material
                if (of.kind, other.cls, of.bits, of.curve) == like and other.mat != key.mat and other.token:
                    acted()
                    return replace(key, material=of, mat=other.mat)
            return key

    instead(cluster, {InsertMasked: MixedUp})


def _disowned_copies(cluster: HsmCluster, acted: Acted) -> None:
    class Disowned(InsertMasked):
        def work(self, hsm: Hsm, call: Call) -> StoredKey:
            acted()
            return replace(super().work(hsm, call), owner="app_user")

    instead(cluster, {InsertMasked: Disowned})


def _bare_copies(cluster: HsmCluster, acted: Acted) -> None:
    born = cluster.service.world.register.attributes

    class Bare(KeyStore):
        __slots__ = ()

        def insert(self, key: StoredKey, cause: Cause, *arguments: Any, **more: Any) -> None:
            if cause in (Cause.SWEEP, Cause.JOIN, Cause.RESTORE) and (key.shares or key.changed):
                acted()
                attributes = born.get(key.handle, key.attributes)
                key = replace(key, shares=(), changed=(), attributes=attributes)
            super().insert(key, cause, *arguments, **more)

    every_hsm(cluster, lambda hsm: become(hsm.store, Bare))


def _cloned_session_keys(cluster: HsmCluster, acted: Acted) -> None:
    class Generous(Hsm):
        def bear(self, *arguments: Any) -> StoredKey:
            key = super().bear(*arguments)
            call: Call = arguments[2]
            for other in cluster.hsms if key.session is not None else ():
                session = other._sessions.get(call.session)
                if other is not self and other.alive and session is not None:
                    acted()
                    copy = replace(key, session=session.number)
                    other.store.insert(copy, Cause.CLONE, call.op, self.id)
            return key

    every_hsm(cluster, lambda hsm: become(hsm, Generous))


COPYING = (
    Mutant(
        "lying-sweep",
        "the service's sweep reports copies that it did not make",
        "durable() or in_sync() after a sweep that had something to copy",
        _lying_sweep,
        signs=("sync.clone",),
    ),
    Mutant(
        "hollow-copies",
        "HSMs acknowledge a new key's copies and do not keep them",
        "durable() right after a create, no_lost_keys() when the HSM that made the key is lost",
        _hollow_copies,
        signs=("insert_masked",),
    ),
    Mutant(
        "mixed-up-copies",
        "under a new key's handle the other HSMs serve an older key",
        "a round trip over two HSMs: encrypt and decrypt, sign and verify",
        _mixed_up_copies,
        signs=("insert_masked",),
    ),
    Mutant(
        "disowned-copies",
        "a key's copies belong to another user",
        "each HSM's use of a new key, in_sync()",
        _disowned_copies,
        signs=("insert_masked",),
    ),
    Mutant(
        "bare-copies",
        "sweeps and joins bring keys without their shares and as they were at birth",
        "in_sync() after a sweep or a join, the use of a shared key on the HSM that got it late",
        _bare_copies,
        signs=("held sweep", "held join", "held restore"),
    ),
    Mutant(
        "cloned-session-keys",
        "a session key is on every HSM at once",
        "session_keys_stay_put()",
        _cloned_session_keys,
        signs=("held session key",),
    ),
)
