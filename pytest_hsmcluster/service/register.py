"""Which numbers have been given out in a cluster: handles, births, materials, processes?"""

from collections.abc import Collection
from typing import Any

from ..cryptoki import CKO
from ..keys.attributes import Attributes
from ..keys.masking import MaskedKey
from ..keys.material import Material

FIRST_HANDLE = 262_144
"""The lowest handle that is given out (AWS CloudHSM User Guide, `findKey`: samples show 0x40000 and up)."""


class Register:
    """Numbers for what is born in a cluster.

    Attributes:
        names: handle → "key-N" of every key that was ever born.
        mats: handle → "mat-N" of every key that was ever born.
        attributes: handle → attributes at birth, of every key that was born on an HSM.
        inherited: whether another cluster gave out the first handles.
    """

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.mats: dict[int, str] = {}
        self.attributes: dict[int, Attributes] = {}
        self.inherited = False
        self._next_handle = FIRST_HANDLE
        self._blocks: list[range] = []
        self._materials: dict[bytes, str] = {}
        self._processes: dict[str, int] = {}

    def birth(self, mat: str, handle: int | None = None) -> tuple[int, str]:
        """Return handle and name of a new key; `handle` is taken over when it is free."""
        if handle is None or handle in self.names or any(handle in block for block in self._blocks):
            handle = self._next_handle
        return handle, self.enter(mat, handle)

    def enter(self, mat: str, handle: int) -> str:
        """Return the name of a new key that was given this handle."""
        self._next_handle = max(self._next_handle, handle + 1)
        name = self.names[handle] = f"key-{len(self.names) + 1}"
        self.mats[handle] = mat
        return name

    def inherit(self, handles: Collection[int]) -> None:
        """Give out none of another cluster's handles."""
        self.inherited = True
        self._next_handle = max([self._next_handle, *(handle + 1 for handle in handles)])

    def skip(self, count: int) -> None:
        """Give out none of the next handles; they stay free for keys that bring theirs."""
        self._next_handle += count

    def material(self, material: Material) -> str:
        """Return "mat-N": equal for equal key material, and for both halves of a pair."""
        return self.named(self.fingerprint(material))

    def named(self, fingerprint: bytes) -> str:
        """Return "mat-N" of what has this fingerprint."""
        return self._materials.setdefault(fingerprint, f"mat-{len(self._materials) + 1}")

    @staticmethod
    def fingerprint(material: Material) -> bytes:
        """Return what is equal for equal key material, and for both halves of a pair."""
        return (material.public() if material.part is CKO.PRIVATE_KEY else material).fingerprint()

    def block(self, size: int) -> int:
        """Set handles aside for somebody who gives them out, and return the first."""
        first = self._next_handle
        self._next_handle += size
        self._blocks.append(range(first, first + size))
        return first

    def changed(self, handle: int, attributes: Attributes) -> tuple[tuple[str, Any], ...]:
        """Return what differs from birth, as sorted (CKA name in lower case, value)."""
        born = self.attributes.get(handle, attributes)
        if born == attributes:
            return ()
        return tuple(sorted((name.name.lower(), attributes[name]) for name in born if attributes[name] != born[name]))

    def process(self, application: str) -> str:
        """Return the name of one more process of an application: `app`, `app#2`, …; none is given out twice."""
        count = self._processes[application] = self._processes.get(application, 0) + 1
        return application if count == 1 else f"{application}#{count}"

    def name_of(self, masked: MaskedKey) -> str:
        """Return the birth name that a masked object of this cluster carries."""
        return f"key-{masked.tag}"

    def mat_of(self, masked: MaskedKey) -> str:
        """Return the material's name of a masked object of this cluster."""
        return self.mats[masked.handle]
