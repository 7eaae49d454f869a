"""How does a client log in to one HSM and out again?"""

from typing import TYPE_CHECKING

from ...history.events import Cause
from ..audit import Opcode
from .base import Command

if TYPE_CHECKING:
    from ..calls import Call
    from ..hsm import Hsm


class Login(Command):
    """Open a session for a crypto user."""

    name = "login"
    opcode = Opcode.LOGIN

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self._password = password

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        hsm.authenticate(self.user, self._password, call.op)

    def settle(self, hsm: "Hsm", call: "Call", worked: None) -> None:
        hsm.open_session(call.session, self.user.lower())


class Logout(Command):
    """End the client's session here, and its session keys with it.

    Args:
        first: whether this HSM executes the logout for all: usually only that one logs it
            (AWS CloudHSM User Guide, "Interpreting HSM audit logs").
    """

    name = "logout"

    def __init__(self, first: bool) -> None:
        self.opcode = Opcode.LOGOUT if first else None

    def settle(self, hsm: "Hsm", call: "Call", worked: None) -> None:
        hsm.close_session(call.session, Cause.SESSION_END, call.op)
