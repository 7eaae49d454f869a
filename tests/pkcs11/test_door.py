"""What does a test hold of the library?"""

import logging
import os
from pathlib import Path

import pytest

from pytest_hsmcluster import CKM, CKR, HsmCluster, Pkcs11Door, UsageError
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


def test_a_door_of_ones_own(hsm_cluster_factory):
    """Without pytest, `Pkcs11Door` is a context manager around clusters; each has a slot, a label and a PIN."""
    five, three = hsm_cluster_factory(), hsm_cluster_factory(sdk=3)
    with Pkcs11Door(five, three) as door:
        assert {token.cluster: token.label for token in door.slots.values()} == {five.id: "hsm1", three.id: "cavium"}
        ck = Calls(door.module)
        ck.initialize()
        for slot, token in door.slots.items():
            ck.login(ck.open(slot), token.user_pin)
            assert token.user_pin not in repr(token)
        with refused(CKR.PIN_INCORRECT):
            ck.login(ck.open(door.add(HsmCluster(1, seed=1))), door.user_pin)
        ck.finalize()
    with pytest.raises(UsageError, match="no cluster behind this door"):
        door.token_label  # noqa: B018


def test_a_door_of_ones_own_raises_what_no_return_value_says(hsm_cluster_factory, monkeypatch):
    """At the end of its block, unless that has failed already."""
    monkeypatch.setattr("pytest_hsmcluster.client.blocking.Client.login", lambda *_: 1 / 0)

    def fail(door):
        ck = Calls(door.module)
        ck.initialize()
        assert ck.rv("C_Login", ck.open(door.slot_id), 1, door.user_pin.encode(), len(door.user_pin)) == 6
        ck.finalize()

    with pytest.raises(ZeroDivisionError), Pkcs11Door(hsm_cluster_factory()) as door:
        fail(door)
    with pytest.raises(KeyError), Pkcs11Door(hsm_cluster_factory()) as door:
        fail(door)
        raise KeyError


def test_two_clusters_of_a_test_have_one_label_and_two_pins(hsm_pkcs11, hsm_cluster_factory):
    """The label is that of the SDK; the slot tells them apart."""
    second = hsm_cluster_factory(hsms=2)
    (first_slot, first), (second_slot, other) = hsm_pkcs11.slots.items()
    assert first.label == other.label == "hsm1"
    assert (first_slot, first.user_pin) == (hsm_pkcs11.slot_id, hsm_pkcs11.user_pin)
    assert other.user_pin == f"{second.default_user}:{second.default_password}" != first.user_pin
    ck = Calls(hsm_pkcs11.module)
    ck.initialize()
    session = ck.open(second_slot)
    ck.login(session, other.user_pin)
    ck.aes(session, "kek")
    ck.finalize()
    assert [key.label for hsm in second.hsms for key in hsm.keys.values()] == ["kek"] * 2


def test_test_cases_have_a_door(pytester, monkeypatch):
    """`self.hsm_pkcs11`, and the cluster beside it, in `setUp` too."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makepyfile(
        """
        import unittest
        import pytest
        from tests.pkcs11.ckcalls import Calls

        @pytest.mark.usefixtures("hsm_pkcs11")
        class TestVault(unittest.TestCase):
            def setUp(self):
                self.ck = Calls(self.hsm_pkcs11.module)
                self.ck.initialize()
                self.addCleanup(self.ck.finalize)
                self.session = self.ck.open(self.hsm_pkcs11.slot_id)

            def test_login(self):
                self.ck.login(self.session, self.hsm_pkcs11.user_pin)
                self.ck.aes(self.session, "kek")
                self.assertEqual(len(self.hsm_cluster.hsm("hsm-1").keys), 1)
        """
    )
    pytester.runpytest_subprocess("-p", "hsmcluster").assert_outcomes(passed=1)
