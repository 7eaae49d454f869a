"""Calls that are written wrongly are refused before the cluster hears of them."""

import pytest

from pytest_hsmcluster import CKA, CKM, UsageError


@pytest.fixture
def stage():
    from pytest_hsmcluster import HsmCluster

    with HsmCluster(3, sdk=3, seed=1) as cluster:
        app = cluster.client()
        yield cluster, app, app.generate_key("AES", 256, label="kek"), app.generate_key_pair("EC", "P-256")


WRONG = {
    "no size": (lambda app, key, pair: app.generate_key("AES"), r"needs a size in bits"),
    "pair as key": (lambda app, key, pair: app.generate_key("RSA", 2048), r"call generate_key_pair\('RSA', …\)"),
    "key as pair": (lambda app, key, pair: app.generate_key_pair("AES", 256), r"call generate_key\('AES', …\)"),
    "half a character": (lambda app, key, pair: app.generate_key("AES", 256, label="\ud800"), r"a form in UTF-8"),
    "label": (lambda app, key, pair: app.generate_key("AES", 256, label=b"kek"), r"a label is a str; got b'kek'"),
    "token": (lambda app, key, pair: app.generate_key("AES", 256, token="no"), r"token= is True .* or False"),
    "template": (lambda app, key, pair: app.generate_key("AES", 256, template=[CKA.SIGN]), r"template= is a mapping"),
    "template's key": (lambda app, key, pair: app.import_key("AES", b"k" * 16, template={"SIGN": 1}), r"CKA members"),
    "public template": (lambda app, key, pair: app.generate_key_pair("EC", "P-256", public_template=1), r"mapping"),
    "min_srv 0": (lambda app, key, pair: app.generate_key("AES", 256, min_srv=0), r"min_srv is 0; allowed: .*1…3"),
    "min_srv 4": (lambda app, key, pair: app.generate_key("AES", 256, min_srv=4), r"min_srv is 4; allowed: .*1…3"),
    "min_srv True": (lambda app, key, pair: app.generate_key("AES", 256, min_srv=True), r"min_srv is True"),
    "min_srv 2.0": (lambda app, key, pair: app.generate_key("AES", 256, min_srv=2.0), r"min_srv is 2.0"),
    "timeout alone": (lambda app, key, pair: app.generate_key("AES", 256, timeout_s=3), r"only together with min_srv"),
    "no time": (lambda app, key, pair: app.generate_key("AES", 256, min_srv=2, timeout_s=0), r"above 0"),
    "negative time": (lambda app, key, pair: app.generate_key("AES", 256, min_srv=2, timeout_s=-1), r"timeout_s"),
    "import text": (lambda app, key, pair: app.import_key("AES", "k" * 16), r"import_key takes bytes; got str"),
    "import class": (lambda app, key, pair: app.import_key("EC", b"", cls="privat"), r"'secret', 'private', 'public'"),
    "unwrap with": (lambda app, key, pair: app.unwrap_key(b"", with_key=pair, kind="AES"), r"pass pair.private"),
    "unwrap text": (lambda app, key, pair: app.unwrap_key("", with_key=key, kind="AES"), r"unwrap_key takes bytes"),
    "wrap a pair": (lambda app, key, pair: app.wrap_key(pair, with_key=key), r"wrap_key takes one key"),
    "derive from": (lambda app, key, pair: app.derive_key("kek", None), r"derive_key takes a KeyHandle"),
    "encrypt text": (lambda app, key, pair: app.encrypt(key, "data"), r"encrypt takes bytes; got str"),
    "encrypt pair": (lambda app, key, pair: app.encrypt(pair, b"data"), r"encrypt takes one key"),
    "aad text": (lambda app, key, pair: app.encrypt(key, b"data", aad="x"), r"aad= takes bytes; got str"),
    "aad twice": (lambda app, key, pair: app.encrypt(key, b"d", aad=b"x", params=1), r"aad= or params=, not both"),
    "decrypt text": (lambda app, key, pair: app.decrypt(key, "data"), r"decrypt takes bytes"),
    "sign pair": (lambda app, key, pair: app.sign(pair, b"data"), r"sign takes one key"),
    "sign None": (lambda app, key, pair: app.sign(pair.private, None), r"sign takes bytes; got NoneType"),
    "verify text": (lambda app, key, pair: app.verify(pair.public, b"data", "sig"), r"verify takes bytes"),
    "public of": (lambda app, key, pair: app.public_key(pair), r"public_key takes one key"),
    "attributes of": (lambda app, key, pair: app.get_attributes("kek"), r"get_attributes takes a KeyHandle"),
    "attribute": (lambda app, key, pair: app.set_attribute(key, "label", "x"), r"a CKA member, such as CKA.LABEL"),
    "find label": (lambda app, key, pair: app.find_keys(label=7), r"a label is a str; got 7"),
    "find kind": (lambda app, key, pair: app.find_keys(kind="AE"), r"kind= is one of 'AES', "),
    "find class": (lambda app, key, pair: app.find_keys(cls="key"), r"cls= is one of 'secret'"),
    "find id": (lambda app, key, pair: app.find_keys(id="1"), r"id= takes bytes"),
    "find template": (lambda app, key, pair: app.find_keys(template={"x": 1}), r"template= is a mapping"),
    "delete label": (lambda app, key, pair: app.delete_key("kek"), r"delete_key takes a KeyHandle"),
    "share with": (lambda app, key, pair: app.share_key(key, with_user=None), r"with_user= is the name of a user"),
    "unshare with": (lambda app, key, pair: app.unshare_key(key, with_user=""), r"with_user="),
    "random text": (lambda app, key, pair: app.random("8"), r"random\(\) takes a number of bytes"),
    "random less": (lambda app, key, pair: app.random(-1), r"0 or more; got -1"),
    "login number": (lambda app, key, pair: app.login("bob", 12345678), r"a user name and a password, both str"),
    "digest text": (lambda app, key, pair: app.digest("abc"), r"digest takes bytes"),
}


@pytest.mark.parametrize(("call", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_refused_and_leaves_no_trace(stage, call, words):
    """The message says what is wanted; no event is written, no time passes, no key changes."""
    cluster, app, key, pair = stage
    before = len(cluster.history), cluster.clock.now_ns
    with pytest.raises(UsageError, match=words):
        call(app, key, pair)
    assert (len(cluster.history), cluster.clock.now_ns) == before


def test_a_password_is_not_repeated(stage):
    """Not even when it has the wrong type."""
    with pytest.raises(UsageError) as caught:
        stage[1].login("bob", 12345678)
    assert "12345678" not in str(caught.value)


def test_sdk_5_has_no_number_of_copies(make):
    """`min_srv` is an option of SDK 3's tool; the message names what SDK 5 has instead."""
    app = make(sdk=5).client()
    with pytest.raises(UsageError, match="only its check of two HSMs: use sdk=3"):
        app.generate_key("AES", 256, min_srv=2)


def test_three_des_has_one_size(make):
    """DES3 may leave its size out; outside FIPS mode it is made."""
    app = make(sdk=3, fips=False).client()
    assert app.generate_key("DES3", label="old").kind == "DES3"


@pytest.mark.parametrize("data", [bytearray(b"data"), memoryview(b"data")])
def test_whatever_holds_bytes_is_taken(stage, data):
    """bytes, bytearray, memoryview."""
    _, app, key, _ = stage
    assert app.decrypt(key, app.encrypt(key, data)) == b"data"
    assert app.digest(data, CKM.SHA256) == app.digest(b"data")
