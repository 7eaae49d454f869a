"""Does RSA agree with NIST's and RSA Laboratories' vectors, and refuse what it should?"""

import math
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pytest_hsmcluster.cryptoki import CKM, CKO, CKR
from pytest_hsmcluster.errors import DataInvalid, MechanismInvalid, SignatureInvalid
from pytest_hsmcluster.keys.hashing import hashed
from pytest_hsmcluster.keys.material import import_material
from pytest_hsmcluster.keys.mechanisms import IvParams, OaepParams, PssParams, decrypt, encrypt, sign, verify

HASHES = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512")
# RFC 8017, 9.2, note 1.
DIGEST_INFO = {
    "SHA1": "3021300906052b0e03021a05000414",
    "SHA224": "302d300d06096086480165030402040500041c",
    "SHA256": "3031300d060960864801650304020105000420",
    "SHA384": "3041300d060960864801650304020205000430",
    "SHA512": "3051300d060960864801650304020305000440",
}


def key_of(p, q, e, d=None):
    """Return the library's key for these primes."""
    d = d or pow(e, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q))
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def digest_info(name, message):
    return bytes.fromhex(DIGEST_INFO[name]) + hashed(name, message)


def verification_cases(records, path):
    """Yield (size, key's numbers, record) of NIST's verification vectors from 2048 bits on."""
    primes = {}
    for record in records(f"asymmetric/RSA/FIPS_186-2/{path}"):
        primes = primes | {name: int(record[name], 16) for name in ("p", "q") if name in record}
        if "Msg" in record and int(record["mod"]) >= 2048:
            yield int(record["mod"]), primes, record


def examples(path):
    """Yield (key, plaintext, ciphertext, label) of RSA Laboratories' encryption vectors."""
    vectors = pytest.importorskip("cryptography_vectors")
    with vectors.open_vector_file(path, "r") as file:
        text = file.read()
    fields = re.findall(r"^# ([\w ]+?)(?: alg=\S+ mgf1=\S+)?:? ?\n((?:[0-9a-f ]+\n)+)", text, re.M)
    found = {}
    for name, value in fields:
        digits = "".join(value.split())
        found[name.split(" Example")[0]] = bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))
        if name == "Encryption":
            p, q = (int.from_bytes(found[key], "big") for key in ("Prime 1", "Prime 2"))
            yield key_of(p, q, int.from_bytes(found["Public exponent"], "big")), found["Message"], found["Encryption"]


@pytest.fixture
def public(rsa_key):
    return rsa_key[0]


@pytest.fixture
def private(rsa_key):
    return rsa_key[1]


# --- signatures -----------------------------------------------------------------------


