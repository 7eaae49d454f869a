"""The retry opens a new session and passes it the key of the old one.

Report:
    https://github.com/privacyidea/privacyidea/issues/1278 (2018, closed): encrypting and decrypting are repeated on a
    new session after an error, with the key handles that were looked up before the first attempt.

The mistake is where a line stands: the key is looked up before the loop.  After a lost connection no attempt can
succeed; the next call does, because the failed one has put the new key into place.
"""

import os
import time
from contextlib import suppress
from typing import Any

from pkcs11 import Mechanism, PKCS11Error, Session, Token

WAITS_S = (0.5, 1.0, 2.0, 4.0)


class AsReported:
    """Encrypts secrets under one key; tries again on a new session."""

    def __init__(self, token: Token, pin: str, label: str) -> None:
        self._token = token
        self._pin = pin
        self._label = label
        self._key: Any = None
        self._connect()

    def encrypt(self, secret: bytes) -> bytes:
        key, iv = self._key, os.urandom(16)
        for wait_s in WAITS_S:
            try:
                return iv + bytes(key.encrypt(secret, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv))
            except PKCS11Error:
                time.sleep(wait_s)
                self._connect()  # gives self._key anew, and `key` is still the old one
        return iv + bytes(key.encrypt(secret, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv))

    def _connect(self) -> None:
        try:
            self._session = self._token.open(rw=True, user_pin=self._pin)
            self._key = self._session.get_key(label=self._label)
        except PKCS11Error:
            pass  # logged in already, or no HSM can be reached: the next attempt will tell


class Repaired:
    """Encrypts secrets under one key; each attempt looks for the key in the session that will use it."""

    def __init__(self, token: Token, pin: str, label: str) -> None:
        self._token = token
        self._pin = pin
        self._label = label
        self._session: Session | None = None
        self._key: Any = None

    def encrypt(self, secret: bytes) -> bytes:
        iv = os.urandom(16)
        for wait_s in WAITS_S:
            try:
                return iv + self._encrypt(secret, iv)
            except PKCS11Error:
                self._disconnect()
                time.sleep(wait_s)
        return iv + self._encrypt(secret, iv)

    def _encrypt(self, secret: bytes, iv: bytes) -> bytes:
        if self._session is None:
            self._session = self._token.open(rw=True, user_pin=self._pin)
        if self._key is None:
            self._key = self._session.get_key(label=self._label)
        return bytes(self._key.encrypt(secret, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv))

    def _disconnect(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is not None:
            with suppress(PKCS11Error):  # whose login is lost cannot log out
                session.close()
