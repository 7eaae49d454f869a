"""Do AES and triple DES agree with NIST's vectors, and refuse what they should?"""

import pytest

from pytest_hsmcluster.cryptoki import CKM, CKR
from pytest_hsmcluster.errors import DataInvalid, MechanismInvalid
from pytest_hsmcluster.keys.mechanisms import CtrParams, GcmParams, IvParams, OaepParams, decrypt, encrypt
from pytest_hsmcluster.keys.symmetric import gcm_open, gcm_seal

AES_FILES = [
    (mode, name, bits)
    for mode in ("ECB", "CBC")
    for name in ("GFSbox", "KeySbox", "VarKey", "VarTxt", "MMT")
    for bits in (128, 192, 256)
]
DES3_FILES = [
    (mode, name)
    for mode in ("ECB", "CBC")
    for name in ("invperm", "permop", "subtab", "varkey", "vartext", "MMT1", "MMT2", "MMT3")
]


@pytest.fixture
def key(secret):
    return secret("AES", bytes(range(32)))


@pytest.fixture
def des3(secret):
    return secret("DES3", bytes(range(24)))


@pytest.mark.parametrize(("mode", "name", "bits"), AES_FILES)
def test_aes_blocks_are_nists(mode, name, bits, records, secret, system):
    """AES in ECB and CBC gives the ciphertexts and plaintexts of NIST's AESVS."""
    mechanism, seen = CKM[f"AES_{mode}"], 0
    for record in records(f"ciphers/AES/{mode}/{mode}{name}{bits}.rsp"):
        if "KEY" not in record:
            continue
        key = secret("AES", record["KEY"])
        plain, sealed = bytes.fromhex(record["PLAINTEXT"]), bytes.fromhex(record["CIPHERTEXT"])
        params = IvParams(bytes.fromhex(record["IV"])) if mode == "CBC" else None
        assert encrypt(key, mechanism, plain, params, system) == sealed
        assert decrypt(key, mechanism, sealed, params) == plain
        seen += 1
    assert seen


@pytest.mark.parametrize(("mode", "name"), DES3_FILES)
def test_des3_blocks_are_nists(mode, name, records, secret, system):
    """Triple DES in ECB and CBC gives the ciphertexts and plaintexts of NIST's vectors."""
    mechanism, seen = CKM[f"DES3_{mode}"], 0
    for record in records(f"ciphers/3DES/{mode}/T{mode}{name}.rsp"):
        if "PLAINTEXT" not in record:
            continue
        raw = record["KEYs"] * 3 if "KEYs" in record else record["KEY1"] + record["KEY2"] + record["KEY3"]
        key = secret("DES3", raw)
        plain, sealed = bytes.fromhex(record["PLAINTEXT"]), bytes.fromhex(record["CIPHERTEXT"])
        params = IvParams(bytes.fromhex(record["IV"])) if mode == "CBC" else None
        assert encrypt(key, mechanism, plain, params, system) == sealed
        assert decrypt(key, mechanism, sealed, params) == plain
        seen += 1
    assert seen


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_aes_ctr_is_that_of_rfc_3686(bits, records, secret, system):
    """AES-CTR gives RFC 3686's ciphertexts; decryption is the same operation."""
    for record in records(f"ciphers/AES/CTR/aes-{bits}-ctr.txt"):
        key, params = secret("AES", record["KEY"]), CtrParams(bytes.fromhex(record["IV"]), 32)
        plain, sealed = bytes.fromhex(record["PLAINTEXT"]), bytes.fromhex(record["CIPHERTEXT"])
        assert encrypt(key, CKM.AES_CTR, plain, params, system) == sealed
        assert decrypt(key, CKM.AES_CTR, sealed, params) == plain


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_aes_gcm_seals_as_nist_does(bits, records, secret):
    """With NIST's IVs, AES-GCM gives NIST's ciphertexts and tags, for every tag length that is offered."""
    seen = 0
    for record in records(f"ciphers/AES/GCM/gcmEncryptExtIV{bits}.rsp"):
        if int(record["Taglen"]) < 96 or record["IVlen"] != "96":
            continue
        key = secret("AES", record["Key"])
        iv, plain, aad = (bytes.fromhex(record[name]) for name in ("IV", "PT", "AAD"))
        sealed = gcm_seal(key, iv, plain, aad, int(record["Taglen"]))
        assert sealed.hex() == record["CT"] + record["Tag"]
        seen += 1
    assert seen > 1000


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_aes_gcm_opens_as_nist_does(bits, records, secret):
    """AES-GCM opens what NIST's vectors open and refuses what they mark as FAIL."""
    seen = {True: 0, False: 0}
    for record in records(f"ciphers/AES/GCM/gcmDecrypt{bits}.rsp"):
        if int(record["Taglen"]) < 96 or record["IVlen"] != "96":
            continue
        key, good = secret("AES", record["Key"]), "FAIL" not in record
        iv, aad = bytes.fromhex(record["IV"]), bytes.fromhex(record["AAD"])
        sealed = bytes.fromhex(record["CT"] + record["Tag"])
        if good:
            assert gcm_open(key, iv, sealed, aad, int(record["Taglen"])).hex() == record["PT"]
        else:
            with pytest.raises(DataInvalid):
                gcm_open(key, iv, sealed, aad, int(record["Taglen"]))
        seen[good] += 1
    assert min(seen.values()) > 500


