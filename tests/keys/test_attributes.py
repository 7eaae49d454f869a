"""Does a new key get the documented attributes, and its maker the documented refusals?"""

import pytest

from pytest_hsmcluster.cryptoki import CKA, CKK, CKO, CKR
from pytest_hsmcluster.errors import TemplateInvalid
from pytest_hsmcluster.keys.attributes import SUPPORTED, new_attributes, usable_template, wanted_size
from pytest_hsmcluster.keys.curves import find_curve

AES = ("AES", CKO.SECRET_KEY)
SECRETS = [AES, ("DES3", CKO.SECRET_KEY), ("GENERIC_SECRET", CKO.SECRET_KEY)]
PRIVATES = [("RSA", CKO.PRIVATE_KEY), ("EC", CKO.PRIVATE_KEY)]
PUBLICS = [("RSA", CKO.PUBLIC_KEY), ("EC", CKO.PUBLIC_KEY)]
USES = (CKA.ENCRYPT, CKA.DECRYPT, CKA.WRAP, CKA.UNWRAP, CKA.SIGN, CKA.VERIFY, CKA.DERIVE)


def made(kind, part, origin="generate", **wishes):
    """Return new attributes with the size that the kind needs."""
    size = {"bits": {"AES": 256, "DES3": 192, "GENERIC_SECRET": 64, "RSA": 2048, "EC": 256}[kind]}
    if kind == "EC":
        size["curve"] = "secp256r1"
    return new_attributes(kind, part, origin=origin, **{**size, **wishes})


def refused(ckr, *args, match=None, **wishes):
    with pytest.raises(TemplateInvalid, match=match) as caught:
        made(*args, **wishes)
    assert caught.value.ckr is ckr


@pytest.mark.parametrize(("kind", "part"), SECRETS + PRIVATES + PUBLICS)
@pytest.mark.parametrize("origin", ["generate", "import", "unwrap", "derive"])
def test_defaults_are_the_documented_ones(kind, part, origin):
    """Without a template a key has the service's defaults, in numeric order."""
    attributes = made(kind, part, origin, label="payroll")
    hidden = part is not CKO.PUBLIC_KEY

    assert list(attributes) == sorted(attributes)
    assert attributes[CKA.CLASS] == part
    assert attributes[CKA.KEY_TYPE] == CKK[kind]
    assert attributes.label == attributes[CKA.LABEL] == "payroll"
    assert attributes[CKA.ID] == b""
    assert attributes[CKA.TOKEN] is False
    assert attributes.flag(CKA.PRIVATE)
    assert attributes.flag(CKA.MODIFIABLE)
    assert attributes.flag(CKA.DESTROYABLE)
    assert attributes[CKA.LOCAL] is (origin == "generate")
    assert attributes.flag(CKA.SENSITIVE) is attributes.flag(CKA.EXTRACTABLE) is hidden
    assert attributes.flag(CKA.ALWAYS_SENSITIVE) is (hidden and origin == "generate")
    assert not attributes.flag(CKA.NEVER_EXTRACTABLE)
    assert not attributes.flag(CKA.TRUSTED)
    assert not attributes.flag(CKA.WRAP_WITH_TRUSTED)
    signs = origin == "generate" and (kind, part) in SECRETS
    assert {use: True for use in USES if attributes.flag(use)} == ({CKA.SIGN: True, CKA.VERIFY: True} if signs else {})


def test_size_and_curve_become_attributes():
    """VALUE_LEN is in bytes, MODULUS_BITS in bits and of the public half only, EC_PARAMS the identifier."""
    assert made("AES", CKO.SECRET_KEY)[CKA.VALUE_LEN] == 32
    assert made("RSA", CKO.PUBLIC_KEY)[CKA.MODULUS_BITS] == 2048
    assert CKA.MODULUS_BITS not in made("RSA", CKO.PRIVATE_KEY)
    assert CKA.VALUE_LEN not in made("DES3", CKO.SECRET_KEY)
    assert made("EC", CKO.PRIVATE_KEY)[CKA.EC_PARAMS] == find_curve("P-256").oid
    assert made("EC", CKO.PUBLIC_KEY)[CKA.EC_PARAMS] == find_curve("P-256").oid


