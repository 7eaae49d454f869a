"""How does an application keep a PKCS #11 session through all that can happen to it?

Both production forms do it like this.  What PKCS #11 adds to the troubles of a cluster:

1. A session may be lost at any call, and with it the login and all object handles.  It is opened again at the next
   call, and keys are found again.
2. A library that answers two calls in a row with "device error" may never recover: it is finalized and initialized
   anew.  (So does AWS's own application of this library, aws-kms-xks-proxy.)
3. python-pkcs11 reads an object's attributes when it makes or finds one, and what it reads may be asked of an HSM that
   has not got the key: then the object is not returned, or it lacks `encrypt`.  Neither says that there is no key.  It
   is looked for again, at once, for the next question goes to another HSM.  A key that is on too few HSMs makes SDK 5
   ask for 87 s before it says so, and python-pkcs11 then reads its attributes one by one, so that one look takes half
   an hour: after such a look there is no other one.
4. A password that was refused is not sent again: the account would be locked.
"""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11 import Attribute, GCMParams, Mechanism

T = TypeVar("T")

LOOKS: Final = 9
"""How often a key is looked for in a row: each look may meet an HSM without it."""
LOOKING_S: Final = 100.0
"""No look begins later than this after the first."""
IV_BYTES: Final = 12

NAMES_NOTHING: Final = (pkcs11.KeyHandleInvalid, pkcs11.ObjectHandleInvalid)
"""The HSM that was asked has not got the key, or the handle is void."""
LOST: Final = (pkcs11.DeviceRemoved, pkcs11.SessionClosed, pkcs11.SessionHandleInvalid, pkcs11.UserNotLoggedIn)
"""The session or its login is lost."""
BROKEN: Final = (pkcs11.DeviceError, pkcs11.GeneralError)
"""A call failed, or the library is of no use any more."""
PASSING: Final = (*NAMES_NOTHING, *LOST, *BROKEN, pkcs11.FunctionFailed, pkcs11.DeviceMemory, pkcs11.OperationActive)
"""What may be over at the next attempt."""


class Connection:
    """One application's session at a token, logged in.  Nothing is opened before the first call.

    In a process this is the only one that uses the library.

    Args:
        module: path of the library.
        token_label: of the token: `hsm1` with SDK 5, `cavium` with SDK 3.
        pin: `<crypto user>:<password>`.

    Attributes:
        era: counts the sessions; objects of an earlier era are void.
    """

    def __init__(self, module: str, token_label: str, pin: str) -> None:
        self.era = 0
        self._module = module
        self._token_label = token_label
        self._pin = pin
        self._session: pkcs11.Session | None = None
        self._in_trouble = False

    def ask(self, call: Callable[[pkcs11.Session], T]) -> T:
        """Return what one call returns; there is no second attempt here.

        Raises:
            pkcs11.PKCS11Error: one of `PASSING`, or one that will not pass.
        """
        try:
            answer = call(self._opened())
        except pkcs11.PKCS11Error as error:
            if isinstance(error, LOST) or (self._in_trouble and isinstance(error, BROKEN)):
                self._session = None
            self._in_trouble = isinstance(error, BROKEN)
            raise
        self._in_trouble = False
        return answer

    def close(self) -> None:
        """Log out, if that is still possible."""
        session, self._session = self._session, None
        try:
            if session is not None:
                session.close()
        except pkcs11.PKCS11Error:
            pass  # then the login ends with the process

    def _opened(self) -> pkcs11.Session:
        """Return the session.

        What a broken session leaves in the library, and a login of which it is not clear whether it worked, end when
        the library is initialized anew.
        """
        if self._session is None:
            library = pkcs11.lib(self._module)
            if self.era:
                library.reinitialize()
            self.era += 1
            self._session = library.get_token(token_label=self._token_label).open(rw=True, user_pin=self._pin)
        return self._session


def look_for(session: pkcs11.Session, wanted: dict[Attribute, Any], is_whole: Callable[[Any], bool]) -> list[Any]:
    """Return the objects that fit; those that are not whole can be deleted at least.

    Args:
        wanted: the template.
        is_whole: says of an object whether its attributes were all read.

    Raises:
        pkcs11.PKCS11Error: as often as it was tried, an object was read where it is not.
    """
    found: list[Any] = []
    began = time.monotonic()
    for look in range(1, LOOKS + 1):
        try:
            found = list(session.get_objects(wanted))
        except NAMES_NOTHING:
            if look == LOOKS:
                raise
        else:
            if all(map(is_whole, found)) or time.monotonic() - began > LOOKING_S:
                break
        # Where calls go round, looks that ask three questions each begin at the same of three HSMs: get out of step.
        for _ in range(look // 3):
            session.generate_random(8)
    return found


def encrypt(key: Any, data: bytes, aad: bytes | None = None) -> bytes:
    """Encrypt with AES-GCM and return IV, ciphertext and tag.

    CloudHSM makes the IV itself and writes it into the buffer that it is handed, which has to be zero before.  For
    python-pkcs11 this buffer is the `bytes` of `GCMParams`.  Its other ways are worse: CKM_CLOUDHSM_AES_GCM needs a
    member of `Mechanism` that there is not and a structure with pointers packed by hand, CBC with an HMAC a second
    key, and a key wrap needs a member too and authenticates no name.

    Raises:
        RuntimeError: the library handed no IV back, or python-pkcs11 has copied the buffer.
    """
    params = GCMParams(bytes(IV_BYTES), aad)
    sealed = bytes(key.encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=params))
    if not any(params.nonce):
        raise RuntimeError("the library told no IV: nobody could decrypt this")
    return bytes(bytearray(params.nonce)) + sealed


def decrypt(key: Any, data: bytes, aad: bytes | None = None) -> bytes:
    """Return what was encrypted."""
    params = GCMParams(data[:IV_BYTES], aad)
    return bytes(key.decrypt(data[IV_BYTES:], mechanism=Mechanism.AES_GCM, mechanism_param=params))
