"""Which errors pass, which do not, and who decides?

Report:
    https://github.com/NLnetLabs/krill/issues/542 (2021, closed): should the daemon exit or retry when the HSM fails,
    how often, how fast?  Pull 761 answers in part: some return values that had been taken for final pass after all.

As long as nobody decides, every error is treated alike: here, it is tried again at once, five times.  A busy HSM gets
busier, and a wrong password may lock the account.
"""

import time
from contextlib import suppress
from typing import Any

from pkcs11 import Mechanism, ObjectClass, PKCS11Error, Session, Token, exceptions

TRIES = 6
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)

FINAL = (
    exceptions.PinIncorrect,
    exceptions.PinLocked,
    exceptions.MechanismInvalid,
    exceptions.MechanismParamInvalid,
    exceptions.DataInvalid,
    exceptions.DataLenRange,
    exceptions.ArgumentsBad,
)
"""What is wrong with the call or the configuration, and stays wrong; the rest may pass: on another HSM, or later."""


class AsReported:
    """A signer that has not decided."""

    def __init__(self, token: Token, label: str) -> None:
        self._token = token
        self._label = label
        self._session: Session | None = None
        self._key: Any = None

    def sign(self, pin: str, data: bytes) -> bytes:
        for _ in range(TRIES - 1):
            with suppress(PKCS11Error):
                return self._sign(pin, data)
        return self._sign(pin, data)

    def _sign(self, pin: str, data: bytes) -> bytes:
        if self._session is None:
            self._session = self._token.open(rw=True, user_pin=pin)
        if self._key is None:
            self._key = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=self._label)
        return bytes(self._key.sign(data, mechanism=Mechanism.SHA256_RSA_PKCS))


class Repaired(AsReported):
    """A signer that gives up at once what is final, and waits longer and longer for what may pass."""

    def sign(self, pin: str, data: bytes) -> bytes:
        for wait_s in WAITS_S:
            try:
                return self._sign(pin, data)
            except FINAL:
                raise
            except PKCS11Error:
                self._disconnect()
                time.sleep(wait_s)
        return self._sign(pin, data)

    def _disconnect(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is not None:
            with suppress(PKCS11Error):
                session.close()
