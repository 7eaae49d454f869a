"""What becomes of the library when processes fork, die, end, start anew, and have many threads."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_hsmcluster import Pkcs11Door
from tests.pkcs11.native.calling import OK, SESSION_INVALID, SLOT_INVALID, Library

pytestmark = pytest.mark.timeout(60)  # the watchdog: what hangs is ended and has failed

ROOT = Path(__file__).parents[3]
BEGIN = """
import ctypes, os, sys, threading
from tests.pkcs11.native.calling import Library
library = Library(sys.argv[1])
def started():
    return library.C_Initialize(None)
def sessions(slot=int(sys.argv[2])):
    number = ctypes.c_ulong()
    result = library.C_OpenSession(slot, 6, None, None, ctypes.byref(number))
    return result, number.value
def digest(session):
    size, room = ctypes.c_ulong(32), ctypes.create_string_buffer(32)
    result = library.C_DigestInit(session, (ctypes.c_ulong * 3)(0x250, 0, 0))
    return result or library.C_Digest(session, b"abc", 3, room, ctypes.byref(size))
def sockets():
    found = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [link for one in found if os.path.islink(one) and (link := os.readlink(one)).startswith("socket:")]
def say(*what):
    print(*what, flush=True)
"""


def script(door: Pkcs11Door, body: str) -> list[str]:
    return [sys.executable, "-c", BEGIN + body, door.module, str(door.slot_id)]


def run(door: Pkcs11Door, body: str, env: dict[str, str] | None = None) -> str:
    """Return what a process has said; it has ended well, and said nothing else."""
    whole = {**os.environ, **(door.env if env is None else env), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script(door, body), env=whole, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def started(hsm_pkcs11: Pkcs11Door) -> Iterator[Any]:
    """Starts a process that a test talks to; it is ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(body: str) -> subprocess.Popen[str]:
        whole = {**os.environ, **hsm_pkcs11.env, "PYTHONPATH": str(ROOT)}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(script(hsm_pkcs11, body), env=whole, cwd=ROOT, **pipes))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.communicate()


def test_sixteen_threads(hsm_pkcs11: Pkcs11Door) -> None:
    """With CKF_OS_LOCKING_OK: each works in a session of its own, and all are one application."""
    said = run(
        hsm_pkcs11,
        """
start = (ctypes.c_ulong * 6)(0, 0, 0, 0, 2, 0)
assert library.C_Initialize(start) == 0
results, gate = [], threading.Barrier(16)
def work():
    gate.wait()
    result, session = sessions()
    found = [result] + [digest(session) for _ in range(50)]
    results.append(found + [library.C_CloseSession(session)])
threads = [threading.Thread(target=work) for _ in range(16)]
[one.start() for one in threads]
[one.join() for one in threads]
say(results == [[0] * 52] * 16, library.C_Finalize(None))
""",
    )

    assert said == "True 0\n"
    assert len({called.session for called in hsm_pkcs11.calls if called.function == "C_Digest"}) == 16


def test_an_application_outlives_the_thread_that_began_it(hsm_pkcs11: Pkcs11Door) -> None:
    """A thread pool starts the library, opens a session, and ends; the session is used by who comes after."""
    said = run(
        hsm_pkcs11,
        """
found = []
first = threading.Thread(target=lambda: found.extend([started(), sessions()]))
first.start(); first.join()
say(found[0], found[1][0], digest(found[1][1]))
""",
    )

    assert said == "0 0 0\n"


def test_it_starts_anew_after_c_finalize(hsm_pkcs11: Pkcs11Door) -> None:
    """As often as one likes; the sessions of the first time are over, and no connection is left."""
    said = run(
        hsm_pkcs11,
        """
def files(): return len(os.listdir("/proc/self/fd"))
before, old = files(), []
for _ in range(5):
    say(started(), started(), sessions()[0], [library.C_CloseSession(one) for one in old], library.C_Finalize(None))
    old = [library.C_Initialize(None) or sessions()[1]]
    library.C_Finalize(None)
say(files() - before)
""",
    )

    lines = said.splitlines()
    assert lines[0] == "0 401 0 [] 0" and lines[1:5] == [f"0 401 0 [{SESSION_INVALID}] 0"] * 4 and lines[5] == "0"