def test_gcm_decrypts_a_published_box(records, secret):
    """IV, ciphertext and tag in one piece, as the service gives it, decrypt to NIST's plaintext."""
    for record in records("ciphers/AES/GCM/gcmDecrypt256.rsp"):
        if record["IVlen"] == "96" and record["Taglen"] == "128" and record.get("PT"):
            key, params = secret("AES", record["Key"]), GcmParams(aad=bytes.fromhex(record["AAD"]))
            box = bytes.fromhex(record["IV"] + record["CT"] + record["Tag"])
            assert decrypt(key, CKM.CLOUDHSM_AES_GCM, box, params).hex() == record["PT"]


@pytest.mark.parametrize("mechanism", [CKM.AES_GCM, CKM.CLOUDHSM_AES_GCM])
@pytest.mark.parametrize("tag_bits", [96, 104, 112, 120, 128])
def test_gcm_gives_iv_ciphertext_and_tag(mechanism, tag_bits, key, system):
    """The result is the HSM's IV, the ciphertext and the tag; each time with another IV."""
    params = GcmParams(b"header", tag_bits)
    boxes = [encrypt(key, mechanism, b"data", params, system) for _ in range(2)]

    assert {len(box) for box in boxes} == {12 + 4 + tag_bits // 8}
    assert boxes[0][:12] != boxes[1][:12]
    assert [decrypt(key, mechanism, box, params) for box in boxes] == [b"data"] * 2


def test_gcm_takes_a_zeroed_iv_buffer_only(key, system):
    """A zeroed buffer is what the application passes; an IV of its own would not be honoured and is refused."""
    box = encrypt(key, CKM.AES_GCM, b"data", GcmParams(iv=bytes(12)), system)

    assert box[:12] != bytes(12)
    assert decrypt(key, CKM.AES_GCM, box[12:], GcmParams(iv=box[:12])) == b"data"
    for iv in (b"\x01" * 12, bytes(11)):
        with pytest.raises(MechanismInvalid, match="makes its own IV") as caught:
            encrypt(key, CKM.AES_GCM, b"data", GcmParams(iv=iv), system)
        assert caught.value.ckr is CKR.MECHANISM_PARAM_INVALID


def test_the_vendor_gcm_takes_no_iv_at_all(key, system):
    """CLOUDHSM_AES_GCM wants a NULL IV and finds it before the ciphertext."""
    box = encrypt(key, CKM.CLOUDHSM_AES_GCM, b"data", None, system)

    with pytest.raises(MechanismInvalid, match="takes none from the caller"):
        encrypt(key, CKM.CLOUDHSM_AES_GCM, b"data", GcmParams(iv=bytes(12)), system)
    with pytest.raises(MechanismInvalid):
        decrypt(key, CKM.CLOUDHSM_AES_GCM, box[12:], GcmParams(iv=box[:12]))
    with pytest.raises(MechanismInvalid, match="IV of 12 bytes"):
        decrypt(key, CKM.AES_GCM, box[12:], GcmParams(iv=bytes(16)))


@pytest.mark.parametrize("tag_bits", [0, 64, 127, 136])
def test_other_tags_are_refused(tag_bits, key, system):
    """A tag that is too short to protect, or of no whole bytes, is refused."""
    for attempt in (
        lambda: encrypt(key, CKM.AES_GCM, b"", GcmParams(tag_bits=tag_bits), system),
        lambda: decrypt(key, CKM.AES_GCM, bytes(40), GcmParams(tag_bits=tag_bits)),
    ):
        with pytest.raises(MechanismInvalid, match="96, 104, 112, 120 or 128"):
            attempt()


@pytest.mark.parametrize("place", [0, 12, -1])
def test_gcm_refuses_damage(place, key, system):
    """One flipped bit in IV, ciphertext or tag, another AAD or another key: refused."""
    box = bytearray(encrypt(key, CKM.AES_GCM, b"data", GcmParams(b"header"), system))
    for params in (GcmParams(), GcmParams(b"other")):
        with pytest.raises(DataInvalid) as caught:
            decrypt(key, CKM.AES_GCM, bytes(box), params)
        assert caught.value.ckr is CKR.ENCRYPTED_DATA_INVALID
    box[place] ^= 1
    with pytest.raises(DataInvalid):
        decrypt(key, CKM.AES_GCM, bytes(box), GcmParams(b"header"))


def test_gcm_refuses_a_box_without_room_for_iv_and_tag(key):
    """Fewer bytes than IV and tag cannot be a ciphertext."""
    with pytest.raises(DataInvalid) as caught:
        decrypt(key, CKM.AES_GCM, bytes(27))
    assert caught.value.ckr is CKR.ENCRYPTED_DATA_LEN_RANGE
    with pytest.raises(DataInvalid):
        decrypt(key, CKM.AES_GCM, bytes(5), GcmParams(iv=bytes(12), tag_bits=96))


@pytest.mark.parametrize(("mechanism", "size"), [(CKM.AES_CBC_PAD, 16), (CKM.DES3_CBC_PAD, 8)])
def test_padded_cbc_takes_any_length(mechanism, size, key, des3, system):
    """CBC_PAD adds one to a block's length of bytes and takes them away again."""
    used, params = (key if size == 16 else des3), IvParams(bytes(size))
    for length in (0, 1, size - 1, size, size + 1):
        sealed = encrypt(used, mechanism, bytes(length), params, system)
        assert len(sealed) == (length // size + 1) * size
        assert decrypt(used, mechanism, sealed, params) == bytes(length)


def test_padded_cbc_refuses_bad_padding(key, system):
    """A ciphertext without padding is refused when it is decrypted as a padded one."""
    sealed = encrypt(key, CKM.AES_CBC, bytes(16), IvParams(bytes(16)), system)
    with pytest.raises(DataInvalid, match="padding") as caught:
        decrypt(key, CKM.AES_CBC_PAD, sealed, IvParams(bytes(16)))
    assert caught.value.ckr is CKR.ENCRYPTED_DATA_INVALID


@pytest.mark.parametrize("mechanism", [CKM.AES_ECB, CKM.AES_CBC, CKM.DES3_ECB, CKM.DES3_CBC])
def test_unpadded_modes_want_whole_blocks(mechanism, key, des3, system):
    """A part of a block is refused, in each direction with its own return value."""
    used = key if mechanism.name.startswith("AES") else des3
    size = 16 if used is key else 8
    params = IvParams(bytes(size)) if "CBC" in mechanism.name else None
    with pytest.raises(DataInvalid, match="whole blocks") as caught:
        encrypt(used, mechanism, bytes(size + 1), params, system)
    assert caught.value.ckr is CKR.DATA_LEN_RANGE
    with pytest.raises(DataInvalid, match="whole blocks") as caught:
        decrypt(used, mechanism, bytes(size - 1), params)
    assert caught.value.ckr is CKR.ENCRYPTED_DATA_LEN_RANGE


@pytest.mark.parametrize(
    ("mechanism", "params"),
    [
        (CKM.AES_ECB, IvParams(bytes(16))),
        (CKM.AES_CBC, None),
        (CKM.AES_CBC, IvParams(bytes(8))),
        (CKM.AES_CBC_PAD, IvParams(bytes(17))),
        (CKM.AES_CTR, None),
        (CKM.AES_CTR, CtrParams(bytes(15))),
        (CKM.AES_CTR, CtrParams(bytes(16), 0)),
        (CKM.AES_CTR, CtrParams(bytes(16), 129)),
        (CKM.AES_GCM, OaepParams()),
    ],
)
def test_wrong_parameters_are_refused(mechanism, params, key, system):
    """Missing, foreign or ill-sized parameters are refused before anything is encrypted."""
    for attempt in (
        lambda: encrypt(key, mechanism, bytes(16), params, system),
        lambda: decrypt(key, mechanism, bytes(32), params),
    ):
        with pytest.raises(MechanismInvalid) as caught:
            attempt()
        assert caught.value.ckr is CKR.MECHANISM_PARAM_INVALID


def test_the_counter_may_not_overflow(key, system):
    """AES-CTR refuses data for which the counter bits do not suffice."""
    params = CtrParams(b"\xff" * 16, 8)
    assert len(encrypt(key, CKM.AES_CTR, bytes(16), params, system)) == 16
    with pytest.raises(DataInvalid, match="overflow") as caught:
        encrypt(key, CKM.AES_CTR, bytes(17), params, system)
    assert caught.value.ckr is CKR.DATA_LEN_RANGE


@pytest.mark.parametrize(
    ("mechanism", "most"),
    [(CKM.AES_CBC, 16272), (CKM.DES3_CBC, 16280), (CKM.AES_GCM, 16224), (CKM.CLOUDHSM_AES_GCM, 16224)],
)
def test_a_mechanism_takes_its_maximum_and_not_a_byte_more(mechanism, most, key, des3, system):
    """The documented maximum goes through and comes back; one more is refused in both directions."""
    used = des3 if mechanism is CKM.DES3_CBC else key
    gcm = "GCM" in mechanism.name
    params = None if gcm else IvParams(bytes(8 if used is des3 else 16))
    sealed = encrypt(used, mechanism, bytes(most), params, system)
    assert decrypt(used, mechanism, sealed, params) == bytes(most)
    with pytest.raises(DataInvalid, match=f"at most {most} bytes") as caught:
        encrypt(used, mechanism, bytes(most + 1), params, system)
    assert caught.value.ckr is CKR.DATA_LEN_RANGE
    with pytest.raises(DataInvalid, match="at most") as caught:
        decrypt(used, mechanism, bytes(most + 29), params)
    assert caught.value.ckr is CKR.ENCRYPTED_DATA_LEN_RANGE
