"""Do the digests agree with NIST's vectors?"""

import pytest

from pytest_hsmcluster.cryptoki import CKM
from pytest_hsmcluster.errors import MechanismInvalid
from pytest_hsmcluster.keys.hashing import HASHES, hash_of
from pytest_hsmcluster.keys.mechanisms import digest

FAMILY = {
    CKM.SHA_1: "SHA1/SHA1",
    CKM.SHA224: "SHA2/SHA224",
    CKM.SHA256: "SHA2/SHA256",
    CKM.SHA384: "SHA2/SHA384",
    CKM.SHA512: "SHA2/SHA512",
}


@pytest.mark.parametrize("mechanism", FAMILY)
def test_digests_are_nists(mechanism, records):
    """Every short and long message of NIST's byte vectors has its published digest."""
    seen = 0
    for length in ("Short", "Long"):
        for record in records(f"hashes/{FAMILY[mechanism]}{length}Msg.rsp"):
            if "Msg" in record:
                message = bytes.fromhex(record["Msg"])[: int(record["Len"]) // 8]
                assert digest(mechanism, message).hex() == record["MD"]
                seen += 1
    assert seen > 100


def test_lengths_are_those_of_the_library():
    """Each hash has the length that the library gives it."""
    assert {item.name: item.nbytes for item in HASHES.values()} == {
        item.name: item.native.digest_size for item in HASHES.values()
    }


def test_an_unknown_hash_is_refused():
    """A hash that the service has not is refused as a mechanism parameter."""
    with pytest.raises(MechanismInvalid, match="RSA_PKCS_OAEP knows no hash 'MD5'"):
        hash_of("MD5", "RSA_PKCS_OAEP")


def test_other_mechanisms_do_not_digest():
    """A mechanism that is no digest is refused."""
    with pytest.raises(MechanismInvalid, match="AES_GCM cannot digest"):
        digest(CKM.AES_GCM, b"")
