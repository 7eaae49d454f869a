"""What can go wrong, and whose fault is it?

    Exception
    ├── ClusterError            what an application may meet in production
    │   ├── KeyNotOnHsm             the HSM that was asked does not hold the key
    │   │   └── StaleHandle             a PKCS#11 object handle whose session or login is over
    │   ├── StaleSession            a PKCS#11 session that is over
    │   ├── TooFewCopies            a create did not reach enough HSMs
    │   ├── KeyUnavailable          SDK 5's availability check refused the key
    │   ├── HsmBusy                 throttled (HSM code 0xBB)
    │   ├── HsmUnavailable          no HSM, or the connection was lost
    │   ├── RequestTimeout          no answer in time
    │   ├── LoginFailed             unknown user or wrong password
    │   ├── AccountLocked           too many bad passwords on this HSM
    │   ├── NotLoggedIn             no login on the HSM that was asked
    │   ├── KeyAccessDenied         neither owner nor shared with
    │   ├── KeyFunctionNotPermitted the key's attributes forbid this use
    │   ├── KeyUnextractable        the key must not leave in this way
    │   ├── KeyCapacityReached      the HSM is full
    │   ├── SessionLimitReached     no more sessions
    │   ├── TemplateInvalid         key kind, size or attributes are not allowed
    │   ├── MechanismInvalid        unknown, unfit or forbidden mechanism
    │   ├── DataInvalid             data, ciphertext or wrapped key is refused
    │   ├── SignatureInvalid        the signature does not fit
    │   ├── InjectedError           an error that a test injected by name
    │   └── ApplicationDied         the application process was ended by a fault
    ├── UsageError              a test that is written wrongly
    │   └── ConfigError             a configuration file that is wrong
    └── Stuck                   nothing can ever happen again

Each `ClusterError` class says what a PKCS#11 user of SDK 5 sees (`ckr`), what one of
SDK 3 sees where that differs (`ckr_sdk3`), and what the HSM answered (`hsm_code`,
as the AWS CloudHSM User Guide prints it for the tools of SDK 3).  How sure the caller
may be is a matter of the instance: `outcome` is `"fail"` when the operation certainly
did not happen and `"info"` when nobody knows.  Where each number is written down, and
which are guesses, stands in `docs/fidelity.md`.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from .cryptoki import CKR

Outcome = Literal["fail", "info"]


class ClusterError(Exception):
    """What an application may meet when it talks to a cluster.

    Attributes:
        ckr: the PKCS#11 return value that the application sees.
        hsm_code: what the HSM answered, or None when no HSM did.
        outcome: `"fail"` (did not happen) or `"info"` (nobody knows).
        hsm: id of the HSM that it is about, or None.
    """

    ckr: CKR | int = CKR.GENERAL_ERROR
    ckr_sdk3: ClassVar[CKR | None] = None
    hsm_code: int | None = None
    outcome: Outcome = "fail"
    hsm: str | None = None

    def __init__(
        self,
        message: str,
        *,
        hsm: str | None = None,
        outcome: Outcome | None = None,
        ckr: CKR | int | None = None,
        hsm_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.hsm = hsm
        if outcome is not None:
            self.outcome = outcome
        if ckr is not None:
            self.ckr = ckr
        if hsm_code is not None:
            self.hsm_code = hsm_code


class KeyNotOnHsm(ClusterError):
    """The HSM that was asked does not hold the key: retry, another HSM may.

    Attributes:
        handle: number of the key that is missing; None where no HSM said so.
    """

    handle: int | None = None
    ckr = CKR.KEY_HANDLE_INVALID
    ckr_sdk3 = CKR.OBJECT_HANDLE_INVALID
    hsm_code = 0xA8


class StaleHandle(KeyNotOnHsm):
    """A PKCS#11 object handle from before: its session was closed, or its login ended.  No HSM was asked."""


class StaleSession(ClusterError):
    """A PKCS#11 session that was closed, or ended with its library's C_Finalize.  No HSM was asked."""

    ckr = CKR.SESSION_HANDLE_INVALID


