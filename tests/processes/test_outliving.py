"""Does anything outlive its test, however that ends?"""

import errno
import fcntl
import os
import signal
import tempfile
import threading
import traceback
import warnings
from multiprocessing import get_context
from pathlib import Path

import pytest

from pytest_hsmcluster import HsmCluster, HsmUnavailable, RequestTimeout, UsageError
from pytest_hsmcluster.service.hsm import HsmState
from tests.processes.remains import Traces, Victim, children_of, parent_of

FAST = {"network": "processes", "clock_rate": 20}
WAIT = "sys.stdin.readline()\n"
CREATE = "while True: client.generate_key('AES', 256, label='another')\n"


@pytest.fixture
def cluster():
    with HsmCluster(2, **FAST) as cluster:
        yield cluster


def test_closed_cluster_leaves_nothing(cluster):
    traces = Traces.of(cluster)
    cluster.close()
    traces.assert_none()


def test_cluster_is_closed_when_the_test_fails():
    with pytest.raises(ZeroDivisionError), HsmCluster(2, **FAST) as cluster:
        traces = Traces.of(cluster)
        raise ZeroDivisionError
    traces.assert_none()


@pytest.mark.parametrize(
    "ending, code",
    [
        (WAIT, 0),
        (WAIT + "cluster.close()", 0),
        (WAIT + "os._exit(3)", 3),
        (WAIT + "sys.exit(3)", 3),
        (WAIT + "raise ValueError", 1),
        (WAIT + "os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        (WAIT + "os.execv('/bin/true', ['/bin/true'])", 0),
        (WAIT + "cluster.chaos.pause('hsm-1')\nos._exit(0)", 0),
    ],
    ids=["falls off the end", "close", "_exit", "exit", "exception", "SIGSEGV", "exec", "a frozen HSM"],
)
def test_nothing_outlives_the_test_process(tmp_path, ending, code):
    """It need not close its cluster; it need not even know that it ends."""
    victim = Victim(tmp_path, ending)
    assert victim.end()[0] == code
    victim.traces.assert_none()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_test_process_that_is_killed(tmp_path, death):
    """In the middle of a create, at a moment that nobody chooses; Ctrl-C goes to the whole group."""
    victim = Victim(tmp_path, CREATE)
    os.killpg(victim.process.pid, death)
    assert victim.end()[0] == -death
    victim.traces.assert_none()
    assert list(tmp_path.iterdir()) == []


def test_folder_of_a_run_that_was_killed_as_a_whole_is_removed_by_the_next(tmp_path):
    """Its nursery could not do it; a run that lives is left alone."""
    living, killed = Victim(tmp_path, WAIT), Victim(tmp_path, WAIT)
    os.kill(killed.nursery, signal.SIGKILL)
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.end()
    killed.traces.wait()
    assert killed.traces.folder.exists()
    (tmp_path / "hsmcluster-rack-notes").mkdir()

    following = Victim(tmp_path, WAIT)

    killed.traces.assert_none()
    assert living.traces.folder.exists() and following.traces.folder.exists()
    for victim in (living, following):
        assert victim.end()[0] == 0
        victim.traces.assert_none()
    assert [path.name for path in tmp_path.iterdir()] == ["hsmcluster-rack-notes"]


# -- somebody kills what is ours ------------------------------------------------------------------


def test_hsm_killed_by_somebody_has_crashed(cluster):
    """Its token keys are on its disk, the others go on, and it can be started again."""
    client = cluster.client()
    key = client.generate_key("AES", 256, label="kept")
    client.generate_key("AES", 256, label="gone", token=False)
    victim = cluster.hsm("hsm-1")
    traces = Traces.of(cluster)
    pid = victim.pid
    os.kill(pid, signal.SIGKILL)
    traces.wait(pid)

    assert [kept.label for kept in victim.keys.values()] == ["kept"]
    assert (victim.state, victim.pid) == (HsmState.DOWN, None)
    client.encrypt(key, b"data")
    cluster.chaos.restart("hsm-1")
    assert [kept.label for kept in victim.keys.values()] == ["kept"]
    assert client.random(8)
    cluster.close()
    traces.assert_none()


def test_pid_tells_at_once_that_somebody_has_killed_it(cluster):
    traces = Traces.of(cluster)
    os.kill(cluster.hsm("hsm-1").pid, signal.SIGKILL)
    traces.wait(traces.pids[0])
    assert cluster.hsm("hsm-1").pid is None
    assert cluster.hsm("hsm-1").state is HsmState.DOWN


def test_hsm_killed_by_somebody_just_before_the_end(cluster):
    """Nobody has noticed yet when the cluster is closed."""
    cluster.client().generate_key("AES", 256, label="kept")
    traces = Traces.of(cluster)
    os.kill(cluster.hsm("hsm-2").pid, signal.SIGKILL)
    cluster.close()
    traces.assert_none()


def test_hsm_that_somebody_has_stopped_does_not_hinder_the_end(cluster):
    """Nobody told the cluster; it goes on in order to say what it holds."""
    os.kill(cluster.hsm("hsm-1").pid, signal.SIGSTOP)
    traces = Traces.of(cluster)
    with pytest.raises(HsmUnavailable, match=r"did not carry out an order: somebody has stopped it \(SIGSTOP\)"):
        cluster.hsm("hsm-1").limits_set()
    cluster.close()
    traces.assert_none()


def test_cluster_whose_nursery_was_killed_can_be_closed(cluster):
    """Its HSMs die with the nursery: clients get errors of the cluster; the next process has a new nursery."""
    client = cluster.client()
    traces = Traces.of(cluster)
    os.kill(parent_of(cluster.hsm("hsm-1").pid), signal.SIGKILL)
    traces.wait()

    with pytest.raises((HsmUnavailable, RequestTimeout)):
        client.random(8)
    assert [hsm.state for hsm in cluster.hsms] == [HsmState.DOWN, HsmState.DOWN]
    cluster.chaos.restart("hsm-1")
    assert len(cluster.client("another").random(8)) == 8
    with HsmCluster(1, **FAST) as another:
        assert len(another.client().random(8)) == 8
    cluster.close()
    traces.assert_none()


def test_folder_is_known_to_a_new_nursery(tmp_path):
    """It took the place of a killed one, and the folder goes when the test process does."""
    victim = Victim(
        tmp_path,
        WAIT
        + "for hsm in cluster.hsms: hsm.keys\n"
        + "cluster.chaos.restart('hsm-1')\nprint(cluster.hsm('hsm-1').pid)\nsys.stdout.flush()\n"
        + WAIT
        + "os._exit(0)",
    )
    os.kill(victim.nursery, signal.SIGKILL)
    victim.traces.wait()
    victim.process.stdin.write("go\n")
    victim.process.stdin.flush()
    new = int(victim.process.stdout.readline())
    traces = Traces([new, parent_of(new)], victim.traces.ports, victim.traces.folder)
    assert victim.end()[0] == 0
    traces.assert_none()
    victim.traces.assert_none()


def test_ctrl_c_in_a_call_leaves_a_cluster_that_can_be_used_and_closed(cluster):
    """The call waits for an answer that is held; whoever interrupts it gets the keyboard interrupt and no more."""
    client = cluster.client()
    traces = Traces.of(cluster)
    held = cluster.chaos.inject("hold @ hsm.execute op=random")

    def interrupt():
        while not held.hits:
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGINT)

    neighbour = threading.Thread(target=interrupt)
    neighbour.start()
    with pytest.raises(KeyboardInterrupt):
        client.random(8)
    neighbour.join()
    held.release()
    cluster.chaos.undo_all()
    client.generate_key("AES", 256, label="after")
    cluster.close()
    traces.assert_none()


