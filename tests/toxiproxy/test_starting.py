"""Does a server come from where it should, and does it go when we do?"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.toxiproxy import starting
from pytest_hsmcluster.toxiproxy.answers import ToxiproxyError
from pytest_hsmcluster.toxiproxy.api import Api
from pytest_hsmcluster.toxiproxy.starting import NoServer, StartedServer, install_command, program, serving

from .conftest import PATIENCE_S


@pytest.fixture
def path():
    return program() or pytest.skip(f"no Toxiproxy: {install_command()}")


def connected(url):
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def await_end(connection):
    """Return when the other side has gone."""
    with suppress(ConnectionResetError):
        assert connection.recv(1) == b""


def test_a_started_server_listens_on_loopback_only_and_ends(path):
    """Each on a port of its own; closing twice is harmless."""
    one, two = StartedServer(path), StartedServer(path)
    assert one.url != two.url and one.pid != two.pid
    assert Api(one.url).version() and Api(two.url).proxies() == {}
    assert listening(one.pid) == ["0100007F"]  # 127.0.0.1, as proc(5) writes it
    connection = connected(one.url)
    one.close()
    one.close()
    with connection:
        await_end(connection)
    assert not os.path.exists(f"/proc/{one.pid}")
    assert Api(two.url).version()
    two.close()


def listening(pid):
    inodes = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    found = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
        found += [row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    return found


def test_the_server_outlives_the_thread_that_asked_for_it(path):
    """The signal follows the thread that forked, and that is one of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(StartedServer(path)))
    thread.start()
    thread.join()
    assert Api(found[0].url).version()
    found[0].close()


def test_the_server_dies_with_a_process_that_is_killed(path):
    """Nobody was there to end it."""
    code = (
        "import sys; from pytest_hsmcluster.toxiproxy.starting import StartedServer; "
        "print(StartedServer(sys.argv[1]).url, flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        with connected(process.stdout.readline().strip()) as connection:
            process.send_signal(signal.SIGKILL)
            process.wait()
            await_end(connection)


def test_a_program_that_does_not_listen_is_an_error():
    """It says what to try."""
    with pytest.raises(ToxiproxyError, match="/bin/true did not begin to listen"):
        StartedServer("/bin/true")


def test_a_program_that_cannot_be_started_is_an_error(monkeypatch):
    """It says why."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ToxiproxyError, match="cannot be started: .*No such file or directory: '/nowhere/python'"):
        StartedServer("/bin/true")


def test_what_a_wrapper_has_started_ends_with_it(monkeypatch, tmp_path):
    """As where the program on the PATH is a script that starts the real one beside itself."""
    told = tmp_path / "pid"
    wrapper = tmp_path / "toxiproxy-server"
    wrapper.write_text(f"#!/bin/sh\nsleep 3600 & echo $! > {told}.new; mv {told}.new {told}; wait\n")
    wrapper.chmod(0o755)
    monkeypatch.setattr(starting, "_listening_port", lambda pid: told.exists() and 1)
    server = StartedServer(str(wrapper))
    sleeper = os.pidfd_open(int(told.read_text()))
    server.close()
    ended = select.poll()
    ended.register(sleeper, select.POLLIN)
    assert ended.poll(1000 * PATIENCE_S)
    os.close(sleeper)


def test_a_running_server_is_used(url, monkeypatch):
    """`TOXIPROXY_URL` comes first, and is not ended."""
    monkeypatch.setenv("TOXIPROXY_URL", url + "/")
    with serving() as used:
        assert used == url
    assert Api(url).version()


@pytest.mark.parametrize(
    "wrong", ["http://example.org:8474", "https://127.0.0.1", "http://10.0.0.1", "http://127.0.0.1:x"]
)
def test_a_server_elsewhere_is_refused(wrong, monkeypatch):
    """Its proxies would listen there."""
    monkeypatch.setenv("TOXIPROXY_URL", wrong)
    with pytest.raises(UsageError, match=r"like http://127.0.0.1:8474, on this machine"), serving():
        pass


def test_what_does_not_answer_is_an_error(monkeypatch):
    """Somebody said that it runs: no reason to skip."""
    monkeypatch.setenv("TOXIPROXY_URL", "http://127.0.0.1:1")
    with pytest.raises(ToxiproxyError, match="does it run there, and is it Toxiproxy"), serving():
        pass


def test_without_a_server_one_is_told_how_to_get_it(monkeypatch, tmp_path):
    """The command is that of the Makefile, and names the version."""
    monkeypatch.delenv("TOXIPROXY_URL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(NoServer) as caught, serving():
        pass
    assert str(caught.value).endswith(f"Install it: {install_command()}")
    assert f"go install {starting.SOURCE} && mv " in str(caught.value)


def test_a_server_beside_python_is_found(monkeypatch, tmp_path):
    """A virtual environment that is not activated is not on the PATH."""
    for name in ("python", "toxiproxy-server"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert program() == str(tmp_path / "toxiproxy-server")


def test_makefile_builds_the_version_that_is_told(request):
    """`make toxiproxy`, which CI uses, and the reason of a skip cannot differ."""
    assert f"go install {starting.SOURCE}\n" in request.config.rootpath.joinpath("Makefile").read_text("utf-8")
    assert "make toxiproxy" in request.config.rootpath.joinpath("README.md").read_text("utf-8") + (
        request.config.rootpath.joinpath("CONTRIBUTING.md").read_text("utf-8")
    )
