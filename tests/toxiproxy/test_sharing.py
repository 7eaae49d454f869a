"""Do several users of one server leave each other alone, and who clears up behind the dead?"""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pytest_hsmcluster.toxiproxy import names
from pytest_hsmcluster.toxiproxy.answers import NotThere, Toxic, ToxiproxyError
from pytest_hsmcluster.toxiproxy.api import Api
from pytest_hsmcluster.toxiproxy.names import Names, is_leftover
from pytest_hsmcluster.toxiproxy.server import ToxiproxyServer

USER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.toxiproxy.conftest import EchoRoads, read
from pytest_hsmcluster.toxiproxy.server import ToxiproxyServer

def talk(one):
    one.sendall(b"ping")
    return read(one, 4)

def work(times):
    for _ in range(times):
        roads = EchoRoads("hsm-1", "hsm-2")
        with ToxiproxyServer({url!r}, worker={worker!r}) as server:
            server.attach(roads)
            with server.down("hsm-2"), server.limit_data("hsm-1", 3, direction="downstream"):
                assert talk(roads.connect()) == b"pin"
            assert talk(roads.connect()) == talk(roads.connect("app", "hsm-2")) == b"ping"
        roads.close()
"""


def user(request, url, worker, code):
    text = USER.format(tests=str(request.config.rootpath), url=url, worker=worker) + code
    return subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def foreign(url):
    """Somebody else's proxy, with a toxic."""
    api = Api(url)
    api.create("theirs", ("127.0.0.1", 9))
    api.add_toxic("theirs", Toxic("slow", "latency", "downstream", 1.0, {"latency": 7, "jitter": 0}))
    yield api.proxies()["theirs"]
    api.delete("theirs")


def test_two_workers_at_once_leave_each_other_and_strangers_alone(request, url, foreign):
    """Both use the same names of applications and HSMs; afterwards only the stranger's proxy is there, unchanged."""
    workers = [user(request, url, name, "work(10)") for name in ("gw0", "gw1")]
    told = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    assert Api(url).proxies() == {"theirs": foreign}


def test_the_next_run_clears_what_a_killed_process_left(request, url, foreign, roads):
    """Its proxies; nobody else's, dead or alive, whatever they are called."""
    code = (
        f"server = ToxiproxyServer({url!r}, 'gw3'); roads = EchoRoads('hsm-1'); server.attach(roads); roads.connect();"
        "server.latency('hsm-1', 30); print(*server._api.proxies(), flush=True); sys.stdin.read()"
    )
    with user(request, url, "gw3", code) as killed, ToxiproxyServer(url) as server:
        (left,) = [name for name in killed.stdout.readline().split() if name != "theirs"]
        server.attach(roads)
        roads.connect()
        assert server.remove_leftovers() == []  # it lives
        killed.send_signal(signal.SIGKILL)
        killed.wait()

        assert left in Api(url).proxies()
        assert server.remove_leftovers() == [left]
        assert server.remove_leftovers() == []
        (ours,) = [name for name in Api(url).proxies() if name != "theirs"]
        assert ours.startswith(server._names.prefix)
    assert Api(url).proxies() == {"theirs": foreign}


def test_a_name_says_whose_it_is():
    """Worker, process, a random part, application and HSM; fit for the path of an address."""
    one, two = Names("gw1"), Names("gw1")
    name = one.new("pay roll/ü", "hsm-1")
    assert name.startswith("hsmcluster-") and f"-p{os.getpid()}-" in name and "-gw1-" in name
    assert name.endswith("-1-pay_roll__-hsm_1")
    assert len({name, one.new("app", "hsm-1"), two.new("app", "hsm-1")}) == 3
    assert one.prefix != two.prefix


def test_only_dead_processes_of_this_machine_have_leftovers():
    """Another container's process has a number that means another one here; a number is used again."""
    alive = Names("main").new("app", "hsm-1")
    _, place, pid, began, *rest = alive.split("-")
    assert not is_leftover(alive)
    assert is_leftover("-".join(["hsmcluster", place, pid, str(int(began) + 1), *rest]))
    assert is_leftover("-".join(["hsmcluster", place, "p4194305", began, *rest]))  # above the largest that Linux gives
    assert not is_leftover("-".join(["hsmcluster", "0" * 8, "p4194305", began, *rest]))
    assert not is_leftover("hsmcluster") and not is_leftover("their-" + alive)


