"""What does an application do with keys: encrypt, decrypt, sign, verify, wrap, and digest without one?"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..cryptoki import CKM, CKR
from ..keys.hashing import DIGESTS
from ..keys.mechanisms import check_policy
from ..keys.parameters import GcmParams
from ..keys.policy import CIPHERS, SIGNATURES
from ..service.profile import Profile
from ..wire.frames import MechanismGiven, Room
from .handles import Object
from .parameters import read_mechanism
from .refusals import Refused
from .rooms import Output, fitted, only_length, too_small
from .rooms import given as handed_over
from .sessions import Session
from .streams import Stream

if TYPE_CHECKING:
    from .application import Application

_IV_BYTES, _TAG_BYTES = 12, 16
_MOST_WRAPPED = 4096
"""Bytes of the longest wrapped key: an RSA private key of 4096 bits, and what wraps it."""

_SINGLE = (CKM.ECDSA, CKM.RSA_PKCS, CKM.RSA_X_509, CKM.RSA_PKCS_PSS)
"""AWS CloudHSM User Guide, "Supported mechanisms": these sign single-part only."""


class Use:
    """One operation with a key, from `C_…Init` on.

    Attributes:
        name: `encrypt`, `decrypt`, `sign`, `verify`.
        key: the object.
        mechanism, params: as given.
        bits: size of the key; 0 where nobody was asked.
        data: parts of what is to be signed.
        done, done_for: an output that there was no room for yet, and its input.
        stream: a cipher that goes on over several parts.
    """

    def __init__(self, name: str, key: Object, mechanism: CKM, params: Any, bits: int) -> None:
        self.name = name
        self.key = key
        self.mechanism = mechanism
        self.params = params
        self.bits = bits
        self.data: bytearray | None = None
        self.done: bytes | None = None
        self.done_for = b""
        self.stream: Stream | None = None

    def most(self, size: int) -> int:
        """Return how many bytes the output has at the most, for so many bytes of input."""
        if self.key.key.kind == "RSA":
            return (self.bits or 4096) // 8
        if self.key.key.kind == "EC":
            return ((self.bits or 521) + 7) // 8 * 2
        if self.name == "sign":
            hashed = self.mechanism.name.removesuffix("_HMAC")
            return 16 if self.key.key.kind == "AES" else hashlib.new(DIGESTS[CKM[hashed]]).digest_size
        extra = 16 if self.name == "encrypt" and self.mechanism.name.endswith("_PAD") else 0
        if self.name == "encrypt" and self.mechanism in (CKM.AES_GCM, CKM.CLOUDHSM_AES_GCM):
            extra = _TAG_BYTES + (_IV_BYTES if self.mechanism is CKM.CLOUDHSM_AES_GCM else 0)
        return size + extra


def _check(name: str, mechanism: CKM, key: Object, profile: Profile) -> None:
    """Refuse a mechanism that cannot do this, or not with such a key, before anything begins."""
    kind = key.key.kind
    check_policy(name, mechanism, kind, profile.fips, sdk=profile.sdk)
    table: Mapping[Any, Any] = CIPHERS if name in ("encrypt", "decrypt") else SIGNATURES
    if table[mechanism].kind != kind:
        raise Refused(CKR.KEY_TYPE_INCONSISTENT, f"CKM_{mechanism.name} needs another key than {kind}")


class Uses:
    """The functions that use keys."""

    def __init__(self, application: "Application") -> None:
        self._application = application

    # -- beginning -------------------------------------------------------------------------

    def _init(self, name: str, session: Session, given: MechanismGiven | None, handle: int) -> list[bytes]:
        mechanism, params = read_mechanism(given)
        if name in session.active:
            session.begin(name, None)
        access = session.access
        key = access.object(handle, session, name)
        _check(name, mechanism, key, access.token.profile)
        bits = access.client.validate_key(key.key, name) if access.token.profile.validate_key_at_init else 0
        iv = b""
        if name == "encrypt" and mechanism is CKM.AES_GCM:
            assert isinstance(params, GcmParams)
            if params.iv is not None and any(params.iv):
                raise Refused(CKR.MECHANISM_PARAM_INVALID, "CKM_AES_GCM makes its own IV: pIv is a zeroed buffer")
            # That it is written here is a guess: until C_Encrypt the caller may have freed the buffer.
            iv = access.token.random(_IV_BYTES)
            params = GcmParams(params.aad, params.tag_bits, begun_iv=iv)
            iv = iv if given is not None and given.values[0] is not None and len(given.values[0]) >= _IV_BYTES else b""
        session.begin(name, Use(name, key, mechanism, params, bits))
        return [iv]

    def c_encrypt_init(self, session: Session, mechanism: MechanismGiven | None, key: int) -> list[bytes]:
        return self._init("encrypt", session, mechanism, key)

    def c_decrypt_init(self, session: Session, mechanism: MechanismGiven | None, key: int) -> list[bytes]:
        return self._init("decrypt", session, mechanism, key)

    def c_sign_init(self, session: Session, mechanism: MechanismGiven | None, key: int) -> list[bytes]:
        return self._init("sign", session, mechanism, key)

    def c_verify_init(self, session: Session, mechanism: MechanismGiven | None, key: int) -> list[bytes]:
        return self._init("verify", session, mechanism, key)

    # -- at once ---------------------------------------------------------------------------------

    def _at_once(self, name: str, session: Session, data: bytes | None, room: Room) -> list[Output]:
        use: Use = session.going_on(name)
        # Known issues for the PKCS #11 library: what wrong orders do is undefined; that they are refused is a guess.
        if use.stream is not None or use.data is not None:
            raise Refused(CKR.OPERATION_ACTIVE, f"the operation to {name} goes on in parts: end it in parts")
        with session.ends_if_refused(name):
            whole = handed_over(data, "the input")
            told = only_length(room, use.most(len(whole)))
        if told is not None:
            return [told]
        if use.done_for != whole:
            use.done, use.done_for = None, whole
        return self._ended(session, use, room, lambda: self._run(session, use, whole, use.mechanism, use.params))

    def _ended(self, session: Session, use: Use, room: Room, run: Any) -> list[Output]:
        """Return the output, and end the operation, unless there is no room for it."""
        if use.done is None:
            try:
                use.done = run()
            except BaseException:
                session.active.pop(use.name, None)
                raise
        output = fitted(room, use.done)
        session.active.pop(use.name, None)
        return [output]

    def _run(self, session: Session, use: Use, data: bytes, mechanism: CKM, params: Any) -> bytes:
        client, key = session.access.client, use.key.key
        if use.name == "sign":
            return client.sign(key, data, mechanism=mechanism, params=params)
        if use.name == "decrypt":
            return client.decrypt(key, data, mechanism=mechanism, params=params)
        output = client.encrypt(key, data, mechanism=mechanism, params=params)
        return output[_IV_BYTES:] if mechanism is CKM.AES_GCM else output

    def c_encrypt(self, session: Session, data: bytes | None, room: Room) -> list[Output]:
        return self._at_once("encrypt", session, data, room)

    def c_decrypt(self, session: Session, data: bytes | None, room: Room) -> list[Output]:
        return self._at_once("decrypt", session, data, room)

    def c_sign(self, session: Session, data: bytes | None, room: Room) -> list[Output]:
        return self._at_once("sign", session, data, room)

    def c_verify(self, session: Session, data: bytes | None, signature: bytes | None) -> list[Output]:
        use: Use = session.going_on("verify")
        if use.data is not None:
            raise Refused(CKR.OPERATION_ACTIVE, "the operation to verify goes on in parts: end it in parts")
        return self._verified(session, use, data, signature)

    def _verified(self, session: Session, use: Use, data: bytes | None, signature: bytes | None) -> list[Output]:
        session.active.pop("verify")
        whole, claim = handed_over(data, "the data"), handed_over(signature, "the signature")
        session.access.client.verify(use.key.key, whole, claim, mechanism=use.mechanism, params=use.params)
        return []

    # -- in parts --------------------------------------------------------------------------------------

    def _stream(self, name: str, session: Session) -> tuple[Use, Stream]:
        use: Use = session.going_on(name)
        if use.stream is None:
            try:
                use.stream = Stream(
                    use.mechanism,
                    use.params,
                    name == "decrypt",
                    lambda data, mechanism, params: self._run(session, use, data, mechanism, params),
                )
            except Refused:
                session.active.pop(name)
                raise
        return use, use.stream

    def _update(self, name: str, session: Session, data: bytes | None, room: Room) -> list[Output]:
        _, stream = self._stream(name, session)
        with session.ends_if_refused(name):
            part = handed_over(data, "the part")
            told = only_length(room, stream.size(len(part)))
        if told is not None:
            return [told]
        # Whoever gives too little room gives the part again, so nothing may have come of it yet.
        if room.size is not None and room.size < stream.size(len(part)):
            raise too_small(stream.size(len(part)), room.size)
        with session.ends_if_refused(name):
            return [fitted(room, stream.update(part))]

    def _final(self, name: str, session: Session, room: Room) -> list[Output]:
        use, stream = self._stream(name, session)
        with session.ends_if_refused(name):
            told = only_length(room, stream.most)
        return [told] if told is not None else self._ended(session, use, room, stream.final)

    def c_encrypt_update(self, session: Session, data: bytes | None, room: Room) -> list[Output]:
        return self._update("encrypt", session, data, room)

    def c_encrypt_final(self, session: Session, room: Room) -> list[Output]:
        return self._final("encrypt", session, room)

    def c_decrypt_update(self, session: Session, data: bytes | None, room: Room) -> list[Output]:
        return self._update("decrypt", session, data, room)

    def c_decrypt_final(self, session: Session, room: Room) -> list[Output]:
        return self._final("decrypt", session, room)

    def _collected(self, name: str, session: Session, data: bytes | None) -> Use:
        use: Use = session.going_on(name)
        if use.mechanism in _SINGLE:
            session.active.pop(name)
            raise Refused(CKR.MECHANISM_INVALID, f"CKM_{use.mechanism.name} works in one part only")
        with session.ends_if_refused(name):
            part = handed_over(data, "the part")
        use.data = bytearray() if use.data is None else use.data
        use.data += part
        return use

    def c_sign_update(self, session: Session, data: bytes | None) -> list[Output]:
        self._collected("sign", session, data)
        return []

    def c_sign_final(self, session: Session, room: Room) -> list[Output]:
        use = self._collected("sign", session, b"")
        with session.ends_if_refused("sign"):
            told = only_length(room, use.most(0))
        if told is not None:
            return [told]
        return self._ended(
            session, use, room, lambda: self._run(session, use, bytes(use.data or b""), use.mechanism, use.params)
        )

    def c_verify_update(self, session: Session, data: bytes | None) -> list[Output]:
        self._collected("verify", session, data)
        return []

    def c_verify_final(self, session: Session, signature: bytes | None) -> list[Output]:
        use = self._collected("verify", session, b"")
        return self._verified(session, use, bytes(use.data or b""), signature)

    # -- wrapping ------------------------------------------------------------------------------------------

    def c_wrap_key(
        self, session: Session, given: MechanismGiven | None, wrapping: int, target: int, room: Room
    ) -> list[Any]:
        mechanism, params = read_mechanism(given)
        access = session.access
        key = access.object(wrapping, session, "wrap_key", CKR.WRAPPING_KEY_HANDLE_INVALID)
        wrapped = access.object(target, session, "wrap_key")
        if (told := only_length(room, _MOST_WRAPPED)) is not None:
            return [b"", told]
        # PKCS#11 has one call for it, so an output for which there was no room has to be kept: it is asked for again.
        wish = (mechanism, repr(params), wrapping, target)
        kept = session.active.pop("wrap", None)
        if kept is not None and kept[0] == wish:
            output = kept[1]
        else:
            output = access.client.wrap_key(wrapped.key, with_key=key.key, mechanism=mechanism, params=params)
        iv = output[:_IV_BYTES] if mechanism is CKM.AES_GCM else b""
        blob = output[len(iv) :]
        if room.size is not None and len(blob) > room.size:
            session.active["wrap"] = wish, output
            raise Refused(CKR.BUFFER_TOO_SMALL, f"the wrapped key has {len(blob)} bytes", (b"", (len(blob), b"")))
        return [iv, fitted(room, blob)]

    # -- without a key ------------------------------------------------------------------------------------------

    def c_generate_random(self, session: Session, count: int | None) -> list[bytes]:
        if count is None:
            raise Refused(CKR.ARGUMENTS_BAD, "there is no buffer for the random bytes")
        session.access.check_login()
        return [session.access.client.random(count)]

    def c_digest_init(self, session: Session, given: MechanismGiven | None) -> list[bytes]:
        mechanism, _ = read_mechanism(given)
        if mechanism not in DIGESTS:
            raise Refused(CKR.MECHANISM_INVALID, f"CKM_{mechanism.name} is no digest")
        session.begin("digest", hashlib.new(DIGESTS[mechanism], usedforsecurity=False))
        return [b""]

    def c_digest(self, session: Session, data: bytes | None, room: Room) -> list[Output]:
        # Computed in the library, no HSM is asked (User Guide, "PKCS #11 mechanisms").
        hashing = session.going_on("digest")
        with session.ends_if_refused("digest"):
            whole = handed_over(data, "the data")
            told = only_length(room, hashing.digest_size)
        if told is not None:
            return [told]
        if room.size is not None and room.size < hashing.digest_size:
            raise too_small(hashing.digest_size, room.size)
        hashing.update(whole)
        return self.c_digest_final(session, room)

    def c_digest_update(self, session: Session, data: bytes | None) -> list[Output]:
        hashing = session.going_on("digest")
        with session.ends_if_refused("digest"):
            hashing.update(handed_over(data, "the part"))
        return []

    def c_digest_final(self, session: Session, room: Room) -> list[Output]:
        hashing = session.going_on("digest")
        if (told := only_length(room, hashing.digest_size)) is not None:
            return [told]
        output = fitted(room, hashing.digest())
        session.active.pop("digest")
        return [output]
