"""Are keys made, taken in, wrapped and derived as PKCS#11 and CloudHSM say?"""

import ctypes as c

import pytest
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from pytest_hsmcluster import CKA, CKD, CKK, CKM, CKO, CKR
from tests.pkcs11.ckcalls import (
    ULONG,
    Ecdh,
    Oaep,
    RsaAes,
    counter_kdf,
    gcm,
    mechanism,
    refused,
    template,
    written_iv,
)

AES = bytes(range(32))
KEK = bytes(range(100, 132))
P256 = bytes.fromhex("06082a8648ce3d030107")


def unwrapped(size=None, **more):
    wanted = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.ENCRYPT: True}
    return wanted | {CKA[name]: one for name, one in more.items()}


def block(ck, session, key):
    """Return what only this key makes of a block of zeros."""
    return ck.once(session, "Encrypt", mechanism(CKM.AES_ECB), key, bytes(16))


def block_of(value):
    context = Cipher(algorithms.AES(value), modes.ECB()).encryptor()
    return context.update(bytes(16)) + context.finalize()


@pytest.fixture
def kek(ck, session):
    return ck.secret(session, KEK, WRAP=True, UNWRAP=True)


@pytest.fixture
def dek(ck, session):
    return ck.secret(session, AES, ENCRYPT=True)


# -- making -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wanted", "ckr"),
    [
        (CKM.AES_KEY_GEN, {}, CKR.TEMPLATE_INCOMPLETE),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 33}, CKR.KEY_SIZE_RANGE),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.KEY_TYPE: CKK.DES3}, CKR.TEMPLATE_INCONSISTENT),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.CLASS: CKO.PUBLIC_KEY}, CKR.TEMPLATE_INCONSISTENT),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, 0x9999: b"x"}, CKR.TEMPLATE_INCONSISTENT),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.VALUE: AES}, CKR.TEMPLATE_INCONSISTENT),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: b"\x20"}, CKR.ATTRIBUTE_VALUE_INVALID),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.TOKEN: b"\1\1"}, CKR.ATTRIBUTE_VALUE_INVALID),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.LABEL: b"\xff\xfe"}, CKR.ATTRIBUTE_VALUE_INVALID),
        (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.LOCAL: True}, CKR.ATTRIBUTE_READ_ONLY),
        (CKM.AES_ECB, {CKA.VALUE_LEN: 32}, CKR.MECHANISM_INVALID),
        (CKM.EC_KEY_PAIR_GEN, {CKA.VALUE_LEN: 32}, CKR.TEMPLATE_INCONSISTENT),
    ],
)
def test_templates_that_do_not_fit_are_refused(ck, session, hsm_cluster, kind, wanted, ckr):
    """Each with the value that the guide names, and nothing is made."""
    with refused(ckr):
        ck.generate(session, kind, wanted)
    assert not any(hsm.keys for hsm in hsm_cluster.hsms)


def test_a_template_says_nothing_twice(ck, session):
    """CKR_TEMPLATE_INCONSISTENT; and what is to be made needs a template."""
    number, how = ULONG(), c.byref(mechanism(CKM.AES_KEY_GEN))
    twice = template([(CKA.VALUE_LEN, 32), (CKA.VALUE_LEN, 16)])
    assert ck.rv("C_GenerateKey", session, how, twice, 2, c.byref(number)) == CKR.TEMPLATE_INCONSISTENT
    assert ck.rv("C_GenerateKey", session, how, None, 2, c.byref(number)) == CKR.ARGUMENTS_BAD
    assert ck.rv("C_GenerateKey", session, how, template({CKA.VALUE_LEN: 32}), 1, None) == CKR.ARGUMENTS_BAD


def test_defaults_are_those_of_the_guide(ck, session):
    """No use is allowed unless asked for, but secret keys that are made sign and verify."""
    made = ck.generate(session, CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32})
    taken = ck.create(session, {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: AES})
    told = {
        name: (ck.attribute(session, made, CKA[name]) == b"\1", ck.attribute(session, taken, CKA[name]) == b"\1")
        for name in (
            *("TOKEN", "PRIVATE", "MODIFIABLE", "DESTROYABLE", "SENSITIVE", "EXTRACTABLE", "LOCAL"),
            *("ENCRYPT", "DECRYPT", "WRAP", "UNWRAP", "DERIVE", "SIGN", "VERIFY", "TRUSTED", "WRAP_WITH_TRUSTED"),
        )
    }
    assert [name for name, (first, _) in told.items() if first] == [
        *("PRIVATE", "MODIFIABLE", "DESTROYABLE", "SENSITIVE", "EXTRACTABLE", "LOCAL", "SIGN", "VERIFY")
    ]
    assert [name for name, (_, second) in told.items() if second] == [
        *("PRIVATE", "MODIFIABLE", "DESTROYABLE", "SENSITIVE", "EXTRACTABLE")
    ]


