"""How does a key travel between HSMs?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...history.events import Cause
from ...keys.masking import MaskedKey, mask, unmask
from ..audit import Opcode
from ..keystore import StoredKey
from .base import Command

if TYPE_CHECKING:
    from ..calls import Call
    from ..hsm import Hsm


class ExtractMasked(Command):
    """Hand out a key as a masked object, which only the cluster and its clones can open."""

    name = "extract_masked"
    changes = False
    opcode = Opcode.EXTRACT_MASKED

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        hsm.own_key(call, self.handle)

    def work(self, hsm: "Hsm", call: "Call") -> bytes:
        return masked(hsm, hsm.own_key(call, self.handle))

    def handles(self) -> Sequence[int]:
        return (self.handle,)


class InsertMasked(Command):
    """Take in a masked object; it keeps its handle (User Guide, "Interpreting audit logs")."""

    name = "insert_masked"
    opcode = Opcode.INSERT_MASKED

    def __init__(self, handle: int, blob: bytes, source: str) -> None:
        self.handle = handle
        self.blob = blob
        self.source = source

    def duration_ns(self, hsm: "Hsm") -> int:
        return hsm.profile.clone_ns

    def work(self, hsm: "Hsm", call: "Call") -> StoredKey:
        return unmasked(hsm, self.blob)

    def settle(self, hsm: "Hsm", call: "Call", worked: StoredKey) -> None:
        hsm.store.insert(worked, Cause.CLONE, call.op, self.source)

    def handles(self) -> Sequence[int]:
        return (self.handle,)


def masked(hsm: "Hsm", key: StoredKey) -> bytes:
    """Return a key as a masked object."""
    content = MaskedKey(key.handle, int(key.name[4:]), key.material, key.attributes, key.owner, key.shares)
    return mask(hsm.masking_key, content, hsm.source)


def unmasked(hsm: "Hsm", blob: bytes) -> StoredKey:
    """Return the key in a masked object.

    Raises:
        DataInvalid: it was damaged, or belongs to a cluster that is no relative.
    """
    key = unmask(hsm.masking_key, blob)
    register = hsm.register
    return StoredKey(
        key.handle,
        register.name_of(key),
        register.mat_of(key),
        key.material,
        key.attributes,
        key.owner,
        key.shares,
        changed=register.changed(key.handle, key.attributes),
    )
