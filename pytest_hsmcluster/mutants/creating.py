"""What can be wrong with making keys?"""

from contextlib import suppress
from typing import Any

from ..client.creation import Copies, Creator
from ..client.operations import Operations
from ..cluster import HsmCluster
from ..errors import KeyCapacityReached
from ..service.calls import Call
from ..service.commands import DeriveKey, GenerateKey, GenerateKeyPair, ImportKey, UnwrapKey
from ..service.commands.births import Birth
from ..service.hsm import Hsm, HsmState
from ..service.keystore import StoredKey
from ..sim.flow import Flow
from .mutant import Acted, Mutant, become, every_client, instead


def _early_creates(cluster: HsmCluster, acted: Acted) -> None:
    class Early(Creator):
        def _enough(self, call: Call, copies: Copies, needed: int, until_ns: int, timed: bool) -> Flow[None]:
            yield from super()._enough(call, copies, 1, until_ns, timed)
            if len(copies.sure) < needed:
                acted()

    def change(operations: Operations) -> None:
        become(operations.creator, Early)

    every_client(cluster, change)


def _no_availability_check(cluster: HsmCluster, acted: Acted) -> None:
    class Trusting(Creator):
        def check(self, call: Call, handle: int, *, creating: bool = False) -> Flow[None]:
            yield from ()  # it waits for nothing
            members = [hsm for hsm in cluster.hsms if hsm.state is HsmState.UP]
            if sum(handle in hsm.store.keys for hsm in members) < cluster.profile.availability_copies:
                acted()
            self.process.available[handle] = None

    def change(operations: Operations) -> None:
        become(operations.creator, Trusting)

    every_client(cluster, change)


def _doubled_creates(cluster: HsmCluster, acted: Acted) -> None:
    def twice(birth: type[Birth]) -> type[Birth]:
        class Twice(birth):  # type: ignore[misc,valid-type]
            def settle(self, hsm: Hsm, call: Call, worked: Any) -> tuple[StoredKey, ...]:
                keys: tuple[StoredKey, ...] = super().settle(hsm, call, worked)
                with suppress(KeyCapacityReached):
                    super().settle(hsm, call, self.work(hsm, call))
                    acted()
                return keys

        return Twice

    instead(cluster, {birth: twice(birth) for birth in (GenerateKey, GenerateKeyPair, ImportKey, UnwrapKey, DeriveKey)})


CREATING = (
    Mutant(
        "early-creates",
        "a create is acknowledged below the minimum of copies (SDK 3)",
        "pytest.raises(TooFewCopies), durable() right after a create",
        _early_creates,
        signs=("insert_masked", "TooFewCopies"),
    ),
    Mutant(
        "no-availability-check",
        "a key on too few HSMs may be made and used (SDK 5)",
        "pytest.raises(KeyUnavailable), durable() right after a create",
        _no_availability_check,
        signs=("check_key",),
    ),
    Mutant(
        "doubled-creates",
        "a create is executed twice, and one of the two keys is told of",
        "no_orphan_keys(), the number of keys that find_keys() returns",
        _doubled_creates,
        signs=("held create", "held import", "held unwrap", "held derive"),
    ),
)