def test_a_token_key_is_on_every_hsm_and_a_session_key_on_one(ck, session, hsm_cluster):
    """CKA_TOKEN is false unless asked for."""
    ck.aes(session, "kek")
    ck.generate(session, CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32})
    assert sorted(len(hsm.keys) for hsm in hsm_cluster.hsms) == [1, 1, 2]


def test_a_use_that_is_not_allowed_is_refused_when_it_begins(ck, session):
    """CKR_KEY_FUNCTION_NOT_PERMITTED."""
    key = ck.aes(session, "kek", ENCRYPT=False)
    with refused(CKR.KEY_FUNCTION_NOT_PERMITTED):
        ck.ok("C_EncryptInit", session, c.byref(mechanism(CKM.AES_ECB)), key)


@pytest.mark.hsm_cluster(duplicates="refused", sdk=3)
def test_a_second_key_of_a_label_is_refused_and_exists_all_the_same(ck, session, hsm_cluster):
    """What field reports say of SDK 3: CKR_ATTRIBUTE_VALUE_INVALID, and there it is."""
    ck.aes(session, "kek")
    with refused(CKR.ATTRIBUTE_VALUE_INVALID):
        ck.aes(session, "kek")
    assert len(ck.find(session, {CKA.LABEL: "kek"})) == 2


@pytest.mark.parametrize("sdk", [pytest.param(n, marks=pytest.mark.hsm_cluster(sdk=n)) for n in (3, 5)])
def test_labels_are_not_unique_by_default(ck, session, sdk):
    """`duplicates="refused"` is a quirk that one asks for."""
    ck.aes(session, "kek")
    ck.aes(session, "kek")
    assert len(ck.find(session, {CKA.LABEL: "kek"})) == 2


def test_session_keys_of_an_application_live_on_one_hsm(ck, session, hsm_cluster):
    """So that one can wrap another; a guess, which `session_keys_together=False` undoes."""
    for _ in range(3):
        ck.generate(session, CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32})
    assert sorted(len(hsm.keys) for hsm in hsm_cluster.hsms) == [0, 0, 3]


@pytest.mark.hsm_cluster(session_keys_together=False)
def test_session_keys_can_live_anywhere(ck, session, hsm_cluster):
    """Then routing decides where each is made."""
    for _ in range(3):
        ck.generate(session, CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32})
    assert [len(hsm.keys) for hsm in hsm_cluster.hsms] == [1, 1, 1]


# -- taking in ------------------------------------------------------------------------------------


def test_rsa_keys_are_taken_in_by_their_parts(ck, session):
    """The private one by all eight numbers; what it signs its public key verifies."""
    theirs = rsa.generate_private_key(65537, 2048).private_numbers()
    parts = {0x123: theirs.d, 0x124: theirs.p, 0x125: theirs.q}
    parts |= {0x126: theirs.dmp1, 0x127: theirs.dmq1, 0x128: theirs.iqmp}
    raw = {number: value.to_bytes((value.bit_length() + 7) // 8, "big") for number, value in parts.items()}
    common = {CKA.KEY_TYPE: CKK.RSA, CKA.PUBLIC_EXPONENT: b"\1\0\1"}
    common[CKA.MODULUS] = theirs.public_numbers.n.to_bytes(256, "big")
    private = ck.create(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.SIGN: True, **common, **raw})
    public = ck.create(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.VERIFY: True, **common})
    how = mechanism(CKM.SHA256_RSA_PKCS)
    ck.verify(session, how, public, b"data", ck.once(session, "Sign", how, private, b"data"))
    with refused(CKR.ATTRIBUTE_VALUE_INVALID):
        ck.create(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.SIGN: True, **common, **raw, 0x125: raw[0x124]})


def test_ec_keys_are_taken_in_by_their_parts(ck, session):
    """The private one by its number, the public one by its point, in a DER OCTET STRING or without one."""
    theirs = ec.generate_private_key(ec.SECP256R1())
    value = theirs.private_numbers().private_value.to_bytes(32, "big")
    numbers = theirs.public_key().public_numbers()
    point = b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    common = {CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: P256}
    private = ck.create(session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.VALUE: value, CKA.SIGN: True, **common})
    how = mechanism(CKM.ECDSA_SHA256)
    signature = ck.once(session, "Sign", how, private, b"data")
    for encoded in (b"\x04\x41" + point, point):
        public = ck.create(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.EC_POINT: encoded, CKA.VERIFY: True, **common})
        ck.verify(session, how, public, b"data", signature)


