"""What does a test hold of the library?"""

import logging
import os
from pathlib import Path

import pytest

from pytest_hsmcluster import CKM, CKR
from tests.pkcs11.ckcalls import Calls, mechanism, refused


def test_a_door_says_how_to_come_in(hsm_pkcs11, hsm_cluster):
    """Path, label, PIN and slot of the first cluster; the environment for other processes."""
    assert Path(hsm_pkcs11.module).is_file()
    assert hsm_pkcs11.token_label == "hsm1"
    assert hsm_pkcs11.user_pin == f"{hsm_cluster.default_user}:{hsm_cluster.default_password}"
    [(name, path)] = hsm_pkcs11.env.items()
    assert name == "HSMCLUSTER_PKCS11_SOCKET"
    assert len(path) < 100
    assert os.stat(Path(path).parent).st_mode & 0o077 == 0
    assert repr(hsm_pkcs11) == f"<Pkcs11Door to {hsm_cluster.id}>"


def test_calls_are_a_trace(ck, session, hsm_pkcs11):
    """Of every call, in order: function, slot, session, result, instant."""
    key = ck.aes(session, "kek")
    ck.once(session, "Sign", mechanism(CKM.AES_CMAC), key, b"data")
    told = [called.function for called in hsm_pkcs11.calls]
    assert told == [
        *("C_Initialize", "C_OpenSession", "C_Login", "C_GenerateKey"),
        *("C_SignInit", "C_Sign", "C_Sign"),
    ]
    assert {called.slot for called in hsm_pkcs11.calls[1:]} == {hsm_pkcs11.slot_id}
    assert {called.session for called in hsm_pkcs11.calls[1:]} == {session}
    instants = [called.at_ns for called in hsm_pkcs11.calls]
    assert instants == sorted(instants) and instants[-1] > 0
    assert str(hsm_pkcs11.calls[-1]) == "C_Sign → CKR_OK"


def test_what_was_refused_is_told_once(ck, session, hsm_pkcs11, caplog):
    """With the reason, which no return value has; and it is in the log of `pytest_hsmcluster.pkcs11`."""
    with caplog.at_level(logging.INFO, "pytest_hsmcluster.pkcs11"):
        for _ in range(3):
            with refused(CKR.KEY_HANDLE_INVALID):
                ck.ok("C_SignInit", session, mechanism(CKM.AES_CMAC), 10**9)
    [line] = hsm_pkcs11.refusals
    assert line == ("C_SignInit → CKR_KEY_HANDLE_INVALID: object 1000000000 was never given out to app (3 times)")
    assert "object 1000000000 was never given out" in caplog.text


def test_an_exception_of_ours_fails_the_test_that_met_it(pytester, monkeypatch):
    """The application got CKR_FUNCTION_FAILED and coped; the test fails in its call phase, the next one does not."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        test_it="""
        import pytest
        from tests.pkcs11.ckcalls import Calls

        def work(door):
            ck = Calls(door.module)
            ck.rv("C_Initialize", None)
            session = ck.open(door.slot_id)
            return ck.rv("C_Login", session, 1, door.user_pin.encode(), len(door.user_pin))

        def test_mistaken(hsm_pkcs11, monkeypatch):
            monkeypatch.setattr("pytest_hsmcluster.client.blocking.Client.login", lambda *_: 1 / 0)
            assert work(hsm_pkcs11) == 6

        def test_fine(hsm_pkcs11):
            assert work(hsm_pkcs11) == 0
        """
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    result = pytester.runpytest_subprocess("-p", "hsmcluster")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*FAILED test_it.py::test_mistaken - ZeroDivisionError*"])


@pytest.mark.hsm_cluster(sdk=3)
def test_sdk_3s_token_has_its_own_label(hsm_pkcs11):
    """`cavium`."""
    assert hsm_pkcs11.token_label == "cavium"
    ck = Calls(hsm_pkcs11.module)
    ck.initialize()
    assert ck.token_info(hsm_pkcs11.slot_id).label.strip() == b"cavium"
    ck.finalize()