class TooFewCopies(ClusterError):
    """A create did not reach enough HSMs and was cleaned up as far as possible.

    Attributes:
        copies: how many HSMs held the key.
        needed: how many had to.
        leftovers: ids of HSMs on which a copy may remain.
    """

    ckr = CKR.FUNCTION_FAILED

    def __init__(
        self,
        message: str,
        *,
        copies: int,
        needed: int,
        leftovers: Sequence[str] = (),
        outcome: Outcome = "fail",
    ) -> None:
        super().__init__(message, outcome=outcome)
        self.copies = copies
        self.needed = needed
        self.leftovers = tuple(leftovers)


class KeyUnavailable(ClusterError):
    """SDK 5 refuses a key that is on fewer than two HSMs."""

    ckr = CKR.FUNCTION_FAILED


class HsmBusy(ClusterError):
    """The HSM is busy and did not take the request (0xBB)."""

    ckr = CKR.FUNCTION_FAILED
    ckr_sdk3 = CKR.OPERATION_ACTIVE
    hsm_code = 0xBB


class HsmUnavailable(ClusterError):
    """No HSM could be reached, or the connection was lost during the call."""

    ckr = CKR.DEVICE_ERROR
    ckr_sdk3 = CKR.GENERAL_ERROR
    hsm_code = 0x30000085


class RequestTimeout(ClusterError):
    """No answer came in time; the HSM may or may not have done the work.

    The return value is a guess: no source names one.
    """

    ckr = CKR.DEVICE_ERROR
    ckr_sdk3 = CKR.GENERAL_ERROR
    outcome = "info"


class LoginFailed(ClusterError):
    """Unknown user or wrong password (0x9d or 0xce, and 0xa3)."""

    ckr = CKR.PIN_INCORRECT
    hsm_code = 0xA3


class AccountLocked(ClusterError):
    """Too many bad passwords on this HSM; an admin must reset the password."""

    ckr = CKR.PIN_LOCKED
    hsm_code = 0xA3


class NotLoggedIn(ClusterError):
    """The client is not logged in, or its session ended with the HSM that held it."""

    ckr = CKR.USER_NOT_LOGGED_IN


class KeyAccessDenied(ClusterError):
    """The user neither owns the key nor is it shared with him, or only the owner may do this."""

    ckr = CKR.KEY_HANDLE_INVALID
    ckr_sdk3 = CKR.OBJECT_HANDLE_INVALID
    hsm_code = 0xC6


class KeyFunctionNotPermitted(ClusterError):
    """The key's attributes forbid this use."""

    ckr = CKR.KEY_FUNCTION_NOT_PERMITTED


class KeyUnextractable(ClusterError):
    """The key must not leave the HSM in this way."""

    ckr = CKR.KEY_UNEXTRACTABLE


class KeyCapacityReached(ClusterError):
    """The HSM holds as many keys as it can."""

    ckr = CKR.DEVICE_MEMORY


class SessionLimitReached(ClusterError):
    """No more sessions can be opened."""

    ckr = CKR.SESSION_COUNT
    ckr_sdk3 = CKR.ARGUMENTS_BAD
    hsm_code = 0x8C


class TemplateInvalid(ClusterError):
    """A key kind, size or attribute that the service does not allow."""

    ckr = CKR.TEMPLATE_INCONSISTENT


class MechanismInvalid(ClusterError):
    """A mechanism that is unknown, does not fit the key, or is forbidden by policy."""

    ckr = CKR.MECHANISM_INVALID


class DataInvalid(ClusterError):
    """Data, ciphertext, a wrapped key or a masked object that the HSM refuses."""

    ckr = CKR.DATA_INVALID


class SignatureInvalid(ClusterError):
    """The signature does not fit the data and the key."""

    ckr = CKR.SIGNATURE_INVALID


class InjectedError(ClusterError):
    """An error answer that a test injected and that has no class of its own (`fail CKR_…`)."""


class ApplicationDied(ClusterError):
    """The application process was ended by a fault at one of its own points."""

    outcome = "info"


class UsageError(Exception):
    """A test, marker, option or call of ours that is written wrongly."""


class ConfigError(UsageError):
    """A configuration file that cannot be used; says file, key, value and what is allowed."""


class Stuck(Exception):
    """Nothing can ever happen again, and somebody still waits: says who, for what, since when."""
