"""What do a client's connections to HSM processes do when these fall silent, close, move or join?"""

import errno
import os
import socket
import ssl

import pytest

from pytest_hsmcluster import HsmCluster, HsmUnavailable, RequestTimeout, UsageError
from pytest_hsmcluster.processes import network

FAST = {"network": "processes", "clock_rate": 20, "join_snapshot_s": 0.1, "join_active_s": 0.2}


@pytest.fixture
def cluster():
    with HsmCluster(2, **FAST) as cluster:
        yield cluster


def connections(cluster, client, hsm):
    """The connections of a client to an HSM, as the network keeps them."""
    return list(cluster.network._connections.get((client._process.number, hsm), []))


def believed_up(client):
    return list(client._process.up_members())


def until(cluster, come):
    """Let real time pass until something has come; a test that waits in vain is ended by its time limit."""
    for _ in range(10_000):
        if come():
            return
        cluster.clock.advance(0.05)
    raise AssertionError("it never came")


def test_one_connection_serves_all_calls_one_after_the_other(cluster):
    client = cluster.client()
    first = connections(cluster, client, "hsm-1")
    for _ in range(4):
        client.random(8)
    assert connections(cluster, client, "hsm-1") == first
    assert len(first) == 1


def test_each_application_has_connections_of_its_own(cluster):
    one, other = cluster.client("one"), cluster.client("other")
    assert connections(cluster, one, "hsm-1") != connections(cluster, other, "hsm-1")
    one.close()
    assert connections(cluster, one, "hsm-1") == []
    other.random(8)


def test_both_sides_speak_tls_1_3_and_the_protocol_of_this_version(cluster):
    """The version of the wire form is settled in the handshake (ALPN)."""
    client = cluster.client()
    (connection,) = connections(cluster, client, "hsm-1")
    sock = connection.line._sock
    assert sock.version() == "TLSv1.3"
    assert sock.selected_alpn_protocol() == "hsmcluster/1"
    assert sock.context.verify_mode is ssl.CERT_REQUIRED


def test_killed_hsm_is_believed_down_before_the_next_call(cluster):
    """The end of an idle connection is noticed; nobody has to fail first."""
    client = cluster.client()
    cluster.chaos.crash("hsm-1")
    for _ in range(4):
        client.random(8)
    assert believed_up(client) == ["hsm-2"]


def test_restarted_hsm_is_used_again_after_the_reconnect_interval(cluster):
    client = cluster.client()
    cluster.chaos.crash("hsm-1")
    client.random(8)
    cluster.chaos.restart("hsm-1")
    cluster.clock.advance(cluster.profile.reconnect_interval_ns / 1e9)
    client.random(8)
    assert believed_up(client) == ["hsm-1", "hsm-2"]


def test_silent_hsm_costs_the_time_out_and_its_connection(cluster):
    """Its answer may come yet: nobody would know to which request."""
    client = cluster.client()
    with cluster.chaos.pause("hsm-1"):
        with pytest.raises(RequestTimeout, match="may or may not have been done"):
            for _ in range(2):
                client.random(8)
        assert believed_up(client) == ["hsm-2"]
        assert connections(cluster, client, "hsm-1") == []


def test_stopped_hsm_shakes_hands_with_nobody_and_the_deadline_ends_it(cluster):
    """The system accepts connections for a process that stands still."""
    client = cluster.client(login=False)
    with cluster.chaos.pause("hsm-1"):
        client.login(cluster.default_user, cluster.default_password)
        assert believed_up(client) == ["hsm-2"]


def test_request_to_a_stopped_hsm_is_carried_out_when_it_goes_on(cluster):
    """The late commit: what the HSM had received it does, although the client has given up."""
    client = cluster.client()
    key = client.generate_key("AES", 256, label="payroll")
    with cluster.chaos.pause("hsm-1"):
        with pytest.raises(RequestTimeout):
            client.delete_key(key)
        assert key.number in cluster.hsm("hsm-1").store.keys
    until(cluster, lambda: key.number not in cluster.hsm("hsm-1").keys)


