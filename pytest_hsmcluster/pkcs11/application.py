"""What is one application that has loaded the library, and what does each of its calls come to?"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from ..client.handles import KeyHandle
from ..cryptoki import CKR
from ..errors import (
    ApplicationDied,
    ClusterError,
    HsmUnavailable,
    RequestTimeout,
    SessionLimitReached,
    StaleSession,
    UsageError,
)
from ..wire.frames import FrameError, Start, read_request, write_answer
from ..wire.functions import FUNCTIONS, Function
from .access import Access
from .births import Births
from .handles import Object
from .information import Information
from .objects import ObjectFunctions
from .recovering import Recovering
from .refusals import Outlived, Refused, bad_arguments
from .sessions import Session, checked_flags
from .token import Token
from .uses import Uses

log = logging.getLogger("pytest_hsmcluster.pkcs11")
log.addHandler(logging.NullHandler())

_CKU_USER = 1
_RO_PUBLIC, _RO_USER, _RW_PUBLIC, _RW_USER = 0, 1, 2, 3
_MUTEXES = 4
_WITHOUT_SESSION: Final = (
    "C_Initialize",
    "C_Finalize",
    "C_GetInfo",
    "C_GetSlotList",
    "C_GetSlotInfo",
    "C_GetTokenInfo",
    "C_GetMechanismList",
    "C_GetMechanismInfo",
    "C_OpenSession",
    "C_CloseAllSessions",
)
_BEGINNINGS: Final = {
    "C_FindObjectsInit": "find_keys",
    "C_GetAttributeValue": "read_attributes",
    "C_DestroyObject": "delete_key",
    "C_GenerateKey": "generate_key",
    "C_GenerateKeyPair": "generate_key_pair",
    "C_CreateObject": "import_key",
    "C_UnwrapKey": "unwrap_key",
    "C_DeriveKey": "derive_key",
    "C_WrapKey": "wrap_key",
    "C_EncryptInit": "encrypt",
    "C_DecryptInit": "decrypt",
    "C_SignInit": "sign",
    "C_VerifyInit": "verify",
    "C_GenerateRandom": "random",
}
"""Function → the operation that the application wants when it calls it.

