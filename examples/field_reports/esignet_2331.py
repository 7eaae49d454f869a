"""Something fails after a pair was made; the pair stays, and the next attempt makes a second one of the same name.

Report:
    https://github.com/mosip/esignet/pull/2331 (2026; a review, and the same one in pull 2248): a key pair is generated
    on the token under an alias, then a certificate is built, signed and stored.  When one of these steps fails, the
    pair is not destroyed.  A retry generates another pair under the same alias, and which of the two a later look-up
    by alias finds is chance.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, PKCS11Error, Session, Token

WAITS_S = (0.5, 1.0, 2.0, 4.0)


class AsReported:
    """Makes a key with a self-signed certificate under an alias; the caller repeats what failed."""

    def __init__(self, token: Token, pin: str, store: Callable[[str, bytes], None]) -> None:
        self._session = token.open(rw=True, user_pin=pin)
        self._store = store

    def issue(self, alias: str) -> None:
        pair: Any = self._session.generate_keypair(KeyType.RSA, 2048, label=alias, store=True)
        self._store(alias, pair[1].sign(alias.encode(), mechanism=Mechanism.SHA256_RSA_PKCS))


class Repaired:
    """Removes what an attempt has left before the next one; each pair has an id, by which it is told from leftovers."""

    def __init__(self, token: Token, pin: str, store: Callable[[str, bytes], None]) -> None:
        self._token = token
        self._pin = pin
        self._store = store
        self._session: Session | None = None
        self._doubtful: list[bytes] = []  # ids of pairs that may have been made; in a database, for the next process

    def issue(self, alias: str) -> None:
        for wait_s in WAITS_S:
            try:
                return self._issue(alias)
            except PKCS11Error:
                self._disconnect()
                time.sleep(wait_s)
        return self._issue(alias)

    def reap(self) -> None:
        """Remove the pairs of attempts that failed; those on HSMs that cannot be reached now, a nightly job removes."""
        for ident in self._doubtful:
            for key in self._connected().get_objects({Attribute.ID: ident}):
                key.destroy()

    def _issue(self, alias: str) -> None:
        self.reap()
        ident = os.urandom(16)
        self._doubtful.append(ident)
        pair: Any = self._connected().generate_keypair(KeyType.RSA, 2048, id=ident, label=alias, store=True)
        self._store(alias, pair[1].sign(alias.encode(), mechanism=Mechanism.SHA256_RSA_PKCS))
        self._doubtful.remove(ident)

    def _connected(self) -> Session:
        if self._session is None:
            self._session = self._token.open(rw=True, user_pin=self._pin)
        return self._session

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(PKCS11Error):
                session.close()
