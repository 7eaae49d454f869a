"""Do derived keys agree with NIST's vectors for ECDH, X9.63 and SP 800-108?"""

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pytest_hsmcluster.cryptoki import CKD, CKM, CKO, CKR
from pytest_hsmcluster.errors import DataInvalid, MechanismInvalid, TemplateInvalid
from pytest_hsmcluster.keys.curves import find_curve
from pytest_hsmcluster.keys.material import generate_pair, generate_secret, import_material
from pytest_hsmcluster.keys.mechanisms import CounterKdfParams, EcdhParams, IvParams, derive
from pytest_hsmcluster.keys.reading import ec_point, octet_string

PARAMETER_SETS = {"EB": "secp224r1", "EC": "secp256r1", "ED": "secp384r1", "EE": "secp521r1"}
KDFS = {
    "SHA-1": CKD.CLOUDHSM_X963_SHA1_KDF,
    "SHA-224": CKD.CLOUDHSM_X963_SHA224_KDF,
    "SHA-256": CKD.CLOUDHSM_X963_SHA256_KDF,
    "SHA-384": CKD.CLOUDHSM_X963_SHA384_KDF,
    "SHA-512": CKD.CLOUDHSM_X963_SHA512_KDF,
}
PRFS = {f"HMAC_SHA{size}": CKM[f"SHA{size}_HMAC"] for size in (224, 256, 384, 512)} | {
    "HMAC_SHA1": CKM.SHA_1_HMAC,
    "CMAC_AES128": CKM.AES_CMAC,
    "CMAC_AES192": CKM.AES_CMAC,
    "CMAC_AES256": CKM.AES_CMAC,
}


def private_key(curve, scalar):
    key = ec.derive_private_key(scalar, find_curve(curve).native)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return import_material("EC", CKO.PRIVATE_KEY, der)


@pytest.mark.parametrize("role", ["init", "resp"])
def test_shared_secrets_are_nists(role, records):
    """Plain ECDH gives NIST's shared secrets wherever the vector's keys are sound."""
    seen = {}
    for record in records(f"asymmetric/ECDH/KASValidityTest_ECCStaticUnified_NOKC_ZZOnly_{role}.fax"):
        curve = PARAMETER_SETS.get(record.get("section", "").split(" - ")[0])
        if curve is None or "Z" not in record or record["Result"][0] != "P":
            continue
        nbytes = (find_curve(curve).bits + 7) // 8
        point = b"\x04" + b"".join(int(record[f"QsCAVS{axis}"], 16).to_bytes(nbytes, "big") for axis in "xy")
        base = private_key(curve, int(record["dsIUT"], 16))
        made = derive(base, CKM.ECDH1_DERIVE, EcdhParams(point, CKD.NULL), "GENERIC_SECRET", nbytes * 8)
        assert int.from_bytes(made.encoded, "big") == int(record["Z"], 16)
        seen[curve] = seen.get(curve, 0) + 1
    assert len(seen) == 4
    assert min(seen.values()) >= 5


def test_the_x963_kdfs_are_nists(records, monkeypatch):
    """With NIST's shared secrets, each X9.63 KDF gives NIST's key data."""
    import pytest_hsmcluster.keys.derivation as derivation

    class Fixed:
        """A private key whose exchange has the vector's outcome: the vectors do not say which keys led to it."""

        def __init__(self, shared):
            self.shared = shared

        def exchange(self, algorithm, peer):
            return self.shared

    class Base:
        curve = "secp256r1"

        def __init__(self, shared):
            self.native = Fixed(shared)

    monkeypatch.setattr(derivation, "_peer", lambda base, peer: peer)
    seen = {}
    for record in records("KDF/ansx963_2001.txt"):
        if record.get("section") not in KDFS or "key_data" not in record:
            continue
        params = EcdhParams(b"", KDFS[record["section"]], bytes.fromhex(record["SharedInfo"]))
        nbytes = int(record["key data length"]) // 8
        made = derivation._ecdh(Base(bytes.fromhex(record["Z"])), params, nbytes)
        assert made.hex() == record["key_data"]
        seen[record["section"]] = seen.get(record["section"], 0) + 1
    assert len(seen) == 5
    assert min(seen.values()) == 20


