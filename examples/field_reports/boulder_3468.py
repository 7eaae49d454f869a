"""One device error, and from then on every signature fails until somebody restarts the CA.

Report:
    https://github.com/letsencrypt/boulder/issues/3468 (2018, closed): behind pkcs11-proxy the daemon is restarted.  The
    first signature afterwards fails with a device error, and all later ones with an invalid session handle, because
    the CA opens its session once and signs through it for ever.
"""

import time
from contextlib import suppress
from typing import Any

from pkcs11 import Mechanism, ObjectClass, PKCS11Error, Session, Token

WAITS_S = (0.5, 1.0, 2.0)


class AsReported:
    """A CA's signer.  Its session is opened when the CA starts."""

    def __init__(self, token: Token, pin: str, label: str) -> None:
        self._session = token.open(rw=True, user_pin=pin)
        self._key: Any = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)

    def sign(self, certificate: bytes) -> bytes:
        return bytes(self._key.sign(certificate, mechanism=Mechanism.SHA256_RSA_PKCS))


class Repaired:
    """A CA's signer.  A session that gave an error is given up, and a new one is opened for the next attempt."""

    def __init__(self, token: Token, pin: str, label: str) -> None:
        self._token = token
        self._pin = pin
        self._label = label
        self._session: Session | None = None
        self._key: Any = None

    def sign(self, certificate: bytes) -> bytes:
        for wait_s in WAITS_S:
            try:
                return self._sign(certificate)
            except PKCS11Error:
                self._give_up_session()
                time.sleep(wait_s)
        return self._sign(certificate)

    def _sign(self, certificate: bytes) -> bytes:
        if self._session is None:
            self._session = self._token.open(rw=True, user_pin=self._pin)
        if self._key is None:
            self._key = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=self._label)
        return bytes(self._key.sign(certificate, mechanism=Mechanism.SHA256_RSA_PKCS))

    def _give_up_session(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is not None:
            with suppress(PKCS11Error):  # it may be over already
                session.close()
