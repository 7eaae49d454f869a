"""How will my application react when a single HSM of my cluster stops?

Report:
    https://github.com/aws-samples/aws-cloudhsm-pkcs11-examples/issues/5 (2018, open): a sample is asked
    for that detects and answers failures of the cluster, as there is one for JCE.  Those for PKCS #11 show each call
    once.

The samples' way, under SDK 3 as it comes: a key is made and used at once.  One HSM has it then; if that is the one that
stops, the key and what was encrypted under it are gone.
"""

import os
import time
from contextlib import suppress
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, PKCS11Error, Session, Token

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)


class AsReported:
    """Makes a key and encrypts with it, as a sample does: each call once."""

    def __init__(self, token: Token, pin: str) -> None:
        self._session = token.open(rw=True, user_pin=pin)

    def protect(self, label: str, data: bytes) -> bytes:
        key: Any = self._session.generate_key(KeyType.AES, 256, label=label, store=True)
        iv = os.urandom(16)
        return iv + bytes(key.encrypt(data, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv))


class Repaired:
    """Tries each call again on a new session, and looks before it makes a key again.

    It takes its share only: that a create fails unless two HSMs have the key is a setting of the client,
    `create_object_minimum_nodes=2`.
    """

    def __init__(self, token: Token, pin: str) -> None:
        self._token = token
        self._pin = pin
        self._session: Session | None = None

    def protect(self, label: str, data: bytes) -> bytes:
        for wait_s in WAITS_S:
            try:
                return self._protect(label, data)
            except PKCS11Error:
                self._disconnect()
                time.sleep(wait_s)
        return self._protect(label, data)

    def _protect(self, label: str, data: bytes) -> bytes:
        if self._session is None:
            self._session = self._token.open(rw=True, user_pin=self._pin)
        key, iv = self._key(self._session, label), os.urandom(16)
        return iv + bytes(key.encrypt(data, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv))

    def _key(self, session: Session, label: str) -> Any:
        found = list(session.get_objects({Attribute.LABEL: label}))
        for key in found[1:]:
            key.destroy()
        return found[0] if found else session.generate_key(KeyType.AES, 256, label=label, store=True)

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(PKCS11Error):
                session.close()
