"""Can a key's attributes be read, and its secrets not?"""

import pytest

from pytest_hsmcluster.cryptoki import CKA, CKR
from pytest_hsmcluster.errors import TemplateInvalid
from pytest_hsmcluster.keys.attributes import new_attributes
from pytest_hsmcluster.keys.material import generate_pair
from pytest_hsmcluster.keys.reading import ec_point, octet_string, read_attribute


def attributes_of(material, **template):
    return new_attributes(
        material.kind,
        material.part,
        origin="import",
        bits=material.bits,
        curve=material.curve,
        template={CKA[name]: value for name, value in template.items()},
    )


def refused(material, key, ckr, **template):
    with pytest.raises(TemplateInvalid) as caught:
        read_attribute(attributes_of(material, **template), material, key)
    assert caught.value.ckr is ckr


def test_stored_attributes_are_read_as_they_are(secret):
    """What the HSM stores is what is read, an empty label included."""
    key = secret("AES", bytes(32))

    assert read_attribute(attributes_of(key), key, CKA.VALUE_LEN) == 32
    assert read_attribute(attributes_of(key), key, CKA.LABEL) == ""
    assert read_attribute(attributes_of(key), key, CKA.ENCRYPT) is False


@pytest.mark.parametrize("part", [0, 1])
def test_an_rsa_key_shows_modulus_and_exponent(part, rsa_key):
    """Both halves of an RSA pair show modulus and exponent as big-endian bytes."""
    key, numbers = rsa_key[part], rsa_key[0].native.public_numbers()

    assert read_attribute(attributes_of(key), key, CKA.MODULUS) == numbers.n.to_bytes(256, "big")
    assert read_attribute(attributes_of(key), key, CKA.PUBLIC_EXPONENT) == b"\x01\x00\x01"
    assert read_attribute(attributes_of(key), key, CKA.CHECK_VALUE) == key.check_value()


@pytest.mark.parametrize(("curve", "header"), [("P-256", "0441"), ("P-521", "048185")])
def test_an_ec_public_key_shows_its_point(curve, header, system):
    """The point is uncompressed, in a DER OCTET STRING; the private half has none to show."""
    public, private = generate_pair("EC", curve, system)
    point = read_attribute(attributes_of(public), public, CKA.EC_POINT)

    assert point.hex().startswith(header + "04")
    assert point == octet_string(ec_point(public))
    refused(private, CKA.EC_POINT, CKR.ATTRIBUTE_TYPE_INVALID)


def test_a_sensitive_value_does_not_leave(secret, system):
    """A secret's value is read only if the key is neither sensitive nor unextractable; a private key's never."""
    key, (public, private) = secret("AES", bytes(range(32))), generate_pair("EC", "P-256", system)

    refused(key, CKA.VALUE, CKR.ATTRIBUTE_SENSITIVE)
    refused(key, CKA.VALUE, CKR.ATTRIBUTE_SENSITIVE, SENSITIVE=False, EXTRACTABLE=False)
    assert read_attribute(attributes_of(key, SENSITIVE=False), key, CKA.VALUE) == key.encoded
    refused(private, CKA.VALUE, CKR.ATTRIBUTE_SENSITIVE, SENSITIVE=False)
    refused(public, CKA.VALUE, CKR.ATTRIBUTE_TYPE_INVALID)


def test_check_values_are_read_but_not_of_hmac_keys(secret):
    """A generic secret has no check value."""
    key, hmac_key = secret("AES", bytes(16)), secret("GENERIC_SECRET", bytes(16))

    assert read_attribute(attributes_of(key), key, CKA.CHECK_VALUE).hex() == "66e94b"
    refused(hmac_key, CKA.CHECK_VALUE, CKR.ATTRIBUTE_TYPE_INVALID)


@pytest.mark.parametrize("key", [CKA.MODULUS, CKA.EC_POINT, CKA.WRAP_TEMPLATE])
def test_attributes_of_other_kinds_are_unknown(key, secret):
    """What a key of this kind has not, it cannot show."""
    refused(secret("AES", bytes(16)), key, CKR.ATTRIBUTE_TYPE_INVALID)