def test_spoiled_record_ends_the_connection_and_is_not_executed(cluster):
    client = cluster.client()
    key = client.generate_key("AES", 256, label="payroll")
    with cluster.chaos.inject("corrupt @ wire.request command=delete_key hsm=hsm-1 nth=1"):
        with pytest.raises(HsmUnavailable, match="Communication with the device was lost"):
            client.delete_key(key)
    assert list(cluster.hsm("hsm-1").keys) == [key.number]


def test_dropped_answer_is_a_time_out_of_something_done(cluster):
    client = cluster.client()
    with cluster.chaos.lose_response("generate_key"):
        with pytest.raises(RequestTimeout):
            client.generate_key("AES", 256, label="payroll")
    assert [key.label for hsm in cluster.hsms for key in hsm.keys.values()] == ["payroll"]


def test_joined_hsm_is_learned_from_an_hsm(cluster):
    client = cluster.client()
    cluster.add_hsm("c")
    until(cluster, lambda: "hsm-3" in believed_up(client))
    key = client.generate_key("AES", 256, label="payroll")
    assert all(key.number in hsm.keys for hsm in cluster.hsms)


def test_client_without_a_connection_learns_of_a_join_with_the_next_one(cluster):
    client = cluster.client()
    for hsm in ("hsm-1", "hsm-2"):
        cluster.chaos.crash(hsm)
    with pytest.raises(HsmUnavailable):
        client.random(8)
    cluster.chaos.restart("hsm-1")
    cluster.add_hsm("c")
    until(cluster, lambda: cluster.hsm("hsm-3").state == "up")
    assert "hsm-3" not in client._process.connections
    cluster.clock.advance(3)
    client.login(cluster.default_user, cluster.default_password)
    client.random(8)
    assert "hsm-3" in client._process.connections


def test_restarted_hsm_whose_port_is_taken_is_found_at_another_one(cluster):
    client = cluster.client()
    port = cluster.network.upstream("hsm-1")[1]
    cluster.chaos.crash("hsm-1")
    client.random(8)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        cluster.chaos.restart("hsm-1")
        assert cluster.network.upstream("hsm-1")[1] != port
        cluster.clock.advance(3)
        for _ in range(4):
            client.random(8)
    assert believed_up(client) == ["hsm-1", "hsm-2"]


def test_hsm_that_has_moved_is_found_by_those_who_are_connected_to_nobody():
    """HSMs of the service do not move when they are started again: nobody has to tell."""
    with HsmCluster(1, **FAST) as cluster:
        client = cluster.client()
        port = cluster.network.upstream("hsm-1")[1]
        cluster.chaos.crash("hsm-1")
        with socket.socket() as squatter:
            squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            squatter.bind(("127.0.0.1", port))
            squatter.listen()
            cluster.chaos.restart("hsm-1")
            cluster.clock.advance(3)
            client.login("crypto_user", cluster.default_password)
            assert len(client.random(8)) == 8


def test_connection_that_finds_no_descriptor_is_told_to_people(cluster, monkeypatch):
    """It is the limit of the test's own process, and no trouble of the cluster."""

    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    client = cluster.client("app", login=False)
    with monkeypatch.context() as patch:
        patch.setattr(network.socket, "socket", refuse)
        with pytest.raises(UsageError, match=r"to hsm-1 can be opened: Too many open files; .*ulimit -n"):
            client.login("crypto_user", cluster.default_password)
    client.login("crypto_user", cluster.default_password)
    assert len(client.random(8)) == 8


def test_detour_leads_somewhere_else_and_back(cluster):
    """What stands between an application and an HSM is a matter of that pair."""
    client, other = cluster.client("app"), cluster.client("other")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        cluster.network.detour("app", "hsm-1", nobody.getsockname())
        with pytest.raises(HsmUnavailable, match="refused"):
            for _ in range(2):
                client.random(8)
    for _ in range(2):
        other.random(8)
    cluster.network.detour("app", "hsm-1", None)
    cluster.clock.advance(3)
    for _ in range(2):
        client.random(8)
    assert believed_up(client) == ["hsm-1", "hsm-2"]


def test_first_connection_of_a_pair_is_announced(cluster):
    """Whoever wants to stand between is asked before."""
    pairs = []
    cluster.network.on_needed = lambda application, hsm: pairs.append((application, hsm))
    for _ in range(2):
        cluster.client("app")
    assert pairs == [("app", "hsm-1"), ("app", "hsm-2")]
