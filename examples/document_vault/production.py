"""How does the vault look in production, where all that it has of the HSMs is a PKCS #11 library?

`ProductionVault` is given the path of the library, the label of a token and a PIN; it knows nothing else, and the same
file runs on `/opt/cloudhsm/lib/libcloudhsm_pkcs11.so`.  The habits are those of `hardened.py`; here is what PKCS #11
adds to them:

1. A session may be lost at any call, and with it the login and all object handles.  It is opened again, and keys are
   found again, by label.  No object is kept beyond that, nor beyond a call that said that it names nothing.
2. A library that answers two calls in a row with "device error" may never recover: it is finalized and initialized
   anew.  (So does AWS's own application of this library, aws-kms-xks-proxy.)
3. python-pkcs11 reads an object's attributes when it makes or finds one, and what it reads may be asked of an HSM that
   has not got the key: then the object is not returned, or it lacks `encrypt`.  Neither says that there is no key.  It is
   looked for again, at once, for the next question goes to another HSM.
4. What was achieved in an attempt is kept for the next one.  An attempt that begins from scratch asks the same HSMs the
   same questions in the same order, and where calls go round, it fails at the same one for ever.
5. A password that was refused is not sent again: the account would be locked.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass

from .hardened import PAUSES_S, HardenedVault
from .hsm import Key, Passing
from .store import Store

T = TypeVar("T")

DEADLINE_S: Final = 200.0
"""No attempt begins later than this after the first: one may take 87 s (SDK 5 asks so long whether a key is there)."""
LOOKS: Final = 9
"""How often a key is looked for in a row: each look may meet an HSM without it."""
IV_BYTES: Final = 12

PASSING: Final[dict[type[pkcs11.PKCS11Error], Passing]] = {
    pkcs11.GeneralError: Passing.GENERAL_ERROR,
    pkcs11.FunctionFailed: Passing.FUNCTION_FAILED,
    pkcs11.DeviceError: Passing.DEVICE_ERROR,
    pkcs11.DeviceMemory: Passing.DEVICE_MEMORY,
    pkcs11.DeviceRemoved: Passing.DEVICE_REMOVED,
    pkcs11.KeyHandleInvalid: Passing.KEY_HANDLE_INVALID,
    pkcs11.ObjectHandleInvalid: Passing.OBJECT_HANDLE_INVALID,
    pkcs11.OperationActive: Passing.OPERATION_ACTIVE,
    pkcs11.SessionClosed: Passing.SESSION_CLOSED,
    pkcs11.SessionHandleInvalid: Passing.SESSION_HANDLE_INVALID,
    pkcs11.UserNotLoggedIn: Passing.USER_NOT_LOGGED_IN,
}
"""What the library says when it is worth another attempt."""
_SESSION_IS_LOST = (
    pkcs11.DeviceRemoved,
    pkcs11.SessionClosed,
    pkcs11.SessionHandleInvalid,
    pkcs11.UserNotLoggedIn,
)
_LIBRARY_MAY_BE_LOST = (pkcs11.DeviceError, pkcs11.GeneralError)
_NAMES_NOTHING = (pkcs11.KeyHandleInvalid, pkcs11.ObjectHandleInvalid)


class HsmRefused(Exception):
    """The library refused a call, and another attempt is worth it.

    Attributes:
        ckr: its return value.
    """

    def __init__(self, ckr: Passing) -> None:
        super().__init__(f"CKR_{ckr.name}")
        self.ckr = ckr


class Pkcs11Hsm:
    """The calls of `Hsm`, made through a PKCS #11 library; a key is named by its label.

    Nothing is opened before the first call.  In a process this is the only one that uses the library.

    Args:
        module: path of the library.
        token_label: of the token: `hsm1` with SDK 5, `cavium` with SDK 3.
        pin: `<crypto user>:<password>`.
    """

    def __init__(self, module: str, token_label: str, pin: str) -> None:
        self._module = module
        self._token_label = token_label
        self._pin = pin
        self._session: pkcs11.Session | None = None
        self._objects: dict[str, list[Any]] = {}
        self._doubtful: set[str] = set()
        self._begun = False
        self._in_trouble = False

    # -- the six calls ----------------------------------------------------------------------

    def generate_key(self, kind: str, bits: int, *, label: str) -> Key:
        """Make a token key that can never leave the HSMs in the clear, and return its label."""

        def make(session: pkcs11.Session) -> Key:
            try:
                made = session.generate_key(
                    KeyType[kind],
                    bits,
                    label=label,
                    store=True,
                    capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                    template={Attribute.SENSITIVE: True, Attribute.PRIVATE: True, Attribute.EXTRACTABLE: False},
                )
            except _NAMES_NOTHING:
                # C_GenerateKey never says so: the key was made, and then read where it is not yet.
                self._look_for(session, label)
            else:
                self._objects[label] = [made]
            self._one(session, label)
            return label

        return self._asked(label, make)

    def find_keys(self, *, label: str) -> list[Key]:
        """Return the label, if a key of this label can be seen now."""
        return [label] if self._asked(label, lambda session: self._look_for(session, label)) else []

    def delete_key(self, key: Key) -> None:
        """Delete whatever has this label, everywhere."""

        def delete(session: pkcs11.Session) -> None:
            for found in self._objects.get(key) or self._look_for(session, key):
                found.destroy()
            self._objects.pop(key, None)

        self._asked(key, delete)

    def encrypt(self, key: Key, data: bytes, *, aad: bytes) -> bytes:
        """Encrypt with AES-GCM and return IV, ciphertext and tag.

        CloudHSM makes the IV itself and writes it into the buffer that it is handed, which has to be zero before.  For
        python-pkcs11 this buffer is the `bytes` of `GCMParams`.  Its other two ways are worse: CKM_CLOUDHSM_AES_GCM
        needs a member of `Mechanism` that there is not and a structure with pointers packed by hand, and CBC with an
        HMAC needs a second key.  A library that hands no IV back, or a python-pkcs11 that copies the buffer, is noticed
        here and not by whoever wants the document.
        """

        def encrypt(session: pkcs11.Session) -> bytes:
            params = GCMParams(bytes(IV_BYTES), aad)
            sealed = self._one(session, key).encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=params)
            if not any(params.nonce):
                raise RuntimeError("the library told no IV: nobody could decrypt this")
            return bytes(bytearray(params.nonce)) + bytes(sealed)

        return self._asked(key, encrypt)

    def decrypt(self, key: Key, data: bytes, *, aad: bytes) -> bytes:
        """Return what was encrypted."""
        iv, sealed = data[:IV_BYTES], data[IV_BYTES:]

        def decrypt(session: pkcs11.Session) -> bytes:
            found = self._one(session, key)
            return bytes(found.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(iv, aad)))

        return self._asked(key, decrypt)

    def random(self, count: int) -> bytes:
        """Return random bytes."""
        return self._asked("", lambda session: bytes(session.generate_random(count * 8)))

    # -- objects ------------------------------------------------------------------------------

    def _one(self, session: pkcs11.Session, label: str) -> Any:
        """Return the key of a label, as an object that can encrypt and decrypt."""
        found = self._objects.get(label, [])
        if not any(map(_is_whole, found)):
            found = self._look_for(session, label)
        if not found:
            raise pkcs11.KeyHandleInvalid(f"no HSM shows {label}")
        if not _is_whole(found[0]):
            raise pkcs11.FunctionFailed(f"the attributes of {label} could not be read")
        return found[0]

    def _look_for(self, session: pkcs11.Session, label: str) -> list[Any]:
        """Return what has this label; objects that are not whole can be deleted at least."""
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}
        found: list[Any] = []
        for look in range(1, LOOKS + 1):
            try:
                found = list(session.get_objects(wanted))
            except _NAMES_NOTHING:
                if look == LOOKS:
                    raise
            else:
                if all(map(_is_whole, found)):
                    break
            # Where calls go round, looks that ask three questions each begin at the same of three HSMs: get out of step.
            for _ in range(look // 3):
                session.generate_random(8)
        self._objects[label] = found
        return found

    # -- the session -----------------------------------------------------------------------------

    def _asked(self, label: str, call: Callable[[pkcs11.Session], T]) -> T:
        """Return what one call returns; there is no second attempt here.

        Raises:
            HsmRefused: it may work another time.
            pkcs11.PKCS11Error: it will not.
        """
        try:
            answer = call(self._opened())
        except pkcs11.PKCS11Error as error:
            if isinstance(error, _SESSION_IS_LOST) or (self._in_trouble and isinstance(error, _LIBRARY_MAY_BE_LOST)):
                self._forget()
            if isinstance(error, _NAMES_NOTHING):
                self._doubt(label)
            self._in_trouble = isinstance(error, _LIBRARY_MAY_BE_LOST)
            if type(error) not in PASSING:
                raise
            raise HsmRefused(PASSING[type(error)]) from error
        self._in_trouble = False
        self._doubtful.discard(label)
        return answer

    def _opened(self) -> pkcs11.Session:
        """Return the session, logged in.

        What a broken session leaves in the library, and a login of which it is not clear whether it worked, end when
        the library is initialized anew.
        """
        if self._session is None:
            library = pkcs11.lib(self._module)
            if self._begun:
                library.reinitialize()
            self._begun = True
            self._session = library.get_token(token_label=self._token_label).open(rw=True, user_pin=self._pin)
        return self._session

    def _forget(self) -> None:
        self._session = None
        self._objects.clear()

    def _doubt(self, label: str) -> None:
        """Keep an object that one HSM did not know; forget it when the next one does not know it either."""
        if label in self._doubtful:
            self._objects.pop(label, None)
        self._doubtful ^= {label}


def _is_whole(found: Any) -> bool:
    """Whether all attributes of an object were read."""
    return hasattr(found, "encrypt") and hasattr(found, "decrypt")


class ProductionVault(HardenedVault):
    """The hardened vault, on a PKCS #11 library and the clock of the machine.

    Args:
        module: path of the library.
        token_label: of the token.
        pin: `<crypto user>:<password>`.
        store: the database.
    """

    def __init__(self, module: str, token_label: str, pin: str, store: Store) -> None:
        super().__init__(Pkcs11Hsm(module, token_label, pin), store, sleep=_sleep)

    def _pauses(self) -> Iterator[float]:
        began = time.monotonic()
        for pause in PAUSES_S:
            if time.monotonic() - began + pause > DEADLINE_S:
                return
            yield pause


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
