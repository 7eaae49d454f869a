"""What does one application have at one token: a client, a login, objects?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..cryptoki import CKR
from ..errors import StaleHandle
from ..sim.clock import NS
from .handles import Object, Objects
from .refusals import Outlived, Refused
from .token import Token

if TYPE_CHECKING:
    from ..client.handles import KeyHandle
    from .library_client import LibraryClient
    from .sessions import Session


class Access:
    """One application's access to one token.  The client is made when the first session is opened.

    Attributes:
        token: the cluster.
        slot: number of the slot that it is in.
        name: what the client is called in the history.
        former: the objects of tokens that are not there any more.
        sessions: number → session, those that are open.
        objects: the object handles that it was given.
        broken: why everything answers CKR_DEVICE_ERROR until `C_Initialize`; empty while it does not.
    """

    def __init__(self, token: Token, slot: int, name: str, former: Mapping[int, Object]) -> None:
        self._former = former
        self.token = token
        self.slot = slot
        self.name = name
        self.sessions: dict[int, Session] = {}
        self.objects = Objects()
        self.broken = ""
        self._client: LibraryClient | None = None
        self._logged_in = False
        self._left = False  # whether the last session was closed, and the client is logged in still
        self._over: list[KeyHandle] = []  # session keys whose session was closed

    @property
    def client(self) -> "LibraryClient":
        """The application process."""
        if self._client is None:
            self._client = self.token.client(self.name)
        return self._client

    @property
    def logged_in(self) -> bool:
        """Whether somebody is logged in; a login ends with the last connection, and with it all handles."""
        there = self._client is not None and self._client.user is not None and not self._left
        if self._logged_in and not there:
            self.forget_login("lost its login with its last connection")
        return there

    def login(self, user: str, password: str) -> None:
        """Log in, on behalf of all sessions."""
        if self._left and self.client.user is not None:
            self.client.logout()
        self._left = False
        self.client.login(user, password)
        self._logged_in = True

    def logout(self) -> None:
        """Log out; all handles are void from now on."""
        self.client.logout()
        self.forget_login("logged out")

    def forget_login(self, why: str) -> None:
        """Have all handles mean nothing any more."""
        self._logged_in = False
        if self.token.profile.handle_scope == "login":
            self.objects.end_all(f"{self.name} {why} {self.instant()}")

    def leave(self) -> None:
        """End the login with the last session (PKCS #11 v2.40, C_CloseSession); the HSMs hear of it with the next one.

        Garbage collection may close the last session, so nothing is sent now; how the service does it is a guess.
        """
        if self._logged_in:
            self.forget_login("closed its last session")
            self._left = True

    def close(self, session: "Session", why: str) -> None:
        """Close a session; its session keys end with it."""
        session.closed = f"{why} {self.instant()}"
        self.sessions.pop(session.number, None)
        session.active.clear()
        for found in self.objects.session_keys_of(session.number):
            self.objects.end(found, f"session {session.number}, in which it was made, was closed {self.instant()}")
            self._over.append(found.key)

    def sweep_up(self) -> None:
        """End on the HSMs what ended with its session.

        Not when the session is closed: garbage collection may close it, at any time, and the history must not tell.
        """
        if self._over:
            self.client.end_session_keys(self._over)
            self._over = []

    def end(self) -> None:
        """End the application process, if it has come to be one."""
        if self._client is not None:
            self._client.close()

    def check_login(self) -> None:
        """Refuse whoever has not logged in since the last session was closed, though the HSMs have not heard of it.

        Raises:
            Refused: USER_NOT_LOGGED_IN.
        """
        if self._left:
            raise Refused(CKR.USER_NOT_LOGGED_IN, f"{self.name} closed its last session, and a login ends with it")

    def object(self, handle: int, session: "Session", what: str, invalid: CKR = CKR.KEY_HANDLE_INVALID) -> Object:
        """Return what a handle means.

        Args:
            what: name of the operation, for the history.
            invalid: what a handle that means nothing is in this place.

        Raises:
            Refused: it never meant anything here.
            StaleHandle: it meant something once; the history tells.
        """
        self.logged_in  # noqa: B018  # whoever lost it is told that, and not that an HSM lacks the key
        found = self.objects.all.get(handle)
        if found is None and (former := self._former.get(handle)) is not None:
            raise Outlived(invalid, former.story)
        if found is None:
            raise Refused(invalid, f"object {handle} was never given out to {self.name}")
        if found.ended:
            why = f"{found.story}; then it was used in session {session.number}"
            self.client.refuse(what, found.key, StaleHandle(f"{why}: find the key again", ckr=invalid))
        return found

    def instant(self) -> str:
        """Return the present instant, for people."""
        return f"at {self.token.now_ns() / NS:.6f} s"
