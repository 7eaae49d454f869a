"""What does the door itself refuse, before any HSM is asked?"""

from ..cryptoki import CKR


class Refused(Exception):
    """An answer of the library's own.

    Attributes:
        ckr: what the application gets.
        why: what is wrong and what to do, for the log and the trace.
        outputs: what is written although the call failed: the length that would be enough.
    """

    def __init__(self, ckr: CKR, why: str, outputs: tuple[object, ...] = ()) -> None:
        super().__init__(why)
        self.ckr = ckr
        self.why = why
        self.outputs = outputs


class Outlived(Refused):
    """A slot, a session or an object that there was once: the application has kept it for too long."""


def bad_arguments(why: str) -> Refused:
    """Return the refusal of arguments that PKCS#11 does not allow."""
    return Refused(CKR.ARGUMENTS_BAD, why)
