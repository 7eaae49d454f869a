"""Are applications of other processes served, and does a history stay reproducible where it can?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_hsmcluster import UsageError
from pytest_hsmcluster.drivers import pace
from pytest_hsmcluster.drivers.turnstile import Turnstile
from tests.pkcs11.ckcalls import Calls

APPLICATION = """
import sys
from tests.pkcs11.ckcalls import CKM, Calls, mechanism

module, slot, label, how = sys.argv[1:]
ck = Calls(module)
ck.initialize()
session = ck.open(int(slot))
ck.login(session, sys.stdin.readline().strip())
ck.aes(session, "tmp", TOKEN=False)
key = ck.aes(session, label)
ck.once(session, "Sign", mechanism(CKM.AES_CMAC), key, b"data")
if how == "wait":
    print("ready", flush=True)
    sys.stdin.readline()
if how == "finalize":
    ck.finalize()
"""


def arguments(door, label, how):
    return [sys.executable, "-c", APPLICATION, door.module, str(door.slot_id), label, how]


def environment(door):
    return {**os.environ, **door.env, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def start(hsm_pkcs11):
    """Start an application that waits, connected, until its input ends."""
    started = []

    def start(label="kek"):
        program = subprocess.Popen(
            arguments(hsm_pkcs11, label, "wait"),
            env=environment(hsm_pkcs11),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        program.stdin.write(hsm_pkcs11.user_pin + "\n")
        program.stdin.flush()
        assert program.stdout.readline() == "ready\n"
        return program

    yield start
    for program in started:
        program.stdin.close()
        program.wait()
        program.stdout.close()


@pytest.fixture
def run(hsm_pkcs11):
    """Run an application to its end."""

    def run(label="kek", how="finalize"):
        subprocess.run(
            arguments(hsm_pkcs11, label, how),
            env=environment(hsm_pkcs11),
            input=hsm_pkcs11.user_pin + "\n",
            text=True,
            check=True,
        )

    return run


@pytest.mark.parametrize("how", ["finalize", "leave"])
def test_one_application_after_the_other_is_reproducible(run, hsm_cluster, hsm_cluster_factory, hsm_pkcs11, how):
    """Its history has a digest, and it is that of the same calls in this process."""
    for label in ("first", "second"):
        run(label, how)
        hsm_cluster.clock.advance(60)
    told = hsm_cluster.history.digest()
    assert {key.label for key in hsm_cluster.hsm("hsm-1").keys.values()} == {"first", "second"}

    twin = hsm_cluster_factory(seed=hsm_cluster.seed)
    slot = list(hsm_pkcs11.slots)[1]
    ck = Calls(hsm_pkcs11.module)
    for label in ("first", "second"):
        ck.initialize()
        session = ck.open(slot)
        ck.login(session, f"{twin.default_user}:{twin.default_password}")
        ck.aes(session, "tmp", TOKEN=False)
        key = ck.aes(session, label)
        from tests.pkcs11.ckcalls import CKM, mechanism

        ck.once(session, "Sign", mechanism(CKM.AES_CMAC), key, b"data")
        ck.finalize()
        twin.clock.advance(60)
    assert twin.history.digest() == told


def test_two_applications_at_once_are_not_reproducible(start, hsm_cluster):
    """Chance decides who is first; the digest says so instead of lying."""
    start("first")
    start("second")
    with pytest.raises(UsageError, match="several applications, or threads of one, were connected at its socket at on"):
        hsm_cluster.history.digest()


def test_a_test_that_acts_meanwhile_is_not_reproducible(start, hsm_cluster):
    """Nobody knows whether the application has waited for it."""
    start()
    hsm_cluster.clock.advance(1)
    with pytest.raises(UsageError, match="called while an application was connected at its socket"):
        hsm_cluster.history.digest()


def test_an_application_that_dies_takes_its_session_keys_along(start, hsm_cluster):
    """Without a word: its last connection is gone, so it is over before the test goes on."""
    program = start()
    assert sum(len(hsm.keys) for hsm in hsm_cluster.hsms) == 4
    program.kill()
    program.wait()
    hsm_cluster.clock.advance(0)
    assert sum(len(hsm.keys) for hsm in hsm_cluster.hsms) == 3


def test_only_calls_take_time(run, hsm_cluster):
    """However long the application takes for itself, a start of Python for instance."""
    run()
    assert hsm_cluster.clock.now < 0.2


class Wall:
    """A wall clock on which a second passes whenever somebody looks."""

    def __init__(self):
        self.now_s = 0.0

    CLOCK_MONOTONIC = "the clock"

    def clock_gettime(self, clock):
        self.now_s += 1.0
        return self.now_s


def test_time_can_follow_the_wall_clock(run, hsm_pkcs11, hsm_cluster, monkeypatch):
    """`pace="wall"`: between two calls as much time passes as on the wall; and the history has no digest."""
    monkeypatch.setattr(pace, "time", Wall())
    hsm_pkcs11.pace = "wall"
    run()
    calls = [called for called in hsm_pkcs11.calls if called.slot]
    assert len(calls) - 2 < hsm_cluster.clock.now < 2 * len(hsm_pkcs11.calls)
    with pytest.raises(UsageError, match=r'simulated time followed the wall clock between the calls \(pace="wall"\)'):
        hsm_cluster.history.digest()


def test_a_closed_cluster_does_not_stop_the_others(run, hsm_pkcs11, hsm_cluster_factory, monkeypatch):
    """No time passes there any more."""
    other = hsm_cluster_factory()
    monkeypatch.setattr(pace, "time", Wall())
    hsm_pkcs11.pace = "wall"
    run("first")
    other.close()
    run("second")


def test_a_pace_is_set_in_time(hsm_pkcs11):
    """Before somebody may be connected, and to what there is."""
    with pytest.raises(UsageError, match="pace is 'calls' or 'wall'; got 'fast'"):
        hsm_pkcs11.pace = "fast"
    assert hsm_pkcs11.env
    with pytest.raises(UsageError, match=r"pace is set before \.env is read"):
        hsm_pkcs11.pace = "wall"


def test_an_application_in_simulated_time_may_run_another_one(run, hsm_cluster, hsm_app_time):
    """`hsm_app_time` patches waits: that for the server's thread stays a real one."""
    import time

    run("first")
    begun = time.monotonic()
    time.sleep(100)
    run("second")
    hsm_cluster.client("other").find_keys(label="second")
    assert time.monotonic() - begun > 100
    with pytest.raises(UsageError, match="the test waited for something in real time"):
        hsm_cluster.history.digest()


def test_actors_may_run_applications(run, hsm_cluster):
    """One has the turn while its application works."""
    hsm_cluster.run(lambda: run("first"), lambda: run("second"))
    assert {key.label for key in hsm_cluster.hsm("hsm-1").keys.values()} == {"first", "second"}


def test_the_servers_thread_is_no_stranger_until_it_has_ended(hsm_pkcs11, monkeypatch):
    """It may be ending an application that has just hung up; taken for a stranger, it would cost the digest."""
    assert hsm_pkcs11.env
    server, alive = hsm_pkcs11._server, []
    monkeypatch.setattr(Turnstile, "bid_farewell", lambda _: alive.append(server._thread.is_alive()))
    hsm_pkcs11.close()
    assert alive == [False]
