"""How do keys come into being on an HSM?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...cryptoki import CKA, CKO
from ...history.events import Cause
from ...keys import mechanisms
from ...keys.attributes import Attributes, Origin, new_attributes
from ...keys.material import Material, generate_pair, generate_secret, import_material
from ...keys.mechanisms import Mechanism
from ...keys.wrap_rules import with_unwrap_template
from ..audit import Opcode
from ..keystore import StoredKey
from .base import Command
from .uses import Using

if TYPE_CHECKING:
    from ..calls import Call
    from ..hsm import Hsm


class Birth(Command):
    """Makes keys that have not been there before."""

    cause: ClassVar[Cause]

    def __init__(self, label: str, token: bool, template: Mapping[CKA, Any] | None) -> None:
        self.label = label
        self.token = token
        self.template = template
        self._born: tuple[int, ...] = ()

    def settle(self, hsm: "Hsm", call: "Call", worked: Any) -> tuple[StoredKey, ...]:
        hsm.make_room(len(worked), self.token)
        session = None if self.token else hsm.login_of(call).number
        mat = hsm.register.material(worked[0][0])  # of a pair, the public half: both share its name
        keys = tuple(hsm.bear(made, attributes, call, session, self.cause, mat) for made, attributes in worked)
        self._born = tuple(key.handle for key in keys)
        return keys

    def taken_back(self) -> None:
        self._born = ()

    def attributes(
        self, made: Material, origin: Origin, template: Mapping[CKA, Any] | None, base: Attributes | None = None
    ) -> Attributes:
        """Return the attributes of one new key; of a pair each half may have a label of its own in its template."""
        label = self.label
        if made.part is CKO.PUBLIC_KEY and origin == "generate" and template and CKA.LABEL in template:
            label = ""
        return new_attributes(
            made.kind,
            made.part,
            origin=origin,
            label=label,
            token=self.token,
            template=template,
            bits=made.bits,
            curve=made.curve,
            base=base,
        )

    def handles(self) -> Sequence[int]:
        return self._born


class GenerateKey(Birth):
    """Make a secret key."""

    name = "generate_key"
    opcode = Opcode.GENERATE_KEY
    cause = Cause.CREATE

    def __init__(self, kind: str, bits: int, label: str, token: bool, template: Mapping[CKA, Any] | None) -> None:
        super().__init__(label, token, template)
        self.kind = kind
        self.bits = bits

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        super().admit(hsm, call)
        mechanisms.check_policy("generate", None, self.kind, hsm.profile.fips, sdk=hsm.profile.sdk)

    def work(self, hsm: "Hsm", call: "Call") -> tuple[tuple[Material, Attributes], ...]:
        made = generate_secret(self.kind, self.bits, hsm.source, max_generic_bytes=hsm.profile.max_generic_bytes)
        return ((made, self.attributes(made, "generate", self.template)),)


class GenerateKeyPair(Birth):
    """Make a key pair; `template` is the private key's, `public_template` the public one's."""

    name = "generate_key_pair"
    opcode = Opcode.GENERATE_KEY_PAIR
    cause = Cause.CREATE

    def __init__(
        self,
        kind: str,
        size: int | str,
        label: str,
        token: bool,
        template: Mapping[CKA, Any] | None,
        public_template: Mapping[CKA, Any] | None,
    ) -> None:
        super().__init__(label, token, template)
        self.kind = kind
        self.size = size
        self.public_template = public_template

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        super().admit(hsm, call)
        mechanisms.check_policy("generate", None, self.kind, hsm.profile.fips, sdk=hsm.profile.sdk)

    def work(self, hsm: "Hsm", call: "Call") -> tuple[tuple[Material, Attributes], ...]:
        public, private = generate_pair(self.kind, self.size, hsm.source)
        return (
            (public, self.attributes(public, "generate", self.public_template)),
            (private, self.attributes(private, "generate", self.template)),
        )


class ImportKey(Birth):
    """Take in a key that the caller has in the clear."""

    name = "import_key"
    opcode = Opcode.CREATE_OBJECT
    cause = Cause.IMPORT

    def __init__(
        self, kind: str, part: CKO, raw: bytes, label: str, token: bool, template: Mapping[CKA, Any] | None
    ) -> None:
        super().__init__(label, token, template)
        self.kind = kind
        self.part = part
        self._raw = raw

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        super().admit(hsm, call)
        mechanisms.check_policy("import", None, self.kind, hsm.profile.fips, sdk=hsm.profile.sdk)

    def work(self, hsm: "Hsm", call: "Call") -> tuple[tuple[Material, Attributes], ...]:
        made = import_material(self.kind, self.part, self._raw, max_generic_bytes=hsm.profile.max_generic_bytes)
        return ((made, self.attributes(made, "import", self.template)),)


class FromKey(Using, Birth):
    """Makes a key out of another one: its admission is that of a use and that of an import."""

    changes = True

    def __init__(
        self,
        handle: int,
        mechanism: Mechanism | None,
        params: Any,
        kind: str,
        label: str,
        token: bool,
        template: Mapping[CKA, Any] | None,
    ) -> None:
        Using.__init__(self, handle, mechanism, params)
        Birth.__init__(self, label, token, template)
        self.kind = kind

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        super().admit(hsm, call)
        mechanisms.check_policy("import", None, self.kind, hsm.profile.fips, sdk=hsm.profile.sdk)


class UnwrapKey(FromKey):
    """Open a wrapped key and keep what was in it."""

    name = "unwrap_key"
    operation = "unwrap"
    opcode = Opcode.UNWRAP_KEY
    cause = Cause.UNWRAP

    def __init__(
        self,
        handle: int,
        mechanism: Mechanism | None,
        params: Any,
        blob: bytes,
        kind: str,
        part: CKO,
        label: str,
        token: bool,
        template: Mapping[CKA, Any] | None,
    ) -> None:
        super().__init__(handle, mechanism, params, kind, label, token, template)
        self._blob = blob
        self.part = part

    def work(self, hsm: "Hsm", call: "Call") -> tuple[tuple[Material, Attributes], ...]:
        wrapping, most = hsm.key_for(call, self.handle), hsm.profile.max_generic_bytes
        made = mechanisms.unwrap(
            wrapping.material, self.chosen, self._blob, self.kind, self.part, self.params, max_generic_bytes=most
        )
        template = with_unwrap_template(wrapping.attributes, self.template)
        return ((made, self.attributes(made, "unwrap", template)),)


class DeriveKey(FromKey):
    """Derive a secret key from another key."""

    name = "derive_key"
    operation = "derive"
    opcode = Opcode.DERIVE_KEY
    cause = Cause.DERIVE

    def __init__(
        self,
        handle: int,
        mechanism: Mechanism | None,
        params: Any,
        kind: str,
        bits: int,
        label: str,
        token: bool,
        template: Mapping[CKA, Any] | None,
    ) -> None:
        super().__init__(handle, mechanism, params, kind, label, token, template)
        self.bits = bits

    def work(self, hsm: "Hsm", call: "Call") -> tuple[tuple[Material, Attributes], ...]:
        base, most = hsm.key_for(call, self.handle), hsm.profile.max_generic_bytes
        made = mechanisms.derive(base.material, self.chosen, self.params, self.kind, self.bits, max_generic_bytes=most)
        return ((made, self.attributes(made, "derive", self.template, base.attributes)),)