@pytest.mark.parametrize("curve", ["P-224", "P-256", "secp256k1", "P-384", "P-521"])
@pytest.mark.parametrize("kdf", CKD)
def test_both_sides_derive_the_same_key(curve, kdf, system):
    """Each side's private and the other's public key give one AES key, with every KDF."""
    sides = [generate_pair("EC", curve, system) for _ in range(2)]
    keys = [
        derive(own, CKM.ECDH1_DERIVE, EcdhParams(peer, kdf, value_bytes=16), "AES")
        for (_, own), (peer, _) in (sides, sides[::-1])
    ]

    assert keys[0] == keys[1]
    assert (keys[0].kind, keys[0].bits) == ("AES", 128)


def test_an_x963_key_is_the_hash_of_secret_counter_and_info(system):
    """By hand: SHA-256 over shared secret, counter 1 and the shared info."""
    (_, own), (peer, _) = (generate_pair("EC", "P-256", system) for _ in range(2))
    shared = derive(own, CKM.ECDH1_DERIVE, EcdhParams(peer, CKD.NULL), bits=256).encoded
    made = derive(own, CKM.ECDH1_DERIVE, EcdhParams(peer, shared_info=b"info"), bits=256)

    assert made.encoded == hashlib.sha256(shared + b"\x00\x00\x00\x01" + b"info").digest()


def test_a_peer_may_come_as_a_point(system):
    """Material, raw point, compressed point and DER OCTET STRING all mean the same peer."""
    for curve in ("P-256", "P-521"):
        (_, own), (peer, _) = (generate_pair("EC", curve, system) for _ in range(2))
        point = ec_point(peer)
        compressed = peer.native.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
        spellings = (peer, point, compressed, octet_string(point), octet_string(compressed))
        keys = {derive(own, CKM.ECDH1_DERIVE, EcdhParams(spelling), bits=256) for spelling in spellings}
        assert len(keys) == 1


def test_without_a_kdf_leading_bytes_are_cut(system):
    """PKCS #11 truncates the bare shared secret from its leading end, and cannot lengthen it."""
    (_, own), (peer, _) = (generate_pair("EC", "P-384", system) for _ in range(2))
    whole = derive(own, CKM.ECDH1_DERIVE, EcdhParams(peer, CKD.NULL), bits=384).encoded

    assert derive(own, CKM.ECDH1_DERIVE, EcdhParams(peer, CKD.NULL), "AES", 128).encoded == whole[-16:]
    with pytest.raises(DataInvalid, match="gives 48 bytes") as caught:
        derive(own, CKM.ECDH1_DERIVE, EcdhParams(peer, CKD.NULL), bits=392)
    assert caught.value.ckr is CKR.KEY_SIZE_RANGE


def test_wrong_ecdh_parameters_are_refused(system):
    """A peer of another curve or half, a point off the curve, a foreign KDF: all are refused."""
    public, private = generate_pair("EC", "P-256", system)
    elsewhere, _ = generate_pair("EC", "P-384", system)
    off_curve = b"\x04" + bytes(63) + b"\x01"
    for params in (
        None,
        CounterKdfParams(),
        EcdhParams(elsewhere),
        EcdhParams(private),
        EcdhParams(generate_secret("AES", 128, system)),
        EcdhParams("point"),
        EcdhParams(off_curve),
        EcdhParams(b""),
        EcdhParams(octet_string(off_curve)),
        EcdhParams(public, 99),
        EcdhParams(public, CKD.NULL, b"info"),
    ):
        with pytest.raises(MechanismInvalid) as caught:
            derive(private, CKM.ECDH1_DERIVE, params, bits=128)
        assert caught.value.ckr is CKR.MECHANISM_PARAM_INVALID


def test_the_counter_kdf_is_nists(records, secret):
    """SP 800-108 in counter mode gives NIST's keys for every PRF, counter length and place."""
    seen = set()
    for record in records("KDF/nist-800-108-KBKDF-CTR.txt"):
        if record.get("PRF") not in PRFS or "KO" not in record:
            continue
        place = record["CTRLOCATION"]
        if place == "MIDDLE_FIXED":
            before = bytes.fromhex(record["DataBeforeCtrData"])
            fixed, at = before + bytes.fromhex(record["DataAfterCtrData"]), len(before)
        else:
            fixed, at = bytes.fromhex(record["FixedInputData"]), "before" if place == "BEFORE_FIXED" else "after"
        params = CounterKdfParams(
            PRFS[record["PRF"]], counter_bits=int(record["RLEN"].split("_")[0]), fixed=fixed, counter_at=at
        )
        base = secret("AES" if "CMAC" in record["PRF"] else "GENERIC_SECRET", record["KI"])
        made = derive(base, CKM.SP800_108_COUNTER_KDF, params, bits=int(record["L"]))
        assert made.encoded.hex() == record["KO"]
        seen.add((record["PRF"], place, record["RLEN"]))
    assert len(seen) == 8 * 3 * 4