# -- threads and forks ------------------------------------------------------------------------


def test_cluster_outlives_the_thread_that_made_it():
    """A process that is to die with its parent dies with the thread that forked it: that is another one."""
    made = []
    maker = threading.Thread(target=lambda: made.append(HsmCluster(1, sdk=3, **FAST)))
    maker.start()
    maker.join()
    with made[0] as cluster:
        key = cluster.client().generate_key("AES", 256, label="mine")
        assert key.number in cluster.hsm("hsm-1").keys


def forked(act):
    """Let a forked process act, and return its exit code: 0 when it did what was expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads; the child takes no lock of theirs
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_forked_process_leaves_the_cluster_alone(cluster):
    """It may close its copy, and is refused everything else: connections and HSMs are its parent's."""
    client = cluster.client()
    key = client.generate_key("AES", 256, label="mine")

    def act():
        for use in (
            lambda: client.encrypt(key, b"data"),
            lambda: cluster.chaos.crash("hsm-1"),
            lambda: cluster.client("another"),
        ):
            with pytest.raises(UsageError, match="was forked from it"):
                use()
        cluster.close()

    pids = [hsm.pid for hsm in cluster.hsms]
    assert forked(act) == 0
    client.encrypt(key, b"data")
    assert [hsm.pid for hsm in cluster.hsms] == pids


