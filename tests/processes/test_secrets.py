"""Can anybody find a PIN or the bytes of a key of an HSM process who should not?"""

import gc
import logging
import os
import select
import signal
import stat
from pathlib import Path

import pytest

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.processes import control
from pytest_hsmcluster.processes.codec import record_of
from pytest_hsmcluster.processes.database import DeadDisk
from tests.processes.remains import parent_of
from tests.processes.strangers import activation_of

FAST = {"network": "processes", "clock_rate": 20}
PIN = "tulip-orchid-fern"
TOKEN, SESSION = bytes(range(1, 33)), bytes(range(101, 133))
DATA = b"what only the application knows"


@pytest.fixture
def cluster(caplog):
    """A cluster that has been used: keys of both kinds, another user, a lost HSM, a restart."""
    caplog.set_level(logging.DEBUG)
    with HsmCluster(3, **FAST) as cluster:
        cluster.create_user("gardener", PIN)
        client = cluster.client()
        cluster.token_key = client.import_key("AES", TOKEN, label="token")
        client.import_key("AES", SESSION, label="session", token=False)
        client.generate_key_pair("EC", "secp256r1", label="pair")
        other = cluster.client("other", login=False)
        other.login("gardener", PIN)
        client.share_key(cluster.token_key, with_user="gardener")
        client.encrypt(cluster.token_key, DATA)
        client.delete_key(client.generate_key("AES", 256, label="deleted"))
        cluster.chaos.crash("hsm-2")
        cluster.chaos.restart("hsm-2")
        cluster.backup()
        yield cluster


def secrets_of(cluster):
    """What nobody is to find, by what it is: bytes as they are, and in hexadecimal digits."""
    found = {
        "token key": TOKEN,
        "session key": SESSION,
        "PIN": PIN.encode(),
        "the default user's PIN": cluster.default_password.encode(),
        "masking key": cluster._world.masking_key.reveal(),
        "data": DATA,
        "the HSMs' TLS key": activation_of(cluster).hsm.key.splitlines()[1],
        **{
            f"key {key.handle}": key.material.encoded
            for hsm in cluster.hsms
            for key in hsm.keys.values()
            if key.material.part.name != "PUBLIC_KEY"
        },
    }
    assert len(found) > 8
    return found


def assert_no_secret(found, text, where):
    content = text if isinstance(text, bytes) else text.encode()
    for what, secret in found.items():
        shown = repr(secret)[2:-1].encode()
        assert secret not in content, f"{what} in {where}"
        assert secret.hex().encode() not in content.lower(), f"{what} in {where}, in hexadecimal digits"
        assert shown not in content, f"{what} in {where}, as Python shows it"


def folder_of(cluster):
    return cluster.network._rack._folder.path


def processes_of(cluster):
    """The HSM processes and their nursery."""
    pids = [hsm.pid for hsm in cluster.hsms if hsm.pid]
    return [*pids, parent_of(pids[0])]


# -- the disk --------------------------------------------------------------------------------


def test_disk_tells_nothing(cluster):
    """Neither the database nor what SQLite keeps beside it; session keys never get there at all."""
    found, files = secrets_of(cluster), [path for path in folder_of(cluster).rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"hsm.db", "hsm.db-wal", "hsm.db-shm"}
    for path in files:
        assert_no_secret(found, path.read_bytes(), path.name)


def test_report_on_the_disk_names_no_session_key():
    """It is sealed, and what is lost with the process anyway is not in it."""
    with HsmCluster(2, **FAST) as cluster:
        client = cluster.client()
        client.generate_key("AES", 256, label="token")
        client.generate_key("AES", 256, label="session", token=False)
        cluster.chaos.crash("hsm-1")
        with disk_of(cluster.hsm("hsm-1")) as disk:
            _, sealed = disk.told
        report = control.decode_telling(cluster._world.masking_key.unseal(sealed))
        held = [fact.key for fact in report.facts if isinstance(fact, control.Held)]
        assert [key.session for key in held] == [None]


def disk_of(hsm):
    """The disk of an HSM that is off."""
    return DeadDisk(hsm._home.folder(hsm.id))


def test_files_are_their_owners_alone(cluster):
    """Also those that are made to look at the disk of a dead HSM."""
    usual = os.umask(0)
    try:
        cluster.chaos.crash("hsm-3")
        with disk_of(cluster.hsm("hsm-3")):
            paths = [folder_of(cluster), *folder_of(cluster).rglob("*")]
            wrong = [path for path in paths if stat.S_IMODE(path.stat().st_mode) != (0o700 if path.is_dir() else 0o600)]
            assert any("copy-" in str(path) for path in paths)
    finally:
        os.umask(usual)
    assert wrong == []


# -- the processes -----------------------------------------------------------------------------


def test_command_lines_and_environments_tell_nothing(cluster):
    found = secrets_of(cluster)
    for pid in processes_of(cluster):
        assert_no_secret(found, Path(f"/proc/{pid}/cmdline").read_bytes(), "a command line")
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except PermissionError:
            continue  # not even its owner may look
        assert_no_secret(found, environment, "an environment")


