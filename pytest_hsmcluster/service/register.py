"""Which numbers have been given out in a cluster: handles, births, materials?"""

from ..cryptoki import CKO
from ..keys.masking import MaskedKey
from ..keys.material import Material

FIRST_HANDLE = 262_144
"""The lowest handle that is given out (AWS CloudHSM User Guide, `findKey`: samples show 0x40000 and up)."""


class Register:
    """Numbers for what is born in a cluster.

    Attributes:
        names: handle → "key-N" of every key that was ever born.
        mats: handle → "mat-N" of every key that was ever born.
    """

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.mats: dict[int, str] = {}
        self._next_handle = FIRST_HANDLE
        self._materials: dict[bytes, str] = {}

    def birth(self, mat: str, handle: int | None = None) -> tuple[int, str]:
        """Return handle and name of a new key; `handle` is taken over when it is free."""
        if handle is None or handle in self.names:
            handle = self._next_handle
        self._next_handle = max(self._next_handle, handle + 1)
        name = self.names[handle] = f"key-{len(self.names) + 1}"
        self.mats[handle] = mat
        return handle, name

    def material(self, material: Material) -> str:
        """Return "mat-N": equal for equal key material, and for both halves of a pair."""
        public = material.public() if material.part is CKO.PRIVATE_KEY else material
        return self._materials.setdefault(public.fingerprint(), f"mat-{len(self._materials) + 1}")

    def name_of(self, masked: MaskedKey) -> str:
        """Return the birth name that a masked object of this cluster carries."""
        return f"key-{masked.tag}"
