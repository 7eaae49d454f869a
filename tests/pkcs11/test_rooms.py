"""Do outputs get to where there is room, in two calls, and does an operation outlive a buffer that is too small?"""

import ctypes as c

import pytest

from pytest_hsmcluster import CKM, CKR
from tests.pkcs11.ckcalls import ULONG, gcm, mechanism, refused, written_iv

DATA = bytes(range(100))
IV = bytes(16)


@pytest.fixture
def key(ck, session):
    return ck.aes(session, "kek")


def told(ck, function, *arguments, room=None):
    """Call with a buffer of so many bytes (None: without one); return CKR, the length that is told, and the bytes."""
    length = ULONG(0 if room is None else room)
    buffer = None if room is None else c.create_string_buffer(b"\xee" * (room + 1), room + 1)
    ckr = ck.rv(function, *arguments, buffer, c.byref(length))
    return ckr, length.value, b"" if buffer is None else buffer.raw


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("Sign", mechanism(CKM.AES_CMAC)),
        ("Encrypt", mechanism(CKM.AES_CBC_PAD, IV)),
        ("Encrypt", mechanism(CKM.CLOUDHSM_AES_GCM, gcm(None))),
    ],
)
def test_too_small_a_buffer_lets_the_operation_go_on(ck, session, key, what, how):
    """CKR_BUFFER_TOO_SMALL, as often as one likes: the length is told, and nothing is written."""
    ck.ok(f"C_{what}Init", session, c.byref(how), key)
    arguments = f"C_{what}", session, DATA, len(DATA)
    _, most, _ = told(ck, *arguments)
    for room in (0, 1, most - 17 if what == "Encrypt" else most - 1):
        ckr, length, written = told(ck, *arguments, room=max(room, 0))
        assert ckr == CKR.BUFFER_TOO_SMALL and length <= most
        assert set(written) <= {0xEE}
    assert told(ck, *arguments, room=most)[0] == CKR.OK
    assert told(ck, *arguments, room=most)[0] == CKR.OPERATION_NOT_INITIALIZED


def test_an_iv_is_made_once_for_an_operation(ck, session, key):
    """However often there was no room for the ciphertext, it is under the IV that was handed back."""
    params = gcm(bytes(12))
    ck.ok("C_EncryptInit", session, c.byref(mechanism(CKM.AES_GCM, params)), key)
    iv = written_iv(params)
    assert told(ck, "C_Encrypt", session, DATA, len(DATA), room=3)[0] == CKR.BUFFER_TOO_SMALL
    sealed = ck.output("C_Encrypt", session, DATA, len(DATA))
    assert written_iv(params) == iv
    assert ck.once(session, "Decrypt", mechanism(CKM.AES_GCM, gcm(iv)), key, sealed) == DATA


def test_other_data_after_too_small_a_buffer_are_other_data(ck, session, key):
    """What is kept for the next attempt belongs to the same data."""
    how = mechanism(CKM.AES_CMAC)
    ck.ok("C_SignInit", session, c.byref(how), key)
    assert told(ck, "C_Sign", session, DATA, len(DATA), room=3)[0] == CKR.BUFFER_TOO_SMALL
    signature = ck.output("C_Sign", session, b"other", 5)
    ck.verify(session, how, key, b"other", signature)


def test_a_part_is_given_again_after_too_small_a_buffer(ck, session, key):
    """Nothing has come of it: the ciphertext is the same in the end."""
    how = mechanism(CKM.AES_CBC_PAD, IV)
    ck.ok("C_EncryptInit", session, c.byref(how), key)
    for room in (0, 79, 95):
        ckr, length, _ = told(ck, "C_EncryptUpdate", session, DATA, len(DATA), room=room)
        assert (ckr, length) == (CKR.BUFFER_TOO_SMALL, 96)
    ckr, length, first = told(ck, "C_EncryptUpdate", session, DATA, len(DATA), room=96)
    assert (ckr, length) == (CKR.OK, 96)
    assert told(ck, "C_EncryptFinal", session, room=15)[:2] == (CKR.BUFFER_TOO_SMALL, 16)
    ckr, length, last = told(ck, "C_EncryptFinal", session, room=16)
    assert (ckr, length) == (CKR.OK, 16)
    assert ck.once(session, "Decrypt", how, key, first[:96] + last[:16]) == DATA


@pytest.mark.parametrize("parts", [False, True])
def test_a_digest_outlives_too_small_a_buffer(ck, session, parts):
    """In one part the data are not counted twice."""
    how = mechanism(CKM.SHA256)
    ck.ok("C_DigestInit", session, c.byref(how))
    arguments = ("C_Digest", session, DATA, len(DATA))
    if parts:
        ck.ok("C_DigestUpdate", session, DATA, len(DATA))
        arguments = ("C_DigestFinal", session)
    assert told(ck, *arguments)[:2] == (CKR.OK, 32)
    assert told(ck, *arguments, room=31)[:2] == (CKR.BUFFER_TOO_SMALL, 32)
    ckr, length, digest = told(ck, *arguments, room=40)
    assert (ckr, length) == (CKR.OK, 32)
    assert digest[:32] == ck.digest(session, CKM.SHA256, [DATA]) and digest[32] == 0xEE


