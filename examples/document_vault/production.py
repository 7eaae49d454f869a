"""How does the vault look in production, where all that it has of the HSMs is a PKCS #11 library?

`ProductionVault` is given the path of the library, the label of a token and a PIN; it knows nothing else, and the same
file runs on `/opt/cloudhsm/lib/libcloudhsm_pkcs11.so`.  The habits are those of `hardened.py`, and those of
`examples/pkcs11_session.py` for sessions.  One more belongs to both: what was achieved in an attempt is kept for the
next one.  An attempt that begins from scratch asks the same HSMs the same questions in the same order, and where calls
go round, it fails at the same one for ever.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

from examples import pkcs11_session
from examples.pkcs11_session import NAMES_NOTHING, Connection, look_for

from .hardened import PAUSES_S, HardenedVault
from .hsm import Key, Passing
from .store import Store

T = TypeVar("T")

DEADLINE_S: Final = 200.0
"""No attempt begins later than this after the first: one may take 87 s (SDK 5 asks so long whether a key is there)."""

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

    Args:
        connection: to the token.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._objects: dict[str, list[Any]] = {}
        self._era = 0
        self._doubtful: set[str] = set()

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
            except NAMES_NOTHING:
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
        """Encrypt with AES-GCM; the HSM makes the IV, and it stands in front."""
        return self._asked(key, lambda session: pkcs11_session.encrypt(self._one(session, key), data, aad))

    def decrypt(self, key: Key, data: bytes, *, aad: bytes) -> bytes:
        """Return what was encrypted."""
        return self._asked(key, lambda session: pkcs11_session.decrypt(self._one(session, key), data, aad))

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
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}
        found = self._objects[label] = look_for(session, wanted, _is_whole)
        return found

    def _doubt(self, label: str) -> None:
        """Keep an object that one HSM did not know; forget it when the next one does not know it either."""
        if label in self._doubtful:
            self._objects.pop(label, None)
        self._doubtful ^= {label}

    def _asked(self, label: str, call: Callable[[pkcs11.Session], T]) -> T:
        """Return what one call returns.

        Raises:
            HsmRefused: it may work another time.
            pkcs11.PKCS11Error: it will not.
        """

        def with_these_objects(session: pkcs11.Session) -> T:
            if self._era != self._connection.era:
                self._era = self._connection.era
                self._objects.clear()
            return call(session)

        try:
            answer = self._connection.ask(with_these_objects)
        except NAMES_NOTHING as error:
            self._doubt(label)
            raise HsmRefused(PASSING[type(error)]) from error
        except tuple(PASSING) as error:
            raise HsmRefused(PASSING[type(error)]) from error
        self._doubtful.discard(label)
        return answer


def _is_whole(found: Any) -> bool:
    """Whether all attributes of an object were read."""
    return hasattr(found, "encrypt") and hasattr(found, "decrypt")


class ProductionVault(HardenedVault):
    """The hardened vault, on a PKCS #11 library and the clock of the machine.

    Args:
        module: path of the library.
        token_label: of the token: `hsm1` with SDK 5, `cavium` with SDK 3.
        pin: `<crypto user>:<password>`.
        store: the database.
    """

    def __init__(self, module: str, token_label: str, pin: str, store: Store) -> None:
        super().__init__(Pkcs11Hsm(Connection(module, token_label, pin)), store, sleep=_sleep)

    def _pauses(self) -> Iterator[float]:
        began = time.monotonic()
        for pause in PAUSES_S:
            if time.monotonic() - began + pause > DEADLINE_S:
                return
            yield pause


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
