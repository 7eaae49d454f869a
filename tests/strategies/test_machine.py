"""Does a machine find what is wrong with an application, and say it in a few lines?"""

import re

import pytest
from hypothesis import strategies as st

from pytest_hsmcluster import ClusterError, DataInvalid, UsageError
from pytest_hsmcluster.faults.spec import Fault
from pytest_hsmcluster.stories.story import Ref, Shape
from pytest_hsmcluster.strategies import ChaosMachine, ClusterMachine
from pytest_hsmcluster.strategies.block import play_block, rehearse
from tests.strategies.wrong import PatientMachine, UnstableMachine, VaultMachine


def failure(machine, stories=50):
    """What a machine fails with, in the first block in which it does."""
    for seed in range(30):
        try:
            play_block(machine, None, seed, stories)
        except Exception as error:
            return error
    raise AssertionError("nothing was found")


def pasted_text(error):
    return next(note.partition("\n\n")[2] for note in error.__notes__ if note.startswith("a test to paste"))


class OneHsmMachine(ClusterMachine):
    """Promises that no key is lost, in a cluster that cannot keep that."""

    shapes = st.just(Shape(1, 3))
    steps = 12


def test_wrong_application_is_found_and_told_in_a_few_lines(pasted):
    """The test that is printed fails in the same way, in a run of pytest that knows nothing of Hypothesis."""
    error = failure(VaultMachine)
    assert isinstance(error, DataInvalid)
    text = pasted_text(error)
    assert text.count("\n    ") <= 7, text
    assert "vault = Vault(app)" in text and 'vault.load("' in text
    result = pasted(text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AES-GCM refuses this ciphertext*"])


def test_right_application_is_left_alone():
    for seed in range(2):
        play_block(PatientMachine, None, seed, 40)


def test_broken_promise_of_a_cluster_is_found_with_specs_that_do_the_same(pasted):
    """A check is an invariant; what is left is a test, and options for a test that makes the same calls."""
    error = failure(OneHsmMachine)
    text = pasted_text(error)
    assert text.count("\n    ") <= 8, text
    pasted(text).assert_outcomes(failed=1)
    told = "\n".join(error.__notes__)
    assert "lost key" in str(error)
    assert re.search(r"--hsm-chaos=|remove_hsm|install\(", told)


def test_check_at_the_end_waits_until_all_trouble_is_over():
    """HSMs may differ while one is off; when it is back they must hold the same keys."""

    class Settling(ClusterMachine):
        shapes = st.just(Shape(2, 3))
        checks = ()
        checks_at_end = ("durable",)

    machine = Settling()
    machine.open(Shape(2, 3))
    machine.call("app", "generate_key", "AES", 256, gives="key_1")
    machine.suffer("crashed-hsm hsm=hsm-1")
    machine.teardown()

    machine = Settling()
    machine.open(Shape(2, 3))
    machine.call("app", "generate_key", "AES", 256, gives="key_1")
    machine.suffer("destroyed-hsm hsm=hsm-1")
    with pytest.raises(AssertionError, match="key at risk"):
        machine.teardown()
    assert machine.cluster.closed


def test_call_returns_what_it_gives_and_meets_what_is_expected():
    machine = VaultMachine()
    machine.open(Shape())
    assert machine.call("app", "random", 4, gives="bytes_1") == machine.player.things["bytes_1"]
    machine.strike("fail KeyNotOnHsm @ client.route nth=1")
    assert machine.call("app", "random", 4) is None
    with pytest.raises(UsageError, match="random"):
        machine.call("app", "random", -1)
    with pytest.raises(AssertionError, match="not so"):
        machine.call("app", "digest", b"", equals=(b"",))
    assert machine.make("again", type(machine).vault, Ref("app")) is machine.player.things["again"]
    machine.teardown()


def test_hardships_come_in_pairs():
    """What was begun is ended, and what makes no sense just now does nothing."""
    machine = ChaosMachine()
    machine.open(Shape())
    machine.suffer("crashed-hsm hsm=hsm-2")
    machine.strike("drop @ wire.request nth=1")
    assert machine.cluster.hsm("hsm-2").state == "down"
    machine.relieve(0)
    machine.relieve(0)
    assert machine.cluster.hsm("hsm-2").state == "up"
    assert not machine.cluster.chaos.injections[0].installed
    machine.suffer("destroyed-hsm hsm=hsm-1")
    machine.suffer("crashed-hsm hsm=hsm-1")
    machine.restart("hsm-1")
    machine.wait(60)
    machine.sweep()
    machine.teardown()


def test_trouble_can_be_bounded():
    """Faults strike where and as the machine says, and there are no more of them at a time."""

    lengths: list[int] = []
    drawn: list[Fault] = []

    class Bounded(VaultMachine):
        points = "client.clone hsm.*"
        effects = "crash"
        operations = ("generate_key",)
        most = 2

        def teardown(self):
            lengths.append(len(self._troubles))
            drawn.extend(told.step.args[0] for told in self.player.told if told.step.does == "inject")
            super().teardown()

    play_block(Bounded, None, 1, 20)
    assert max(lengths) == 2
    assert len({str(fault) for fault in drawn}) > 3
    assert all(str(fault).startswith("crash") for fault in drawn)
    assert all(str(fault.point).startswith(("client.clone", "hsm.")) for fault in drawn)
    with pytest.raises(UsageError, match="no point matches 'hsm.comit'"):
        play_block(type("Mistyped", (VaultMachine,), {"points": "hsm.comit"}), None, 1, 5)


def test_rehearsal_names_the_first_event_that_differs():
    """With likely causes; a machine that repeats itself passes."""
    rehearse(PatientMachine)
    with pytest.raises(AssertionError) as caught:
        rehearse(UnstableMachine)
    told = str(caught.value)
    assert "played twice and is not the same" in told
    assert re.search(r"event \d+ is the first that differs", told)
    assert "likely causes" in told


def test_block_of_something_else_is_refused():
    for what, strategy in ((VaultMachine, st.none()), (print, None), (3, st.none())):
        with pytest.raises(UsageError, match="a campaign plays a machine"):
            play_block(what, strategy, 0, 1)


def test_machine_is_an_ordinary_hypothesis_test():
    """Its `TestCase` can be collected by pytest, with Hypothesis' own settings."""
    assert issubclass(VaultMachine.TestCase, __import__("unittest").TestCase)
    assert VaultMachine.expected == (ClusterError,)
