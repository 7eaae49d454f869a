"""Does a key or a PIN ever stand in what pytest prints?"""

import base64
import shutil

import pytest

LEAKY = """
    import logging
    import pathlib
    import pytest
    from pytest_hsmcluster import HsmCluster, CKM

    KEY = bytes.fromhex("{key}")

    def note(cluster):
        with pathlib.Path("pins").open("a") as notes:
            notes.write(cluster.default_password + "\\n")

    @pytest.fixture
    def keys(hsm_cluster, hsm_client):
        note(hsm_cluster)
        cluster = hsm_cluster
        return [
            hsm_client.import_key("AES", KEY, label="imported"),
            hsm_client.generate_key("AES", 256, label="generated"),
            hsm_client.generate_key_pair("EC", "secp256r1", label="pair"),
        ]

    def test_body_fails(keys, hsm_client, hsm_cluster, hsm_history):
        logging.getLogger().warning("%r %r %r %r", keys, hsm_client, hsm_cluster, hsm_cluster.hsms)
        print(keys, hsm_client, hsm_cluster, hsm_cluster.hsms, hsm_cluster.backup(), list(hsm_history))
        print([list(hsm.keys.items()) for hsm in hsm_cluster.hsms], hsm_cluster.admin, hsm_cluster.check)
        hsm_history.save("journal")
        assert keys == hsm_cluster

    def test_login_fails(keys, hsm_cluster):
        hsm_cluster.client(login=False).login("nobody", hsm_cluster.default_password)

    def test_import_fails(keys, hsm_client):
        hsm_client.import_key("AES", KEY[:15], label="short")

    def test_mechanism_fails(keys, hsm_client):
        hsm_client.encrypt(keys[0], KEY, mechanism=CKM.ECDSA)

    def test_user_fails(keys, hsm_cluster):
        hsm_cluster.create_user("a name with blanks", hsm_cluster.default_password)

    def test_lost(keys, hsm_cluster, hsm_chaos):
        for hsm in hsm_cluster.hsms:
            hsm_chaos.destroy(hsm.id)

    @pytest.mark.hsm_chaos("crash @ client.send command=import_key", "fail CKR_DEVICE_ERROR @ hsm.execute command=sign")
    def test_faults(keys, hsm_client):
        with pytest.raises(Exception):
            hsm_client.sign(keys[2].private, b"data")
        hsm_client.import_key("AES", KEY, label="again")

    def test_bug_inside(keys, hsm_cluster, monkeypatch):
        import pytest_hsmcluster.service.accounts as accounts
        monkeypatch.setattr(accounts, "_digest", None)
        hsm_cluster.client()
"""


THROUGH_THE_LIBRARY = """
    import logging
    import os
    import pathlib
    import shutil
    import subprocess
    import pkcs11
    import pytest
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

    KEY = bytes.fromhex("{key}")
    DATA = KEY[::-1]
    AES = {{Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES}}
    PAIR = {{Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.EC}}

    def note(name, value):
        with pathlib.Path(name).open("a") as notes:
            notes.write(value + "\\n")

    def pin_of(door):
        note("pins", door.user_pin.partition(":")[2])
        return door.user_pin

    def token_of(door):
        return pkcs11.lib(door.module).get_token(token_label=door.token_label)

    @pytest.fixture
    def session(hsm_pkcs11):
        with token_of(hsm_pkcs11).open(user_pin=pin_of(hsm_pkcs11), rw=True) as session:
            yield session

    @pytest.fixture(autouse=True)
    def show(hsm_pkcs11, hsm_history):
        yield
        logging.getLogger().warning("%r %r %r", hsm_pkcs11, hsm_pkcs11.calls, hsm_pkcs11.slots)
        print(hsm_pkcs11, hsm_pkcs11.calls, hsm_pkcs11.slots, hsm_pkcs11.refusals, list(hsm_history))
        hsm_history.save("journal")

    def refuse(*calls):
        for call in calls:
            with pytest.raises(pkcs11.PKCS11Error):
                call()

    def use(session):
        uses = {{Attribute.ENCRYPT: True, Attribute.DECRYPT: True}}
        key = session.create_object(AES | uses | {{Attribute.VALUE: KEY}})
        assert key.decrypt(key.encrypt(DATA, mechanism_param=bytes(16)), mechanism_param=bytes(16)) == DATA
        curve = {{Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}}
        public, private = session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(label="pair")
        signature = private.sign(KEY, mechanism=Mechanism.ECDSA_SHA256)
        note("signatures", signature.hex())
        assert not public.verify(DATA, signature, mechanism=Mechanism.ECDSA_SHA256)
        refuse(
            lambda: key.encrypt(DATA + b"x", mechanism=Mechanism.AES_CBC, mechanism_param=bytes(16)),
            lambda: key.encrypt(DATA, mechanism_param=KEY),
            lambda: private.sign(DATA, mechanism=Mechanism.SHA256_RSA_PKCS, mechanism_param=KEY),
        )

    def test_uses(session):
        use(session)
        raise KeyError

    def test_imports(session):
        refuse(
            lambda: session.create_object({{Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.VALUE: KEY}}),
            lambda: session.create_object(AES | {{Attribute.VALUE: KEY[:15]}}),
            lambda: session.create_object(AES | {{Attribute.VALUE: KEY, Attribute.EC_POINT: KEY}}),
            lambda: session.create_object(PAIR | {{Attribute.EC_PARAMS: KEY, Attribute.VALUE: KEY}}),
        )
        raise KeyError

    def test_logins(hsm_pkcs11):
        refuse(
            lambda: token_of(hsm_pkcs11).open(user_pin=pin_of(hsm_pkcs11).partition(":")[2], rw=True),
            lambda: token_of(hsm_pkcs11).open(user_pin="x" + pin_of(hsm_pkcs11), rw=True),
            lambda: token_of(hsm_pkcs11).open(user_pin=pin_of(hsm_pkcs11) + "x", rw=True),
        )
        raise KeyError

    @pytest.mark.hsm_chaos("fail CKR_DEVICE_ERROR @ hsm.execute command=import_key")
    def test_faults(session):
        refuse(lambda: session.create_object(AES | {{Attribute.TOKEN: True, Attribute.VALUE: KEY}}))
        raise KeyError

    def test_bug_in_an_import(session, monkeypatch):
        monkeypatch.setattr("pytest_hsmcluster.pkcs11.components._needed", None)
        refuse(lambda: session.create_object(AES | {{Attribute.VALUE: KEY}}))

    def test_bug_in_a_login(hsm_pkcs11, monkeypatch):
        monkeypatch.setattr("pytest_hsmcluster.service.accounts._digest", None)
        refuse(lambda: token_of(hsm_pkcs11).open(user_pin=pin_of(hsm_pkcs11), rw=True))

    def test_other_process(hsm_pkcs11, tmp_path):
        (tmp_path / "key").write_bytes(KEY)
        words = ["--module", hsm_pkcs11.module, "--token-label", hsm_pkcs11.token_label, "--session-rw", "--login"]
        words += ["--pin", "env:HSM_PIN", "-w", str(tmp_path / "key"), "--type", "secrkey", "--key-type", "AES:32"]

        def tool(pin):
            environment = {{**os.environ, **hsm_pkcs11.env, "HSM_PIN": pin}}
            return subprocess.run(["pkcs11-tool", *words], env=environment, capture_output=True).returncode

        assert tool(pin_of(hsm_pkcs11)[:-1])  # a wrong PIN
        assert tool(pin_of(hsm_pkcs11))  # a key that is not private
        raise KeyError
"""

