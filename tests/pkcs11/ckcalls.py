"""How does a C program call the library?

`Calls` is C's view of it: each `C_*` function with real structs, in this process.  `rv` gives a return value, every
other method raises `CkError` for one that is not CKR_OK.
"""

import ctypes as c
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pkcs11
import pytest

from pytest_hsmcluster import CKA, CKF, CKK, CKM, CKO, CKR

RW = CKF.SERIAL_SESSION | CKF.RW_SESSION
USER = 1
UNAVAILABLE = (1 << 64) - 1
ULONG = c.c_ulong


class Attribute(c.Structure):
    _fields_ = (("type", ULONG), ("value", c.c_void_p), ("length", ULONG))


class Mechanism(c.Structure):
    _fields_ = (("mechanism", ULONG), ("parameter", c.c_void_p), ("length", ULONG))


class Gcm(c.Structure):
    _fields_ = (
        ("iv", c.c_void_p),
        ("iv_length", ULONG),
        ("iv_bits", ULONG),
        ("aad", c.c_char_p),
        ("aad_length", ULONG),
        ("tag_bits", ULONG),
    )


class Oaep(c.Structure):
    _fields_ = (("hash", ULONG), ("mgf", ULONG), ("source", ULONG), ("label", c.c_char_p), ("length", ULONG))


class Pss(c.Structure):
    _fields_ = (("hash", ULONG), ("mgf", ULONG), ("salt", ULONG))


class Ctr(c.Structure):
    _fields_ = (("bits", ULONG), ("counter", c.c_ubyte * 16))


class Ecdh(c.Structure):
    _fields_ = (
        ("kdf", ULONG),
        ("shared_length", ULONG),
        ("shared", c.c_char_p),
        ("public_length", ULONG),
        ("public", c.c_char_p),
    )


class RsaAes(c.Structure):
    _fields_ = (("bits", ULONG), ("oaep", c.POINTER(Oaep)))


class Piece(c.Structure):
    _fields_ = (("type", ULONG), ("value", c.c_void_p), ("length", ULONG))


class Kdf(c.Structure):
    _fields_ = (
        ("prf", ULONG),
        ("count", ULONG),
        ("pieces", c.POINTER(Piece)),
        ("more", ULONG),
        ("keys", c.c_void_p),
    )


class CounterFormat(c.Structure):
    _fields_ = (("little", c.c_ubyte), ("bits", ULONG))


class SessionInfo(c.Structure):
    _fields_ = (("slot", ULONG), ("state", ULONG), ("flags", ULONG), ("error", ULONG))


class TokenInfo(c.Structure):
    _fields_ = (
        ("label", c.c_char * 32),
        ("manufacturer", c.c_char * 32),
        ("model", c.c_char * 16),
        ("serial", c.c_char * 16),
        ("flags", ULONG),
        ("most_sessions", ULONG),
        ("sessions", ULONG),
        ("most_rw_sessions", ULONG),
        ("rw_sessions", ULONG),
        ("longest_pin", ULONG),
        ("shortest_pin", ULONG),
        ("memory", ULONG * 4),
        ("hardware", c.c_ubyte * 2),
        ("firmware", c.c_ubyte * 2),
        ("time", c.c_char * 16),
    )


class CkError(Exception):
    """A call that came back with something else than CKR_OK."""

    def __init__(self, function: str, ckr: int) -> None:
        super().__init__(f"{function}: 0x{ckr:X}")
        self.ckr = ckr


@contextmanager
def refused(ckr: int) -> Iterator[None]:
    """Expect a call to come back with this value."""
    with pytest.raises(CkError) as caught:
        yield
    assert caught.value.ckr == ckr, f"{caught.value}, and not 0x{ckr:X}"


def raw(value: Any) -> bytes:
    """Return an attribute's value as a C program has it in memory."""
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    if isinstance(value, int):
        return bytes(ULONG(value))
    return value.encode() if isinstance(value, str) else value


