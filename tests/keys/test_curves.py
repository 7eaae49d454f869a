"""Are the curves found under all their names, and others refused?"""

import pytest

from pytest_hsmcluster.errors import TemplateInvalid
from pytest_hsmcluster.keys.curves import CURVES, find_curve
from pytest_hsmcluster.keys.material import generate_pair


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("P-224", "secp224r1"),
        ("p-256", "secp256r1"),
        ("prime256v1", "secp256r1"),
        ("SECP256K1", "secp256k1"),
        ("P-384", "secp384r1"),
        ("P521", "secp521r1"),
        (bytes.fromhex("06052b8104000a"), "secp256k1"),
    ],
)
def test_a_curve_has_many_names(spelling, name):
    """Standard names, NIST's names and the DER object identifier mean the same curve."""
    assert find_curve(spelling).name == name


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_order_and_identifier_are_the_librarys(curve, system):
    """The order and the object identifier are those that `cryptography` has, too."""
    public, _ = generate_pair("EC", curve.name, system)

    assert curve.order == curve.native.group_order
    assert curve.oid in public.encoded
    assert curve.bits == curve.native.key_size


@pytest.mark.parametrize("name", ["brainpoolP256r1", "secp192r1", "ed25519", b"\x06\x03\x2b\x65\x70"])
def test_other_curves_violate_the_policy(name):
    """A curve outside the list is refused as `genECCKeyPair` refuses it: 0xB3."""
    with pytest.raises(TemplateInvalid, match="violates the current configured/FIPS policies") as caught:
        find_curve(name)

    assert caught.value.hsm_code == 0xB3


def test_a_misspelt_curve_comes_with_the_nearest():
    """A typing mistake is answered with the curve that was probably meant."""
    with pytest.raises(TemplateInvalid, match="did you mean secp256r1"):
        find_curve("secp256r2")
