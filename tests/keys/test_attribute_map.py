"""Are attributes immutable, ordered, packable, and changed by the documented rules only?"""

import pytest

from pytest_hsmcluster.cryptoki import CKA, CKO, CKR
from pytest_hsmcluster.errors import TemplateInvalid
from pytest_hsmcluster.keys.attribute_map import FLAGS, Attributes
from pytest_hsmcluster.keys.attributes import SUPPORTED, new_attributes


@pytest.fixture
def aes():
    return new_attributes("AES", CKO.SECRET_KEY, origin="generate", label="kek", bits=256)


def changed(attributes, key, value, **who):
    return attributes.with_changes({key: value}, **who)[key]


def refused(attributes, key, value, ckr, match=None, **who):
    with pytest.raises(TemplateInvalid, match=match) as caught:
        attributes.with_changes({key: value}, **who)
    assert caught.value.ckr is ckr


def test_attributes_are_a_mapping_in_numeric_order(aes):
    """They look up, iterate by number, compare with mappings and cannot be written to."""
    assert aes[CKA.LABEL] == aes.get(CKA.LABEL) == aes.label == "kek"
    assert aes.get(CKA.MODULUS, 7) == 7
    assert aes.get(CKA.MODULUS) is None
    assert CKA.LABEL in aes
    assert list(aes) == sorted(aes)
    assert len(aes) == len(list(aes))
    assert aes == dict(aes)
    assert aes == Attributes(dict(reversed(list(aes.items()))))
    assert aes != {}
    with pytest.raises(TypeError):
        aes[CKA.LABEL] = "other"


def test_repr_names_what_is_set(aes):
    """The repr shows true flags by name and other values, and leaves out what is false."""
    assert "LABEL='kek'" in repr(aes)
    assert "SIGN" in repr(aes)
    assert "ENCRYPT" not in repr(aes)


@pytest.mark.parametrize("key", [CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.WRAP, CKA.UNWRAP, CKA.DERIVE])
def test_uses_may_be_switched_on_and_off(key, aes):
    """Every use may change in both directions, and the original does not."""
    for value in (True, False):
        assert changed(aes, key, value) is value
    assert aes[key] is (key in (CKA.SIGN, CKA.VERIFY))


def test_label_and_token_may_change(aes):
    """A label may change, and a session key may become a token key but not the other way round."""
    assert changed(aes, CKA.LABEL, "other") == "other"
    token = aes.with_changes({CKA.TOKEN: True})
    assert token.flag(CKA.TOKEN)
    refused(token, CKA.TOKEN, False, CKR.ATTRIBUTE_READ_ONLY, "session key may become a token key")


def test_some_ways_lead_in_one_direction(aes):
    """SENSITIVE and WRAP_WITH_TRUSTED stay true, MODIFIABLE stays false."""
    imported = new_attributes("AES", CKO.SECRET_KEY, origin="import", bits=256, template={CKA.SENSITIVE: False})
    sensitive = imported.with_changes({CKA.SENSITIVE: True})
    assert sensitive.flag(CKA.SENSITIVE)
    assert not sensitive.flag(CKA.ALWAYS_SENSITIVE)
    refused(sensitive, CKA.SENSITIVE, False, CKR.ATTRIBUTE_READ_ONLY, "stays sensitive")

    bound = aes.with_changes({CKA.WRAP_WITH_TRUSTED: True})
    refused(bound, CKA.WRAP_WITH_TRUSTED, False, CKR.ATTRIBUTE_READ_ONLY, "permanent")

    fixed = aes.with_changes({CKA.MODIFIABLE: False})
    refused(fixed, CKA.LABEL, "other", CKR.ACTION_PROHIBITED, "CKA_MODIFIABLE false")
    refused(fixed, CKA.MODIFIABLE, True, CKR.ACTION_PROHIBITED)
    assert fixed.with_changes({CKA.LABEL: "kek"}) == fixed