def test_processes_may_not_be_dumped_or_looked_into(cluster):
    """Their files in /proc belong to root then (proc(5)), and no core file is written."""
    for pid in processes_of(cluster):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max core file size        0                    0" in limits
        if os.getuid():
            assert os.stat(f"/proc/{pid}/fd").st_uid == 0
            with pytest.raises(PermissionError):
                Path(f"/proc/{pid}/mem").read_bytes()


@pytest.mark.parametrize("death", [signal.SIGSEGV, signal.SIGABRT])
def test_process_that_crashes_leaves_no_core(cluster, death):
    """Whatever the system does with core files: it is not told to make one."""
    hsm = cluster.hsm("hsm-1")
    end = os.pidfd_open(hsm.pid)
    before = set(folder_of(cluster).rglob("*"))
    status = Path(f"/proc/{hsm.pid}/stat")
    os.kill(hsm.pid, death)
    poll = select.poll()
    poll.register(end, select.POLLIN)
    assert poll.poll(30_000)
    os.close(end)
    code = int(status.read_text().split()[-1])  # of a zombie: its nursery has not asked yet
    if code:  # whoever may not look into a process is not told how it ended
        assert os.WIFSIGNALED(code) and not os.WCOREDUMP(code)
    assert set(folder_of(cluster).rglob("*")) == before
    assert hsm.keys
    assert not hsm.alive


def test_only_the_loopback_interface_is_listened_on(cluster):
    """As the system sees it: every socket of every process, of both versions of IP."""
    ports = {cluster.network.upstream(hsm.id)[1] for hsm in cluster.hsms}
    seen = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, port = local.split(":")
            if state == "0A" and int(port, 16) in ports:
                seen.add((table, address, int(port, 16)))
    assert seen == {("tcp", "0100007F", port) for port in ports}


# -- what people are shown ----------------------------------------------------------------------


def test_log_and_journal_tell_nothing(cluster, caplog, capfd, tmp_path):
    found = secrets_of(cluster)
    with pytest.raises(Exception, match="wrong password"):
        cluster.client("thief", login=False).login("gardener", PIN + "!")
    assert_no_secret(found, caplog.text, "the log")
    cluster.history.save(tmp_path / "journal")
    assert_no_secret(found, (tmp_path / "journal").read_bytes(), "the journal")
    assert_no_secret(found, "".join(capfd.readouterr()), "the output")


def test_no_object_shows_a_secret(cluster):
    """Whatever a debugger, an assertion or a log line prints of the objects of this room."""
    found = secrets_of(cluster)
    rack = cluster.network._rack
    shown = [cluster, cluster.network, rack, rack._activation, *rack.mirrors.values()]
    shown += [mirror.link for mirror in rack.mirrors.values()]
    shown += [one for one in gc.get_objects() if str(type(one).__module__).startswith("pytest_hsmcluster.processes")]
    assert len(shown) > 20
    for one in shown:
        assert_no_secret(found, repr(one), f"a {type(one).__name__}")


def test_messages_on_the_private_pipe_show_nothing(cluster):
    """They hold keys, the masking key, digests of PINs."""
    found = secrets_of(cluster)
    key = cluster.hsm("hsm-1").keys[cluster.token_key.number]
    heard = [control.Insert(1, "sync", None, [record_of(key)], []), control.Held(1, "sync", None, b"", record_of(key))]
    heard += [control.Report(1, heard[1:]), control.User("gardener", "CU", 4, b"digest of " + PIN.encode())]
    for message in heard:
        assert_no_secret(found, f"{message!r} {message}", type(message).__name__)


# -- when something goes wrong ------------------------------------------------------------------

FAILING = """
import logging
import pytest

pytestmark = pytest.mark.hsm_cluster(hsms=2, network="processes", clock_rate=20)

def test_fails(hsm_cluster, hsm_client, caplog):
    caplog.set_level(logging.DEBUG)
    hsm_cluster.create_user("gardener", open("pin").read())
    key = hsm_client.import_key("AES", open("key", "rb").read(), label="token")
    other = hsm_cluster.client("other", login=False)
    other.login("gardener", open("pin").read())
    with pytest.raises(Exception):
        other.encrypt(key, b"data")
    hsm_cluster.chaos.crash("hsm-1")
    hsm_client.encrypt(key, b"data")
    other.encrypt(key, b"data")
"""


def test_report_of_a_failing_test_tells_nothing(pytester):
    """With all that pytest shows: locals, log, output, the timeline."""
    Path("pin").write_text(PIN)
    Path("key").write_bytes(TOKEN)
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_subprocess("--showlocals", "-vv", "--full-trace", "-rA")
    result.assert_outcomes(failed=1)
    assert_no_secret({"token key": TOKEN, "PIN": PIN.encode()}, result.stdout.str() + result.stderr.str(), "the report")


def test_trace_of_a_broken_process_tells_nothing(cluster):
    """A mistake of this package comes home as a traceback: lines of code, and no values."""
    hsm = cluster.hsm("hsm-1")
    found = secrets_of(cluster)
    with pytest.raises(AssertionError, match="ended by a mistake in pytest-hsmcluster") as broken:
        hsm.link.tell(control.Change(1, 1 << 60, -1, TOKEN))
        hsm.link._wait(lambda: False, "did not break")
    assert_no_secret(found, str(broken.value), "the traceback")
