"""What do real connections suffer from a real Toxiproxy, and what is left afterwards?"""

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.toxiproxy.answers import ToxiproxyError
from pytest_hsmcluster.toxiproxy.api import Api
from pytest_hsmcluster.toxiproxy.server import ToxiproxyServer

from .conftest import EchoRoads, is_silent, read

BLOCK = bytes(range(250)) * 4


def talk(one, text=b"ping"):
    one.sendall(text)
    return read(one, len(text))


def ours(server):
    return {name: one for name, one in Api(server.url).proxies().items() if name.startswith(server._names.prefix)}


def test_bytes_pass_a_proxy_that_is_made_before_the_first_connection(proxied, roads):
    """One for each application and HSM, on a port of 127.0.0.1 that the server chose."""
    assert ours(proxied) == {}

    for client, hsm in (("app", "hsm-1"), ("app", "hsm-1"), ("app", "hsm-2"), ("other app/1", "hsm-1")):
        assert talk(roads.connect(client, hsm)) == b"ping"

    listen = [one.listen for one in ours(proxied).values()]
    assert sorted(listen) == sorted(roads.detours.values()) and len(listen) == 3
    assert all(host == "127.0.0.1" and port > 0 for host, port in listen)
    assert roads.echoes["hsm-1"].received == b"ping" * 3


def test_latency_holds_the_answer_back_until_it_ends(proxied, roads):
    """The HSM has got the request and the application nothing; the end of the block loses no byte."""
    one, other = roads.connect(), roads.connect("other")
    with proxied.latency("hsm-1", 30, direction="downstream", client="app"):
        one.sendall(b"ping")
        assert roads.echoes["hsm-1"].await_bytes(4) == b"ping"
        assert talk(other) == b"ping"  # an answer that nobody holds back has had its time
        assert is_silent(one)
    assert read(one, 4) == b"ping"


def test_latency_strikes_one_application_and_one_hsm_only(proxied, roads):
    """Others are served meanwhile."""
    with proxied.latency("hsm-1", 30, client="slow"):
        slow = roads.connect("slow")
        slow.sendall(b"ping")
        assert talk(roads.connect("app")) == talk(roads.connect("slow", "hsm-2")) == b"ping"
        assert is_silent(slow)


@pytest.mark.parametrize(
    ("verb", "arguments", "type", "attributes"),
    [
        ("latency", (0.25, 0.05), "latency", {"latency": 250, "jitter": 50}),
        ("bandwidth", (64,), "bandwidth", {"rate": 64}),
        ("slow_close", (1.5,), "slow_close", {"delay": 1500}),
        ("timeout", (3,), "timeout", {"timeout": 3000}),
        ("reset_peer", (0.001,), "reset_peer", {"timeout": 1}),
        ("slicer", (100, 10, 0.0005), "slicer", {"average_size": 100, "size_variation": 10, "delay": 500}),
        ("limit_data", (1000,), "limit_data", {"bytes": 1000}),
    ],
)
def test_the_server_has_what_was_asked_and_loses_it_again(proxied, roads, verb, arguments, type, attributes):
    """Seconds become its milliseconds and microseconds; there is a toxic for each way; also on a later connection."""
    roads.connect()
    with getattr(proxied, verb)("hsm-1", *arguments, toxicity=0.5) as trouble:
        roads.connect("late")
        for client in ("app", "late"):
            found = proxied.toxics(client, "hsm-1")
            assert [one.stream for one in found] == ["upstream", "downstream"]
            assert [(one.type, one.toxicity, one.attributes) for one in found] == [(type, 0.5, attributes)] * 2
        assert proxied.troubles == (trouble,)
    assert proxied.troubles == proxied.toxics("app", "hsm-1") == proxied.toxics("late", "hsm-1") == ()


def test_toxics_of_one_kind_add_up(proxied, roads):
    """Each has a name of its own, and its end takes only itself."""
    roads.connect()
    with proxied.latency("hsm-1", 1, direction="upstream"):
        with proxied.latency("hsm-1", 2, direction="upstream"):
            found = [one.attributes["latency"] for one in proxied.toxics("app", "hsm-1")]
            assert found == [1000, 2000]
        assert [one.attributes["latency"] for one in proxied.toxics("app", "hsm-1")] == [1000]