def test_a_process_that_nobody_has_collected_is_dead():
    """It holds nothing any more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        prefix = "-".join(Names("main").prefix.split("-")[:2])
        assert is_leftover(f"{prefix}-p{process.pid}-1-main-x-1-app-hsm_1")


@pytest.mark.parametrize("answer", [{"etcdserver": "3.5"}, [], None, "no proxies"])
def test_a_server_of_something_else_is_told_to_people(monkeypatch, answer):
    """What it answers makes no sense."""
    api = Api("http://127.0.0.1:1")
    found = SimpleNamespace(status_code=200, content=b"x", json=lambda: answer)
    monkeypatch.setattr(api._consumer, "get", lambda *_, **__: found)
    with pytest.raises(ToxiproxyError, match="no usable answer to GET /version .* is it Toxiproxy"):
        api.version()


def test_proxies_of_others_may_be_what_they_like(monkeypatch):
    """For leftovers nothing but their names is read."""
    server = ToxiproxyServer("http://127.0.0.1:1")
    theirs = {"theirs": {"listen": "localhost:redis"}}
    found = SimpleNamespace(status_code=200, content=b"x", json=lambda: theirs)
    monkeypatch.setattr(server._api._consumer, "get", lambda *_, **__: found)
    assert server.remove_leftovers() == []


def test_a_process_that_we_may_not_look_at_is_not_dead(monkeypatch):
    """/proc can be mounted so that those of other users are not there."""
    alive = Names("main").new("app", "hsm-1")

    def deny(*_):
        raise PermissionError

    monkeypatch.setattr(names, "_began", lambda pid: None)
    assert is_leftover(alive)  # one of ours that has gone
    monkeypatch.setattr(os, "kill", deny)
    assert not is_leftover(alive)


def test_refusals_of_the_server_are_told_in_its_words(url):
    """With the request that was refused."""
    api = Api(url)
    with pytest.raises(NotThere, match="DELETE /proxies/nobody: proxy not found"):
        api.delete("nobody")
    name = Names("main").new("app", "hsm-1")
    api.create(name, ("127.0.0.1", 9))
    with pytest.raises(ToxiproxyError, match="POST /proxies: proxy already exists"):
        api.create(name, ("127.0.0.1", 9))
    with pytest.raises(ToxiproxyError, match="invalid toxic type"):
        api.add_toxic(name, Toxic("x", "corrupt", "upstream", 1.0, {}))
    with pytest.raises(ToxiproxyError, match="POST /proxies: .*address already in use"):
        api._call("post", "/proxies", list, json={"name": name + "2", "upstream": "127.0.0.1:9", "listen": api.url[7:]})
    api.delete(name)


def test_two_servers_are_spoken_to_side_by_side(url):
    """The package's class-wide address is neither used nor changed, and proxies of the environment are passed by."""
    from toxiproxy.api import APIConsumer

    before = APIConsumer.host, APIConsumer.port
    one, nobody = Api(url), Api("http://127.0.0.1:1")
    with pytest.raises(ToxiproxyError):
        nobody.version()
    assert one.version()
    assert (APIConsumer.host, APIConsumer.port) == before


def test_a_proxy_of_the_environment_is_passed_by(url, monkeypatch):
    """What is on this machine is asked directly."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert Api(url).version()


def test_a_server_object_shows_no_more_than_numbers(url, roads):
    """Its repr is for people."""
    with ToxiproxyServer(url) as server:
        server.attach(roads)
        roads.connect()
        with server.down("hsm-2") as trouble:
            assert repr(server) == f"<ToxiproxyServer {url}, 1 proxies, 1 troubles>"
            assert repr(trouble) == "<Trouble down between all clients and hsm-2, active>"
        assert repr(trouble) == "<Trouble down between all clients and hsm-2, ended>"
        assert server.version == Api(url).version()
