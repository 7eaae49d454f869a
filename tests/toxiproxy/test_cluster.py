"""What do applications of a real cluster meet when a real Toxiproxy stands between them and the HSMs?"""

import os
from contextlib import suppress

import pytest

from pytest_hsmcluster import HsmCluster, HsmUnavailable, RequestTimeout, ToxiproxyError
from pytest_hsmcluster.toxiproxy.server import ToxiproxyServer

FAST = {"network": "processes", "clock_rate": 20}


@pytest.fixture
def cluster():
    with HsmCluster(2, **FAST) as cluster:
        yield cluster


@pytest.fixture
def toxiproxy(cluster, url):
    with ToxiproxyServer(url) as server:
        server.attach(cluster.network)
        cluster.chaos.toxiproxy = server
        yield server


@pytest.fixture
def client(cluster, toxiproxy):
    return cluster.client("app")


def believed_up(client):
    return list(client._process.up_members())


def use_both(client):
    for _ in range(2):
        client.random(8)


def test_calls_pass_through_the_proxies(cluster, toxiproxy, client):
    """The client is connected to proxies, and these to the HSMs."""
    use_both(client)
    ports = {cluster.network.upstream(hsm)[1] for hsm in ("hsm-1", "hsm-2")}
    lines = [one.line for kept in cluster.network._connections.values() for one in kept]
    assert len(lines) == 2
    assert not ports & {line._sock.getpeername()[1] for line in lines}


def test_latency_beyond_the_time_out_is_a_time_out(client, toxiproxy):
    """The request arrives, and its answer is too late: nobody knows what came of it."""
    with toxiproxy.latency("hsm-1", 600, direction="downstream"), pytest.raises(RequestTimeout):
        use_both(client)
    assert believed_up(client) == ["hsm-2"]


def test_latency_below_the_time_out_is_borne(client, toxiproxy):
    with toxiproxy.latency("hsm-1", 0.02, jitter_s=0.01), toxiproxy.latency("hsm-2", 0.02):
        use_both(client)
    assert believed_up(client) == ["hsm-1", "hsm-2"]


def test_thin_link_carries_all_the_same(client, toxiproxy):
    with toxiproxy.bandwidth("hsm-1", 100):
        use_both(client)


def test_sliced_records_are_put_together_again(client, toxiproxy):
    """A record of TLS comes in crumbs, and so does a handshake."""
    with toxiproxy.slicer("hsm-1", average_bytes=20, variation_bytes=5):
        key = client.generate_key("AES", 256, label="payroll")
        assert client.decrypt(key, client.encrypt(key, b"x" * 5000)) == b"x" * 5000


def test_cut_link_ends_the_call_in_the_middle_of_its_answer(client, toxiproxy):
    """A truncated record is no answer."""
    key = client.generate_key("AES", 256, label="payroll")
    with toxiproxy.limit_data("hsm-1", 1000, direction="downstream"):
        with pytest.raises(HsmUnavailable, match="Communication with the device was lost") as lost:
            for _ in range(4):
                client.encrypt(key, b"x" * 5000)
    assert lost.value.outcome == "info"


def test_reset_link_ends_the_call(client, toxiproxy):
    with toxiproxy.reset_peer("hsm-1"):
        with pytest.raises(HsmUnavailable) as lost:
            use_both(client)
    assert lost.value.hsm == "hsm-1"


def test_dead_link_is_a_time_out_and_the_hsm_does_not_hear(cluster, client, toxiproxy):
    key = client.generate_key("AES", 256, label="payroll")
    with toxiproxy.timeout("hsm-1"), pytest.raises(RequestTimeout):
        client.delete_key(key)
    assert key.number in cluster.hsm("hsm-1").keys


def test_downed_link_is_noticed_and_comes_back_after_the_reconnect_interval(cluster, client, toxiproxy):
    with toxiproxy.down("hsm-1"):
        for _ in range(4):
            with_luck(client)
        assert believed_up(client) == ["hsm-2"]
    cluster.clock.advance(2 * cluster.profile.reconnect_interval_ns / 1e9)
    use_both(client)
    assert believed_up(client) == ["hsm-1", "hsm-2"]


def with_luck(client):
    """Make a call that may be the one that notices."""
    lost = []
    try:
        client.random(8)
    except HsmUnavailable as error:
        lost.append(error.hsm)
    assert lost in ([], ["hsm-1"])