def test_label_and_context_make_the_fixed_input(secret):
    """Label, a zero byte, context and the length in bits are what is hashed with the counter."""
    base = secret("GENERIC_SECRET", bytes(range(32)))
    fixed = b"label" + b"\x00" + b"context" + (256).to_bytes(4, "big")
    named = CounterKdfParams(CKM.SHA384_HMAC, b"label", b"context", value_bytes=32)

    made = derive(base, CKM.SP800_108_COUNTER_KDF, named, "AES")
    assert (
        made.encoded
        == derive(base, CKM.SP800_108_COUNTER_KDF, CounterKdfParams(CKM.SHA384_HMAC, fixed=fixed), "AES", 256).encoded
    )
    assert (made.kind, made.bits) == ("AES", 256)


@pytest.mark.parametrize(
    "params",
    [
        None,
        IvParams(b""),
        CounterKdfParams(counter_bits=12),
        CounterKdfParams(length_bits=12),
        CounterKdfParams(length_bits=72),
        CounterKdfParams(label=b"x", fixed=b"y"),
        CounterKdfParams(length_bits=8),
        CounterKdfParams(fixed=b"abc", counter_at=4),
        CounterKdfParams(fixed=b"abc", counter_at=-1),
        CounterKdfParams(CKM.SHA256),
        CounterKdfParams(CKM.SHA_1_HMAC, counter_bits=8, fixed=b"x"),
    ],
)
def test_wrong_counter_kdf_parameters_are_refused(params, secret):
    """Sizes, places and PRFs that the KDF has not are refused."""
    base = secret("GENERIC_SECRET", bytes(32))
    bits = 8 * (256 * 20 + 1) if params == CounterKdfParams(CKM.SHA_1_HMAC, counter_bits=8, fixed=b"x") else 256
    with pytest.raises(MechanismInvalid) as caught:
        derive(base, CKM.SP800_108_COUNTER_KDF, params, bits=bits, max_generic_bytes=8000)
    assert caught.value.ckr is CKR.MECHANISM_PARAM_INVALID


def test_cmac_wants_an_aes_base_key(secret):
    """AES-CMAC as PRF with a key that is no AES key does not fit."""
    with pytest.raises(MechanismInvalid, match="needs an AES base key") as caught:
        derive(secret("GENERIC_SECRET", bytes(16)), CKM.SP800_108_COUNTER_KDF, CounterKdfParams(CKM.AES_CMAC), bits=128)
    assert caught.value.ckr is CKR.KEY_TYPE_INCONSISTENT


def test_the_derived_key_has_an_allowed_kind_and_size(secret):
    """A derived key is a secret key of a size that the service offers, said once and without contradiction."""
    base = secret("AES", bytes(16))

    def made(kind="GENERIC_SECRET", bits=0, value_bytes=None, **limits):
        params = CounterKdfParams(value_bytes=value_bytes)
        return derive(base, CKM.SP800_108_COUNTER_KDF, params, kind, bits, **limits)

    assert made("DES3").bits == 192
    assert made(bits=8 * 800).bits == 6400
    with pytest.raises(TemplateInvalid, match="16 bytes, the call for 256 bits"):
        made("AES", 256, 16)
    with pytest.raises(TemplateInvalid, match="how long the key is") as caught:
        made("AES")
    assert caught.value.ckr is CKR.TEMPLATE_INCOMPLETE
    with pytest.raises(TemplateInvalid, match="128, 192 or 256"):
        made("AES", 64)
    with pytest.raises(TemplateInvalid, match="1 to 64"):
        made(bits=8 * 65, max_generic_bytes=64)
    with pytest.raises(TemplateInvalid, match="derived key"):
        made("RSA", 2048)
