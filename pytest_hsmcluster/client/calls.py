"""How does one operation go, from its invoke to its outcome?

Between the two it is routed to one HSM, or asked of every HSM that is believed up, and is at the
mercy of the points that it passes.
"""

from collections.abc import Callable
from typing import Any

from ..cryptoki import CKR
from ..errors import AccountLocked, ClusterError, KeyNotOnHsm, LoginFailed, NotLoggedIn, UsageError
from ..history.events import Kind
from ..service import commands
from ..service.calls import Call
from ..service.commands import Command
from ..service.keystore import StoredKey
from ..sim.flow import Flow
from .creation import Creator
from .handles import KeyHandle, handle_of
from .process import Process
from .sites import Mark, Sites

# Plain text, as in `Faults.reach`: what most records are made of is nothing that the garbage collector follows.
_INVOKE, _OK = Kind.INVOKE.value, Kind.OK.value


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


Answered = Flow[Answer]
"""What the body of an operation is; with a name, since writing it out makes it anew whenever a body is defined."""


class Caller:
    """Runs the operations of one application process.

    Args:
        process: the application process.
        minimum: `create_object_minimum_nodes` (SDK 3).
        made: gives the next ordinal of a ciphertext or wrapped key.
        sites: where it is noted who called what.

    Attributes:
        gathers: whether session keys are made where the process has others (guess).
    """

    gathers = False

    def __init__(self, process: Process, minimum: int, made: Callable[[], int], sites: Sites) -> None:
        self.process = process
        self.creator = Creator(process, minimum)
        self._journal = process.world.journal
        self._register = process.world.register
        self._cluster = process.service.cluster_id
        self._made = made
        self._sites = sites

    # -- inside: one operation from invoke to outcome ------------------------------------------------

    def _operation(
        self,
        name: str,
        body: Callable[[Call], Answered],
        *,
        key: KeyHandle | None = None,
        about: str | None = None,
        label: str | None = None,
        cls: str | None = None,
        kind: str | None = None,
        token: bool | None = None,
        args: tuple[Any, ...] = (),
    ) -> Flow[Any]:
        # No flow yet: whoever calls is on the stack now, and may not be when the flow takes its first step.
        site = self._sites.here()
        return self._performed(site, name, body, key, about, label, cls, kind, token, args)

    def _performed(
        self,
        site: Mark,
        name: str,
        body: Callable[[Call], Answered],
        key: KeyHandle | None,
        about: str | None,
        label: str | None,
        cls: str | None,
        kind: str | None,
        token: bool | None,
        args: tuple[Any, ...],
    ) -> Flow[Any]:
        process, append, scheduler = self.process, self._journal.append, self.process.world.scheduler
        process.check_alive()
        op, client = self._journal.next_op(), process.name
        self._sites.marks[op] = site
        about = about or self._name(key)
        call = Call(op, name, client, process.user, process.lane, session=process.number, key=about, label=label)
        if key is not None:
            label, cls, kind, token = key.label, key.cls, key.kind, key.token
            call.label, call.handle = label, key.number
        append((_INVOKE, scheduler.now_ns, op, client, process.user, name, about, label, cls, kind, token, args))
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
        append((_OK, scheduler.now_ns, op, client, name, answer.keys, answer.made))
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

    def _use(
        self,
        name: str,
        key: KeyHandle,
        request: Command,
        made: Callable[[Any], tuple[Any, ...]] | None = None,
        also: KeyHandle | None = None,
    ) -> Flow[Any]:
        def body(call: Call) -> Answered:
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
                    gone = KeyNotOnHsm(
                        f"session key {key.label!r} ({key.number}) is gone: it lives in one session on one HSM "
                        "and ended with it"
                    )
                    gone.handle = key.number
                    raise gone
                chosen = chosen or home
            elif (
                process.profile.sdk == 5 and process.profile.availability_check and key.number not in process.available
            ):
                yield from self.creator.check(call, key.number)
        if chosen is None and self.gathers and not getattr(request, "token", True):
            chosen = next((home for home in process.homes.values() if home), None)
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
        def body(call: Call) -> Answered:
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
                missing = error.with_traceback(None)
            except ClusterError as error:
                self.process.check_alive()
                if failed is None or error.outcome == "info":
                    failed = error.with_traceback(None)
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
                failed = error.with_traceback(None)
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
                failed = error.with_traceback(None)
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
        connections = self.process.connections.items()
        reached = [id for id, connection in connections if connection.up and connection.logged_in]
        for hsm in reached:
            try:
                yield from self.process.call(call, hsm, commands.Logout(first=hsm == reached[0]))
            except ClusterError:
                self.process.check_alive()  # its session there ends with the connection
        self.process.forget_login()
        return Answer(None)
