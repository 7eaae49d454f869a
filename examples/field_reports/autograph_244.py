"""One HSM of the cluster fails, and the signing service goes down with it.

Report:
    https://github.com/mozilla-services/autograph/issues/244.  We did not find the thread itself in public archives.
    The exhibit is built from what others say of it: a failing HSM crashes the signer; and AWS support, asked there,
    said that the client does not repeat an operation that failed, since it cannot know its state, and that the
    application should, because the next attempt may go to a healthy HSM.

An error of one call ends the service, though two of three HSMs could have answered the same call.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from pkcs11 import Mechanism, ObjectClass, PKCS11Error, Session, Token

WAITS_S = (0.0, 0.5, 1.0, 2.0, 4.0)
"""After the first error the call is made again at once: it goes to another HSM.  Later the session is suspected."""

UNAVAILABLE = b""
"""Answer for a request that could not be signed."""


class AsReported:
    """A signing service: takes requests, gives signatures."""

    def __init__(self, token: Token, pin: str, label: str) -> None:
        self._session = token.open(rw=True, user_pin=pin)
        self._key: Any = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)

    def serve(self, requests: Iterable[bytes]) -> Iterator[bytes]:
        for request in requests:
            yield bytes(self._key.sign(request, mechanism=Mechanism.SHA384_RSA_PKCS))


class Repaired:
    """A signing service that tries again, and answers that it is unavailable when that does not help."""

    def __init__(self, token: Token, pin: str, label: str) -> None:
        self._token = token
        self._pin = pin
        self._label = label
        self._session: Session | None = None
        self._key: Any = None

    def serve(self, requests: Iterable[bytes]) -> Iterator[bytes]:
        for request in requests:
            yield self._answer(request)

    def _answer(self, request: bytes) -> bytes:
        for wait_s in WAITS_S:
            try:
                return self._sign(request)
            except PKCS11Error:
                if wait_s:
                    self._disconnect()
                    time.sleep(wait_s)
        return UNAVAILABLE

    def _sign(self, request: bytes) -> bytes:
        if self._session is None:
            self._session = self._token.open(rw=True, user_pin=self._pin)
        if self._key is None:
            self._key = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=self._label)
        return bytes(self._key.sign(request, mechanism=Mechanism.SHA384_RSA_PKCS))

    def _disconnect(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is not None:
            with suppress(PKCS11Error):
                session.close()
