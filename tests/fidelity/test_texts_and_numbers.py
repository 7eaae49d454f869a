"""Texts and numbers that are copied, and that nothing else holds to their source."""

import pytest

from pytest_hsmcluster import CKM
from pytest_hsmcluster.errors import HsmBusy

VENDOR_NUMBERS = {
    "SP800_108_COUNTER_KDF": 0x80000001,
    "CLOUDHSM_AES_GCM": 0x80001087,
    "CLOUDHSM_AES_KEY_WRAP_NO_PAD": 0x80002109,
    "CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD": 0x8000210A,
    "CLOUDHSM_AES_KEY_WRAP_ZERO_PAD": 0x8000216F,
}
THROTTLED = "Received error from the server. Error: This operation is already in progress. Internal error code: 0x000000BB"


def test_vendor_numbers_are_those_of_the_header():
    """No other library knows them, so they stand here once more."""
    assert {mechanism.name: mechanism.value for mechanism in CKM if mechanism.value >= 0x80000000} == VENDOR_NUMBERS


def test_each_throttled_answer_is_in_the_log_of_sdk_5(make):
    """One line, in the guide's words, for each of the three that are tried again."""
    cluster = make(1, sdk=5)
    app = cluster.client()
    with cluster.chaos.throttle("hsm-1"), pytest.raises(HsmBusy):
        app.random(4)

    assert app.log == [THROTTLED] * 3