ARGUMENTS = pytest.mark.parametrize(
    "arguments",
    [
        ["-rA", "-vv"],
        ["-l", "-vv", "--tb=long"],
        ["--tb=native"],
        ["--tb=short", "-l"],
        ["-p", "xdist", "-n", "1", "-l"],
    ],
    ids=" ".join,
)
KEY = bytes(range(0xA0, 0xC0))


@pytest.fixture
def texts(run, pytester):
    """Run a file of which so many tests fail, and return all that came out by its name, but for the key in the file."""

    def running(source, failed, *arguments, apart=False):
        every = ("--hsm-timeline=always", "--junitxml=out.xml", "--log-level=DEBUG", "-o", "hsm_keys=seeded")
        result = run(source.format(key=KEY.hex()), *every, *arguments, apart=apart)
        assert result.parseoutcomes()["failed"] == failed, result.parseoutcomes()
        found = {"stdout": result.stdout.str(), "stderr": result.stderr.str()}
        found |= {name: (pytester.path / name).read_text() for name in ("out.xml", "journal")}
        return {name: text.replace(f'fromhex("{KEY.hex()}")', "") for name, text in found.items()}

    return running


def shapes(secret):
    """Return how bytes may look in a text, both ends of them."""
    for part in (secret[:12], secret[-12:]):
        yield from (part.hex(), repr(part)[2:-1], base64.b64encode(part).decode(), str(list(part))[1:-1])


@ARGUMENTS
def test_secrets_are_nowhere(texts, pytester, arguments):
    """No key byte and no PIN is in reports, logs, journals, tracebacks or timelines, with locals shown or not."""
    found = texts(LEAKY, 8, *arguments)
    pins = set((pytester.path / "pins").read_text().split())
    assert len(pins) == 8
    for where, text in found.items():
        assert [secret for secret in (*pins, *shapes(KEY)) if secret in text] == [], where


@ARGUMENTS
def test_secrets_that_come_through_the_library_are_nowhere(texts, pytester, arguments):
    """Nor what an application hands to the PKCS#11 library, here or elsewhere: PIN, key, plaintext, signature."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: pip install python-pkcs11")
    if shutil.which("pkcs11-tool") is None:
        pytest.skip("there is no pkcs11-tool here: apt-get install opensc")
    found = texts(THROUGH_THE_LIBRARY, 7, *arguments, apart=True)  # python-pkcs11 is imported once in a process
    pins = set((pytester.path / "pins").read_text().split())
    assert len(pins) == 7
    [signature] = map(bytes.fromhex, (pytester.path / "signatures").read_text().split())
    assert "C_CreateObject" in found["stdout"] and "<user name>:<password>" in found["stdout"]
    for where, text in found.items():
        secrets = (*pins, *shapes(KEY), *shapes(KEY[::-1]), *shapes(signature))
        assert [secret for secret in secrets if secret in text] == [], where