def test_a_key_is_wrapped_once_however_small_the_buffer_was(ck, session, key, hsm_history):
    """C_WrapKey has no operation that could go on, so the blob is kept for the next call."""
    other = ck.aes(session, "dek", ENCRYPT=True)
    arguments = "C_WrapKey", session, c.byref(mechanism(CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD)), key, other
    assert told(ck, *arguments)[0] == CKR.OK
    assert told(ck, *arguments, room=39)[:2] == (CKR.BUFFER_TOO_SMALL, 40)
    assert told(ck, *arguments, room=40)[:2] == (CKR.OK, 40)
    assert sum(event.kind == "invoke" and event.name == "wrap_key" for event in hsm_history) == 1


BAD = [
    ("Encrypt", mechanism(CKM.AES_ECB), "C_Encrypt", (None, 5)),
    ("Encrypt", mechanism(CKM.AES_ECB), "C_EncryptUpdate", (None, 5)),
    ("Sign", mechanism(CKM.AES_CMAC), "C_Sign", (None, 5)),
]


@pytest.mark.parametrize(("what", "how", "function", "data"), BAD)
def test_data_without_a_place_end_the_operation(ck, session, key, what, how, function, data):
    """CKR_ARGUMENTS_BAD: only a length query and CKR_BUFFER_TOO_SMALL let it go on (v2.40, C_Encrypt)."""
    ck.ok(f"C_{what}Init", session, c.byref(how), key)
    assert told(ck, function, session, *data, room=64)[0] == CKR.ARGUMENTS_BAD
    assert told(ck, function, session, DATA, 16, room=64)[0] == CKR.OPERATION_NOT_INITIALIZED


@pytest.mark.parametrize(("what", "how", "function", "data"), BAD)
def test_an_output_without_a_length_ends_the_operation(ck, session, key, what, how, function, data):
    """There is nothing that could be told."""
    ck.ok(f"C_{what}Init", session, c.byref(how), key)
    assert ck.rv(function, session, DATA, 16, c.create_string_buffer(64), None) == CKR.ARGUMENTS_BAD
    assert told(ck, function, session, DATA, 16, room=64)[0] == CKR.OPERATION_NOT_INITIALIZED


def test_a_signature_without_a_place_ends_a_verification(ck, session, key):
    """As does any other answer."""
    ck.ok("C_VerifyInit", session, c.byref(mechanism(CKM.AES_CMAC)), key)
    assert ck.rv("C_Verify", session, DATA, len(DATA), None, 16) == CKR.ARGUMENTS_BAD
    assert ck.rv("C_Verify", session, DATA, len(DATA), IV, 16) == CKR.OPERATION_NOT_INITIALIZED


def test_nothing_at_all_is_data_too(ck, session, key):
    """NULL of length 0 is an empty message."""
    how = mechanism(CKM.AES_CMAC)
    ck.ok("C_SignInit", session, c.byref(how), key)
    ckr, length, signature = told(ck, "C_Sign", session, None, 0, room=16)
    assert (ckr, length) == (CKR.OK, 16)
    ck.ok("C_VerifyInit", session, c.byref(how), key)
    assert ck.rv("C_Verify", session, None, 0, signature[:16], 16) == CKR.OK


@pytest.mark.parametrize("data", [b"", DATA[:15]])
def test_what_is_no_block_ends_the_operation(ck, session, key, data):
    """The last part of a block cipher without padding."""
    ck.ok("C_EncryptInit", session, c.byref(mechanism(CKM.AES_ECB)), key)
    ck.output("C_EncryptUpdate", session, data, len(data))
    if data:
        with refused(CKR.DATA_LEN_RANGE):
            ck.ok("C_EncryptFinal", session, c.create_string_buffer(16), c.byref(ULONG(16)))
    else:
        ck.ok("C_EncryptFinal", session, c.create_string_buffer(16), c.byref(ULONG(16)))
    with refused(CKR.OPERATION_NOT_INITIALIZED):
        ck.output("C_EncryptFinal", session)


@pytest.mark.parametrize("sealed", [b"", bytes(15), bytes(17)])
def test_a_padded_ciphertext_of_no_whole_blocks_is_refused(ck, session, key, sealed):
    """And so is none at all."""
    ck.ok("C_DecryptInit", session, c.byref(mechanism(CKM.AES_CBC_PAD, IV)), key)
    ck.output("C_DecryptUpdate", session, sealed, len(sealed))
    assert told(ck, "C_DecryptFinal", session, room=32)[0] == CKR.ENCRYPTED_DATA_LEN_RANGE


def test_lists_are_given_in_two_calls(ck, hsm_pkcs11):
    """Slots and mechanisms; too little room says how much is needed."""
    for function, first in (("C_GetSlotList", c.c_ubyte(1)), ("C_GetMechanismList", hsm_pkcs11.slot_id)):
        count = ULONG()
        ck.ok(function, first, None, c.byref(count))
        right = count.value
        count = ULONG(0)
        assert ck.rv(function, first, (ULONG * right)(), c.byref(count)) == CKR.BUFFER_TOO_SMALL
        assert count.value == right
        assert ck.rv(function, first, None, None) == CKR.ARGUMENTS_BAD


def test_random_bytes_fill_their_buffer(ck, session):
    """No more and no less."""
    buffer = c.create_string_buffer(b"\xee" * 40, 40)
    ck.ok("C_GenerateRandom", session, buffer, 32)
    assert buffer.raw[:32] != b"\xee" * 32 and buffer.raw[32:] == b"\xee" * 8
    assert ck.rv("C_GenerateRandom", session, None, 32) == CKR.ARGUMENTS_BAD
