"""Do clients get the same answers from HSM processes as from simulated HSMs?"""

from functools import partial

import pytest

from pytest_hsmcluster.cryptoki import CKA, CKM
from pytest_hsmcluster.keys.mechanisms import (
    CounterKdfParams,
    CtrParams,
    EcdhParams,
    GcmParams,
    IvParams,
    OaepParams,
    PssParams,
)
from pytest_hsmcluster.keys.policy import CIPHERS, SIGNATURES
from tests.processes.parity import assert_alike

TALES = []
SDKS = {3: {"sdk": 3, "create_object_minimum_nodes": 2}, 5: {"sdk": 5}}


def tale(tell):
    """Have a tale told by the test below."""
    TALES.append(tell)
    return tell


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("tell", TALES, ids=lambda tell: tell.__name__)
def test_clients_are_answered_alike(tell, sdk):
    """Whether HSMs are simulated or processes: equal outcomes, holdings, logs and findings."""
    assert_alike(tell, keys="seeded", **SDKS[sdk])


@tale
def every_kind_of_key(on):
    """Secrets and pairs, token and session keys, generated and imported, with attributes; then deleted."""
    app = on.app()
    for kind, bits in (("AES", 128), ("AES", 192), ("AES", 256), ("GENERIC_SECRET", 256), ("GENERIC_SECRET", 512)):
        key = on(app.generate_key, kind, bits, label=f"{kind} {bits}")
        on(app.get_attributes, key)
    on(app.generate_key, "DES3", label="refused in FIPS mode")
    on(app.generate_key, "AES", 100, label="no such size")
    on(app.generate_key, "GENERIC_SECRET", 6400, label="too long for SDK 3")
    for curve in ("secp224r1", "P-256", "secp384r1", "secp521r1", "secp256k1", "secp192r1"):
        pair = on(app.generate_key_pair, "EC", curve, label=curve)
        if pair:
            on(app.public_key, pair.private)
            on(app.get_attributes, pair.private)
            on(app.get_attributes, pair.public)
    pair = on(app.generate_key_pair, "RSA", 2048, label="rsa")
    on(app.get_attributes, pair.private)
    on(app.public_key, pair.public)
    on(app.generate_key_pair, "RSA", 1024, label="too small")
    session = on(app.generate_key, "AES", 256, label="session", token=False)
    on(app.get_attributes, session)
    on(app.sign, session, b"data")
    key = on(app.import_key, "AES", bytes(range(32)), label="imported")
    on(app.get_attributes, key)
    on(app.import_key, "AES", b"short", label="no key")
    on(app.import_key, "GENERIC_SECRET", b"secret", label="secret")
    on(app.find_keys)
    for name in ("AES 128", "rsa", "session", "nothing"):
        for found in on(app.find_keys, label=name):
            on(app.delete_key, found)
            on(app.delete_key, found)