def test_pkcs1_signatures_are_nists(records, rsa_pair, system):
    """With NIST's keys, SHA*_RSA_PKCS, RSA_PKCS and RSA_X_509 all give NIST's signatures."""
    seen = set()
    for bits, primes, record in verification_cases(records, "SigVer15_186-3.rsp"):
        if record["Result"][0] != "P":
            continue
        name, message = record["SHAAlg"], bytes.fromhex(record["Msg"])
        expected = bytes.fromhex(record["S"])
        key = key_of(primes["p"], primes["q"], int(record["e"], 16), int(record["d"], 16))
        public, private = rsa_pair(key)
        info = digest_info(name, message)
        block = b"\x00\x01" + b"\xff" * (bits // 8 - 3 - len(info)) + b"\x00" + info
        for mechanism, data in ((f"{name}_RSA_PKCS", message), ("RSA_PKCS", info), ("RSA_X_509", block)):
            assert sign(private, mechanism, data, None, system) == expected
            verify(public, mechanism, data, expected)
        seen.add((bits, name))
    assert len(seen) == 15


@pytest.mark.parametrize(
    ("path", "mechanism"), [("SigVer15_186-3.rsp", "RSA_PKCS"), ("SigVerPSS_186-3.rsp", "RSA_PKCS_PSS")]
)
def test_published_verdicts_are_kept(path, mechanism, records, rsa_pair):
    """What NIST's verification vectors pass is accepted, what they fail is refused."""
    seen = {"P": 0, "F": 0}
    for _, primes, record in verification_cases(records, path):
        public, _ = rsa_pair(key_of(primes["p"], primes["q"], int(record["e"], 16), int(record["d"], 16)))
        name, verdict = record["SHAAlg"], record["Result"][0]
        message, signature = bytes.fromhex(record["Msg"]), bytes.fromhex(record["S"])
        params = PssParams(salt_bytes=len(record["SaltVal"]) // 2) if "PSS" in mechanism else None
        digest_params = PssParams(hash=name, salt_bytes=len(record["SaltVal"]) // 2)
        if verdict == "P":
            verify(public, f"{name}_{mechanism}", message, signature, params)
            if params:
                verify(public, mechanism, hashed(name, message), signature, digest_params)
        else:
            with pytest.raises(SignatureInvalid):
                verify(public, f"{name}_{mechanism}", message, signature, params)
        seen[verdict] += 1
    assert seen["P"] >= 15
    assert seen["F"] >= 60


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("scheme", ["RSA_PKCS", "RSA_PKCS_PSS"])
def test_every_hash_signs(name, scheme, public, private, system):
    """A signature is as long as the modulus, verifies, and fits no other data."""
    mechanism = f"{name}_{scheme}"
    signature = sign(private, mechanism, b"data", None, system)

    assert len(signature) == 256
    verify(public, mechanism, b"data", signature)
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for data, given in ((b"other", signature), (b"data", flipped), (b"data", b"\xff" * 256)):
        with pytest.raises(SignatureInvalid) as caught:
            verify(public, mechanism, data, given)
        assert caught.value.ckr is CKR.SIGNATURE_INVALID
    with pytest.raises(SignatureInvalid) as caught:
        verify(public, mechanism, b"data", signature[1:])
    assert caught.value.ckr is CKR.SIGNATURE_LEN_RANGE


@pytest.mark.parametrize("mechanism", [CKM.RSA_PKCS, CKM.RSA_X_509, CKM.RSA_PKCS_PSS])
def test_single_part_signatures_are_checked(mechanism, public, private, system):
    """The mechanisms without a hash refuse other data, damage and impossible lengths, too."""
    signature = sign(private, mechanism, b"\x01" * 32, None, system)
    verify(public, mechanism, b"\x01" * 32, signature)
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    for data, given in ((b"\x02" * 32, signature), (b"\x01" * 32, flipped), (b"\x01" * 32, b"\xff" * 256)):
        with pytest.raises(SignatureInvalid):
            verify(public, mechanism, data, given)
    with pytest.raises(SignatureInvalid) as caught:
        verify(public, mechanism, b"\x01" * 32, signature + b"\0")
    assert caught.value.ckr is CKR.SIGNATURE_LEN_RANGE


@pytest.mark.parametrize("data", [b"", b"free text", bytes(245), digest_info("SHA256", b"x")[:-1]])
def test_rsa_pkcs_signs_any_bytes_that_fit(data, public, private, system):
    """Not only a digest in its DER header: whatever leaves room for the padding is signed and verified."""
    signature = sign(private, CKM.RSA_PKCS, data, None, system)
    verify(public, CKM.RSA_PKCS, data, signature)

    block = encrypt(public, CKM.RSA_X_509, signature, None, system)
    assert int.from_bytes(block, "big") == int.from_bytes(
        b"\x00\x01" + b"\xff" * (253 - len(data)) + b"\x00" + data, "big"
    )


@pytest.mark.parametrize(("mechanism", "length"), [(CKM.RSA_PKCS, 246), (CKM.RSA_X_509, 257), (CKM.RSA_PKCS_PSS, 31)])
def test_single_part_signatures_refuse_other_lengths(mechanism, length, public, private, system):
    """More than fits into the block, or for PSS no digest of the hash, is refused."""
    for attempt in (
        lambda: sign(private, mechanism, bytes(length), None, system),
        lambda: verify(public, mechanism, bytes(length), bytes(256)),
    ):
        with pytest.raises(DataInvalid) as caught:
            attempt()
        assert caught.value.ckr is CKR.DATA_LEN_RANGE


@pytest.mark.parametrize("salt", [0, 10, 32, 222])
def test_pss_salts_have_the_length_asked_for(salt, public, private, system):
    """A PSS signature verifies with its own salt length only."""
    params = PssParams(salt_bytes=salt)
    signature = sign(private, CKM.SHA256_RSA_PKCS_PSS, b"data", params, system)

    verify(public, CKM.SHA256_RSA_PKCS_PSS, b"data", signature, params)
    with pytest.raises(SignatureInvalid):
        verify(public, CKM.SHA256_RSA_PKCS_PSS, b"data", signature, PssParams(salt_bytes=salt - 1 if salt else 1))


def test_pss_mask_may_use_another_hash(public, private, system):
    """PSS takes an MGF1 hash of its own, and verifies with it only."""
    params = PssParams("SHA256", "SHA1", 20)
    signature = sign(private, CKM.RSA_PKCS_PSS, bytes(32), params, system)

    verify(public, CKM.RSA_PKCS_PSS, bytes(32), signature, params)
    with pytest.raises(SignatureInvalid):
        verify(public, CKM.RSA_PKCS_PSS, bytes(32), signature, PssParams("SHA256", "SHA256", 20))


@pytest.mark.parametrize(
    ("mechanism", "params"),
    [
        (CKM.SHA256_RSA_PKCS, PssParams()),
        (CKM.RSA_PKCS, PssParams()),
        (CKM.RSA_X_509, PssParams()),
        (CKM.SHA256_RSA_PKCS_PSS, OaepParams()),
        (CKM.SHA256_RSA_PKCS_PSS, PssParams(hash="SHA512")),
        (CKM.SHA256_RSA_PKCS_PSS, PssParams(salt_bytes=-1)),
        (CKM.SHA256_RSA_PKCS_PSS, PssParams(salt_bytes=223)),
        (CKM.RSA_PKCS_PSS, PssParams(hash="MD5")),
        (CKM.RSA_PKCS_PSS, PssParams(mgf="MD5")),
    ],
)
def test_wrong_signature_parameters_are_refused(mechanism, params, public, private, system):
    """Foreign parameters, unknown hashes and impossible salts are refused."""
    for attempt in (
        lambda: sign(private, mechanism, bytes(32), params, system),
        lambda: verify(public, mechanism, bytes(32), bytes(256), params),
    ):
        with pytest.raises(MechanismInvalid) as caught:
            attempt()
        assert caught.value.ckr is CKR.MECHANISM_PARAM_INVALID


# --- encryption -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SHA224", "SHA256", "SHA384", "SHA512"])
def test_oaep_decrypts_published_ciphertexts(name, rsa_pair):
    """OAEP with every SHA-2 decrypts the published ciphertexts."""
    seen = 0
    for key, message, sealed in examples(f"asymmetric/RSA/oaep-custom/oaep-{name.lower()}-{name.lower()}.txt"):
        assert decrypt(rsa_pair(key)[1], CKM.RSA_PKCS_OAEP, sealed, OaepParams(name)) == message
        seen += 1
    assert seen >= 18


def test_oaep_decrypts_the_ciphertexts_of_rsa_laboratories(rsa_pair):
    """OAEP with SHA-1 decrypts the vectors that came with the standard."""
    seen = 0
    for key, message, sealed in examples("asymmetric/RSA/pkcs-1v2-1d2-vec/oaep-vect.txt"):
        assert decrypt(rsa_pair(key)[1], CKM.RSA_PKCS_OAEP, sealed, OaepParams("SHA1")) == message
        seen += 1
    assert seen == 60


def test_oaep_labels_are_honoured(records):
    """A ciphertext with a label decrypts with this label only."""
    (record,) = (record for record in records("asymmetric/RSA/oaep-label.txt") if "OAEPLabel" in record)
    private = import_material("RSA", CKO.PRIVATE_KEY, bytes.fromhex(record["KEY"]))
    sealed, label = bytes.fromhex(record["Input"]), bytes.fromhex(record["OAEPLabel"])

    assert decrypt(private, CKM.RSA_PKCS_OAEP, sealed, OaepParams("SHA512", label=label)) == b"Hello World"
    with pytest.raises(DataInvalid) as caught:
        decrypt(private, CKM.RSA_PKCS_OAEP, sealed, OaepParams("SHA512"))
    assert caught.value.ckr is CKR.ENCRYPTED_DATA_INVALID


def test_pkcs1_decrypts_the_ciphertexts_of_rsa_laboratories(rsa_pair):
    """PKCS #1 v1.5 decrypts the published ciphertexts; the bare operation shows their padding."""
    seen = 0
    for key, message, sealed in examples("asymmetric/RSA/pkcs1v15crypt-vectors.txt"):
        _, private = rsa_pair(key)
        assert decrypt(private, CKM.RSA_PKCS, sealed) == message
        block = decrypt(private, CKM.RSA_X_509, sealed)
        assert block[:2] == b"\x00\x02"
        assert block.endswith(b"\x00" + message)
        seen += 1
    assert seen == 300


@pytest.mark.parametrize(
    ("mechanism", "params", "most"),
    [
        (CKM.RSA_PKCS, None, 245),
        (CKM.RSA_PKCS_OAEP, None, 190),
        (CKM.RSA_PKCS_OAEP, OaepParams("SHA1", "SHA1", b"label"), 214),
        (CKM.RSA_PKCS_OAEP, OaepParams("SHA512"), 126),
    ],
)
def test_encryption_takes_what_fits_and_not_a_byte_more(mechanism, params, most, public, private, system):
    """The padding leaves so many bytes; they come back, and one more is refused."""
    for length in (0, 1, most):
        sealed = encrypt(public, mechanism, b"\x05" * length, params, system)
        assert len(sealed) == 256
        assert decrypt(private, mechanism, sealed, params) == b"\x05" * length
    with pytest.raises(DataInvalid, match=f"at most {most} bytes") as caught:
        encrypt(public, mechanism, bytes(most + 1), params, system)
    assert caught.value.ckr is CKR.DATA_LEN_RANGE


def test_the_bare_operation_is_arithmetic(public, private, system):
    """RSA_X_509 pads with zeros on the left and takes every number below the modulus."""
    numbers = public.native.public_numbers()
    for number in (0, 1, 0xABCDEF, numbers.n - 1):
        data = number.to_bytes(256, "big")
        sealed = encrypt(public, CKM.RSA_X_509, data.lstrip(b"\0"), None, system)
        assert int.from_bytes(sealed, "big") == pow(number, numbers.e, numbers.n)
        assert decrypt(private, CKM.RSA_X_509, sealed) == data
    for used, attempt in ((public, encrypt), (private, sign)):
        with pytest.raises(DataInvalid, match="below the modulus") as caught:
            attempt(used, CKM.RSA_X_509, b"\xff" * 256, None, system)
        assert caught.value.ckr is CKR.DATA_INVALID
    with pytest.raises(DataInvalid, match="at most 256"):
        encrypt(public, CKM.RSA_X_509, bytes(257), None, system)


@pytest.mark.parametrize("mechanism", [CKM.RSA_PKCS, CKM.RSA_PKCS_OAEP, CKM.RSA_X_509])
def test_ciphertexts_have_the_length_of_the_modulus(mechanism, private):
    """Anything else cannot be a ciphertext of this key."""
    for length in (0, 255, 257):
        with pytest.raises(DataInvalid, match="256 bytes") as caught:
            decrypt(private, mechanism, bytes(length))
        assert caught.value.ckr is CKR.ENCRYPTED_DATA_LEN_RANGE


def test_a_damaged_ciphertext_does_not_decrypt(public, private, system):
    """OAEP refuses damage; PKCS #1 v1.5 refuses it or answers with other bytes, never with the data."""
    for mechanism in (CKM.RSA_PKCS_OAEP, CKM.RSA_PKCS):
        sealed = bytearray(encrypt(public, mechanism, b"data", None, system))
        sealed[40] ^= 1
        if mechanism is CKM.RSA_PKCS_OAEP:
            with pytest.raises(DataInvalid, match="refuses this ciphertext"):
                decrypt(private, mechanism, bytes(sealed))
        else:
            assert decrypt(private, mechanism, bytes(sealed)) != b"data"
    with pytest.raises(DataInvalid, match="RSA_PKCS refuses"):
        decrypt(private, CKM.RSA_PKCS, b"\xff" * 256)


@pytest.mark.parametrize(
    ("mechanism", "params"),
    [
        (CKM.RSA_PKCS, OaepParams()),
        (CKM.RSA_X_509, OaepParams()),
        (CKM.RSA_PKCS_OAEP, IvParams(b"")),
        (CKM.RSA_PKCS_OAEP, OaepParams("SHA256", "SHA1")),
        (CKM.RSA_PKCS_OAEP, OaepParams("MD5")),
    ],
)
def test_wrong_encryption_parameters_are_refused(mechanism, params, public, private, system):
    """Foreign parameters, unknown hashes and a mask with another hash are refused."""
    for attempt in (
        lambda: encrypt(public, mechanism, b"", params, system),
        lambda: decrypt(private, mechanism, bytes(256), params),
    ):
        with pytest.raises(MechanismInvalid) as caught:
            attempt()
        assert caught.value.ckr is CKR.MECHANISM_PARAM_INVALID
