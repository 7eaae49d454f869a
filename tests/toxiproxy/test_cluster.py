"""What do applications of a real cluster meet when a real Toxiproxy stands between them and the HSMs?"""

import pytest

from pytest_hsmcluster import HsmCluster, HsmUnavailable, RequestTimeout
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
    assert failed == ["hsm-1"] or ("link-down" in spec and {*failed} <= {"hsm-1"})
    cluster.chaos.undo_all()
    cluster.clock.advance(2 * cluster.profile.reconnect_interval_ns / 1e9)
    use_both(client)
    assert not toxiproxy.troubles
    assert believed_up(client) == ["hsm-1", "hsm-2"]