def test_bandwidth_lets_all_bytes_through(proxied, roads):
    """Later, but whole."""
    with proxied.bandwidth("hsm-1", 1000):
        assert talk(roads.connect(), BLOCK * 20) == BLOCK * 20


def test_slow_close_keeps_the_end_back(proxied, roads):
    """The HSM's bytes come, its end of the connection does not."""
    with proxied.slow_close("hsm-1", 3600, client="app"):
        one, other = roads.connect(), roads.connect("other")
        assert talk(one) == b"ping"
        one.shutdown(1)
        other.shutdown(1)
        assert read(other, 1) == b""  # an end that nobody keeps back has had its time
        roads.echoes["hsm-1"].await_end()
        assert roads.echoes["hsm-1"].ends == 1 and is_silent(one)
    assert read(one, 1) == b""


def test_timeout_lets_nothing_through_and_closes_with_its_end(proxied, roads):
    """A dead link: bytes are lost for good."""
    one = roads.connect()
    with proxied.timeout("hsm-1", direction="downstream"):
        one.sendall(b"ping")
        roads.echoes["hsm-1"].await_bytes(4)
        assert is_silent(one)
    assert read(one, 4) == b""
    assert talk(roads.connect()) == b"ping"


def test_timeout_closes_by_itself(proxied, roads):
    """After its seconds."""
    with proxied.timeout("hsm-1", 0.001):
        assert read(roads.connect(), 1) == b""


def test_reset_peer_resets_a_new_connection(proxied, roads):
    """With the first bytes, which the HSM never sees."""
    with proxied.reset_peer("hsm-1"):
        one = roads.connect()
        with pytest.raises(ConnectionResetError):
            talk(one)
    assert roads.echoes["hsm-1"].received == b""


def test_reset_peer_closes_a_connection_that_was_open(proxied, roads):
    """Without a reset: Toxiproxy decides on that when a connection begins."""
    one = roads.connect()
    assert talk(one) == b"ping"
    with proxied.reset_peer("hsm-1"):
        assert talk(one) == b""


def test_slicer_cuts_what_is_sent(proxied, roads):
    """The HSM gets parts of the size that was asked for; together they are what was sent."""
    with proxied.slicer("hsm-1", 100, delay_s=0.002, direction="upstream"):
        one = roads.connect()
        assert talk(one, BLOCK) == BLOCK
    parts = roads.echoes["hsm-1"].parts
    assert len(parts) > 1 and b"".join(parts) == BLOCK
    assert min(map(len, parts)) < 200


def test_limit_data_cuts_to_the_byte(proxied, roads):
    """So many come, then the end."""
    with proxied.limit_data("hsm-1", 333, direction="upstream"):
        for number in (1, 2):
            one = roads.connect()
            one.sendall(BLOCK)
            roads.echoes["hsm-1"].await_end(number)
            assert roads.echoes["hsm-1"].received == BLOCK[:333] * number
    assert talk(roads.connect(), BLOCK) == BLOCK


def test_down_closes_and_refuses_until_the_last_one_ends(proxied, roads):
    """Two may overlap; the proxy keeps its port meanwhile."""
    one = roads.connect()
    assert talk(one) == b"ping"
    address = roads.detours["app", "hsm-1"]
    first, second = proxied.down("hsm-1"), proxied.down("hsm-1", client="app")
    with pytest.raises(ConnectionResetError), one:
        assert read(one, 1) == b""
        raise ConnectionResetError
    for trouble in (first, second):
        with pytest.raises(ConnectionRefusedError):
            roads.connect()
        trouble.end()
    assert talk(roads.connect()) == b"ping"
    assert roads.detours["app", "hsm-1"] == address


def test_an_application_that_comes_later_finds_the_link_down(proxied, roads):
    """What is said of all clients holds for those to come."""
    with proxied.down("hsm-1"):
        with pytest.raises(ConnectionRefusedError):
            roads.connect("late")
    assert talk(roads.connect("late")) == b"ping"


