"""Are keys used through the library as PKCS#11 and CloudHSM say?  Other people's code checks the results."""

import ctypes

import pytest
from cryptography.hazmat.primitives import cmac, hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from pytest_hsmcluster import CKA, CKK, CKM, CKR
from tests.pkcs11.ckcalls import Ctr, Oaep, Pss, cut, gcm, mechanism, refused, written_iv

AES = bytes(range(32))
IV = bytes(range(16, 32))
DATA = bytes(range(256)) * 3 + b"odd end"
HASHES = {
    "SHA_1": (hashes.SHA1(), 1),
    "SHA224": (hashes.SHA224(), 5),
    "SHA256": (hashes.SHA256(), 2),
    "SHA384": (hashes.SHA384(), 3),
    "SHA512": (hashes.SHA512(), 4),
}
"""Name of the mechanism → the hash, and its CKG_MGF1."""


def padded(data, bits=128):
    padder = PKCS7(bits).padder()
    return padder.update(data) + padder.finalize()


def encrypted(mode, data, algorithm=None):
    context = Cipher(algorithm or algorithms.AES(AES), mode).encryptor()
    return context.update(data) + context.finalize()


@pytest.fixture
def key(ck, session):
    """An imported AES key."""
    return ck.secret(session, AES, ENCRYPT=True, DECRYPT=True, SIGN=True, VERIFY=True)


CTR = Ctr(128, (ctypes.c_ubyte * 16)(*b"\xff" * 14, 0, 0))
BLOCKS = [
    pytest.param(mechanism(CKM.AES_ECB), DATA[:768], lambda d: encrypted(modes.ECB(), d), id="ECB"),
    pytest.param(mechanism(CKM.AES_CBC, IV), DATA[:768], lambda d: encrypted(modes.CBC(IV), d), id="CBC"),
    pytest.param(mechanism(CKM.AES_CBC_PAD, IV), DATA, lambda d: encrypted(modes.CBC(IV), padded(d)), id="CBC_PAD"),
    pytest.param(
        mechanism(CKM.AES_CBC_PAD, IV), DATA[:768], lambda d: encrypted(modes.CBC(IV), padded(d)), id="CBC_PAD-blocks"
    ),
    pytest.param(mechanism(CKM.AES_CTR, CTR), DATA, lambda d: encrypted(modes.CTR(bytes(CTR.counter)), d), id="CTR"),
]


@pytest.mark.parametrize("sizes", [(1,), (15, 1, 0), (16,), (17,), (0, 31, 2), (1000,)], ids=str)
@pytest.mark.parametrize(("how", "data", "wanted"), BLOCKS)
def test_a_block_cipher_gives_the_same_however_it_is_cut(ck, session, key, how, data, wanted, sizes):
    """In one part and in many, both ways, what OpenSSL gives."""
    sealed = wanted(data)
    assert ck.once(session, "Encrypt", how, key, data) == sealed
    assert ck.parts(session, "Encrypt", how, key, cut(data, *sizes)) == sealed
    assert ck.once(session, "Decrypt", how, key, sealed) == data
    assert ck.parts(session, "Decrypt", how, key, cut(sealed, *sizes)) == data