def test_only_an_officer_trusts(aes):
    """TRUSTED may be set and taken back by a crypto officer, by nobody else."""
    refused(aes, CKA.TRUSTED, True, CKR.ATTRIBUTE_READ_ONLY, "crypto officer")
    trusted = aes.with_changes({CKA.TRUSTED: True}, by_officer=True)
    assert trusted.flag(CKA.TRUSTED)
    assert not trusted.with_changes({CKA.TRUSTED: False}, by_officer=True).flag(CKA.TRUSTED)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (CKA.EXTRACTABLE, False),
        (CKA.DESTROYABLE, False),
        (CKA.LOCAL, False),
        (CKA.PRIVATE, False),
        (CKA.NEVER_EXTRACTABLE, True),
        (CKA.ALWAYS_SENSITIVE, False),
        (CKA.ID, b"\x01"),
        (CKA.CLASS, 2),
        (CKA.VALUE_LEN, 16),
    ],
)
def test_the_rest_is_fixed(key, value, aes):
    """What is not in the list of changeable attributes is fixed when the key is made."""
    refused(aes, key, value, CKR.ATTRIBUTE_READ_ONLY, "fixed when the key is made")
    assert aes.with_changes({key: aes[key]}) == aes


def test_changes_must_make_sense(aes):
    """Attributes that the key has not and values of another type are refused."""
    refused(aes, CKA.MODULUS, b"", CKR.TEMPLATE_INCONSISTENT, "no attribute CKA_MODULUS")
    refused(aes, 0x9999, True, CKR.TEMPLATE_INCONSISTENT)
    refused(aes, CKA.ENCRYPT, "yes", CKR.ATTRIBUTE_VALUE_INVALID)
    refused(aes, CKA.LABEL, "x" * 128, CKR.ATTRIBUTE_VALUE_INVALID)


def test_all_changes_or_none(aes):
    """One refused change leaves all as it was."""
    with pytest.raises(TemplateInvalid):
        aes.with_changes({CKA.LABEL: "other", CKA.LOCAL: False})
    assert aes.label == "kek"


@pytest.mark.parametrize(("kind", "part"), SUPPORTED)
@pytest.mark.parametrize("origin", ["generate", "import"])
def test_packing_keeps_everything(kind, part, origin):
    """Attributes of every kind come back from their bytes as they were, and pack to the same again."""
    curve = "secp521r1" if kind == "EC" else None
    attributes = new_attributes(
        kind, part, origin=origin, label="Größe 😀", token=True, bits=4096, curve=curve, template={CKA.ID: b"\0\1"}
    )
    copy = Attributes.unpack(attributes.packed())

    assert copy == attributes
    assert list(copy.items()) == list(attributes.items())
    assert copy.packed() == attributes.packed() == Attributes(dict(copy)).packed()
    assert {type(value) for value in copy.values()} <= {bool, int, str, bytes}


def test_packing_keeps_templates():
    """A template within the attributes is packed and comes back as attributes."""
    template = {CKA.WRAP_TEMPLATE: {CKA.EXTRACTABLE: True, CKA.LABEL: "dek"}}
    attributes = new_attributes("AES", CKO.SECRET_KEY, origin="generate", bits=128, template=template)
    copy = Attributes.unpack(attributes.packed())

    assert copy == attributes
    assert isinstance(copy[CKA.WRAP_TEMPLATE], Attributes)
    assert copy[CKA.WRAP_TEMPLATE] == template[CKA.WRAP_TEMPLATE]
    again = new_attributes(
        "AES",
        CKO.SECRET_KEY,
        origin="generate",
        bits=128,
        template={CKA.WRAP_TEMPLATE: attributes[CKA.WRAP_TEMPLATE]},
    )
    assert again == attributes


def test_copies_of_one_shape_do_not_share_changes():
    """Two keys that differ in their label only share what they have in common, not what they have not."""
    packed = [
        new_attributes("AES", CKO.SECRET_KEY, origin="generate", bits=256, label=label).packed() for label in "ab"
    ]
    first, second = (Attributes.unpack(raw) for raw in packed)

    assert first.with_changes({CKA.ENCRYPT: True}).flag(CKA.ENCRYPT)
    assert not second.flag(CKA.ENCRYPT)
    assert (first.label, second.label) == ("a", "b")


def test_every_flag_has_its_bit():
    """No flag is listed twice: each has its own bit when packed."""
    assert len(set(FLAGS)) == len(FLAGS) <= 32
