"""May a key leave only under a key that may carry it?"""

import pytest

from pytest_hsmcluster.cryptoki import CKA, CKO, CKR
from pytest_hsmcluster.errors import KeyFunctionNotPermitted, KeyUnextractable, TemplateInvalid
from pytest_hsmcluster.keys.attributes import new_attributes
from pytest_hsmcluster.keys.wrap_rules import check_wrappable, with_unwrap_template


def aes(**template):
    wishes = {CKA[name]: value for name, value in template.items()}
    return new_attributes("AES", CKO.SECRET_KEY, origin="generate", bits=256, template=wishes)


def test_an_extractable_key_leaves():
    """By default a key may be wrapped by any wrapping key."""
    check_wrappable(aes(WRAP=True), aes())


def test_an_unextractable_key_stays():
    """EXTRACTABLE false: it cannot be wrapped."""
    with pytest.raises(KeyUnextractable, match="CKA_EXTRACTABLE false") as caught:
        check_wrappable(aes(), aes(EXTRACTABLE=False))
    assert caught.value.ckr is CKR.KEY_UNEXTRACTABLE


def test_some_keys_leave_under_trusted_keys_only():
    """WRAP_WITH_TRUSTED wants a wrapping key that an officer marked TRUSTED."""
    trusted = aes().with_changes({CKA.TRUSTED: True}, by_officer=True)

    check_wrappable(trusted, aes(WRAP_WITH_TRUSTED=True))
    with pytest.raises(KeyUnextractable, match="CKA_TRUSTED") as caught:
        check_wrappable(aes(), aes(WRAP_WITH_TRUSTED=True))
    assert caught.value.ckr is CKR.KEY_NOT_WRAPPABLE


def test_a_wrap_template_must_match():
    """The wrapping key's template says which keys it may carry."""
    wrapping = aes(WRAP_TEMPLATE={CKA.SENSITIVE: True, CKA.SIGN: False})

    check_wrappable(wrapping, aes(SIGN=False))
    with pytest.raises(KeyFunctionNotPermitted, match="another CKA_SIGN") as caught:
        check_wrappable(wrapping, aes())
    assert caught.value.ckr is CKR.KEY_HANDLE_INVALID


def test_an_unwrap_template_is_added():
    """What the unwrapping key prescribes is added to the caller's wishes, a contradiction refused."""
    unwrapping = aes(UNWRAP_TEMPLATE={CKA.EXTRACTABLE: False})

    assert with_unwrap_template(unwrapping, {CKA.SIGN: True}) == {CKA.SIGN: True, CKA.EXTRACTABLE: False}
    assert with_unwrap_template(unwrapping, None) == {CKA.EXTRACTABLE: False}
    assert with_unwrap_template(unwrapping, {CKA.EXTRACTABLE: False}) == {CKA.EXTRACTABLE: False}
    assert with_unwrap_template(aes(), None) == {}
    with pytest.raises(TemplateInvalid, match="contradicts") as caught:
        with_unwrap_template(unwrapping, {CKA.EXTRACTABLE: True})
    assert caught.value.ckr is CKR.TEMPLATE_INCONSISTENT
