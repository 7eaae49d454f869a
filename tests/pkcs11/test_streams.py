"""Does a cipher give the same in many parts as in one, and tell the right lengths before?"""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from hypothesis import given
from hypothesis import strategies as st

from pytest_hsmcluster import CKM, CKR
from pytest_hsmcluster.keys.material import Material
from pytest_hsmcluster.keys.mechanisms import decrypt, encrypt
from pytest_hsmcluster.keys.parameters import CtrParams, IvParams
from pytest_hsmcluster.keys.source import SystemSource
from pytest_hsmcluster.pkcs11.refusals import Refused
from pytest_hsmcluster.pkcs11.streams import Stream

KEY = bytes(range(16))
MATERIAL = Material("AES", 4, KEY, 128)
IV = bytes(range(16, 32))
PARAMS = {
    CKM.AES_ECB: None,
    CKM.AES_CBC: IvParams(IV),
    CKM.AES_CBC_PAD: IvParams(IV),
    CKM.AES_CTR: CtrParams(b"\xff" * 12 + bytes(4), 40),
}


def stream(mechanism, decrypts=False):
    def run(data, how, params):
        if decrypts:
            return decrypt(MATERIAL, how, data, params)
        return encrypt(MATERIAL, how, data, params, SystemSource())

    return Stream(mechanism, PARAMS[mechanism], decrypts, run)


def in_parts(going, pieces):
    """Return what comes out; each part has the length that was told."""
    out = []
    for piece in pieces:
        told = going.size(len(piece))
        out.append(going.update(piece))
        assert len(out[-1]) == told
    last = going.final()
    assert len(last) <= going.most
    return b"".join([*out, last])


@given(st.sampled_from(list(PARAMS)), st.lists(st.binary(max_size=40), max_size=8))
def test_any_cut_gives_the_same(mechanism, pieces):
    """Both ways; data without padding end with a whole block."""
    data = b"".join(pieces)
    if mechanism in (CKM.AES_ECB, CKM.AES_CBC):
        pieces = [*pieces, bytes(-len(data) % 16)]
        data = b"".join(pieces)
    sealed = in_parts(stream(mechanism), pieces)
    assert sealed == encrypt(MATERIAL, mechanism, data, PARAMS[mechanism], SystemSource())
    cuts = [len(piece) for piece in pieces]
    parts, at = [], 0
    for size in [*cuts, len(sealed)]:
        parts.append(sealed[at : at + size])
        at += size
    assert in_parts(stream(mechanism, decrypts=True), parts) == data


def test_a_counter_stops_where_its_bits_end():
    """Of 128 bits only so many count: what is above them stays."""
    params = CtrParams(b"\xaa" * 15 + b"\xfe", 8)
    going = Stream(CKM.AES_CTR, params, False, lambda d, m, p: encrypt(MATERIAL, m, d, p, SystemSource()))
    context = Cipher(algorithms.AES(KEY), modes.CTR(params.counter)).encryptor()
    assert going.update(bytes(16)) + going.update(bytes(16)) == context.update(bytes(32))


def test_padding_is_everybodys():
    """PKCS #7 in one block."""
    padder = PKCS7(128).padder()
    context = Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor()
    wanted = context.update(padder.update(b"data") + padder.finalize())
    assert in_parts(stream(CKM.AES_CBC_PAD), [b"da", b"ta"]) == wanted


@pytest.mark.parametrize("mechanism", [CKM.AES_GCM, CKM.CLOUDHSM_AES_GCM, CKM.RSA_PKCS_OAEP])
def test_some_mechanisms_have_one_part_only(mechanism):
    """CKR_MECHANISM_INVALID."""
    with pytest.raises(Refused) as caught:
        Stream(mechanism, None, False, lambda *_: b"")
    assert caught.value.ckr == CKR.MECHANISM_INVALID
