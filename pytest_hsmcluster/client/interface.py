"""What does an application call, and what is wrong with how it calls it?

`Calls` checks what the application passes and makes the flow of each operation.  The
blocking and the awaited client differ in nothing but who drives the flow.
"""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ..cryptoki import CKA
from ..errors import UsageError
from ..keys.kinds import KINDS
from ..keys.mechanisms import GcmParams, Mechanism, digest
from ..sim.clock import to_ns
from ..sim.flow import Flow
from .config import check_minimum
from .handles import KeyHandle, KeyPair
from .operations import PARTS, Operations

Template = Mapping[CKA, Any]


class Calls:
    """The operations of one client, with their arguments checked; each returns a flow."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._process = operations.process

    def generate_key(
        self,
        kind: str,
        bits: int | None,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Template | None,
    ) -> Flow[KeyHandle]:
        self._check_create(label, token, min_srv, timeout_s, template)
        if kind in ("RSA", "EC"):
            raise UsageError(f"{kind} keys come in pairs: call generate_key_pair({kind!r}, …)")
        if bits is None and kind != "DES3":
            raise UsageError(f"generate_key({kind!r}, …) needs a size in bits")
        return self._operations.generate_key(
            kind, 192 if bits is None else bits, label, token, min_srv, timeout_s, template
        )

    def generate_key_pair(
        self,
        kind: str,
        size: int | str,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Template | None,
        public_template: Template | None,
    ) -> Flow[KeyPair]:
        self._check_create(label, token, min_srv, timeout_s, template)
        _check_template(public_template)
        if kind in KINDS and kind not in ("RSA", "EC"):
            raise UsageError(f"{kind} keys do not come in pairs: call generate_key({kind!r}, …)")
        return self._operations.generate_key_pair(
            kind, size, label, token, min_srv, timeout_s, template, public_template
        )

    def import_key(
        self,
        kind: str,
        value: bytes,
        part: str | None,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Template | None,
    ) -> Flow[KeyHandle]:
        self._check_create(label, token, min_srv, timeout_s, template)
        return self._operations.import_key(
            kind, _bytes(value, "import_key"), _part(part, kind), label, token, min_srv, timeout_s, template
        )

    def unwrap_key(
        self,
        blob: bytes,
        with_key: KeyHandle,
        kind: str,
        part: str | None,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Template | None,
        mechanism: Mechanism | None,
        params: Any,
    ) -> Flow[KeyHandle]:
        self._check_create(label, token, min_srv, timeout_s, template)
        return self._operations.unwrap_key(
            _bytes(blob, "unwrap_key"),
            with_key,
            kind,
            _part(part, kind),
            label,
            token,
            min_srv,
            timeout_s,
            template,
            mechanism,
            params,
        )

    def derive_key(
        self,
        base: KeyHandle,
        params: Any,
        kind: str,
        bits: int,
        label: str,
        token: bool,
        min_srv: int | None,
        timeout_s: float | None,
        template: Template | None,
        mechanism: Mechanism | None,
    ) -> Flow[KeyHandle]:
        self._check_create(label, token, min_srv, timeout_s, template)
        return self._operations.derive_key(
            base, kind, bits, label, token, min_srv, timeout_s, template, mechanism, params
        )

    def encrypt(self, key: KeyHandle, data: bytes, aad: bytes, mechanism: Mechanism | None, params: Any) -> Flow[bytes]:
        return self._operations.encrypt(key, _bytes(data, "encrypt"), mechanism, _with_aad(aad, params))

    def decrypt(self, key: KeyHandle, data: bytes, aad: bytes, mechanism: Mechanism | None, params: Any) -> Flow[bytes]:
        return self._operations.decrypt(key, _bytes(data, "decrypt"), mechanism, _with_aad(aad, params))

    def sign(self, key: KeyHandle, data: bytes, mechanism: Mechanism | None, params: Any) -> Flow[bytes]:
        return self._operations.sign(key, _bytes(data, "sign"), mechanism, params)

    def verify(
        self, key: KeyHandle, data: bytes, signature: bytes, mechanism: Mechanism | None, params: Any
    ) -> Flow[None]:
        return self._operations.verify(key, _bytes(data, "verify"), _bytes(signature, "verify"), mechanism, params)

    def wrap_key(self, key: KeyHandle, with_key: KeyHandle, mechanism: Mechanism | None, params: Any) -> Flow[bytes]:
        return self._operations.wrap_key(key, with_key, mechanism, params)

    def public_key(self, key: KeyHandle) -> Flow[PublicKeyTypes]:
        return self._operations.public_key(key)

    def get_attributes(self, key: KeyHandle) -> Flow[Mapping[CKA, Any]]:
        return self._operations.get_attributes(key)

    def set_attribute(self, key: KeyHandle, attribute: CKA, value: Any) -> Flow[None]:
        if not isinstance(attribute, CKA):
            raise UsageError(f"set_attribute takes a CKA member, such as CKA.LABEL; got {attribute!r}")
        return self._operations.set_attribute(key, attribute, value)

    def find_keys(
        self, label: str | None, kind: str | None, cls: str | None, id: bytes | None, template: Template | None
    ) -> Flow[list[KeyHandle]]:
        if cls is not None and cls not in PARTS:
            raise UsageError(f"cls= is one of {', '.join(map(repr, PARTS))}; got {cls!r}")
        if kind is not None and kind not in KINDS:
            raise UsageError(f"kind= is one of {', '.join(map(repr, KINDS))}; got {kind!r}")
        _check_template(template)
        wanted = dict(template or {})
        if label is not None:
            _check_label(label)
            wanted[CKA.LABEL] = label
        if id is not None:
            wanted[CKA.ID] = _bytes(id, "id=")
        return self._operations.find_keys(wanted, kind, cls)

    def delete_key(self, key: KeyHandle) -> Flow[None]:
        return self._operations.delete_key(key)

    def share_key(self, key: KeyHandle, with_user: str, shared: bool) -> Flow[None]:
        if not isinstance(with_user, str) or not with_user:
            raise UsageError(f"with_user= is the name of a user; got {with_user!r}")
        return self._operations.share_key(key, with_user, shared)

    def random(self, count: int) -> Flow[bytes]:
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise UsageError(f"random() takes a number of bytes, 0 or more; got {count!r}")
        return self._operations.random(count)

    def login(self, user: str, password: str) -> Flow[None]:
        if not isinstance(user, str) or not isinstance(password, str):
            raise UsageError("login() takes a user name and a password, both str")
        return self._operations.login(user, password)

    def logout(self) -> Flow[None]:
        return self._operations.logout()

    def digest(self, data: bytes, mechanism: Mechanism) -> bytes:
        """Return a digest; computed in the client, no HSM is asked (User Guide, "PKCS #11 mechanisms")."""
        return digest(mechanism, _bytes(data, "digest"))

    def _check_create(
        self, label: str, token: bool, min_srv: int | None, timeout_s: float | None, template: Template | None
    ) -> None:
        _check_label(label)
        if not isinstance(token, bool):
            raise UsageError(f"token= is True (a token key) or False (a session key); got {token!r}")
        _check_template(template)
        if min_srv is not None:
            if self._process.profile.sdk != 3:
                raise UsageError(
                    "min_srv is an option of SDK 3's key_mgmt_util; SDK 5 has no such number, only its check "
                    "of two HSMs: use sdk=3, or leave it out"
                )
            # Lost HSMs count: a create that wants more than are left is refused by the cluster, not by us.
            check_minimum(min_srv, len(self._process.service.hsms), "min_srv")
        if timeout_s is not None:
            if min_srv is None:
                raise UsageError("timeout_s is valid only together with min_srv (AWS CloudHSM User Guide, genSymKey)")
            if to_ns(timeout_s, "timeout_s") == 0:
                raise UsageError("timeout_s is a number of seconds above 0: without any time no key can be created")


def _check_label(label: object) -> None:
    if not isinstance(label, str):
        raise UsageError(f"a label is a str; got {label!r}")
    try:
        label.encode()
    except UnicodeEncodeError:
        raise UsageError(f"a label is text that has a form in UTF-8; got {label!r}") from None


def _check_template(template: object) -> None:
    if template is not None and not (isinstance(template, Mapping) and all(isinstance(key, CKA) for key in template)):
        raise UsageError(
            f"template= is a mapping of CKA members to values, such as {{CKA.SIGN: True}}; got {template!r}"
        )


def _bytes(value: object, what: str) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise UsageError(f"{what} takes bytes; got {type(value).__name__}")


def _part(part: str | None, kind: str) -> str:
    if part is None:
        return "private" if kind in ("RSA", "EC") else "secret"
    if part not in PARTS:
        raise UsageError(f"cls= is one of {', '.join(map(repr, PARTS))}; got {part!r}")
    return part


def _with_aad(aad: bytes, params: Any) -> Any:
    if not aad:
        return params
    if params is not None:
        raise UsageError("give aad= or params=, not both: GcmParams(aad=…) has room for it")
    return GcmParams(aad=_bytes(aad, "aad="))
