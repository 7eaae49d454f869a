"""Does what comes through the library agree with published vectors?

Taken in with C_CreateObject, used with real structs: what is tested is the way there and back.  That every vector is
right is the matter of `tests/keys`.
"""

import ctypes
from itertools import islice

import pytest

from pytest_hsmcluster import CKK, CKM, CKR
from tests.keys.conftest import read_records
from tests.pkcs11.ckcalls import Ctr, counter_kdf, cut, gcm, mechanism, refused

MOST = 12
"""Records of each file."""


def taken(path, name):
    return islice((record for record in read_records(path) if name in record), MOST)


@pytest.mark.parametrize("bits", [128, 192, 256])
@pytest.mark.parametrize("mode", ["ECB", "CBC"])
def test_aes_is_nists(ck, session, mode, bits):
    """AESVS, several blocks, whole and cut at odd places."""
    for record in taken(f"ciphers/AES/{mode}/{mode}MMT{bits}.rsp", "KEY"):
        key = ck.secret(session, bytes.fromhex(record["KEY"]), ENCRYPT=True, DECRYPT=True)
        plain, sealed = bytes.fromhex(record["PLAINTEXT"]), bytes.fromhex(record["CIPHERTEXT"])
        how = mechanism(CKM[f"AES_{mode}"], bytes.fromhex(record["IV"]) if mode == "CBC" else None)
        assert ck.once(session, "Encrypt", how, key, plain) == sealed
        assert ck.parts(session, "Decrypt", how, key, cut(sealed, 5, 0, 21)) == plain


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_counter_mode_is_that_of_rfc_3686(ck, session, bits):
    """With a counter of 32 bits that begins at 1."""
    for record in taken(f"ciphers/AES/CTR/aes-{bits}-ctr.txt", "KEY"):
        key = ck.secret(session, bytes.fromhex(record["KEY"]), ENCRYPT=True)
        block = bytes.fromhex(record["IV"])
        how = mechanism(CKM.AES_CTR, Ctr(32, (ctypes.c_ubyte * 16)(*block)))
        plain, sealed = bytes.fromhex(record["PLAINTEXT"]), bytes.fromhex(record["CIPHERTEXT"])
        assert ck.parts(session, "Encrypt", how, key, cut(plain, 3, 17)) == sealed


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_gcm_opens_what_nist_has_sealed(ck, session, bits):
    """And refuses what NIST says is damaged."""
    seen = {True: 0, False: 0}
    for record in read_records(f"ciphers/AES/GCM/gcmDecrypt{bits}.rsp"):
        if "Key" not in record or record.get("IVlen") != "96" or int(record["Taglen"]) < 96:
            continue
        fails = "FAIL" in record
        if seen[fails] >= MOST:
            continue
        key = ck.secret(session, bytes.fromhex(record["Key"]), DECRYPT=True)
        params = gcm(bytes.fromhex(record["IV"]), bytes.fromhex(record["AAD"]), int(record["Taglen"]))
        how, sealed = mechanism(CKM.AES_GCM, params), bytes.fromhex(record["CT"] + record["Tag"])
        if fails:
            with refused(CKR.ENCRYPTED_DATA_INVALID):
                ck.once(session, "Decrypt", how, key, sealed)
        else:
            assert ck.once(session, "Decrypt", how, key, sealed).hex() == record["PT"]
        seen[fails] += 1
    assert all(seen.values())


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_cmac_is_nists(ck, session, bits):
    """SP 800-38B."""
    for record in taken(f"CMAC/nist-800-38b-aes{bits}.txt", "KEY"):
        key = ck.secret(session, bytes.fromhex(record["KEY"]), SIGN=True, VERIFY=True)
        data, wanted = bytes.fromhex(record["MESSAGE"]), bytes.fromhex(record["OUTPUT"])
        assert ck.sign_parts(session, mechanism(CKM.AES_CMAC), key, cut(data, 7, 0)) == wanted
        ck.verify(session, mechanism(CKM.AES_CMAC), key, data, wanted)


