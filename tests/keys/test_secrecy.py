"""Does no secret byte show in a repr, an error or a traceback?"""

import logging

import pytest

from pytest_hsmcluster.cryptoki import CKM, CKO
from pytest_hsmcluster.errors import ClusterError
from pytest_hsmcluster.keys import mechanisms
from pytest_hsmcluster.keys.attributes import new_attributes
from pytest_hsmcluster.keys.masking import MaskedKey, MaskingKey, mask, unmask
from pytest_hsmcluster.keys.material import Material, generate_pair, generate_secret, import_material

MARK = b"SECRETSECRETSECRETSECRETSECRET!!"


def spellings(raw):
    """The ways in which bytes show in a text."""
    return [
        repr(raw)[2:14],
        raw.hex()[:12],
        raw.hex(":")[:12],
        repr(list(raw))[1:20],
        str(int.from_bytes(raw, "big"))[:14],
    ]


def assert_hidden(text, *secrets):
    for raw in secrets:
        for spelling in spellings(raw):
            assert spelling not in text


def test_reprs_show_kind_and_size_only(system, rsa_key):
    """Material, masked keys and masking keys do not show what they hold."""
    secret = import_material("AES", CKO.SECRET_KEY, MARK)
    attributes = new_attributes("AES", CKO.SECRET_KEY, origin="import", bits=256)
    masking_key = MaskingKey(MARK)
    masked = MaskedKey(1, 1, secret, attributes, "alice")
    ec_private = generate_pair("EC", "P-256", system)[1]

    assert repr(secret) == "<Material AES SECRET_KEY 256>"
    assert repr(ec_private) == "<Material EC PRIVATE_KEY secp256r1>"
    assert repr(masking_key) == "<MaskingKey>"
    text = f"{secret} {secret!r} {masked} {masked!r} {masking_key} {ec_private!r} {rsa_key[1]!r} {attributes!r}"
    assert_hidden(text, MARK, ec_private.encoded[-40:], rsa_key[1].encoded[-40:])


def failing_calls(source):
    """Calls that go wrong with a secret in their hands."""
    aes = Material("AES", CKO.SECRET_KEY, MARK, 256)
    generic = Material("GENERIC_SECRET", CKO.SECRET_KEY, MARK, 256)
    blob = mask(
        MaskingKey(MARK),
        MaskedKey(1, 1, aes, new_attributes("AES", CKO.SECRET_KEY, origin="import", bits=256), "a"),
        source,
    )
    return {
        "import of a wrong size": lambda: import_material("AES", CKO.SECRET_KEY, MARK[:31]),
        "import of garbage": lambda: import_material("RSA", CKO.PRIVATE_KEY, MARK),
        "import of a broken text": lambda: import_material(
            "EC", CKO.PRIVATE_KEY, b"-----BEGIN PRIVATE KEY-----\n" + MARK
        ),
        "import of another kind": lambda: import_material("EC", CKO.SECRET_KEY, MARK),
        "generation": lambda: generate_secret("AES", 100, source),
        "decryption": lambda: mechanisms.decrypt(aes, CKM.AES_GCM, bytes(40)),
        "padding": lambda: mechanisms.decrypt(aes, CKM.AES_CBC_PAD, bytes(32), mechanisms.IvParams(bytes(16))),
        "verification": lambda: mechanisms.verify(generic, CKM.SHA256_HMAC, b"data", bytes(32)),
        "unwrapping": lambda: mechanisms.unwrap(
            aes, CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, bytes(24), "AES", CKO.SECRET_KEY
        ),
        "wrapping": lambda: mechanisms.wrap(aes, CKM.AES_CMAC, generic, None, source),
        "wrong key": lambda: mechanisms.sign(aes, CKM.SHA256_HMAC, b"data", None, source),
        "derivation": lambda: mechanisms.derive(generic, CKM.ECDH1_DERIVE, None, bits=128),
        "unmasking": lambda: unmask(MaskingKey(MARK[::-1]), blob),
    }


@pytest.mark.parametrize(
    "name",
    [
        "import of a wrong size",
        "import of garbage",
        "import of a broken text",
        "import of another kind",
        "generation",
        "decryption",
        "padding",
        "verification",
        "unwrapping",
        "wrapping",
        "wrong key",
        "derivation",
        "unmasking",
    ],
)
def test_errors_and_tracebacks_show_no_secret(name, system, caplog):
    """The message, the chain of causes and what pytest prints of the failing frames hold no byte of it."""
    with caplog.at_level(logging.DEBUG), pytest.raises(ClusterError) as caught:
        failing_calls(system)[name]()

    shown = f"{caught.value!s} {caught.value!r} {caught.value.args} {caplog.text}"
    shown += str(caught.getrepr(style="long", funcargs=True, chain=True))
    assert_hidden(shown.replace(repr(MARK), ""), MARK, MARK[:31], MARK[::-1])
    assert caught.value.__cause__ is None


def test_a_failed_comparison_shows_no_secret():
    """Two keys that differ are explained by their reprs, not by their bytes."""
    first = import_material("AES", CKO.SECRET_KEY, MARK)
    second = import_material("AES", CKO.SECRET_KEY, MARK[::-1])
    attributes = new_attributes("AES", CKO.SECRET_KEY, origin="import", bits=256)
    for left, right in (
        (first, second),
        (MaskedKey(1, 1, first, attributes, "a"), MaskedKey(1, 1, second, attributes, "a")),
        (MaskingKey(MARK), MaskingKey(MARK[::-1])),
    ):
        with pytest.raises(AssertionError) as caught:
            assert left == right
        assert_hidden(str(caught.value), MARK, MARK[::-1])