def template(wanted: Mapping[int, Any] | Sequence[tuple[int, Any]]) -> Any:
    """Return an array of CK_ATTRIBUTE; what it points to lives as long as it does."""
    pairs = list(wanted.items() if isinstance(wanted, Mapping) else wanted)
    array = (Attribute * max(len(pairs), 1))()
    array.kept = []
    for entry, (kind, value) in zip(array, pairs, strict=False):
        entry.type = kind
        inner: Any
        if isinstance(value, Mapping):
            inner = template(value)
            entry.length = c.sizeof(Attribute) * len(value)
        else:
            data = raw(value)
            inner = c.create_string_buffer(data, len(data))
            entry.length = len(data)
        array.kept.append(inner)
        entry.value = c.addressof(inner)
    return array


def mechanism(number: int, parameter: Any = None) -> Mechanism:
    """Return a CK_MECHANISM: with bytes or a struct as its parameter, or without one."""
    made = Mechanism(number, None, 0)
    if parameter is not None:
        kept = c.create_string_buffer(parameter, len(parameter)) if isinstance(parameter, bytes) else parameter
        made.kept = kept
        made.parameter, made.length = c.addressof(kept), c.sizeof(kept)
    return made


def gcm(iv: bytes | None, aad: bytes = b"", tag_bits: int = 128) -> Gcm:
    """Return CK_GCM_PARAMS; what stands in its IV buffer afterwards says `written_iv`."""
    buffer = c.create_string_buffer(iv, len(iv)) if iv is not None else None
    made = Gcm(c.addressof(buffer) if buffer else None, len(iv or b""), len(iv or b"") * 8, aad, len(aad), tag_bits)
    made.kept = buffer
    return made


def written_iv(params: Gcm) -> bytes:
    """Return what stands where pIv points to."""
    return bytes(params.kept)


def counter_kdf(prf: int, fixed: bytes, bits: int = 32) -> Kdf:
    """Return CK_SP800_108_KDF_PARAMS: the counter, then fixed bytes."""
    format = CounterFormat(0, bits)
    data = c.create_string_buffer(fixed, len(fixed))
    pieces = (Piece * 2)(
        Piece(1, c.addressof(format), c.sizeof(format)),
        Piece(4, c.addressof(data), len(fixed)),
    )
    made = Kdf(prf, 2, pieces, 0, None)
    made.kept = format, data, pieces
    return made


def _passed(argument: Any) -> Any:
    """Return an argument as C takes it: numbers have 8 bytes, a mechanism goes by its address."""
    if isinstance(argument, Mechanism):
        return c.byref(argument)
    return ULONG(argument) if type(argument) in (int, CKM, CKF) else argument


def let_go(module: str) -> None:
    """Have python-pkcs11 end its use of the library in this process; it begins anew with the next `pkcs11.lib()`.

    A library is initialised once for a process, and python-pkcs11 cannot know that somebody else has ended it.
    """
    loaded = pkcs11._loaded.get(module)
    if loaded is not None and loaded.initialized:
        with suppress(pkcs11.PKCS11Error):
            loaded.finalize()