@tale
def every_mechanism(on):
    """What encrypts also decrypts, what signs also verifies, and what a key cannot do it refuses."""
    app = on.app()
    aes = on(app.generate_key, "AES", 256, label="aes")
    secret = on(app.generate_key, "GENERIC_SECRET", 256, label="secret")
    rsa = on(app.generate_key_pair, "RSA", 2048, label="rsa")
    ec = on(app.generate_key_pair, "EC", "P-256", label="ec")
    params = {
        CKM.AES_GCM: GcmParams(iv=bytes(12)),
        CKM.AES_CBC: IvParams(bytes(16)),
        CKM.AES_CBC_PAD: IvParams(bytes(16)),
        CKM.AES_CTR: CtrParams(bytes(16)),
        CKM.RSA_PKCS_OAEP: OaepParams("SHA384"),
    }
    keys = {"AES": (aes, aes), "GENERIC_SECRET": (secret, secret), "RSA": (rsa.private, rsa.public)}
    keys["EC"] = (ec.private, ec.public)
    for mechanism in sorted(CIPHERS):
        kind = CIPHERS[mechanism].kind
        if kind in keys:
            keeping, giving = keys[kind]
            options = {"mechanism": mechanism, "params": params.get(mechanism)}
            box = on(app.encrypt, giving, bytes(32), **options)
            if box is not None:
                on(app.decrypt, keeping, box, **options)
                on(app.decrypt, keeping, box[:-1], **options)
    for mechanism in sorted(SIGNATURES):
        kind = SIGNATURES[mechanism].kind
        if kind in keys:
            keeping, giving = keys[kind]
            options = {"mechanism": mechanism}
            if "PSS" in CKM(mechanism).name:
                options["params"] = PssParams("SHA256", "SHA256", 32)
            signature = on(app.sign, keeping, bytes(32), **options)
            if signature is not None:
                on(app.verify, giving, bytes(32), signature, **options)
                on(app.verify, giving, bytes(31), signature, **options)
    on(app.sign, aes, b"data", mechanism=CKM.ECDSA)
    on(app.encrypt, ec.public, b"data")
    on(app.encrypt, aes, b"data", mechanism=CKM.DES3_CBC)
    box = on(app.encrypt, aes, b"data", aad=b"about")
    on(app.decrypt, aes, box, aad=b"about")
    on(app.decrypt, aes, box, aad=b"something else")
    on(app.digest, b"data")
    on(app.random, 0)
    on(app.random, 17)
    on(app.random, -1)


@tale
def wrapping_and_deriving(on):
    """Keys leave wrapped and come back; derived ones agree; what must not leave does not."""
    app = on.app()
    kek = on(app.generate_key, "AES", 256, label="kek", template={CKA.WRAP_TEMPLATE: {CKA.LABEL: "gift"}})
    plain = on(app.generate_key, "AES", 256, label="plain kek")
    rsa = on(app.generate_key_pair, "RSA", 2048, label="rsa")
    gift = on(app.import_key, "AES", bytes(32), label="gift")
    kept = on(app.generate_key, "AES", 256, label="kept", template={CKA.EXTRACTABLE: False})
    trusting = on(app.generate_key, "AES", 256, label="trusting", template={CKA.WRAP_WITH_TRUSTED: True})
    box = on(app.encrypt, gift, b"data")
    for number, with_key in enumerate((kek, plain, rsa.public)):
        for key in (gift, kept, trusting, rsa.private):
            blob = on(app.wrap_key, key, with_key=with_key)
            opening = rsa.private if with_key is rsa.public else with_key
            if blob is not None and key is gift:
                again = on(app.unwrap_key, blob, with_key=opening, kind="AES", label=f"again {number}")
                on(app.decrypt, again, box)
                on(app.get_attributes, again)
                on(app.unwrap_key, blob[:-8], with_key=opening, kind="AES", label="broken")
                on(app.unwrap_key, blob, with_key=opening, kind="AES", label="session", token=False)
    on(on.cluster.admin.trust_key, plain.number)
    blob = on(app.wrap_key, trusting, with_key=plain)
    on(app.unwrap_key, blob, with_key=plain, kind="AES", label="trusting again")
    ours, theirs = (on(app.generate_key_pair, "EC", "P-256", label=label) for label in ("ours", "theirs"))
    peer = on.cluster.hsms[0].keys[theirs.public.number].material
    agreed = on(app.derive_key, ours.private, EcdhParams(peer), label="agreed")
    on(app.derive_key, ours.private, EcdhParams(on.cluster.hsms[0].keys[theirs.private.number].material), label="no")
    derived = on(app.derive_key, agreed, CounterKdfParams(label=b"purpose"), bits=128, label="derived")
    on(app.get_attributes, derived)
    on(app.sign, derived, b"data")


