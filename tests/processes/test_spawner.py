"""What becomes of HSM processes when the nursery cannot start, does not end, or is killed?"""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

import pytest_hsmcluster
from pytest_hsmcluster import HsmCluster, UsageError
from pytest_hsmcluster.processes import spawner
from pytest_hsmcluster.processes.spawner import Spawner
from tests.processes.remains import parent_of

FAST = {"network": "processes", "clock_rate": 20}
PACKAGE = os.path.dirname(os.path.dirname(pytest_hsmcluster.__file__))


@pytest.fixture
def new(monkeypatch):
    """There is no nursery yet; what a test makes ends with it."""
    made = []
    monkeypatch.setattr(spawner, "_SPAWNER", made)
    yield
    for one in made:
        one.close()


@pytest.mark.parametrize(
    "python, why",
    [("/nowhere/python", "No such file or directory"), ("/bin/false", "ends at once, or is killed")],
    ids=["is not there", "ends at once"],
)
def test_interpreter_that_does_not_start_is_told_to_people(new, monkeypatch, python, why):
    """At once."""
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(UsageError, match=f"HSM processes cannot be started.*{python}.*{why}"):
        HsmCluster(1, **FAST)


def test_what_the_nursery_lacks_is_told_to_people(new, monkeypatch, tmp_path):
    """The last line of what Python says."""
    (tmp_path / "msgspec.py").write_text("raise ImportError('no msgspec for this Python')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match="cannot be started by .*: ImportError: no msgspec for this Python"):
        HsmCluster(1, **FAST)


def test_nursery_finds_what_the_test_process_has_found():
    """Where packages are not installed, but lie in folders that were added at run time."""
    folders = [path for path in sys.path if "site-packages" in path] + [PACKAGE]
    program = (
        f"import sys; sys.path += {folders!r}\n"
        "from pytest_hsmcluster import HsmCluster\n"
        "with HsmCluster(1, network='processes') as cluster: print(len(cluster.client().random(8)))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [sys._base_executable, "-S", "-c", program], capture_output=True, text=True, env=environment, cwd="/"
    )
    assert (run.stdout, run.returncode) == ("8\n", 0), run.stderr


def test_nursery_ends_although_a_fork_of_the_test_process_lives_on(monkeypatch):
    """The fork has all that its parent had open; were the end of that awaited, a run would hang in the end."""
    monkeypatch.setattr(spawner, "START_S", 5)
    one = Spawner()
    come, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(come, 1)
        os._exit(0)
    os.close(come)
    one.close()
    assert not one._thread.is_alive()
    os.close(go)
    os.waitpid(pid, 0)


def test_cluster_made_right_after_the_nursery_was_killed(new):
    """Whether its end has been noticed or not: there is another one."""
    for _ in range(10):
        with HsmCluster(1, **FAST) as cluster:
            nursery = parent_of(cluster.hsm("hsm-1").pid)
        os.kill(nursery, signal.SIGKILL)
    with HsmCluster(1, **FAST) as cluster:
        assert len(cluster.client().random(8)) == 8


def test_hsm_whose_pipe_a_fork_keeps_open_can_be_killed(new, monkeypatch):
    """Its end is not that of the pipe: the process is dead, and that is all that is needed."""
    kept = []
    really = Spawner._ask

    def ask(self, order, *fds):
        kept.extend(map(os.dup, fds))
        return really(self, order, *fds)

    monkeypatch.setattr(Spawner, "_ask", ask)
    with HsmCluster(2, **FAST) as cluster:
        cluster.client()
        cluster.chaos.crash("hsm-1")
        assert cluster.hsm("hsm-1").pid is None
    for fd in kept:
        with suppress(OSError):
            os.close(fd)


def test_process_asks_for_as_many_descriptors_as_it_may_have():
    """What it may have says how many connections it can take."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256)); "
        "from pytest_hsmcluster.processes.guard import descriptors; "
        "print(descriptors(50), descriptors(100), descriptors(500), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE)
    assert run.stdout == "50 100 256 (256, 256)\n"