@pytest.mark.parametrize(
    ("owner", "uses"),
    [
        (AES, {"ENCRYPT", "DECRYPT", "WRAP", "UNWRAP", "SIGN", "VERIFY", "DERIVE"}),
        (("DES3", CKO.SECRET_KEY), {"ENCRYPT", "DECRYPT", "SIGN", "VERIFY"}),
        (("GENERIC_SECRET", CKO.SECRET_KEY), {"SIGN", "VERIFY", "DERIVE"}),
        (("RSA", CKO.PRIVATE_KEY), {"DECRYPT", "SIGN", "UNWRAP"}),
        (("RSA", CKO.PUBLIC_KEY), {"ENCRYPT", "VERIFY", "WRAP"}),
        (("EC", CKO.PRIVATE_KEY), {"SIGN", "DERIVE"}),
        (("EC", CKO.PUBLIC_KEY), {"VERIFY"}),
    ],
)
def test_a_usable_key_may_do_what_its_kind_can(owner, uses):
    """The client's keys are usable at once, whether the template is passed as it is or copied."""
    shared = made(*owner, template=usable_template(*owner))
    copied = made(*owner, template=dict(usable_template(*owner)))

    assert {use.name for use in USES if shared.flag(use)} == uses
    assert shared == copied


def test_defaults_are_not_shared_between_keys():
    """Two keys made alike are equal, and neither sees the other's label."""
    first, second = made(*AES, label="a"), made(*AES, label="b", token=True)

    assert (first.label, second.label) == ("a", "b")
    assert not first.flag(CKA.TOKEN)
    assert made(*AES, label="a") == first


def test_a_template_is_honoured():
    """What the template asks for and the service allows is what the key gets."""
    inner = {CKA.EXTRACTABLE: False}
    attributes = made(
        *AES,
        token=True,
        template={
            CKA.LABEL: "kek",
            CKA.ID: b"\x07",
            CKA.TOKEN: True,
            CKA.CLASS: CKO.SECRET_KEY,
            CKA.KEY_TYPE: CKK.AES,
            CKA.VALUE_LEN: 32,
            CKA.WRAP: True,
            CKA.SIGN: False,
            CKA.EXTRACTABLE: False,
            CKA.WRAP_WITH_TRUSTED: True,
            CKA.MODIFIABLE: False,
            CKA.DESTROYABLE: False,
            CKA.UNWRAP_TEMPLATE: inner,
        },
    )

    assert attributes.label == "kek"
    assert attributes[CKA.ID] == b"\x07"
    assert attributes.flag(CKA.WRAP)
    assert attributes.flag(CKA.WRAP_WITH_TRUSTED)
    assert not attributes.flag(CKA.SIGN)
    assert not attributes.flag(CKA.MODIFIABLE)
    assert not attributes.flag(CKA.DESTROYABLE)
    assert attributes.flag(CKA.NEVER_EXTRACTABLE)
    assert attributes.flag(CKA.ALWAYS_SENSITIVE)
    assert dict(attributes[CKA.UNWRAP_TEMPLATE]) == inner
    assert list(attributes) == sorted(attributes)


def test_a_size_may_come_from_the_template_alone():
    """Without a size in the call the template's is taken; an exponent is checked and not stored."""
    assert made("AES", CKO.SECRET_KEY, bits=0, template={CKA.VALUE_LEN: 16})[CKA.VALUE_LEN] == 16
    rsa = made("RSA", CKO.PUBLIC_KEY, bits=0, template={CKA.MODULUS_BITS: 3072, CKA.PUBLIC_EXPONENT: b"\1\0\1"})
    assert rsa[CKA.MODULUS_BITS] == 3072
    assert CKA.PUBLIC_EXPONENT not in rsa
    oid = find_curve("P-384").oid
    assert made("EC", CKO.PUBLIC_KEY, curve=None, template={CKA.EC_PARAMS: oid})[CKA.EC_PARAMS] == oid