@tale
def finding_and_changing(on):
    """Finds by label, kind, class, id and template; attributes that change, and those that never do."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="one", template={CKA.ID: b"\x01"})
    pair = on(app.generate_key_pair, "EC", "P-256", label="two")
    on(app.find_keys, label="one")
    on(app.find_keys, kind="EC")
    on(app.find_keys, cls="private")
    on(app.find_keys, id=b"\x01")
    on(app.find_keys, template={CKA.SIGN: True})
    on(app.find_keys, kind="ES")
    on(app.set_attribute, key, CKA.LABEL, "renamed")
    on(app.set_attribute, key, CKA.ENCRYPT, False)
    on(app.encrypt, key, b"data")
    on(app.set_attribute, key, CKA.EXTRACTABLE, False)
    on(app.set_attribute, key, CKA.EXTRACTABLE, True)
    on(app.set_attribute, key, CKA.TRUSTED, True)
    on(app.set_attribute, key, CKA.VALUE_LEN, 16)
    on(app.set_attribute, key, "LABEL", "x")
    on(on.cluster.coverage, key)
    on(app.get_attributes, key)
    session = on(app.generate_key, "AES", 256, label="session", token=False)
    on(app.set_attribute, session, CKA.TOKEN, True)
    on(app.find_keys, label="session")
    on(on.cluster.sweep_now)
    on(on.cluster.coverage, session)
    fixed = on(app.generate_key, "AES", 256, label="fixed", template={CKA.DESTROYABLE: False, CKA.MODIFIABLE: False})
    on(app.set_attribute, fixed, CKA.LABEL, "loose")
    on(app.delete_key, fixed)
    on(app.delete_key, pair)
    on(app.delete_key, pair.private)
    on(app.find_keys)


@tale
def sharing(on):
    """Another user sees what is shared with him, uses it, and changes nothing."""
    on(on.cluster.create_user, "bob", "bobs-password")
    app, bob = on.app(), on.app("bobs-app", login=False)
    on(bob.login, "bob", "bobs-password")
    key = on(app.generate_key, "AES", 256, label="shared")
    pair = on(app.generate_key_pair, "EC", "P-256", label="pair")
    on(bob.find_keys)
    on(bob.sign, key, b"data")
    on(app.share_key, key, with_user="bob")
    on(app.share_key, key, with_user="bob")
    on(app.share_key, key, with_user="nobody")
    on(app.share_key, key, with_user="crypto_user")
    signature = on(bob.sign, key, b"data")
    on(bob.verify, key, b"data", signature)
    on(bob.find_keys)
    on(bob.delete_key, key)
    on(bob.set_attribute, key, CKA.LABEL, "mine")
    on(bob.share_key, key, with_user="crypto_user")
    on(bob.wrap_key, key, with_key=key)
    on(bob.verify, pair.public, b"data", bytes(64))
    on(bob.get_attributes, pair.private)
    on(app.unshare_key, key, with_user="bob")
    on(app.unshare_key, key, with_user="bob")
    on(bob.sign, key, b"data")
    on(bob.find_keys)
    own = on(bob.generate_key, "AES", 256, label="shared")
    on(app.sign, own, b"data")


@tale
def sessions(on):
    """Logins, refused ones and lock-outs; session keys end with their session, and nobody else sees them."""
    cluster = on.cluster
    on(cluster.create_user, "bob", "bobs-password")
    app, other = on.app(login=False), on.app("other")
    on(app.generate_key, "AES", 256, label="nobody is logged in")
    on(app.login, "nobody", "password")
    on(app.login, "admin", cluster.default_password)
    on(app.login, cluster.default_user, cluster.default_password)
    on(app.login, cluster.default_user, cluster.default_password)
    key = on(app.generate_key, "AES", 256, label="session", token=False)
    pair = on(app.generate_key_pair, "EC", "P-256", label="session", token=False)
    on(app.find_keys)
    on(other.find_keys)
    on(other.sign, key, b"data")
    on(app.sign, pair.private, b"data")
    on(app.wrap_key, key, with_key=key)
    on(app.logout)
    on(app.logout)
    on(app.sign, key, b"data")
    on(app.login, cluster.default_user, cluster.default_password)
    on(app.sign, key, b"data")
    on(app.generate_key, "AES", 256, label="session", token=False)
    on(app.close)
    on(app.find_keys)
    on(other.find_keys)
    bob = on.app("bobs-app", login=False)
    for _ in range(8):
        on(bob.login, "bob", "wrong")
    on(bob.login, "bob", "bobs-password")
    on(cluster.coverage, "bob")
    on(cluster.admin.change_password, "bob", "new-password")
    on(bob.login, "bob", "bobs-password")
    on(bob.login, "bob", "new-password")


@tale
def misuse(on):
    """What no application should pass is refused before anything is sent."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="key")
    on(app.generate_key, "AES", label="no size")
    on(app.generate_key, "RSA", 2048)
    on(app.generate_key, "AES", 256, label=7)
    on(app.generate_key, "AES", 256, min_srv=9)
    on(app.generate_key, "AES", 256, timeout_s=1)
    on(app.generate_key, "AES", 256, label="x", template={CKA.KEY_TYPE: 3})
    on(app.generate_key, "AES", 256, label="x", template={CKA.TRUSTED: True})
    on(app.encrypt, key, "text")
    on(app.encrypt, "key", b"data")
    on(app.find_keys, label=7)
    on(app.login, "crypto_user", 7)
    on(on.cluster.client, "a#b")
    on(on.cluster.hsm, "hsm-9")


