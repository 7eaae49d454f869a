"""What does only SDK 3 have: signatures from which the data can be recovered?"""

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..cryptoki import CKM, CKR
from ..wire.frames import MechanismGiven, Room
from .parameters import read_mechanism
from .refusals import Refused
from .rooms import Output, fitted, only_length
from .rooms import given as handed_over
from .sessions import Session

_MOST = 512
"""Bytes of the longest signature: that of an RSA key of 4096 bits."""

_MECHANISMS = (CKM.RSA_PKCS, CKM.RSA_X_509)


class Recovering:
    """The four functions with `Recover` in their names.

    Source:
        AWS CloudHSM User Guide, "Supported PKCS #11 API operations" of Client SDK 3.
    """

    def _init(self, name: str, session: Session, given: MechanismGiven | None, handle: int) -> list[bytes]:
        if session.access.token.profile.sdk != 3:
            raise Refused(CKR.FUNCTION_NOT_SUPPORTED, "SDK 5 has no C_SignRecover and no C_VerifyRecover")
        mechanism, _ = read_mechanism(given)
        if mechanism not in _MECHANISMS:
            raise Refused(CKR.MECHANISM_INVALID, f"CKM_{mechanism.name} recovers nothing")
        session.begin(name, (mechanism, session.access.object(handle, session, name)))
        return [b""]

    def c_sign_recover_init(self, session: Session, given: MechanismGiven | None, key: int) -> list[bytes]:
        return self._init("sign_recover", session, given, key)

    def c_sign_recover(self, session: Session, data: bytes | None, room: Room) -> list[Output]:
        mechanism, key = session.going_on("sign_recover")
        with session.ends_if_refused("sign_recover"):
            whole = handed_over(data, "the data")
            if (told := only_length(room, _MOST)) is not None:
                return [told]
            signature = session.access.client.sign(key.key, whole, mechanism=mechanism)
        output = fitted(room, signature)
        session.active.pop("sign_recover")
        return [output]

    def c_verify_recover_init(self, session: Session, given: MechanismGiven | None, key: int) -> list[bytes]:
        return self._init("verify_recover", session, given, key)

    def c_verify_recover(self, session: Session, signature: bytes | None, room: Room) -> list[Any]:
        mechanism, key = session.going_on("verify_recover")
        with session.ends_if_refused("verify_recover"):
            whole = handed_over(signature, "the signature")
            if (told := only_length(room, _MOST)) is not None:
                return [told]
            public = session.access.client.public_key(key.key)
            if not isinstance(public, rsa.RSAPublicKey):
                raise Refused(CKR.KEY_TYPE_INCONSISTENT, f"{mechanism.name} needs an RSA key")
            data = _recovered(public, mechanism, whole)
        output = fitted(room, data)
        session.active.pop("verify_recover")
        return [output]


def _recovered(public: rsa.RSAPublicKey, mechanism: CKM, signature: bytes) -> bytes:
    size = (public.key_size + 7) // 8
    if len(signature) != size:
        raise Refused(CKR.SIGNATURE_LEN_RANGE, f"a signature of this key has {size} bytes, not {len(signature)}")
    if mechanism is CKM.RSA_X_509:
        numbers = public.public_numbers()
        return pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(size, "big")
    try:
        return public.recover_data_from_signature(signature, padding.PKCS1v15(), None)
    except InvalidSignature:
        raise Refused(CKR.SIGNATURE_INVALID, "the signature does not fit the key") from None