def test_a_moved_hsm_is_found_again_with_its_trouble(proxied, roads):
    """The proxies of an HSM lead to its new port; toxics stay."""
    assert talk(roads.connect()) == b"ping"
    with proxied.limit_data("hsm-1", 2, direction="downstream"):
        roads.move("hsm-1")
        assert talk(roads.connect()) == b"pi"
    assert talk(roads.connect()) == b"ping"
    assert roads.echoes["hsm-1"].received == b"pingping"


def test_a_late_attach_stands_before_connections_that_were_there(url, roads):
    """Applications that have connected before get their proxies at once."""
    roads.connect()
    with ToxiproxyServer(url) as server:
        server.attach(roads)
        assert list(roads.detours) == [("app", "hsm-1")]


def test_close_takes_all_back_after_an_exception(url, roads):
    """Troubles, detours, proxies; doing it twice is harmless, and nothing begins any more."""
    server = ToxiproxyServer(url)
    with pytest.raises(ZeroDivisionError), server:
        server.attach(roads)
        one = server.latency("hsm-1", 30)
        two = server.down("hsm-2")
        for hsm in ("hsm-1", "hsm-2"):
            try:
                roads.connect("app", hsm)
            except ConnectionRefusedError:
                assert hsm == "hsm-2"
        raise ZeroDivisionError
    assert (one.active, two.active, server.troubles, roads.detours, ours(server)) == (False, False, (), {}, {})
    server.close()
    one.end()
    assert talk(roads.connect("app", "hsm-2")) == b"ping"
    with pytest.raises(UsageError, match="closed"):
        server.attach(roads)
    with pytest.raises(UsageError, match="no cluster"):
        server.down("hsm-1")


def test_a_proxy_that_somebody_else_deleted_does_not_keep_the_rest(proxied, roads):
    """Ending finds nothing to end there, and goes on."""
    with proxied.latency("hsm-1", 30):
        roads.connect("app")
        roads.connect("other")
        Api(proxied.url).delete(next(iter(ours(proxied))))
    assert [one.toxics for one in ours(proxied).values()] == [()]


def test_two_clusters_have_a_server_object_each(proxied, roads):
    """A proxy stands before one cluster."""
    with pytest.raises(UsageError, match="attached to a cluster already"):
        proxied.attach(EchoRoads())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda server: server.latency("hsm-9", 1), "there is no HSM 'hsm-9'"),
        (lambda server: server.latency("hsm-1", -1), "number of seconds, 0 to 86400; got -1"),
        (lambda server: server.latency("hsm-1", float("nan")), "got nan"),
        (lambda server: server.latency("hsm-1", 0.0001), "whole milliseconds"),
        (lambda server: server.latency("hsm-1", 1, 2), "at most as much as it is"),
        (lambda server: server.latency("hsm-1", 1, direction="down"), "'upstream' \\(from the application"),
        (lambda server: server.latency("hsm-1", 1, client=3), "name of an application"),
        (lambda server: server.timeout("hsm-1", 1, toxicity=0), "share of connections"),
        (lambda server: server.timeout("hsm-1", 1, toxicity=True), "share of connections"),
        (lambda server: server.bandwidth("hsm-1", 0), "1000 bytes a second, 1 or more; got 0"),
        (lambda server: server.bandwidth("hsm-1", 1.5), "whole number"),
        (lambda server: server.slicer("hsm-1", 10, 10), "less than average_bytes"),
        (lambda server: server.limit_data("hsm-1", -1), "whole number of bytes"),
        (lambda server: server.reset_peer("hsm-1", 30), "0 to 20; got 30"),
    ],
)
def test_wrong_arguments_are_refused(proxied, wrong, says):
    """Before the server is asked; nothing is in force afterwards."""
    with pytest.raises(UsageError, match=says):
        wrong(proxied)
    assert proxied.troubles == ()


def test_a_server_that_has_gone_is_an_error_that_says_so(roads):
    """Also for `close`, which has tried everything by then."""
    with pytest.raises(ToxiproxyError, match="does it run there"), ToxiproxyServer("http://127.0.0.1:1") as server:
        server.attach(roads)
        roads.connect()
    assert roads.detours == {}


def test_an_hsm_that_is_off_accepts_and_closes(proxied, roads):
    """Behind a proxy nothing is refused: the docs say so."""
    assert talk(roads.connect()) == b"ping"
    roads.echoes["hsm-1"].close()
    assert read(roads.connect(), 1) == b""