Of a session that is over the history tells these only: others may be called by garbage collection, at any time.
"""
_CLOSING: Final = ("C_CloseSession", "C_CloseAllSessions", "C_FindObjectsFinal", "C_Logout")
QUIET: Final = (CKR.BUFFER_TOO_SMALL, CKR.ATTRIBUTE_TYPE_INVALID, CKR.ATTRIBUTE_SENSITIVE)


class Called(NamedTuple):
    """One call of the library.

    Attributes:
        function: `C_Sign`.
        slot: the slot that it was about; 0 for none.
        session: the session; 0 for none.
        result: CKR, as a number.
        why: what was wrong; empty for CKR_OK.
        at_ns: the simulated instant at which it came back; 0 where it was about no slot.
        outlived: whether it was about a slot, a session or an object that there was once.
    """

    function: str
    slot: int
    session: int
    result: int
    why: str
    at_ns: int
    outlived: bool = False

    def __str__(self) -> str:
        name = f"CKR_{CKR(self.result).name}" if self.result in CKR._value2member_map_ else f"0x{self.result:X}"
        return f"{self.function} → {name}" + (f": {self.why}" if self.why else "")


class Application:
    """One application: in this process, or at the other end of a socket.

    Args:
        name: what its clients are called in the history.
        slots: number of a slot → its token: those that it may see now.
        gone: number of a slot → why it is not there any more.
        called: is told of every call.

    Attributes:
        initialized: whether C_Initialize was called, and C_Finalize was not.
        failures: exceptions that are ours or the test's, and that no return value says.
    """

    def __init__(
        self,
        name: str,
        slots: Callable[[], Mapping[int, Token]],
        gone: Mapping[int, str],
        called: Callable[[Called], object],
    ) -> None:
        self.name = name
        self.initialized = False
        self.failures: list[BaseException] = []
        self._slots = slots
        self._gone = gone
        self._called = called
        self._accesses: dict[int, Access] = {}
        self._sessions: dict[int, Session] = {}
        self._closed: dict[int, tuple[int, str]] = {}  # session → its slot, and how it ended
        self._former: dict[int, Object] = {}
        parts = (self, Information(self), ObjectFunctions(self), Births(self), Uses(self), Recovering())
        self._methods = {function.name: _method(function, parts) for function in FUNCTIONS if function.offered}

    # -- one call ------------------------------------------------------------------------------

    def answer(self, frame: bytes) -> bytes:
        """Return the frame that answers a frame; it never raises."""
        sequence, function = 0, None
        handled = sys.exception()  # of the application: in the process of the test it may call while it handles one
        about: list[int] = [0, 0]
        result: int = CKR.OK
        why, outputs, outlived = "", cast(Sequence[Any], ()), False
        try:
            sequence, function, arguments = read_request(frame)
            outputs = self._carried_out(function, arguments, about)
        except Refused as refused:
            result, why, outputs = refused.ckr, refused.why, refused.outputs
            # Garbage collection may close what there was, at any time.
            outlived = isinstance(refused, Outlived) and function is not None and function.name not in _CLOSING
            _let_go(refused, handled)
        except FrameError as error:
            result, why = CKR.GENERAL_ERROR, str(error)
        except ApplicationDied as error:
            # A guess: the process is gone in reality, and here it is until it starts anew.
            result, why = CKR.GENERAL_ERROR, str(error)
            self._break(about[0], str(error))
        except ClusterError as error:
            result, why = error.ckr, str(error)
            self._after(about[0], error)
            _let_go(error, handled)
        except UsageError as error:
            result, why = CKR.ARGUMENTS_BAD, str(error)
            _let_go(error, handled)
        except BaseException as error:
            result, why = CKR.FUNCTION_FAILED, f"{type(error).__name__}: {error}"
            self.failures.append(error)
        name = function.name if function is not None else "?"
        if why and result not in QUIET:
            log.info("%s: %s: %s", self.name, name, why)
        token = self._slots().get(about[0])
        at_ns = token.now_ns() if token else 0
        self._called(Called(name, about[0], about[1], int(result), why, at_ns, outlived))
        try:
            return write_answer(sequence, function, int(result), outputs)
        except Exception as error:
            self.failures.append(error)
            return write_answer(sequence, function, CKR.FUNCTION_FAILED)

    def _carried_out(self, function: Function, arguments: list[Any], about: list[int]) -> Sequence[Any]:
        method, needs_session, numbers = self._methods[function.name]
        if not self.initialized and function.name != "C_Initialize":
            raise Refused(CKR.CRYPTOKI_NOT_INITIALIZED, "C_Initialize was not called")
        for place in reversed(numbers):
            if not arguments.pop(place):
                raise bad_arguments(f"{function.name} needs a place for its answer")
        if needs_session:
            about[:] = self._closed.get(arguments[0], (0,))[0], arguments[0]
            session = arguments[0] = self.session(arguments[0], _BEGINNINGS.get(function.name, ""))
            about[0] = session.access.slot
        elif function.takes[0] == "ulong":
            about[0] = arguments[0]
        outputs: Sequence[Any] = method(*arguments)
        if function.name == "C_OpenSession":
            about[1] = outputs[0]
        return outputs

    def _after(self, slot: int, error: ClusterError) -> None:
        access = self._accesses.get(slot)
        lost = isinstance(error, HsmUnavailable | RequestTimeout) or error.ckr == CKR.DEVICE_ERROR
        if access is not None and lost and access.token.profile.device_error_sticks:
            self._break(slot, str(error))

    def _break(self, slot: int, why: str) -> None:
        if slot in self._accesses:
            self._accesses[slot].broken = why

    # -- slots and sessions -------------------------------------------------------------------------

    @property
    def slots(self) -> Mapping[int, Token]:
        """The slots that there are now: that of a cluster which the test has closed is none."""
        return {number: token for number, token in self._slots().items() if not token.closed()}

    def access(self, slot: int) -> Access:
        """Return the access to the token of a slot.

        Raises:
            Refused: there is no such slot (SLOT_ID_INVALID).
        """
        token = self._slots().get(slot)
        if token is not None and token.closed():
            raise Outlived(CKR.SLOT_ID_INVALID, f"slot {slot}: {token.cluster} is closed")
        if token is None:
            if slot in self._gone:
                raise Outlived(CKR.SLOT_ID_INVALID, f"slot {slot}: {self._gone[slot]}")
            raise Refused(CKR.SLOT_ID_INVALID, f"there is no slot {slot}")
        found = self._accesses.get(slot)
        if found is None:
            found = self._accesses[slot] = Access(token, slot, self.name, self._former)
        if found.broken:
            raise Refused(CKR.DEVICE_ERROR, f"until C_Initialize is called anew: {found.broken}")
        return found

    def session(self, number: int, what: str = "") -> Session:
        """Return an open session.

        Args:
            what: name of the operation that it is wanted for, for the history.

        Raises:
            Refused: there is none of this number any more, or there never was (SESSION_HANDLE_INVALID).
            StaleSession: there was one of this cluster; the history tells.
        """
        found = self._sessions.get(number)
        if found is not None and found.access.token.closed():
            self.remove(found.access.slot, f"{found.access.token.cluster} was closed")
            found = None
        if found is None:
            if number not in self._closed:
                raise Refused(CKR.SESSION_HANDLE_INVALID, f"there never was a session {number}")
            slot, why = self._closed[number]
            token = self._slots().get(slot)
            if what and token is not None and not token.closed():
                self.access(slot).client.refuse(what, None, StaleSession(why))
            raise Outlived(CKR.SESSION_HANDLE_INVALID, why)
        self.access(found.access.slot)
        return found

    def give(self, session: Session, key: KeyHandle) -> int:
        """Return an object handle for a key."""
        objects = session.access.objects
        found = objects.of(key) or objects.give(key, session.number, session.access.token.sites.caller())
        return found.number

    def remove(self, slot: int, why: str) -> None:
        """Have a slot be gone, and its sessions with it."""
        for session in [one for one in self._sessions.values() if one.access.slot == slot]:
            self._close(session, why)
        access = self._accesses.pop(slot, None)
        if access is not None:
            access.end()
            for found in access.objects.all.values():
                access.objects.end(found, why)
            self._former.update(access.objects.all)

    def end(self) -> None:
        """End all that there is: the application is over."""
        for slot in list(self._accesses):
            self.remove(slot, "the application ended")
        self.initialized = False

    def _close(self, session: Session, why: str) -> None:
        place = session.place
        opened = f", opened by {place}," if place is not None and place.path else ""
        session.access.close(session, why)
        self._sessions.pop(session.number, None)
        self._closed[session.number] = (
            session.access.slot,
            f"session {session.number}{opened} is over: {session.closed}",
        )

    # -- functions ----------------------------------------------------------------------------------------

    def c_initialize(self, start: Start) -> list[Any]:
        if start.reserved or start.mutexes not in (0, _MUTEXES):
            raise bad_arguments("C_Initialize takes NULL for pReserved, and all four mutex functions or none")
        if self.initialized:
            raise Refused(CKR.CRYPTOKI_ALREADY_INITIALIZED, "C_Initialize was called before")
        if not self.slots:
            raise Refused(CKR.GENERAL_ERROR, "no cluster is running: a test asks for one with the fixture hsm_pkcs11")
        # No function of the library holds a lock: it needs neither the mutexes of the system nor the application's.
        self.initialized = True
        return []

    def c_finalize(self, reserved: int) -> list[Any]:
        if reserved:
            raise bad_arguments("C_Finalize takes NULL")
        self.end()
        return []

    def c_open_session(self, slot: int, flags: int, about: int, notify: int) -> list[Any]:
        access = self.access(slot)
        profile = access.token.profile
        writable = checked_flags(flags, (about, notify), profile.read_only_sessions_offered)
        if len(access.sessions) >= profile.sessions_per_application:
            refusal = SessionLimitReached(
                f"{self.name} has {len(access.sessions)} sessions, and an application may have "
                f"{profile.sessions_per_application}: close some"
            )
            if profile.sdk == 3 and refusal.ckr_sdk3 is not None:
                refusal.ckr = refusal.ckr_sdk3
            raise refusal
        session = Session(access, writable, access.token.sites.caller())
        access.sessions[session.number] = self._sessions[session.number] = session
        return [session.number]

    def c_close_session(self, session: Session) -> list[Any]:
        access = session.access
        self._close(session, "it was closed")
        if not access.sessions:
            access.leave()
        return []

    def c_close_all_sessions(self, slot: int) -> list[Any]:
        access = self.access(slot)
        for session in list(access.sessions.values()):
            self._close(session, "all sessions were closed")
        access.leave()
        return []

    def c_get_session_info(self, session: Session, there: int) -> list[Any]:
        if not there:
            raise bad_arguments("C_GetSessionInfo needs a place for its answer")
        logged_in = session.access.logged_in
        state = (_RW_USER if logged_in else _RW_PUBLIC) if session.writable else _RO_USER if logged_in else _RO_PUBLIC
        return [[session.access.slot, state, 0x4 | (0x2 if session.writable else 0), 0]]

    def c_login(self, session: Session, user_type: int, pin: bytes | None) -> list[Any]:
        if user_type != _CKU_USER:
            raise Refused(CKR.USER_TYPE_INVALID, "only CKU_USER logs in: a crypto user")
        try:
            user, colon, password = (pin or b"").decode().partition(":")
        except UnicodeDecodeError:
            colon = ""
        if not colon:
            # A guess: what the library says of a PIN in another form is not published.
            raise Refused(CKR.PIN_INCORRECT, "the PIN of CloudHSM is <user name>:<password>")
        session.access.login(user, password)
        return []

    def c_logout(self, session: Session) -> list[Any]:
        session.access.logout()
        return []


def _method(function: Function, parts: Sequence[object]) -> tuple[Callable[..., Sequence[Any]], bool, tuple[int, ...]]:
    """Return what carries a function out, whether for a session, and which arguments are places for a number."""
    name = _snake(function.name)
    method = next(getattr(part, name) for part in parts if hasattr(part, name))
    numbers = tuple(place for place, kind in enumerate(function.takes) if kind == "number")
    return method, function.name not in _WITHOUT_SESSION, numbers


def _snake(name: str) -> str:
    """Return `c_get_slot_list` for `C_GetSlotList`."""
    return "c" + "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name[2:])


def _let_go(error: BaseException | None, handled: BaseException | None) -> None:
    """Let go of the frames of an error that has been answered: whoever holds it there would hold the caller's, too.

    What the application was handling is left to it.
    """
    while error is not None and error is not handled:
        error.__traceback__ = None
        error = error.__context__
