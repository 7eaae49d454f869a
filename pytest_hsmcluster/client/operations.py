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
from ..errors import AccountLocked, ClusterError, KeyNotOnHsm, LoginFailed, NotLoggedIn, UsageError
from ..history.events import Kind
from ..keys.attributes import usable_template
from ..keys.mechanisms import Mechanism
from ..service import commands
from ..service.calls import Call
from ..service.commands import Command
from ..service.keystore import CLASSES, StoredKey
from ..sim.flow import Flow
from .creation import Creator, timeout_ns
from .handles import KeyHandle, KeyPair, check_handle, handle_of
from .process import Process

# pytest prints the arguments of the frames of a traceback; keys and passwords are among ours.
__tracebackhide__ = True

T = TypeVar("T")

PARTS = {name: part for part, name in CLASSES.items()}


class Answer:
    """What an operation gives back, and what its `ok` event says.

    Attributes:
        value: for the application.
        keys: births that the answer names.
        made: `("ciphertext", n)` or `("wrapped", n, key)`, else empty.
    """

    __slots__ = ("keys", "made", "value")

    def __init__(self, value: Any, keys: tuple[str, ...] = (), made: tuple[Any, ...] = ()) -> None:
        self.value = value
        self.keys = keys
        self.made = made


class Operations:
    """The operations of one application process."""

    def __init__(self, process: Process, minimum: int, made: Callable[[], int]) -> None:
        self.process = process
        self.creator = Creator(process, minimum)
        self._journal = process.world.journal
        self._register = process.world.register
        self._cluster = process.service.cluster_id
        self._made = made

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

    def random(self, count: int) -> Flow[bytes]:
        """Hand out random bytes."""
        return self._operation("random", lambda call: self._routed(call, commands.Random(count)))

    # -- all HSMs ----------------------------------------------------------------------------------

    def find_keys(self, template: Mapping[CKA, Any], kind: str | None, part: str | None) -> Flow[list[KeyHandle]]:
        """List keys: the union of what every up HSM has."""
        request = commands.FindKeys(template, kind, PARTS[part] if part else None)
        label = template.get(CKA.LABEL)
        return self._operation("find_keys", lambda call: self._find(call, request), label=label, cls=part, kind=kind)

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

    # -- inside: one operation from invoke to outcome ------------------------------------------------

    def _operation(
        self,
        name: str,
        body: Callable[[Call], Flow[Answer]],
        *,
        key: KeyHandle | None = None,
        about: str | None = None,
        label: str | None = None,
        cls: str | None = None,
        kind: str | None = None,
        token: bool | None = None,
        args: tuple[Any, ...] = (),
    ) -> Flow[Any]:
        process, append, scheduler = self.process, self._journal.append, self.process.world.scheduler
        process.check_alive()
        op, client = self._journal.next_op(), process.name
        about = about or self._name(key)
        call = Call(op, name, client, process.user, process.lane, session=process.number, key=about, label=label)
        if key is not None:
            label, cls, kind, token = key.label, key.cls, key.kind, key.token
            call.label, call.handle = label, key.number
        append((Kind.INVOKE, scheduler.now_ns, op, client, process.user, name, about, label, cls, kind, token, args))
        try:
            answer = yield from body(call)
        except ClusterError as error:
            self._adapt(error)
            outcome = Kind.INFO if error.outcome == "info" else Kind.FAIL
            if about is not None and isinstance(error, KeyNotOnHsm) and error.handle is not None:
                about = self._register.names.get(error.handle, about)  # of two keys, the one that is missing
            kind_of_error = type(error).__name__
            append((outcome, scheduler.now_ns, op, client, name, kind_of_error, int(error.ckr), error.hsm, about))
            if outcome is Kind.INFO and not process.dead:
                process.next_generation()
            raise
        except UsageError as error:
            wrong = int(CKR.ARGUMENTS_BAD)
            append((Kind.FAIL, scheduler.now_ns, op, client, name, type(error).__name__, wrong, None, about))
            raise
        except GeneratorExit:
            append((Kind.INFO, scheduler.now_ns, op, client, name, "Cancelled", int(CKR.OK), None, about))
            process.next_generation()
            raise
        append((Kind.OK, scheduler.now_ns, op, client, name, answer.keys, answer.made))
        return answer.value

    def _adapt(self, error: ClusterError) -> None:
        """Give an error the return value that SDK 3 has for it, unless it carries its own."""
        if self.process.profile.sdk == 3 and error.ckr_sdk3 is not None and "ckr" not in vars(error):
            error.ckr = error.ckr_sdk3

    def _name(self, key: KeyHandle | None) -> str | None:
        """Return the birth that a handle names in this cluster, or None for a foreign one."""
        if key is None or key.cluster != self._cluster:
            return None
        return self._register.names.get(key.number)

    # -- inside: bodies --------------------------------------------------------------------------------

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
        def body(call: Call) -> Flow[Answer]:
            source = yield from self._place(call, request, base)
            keys = yield from self.creator.create(call, source, request, token, min_srv, timeout_ns(timeout_s))
            handles = [handle_of(key, self._cluster) for key in keys]
            return Answer(shape(handles), tuple(key.name for key in keys))

        if base is None:
            return self._operation(name, body, label=label, cls=part, kind=kind, token=token)
        about = self._name(base)

        def on_base(call: Call) -> Flow[Answer]:
            call.key, call.label, call.handle = about, base.label, base.number
            return body(call)

        return self._operation(name, on_base, about=about, label=label, cls=part, kind=kind, token=token)

    def _use(
        self,
        name: str,
        key: KeyHandle,
        request: Command,
        made: Callable[[Any], tuple[Any, ...]] | None = None,
        also: KeyHandle | None = None,
    ) -> Flow[Any]:
        def body(call: Call) -> Flow[Answer]:
            hsm = yield from self._place(call, request, key, also)
            value = yield from self.process.call(call, hsm, request)
            return Answer(value, (call.key,) if call.key else (), made(value) if made else ())

        return self._operation(name, body, key=key)

    def _place(self, call: Call, request: Command, *keys: KeyHandle | None) -> Flow[str]:
        """Return the HSM for a call that uses keys: where a session key lives, else wherever routing says.

        Raises:
            KeyUnavailable: SDK 5 sees a token key for the first time, on too few HSMs.
            KeyNotOnHsm: a session key that ended with its session or its HSM.
        """
        process, chosen = self.process, None
        for key in keys:
            if key is None:
                continue
            self._check_home(key)
            if not key.token:
                home = process.homes.get(key.number)
                if not home:
                    raise KeyNotOnHsm(
                        f"session key {key.label!r} ({key.number}) is gone: it lives in one session on one HSM "
                        "and ended with it"
                    )
                chosen = chosen or home
            elif (
                process.profile.sdk == 5 and process.profile.availability_check and key.number not in process.available
            ):
                yield from self.creator.check(call, key.number)
        return (yield from process.route(call, request.name, chosen))

    def _check_home(self, key: KeyHandle) -> None:
        """Refuse a handle that another cluster gave out: here its number may be another key's."""
        if key.cluster != self._cluster:
            raise KeyNotOnHsm(
                f"key {key.label!r} ({key.number}) is a handle of {key.cluster}, and this client talks to "
                f"{self._cluster}: find the key there by its label"
            )

    def _routed(self, call: Call, request: Command) -> Flow[Answer]:
        hsm = yield from self.process.route(call, request.name)
        return Answer((yield from self.process.call(call, hsm, request)))

    def _everywhere(
        self, name: str, key: KeyHandle, request: Callable[[], Command], args: tuple[Any, ...] = ()
    ) -> Flow[None]:
        def body(call: Call) -> Flow[Answer]:
            self._check_home(key)
            yield from self._fan_out(call, request)
            if name == "delete_key":
                self.process.homes.pop(key.number, None)
                self.process.available.pop(key.number, None)
            return Answer(None, (call.key,) if call.key else ())

        return self._operation(name, body, key=key, args=args)

    def _fan_out(self, call: Call, request: Callable[[], Command]) -> Flow[None]:
        """Send a command to every HSM that is believed up, and judge the answers together.

        Done when one HSM did it and none that was reached failed; an HSM without the key counts as done.
        """
        done, missing, failed = 0, None, None
        for hsm in (yield from self.process.candidates(call)):
            try:
                yield from self.process.call(call, hsm, request())
                done += 1
            except KeyNotOnHsm as error:
                missing = error
            except ClusterError as error:
                self.process.check_alive()
                if failed is None or error.outcome == "info":
                    failed = error
        if failed is not None:
            if done:
                failed.outcome = "info"
            raise failed
        if not done and missing is not None:
            raise missing

    def _find(self, call: Call, request: Command) -> Flow[Answer]:
        found: dict[int, StoredKey] = {}
        answered, failed = 0, None
        for hsm in (yield from self.process.candidates(call)):
            try:
                for key in (yield from self.process.call(call, hsm, request)):
                    found.setdefault(key.handle, key)
                    if not key.token:
                        self.process.homes.setdefault(key.handle, hsm)
                answered += 1
            except ClusterError as error:
                self.process.check_alive()
                failed = error
        if not answered and failed is not None:
            raise failed
        keys = [found[handle] for handle in sorted(found)]
        return Answer([handle_of(key, self._cluster) for key in keys], tuple(key.name for key in keys))

    def _login(self, call: Call, user: str, password: str) -> Flow[Answer]:
        process = self.process
        if process.user is not None:
            raise LoginFailed(
                f"{process.application!r} is logged in as {process.user!r} already; log out first",
                ckr=CKR.USER_ALREADY_LOGGED_IN,
            )
        call.user = user.lower()
        first, failed = True, None
        for hsm in process.to_log_in():
            try:
                yield from process.call(call, hsm, commands.Login(user, password))
            except ClusterError as error:
                process.check_alive()
                # The first that judges the password decides; others that refuse are only avoided (a guess).
                if first and isinstance(error, LoginFailed | AccountLocked):
                    raise
                failed = error
                process.connections[hsm].up = process.connections[hsm].logged_in = False
                process.connections[hsm].lost_ns = process.world.scheduler.now_ns
                continue
            process.connections[hsm].logged_in = True
            first = False
        if first:
            if failed is not None:
                raise failed
            raise process.unreachable()
        process.remember_login(user, password)
        return Answer(None)

    def _logout(self, call: Call) -> Flow[Answer]:
        if self.process.user is None:
            raise NotLoggedIn(f"{self.process.application!r} is not logged in")
        for hsm in [
            id for id, connection in self.process.connections.items() if connection.up and connection.logged_in
        ]:
            try:
                yield from self.process.call(call, hsm, commands.Logout())
            except ClusterError:
                self.process.check_alive()  # its session there ends with the connection
        self.process.forget_login()
        return Answer(None)


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
