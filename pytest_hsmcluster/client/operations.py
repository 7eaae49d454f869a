"""What can an application do, as flows?

One flow serves the blocking and the awaited client alike.  Each operation writes `invoke`
when it begins and `ok`, `fail` or `info` when it ends; between them it is at the mercy of
the points that it passes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ..cryptoki import CKA, CKO, CKR
from ..errors import ClusterError, TemplateInvalid
from ..keys.attributes import usable_template
from ..keys.mechanisms import Mechanism
from ..service import commands
from ..service.calls import Call
from ..service.commands import Command
from ..service.keystore import CLASSES
from ..sim.flow import Flow
from .calls import Answer, Answered, Caller
from .creation import timeout_ns
from .handles import KeyHandle, KeyPair, check_handle, handle_of

T = TypeVar("T")

PARTS = {name: part for part, name in CLASSES.items()}


class Operations(Caller):
    """The operations of one application process.

    Attributes:
        refuses_duplicates: whether a create ends with an error if its label or id was taken before, though the key is
            made (`Profile.duplicates`; the PKCS#11 library).
    """

    refuses_duplicates = False

    # -- sessions --------------------------------------------------------------------------

    def login(self, user: str, password: str) -> Flow[None]:
        """Log in on one HSM, then on all others that can be reached."""
        return self._operation("login", lambda call: self._login(call, user, password), args=(user.lower(),))

    def logout(self) -> Flow[None]:
        """Log out everywhere; session keys end."""
        return self._operation("logout", self._logout)

    # -- making keys ---------------------------------------------------------------------------

    def generate_key(
        self,
        kind: str,
        bits: int,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Mapping[CKA, Any] | None,
    ) -> Flow[KeyHandle]:
        """Create a secret key."""
        request = commands.GenerateKey(kind, bits, label, token, _template(kind, CKO.SECRET_KEY, template))
        return self._create("generate_key", request, "secret", kind, label, token, min_srv, timeout_s, _only)

    def generate_key_pair(
        self,
        kind: str,
        size: int | str,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Mapping[CKA, Any] | None,
        public_template: Mapping[CKA, Any] | None,
    ) -> Flow[KeyPair]:
        """Create a key pair."""
        request = commands.GenerateKeyPair(
            kind,
            size,
            label,
            token,
            _template(kind, CKO.PRIVATE_KEY, template),
            _template(kind, CKO.PUBLIC_KEY, public_template),
        )
        return self._create("generate_key_pair", request, "private", kind, label, token, min_srv, timeout_s, _pair)

    def import_key(
        self,
        kind: str,
        raw: bytes,
        part: str,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Mapping[CKA, Any] | None,
    ) -> Flow[KeyHandle]:
        """Take in a key that the application has in the clear."""
        request = commands.ImportKey(kind, PARTS[part], raw, label, token, _template(kind, PARTS[part], template))
        return self._create("import_key", request, part, kind, label, token, min_srv, timeout_s, _only)

    def unwrap_key(
        self,
        blob: bytes,
        with_key: object,
        kind: str,
        part: str,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Mapping[CKA, Any] | None,
        mechanism: Mechanism | None,
        params: Any,
    ) -> Flow[KeyHandle]:
        """Take in a wrapped key."""
        key = check_handle(with_key, "unwrap_key(with_key=…)")
        request = commands.UnwrapKey(
            key.number, mechanism, params, blob, kind, PARTS[part], label, token, _template(kind, PARTS[part], template)
        )
        return self._create("unwrap_key", request, part, kind, label, token, min_srv, timeout_s, _only, key)

    def derive_key(
        self,
        base: object,
        kind: str,
        bits: int,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Mapping[CKA, Any] | None,
        mechanism: Mechanism | None,
        params: Any,
    ) -> Flow[KeyHandle]:
        """Derive a secret key."""
        key = check_handle(base, "derive_key")
        request = commands.DeriveKey(
            key.number, mechanism, params, kind, bits, label, token, _template(kind, CKO.SECRET_KEY, template)
        )
        return self._create("derive_key", request, "secret", kind, label, token, min_srv, timeout_s, _only, key)

    # -- using keys ------------------------------------------------------------------------------

    def encrypt(self, key: object, data: bytes, mechanism: Mechanism | None, params: Any) -> Flow[bytes]:
        """Encrypt."""
        handle = check_handle(key, "encrypt")
        request = commands.Encrypt(handle.number, mechanism, params, data)
        return self._use("encrypt", handle, request, lambda value: ("ciphertext", self._made()))

    def decrypt(self, key: object, data: bytes, mechanism: Mechanism | None, params: Any) -> Flow[bytes]:
        """Decrypt."""
        handle = check_handle(key, "decrypt")
        return self._use("decrypt", handle, commands.Decrypt(handle.number, mechanism, params, data))

    def sign(self, key: object, data: bytes, mechanism: Mechanism | None, params: Any) -> Flow[bytes]:
        """Sign, or make a MAC."""
        handle = check_handle(key, "sign")
        return self._use("sign", handle, commands.Sign(handle.number, mechanism, params, data))

    def verify(
        self, key: object, data: bytes, signature: bytes, mechanism: Mechanism | None, params: Any
    ) -> Flow[None]:
        """Verify a signature or a MAC."""
        handle = check_handle(key, "verify")
        return self._use("verify", handle, commands.Verify(handle.number, mechanism, params, data, signature))

    def wrap_key(self, key: object, with_key: object, mechanism: Mechanism | None, params: Any) -> Flow[bytes]:
        """Let a key out, wrapped."""
        target, wrapping = check_handle(key, "wrap_key"), check_handle(with_key, "wrap_key(with_key=…)")
        request = commands.WrapKey(wrapping.number, mechanism, params, target.number)
        name = self._name(target)
        return self._use("wrap_key", wrapping, request, lambda value: ("wrapped", self._made(), name), also=target)

    def public_key(self, key: object) -> Flow[PublicKeyTypes]:
        """Hand out the public half of a pair."""
        handle = check_handle(key, "public_key")
        return _mapped(load_der_public_key, self._use("public_key", handle, commands.PublicKey(handle.number)))

    def get_attributes(self, key: object) -> Flow[Mapping[CKA, Any]]:
        """Hand out what is known of a key."""
        handle = check_handle(key, "get_attributes")
        return self._use("get_attributes", handle, commands.GetAttributes(handle.number))

    def read_attributes(self, key: object, wanted: Sequence[CKA]) -> Flow[Mapping[CKA, Any]]:
        """Hand out attributes as `C_GetAttributeValue` does."""
        handle = check_handle(key, "read_attributes")
        return self._use("read_attributes", handle, commands.ReadAttributes(handle.number, wanted))

    def refused(self, name: str, key: object, error: ClusterError) -> Flow[None]:
        """Write down a call that the library refused by itself, and raise the refusal."""

        def body(call: Call) -> Answered:
            self._sites.notes[call.op] = str(error)
            raise error
            yield  # a flow that waits for nothing

        return self._operation(name, body, key=None if key is None else check_handle(key, name))

    def validate_key(self, key: object, operation: str) -> Flow[int]:
        """Ask whether a key is there and may be used so; hand out its size."""
        handle = check_handle(key, "validate_key")
        return self._use("validate_key", handle, commands.ValidateKey(handle.number, operation))

    def random(self, count: int) -> Flow[bytes]:
        """Hand out random bytes."""
        return self._operation("random", lambda call: self._routed(call, commands.Random(count)))

    # -- all HSMs ----------------------------------------------------------------------------------

    def find_keys(self, template: Mapping[CKA, Any], kind: str | None, part: str | None) -> Flow[list[KeyHandle]]:
        """List keys: the union of what every up HSM has."""
        request = commands.FindKeys(template, kind, PARTS[part] if part else None)
        label = template.get(CKA.LABEL)
        more = tuple(attribute.name.lower() for attribute in template if attribute is not CKA.LABEL)
        return self._operation(
            "find_keys", lambda call: self._find(call, request), label=label, cls=part, kind=kind, args=more
        )

    def delete_key(self, key: object) -> Flow[None]:
        """Remove a key from every HSM that is believed up."""
        handle = check_handle(key, "delete_key")
        return self._everywhere("delete_key", handle, lambda: commands.DeleteKey(handle.number))

    def share_key(self, key: object, user: str, shared: bool) -> Flow[None]:
        """Let another user use a key, or no longer, on every HSM that is believed up."""
        name = "share_key" if shared else "unshare_key"
        kind = commands.ShareKey if shared else commands.UnshareKey
        handle = check_handle(key, name)
        return self._everywhere(name, handle, lambda: kind(handle.number, user.lower()), args=(user.lower(),))

    def set_attribute(self, key: object, attribute: CKA, value: Any) -> Flow[None]:
        """Change an attribute on every HSM that is believed up."""
        handle = check_handle(key, "set_attribute")
        request = lambda: commands.SetAttribute(handle.number, attribute, value)  # noqa: E731
        return self._everywhere("set_attribute", handle, request, args=(attribute.name.lower(),))

    # -- inside ------------------------------------------------------------------------------------

    def _create(
        self,
        name: str,
        request: Command,
        part: str,
        kind: str,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        shape: Callable[[Sequence[KeyHandle]], T],
        base: KeyHandle | None = None,
    ) -> Flow[T]:
        def body(call: Call) -> Answered:
            taken = bool(token and self.refuses_duplicates) and (yield from self._taken(call, request, label))
            source = yield from self._place(call, request, base)
            keys = yield from self.creator.create(call, source, request, token, min_srv, timeout_ns(timeout_s))
            if taken:
                why = f"another key has the label or id of key {label!r}, which was made all the same"
                raise TemplateInvalid(why, ckr=CKR.ATTRIBUTE_VALUE_INVALID, outcome="info")
            handles = [handle_of(key, self._cluster) for key in keys]
            return Answer(shape(handles), tuple(key.name for key in keys))

        if base is None:
            return self._operation(name, body, label=label, cls=part, kind=kind, token=token)
        about = self._name(base)

        def on_base(call: Call) -> Answered:
            call.key, call.label, call.handle = about, base.label, base.number
            return body(call)

        return self._operation(name, on_base, about=about, label=label, cls=part, kind=kind, token=token)

    def _taken(self, call: Call, request: Command, label: str) -> Flow[bool]:
        """Return whether another key has the label or id of one that is to be made; the history knows of no look.

        Source:
            Issues 19 and 105 of crypto11: SDK 3 refuses such a key, and it exists all the same (field reports).
        """
        templates = [getattr(request, name, None) or {} for name in ("template", "public_template")]
        wanted = [(CKA.LABEL, label), *((CKA.ID, one[CKA.ID]) for one in templates if one.get(CKA.ID))]
        for name, value in dict.fromkeys(wanted):
            if value and (yield from self._find(call, commands.FindKeys({name: value}, None, None))).value:
                return True
        return False


def _template(kind: str, part: CKO, template: Mapping[CKA, Any] | None) -> Mapping[CKA, Any]:
    """Return what a key made through this client may be used for: what suits its kind, and what the caller wants."""
    usable = usable_template(kind, part)
    return {**usable, **template} if template else usable


def _mapped(change: Callable[[Any], T], flow: Flow[Any]) -> Flow[T]:
    return change((yield from flow))


def _only(handles: Sequence[KeyHandle]) -> KeyHandle:
    return handles[0]


def _pair(handles: Sequence[KeyHandle]) -> KeyPair:
    return KeyPair(handles[0], handles[1])
