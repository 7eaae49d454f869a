"""Do HMAC and CMAC agree with the RFCs' and NIST's vectors, and refuse forgeries?"""

import pytest

from pytest_hsmcluster.cryptoki import CKM, CKR
from pytest_hsmcluster.errors import DataInvalid, MechanismInvalid, SignatureInvalid
from pytest_hsmcluster.keys.mechanisms import IvParams, sign, verify

FILES = {
    CKM.SHA_1_HMAC: "rfc-2202-sha1",
    CKM.SHA224_HMAC: "rfc-4231-sha224",
    CKM.SHA256_HMAC: "rfc-4231-sha256",
    CKM.SHA384_HMAC: "rfc-4231-sha384",
    CKM.SHA512_HMAC: "rfc-4231-sha512",
}
LIMITS = {
    CKM.SHA_1_HMAC: 16288,
    CKM.SHA224_HMAC: 16256,
    CKM.SHA256_HMAC: 16288,
    CKM.SHA384_HMAC: 16224,
    CKM.SHA512_HMAC: 16224,
}


@pytest.mark.parametrize("mechanism", FILES)
def test_hmacs_are_the_rfcs(mechanism, records, secret, system):
    """HMAC gives the values of RFC 2202 and RFC 4231, and accepts them."""
    seen = 0
    for record in records(f"HMAC/{FILES[mechanism]}.txt"):
        key, data = secret("GENERIC_SECRET", record["Key"]), bytes.fromhex(record["Msg"])
        signature = sign(key, mechanism, data, None, system)
        assert signature.hex() == record["MD"]
        verify(key, mechanism, data, signature)
        seen += 1
    assert seen >= 6


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_cmacs_are_nists(bits, records, secret, system):
    """AES-CMAC gives the values of NIST SP 800-38B, and accepts them."""
    seen = 0
    for record in records(f"CMAC/nist-800-38b-aes{bits}.txt"):
        key, data = secret("AES", record["KEY"]), bytes.fromhex(record["MESSAGE"])
        signature = sign(key, CKM.AES_CMAC, data, None, system)
        assert signature.hex() == record["OUTPUT"]
        verify(key, CKM.AES_CMAC, data, signature)
        seen += 1
    assert seen >= 4


@pytest.mark.parametrize("mechanism", [*FILES, CKM.AES_CMAC])
def test_forgeries_are_refused(mechanism, secret, system):
    """Other data, a flipped bit and a shortened signature are refused, the last as an impossible length."""
    key = secret("AES" if mechanism is CKM.AES_CMAC else "GENERIC_SECRET", bytes(16))
    signature = sign(key, mechanism, b"data", None, system)
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for data, given in ((b"other", signature), (b"data", flipped)):
        with pytest.raises(SignatureInvalid) as caught:
            verify(key, mechanism, data, given)
        assert caught.value.ckr is CKR.SIGNATURE_INVALID
    with pytest.raises(SignatureInvalid) as caught:
        verify(key, mechanism, b"data", signature[:-1])
    assert caught.value.ckr is CKR.SIGNATURE_LEN_RANGE


@pytest.mark.parametrize("mechanism", [*FILES, CKM.AES_CMAC])
def test_macs_take_no_parameters(mechanism, secret, system):
    """A parameter for a mechanism without any is a mistake."""
    key = secret("AES" if mechanism is CKM.AES_CMAC else "GENERIC_SECRET", bytes(16))
    for attempt in (
        lambda: sign(key, mechanism, b"", IvParams(b""), system),
        lambda: verify(key, mechanism, b"", b"", IvParams(b"")),
    ):
        with pytest.raises(MechanismInvalid, match="takes no parameters, got IvParams") as caught:
            attempt()
        assert caught.value.ckr is CKR.MECHANISM_PARAM_INVALID


@pytest.mark.parametrize("mechanism", LIMITS)
def test_hmac_takes_its_maximum_and_not_a_byte_more(mechanism, secret, system):
    """The documented maximum is signed and verified; one byte more is refused."""
    key, most = secret("GENERIC_SECRET", bytes(32)), LIMITS[mechanism]
    verify(key, mechanism, bytes(most), sign(key, mechanism, bytes(most), None, system))
    for attempt in (
        lambda: sign(key, mechanism, bytes(most + 1), None, system),
        lambda: verify(key, mechanism, bytes(most + 1), b""),
    ):
        with pytest.raises(DataInvalid, match=f"at most {most} bytes") as caught:
            attempt()
        assert caught.value.ckr is CKR.DATA_LEN_RANGE