@pytest.mark.parametrize(
    ("owner", "key"),
    [
        (("GENERIC_SECRET", CKO.SECRET_KEY), CKA.ENCRYPT),
        (("GENERIC_SECRET", CKO.SECRET_KEY), CKA.WRAP),
        (("GENERIC_SECRET", CKO.SECRET_KEY), CKA.TRUSTED),
        (("RSA", CKO.PRIVATE_KEY), CKA.ENCRYPT),
        (("RSA", CKO.PRIVATE_KEY), CKA.MODULUS_BITS),
        (("RSA", CKO.PUBLIC_KEY), CKA.SIGN),
        (("RSA", CKO.PUBLIC_KEY), CKA.SENSITIVE),
        (("EC", CKO.PUBLIC_KEY), CKA.WRAP_WITH_TRUSTED),
        (("EC", CKO.PRIVATE_KEY), CKA.TRUSTED),
        (("DES3", CKO.SECRET_KEY), CKA.VALUE_LEN),
        (AES, CKA.MODULUS),
        (AES, CKA.VALUE),
        (AES, 0x9999),
    ],
)
def test_unsupported_attributes_are_inconsistent(owner, key):
    """An attribute that keys of this kind have not is TEMPLATE_INCONSISTENT."""
    refused(CKR.TEMPLATE_INCONSISTENT, *owner, template={key: True}, match="is not supported for")


@pytest.mark.parametrize(
    ("owner", "origin", "key", "value"),
    [
        (AES, "generate", CKA.PRIVATE, False),
        (("RSA", CKO.PUBLIC_KEY), "generate", CKA.PRIVATE, False),
        (AES, "generate", CKA.SENSITIVE, False),
        (AES, "generate", CKA.TRUSTED, True),
        (AES, "generate", CKA.LOCAL, True),
        (AES, "import", CKA.NEVER_EXTRACTABLE, True),
        (AES, "unwrap", CKA.ALWAYS_SENSITIVE, True),
        (AES, "generate", CKA.CHECK_VALUE, b"abc"),
        (AES, "derive", CKA.DESTROYABLE, False),
        (("EC", CKO.PUBLIC_KEY), "generate", CKA.DERIVE, True),
    ],
)
def test_forbidden_values_are_read_only(owner, origin, key, value):
    """A value that the service does not allow is ATTRIBUTE_READ_ONLY."""
    refused(CKR.ATTRIBUTE_READ_ONLY, *owner, origin, template={key: value}, match=f"CKA_{key.name} cannot be given")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (CKA.SENSITIVE, True),
        (CKA.TRUSTED, False),
        (CKA.PRIVATE, True),
        (CKA.DESTROYABLE, False),
    ],
)
def test_allowed_values_of_restricted_attributes_pass(key, value):
    """The one allowed value may be written out."""
    assert made(*AES, template={key: value})[key] is value


def test_an_imported_key_may_be_insensitive():
    """Only generated keys must be sensitive."""
    assert made(*AES, "import", template={CKA.SENSITIVE: False})[CKA.SENSITIVE] is False


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (CKA.ENCRYPT, 1),
        (CKA.LABEL, ""),
        (CKA.LABEL, "x" * 128),
        (CKA.LABEL, "é" * 64),
        (CKA.LABEL, b"bytes"),
        (CKA.ID, "text"),
        (CKA.VALUE_LEN, "32"),
        (CKA.VALUE_LEN, True),
        (CKA.VALUE_LEN, -1),
        (CKA.WRAP_TEMPLATE, "EXTRACTABLE"),
    ],
)
def test_values_of_another_type_are_invalid(key, value):
    """A value that this attribute cannot have is ATTRIBUTE_VALUE_INVALID."""
    refused(CKR.ATTRIBUTE_VALUE_INVALID, *AES, template={key: value}, match=f"CKA_{key.name} takes")


@pytest.mark.parametrize("exponent", [3, 65536, 65538, b"\x03", b"", "65537"])
def test_public_exponents_are_odd_and_large(exponent):
    """An exponent that is even, below 65537 or no number is refused."""
    refused(CKR.ATTRIBUTE_VALUE_INVALID, "RSA", CKO.PUBLIC_KEY, template={CKA.PUBLIC_EXPONENT: exponent}, match="65537")


def test_labels_have_127_bytes_at_most():
    """The longest label passes, a longer one is refused, in the call as in the template."""
    assert made(*AES, label="x" * 127).label == "x" * 127
    assert made(*AES, template={CKA.LABEL: "é" * 63}).label == "é" * 63
    refused(CKR.ATTRIBUTE_VALUE_INVALID, *AES, label="x" * 128, match="1 to 127 bytes")
    refused(CKR.ATTRIBUTE_VALUE_INVALID, *AES, label="é" * 64, match="1 to 127 bytes")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (CKA.CLASS, CKO.PUBLIC_KEY),
        (CKA.KEY_TYPE, CKK.DES3),
        (CKA.VALUE_LEN, 16),
        (CKA.TOKEN, True),
        (CKA.LABEL, "other"),
    ],
)
def test_a_template_that_contradicts_the_call_is_inconsistent(key, value):
    """Template and call must not ask for different things."""
    refused(
        CKR.TEMPLATE_INCONSISTENT, *AES, label="one", template={key: value}, match="something else than the call does"
    )


