"""Do templates say what their bytes say?"""

import pytest

from pytest_hsmcluster import CKA, CKR
from pytest_hsmcluster.pkcs11.refusals import Refused
from pytest_hsmcluster.pkcs11.templates import class_of, kind_of, read_template, written
from tests.pkcs11.ckcalls import raw


@pytest.mark.parametrize(
    ("name", "value"),
    [(CKA.TOKEN, True), (CKA.VALUE_LEN, 32), (CKA.LABEL, "käse"), (CKA.ID, b"\0\1"), (CKA.LABEL, "")],
)
def test_what_is_written_is_read(name, value):
    """Booleans have a byte, numbers eight, texts are UTF-8."""
    assert read_template(((int(name), raw(value)),)) == {name: value}
    assert written(value) == raw(value)


@pytest.mark.parametrize(
    ("template", "ckr"),
    [
        (((1, b""),), CKR.ATTRIBUTE_VALUE_INVALID),
        (((1, b"\1\0\0\0\0\0\0\0"),), CKR.ATTRIBUTE_VALUE_INVALID),
        (((0x161, b"\1\0\0\0"),), CKR.ATTRIBUTE_VALUE_INVALID),
        (((3, b"\xff"),), CKR.ATTRIBUTE_VALUE_INVALID),
        (((3, None),), CKR.ATTRIBUTE_VALUE_INVALID),
        (((0x9999, b""),), CKR.TEMPLATE_INCONSISTENT),
        (((1, b"\1"), (1, b"\0")), CKR.TEMPLATE_INCONSISTENT),
        (((0x40000211, ((0x9999, b""),)),), CKR.TEMPLATE_INCONSISTENT),
        (None, CKR.ARGUMENTS_BAD),
    ],
)
def test_wrong_lengths_and_unknown_attributes_are_refused(template, ckr):
    """Also in a template within a template."""
    with pytest.raises(Refused) as caught:
        read_template(template)
    assert caught.value.ckr == ckr


def test_a_template_may_hold_one():
    """CKA_WRAP_TEMPLATE and CKA_UNWRAP_TEMPLATE; they are not written back."""
    wanted = read_template(((0x40000211, ((1, b"\1"),)),))
    assert wanted == {CKA.WRAP_TEMPLATE: {CKA.TOKEN: True}}
    assert written(wanted[CKA.WRAP_TEMPLATE]) is None


@pytest.mark.parametrize("read", [kind_of, class_of])
def test_class_and_type_are_those_of_keys(read):
    """Missing is incomplete, others are no values."""
    for template, ckr in (({}, CKR.TEMPLATE_INCOMPLETE), ({CKA.CLASS: 1, CKA.KEY_TYPE: 99}, 0x13)):
        with pytest.raises(Refused) as caught:
            read(template)
        assert caught.value.ckr == ckr