def test_forked_process_has_clusters_of_its_own(cluster):
    """With a nursery of its own, which ends with it."""

    def act():
        with HsmCluster(1, sdk=3, **FAST) as own:
            assert own.client().generate_key("AES", 256, label="mine")
            assert parent_of(own.hsm("hsm-1").pid) != parent_of(cluster.hsm("hsm-1").pid)

    assert forked(act) == 0
    assert cluster.client().random(8)


def test_child_of_multiprocessing_ends_nothing(cluster):
    client = cluster.client()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = get_context("fork").Process(target=cluster.close)
        child.start()
    child.join()
    assert child.exitcode == 0
    assert client.random(8)


# -- many ------------------------------------------------------------------------------------


def open_files(pid):
    """How many descriptors a process has; None where one may not look."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return None


def test_fifty_clusters_leave_no_descriptor_and_no_zombie():
    """One after the other, in one test process, with one nursery."""
    counts, nurseries = [], set()
    for number in range(51):
        with HsmCluster(1, **FAST) as cluster:
            nursery = parent_of(cluster.hsm("hsm-1").pid)
            nurseries.add(nursery)
            if number in (0, 50):
                counts.append((open_files("self"), open_files(nursery), len(children_of(nursery))))
    assert counts[0] == counts[1]
    assert len(nurseries) == 1
    assert children_of(nursery) == []


def test_two_clusters_at_once_know_nothing_of_each_other(cluster):
    with HsmCluster(2, **FAST) as other:
        cluster.client().generate_key("AES", 256, label="ours")
        traces = Traces.of(other)
        assert [list(hsm.keys) for hsm in other.hsms] == [[], []]
        other.close()
        traces.assert_none()
    assert cluster.client().random(8)


def test_folder_that_cannot_be_made_is_told_to_people(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"No such file or directory; set TMPDIR"):
        HsmCluster(1, **FAST)


@pytest.mark.parametrize(
    "refusal, advice",
    [(errno.ENOLCK, "set TMPDIR to a folder on a local disk"), (errno.EMFILE, "raise the limit")],
    ids=["no locks there", "no descriptors"],
)
def test_folder_that_cannot_be_locked_is_told_to_people(monkeypatch, tmp_path, refusal, advice):
    """And removed; some file systems of other machines know no locks."""

    def refuse(*_):
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UsageError, match=f"allows no lock on one: {os.strerror(refusal)}; .*{advice}"):
        HsmCluster(1, **FAST)
    assert list(tmp_path.iterdir()) == []


def test_refused_cluster_leaves_no_descriptor(monkeypatch, tmp_path):
    HsmCluster(1, **FAST).close()
    before = open_files("self")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="set TMPDIR"):
        HsmCluster(1, **FAST)
    assert open_files("self") == before


def test_folder_whose_path_is_too_long_is_told_to_people(monkeypatch, tmp_path):
    """SQLite would not open a file there."""
    deep = tmp_path / ("x" * 200) / ("y" * 200)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(UsageError, match="too long for a database; set TMPDIR to a folder of at most"):
        HsmCluster(1, **FAST)
    assert list(deep.iterdir()) == []


def test_folder_just_short_enough_works(monkeypatch, tmp_path):
    deep = tmp_path / ("x" * 200)
    deep /= "y" * (375 - len(str(deep)) - 1)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with HsmCluster(2, **FAST) as cluster:
        key = cluster.client().generate_key("AES", 256, label="deep")
        cluster.chaos.crash("hsm-1")
        assert key.number in cluster.hsm("hsm-1").keys
    assert list(deep.iterdir()) == []


def test_folder_that_somebody_removed_does_not_hinder_the_end(cluster):
    folder = Traces.of(cluster).folder
    for path in sorted(folder.rglob("*"), reverse=True):
        (Path.rmdir if path.is_dir() else Path.unlink)(path)
    folder.rmdir()
    cluster.close()