def test_one_application_suffers_and_another_does_not(cluster, client, toxiproxy):
    other = cluster.client("other")
    with toxiproxy.timeout("hsm-1", client="app"):
        for _ in range(4):
            other.random(8)
        with pytest.raises(RequestTimeout):
            use_both(client)


def test_killed_hsm_behind_a_proxy_is_lost_and_found(cluster, client, toxiproxy):
    """The proxy closes when its upstream does."""
    cluster.chaos.crash("hsm-1")
    for _ in range(4):
        with_luck(client)
    cluster.chaos.restart("hsm-1")
    cluster.clock.advance(2 * cluster.profile.reconnect_interval_ns / 1e9)
    use_both(client)
    assert believed_up(client) == ["hsm-1", "hsm-2"]


def test_answer_lost_on_the_link_leaves_a_key_that_a_check_finds(cluster, client, toxiproxy):
    """The classic: the key was made, its maker gave up, and it is nobody's."""
    key = client.generate_key("AES", 256, label="before")
    with toxiproxy.timeout("hsm-1", direction="downstream"), toxiproxy.timeout("hsm-2", direction="downstream"):
        with pytest.raises(RequestTimeout):
            client.generate_key("AES", 256, label="lost")
    labels = [key.label for hsm in cluster.hsms for key in hsm.keys.values()]
    assert labels.count("lost") == 1
    assert [orphan.label for orphan in cluster.check.orphan_keys()] == ["lost"]
    assert key.label == "before"


def test_proxy_that_could_not_be_made_is_made_for_the_next_call(cluster, toxiproxy, monkeypatch):
    """No connection goes around it."""
    client = cluster.client("app", login=False)
    really, failures = toxiproxy._api.create, [ToxiproxyError("not now")]

    def create(*arguments):
        if failures:
            raise failures.pop()
        return really(*arguments)

    monkeypatch.setattr(toxiproxy._api, "create", create)
    with pytest.raises(ToxiproxyError, match="not now"):
        client.login("crypto_user", cluster.default_password)
    client = cluster.client("app")
    with toxiproxy.down("hsm-1"), toxiproxy.down("hsm-2"):
        with pytest.raises((HsmUnavailable, RequestTimeout)):
            for _ in range(4):
                client.random(8)


def test_member_that_has_left_is_refused_as_without_a_proxy(url):
    """A client that has not heard of that goes on with the others."""
    with HsmCluster(2, join_snapshot_s=0.1, join_active_s=0.2, **FAST) as cluster, ToxiproxyServer(url) as toxiproxy:
        toxiproxy.attach(cluster.network)
        client = cluster.client("app", login=False)
        with cluster.chaos.partition("app", "hsm-1"):
            new = cluster.chaos.replace("hsm-1").replacement
            while not new.alive:
                cluster.clock.advance(0.1)
        client.login("crypto_user", cluster.default_password)
        assert len(client.random(8)) == 8


def test_forked_process_leaves_the_proxies_alone(cluster, toxiproxy, client):
    """They are its parent's, as the connections are."""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            toxiproxy.close()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    use_both(client)
    assert {way.name for way in toxiproxy._ways.values()} <= {*toxiproxy._api.proxies()}


@pytest.mark.parametrize(
    "spec",
    [
        "slow-link hsm=hsm-1 seconds=600s",
        "dead-link hsm=hsm-1",
        "reset-link hsm=hsm-1",
        "cut-link hsm=hsm-1 bytes=10",
        "link-down hsm=hsm-1",
    ],
)
def test_scenario_breaks_a_link_until_all_is_undone(cluster, client, toxiproxy, spec):
    """Whatever a marker can ask for, a hardened loop outlives, and nothing is left of it."""
    cluster.chaos.install(spec)
    failed = []
    for _ in range(4):
        try:
            client.random(8)
        except (HsmUnavailable, RequestTimeout) as error:
            failed.append(error.hsm)
    if "link-down" in spec:  # the connection ended, and by then the client may know that before it calls
        assert {*failed} <= {"hsm-1"} and believed_up(client) == ["hsm-2"]
    else:
        assert failed == ["hsm-1"]
    cluster.chaos.undo_all()
    cluster.clock.advance(2 * cluster.profile.reconnect_interval_ns / 1e9)
    use_both(client)
    assert not toxiproxy.troubles
    assert believed_up(client) == ["hsm-1", "hsm-2"]
