"""Are the PKCS #11 numbers the standard's?"""

import pytest

from pytest_hsmcluster import cryptoki

constants = pytest.importorskip("pkcs11.constants")
mechanisms = pytest.importorskip("pkcs11.mechanisms")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (cryptoki.CKO, constants.ObjectClass),
        (cryptoki.CKA, constants.Attribute),
        (cryptoki.CKK, mechanisms.KeyType),
        (cryptoki.CKM, mechanisms.Mechanism),
    ],
)
def test_numbers_are_those_of_python_pkcs11(ours, theirs):
    """Every number that python-pkcs11 also knows by name has the same value there."""
    known = {member.name.lstrip("_"): member.value for member in theirs}
    wrong = {member.name: member.value for member in ours if known.get(member.name, member.value) != member.value}

    assert wrong == {}
    assert sum(member.name in known for member in ours) > len(ours) * 0.8


@pytest.mark.parametrize("ours", [cryptoki.CKR, cryptoki.CKA, cryptoki.CKM, cryptoki.CKK, cryptoki.CKO])
def test_numbers_are_sorted(ours):
    """Each list is in the order of its numbers, so that a new one has its place."""
    assert [member.value for member in ours] == sorted(member.value for member in ours)