@pytest.mark.parametrize(
    ("owner", "key"),
    [
        (AES, CKA.VALUE_LEN),
        (("GENERIC_SECRET", CKO.SECRET_KEY), CKA.VALUE_LEN),
        (("RSA", CKO.PUBLIC_KEY), CKA.MODULUS_BITS),
        (("EC", CKO.PUBLIC_KEY), CKA.EC_PARAMS),
    ],
)
def test_a_missing_size_is_incomplete(owner, key):
    """Where nothing says how big the key is, the template is incomplete; DES3 has one size."""
    refused(CKR.TEMPLATE_INCOMPLETE, *owner, bits=0, curve=None, match=f"needs CKA_{key.name}")
    with pytest.raises(TemplateInvalid) as caught:
        wanted_size(*owner, {})
    assert caught.value.ckr is CKR.TEMPLATE_INCOMPLETE
    made("DES3", CKO.SECRET_KEY, bits=0)
    made("RSA", CKO.PRIVATE_KEY, bits=0)


def test_the_size_is_read_from_a_template():
    """VALUE_LEN is bytes, MODULUS_BITS bits, EC_PARAMS a curve."""
    assert wanted_size("AES", CKO.SECRET_KEY, {CKA.VALUE_LEN: 32}) == 256
    assert wanted_size("DES3", CKO.SECRET_KEY, {}) == 192
    assert wanted_size("RSA", CKO.PUBLIC_KEY, {CKA.MODULUS_BITS: 2048}) == 2048
    assert wanted_size("EC", CKO.PUBLIC_KEY, {CKA.EC_PARAMS: find_curve("P-521").oid}) == "secp521r1"


def test_an_import_template_may_hold_the_key_itself():
    """C_CreateObject's template carries the material; it is not stored among the attributes."""
    attributes = made(*AES, "import", template={CKA.VALUE: bytes(32), CKA.VALUE_LEN: 32, CKA.ENCRYPT: True})

    assert CKA.VALUE not in attributes
    assert attributes.flag(CKA.ENCRYPT)


@pytest.mark.parametrize(("always", "never"), [(True, True), (True, False), (False, False)])
def test_a_derived_key_remembers_its_base(always, never):
    """A derived key was always sensitive, or never extractable, only if its base was."""
    base = made(*AES, template={CKA.EXTRACTABLE: not never}) if always else made(*AES, "import")
    attributes = made(*AES, "derive", base=base, template={CKA.EXTRACTABLE: False})

    assert attributes.flag(CKA.ALWAYS_SENSITIVE) is always
    assert attributes.flag(CKA.NEVER_EXTRACTABLE) is never
    assert made(*AES, "derive", base=base).flag(CKA.NEVER_EXTRACTABLE) is False


@pytest.mark.parametrize(("kind", "part"), [("AES", CKO.PUBLIC_KEY), ("RSA", CKO.SECRET_KEY), ("DSA", CKO.PUBLIC_KEY)])
def test_kind_and_part_must_go_together(kind, part):
    """There is no public AES key."""
    for attempt in (
        lambda: new_attributes(kind, part, origin="generate", bits=128),
        lambda: usable_template(kind, part),
        lambda: wanted_size(kind, part, {}),
    ):
        with pytest.raises(TemplateInvalid, match="there is no"):
            attempt()


def test_ec_keys_get_uses_without_a_mechanism_only_on_request():
    """The guide's tables allow UNWRAP for EC private keys; nobody gets it unasked."""
    assert CKA.UNWRAP not in made("EC", CKO.PRIVATE_KEY)
    assert made("EC", CKO.PRIVATE_KEY, template={CKA.UNWRAP: True}).flag(CKA.UNWRAP)


def test_every_usable_flag_is_supported():
    """What makes a key usable is among the attributes of its kind."""
    for owner, supported in SUPPORTED.items():
        assert set(usable_template(*owner)) <= set(supported)