@pytest.mark.hsm_cluster(fips=False)
@pytest.mark.parametrize("sizes", [(1,), (8,), (9, 0, 7)], ids=str)
def test_triple_des_gives_the_same_however_it_is_cut(ck, session, sizes):
    """Outside of FIPS mode."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

    value = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")
    key = ck.secret(session, value, CKK.DES3, ENCRYPT=True, DECRYPT=True)
    iv, data = IV[:8], DATA[:80]
    for how, wanted in (
        (mechanism(CKM.DES3_ECB), encrypted(modes.ECB(), data, TripleDES(value))),
        (mechanism(CKM.DES3_CBC, iv), encrypted(modes.CBC(iv), data, TripleDES(value))),
        (mechanism(CKM.DES3_CBC_PAD, iv), encrypted(modes.CBC(iv), padded(data, 64), TripleDES(value))),
    ):
        assert ck.once(session, "Encrypt", how, key, data) == wanted
        assert ck.parts(session, "Encrypt", how, key, cut(data, *sizes)) == wanted
        assert ck.parts(session, "Decrypt", how, key, cut(wanted, *sizes)) == data


def test_triple_des_is_forbidden_in_fips_mode(ck, session):
    """There is no such key that could be used."""
    with refused(CKR.TEMPLATE_INCONSISTENT):
        ck.secret(session, bytes(range(24)), CKK.DES3, ENCRYPT=True)


def test_the_iv_of_gcm_comes_back_where_the_caller_has_room_for_it(ck, session, key):
    """CKM_AES_GCM: 12 zero bytes go in, the HSM's IV comes out, with C_EncryptInit."""
    params = gcm(bytes(12), b"header")
    sealed = ck.once(session, "Encrypt", mechanism(CKM.AES_GCM, params), key, DATA)
    iv = written_iv(params)
    assert iv != bytes(12) and len(sealed) == len(DATA) + 16
    assert AESGCM(AES).decrypt(iv, sealed, b"header") == DATA
    again = gcm(iv, b"header")
    assert ck.once(session, "Decrypt", mechanism(CKM.AES_GCM, again), key, sealed) == DATA
    other = gcm(bytes(12), b"header")
    ck.once(session, "Encrypt", mechanism(CKM.AES_GCM, other), key, DATA)
    assert written_iv(other) != iv


def test_the_iv_of_gcm_is_there_when_the_operation_begins(ck, session, key):
    """C_EncryptInit writes it: what happens to the buffer afterwards is the caller's business."""
    params = gcm(bytes(12))
    ck.ok("C_EncryptInit", session, mechanism(CKM.AES_GCM, params), key)
    iv = written_iv(params)
    ctypes.memset(params.iv, 0, 12)
    sealed, room = ctypes.create_string_buffer(len(DATA) + 16), ctypes.c_ulong(len(DATA) + 16)
    ck.ok("C_Encrypt", session, DATA, len(DATA), sealed, ctypes.byref(room))
    assert written_iv(params) == bytes(12)
    assert AESGCM(AES).decrypt(iv, sealed.raw, b"") == DATA


def test_the_vendors_gcm_has_the_iv_in_front(ck, session, key):
    """CKM_CLOUDHSM_AES_GCM: pIv is NULL."""
    how = mechanism(CKM.CLOUDHSM_AES_GCM, gcm(None, b"header"))
    sealed = ck.once(session, "Encrypt", how, key, DATA)
    assert AESGCM(AES).decrypt(sealed[:12], sealed[12:], b"header") == DATA
    assert ck.once(session, "Decrypt", how, key, sealed) == DATA


@pytest.mark.parametrize("number", [CKM.AES_GCM, CKM.CLOUDHSM_AES_GCM])
def test_gcm_works_in_one_part_only(ck, session, key, number):
    """CKR_MECHANISM_INVALID at the first part, and the operation is over."""
    params = gcm(bytes(12) if number is CKM.AES_GCM else None)
    with refused(CKR.MECHANISM_INVALID):
        ck.parts(session, "Encrypt", mechanism(number, params), key, [DATA])
    with refused(CKR.OPERATION_NOT_INITIALIZED):
        ck.output("C_EncryptFinal", session)