@pytest.mark.parametrize("bits", [224, 256, 384, 512])
def test_hmacs_are_those_of_rfc_4231(ck, session, bits):
    """Whole and in parts."""
    for record in taken(f"HMAC/rfc-4231-sha{bits}.txt", "KEY"):
        key = ck.secret(session, bytes.fromhex(record["KEY"]), CKK.GENERIC_SECRET, SIGN=True, VERIFY=True)
        how, data = mechanism(CKM[f"SHA{bits}_HMAC"]), bytes.fromhex(record["MSG"])
        assert ck.sign_parts(session, how, key, cut(data, 10, 1)).hex() == record["MD"]
        ck.verify(session, how, key, data, bytes.fromhex(record["MD"]))


@pytest.mark.hsm_cluster(fips=False)
@pytest.mark.parametrize("mode", ["ECB", "CBC"])
def test_triple_des_is_nists(ck, session, mode):
    """Three keys, several blocks."""
    for record in taken(f"ciphers/3DES/{mode}/T{mode}MMT3.rsp", "PLAINTEXT"):
        raw = bytes.fromhex(record["KEY1"] + record["KEY2"] + record["KEY3"])
        key = ck.secret(session, raw, CKK.DES3, ENCRYPT=True, DECRYPT=True)
        how = mechanism(CKM[f"DES3_{mode}"], bytes.fromhex(record["IV"]) if mode == "CBC" else None)
        plain, sealed = bytes.fromhex(record["PLAINTEXT"]), bytes.fromhex(record["CIPHERTEXT"])
        assert ck.parts(session, "Encrypt", how, key, cut(plain, 3)) == sealed
        assert ck.once(session, "Decrypt", how, key, sealed) == plain


@pytest.mark.parametrize("bits", [128, 256])
def test_wraps_are_nists(ck, session, bits):
    """RFC 3394 and RFC 5649, for targets that are AES keys."""
    seen = 0
    for name, number in (("KW", CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD), ("KWP", CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD)):
        for record in read_records(f"keywrap/kwtestvectors/{name}_AE_{bits}.txt"):
            if "K" not in record or len(record["P"]) not in (32, 48, 64) or seen >= 2 * MOST:
                continue
            kek = ck.secret(session, bytes.fromhex(record["K"]), WRAP=True)
            key = ck.secret(session, bytes.fromhex(record["P"]))
            assert ck.wrap(session, mechanism(number), kek, key).hex() == record["C"]
            seen += 1
    assert seen


def test_the_counter_kdf_is_nists(ck, session):
    """SP 800-108 with HMAC-SHA-256 and the counter in front; what comes out is the known key."""
    seen = 0
    for record in read_records("KDF/nist-800-108-KBKDF-CTR.txt"):
        if (
            seen >= MOST
            or "KO" not in record
            or record.get("PRF") != "HMAC_SHA256"
            or record.get("CTRLOCATION") != "BEFORE_FIXED"
            or record.get("RLEN") != "32_BITS"
            or len(record["KO"]) not in (32, 64)
        ):
            continue
        base = ck.secret(session, bytes.fromhex(record["KI"]), CKK.GENERIC_SECRET, DERIVE=True)
        how = mechanism(
            CKM.SP800_108_COUNTER_KDF, counter_kdf(CKM.SHA256_HMAC, bytes.fromhex(record["FixedInputData"]))
        )
        wanted = {0: 4, 0x100: CKK.AES, 0x161: len(record["KO"]) // 2, 0x104: True}
        derived = ck.derive(session, how, base, wanted)
        known = ck.secret(session, bytes.fromhex(record["KO"]), ENCRYPT=True)
        ecb = mechanism(CKM.AES_ECB)
        assert ck.once(session, "Encrypt", ecb, derived, bytes(16)) == ck.once(
            session, "Encrypt", ecb, known, bytes(16)
        )
        seen += 1
    assert seen
