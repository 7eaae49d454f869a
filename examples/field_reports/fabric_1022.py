"""Sessions that died stay in the cache and are handed out again, until all of them are dead.

Report:
    https://github.com/hyperledger/fabric/pull/1022 (2020, merged; FAB-17722): sessions are cached and reused.  One that
    went bad with the connection to its HSM is put back all the same; once all are bad the peer never recovers.  The
    first repair asked C_GetSessionInfo before each use, which was too slow with a real HSM; the later one (pull 1937)
    looks at the error of the call and closes the session instead of putting it back.  So does ours.
"""

import time
from collections import deque
from contextlib import suppress
from typing import Any

from pkcs11 import Mechanism, ObjectClass, PKCS11Error, Session, Token

WAITS_S = (0.2, 0.4, 0.8)


class AsReported:
    """Signs; `connect` logs in, also anew after a connection was lost, and sessions are cached."""

    def __init__(self, library: Any, token: Token, pin: str) -> None:
        self._library = library
        self._token = token
        self._pin = pin
        self._cache: deque[Session] = deque()

    def connect(self) -> None:
        """Begin with the library anew and log in: one session keeps the login, and others share it."""
        self._library.reinitialize()
        self._login = self._token.open(rw=True, user_pin=self._pin)

    def sign(self, label: str, message: bytes) -> bytes:
        session = self._cache.popleft() if self._cache else self._token.open(rw=True)
        try:
            return self._sign(session, label, message)
        finally:
            self._cache.append(session)  # whatever happened to it

    def _sign(self, session: Session, label: str, message: bytes) -> bytes:
        key: Any = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
        return bytes(key.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS))


class Repaired(AsReported):
    """Puts back what worked; an error ends its session, and after a new login the cache is empty."""

    def connect(self) -> None:
        self._cache.clear()
        super().connect()

    def sign(self, label: str, message: bytes) -> bytes:
        for wait_s in WAITS_S:
            try:
                return self._sign_once(label, message)
            except PKCS11Error:
                time.sleep(wait_s)
                with suppress(PKCS11Error):  # no HSM can be reached: the next attempt tells
                    self.connect()
        return self._sign_once(label, message)

    def _sign_once(self, label: str, message: bytes) -> bytes:
        session = self._cache.popleft() if self._cache else self._token.open(rw=True)
        try:
            signature = self._sign(session, label, message)
        except PKCS11Error:
            with suppress(PKCS11Error):
                session.close()
            raise
        self._cache.append(session)
        return signature
