"""Does ECDSA agree with NIST's vectors and RFC 6979, in PKCS #11's raw layout?"""

import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pytest_hsmcluster.cryptoki import CKM, CKO, CKR
from pytest_hsmcluster.errors import DataInvalid, MechanismInvalid, SignatureInvalid
from pytest_hsmcluster.keys.curves import find_curve
from pytest_hsmcluster.keys.hashing import hashed
from pytest_hsmcluster.keys.material import Material, generate_pair, import_material
from pytest_hsmcluster.keys.mechanisms import IvParams, sign, verify

HALF = {"secp224r1": 28, "secp256r1": 32, "secp256k1": 32, "secp384r1": 48, "secp521r1": 66}
NIST = {"P-224": "secp224r1", "P-256": "secp256r1", "P-384": "secp384r1", "P-521": "secp521r1", "K-256": "secp256k1"}


def public_key(curve, record):
    """Return the public key of a vector."""
    numbers = ec.EllipticCurvePublicNumbers(int(record["Qx"], 16), int(record["Qy"], 16), find_curve(curve).native)
    der = numbers.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return import_material("EC", CKO.PUBLIC_KEY, der)


def raw(curve, r, s):
    return int(r, 16).to_bytes(HALF[curve], "big") + int(s, 16).to_bytes(HALF[curve], "big")


def cases(records, path):
    for record in records(path):
        curve, _, name = record.get("section", "").partition(",")
        name = name.replace("-", "")
        if curve in NIST and "Qx" in record:
            yield NIST[curve], CKM[f"ECDSA_{name}"], name, record


@pytest.mark.parametrize("path", ["FIPS_186-3/SigGen.txt", "SECP256K1/SigGen.txt"])
def test_published_signatures_are_accepted(path, records):
    """NIST's generated signatures verify: over the message, and over its digest with bare ECDSA."""
    seen = set()
    for curve, mechanism, name, record in cases(records, f"asymmetric/ECDSA/{path}"):
        key, message = public_key(curve, record), bytes.fromhex(record["Msg"])
        signature = raw(curve, record["R"], record["S"])
        verify(key, mechanism, message, signature)
        verify(key, CKM.ECDSA, hashed(name, message), signature)
        seen.add((curve, name))
    assert len(seen) >= (20 if "FIPS" in path else 3)


def test_published_verdicts_are_kept(records):
    """What NIST's verification vectors pass is accepted, what they fail is refused."""
    seen = {"P": 0, "F": 0}
    for curve, mechanism, _, record in cases(records, "asymmetric/ECDSA/FIPS_186-3/SigVer.rsp"):
        verdict = record["Result"][0]
        try:
            key = public_key(curve, record)
        except ValueError:
            assert verdict == "F"  # the point of the vector is not on its curve
            continue
        message, signature = bytes.fromhex(record["Msg"]), raw(curve, record["R"], record["S"])
        if verdict == "P":
            verify(key, mechanism, message, signature)
        else:
            with pytest.raises(SignatureInvalid):
                verify(key, mechanism, message, signature)
        seen[verdict] += 1
    assert seen["P"] >= 20
    assert seen["F"] >= 100


def test_deterministic_signatures_are_rfc_6979s(seeded):
    """A seeded source signs with exactly the nonces of RFC 6979."""
    vectors = pytest.importorskip("cryptography_vectors")
    with vectors.open_vector_file("asymmetric/ECDSA/RFC6979/evppkey_ecdsa_rfc6979.txt", "r") as file:
        text = file.read()
    pems = dict(re.findall(r"PrivateKey=(\S+)\n(-----BEGIN.*?-----END PRIVATE KEY-----)", text, re.S))
    pattern = r'DigestSign = (\w+)\nKey = (\S+)\nNonceType = deterministic\nInput = "(\w+)"\nOutput = (\w+)'
    seen = set()
    for name, key_name, message, output in re.findall(pattern, text):
        if key_name.removesuffix("_PRIV") not in NIST:
            continue
        private = import_material("EC", CKO.PRIVATE_KEY, pems[key_name].encode())
        r, s = decode_dss_signature(bytes.fromhex(output))
        expected = raw(private.curve, f"{r:x}", f"{s:x}")
        mechanism = CKM[f"ECDSA_{name}"]
        assert sign(private, mechanism, message.encode(), None, seeded("any")) == expected
        assert sign(private, CKM.ECDSA, hashed(name, message.encode()), None, seeded("other")) == expected
        seen.add((private.curve, name))
    assert len(seen) == 20