def test_a_forked_child_begins_anew(hsm_pkcs11: Pkcs11Door) -> None:
    """It has none of its parent's connections; after C_Initialize it is an application of its own."""
    said = run(
        hsm_pkcs11,
        """
say(started(), *sessions()[:1])
mine = sockets()
if (child := os.fork()) == 0:
    shared = [one for one in sockets() if one in mine]
    say(len(mine), shared, sessions()[0], library.C_Finalize(None), started(), sessions()[0])
    os._exit(0)
os.waitpid(child, 0)
say(sessions()[0])
""",
    )

    assert said.splitlines() == ["0 0", "1 [] 400 400 0 0", "0"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_of_the_test_answers_nothing_from_its_copy(hsm_pkcs11: Pkcs11Door) -> None:
    """The cluster is the parent's.  The child has to call C_Initialize, which wants the socket."""
    library = Library(hsm_pkcs11.module)
    library.C_Initialize(None)
    session = library.session(hsm_pkcs11.slot_id)
    env = hsm_pkcs11.env
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        results = [library.C_CloseSession(session), library.C_Initialize(None)]
        os.environ.update(env)
        results += [library.C_Initialize(None), library.C_CloseSession(session), library.C_Finalize(None)]
        os.write(writing, repr(results).encode())
        os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    said = os.read(reading, 1000).decode()
    os.close(reading)

    assert said == f"[400, 5, 0, {SESSION_INVALID}, 0]"
    assert library.C_CloseSession(session) == OK
    library.C_Finalize(None)


def test_a_process_that_is_killed_leaves_nothing(hsm_pkcs11: Pkcs11Door, started: Any) -> None:
    """In the middle of its calls; the next one works, and its sessions are over."""
    process = started('assert started() == 0; say("ready")\nwhile True: sessions(), library.C_CloseAllSessions(1)')
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert run(hsm_pkcs11, "say(started(), sessions()[0])") == "0 0\n"


def test_a_parent_that_is_killed_is_over_although_its_child_lives(hsm_pkcs11: Pkcs11Door, started: Any) -> None:
    """A fork shares open files, and the door would not hear of the parent's end as long as the child has them."""
    process = started(
        """
assert started() == 0 and sessions()[0] == 0
if os.fork() == 0:
    say(os.getpid())
    sys.stdin.read()
    os._exit(0)
os.wait()
"""
    )
    child = int(process.stdout.readline())
    server = hsm_pkcs11._server
    assert server is not None and child
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run(hsm_pkcs11, "say(started())") == "0\n"

    assert [one.initialized for one in server.applications[:1]] == [False]


def test_the_interpreter_may_end_with_everything_open(hsm_pkcs11: Pkcs11Door) -> None:
    """python-pkcs11 closes its sessions and the library when it is collected: the exit status is 0 all the same."""
    pytest.importorskip("pkcs11", reason="pip install python-pkcs11")
    body = """
import pkcs11
lib = pkcs11.lib(sys.argv[1])
token = next(iter(lib.get_tokens()))
kept = [token.open(rw=True) for _ in range(3)]
sys.kept = kept
say(len(kept))
"""
    assert run(hsm_pkcs11, body) == "3\n"
    assert run(hsm_pkcs11, IN_PROCESS + body + "sys.exit(0)", env={}) == "3\n"


IN_PROCESS = """
import pathlib
from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.pkcs11 import active
active.MODULE = pathlib.Path(sys.argv[1])
from pytest_hsmcluster import Pkcs11Door
cluster = HsmCluster(2, seed=1)
door = Pkcs11Door()
door.add(cluster, "a test")
"""


def test_after_the_interpreter_has_ended_only_tidying_up_succeeds(hsm_pkcs11: Pkcs11Door) -> None:
    """What runs in `atexit` before ours, and what C does after it."""
    body = """
import atexit
def late():
    say(sessions()[0], library.C_CloseSession(1), library.C_Finalize(None), started())
atexit.register(late)
"""
    process = [sys.executable, "-c", BEGIN + body + IN_PROCESS + "say(started())", hsm_pkcs11.module, "1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(process, env=env, cwd=ROOT, capture_output=True, text=True, timeout=50)

    assert (done.returncode, done.stdout) == (0, "0\n400 0 0 5\n")
    assert done.stderr == "hsmcluster: C_Initialize: the test run that carried the calls has ended\n"


def test_without_a_cluster_c_initialize_says_why(hsm_pkcs11: Pkcs11Door) -> None:
    """A path that was left in a configuration file, on a machine where no test runs."""
    env = {name: value for name, value in os.environ.items() if name != "HSMCLUSTER_PKCS11_SOCKET"}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(script(hsm_pkcs11, "say(started())"), env=env, cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "5\n")
    assert "no cluster is running: use the fixture hsm_pkcs11" in done.stderr


def test_clusters_are_slots(hsm_pkcs11: Pkcs11Door, hsm_cluster_factory: Any) -> None:
    """Two clusters are two slots, for other processes as well; a session is one at its own slot."""
    hsm_cluster_factory()
    first, second = hsm_pkcs11.slots

    assert run(hsm_pkcs11, f"say(started(), sessions({first})[0], sessions({second})[0], sessions(9999)[0])") == (
        f"0 0 0 {SLOT_INVALID}\n"
    )


def test_a_door_that_closes_under_a_session_says_whose_it_was(hsm_pkcs11: Pkcs11Door, hsm_cluster: Any) -> None:
    """Session and slot mean nothing any more, and the trace says to which test they belonged."""
    library = Library(hsm_pkcs11.module)
    library.C_Initialize(None)
    first = Pkcs11Door()
    slot = first.add(hsm_cluster, "tests/test_first.py::test_first")
    session = library.session(slot)
    first.close()

    assert library.C_GenerateRandom(session, b"12345678", 8) == SESSION_INVALID
    assert library.C_OpenSession(slot, 6, None, None, b"12345678") == SLOT_INVALID
    assert all("tests/test_first.py::test_first, which is over" in called.why for called in hsm_pkcs11.calls[-2:])
    library.C_Finalize(None)


def test_a_forked_child_may_open_a_door_of_its_own(hsm_pkcs11: Pkcs11Door) -> None:
    """Plugins run tests in forked children: there a cluster is made, and calls come to it, in process."""
    said = run(
        hsm_pkcs11,
        IN_PROCESS
        + """
assert started() == 0
if os.fork() == 0:
    own = Pkcs11Door()
    number = own.add(HsmCluster(2, seed=2), "another")
    say(sessions()[0], started(), sessions(number)[0], len(own.calls))
    os._exit(0)
os.wait()
say(sessions(door.slot_id)[0])
""",
        env={},
    )

    assert said == "400 0 0 2\n0\n"