@pytest.mark.parametrize("tag_bits", [96, 128])
def test_a_changed_ciphertext_is_refused(ck, session, key, tag_bits):
    """And so is another header."""
    how = mechanism(CKM.CLOUDHSM_AES_GCM, gcm(None, b"header", tag_bits))
    sealed = ck.once(session, "Encrypt", how, key, DATA)
    assert len(sealed) == 12 + len(DATA) + tag_bits // 8
    with refused(CKR.ENCRYPTED_DATA_INVALID):
        ck.once(session, "Decrypt", how, key, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with refused(CKR.ENCRYPTED_DATA_INVALID):
        ck.once(session, "Decrypt", mechanism(CKM.CLOUDHSM_AES_GCM, gcm(None, b"", tag_bits)), key, sealed)


@pytest.mark.parametrize("name", list(HASHES))
def test_hmacs_are_everybodys(ck, session, name):
    """In one part and in many; the length that is told is exact."""
    key = ck.secret(session, AES, CKK.GENERIC_SECRET, SIGN=True, VERIFY=True)
    how = mechanism(CKM[f"{name}_HMAC"])
    mine = hmac.HMAC(AES, HASHES[name][0])
    mine.update(DATA)
    wanted = mine.finalize()
    assert ck.once(session, "Sign", how, key, DATA) == wanted
    assert ck.sign_parts(session, how, key, cut(DATA, 1, 0, 63)) == wanted
    ck.verify(session, how, key, DATA, wanted)
    ck.verify_parts(session, how, key, cut(DATA, 7), wanted)
    with refused(CKR.SIGNATURE_INVALID):
        ck.verify(session, how, key, DATA + b"x", wanted)
    with refused(CKR.SIGNATURE_LEN_RANGE):
        ck.verify_parts(session, how, key, cut(DATA, 7), wanted[:-1])
    length = ctypes.c_ulong()
    ck.ok("C_SignInit", session, ctypes.byref(how), key)
    ck.ok("C_Sign", session, DATA, len(DATA), None, ctypes.byref(length))
    assert length.value == len(wanted)


def test_cmac_is_everybodys(ck, session, key):
    """AES keys sign, too."""
    mine = cmac.CMAC(algorithms.AES(AES))
    mine.update(DATA)
    wanted = mine.finalize()
    assert ck.once(session, "Sign", mechanism(CKM.AES_CMAC), key, DATA) == wanted
    assert ck.sign_parts(session, mechanism(CKM.AES_CMAC), key, cut(DATA, 5)) == wanted
    ck.verify(session, mechanism(CKM.AES_CMAC), key, DATA, wanted)


@pytest.mark.parametrize("name", list(HASHES))
def test_digests_are_everybodys_and_reach_no_hsm(ck, session, hsm_history, name):
    """They are made in the library."""
    mine = hashes.Hash(HASHES[name][0])
    mine.update(DATA)
    before = len(hsm_history)
    assert ck.digest(session, CKM[name], [DATA]) == (wanted := mine.finalize())
    assert ck.digest(session, CKM[name], cut(DATA, 3, 0, 99)) == wanted
    assert len(hsm_history) == before


# -- limits ---


@pytest.mark.parametrize(
    ("number", "kind", "most"),
    [(CKM.SHA256_HMAC, CKK.GENERIC_SECRET, 16288), (CKM.SHA512_HMAC, CKK.GENERIC_SECRET, 16224)],
)
def test_one_signature_takes_16_kb(ck, session, number, kind, most):
    """The published number of bytes, and not one more."""
    key = ck.secret(session, AES, kind, SIGN=True)
    assert ck.once(session, "Sign", mechanism(number), key, bytes(most))
    with refused(CKR.DATA_LEN_RANGE):
        ck.once(session, "Sign", mechanism(number), key, bytes(most + 1))


def test_one_encryption_takes_16_kb(ck, session, key):
    """AES-CBC 16,272 bytes, AES-GCM 16,224; in parts more, each of which is an operation of its own."""
    cbc, sealing = mechanism(CKM.AES_CBC, IV), mechanism(CKM.CLOUDHSM_AES_GCM, gcm(None))
    for how, most in ((cbc, 16272), (sealing, 16224)):
        assert ck.once(session, "Encrypt", how, key, bytes(most))
        with refused(CKR.DATA_LEN_RANGE):
            ck.once(session, "Encrypt", how, key, bytes(most + 16))
    assert ck.parts(session, "Encrypt", cbc, key, cut(bytes(64000), 16000)) == encrypted(modes.CBC(IV), bytes(64000))
    padding = mechanism(CKM.AES_CBC_PAD, IV)
    assert len(ck.parts(session, "Encrypt", padding, key, [bytes(64000)])) == 64016


@pytest.mark.hsm_cluster(data_limits=False)
def test_the_limits_are_a_switch(ck, session, key):
    """`data_limits=False` is for whoever wants to test without them."""
    how = mechanism(CKM.CLOUDHSM_AES_GCM, gcm(None))
    assert ck.once(session, "Decrypt", how, key, ck.once(session, "Encrypt", how, key, bytes(100_000))) == bytes(
        100_000
    )
    assert ck.once(session, "Sign", mechanism(CKM.AES_CMAC), key, bytes(100_000))


# -- RSA ---------------------------------------------------------------------------------------


@pytest.fixture
def pair(ck, session):
    """RSA keys that can do everything, and the public one as `cryptography` has it."""
    public, private = ck.generate_pair(
        session,
        CKM.RSA_PKCS_KEY_PAIR_GEN,
        {CKA.MODULUS_BITS: 2048, CKA.PUBLIC_EXPONENT: b"\1\0\1", CKA.ENCRYPT: True, CKA.VERIFY: True},
        {CKA.DECRYPT: True, CKA.SIGN: True},
    )
    modulus = int.from_bytes(ck.attribute(session, public, CKA.MODULUS), "big")
    return public, private, rsa.RSAPublicNumbers(65537, modulus).public_key()


@pytest.mark.hsm_cluster(keys="seeded")
def test_rsa_signs_as_everybody_does(ck, session, pair):
    """PKCS #1 v1.5 and PSS, with a hash of the mechanism's and with one of the caller's."""
    public, private, theirs = pair
    for name, (hashed, mgf) in HASHES.items():
        sha = name.replace("_", "")
        how = mechanism(CKM[f"{sha}_RSA_PKCS"])
        signature = ck.once(session, "Sign", how, private, DATA)
        theirs.verify(signature, DATA, padding.PKCS1v15(), hashed)
        ck.verify_parts(session, how, public, cut(DATA, 100, 1), signature)
        assert ck.sign_parts(session, how, private, cut(DATA, 100, 1)) == signature
        pss = Pss(CKM[name], mgf, hashed.digest_size)
        how = mechanism(CKM[f"{sha}_RSA_PKCS_PSS"], pss)
        signature = ck.sign_parts(session, how, private, cut(DATA, 64, 3))
        salted = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
        theirs.verify(signature, DATA, salted, hashed)
        ck.verify(session, how, public, DATA, signature)
        digest = ck.digest(session, CKM[name], [DATA])
        signature = ck.once(session, "Sign", mechanism(CKM.RSA_PKCS_PSS, pss), private, digest)
        theirs.verify(signature, digest, salted, utils.Prehashed(hashed))
        ck.verify(session, mechanism(CKM.RSA_PKCS_PSS, pss), public, digest, signature)
    raw = ck.once(session, "Sign", mechanism(CKM.RSA_PKCS), private, b"a DigestInfo, say")
    assert theirs.recover_data_from_signature(raw, padding.PKCS1v15(), None) == b"a DigestInfo, say"
    block = b"\0" + bytes(range(255))
    signed = ck.once(session, "Sign", mechanism(CKM.RSA_X_509), private, block)
    power = pow(int.from_bytes(signed, "big"), 65537, theirs.public_numbers().n)
    assert power.to_bytes(256, "big") == block


@pytest.mark.hsm_cluster(keys="seeded")
@pytest.mark.parametrize("number", [CKM.RSA_PKCS, CKM.RSA_X_509, CKM.RSA_PKCS_PSS])
def test_signatures_without_a_hash_are_of_one_part(ck, session, pair, number):
    """CKR_MECHANISM_INVALID, and the operation is over."""
    how = mechanism(number, Pss(CKM.SHA256, 2, 32) if number is CKM.RSA_PKCS_PSS else None)
    with refused(CKR.MECHANISM_INVALID):
        ck.sign_parts(session, how, pair[1], [DATA])
    with refused(CKR.OPERATION_NOT_INITIALIZED):
        ck.output("C_SignFinal", session)


@pytest.mark.hsm_cluster(keys="seeded")
@pytest.mark.parametrize("name", list(HASHES))
def test_rsa_decrypts_what_everybody_encrypts(ck, session, pair, name):
    """OAEP with each hash and a label."""
    public, private, theirs = pair
    hashed, mgf = HASHES[name]
    how = mechanism(CKM.RSA_PKCS_OAEP, Oaep(CKM[name], mgf, 1, b"label", 5))
    sealed = theirs.encrypt(b"data", padding.OAEP(padding.MGF1(hashed), hashed, b"label"))
    assert ck.once(session, "Decrypt", how, private, sealed) == b"data"
    assert ck.once(session, "Decrypt", how, private, ck.once(session, "Encrypt", how, public, b"data")) == b"data"


@pytest.mark.hsm_cluster(keys="seeded")
def test_rsa_encryption_with_the_old_padding_is_forbidden_in_fips_mode(ck, session, pair):
    """CKR_MECHANISM_INVALID, with C_EncryptInit."""
    with refused(CKR.MECHANISM_INVALID):
        ck.ok("C_EncryptInit", session, ctypes.byref(mechanism(CKM.RSA_PKCS)), pair[0])


@pytest.mark.hsm_cluster(keys="seeded", fips=False)
def test_rsa_encrypts_with_the_old_padding_and_with_none(ck, session, pair):
    """Outside of FIPS mode."""
    public, private, theirs = pair
    sealed = theirs.encrypt(b"data", padding.PKCS1v15())
    assert ck.once(session, "Decrypt", mechanism(CKM.RSA_PKCS), private, sealed) == b"data"
    block = b"\0" + bytes(range(255))
    raw = mechanism(CKM.RSA_X_509)
    assert ck.once(session, "Decrypt", raw, private, ck.once(session, "Encrypt", raw, public, block)) == block


# -- EC -----------------------------------------------------------------------------------------

CURVES = {
    "06052b81040021": ec.SECP224R1(),
    "06082a8648ce3d030107": ec.SECP256R1(),
    "06052b8104000a": ec.SECP256K1(),
    "06052b81040022": ec.SECP384R1(),
    "06052b81040023": ec.SECP521R1(),
}


@pytest.mark.parametrize("curve", list(CURVES))
def test_ecdsa_signs_as_everybody_does(ck, session, curve):
    """r and s, each as long as the order; in one part and in many."""
    native = CURVES[curve]
    public, private = ck.generate_pair(
        session,
        CKM.EC_KEY_PAIR_GEN,
        {CKA.EC_PARAMS: bytes.fromhex(curve), CKA.VERIFY: True},
        {CKA.SIGN: True},
    )
    point = ck.attribute(session, public, CKA.EC_POINT)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(native, point[3 if point[1] == 0x81 else 2 :])
    half = (native.key_size + 7) // 8

    def check(signature, data, hashed):
        assert len(signature) == 2 * half
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        theirs.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashed))

    for name, (hashed, _) in HASHES.items():
        how = mechanism(CKM[f"ECDSA_{name.replace('_', '')}"])
        signature = ck.sign_parts(session, how, private, cut(DATA, 50, 0, 1))
        check(signature, DATA, hashed)
        check(ck.once(session, "Sign", how, private, DATA), DATA, hashed)
        ck.verify(session, how, public, DATA, signature)
        ck.verify_parts(session, how, public, cut(DATA, 13), signature)
    digest = ck.digest(session, CKM.SHA256, [DATA])
    signature = ck.once(session, "Sign", mechanism(CKM.ECDSA), private, digest)
    check(signature, digest, utils.Prehashed(hashes.SHA256()))
    with refused(CKR.SIGNATURE_INVALID):
        ck.verify(session, mechanism(CKM.ECDSA), public, digest[::-1], signature)
    with refused(CKR.MECHANISM_INVALID):
        ck.sign_parts(session, mechanism(CKM.ECDSA), private, [digest])