@pytest.mark.parametrize("curve", HALF)
@pytest.mark.parametrize("name", ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"])
def test_every_hash_signs_on_every_curve(curve, name, system):
    """A signature has twice the order's bytes, verifies, and fits no other data."""
    public, private = generate_pair("EC", curve, system)
    mechanism = CKM[f"ECDSA_{name}"]
    signature = sign(private, mechanism, b"data", None, system)

    assert len(signature) == 2 * HALF[curve]
    verify(public, mechanism, b"data", signature)
    verify(public, CKM.ECDSA, hashed(name, b"data"), signature)
    with pytest.raises(SignatureInvalid) as caught:
        verify(public, mechanism, b"other", signature)
    assert caught.value.ckr is CKR.SIGNATURE_INVALID
    for wrong in (signature + b"\0", signature[1:], b""):
        with pytest.raises(SignatureInvalid) as caught:
            verify(public, mechanism, b"data", wrong)
        assert caught.value.ckr is CKR.SIGNATURE_LEN_RANGE
    for wrong in (bytes(len(signature)), b"\xff" * len(signature)):
        with pytest.raises(SignatureInvalid):
            verify(public, mechanism, b"data", wrong)


@pytest.mark.parametrize("curve", HALF)
def test_bare_ecdsa_takes_digests_of_any_length(curve, seeded, system):
    """A digest of odd length stands for the same number as with zeros before it, a long one is cut."""
    public, private = generate_pair("EC", curve, system)
    for length in range(1, 65):
        digest = bytes(range(1, length + 1))
        for source in (system, seeded("a")):
            verify(public, CKM.ECDSA, digest, sign(private, CKM.ECDSA, digest, None, source))
    signature = sign(private, CKM.ECDSA, b"\x07" * 16, None, system)
    verify(public, CKM.ECDSA, b"\0\0\0\0" + b"\x07" * 16, signature)


@pytest.mark.parametrize("length", [0, 65, 1000])
def test_bare_ecdsa_refuses_what_is_no_digest(length, system):
    """No data, or more than the longest digest, is refused with the way out."""
    public, private = generate_pair("EC", "P-256", system)
    for attempt in (
        lambda: sign(private, CKM.ECDSA, bytes(length), None, system),
        lambda: verify(public, CKM.ECDSA, bytes(length), bytes(64)),
    ):
        with pytest.raises(DataInvalid, match="ECDSA_SHA1") as caught:
            attempt()
        assert caught.value.ckr is CKR.DATA_LEN_RANGE


@pytest.mark.parametrize("mechanism", [CKM.ECDSA, CKM.ECDSA_SHA256])
def test_ecdsa_takes_no_parameters(mechanism, system):
    """A parameter for a mechanism without any is a mistake."""
    public, private = generate_pair("EC", "P-256", system)
    for attempt in (
        lambda: sign(private, mechanism, bytes(32), IvParams(b""), system),
        lambda: verify(public, mechanism, bytes(32), bytes(64), IvParams(b"")),
    ):
        with pytest.raises(MechanismInvalid, match="takes no parameters"):
            attempt()


def test_a_cloned_key_signs(system):
    """A key that travelled as bytes signs what its original verifies."""
    public, private = generate_pair("EC", "P-521", system)
    clone = Material("EC", CKO.PRIVATE_KEY, private.encoded, 521, "secp521r1")

    verify(public, CKM.ECDSA_SHA512, b"data", sign(clone, CKM.ECDSA_SHA512, b"data", None, system))
