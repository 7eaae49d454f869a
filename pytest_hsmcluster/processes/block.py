"""Which numbers and names does an HSM give that knows of no other one?"""

from dataclasses import replace

from ..keys.masking import MaskedKey
from ..keys.material import Material
from ..service.keystore import StoredKey
from ..service.register import Register


class Block(Register):
    """A register of one incarnation of one HSM: it has a block of handles to itself.

    The test process alone knows which birth is the cluster's first, second, …: here a key has its handle for a name.
    """

    def __init__(self, first_handle: int) -> None:
        super().__init__()
        self._next_handle = first_handle

    def birth(self, mat: str, handle: int | None = None) -> tuple[int, str]:
        """Return handle and name of a new key."""
        number = self._next_handle
        self._next_handle += 1
        return number, _name(number)

    def material(self, material: Material) -> str:
        """Return what is equal for equal key material."""
        return self.fingerprint(material).hex()

    def name_of(self, masked: MaskedKey) -> str:
        """Return the name of a key that comes as a masked object."""
        return _name(masked.handle)

    def mat_of(self, masked: MaskedKey) -> str:
        """Return what is equal for equal key material."""
        return self.material(masked.material)


def adopted(key: StoredKey) -> StoredKey:
    """Return a key of the test process under the names that an HSM alone gives."""
    return replace(key, name=_name(key.handle), mat=Register.fingerprint(key.material).hex())


def _name(handle: int) -> str:
    return f"key-{handle}"


def handle_of(name: str) -> int:
    """Return the handle of a key that has its name from here."""
    return int(name[4:])