class Calls:
    """The library, as C sees it.

    Args:
        module: its path.
    """

    def __init__(self, module: str) -> None:
        self.module = module
        self._library = c.CDLL(module)

    # -- one call -------------------------------------------------------------------------

    def rv(self, function: str, *arguments: Any) -> int:
        """Call, and return CKR."""
        called = getattr(self._library, function)
        called.restype = ULONG
        return int(called(*map(_passed, arguments)))

    def ok(self, function: str, *arguments: Any) -> None:
        """Call, and raise what is not CKR_OK."""
        if ckr := self.rv(function, *arguments):
            raise CkError(function, ckr)

    def output(self, function: str, *arguments: Any) -> bytes:
        """Call twice: for the length, then for the bytes."""
        length = ULONG()
        self.ok(function, *arguments, None, c.byref(length))
        buffer = c.create_string_buffer(length.value)
        self.ok(function, *arguments, buffer, c.byref(length))
        return buffer.raw[: length.value]

    # -- sessions --------------------------------------------------------------------------

    def initialize(self) -> None:
        """Begin anew, also where an earlier test of this process has left the library initialised."""
        let_go(self.module)
        if self.rv("C_Initialize", None) == CKR.CRYPTOKI_ALREADY_INITIALIZED:
            self.finalize()
            self.ok("C_Initialize", None)

    def finalize(self) -> None:
        self.ok("C_Finalize", None)

    def slots(self) -> list[int]:
        count = ULONG()
        self.ok("C_GetSlotList", c.c_ubyte(1), None, c.byref(count))
        array = (ULONG * count.value)()
        self.ok("C_GetSlotList", c.c_ubyte(1), array, c.byref(count))
        return list(array)

    def open(self, slot: int, flags: int = RW) -> int:
        session = ULONG()
        self.ok("C_OpenSession", slot, flags, None, None, c.byref(session))
        return session.value

    def close(self, session: int) -> None:
        self.ok("C_CloseSession", session)

    def login(self, session: int, pin: str) -> None:
        data = pin.encode()
        self.ok("C_Login", session, USER, data, len(data))

    def logout(self, session: int) -> None:
        self.ok("C_Logout", session)

    def state(self, session: int) -> int:
        info = SessionInfo()
        self.ok("C_GetSessionInfo", session, c.byref(info))
        return info.state

    def token_info(self, slot: int) -> TokenInfo:
        info = TokenInfo()
        self.ok("C_GetTokenInfo", slot, c.byref(info))
        return info

    def mechanisms(self, slot: int) -> list[int]:
        count = ULONG()
        self.ok("C_GetMechanismList", slot, None, c.byref(count))
        array = (ULONG * count.value)()
        self.ok("C_GetMechanismList", slot, array, c.byref(count))
        return list(array)

    # -- keys --------------------------------------------------------------------------------

    def generate(self, session: int, kind: int, wanted: Mapping[int, Any]) -> int:
        key = ULONG()
        self.ok("C_GenerateKey", session, c.byref(mechanism(kind)), template(wanted), len(wanted), c.byref(key))
        return key.value

    def aes(self, session: int, label: str = "", bits: int = 256, **more: Any) -> int:
        """Make a token key that can do all that an AES key can; `SIGN=False` and the like change that."""
        uses = dict.fromkeys(("ENCRYPT", "DECRYPT", "WRAP", "UNWRAP", "SIGN", "VERIFY", "DERIVE"), True)
        wanted = {"TOKEN": True, **uses, **more}
        given = {CKA.VALUE_LEN: bits // 8, **({CKA.LABEL: label} if label else {})}
        return self.generate(session, CKM.AES_KEY_GEN, given | {CKA[name]: one for name, one in wanted.items()})

    def generate_pair(
        self, session: int, kind: int, public: Mapping[int, Any], private: Mapping[int, Any]
    ) -> tuple[int, int]:
        first, second = ULONG(), ULONG()
        self.ok(
            "C_GenerateKeyPair",
            session,
            c.byref(mechanism(kind)),
            template(public),
            len(public),
            template(private),
            len(private),
            c.byref(first),
            c.byref(second),
        )
        return first.value, second.value

    def create(self, session: int, wanted: Mapping[int, Any]) -> int:
        key = ULONG()
        self.ok("C_CreateObject", session, template(wanted), len(wanted), c.byref(key))
        return key.value

    def secret(self, session: int, value: bytes, kind: int = CKK.AES, **more: Any) -> int:
        """Import a secret session key; `ENCRYPT=True` and the like say what it is for."""
        given = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value}
        return self.create(session, given | {CKA[name]: one for name, one in more.items()})

    def destroy(self, session: int, key: int) -> None:
        self.ok("C_DestroyObject", session, key)

    def find(self, session: int, wanted: Mapping[int, Any], at_once: int = 3) -> list[int]:
        """Return all objects that fit, fetched a few at a time."""
        self.ok("C_FindObjectsInit", session, template(wanted), len(wanted))
        found: list[int] = []
        while True:
            array, count = (ULONG * at_once)(), ULONG()
            self.ok("C_FindObjects", session, array, at_once, c.byref(count))
            if not count.value:
                break
            found += array[: count.value]
        self.ok("C_FindObjectsFinal", session)
        return found

    def attribute(self, session: int, key: int, kind: int) -> bytes:
        """Return one attribute, asked for twice."""
        array = template([(kind, b"")])
        array[0].value = None
        self.ok("C_GetAttributeValue", session, key, array, 1)
        buffer = c.create_string_buffer(array[0].length)
        array[0].value = c.addressof(buffer)
        self.ok("C_GetAttributeValue", session, key, array, 1)
        return buffer.raw[: array[0].length]

    def wrap(self, session: int, how: Mechanism, with_key: int, key: int) -> bytes:
        return self.output("C_WrapKey", session, c.byref(how), with_key, key)

    def unwrap(self, session: int, how: Mechanism, with_key: int, blob: bytes, wanted: Mapping[int, Any]) -> int:
        key = ULONG()
        given = template(wanted)
        arguments = session, c.byref(how), with_key, blob, len(blob), given, len(wanted)
        self.ok("C_UnwrapKey", *arguments, c.byref(key))
        return key.value

    def derive(self, session: int, how: Mechanism, base: int, wanted: Mapping[int, Any]) -> int:
        key = ULONG()
        self.ok("C_DeriveKey", session, c.byref(how), base, template(wanted), len(wanted), c.byref(key))
        return key.value

    # -- uses ----------------------------------------------------------------------------------

    def once(self, session: int, what: str, how: Mechanism, key: int, data: bytes) -> bytes:
        """Do it in one part; `what` is `Encrypt`, `Decrypt`, `Sign`."""
        self.ok(f"C_{what}Init", session, c.byref(how), key)
        return self.output(f"C_{what}", session, data, len(data))

    def parts(self, session: int, what: str, how: Mechanism, key: int, pieces: Sequence[bytes]) -> bytes:
        """Do it in several parts; `what` is `Encrypt` or `Decrypt`."""
        self.ok(f"C_{what}Init", session, c.byref(how), key)
        done = [self.output(f"C_{what}Update", session, piece, len(piece)) for piece in pieces]
        return b"".join([*done, self.output(f"C_{what}Final", session)])

    def sign_parts(self, session: int, how: Mechanism, key: int, pieces: Sequence[bytes]) -> bytes:
        self.ok("C_SignInit", session, c.byref(how), key)
        for piece in pieces:
            self.ok("C_SignUpdate", session, piece, len(piece))
        return self.output("C_SignFinal", session)

    def verify(self, session: int, how: Mechanism, key: int, data: bytes, signature: bytes) -> None:
        self.ok("C_VerifyInit", session, c.byref(how), key)
        self.ok("C_Verify", session, data, len(data), signature, len(signature))

    def verify_parts(self, session: int, how: Mechanism, key: int, pieces: Sequence[bytes], signature: bytes) -> None:
        self.ok("C_VerifyInit", session, c.byref(how), key)
        for piece in pieces:
            self.ok("C_VerifyUpdate", session, piece, len(piece))
        self.ok("C_VerifyFinal", session, signature, len(signature))

    def digest(self, session: int, number: int, pieces: Sequence[bytes]) -> bytes:
        self.ok("C_DigestInit", session, c.byref(mechanism(number)))
        if len(pieces) == 1:
            return self.output("C_Digest", session, pieces[0], len(pieces[0]))
        for piece in pieces:
            self.ok("C_DigestUpdate", session, piece, len(piece))
        return self.output("C_DigestFinal", session)


def cut(data: bytes, *sizes: int) -> list[bytes]:
    """Cut data into pieces of these sizes, again and again, empty ones too."""
    pieces, at, number = [], 0, 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        pieces.append(data[at : at + size])
        at, number = at + size, number + 1
    return pieces