@pytest.mark.parametrize(
    "settings",
    [
        {"fips": False},
        {"key_capacity": 2},
        {"sessions_per_hsm": 2},
        {"connections_per_cluster": 2},
        {"data_limits": False},
        {"lockout_after": 1},
        {"user_capacity": 4},
        {"hsms": 1},
        {"hsms": 1, "availability_check": False},
        {"routing": "pinned", "pinned_to": "hsm-2"},
        {"routing": "random"},
        {"routing": "least_busy"},
        {"queue_limit": 1},
        {"session_keys_together": False},
        {"sdk": 3, "create_object_minimum_nodes": 3},
        {"sdk": 3, "create_returns": "enough"},
    ],
    ids=str,
)
def test_settings_mean_the_same(settings):
    """Quotas, routing and switches: what they refuse and allow."""
    assert_alike(within_limits, keys="seeded", **settings)


def within_limits(on):
    """Reach for every quota."""
    one, two = on.app("one"), on.app("two")
    on.app("three")
    on(one.generate_key, "DES3", label="des")
    keys = []
    for app, label in ((one, "a"), (two, "b"), (one, "c"), (two, "d")):
        keys.append(on(app.generate_key, "AES", 256, label=label))
        on.settle()  # copies that are made after the answer
    on(one.generate_key, "AES", 256, label="session", token=False)
    on(one.generate_key, "AES", 256, label="session", token=False)
    key = next((key for key in keys if key), None)
    if key is not None:
        for size in (16_384, 16_385, 40_000):
            on(one.encrypt, key, bytes(size))
        for _ in range(4):
            on(two.sign, key, b"data")
    for name in ("bob", "carol"):
        on(on.cluster.create_user, name, "a-password")
    wrong = on.app("wrong", login=False)
    if wrong is not None:
        for _ in range(3):
            on(wrong.login, on.cluster.default_user, "wrong")
    on(one.find_keys)


@pytest.mark.parametrize("timeout_s", [1.0, NotImplemented], ids=["timed", "untimed"])
def test_minimum_of_servers_means_the_same(timeout_s):
    """SDK 3's `min_srv` and its time-out, with enough HSMs and with too few."""
    options = {} if timeout_s is NotImplemented else {"timeout_s": timeout_s}

    def tell(on, options):
        app = on.app()
        on(app.generate_key, "AES", 256, label="a", min_srv=2, **options)
        on.settle()
        on(on.chaos.crash, "hsm-2")
        on(app.generate_key, "AES", 256, label="b", min_srv=3, **options)
        on(app.find_keys)

    assert_alike(partial(tell, options=options), sdk=3)
