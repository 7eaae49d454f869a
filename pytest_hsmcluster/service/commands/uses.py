"""What does an HSM do with a key that is there?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...keys import mechanisms
from ...keys.mechanisms import Mechanism
from ...keys.wrap_rules import check_wrappable
from ..audit import Opcode
from .base import Command, permit

if TYPE_CHECKING:
    from ..calls import Call
    from ..hsm import Hsm


class Using(Command):
    """Does something with a key that is there.

    Attributes:
        handle: the key's number.
        operation: what the key must permit, as `mechanisms.NEEDS` calls it.
        size: bytes of data that go in, where a mechanism limits them.
    """

    changes = False
    operation: ClassVar[str]
    size: int | None = None

    def __init__(self, handle: int, mechanism: Mechanism | None, params: Any) -> None:
        self.handle = handle
        self.mechanism = mechanism
        self.params = params

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        key = hsm.key_for(call, self.handle)
        permit(key, self.operation, hsm)
        chosen = self.mechanism
        if chosen is None:
            chosen = mechanisms.default_mechanism(self.operation, key.material)
        profile, made_of = hsm.profile, key.material
        mechanisms.check_policy(
            self.operation,
            chosen,
            made_of.kind,
            profile.fips,
            sdk=profile.sdk,
            curve=made_of.curve,
            size=self.size if profile.data_limits else None,
        )
        self.chosen = chosen


class Encrypt(Using):
    """Encrypt; the answer is the ciphertext."""

    name = operation = "encrypt"

    def __init__(self, handle: int, mechanism: Mechanism | None, params: Any, data: bytes) -> None:
        super().__init__(handle, mechanism, params)
        self._data = data
        self.size = len(data)

    def work(self, hsm: "Hsm", call: "Call") -> bytes:
        key = hsm.key_for(call, self.handle)
        return mechanisms.encrypt(
            key.material, self.chosen, self._data, self.params, hsm.source, limited=hsm.profile.data_limits
        )


class Decrypt(Encrypt):
    """Decrypt; the answer is the plaintext."""

    name = operation = "decrypt"

    def work(self, hsm: "Hsm", call: "Call") -> bytes:
        key = hsm.key_for(call, self.handle)
        return mechanisms.decrypt(key.material, self.chosen, self._data, self.params, limited=hsm.profile.data_limits)


class Sign(Encrypt):
    """Sign or make a MAC; the answer is the signature."""

    name = operation = "sign"

    def work(self, hsm: "Hsm", call: "Call") -> bytes:
        key = hsm.key_for(call, self.handle)
        return mechanisms.sign(
            key.material, self.chosen, self._data, self.params, hsm.source, limited=hsm.profile.data_limits
        )


class Verify(Using):
    """Verify a signature or MAC; the answer is None or a refusal."""

    name = operation = "verify"

    def __init__(self, handle: int, mechanism: Mechanism | None, params: Any, data: bytes, signature: bytes) -> None:
        super().__init__(handle, mechanism, params)
        self._data = data
        self.size = len(data)
        self._signature = signature

    def work(self, hsm: "Hsm", call: "Call") -> None:
        key = hsm.key_for(call, self.handle)
        limited = hsm.profile.data_limits
        mechanisms.verify(key.material, self.chosen, self._data, self._signature, self.params, limited=limited)


class WrapKey(Using):
    """Let a key out, wrapped under another; only its owner may (User Guide, "shareKey")."""

    name = "wrap_key"
    operation = "wrap"
    opcode = Opcode.WRAP_KEY

    def __init__(self, handle: int, mechanism: Mechanism | None, params: Any, target: int) -> None:
        super().__init__(handle, mechanism, params)
        self.target = target

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        super().admit(hsm, call)
        wrapping, target = hsm.key_for(call, self.handle), hsm.own_key(call, self.target)
        check_wrappable(wrapping.attributes, target.attributes)

    def work(self, hsm: "Hsm", call: "Call") -> bytes:
        wrapping, target = hsm.key_for(call, self.handle), hsm.own_key(call, self.target)
        return mechanisms.wrap(wrapping.material, self.chosen, target.material, self.params, hsm.source)

    def handles(self) -> Sequence[int]:
        return (self.target, self.handle)
