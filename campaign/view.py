"""What is really on the HSMs?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.service.keystore import StoredKey

ALIVE = ("up", "paused")


@dataclass(frozen=True, slots=True)
class View:
    """The ground truth of one instant, read from the key stores and from nothing else.

    Attributes:
        states: HSM → `up`, `down`, `paused`, `lost`, `joining`.
        keys: HSM → handle → key, without those that are marked for deletion.
        tombstones: HSM → handle → key that is marked for deletion.
        users: HSM → names.
        at_ns: the instant.
    """

    states: Mapping[str, str]
    keys: Mapping[str, Mapping[int, StoredKey]]
    tombstones: Mapping[str, Mapping[int, StoredKey]]
    users: Mapping[str, list[str]]
    at_ns: int

    @classmethod
    def of(cls, cluster: HsmCluster) -> Self:
        """Look now."""
        hsms = cluster.service.hsms.values()
        return cls(
            {hsm.id: str(hsm.state) for hsm in hsms},
            {hsm.id: hsm.keys for hsm in hsms},
            {hsm.id: hsm.tombstones for hsm in hsms},
            {hsm.id: hsm.users for hsm in hsms},
            cluster.clock.now_ns,
        )

    @property
    def names(self) -> dict[str, None]:
        """The births of all keys that some HSM holds, marked for deletion or not."""
        return {
            key.name: None for where in (self.keys, self.tombstones) for held in where.values() for key in held.values()
        }

    def up(self) -> list[str]:
        """Return the HSMs that are up."""
        return [hsm for hsm, state in self.states.items() if state == "up"]

    def holders(self, handle: int) -> list[str]:
        """Return the HSMs that hold a key, off ones too."""
        return [hsm for hsm, held in self.keys.items() if handle in held]

    def copies(self, handle: int) -> Iterator[StoredKey]:
        """Iterate over what HSMs hold of a key."""
        return (held[handle] for held in self.keys.values() if handle in held)

    def key(self, handle: int) -> StoredKey | None:
        """Return a key as some HSM holds it."""
        return next(self.copies(handle), None)

    def contents(self) -> dict[str, tuple[str, ...]]:
        """Return the births of the token keys on each HSM that is up, sorted."""
        return {
            hsm: tuple(sorted(key.name for key in self.keys[hsm].values() if key.token))
            for hsm, state in self.states.items()
            if state == "up"
        }