@pytest.mark.parametrize(
    ("wanted", "ckr"),
    [
        ({}, CKR.TEMPLATE_INCOMPLETE),
        ({CKA.CLASS: CKO.SECRET_KEY}, CKR.TEMPLATE_INCOMPLETE),
        ({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES}, CKR.TEMPLATE_INCOMPLETE),
        ({CKA.CLASS: 0, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: AES}, CKR.ATTRIBUTE_VALUE_INVALID),
        ({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: 0x1234, CKA.VALUE: AES}, CKR.ATTRIBUTE_VALUE_INVALID),
        ({CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: AES}, CKR.TEMPLATE_INCONSISTENT),
        (
            {CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: P256, CKA.EC_POINT: b"\4" * 65},
            CKR.ATTRIBUTE_VALUE_INVALID,
        ),
        (
            {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: AES, CKA.PUBLIC_EXPONENT: b"\3"},
            CKR.TEMPLATE_INCOMPLETE,
        ),
        (
            {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: AES, CKA.PRIVATE: False},
            CKR.ATTRIBUTE_READ_ONLY,
        ),
        (
            {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: AES, CKA.EC_POINT: AES},
            CKR.TEMPLATE_INCONSISTENT,
        ),
    ],
)
def test_what_is_no_key_is_not_taken_in(ck, session, wanted, ckr):
    """Each with its return value."""
    with refused(ckr):
        ck.create(session, wanted)


# -- wrapping --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "theirs"),
    [
        (CKM.CLOUDHSM_AES_KEY_WRAP_NO_PAD, keywrap.aes_key_unwrap),
        (CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, keywrap.aes_key_unwrap_with_padding),
        (CKM.CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, lambda kek, blob: keywrap.aes_key_unwrap(kek, blob)[:32]),
    ],
)
def test_wraps_are_those_of_the_rfcs(ck, session, kek, dek, number, theirs):
    """RFC 3394, RFC 5649, and the vendor's with PKCS #5 padding; a wrapped key comes back."""
    blob = ck.wrap(session, mechanism(number), kek, dek)
    assert theirs(KEK, blob) == AES
    again = ck.unwrap(session, mechanism(number), kek, blob, unwrapped())
    assert block(ck, session, again) == block_of(AES)
    with refused(CKR.WRAPPED_KEY_INVALID):
        ck.unwrap(session, mechanism(number), kek, bytes(len(blob)), unwrapped())


def test_gcm_wraps_with_an_iv_of_the_hsms(ck, session, kek, dek):
    """Written back for CKM_AES_GCM, in front for the vendor's."""
    params = gcm(bytes(12), b"aad")
    blob = ULONG(64)
    buffer = c.create_string_buffer(64)
    ck.ok("C_WrapKey", session, c.byref(mechanism(CKM.AES_GCM, params)), kek, dek, buffer, c.byref(blob))
    iv = written_iv(params)
    assert iv != bytes(12) and blob.value == 48
    again = ck.unwrap(session, mechanism(CKM.AES_GCM, gcm(iv, b"aad")), kek, buffer.raw[:48], unwrapped())
    assert block(ck, session, again) == block_of(AES)
    how = mechanism(CKM.CLOUDHSM_AES_GCM, gcm(None))
    sealed = ck.wrap(session, how, kek, dek)
    assert len(sealed) == 60
    assert block(ck, session, ck.unwrap(session, how, kek, sealed, unwrapped())) == block_of(AES)


