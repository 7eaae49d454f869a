"""What is a session of an application, and what is going on in it?"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from ..cryptoki import CKR
from ..history.places import Place
from .refusals import Refused

if TYPE_CHECKING:
    from .access import Access

RW, SERIAL = 0x2, 0x4
_NUMBERS = count(1)
"""Of sessions: no number is given out twice in a process, so that one of another test is known for what it is."""


class Session:
    """One session.

    Attributes:
        number: its handle.
        access: the application's access to the token.
        writable: whether it was opened with CKF_RW_SESSION.
        place: the line of the application that opened it, where that is known.
        active: name of an operation (`sign`, `find`, …) → what it has come to.
        closed: how it ended; empty while it is open.
    """

    def __init__(self, access: "Access", writable: bool, place: Place | None) -> None:
        self.number: Final = next(_NUMBERS)
        self.access = access
        self.writable = writable
        self.place = place
        self.active: dict[str, Any] = {}
        self.closed = ""

    def begin(self, name: str, operation: object) -> None:
        """Let an operation begin.

        Raises:
            Refused: there is one of this name (OPERATION_ACTIVE).
        """
        if name in self.active:
            raise Refused(CKR.OPERATION_ACTIVE, f"session {self.number} has an operation to {name} already")
        self.active[name] = operation

    @contextmanager
    def ends_if_refused(self, name: str) -> Iterator[None]:
        """Have an operation be over when the block fails: only a lack of room lets it go on (v2.40, C_Sign)."""
        try:
            yield
        except BaseException:
            self.active.pop(name, None)
            raise

    def going_on(self, name: str) -> Any:
        """Return an operation that has begun.

        Raises:
            Refused: there is none (OPERATION_NOT_INITIALIZED).
        """
        found = self.active.get(name)
        if found is None:
            raise Refused(CKR.OPERATION_NOT_INITIALIZED, f"session {self.number} has no operation to {name}")
        return found


def checked_flags(flags: int, notify: Sequence[int], read_only: bool) -> bool:
    """Return whether the flags of `C_OpenSession` ask for a session that may write.

    Args:
        flags: CKF.
        notify: whether `pApplication` and `Notify` are not NULL.
        read_only: whether a session without CKF_RW_SESSION is offered.

    Raises:
        Refused: no serial session (SESSION_PARALLEL_NOT_SUPPORTED), a callback (ARGUMENTS_BAD), or none that may
            write (FUNCTION_FAILED).

    Source:
        AWS CloudHSM User Guide, "Known issues for the PKCS #11 library": sessions are read-write; the return value
        for callbacks is a field report.
    """
    if not flags & SERIAL:
        raise Refused(CKR.SESSION_PARALLEL_NOT_SUPPORTED, "C_OpenSession needs CKF_SERIAL_SESSION")
    if any(notify):
        raise Refused(CKR.ARGUMENTS_BAD, "C_OpenSession takes NULL for pApplication and Notify")
    if not flags & RW and not read_only:
        raise Refused(CKR.FUNCTION_FAILED, "ReadOnly cannot be created by Hsm1 provider: pass CKF_RW_SESSION")
    return bool(flags & RW)
