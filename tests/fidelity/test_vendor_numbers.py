"""Numbers that are copied, and that nothing else holds to their source."""

from pytest_hsmcluster import CKM

VENDOR_NUMBERS = {
    "SP800_108_COUNTER_KDF": 0x80000001,
    "CLOUDHSM_AES_GCM": 0x80001087,
    "CLOUDHSM_AES_KEY_WRAP_NO_PAD": 0x80002109,
    "CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD": 0x8000210A,
    "CLOUDHSM_AES_KEY_WRAP_ZERO_PAD": 0x8000216F,
}


def test_vendor_numbers_are_those_of_the_header():
    """No other library knows them, so they stand here once more."""
    assert {mechanism.name: mechanism.value for mechanism in CKM if mechanism.value >= 0x80000000} == VENDOR_NUMBERS