@pytest.mark.hsm_cluster(keys="seeded")
@pytest.mark.parametrize("number", [CKM.RSA_PKCS_OAEP, CKM.RSA_AES_KEY_WRAP])
def test_rsa_wraps_come_back(ck, session, dek, number):
    """OAEP for short keys, and the one with a one-time AES key in between."""
    public, private = ck.generate_pair(
        session,
        CKM.RSA_PKCS_KEY_PAIR_GEN,
        {CKA.MODULUS_BITS: 2048, CKA.PUBLIC_EXPONENT: b"\1\0\1", CKA.WRAP: True},
        {CKA.UNWRAP: True},
    )
    oaep = Oaep(CKM.SHA256, 2, 1, None, 0)
    how = mechanism(number, oaep if number is CKM.RSA_PKCS_OAEP else RsaAes(256, c.pointer(oaep)))
    blob = ck.wrap(session, how, public, dek)
    assert block(ck, session, ck.unwrap(session, how, private, blob, unwrapped())) == block_of(AES)
    if number is CKM.RSA_PKCS_OAEP:
        modulus = int.from_bytes(ck.attribute(session, public, CKA.MODULUS), "big")
        theirs = rsa.RSAPublicNumbers(65537, modulus).public_key()
        sealed = theirs.encrypt(KEK, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
        assert block(ck, session, ck.unwrap(session, how, private, sealed, unwrapped())) == block_of(KEK)


def test_a_key_that_must_not_leave_stays(ck, session, kek):
    """CKR_KEY_UNEXTRACTABLE; and each wrong handle is told apart."""
    how = mechanism(CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD)
    kept = ck.aes(session, "kept", EXTRACTABLE=False)
    with refused(CKR.KEY_UNEXTRACTABLE):
        ck.output("C_WrapKey", session, c.byref(how), kek, kept)
    for first, second, ckr in (
        (999, kept, CKR.WRAPPING_KEY_HANDLE_INVALID),
        (kek, 999, CKR.KEY_HANDLE_INVALID),
    ):
        with refused(ckr):
            ck.wrap(session, how, first, second)
    with refused(CKR.UNWRAPPING_KEY_HANDLE_INVALID):
        ck.unwrap(session, how, 999, bytes(40), unwrapped())


@pytest.mark.parametrize("sdk", [pytest.param(n, marks=pytest.mark.hsm_cluster(sdk=n)) for n in (3, 5)])
def test_two_wraps_are_sdk_3s_alone(ck, session, kek, dek, sdk, hsm_cluster):
    """CKM_AES_KEY_WRAP and CKM_AES_KEY_WRAP_PAD."""
    for number in (CKM.AES_KEY_WRAP, CKM.AES_KEY_WRAP_PAD):
        if hsm_cluster.profile.sdk == 3:
            assert ck.wrap(session, mechanism(number), kek, dek)
        else:
            with refused(CKR.MECHANISM_INVALID):
                ck.wrap(session, mechanism(number), kek, dek)


# -- deriving --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize(
    ("kdf", "hashed"),
    [
        (CKD.CLOUDHSM_X963_SHA1_KDF, hashes.SHA1()),
        (CKD.CLOUDHSM_X963_SHA256_KDF, hashes.SHA256()),
        (CKD.CLOUDHSM_X963_SHA512_KDF, hashes.SHA512()),
    ],
)
def test_ecdh_agrees_with_the_other_side(ck, session, kdf, hashed, encoded):
    """X9.63 over the shared secret, with shared information."""
    theirs = ec.generate_private_key(ec.SECP256R1())
    public, private = ck.generate_pair(session, CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}, {CKA.DERIVE: True})
    numbers = theirs.public_key().public_numbers()
    point = b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    point = b"\x04\x41" + point if encoded else point
    how = mechanism(CKM.ECDH1_DERIVE, Ecdh(kdf, 4, b"info", len(point), point))
    key = ck.derive(session, how, private, unwrapped(VALUE_LEN=32))
    mine = ck.attribute(session, public, CKA.EC_POINT)[2:]
    shared = theirs.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    assert block(ck, session, key) == block_of(X963KDF(hashed, 32, b"info").derive(shared))


def test_the_counter_kdf_is_nists(ck, session):
    """SP 800-108 with HMAC, under the vendor's number and that of PKCS #11 v3.0."""
    base = ck.secret(session, AES, CKK.GENERIC_SECRET, DERIVE=True)
    for number in (CKM.SP800_108_COUNTER_KDF, 0x3AC):
        how = mechanism(number, counter_kdf(CKM.SHA256_HMAC, b"fixed input"))
        key = ck.derive(session, how, base, unwrapped(VALUE_LEN=32))
        theirs = KBKDFHMAC(
            hashes.SHA256(), Mode.CounterMode, 32, 4, None, CounterLocation.BeforeFixed, None, None, b"fixed input"
        )
        assert block(ck, session, key) == block_of(theirs.derive(AES))
    with refused(CKR.TEMPLATE_INCOMPLETE):
        ck.derive(session, how, base, unwrapped())


def test_a_derived_key_is_a_generic_secret_unless_told(ck, session):
    """A template that tells no CKA_KEY_TYPE."""
    base = ck.secret(session, AES, CKK.GENERIC_SECRET, DERIVE=True)
    how = mechanism(CKM.SP800_108_COUNTER_KDF, counter_kdf(CKM.SHA256_HMAC, b"fixed input"))
    key = ck.derive(session, how, base, {CKA.VALUE_LEN: 32, CKA.SIGN: True})
    assert ck.attribute(session, key, CKA.KEY_TYPE) == bytes(ULONG(CKK.GENERIC_SECRET))


def test_a_pair_lives_in_one_place(ck, session, hsm_cluster):
    """One half in the token and the other in the session is CKR_TEMPLATE_INCONSISTENT, and nothing is made."""
    with refused(CKR.TEMPLATE_INCONSISTENT):
        ck.generate_pair(session, CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, CKA.TOKEN: True}, {CKA.SIGN: True})
    assert not any(hsm.keys for hsm in hsm_cluster.hsms)
