"""What does an HSM tell about keys, and what does it give out besides?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...cryptoki import CKA, CKO, CKR
from ...errors import DataInvalid, TemplateInvalid
from ...keys.reading import read_attribute
from ..keystore import StoredKey
from .base import Command, permit

if TYPE_CHECKING:
    from ..calls import Call
    from ..hsm import Hsm

MOST_RANDOM_BYTES = 1 << 20
"""Random bytes that an HSM makes at once: what a request costs has a limit.  AWS names none."""


class PublicKey(Command):
    """Hand out the public half of a pair, as SubjectPublicKeyInfo DER; a secret key has none."""

    name = "public_key"
    changes = False

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def work(self, hsm: "Hsm", call: "Call") -> bytes:
        key = hsm.key_for(call, self.handle)
        material = key.material
        if material.part is CKO.SECRET_KEY:
            raise TemplateInvalid(
                f"key {key.label!r} ({key.handle}) is a secret {material.kind} key and has no public half",
                hsm=hsm.id,
                ckr=CKR.ATTRIBUTE_TYPE_INVALID,
            )
        return (material.public() if material.part is CKO.PRIVATE_KEY else material).encoded


class GetAttributes(Command):
    """Hand out what is known of a key, never its value."""

    name = "get_attributes"
    changes = False

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def work(self, hsm: "Hsm", call: "Call") -> dict[CKA, Any]:
        key = hsm.key_for(call, self.handle)
        return {**key.attributes, CKA.CHECK_VALUE: key.material.check_value()}


class ReadAttributes(GetAttributes):
    """Hand out attributes as `C_GetAttributeValue` does, or the return value that says why one is not given out."""

    name = "read_attributes"

    def __init__(self, handle: int, wanted: Sequence[CKA]) -> None:
        super().__init__(handle)
        self.wanted = wanted

    def work(self, hsm: "Hsm", call: "Call") -> dict[CKA, Any]:
        key = hsm.key_for(call, self.handle)
        found: dict[CKA, Any] = {}
        for name in self.wanted:
            try:
                found[name] = read_attribute(key.attributes, key.material, name)
            except TemplateInvalid as refusal:
                found[name] = CKR(refusal.ckr)
        return found


class ValidateKey(Command):
    """Say how large a key is, in bits, if it is here and may be used so; `C_SignInit` and its like ask before a use.

    Source:
        AWS CloudHSM User Guide, "Client SDK 5 configure tool": `--disable-validate-key-at-init`.
    """

    name = "validate_key"
    changes = False

    def __init__(self, handle: int, operation: str) -> None:
        self.handle = handle
        self.operation = operation

    def work(self, hsm: "Hsm", call: "Call") -> int:
        key = hsm.key_for(call, self.handle)
        permit(key, self.operation, hsm)
        return key.material.bits


class CheckKey(Command):
    """Say whether the key is here; SDK 5's availability check asks every HSM."""

    name = "check_key"
    changes = False

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def work(self, hsm: "Hsm", call: "Call") -> bool:
        return self.handle in hsm.store.keys


class FindKeys(Command):
    """List the keys that the user may see and that fit a template: own, shared and public ones."""

    name = "find_keys"
    changes = False

    def __init__(self, template: Mapping[CKA, Any], kind: str | None, part: CKO | None) -> None:
        self.template = template
        self.kind = kind
        self.part = part

    def work(self, hsm: "Hsm", call: "Call") -> list[StoredKey]:
        session = hsm.login_of(call)
        wanted = list(self.template.items())
        return [
            key
            for key in hsm.store.keys.values()
            if key.usable_by(session.user)
            and key.visible_in(session.number)
            and self.kind in (None, key.material.kind)
            and self.part in (None, key.material.part)
            and all(key.attributes.get(name) == value for name, value in wanted)
        ]


class Random(Command):
    """Hand out random bytes."""

    name = "random"
    changes = False

    def __init__(self, count: int) -> None:
        self.count = count

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        super().admit(hsm, call)
        if not 0 <= self.count <= MOST_RANDOM_BYTES:
            raise DataInvalid(
                f"{hsm.id} makes 0 to {MOST_RANDOM_BYTES} random bytes at once, not {self.count}", hsm=hsm.id
            )

    def work(self, hsm: "Hsm", call: "Call") -> bytes:
        return hsm.source.random(self.count)
