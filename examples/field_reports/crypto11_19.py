"""The library refuses a label that is taken, and has made the key all the same.

Report:
    https://github.com/eclipse-keypont/crypto11/issues/19 (2018, closed): generating keys on CloudHSM (SDK 3) fails with
    CKR_ATTRIBUTE_VALUE_INVALID where another key has the label.  What we could read of the thread shows the refusal;
    that the key exists nevertheless we have from others who read all of it, and from issue 105.

An error looks like "nothing happened".  Whoever believes it leaves a key at each attempt, which nobody knows of.
"""

import os
import time
from contextlib import suppress

from pkcs11 import Attribute, KeyType, PKCS11Error, SecretKey, Session, Token

WAITS_S = (0.5, 1.0, 2.0, 4.0)


class LabelTaken(Exception):
    """Another key has this label."""


class AsReported:
    """Makes keys by label; a create that fails has made none."""

    def __init__(self, token: Token, pin: str) -> None:
        self._session = token.open(rw=True, user_pin=pin)

    def make(self, label: str) -> SecretKey:
        try:
            return self._session.generate_key(KeyType.AES, 256, label=label, store=True)
        except PKCS11Error as error:
            raise LabelTaken(label) from error


class Repaired:
    """Makes keys by label; each attempt has an id, by which the key of one that failed is found and removed."""

    def __init__(self, token: Token, pin: str) -> None:
        self._token = token
        self._pin = pin
        self._session: Session | None = None
        self._doubtful: list[bytes] = []

    def make(self, label: str) -> None:
        for wait_s in WAITS_S:
            try:
                return self._make(label)
            except PKCS11Error:
                self._disconnect()
                time.sleep(wait_s)
        return self._make(label)

    def reap(self) -> None:
        """Remove the keys of attempts that failed; of HSMs that cannot be reached now, a nightly job removes them."""
        for ident in self._doubtful:
            for key in self._connected().get_objects({Attribute.ID: ident}):
                key.destroy()

    def _make(self, label: str) -> None:
        self.reap()
        if any(True for _ in self._connected().get_objects({Attribute.LABEL: label})):
            raise LabelTaken(label)
        ident = os.urandom(16)
        self._doubtful.append(ident)
        self._connected().generate_key(KeyType.AES, 256, label=label, id=ident, store=True)
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
