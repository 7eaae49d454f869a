"""How are keys on one HSM changed and removed?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...cryptoki import CKA, CKR
from ...errors import KeyFunctionNotPermitted, TemplateInvalid
from ...history.events import Cause
from ..accounts import UserType
from ..audit import Opcode
from .base import Command, not_here

if TYPE_CHECKING:
    from ..calls import Call
    from ..hsm import Hsm


class DeleteKey(Command):
    """Remove a key; only its owner may.

    Args:
        handle: which.
        cause: `delete`, or `cleanup` when a client takes back a create.
    """

    name = "delete_key"
    opcode = Opcode.DESTROY_OBJECT

    def __init__(self, handle: int, cause: Cause = Cause.DELETE) -> None:
        self.handle = handle
        self.cause = cause

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        key = hsm.own_key(call, self.handle)
        if not key.attributes.get(CKA.DESTROYABLE, True):
            raise KeyFunctionNotPermitted(
                f"key {key.label!r} ({key.handle}) is not destroyable", hsm=hsm.id, ckr=CKR.ACTION_PROHIBITED
            )

    def settle(self, hsm: "Hsm", call: "Call", worked: None) -> None:
        if self.handle not in hsm.store.keys:
            raise not_here(hsm, self.handle, call)
        hsm.remove_key(self.handle, self.cause, call.op)

    def handles(self) -> Sequence[int]:
        return (self.handle,)


class TombstoneKey(DeleteKey):
    """Mark a key for later deletion, when it cannot be removed."""

    name = "tombstone_key"
    opcode = Opcode.TOMBSTONE_OBJECT

    def settle(self, hsm: "Hsm", call: "Call", worked: None) -> None:
        if self.handle not in hsm.store.keys:
            raise not_here(hsm, self.handle, call)
        hsm.store.tombstone(self.handle, self.cause, call.op)


class SetAttribute(Command):
    """Change one attribute on this HSM; only the owner may."""

    name = "set_attribute"
    opcode = Opcode.MODIFY_OBJECT

    def __init__(self, handle: int, attribute: CKA, value: Any, *, by_officer: bool = False) -> None:
        self.handle = handle
        self.attribute = attribute
        self.value = value
        self.by_officer = by_officer

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        hsm.own_key(call, self.handle)

    def settle(self, hsm: "Hsm", call: "Call", worked: None) -> None:
        change_attribute(hsm, self.handle, self.attribute, self.value, call.op, by_officer=self.by_officer)

    def handles(self) -> Sequence[int]:
        return (self.handle,)


class ShareKey(Command):
    """Let another user use a key, or no longer; only the owner may.

    Source:
        AWS CloudHSM User Guide, "shareKey": with crypto users, who must exist on the HSM.
    """

    name = "share_key"
    opcode = Opcode.SHARE_OBJECT
    shared = True

    def __init__(self, handle: int, user: str) -> None:
        self.handle = handle
        self.user = user

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        key = hsm.own_key(call, self.handle)
        user = hsm.accounts.users.get(self.user)
        if user is None and (self.shared or self.user not in key.shares):
            raise TemplateInvalid(
                f"HSM Error: This user doesn't exist: {self.user!r} on {hsm.id}", hsm=hsm.id, hsm_code=0xCE
            )
        if user is not None and user.type is not UserType.CU:
            raise TemplateInvalid(
                f"HSM Error: Invalid User Type.: {self.user!r} is a {user.type} on {hsm.id}; keys are shared with "
                "crypto users (CU)",
                hsm=hsm.id,
                hsm_code=0xDB,
            )
        if self.user == key.owner:
            raise TemplateInvalid(
                f"{self.user!r} owns key {key.label!r} and need not share it with himself", hsm=hsm.id
            )

    def settle(self, hsm: "Hsm", call: "Call", worked: None) -> None:
        key = hsm.own_key(call, self.handle)
        others = tuple(user for user in key.shares if user != self.user)
        shares = (*others, self.user) if self.shared else others
        hsm.set_share(replace(key, shares=shares), self.user, self.shared, call.op)

    def handles(self) -> Sequence[int]:
        return (self.handle,)


class UnshareKey(ShareKey):
    """Take a key back from a user."""

    name = "unshare_key"
    shared = False


def change_attribute(hsm: "Hsm", handle: int, name: CKA, value: Any, op: int, *, by_officer: bool) -> None:
    """Change one attribute of a key on one HSM and write it down."""
    key = hsm.store.keys.get(handle)
    if key is None:
        raise not_here(hsm, handle)
    changed = key.with_attribute(name, value, by_officer=by_officer)
    if changed is not key:
        hsm.set_attribute(changed, name.name.lower(), value, op)
