"""Does a key or a PIN ever stand in what pytest prints?"""

import base64

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


@pytest.mark.parametrize(
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
def test_secrets_are_nowhere(run, pytester, arguments):
    """No key byte and no PIN is in reports, logs, journals, tracebacks or timelines, with locals shown or not."""
    key = bytes(range(0xA0, 0xC0))
    result = run(
        LEAKY.format(key=key.hex()),
        *("--hsm-timeline=always", "--junitxml=out.xml", "--log-level=DEBUG", "-o", "hsm_keys=seeded", *arguments),
    )
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] == 8, outcomes
    pins = set((pytester.path / "pins").read_text().split())
    assert len(pins) == 8
    texts = {"stdout": result.stdout.str(), "stderr": result.stderr.str()}
    texts["junit"] = (pytester.path / "out.xml").read_text()
    texts["journal"] = (pytester.path / "journal").read_text()
    for where, text in texts.items():
        for pin in pins:
            assert pin not in text, where
        for part in (key[:12], key[-12:]):
            for shape in (part.hex(), repr(part)[2:-1], base64.b64encode(part).decode(), str(list(part))[1:-1]):
                assert shape not in text.replace(f'fromhex("{key.hex()}")', ""), where
