"""The network between clients and HSMs, in simulated time."""

import pytest

from pytest_hsmcluster import HsmCluster, HsmUnavailable, Kind, NotLoggedIn, RequestTimeout
from pytest_hsmcluster.network.simulated import flipped


@pytest.fixture
def cluster():
    with HsmCluster(2, sdk=3, sweep=False, routing="pinned", pinned_to="hsm-1", request_timeout_s=5) as one:
        yield one


@pytest.fixture
def client(cluster):
    return cluster.client()


def test_round_trip_takes_both_ways_and_the_work(cluster, client):
    """Half a millisecond each way, a millisecond in between."""
    before = cluster.clock.now_ns
    client.random(8)

    assert cluster.clock.now_ns - before == 2_000_000


def test_partition_makes_messages_vanish_both_ways(cluster, client):
    """The client hears nothing until its time is over, and nobody did anything."""
    before = cluster.clock.now
    with cluster.chaos.partition("app", "hsm-1"), pytest.raises(RequestTimeout) as caught:
        client.generate_key("AES", 256, label="k")

    assert cluster.clock.now - before == pytest.approx(5, abs=0.01)
    assert (caught.value.hsm, caught.value.outcome) == ("hsm-1", "info")
    assert cluster.hsm("hsm-1").keys == {}


def test_one_way_partition_lets_requests_through_and_swallows_answers(cluster, client):
    """From the HSM to the client nothing comes; the work is done."""
    with cluster.chaos.partition("hsm-1", "app", direction="one-way"), pytest.raises(RequestTimeout):
        client.generate_key("AES", 256, label="k")

    assert [key.label for key in cluster.hsm("hsm-1").keys.values()] == ["k"]


def test_one_way_partition_to_the_hsm_stops_requests(cluster, client):
    """The other direction: nothing arrives."""
    with cluster.chaos.partition("app", "hsm-1", direction="one-way"), pytest.raises(RequestTimeout):
        client.generate_key("AES", 256, label="k")

    assert cluster.hsm("hsm-1").keys == {}


def test_partition_cuts_one_application_and_not_another(cluster, client):
    """Links are between two names."""
    other = cluster.client("other")
    with cluster.chaos.partition("app", "hsm-1"):
        other.generate_key("AES", 256, label="k")

    assert len(cluster.hsm("hsm-1").keys) == 1


def test_partition_lasts_until_the_last_of_them_is_healed(cluster, client):
    """Two that cut the same link are two."""
    first = cluster.chaos.partition("app", "hsm-1")
    second = cluster.chaos.partition("app", "hsm-1")
    first.end()
    assert not cluster.network.reachable("app", "hsm-1")

    second.end()

    assert cluster.network.reachable("app", "hsm-1")
    client.random(8)


def test_later_process_of_an_application_is_cut_off_with_it(cluster, client):
    """After an unknown outcome it is app#2 in the journal, and the same machine."""
    with cluster.chaos.inject("drop @ wire.response command=random nth=1"), pytest.raises(RequestTimeout):
        client.random(8)

    cut = cluster.chaos.partition("app", "hsm-2")

    assert cluster.network.is_cut("app#2", "hsm-2")
    assert cluster.network.is_cut("hsm-2", "app#17")
    assert not cluster.network.is_cut("apple", "hsm-2")
    cut.end()


def test_hsm_that_is_off_refuses_connections(cluster, client):
    """A client that believed it up learns of it by the first call, and nothing was done."""
    with cluster.chaos.partition("hsm-1", "app", direction="one-way"):
        cluster.chaos.crash("hsm-1")

    with pytest.raises(HsmUnavailable, match="Server in cluster is unavailable: hsm-1") as caught:
        client.generate_key("AES", 256, label="k")

    assert (caught.value.outcome, caught.value.hsm_code) == ("fail", 0x30000085)


def test_crash_resets_the_connection_of_whoever_waits(cluster, client):
    """At once, not after the time-out; nobody knows what came of it."""
    before = cluster.clock.now
    cluster.chaos.inject("crash @ hsm.execute command=generate_key")
    with pytest.raises(HsmUnavailable, match="Communication with the device was lost") as caught:
        client.generate_key("AES", 256, label="k")

    assert cluster.clock.now - before < 0.01
    assert caught.value.outcome == "info"


@pytest.mark.parametrize("point", ["wire.request", "wire.response"])
def test_corrupted_message_closes_the_connection(cluster, client, point):
    """A request that is corrupted is not executed; an answer that is does not arrive."""
    cluster.chaos.inject(f"corrupt @ {point} command=generate_key nth=1")
    with pytest.raises(HsmUnavailable) as caught:
        client.generate_key("AES", 256, label="k")

    assert caught.value.outcome == "info"
    assert len(cluster.hsm("hsm-1").keys) == (0 if point == "wire.request" else 1)


def test_late_request_is_still_executed(cluster, client):
    """Held, released after the client's time-out: the late commit."""
    held = cluster.chaos.inject("hold @ wire.request command=generate_key")
    with pytest.raises(RequestTimeout):
        client.generate_key("AES", 256, label="k")
    assert cluster.hsm("hsm-1").keys == {}

    held.release()
    cluster.clock.advance(1)

    assert [key.label for key in cluster.hsm("hsm-1").keys.values()] == ["k"]


def test_late_answer_is_discarded(cluster, client):
    """Nobody waits for it any more."""
    held = cluster.chaos.inject("hold @ wire.response command=generate_key")
    with pytest.raises(RequestTimeout):
        client.generate_key("AES", 256, label="k")
    outcomes = len(cluster.history.operations)

    held.release()
    cluster.clock.advance(1)

    assert len(cluster.history.operations) == outcomes
    assert len(cluster.hsm("hsm-1").keys) == 1


def test_crash_takes_held_messages_with_it(cluster, client):
    """A request that is held for an HSM that loses power never comes."""
    held = cluster.chaos.inject("hold @ wire.request command=generate_key")
    with pytest.raises(RequestTimeout):
        client.generate_key("AES", 256, label="k")
    cluster.chaos.crash("hsm-1").end()

    held.release()
    cluster.clock.advance(1)

    assert cluster.hsm("hsm-1").keys == {}


def test_answer_that_arrives_at_the_very_deadline_is_in_time(cluster, client):
    """One nanosecond later it is not."""
    limit_ns = cluster.profile.request_timeout_ns
    for extra, late in ((0, False), (1, True)):
        with cluster.chaos.inject(f"delay {limit_ns - 2_000_000 + extra}ns @ wire.response command=random nth=1") as d:
            if late:
                with pytest.raises(RequestTimeout):
                    client.random(8)
            else:
                client.random(8)
        assert d.hits == 1


def test_every_client_hears_of_a_new_member_unless_it_is_gone(cluster, client):
    """Peers come and go."""
    other = cluster.client("other")
    other.close()
    cluster.add_hsm("c")
    cluster.clock.advance(400)

    assert [peer.application for peer in cluster.network.peers.values()] == ["app"]
    assert "hsm-3" in client._process.connections


def test_nothing_is_under_way_when_all_calls_have_ended(cluster, client):
    """An HSM's queue is empty after each call, also after one that failed."""
    cluster.chaos.inject("drop @ wire.request command=sign nth=1", may_miss=True)
    key = client.generate_key("GENERIC_SECRET", 256, label="k")
    with pytest.raises(RequestTimeout):
        client.sign(key, b"data")

    assert [len(hsm.inflight) for hsm in cluster.hsms] == [0, 0]


def test_flipping_changes_one_bit():
    """In the middle, and no other."""
    assert flipped(b"\x00" * 5) == b"\x00\x00\x01\x00\x00"
    assert flipped(flipped(b"abcdef")) == b"abcdef"


def test_journal_has_no_event_of_a_message_that_never_left(cluster, client):
    """A dropped request is told once, at its point."""
    cluster.chaos.inject("drop @ wire.request command=random")
    with pytest.raises(RequestTimeout):
        client.random(8)
    op = cluster.history.last.op

    points = [event.point for event in cluster.history.of(Kind.REACH) if event.op == op]
    assert points == ["client.route", "client.send", "wire.request"]


def test_hsm_that_restarted_behind_a_partition_is_logged_in_to_again(cluster, client):
    """Nobody could tell the client; the first call there learns that the login is gone, the next has one."""
    with cluster.chaos.partition("app", "hsm-1"):
        cluster.chaos.crash("hsm-1").end()

    with pytest.raises(NotLoggedIn) as caught:
        client.random(8)
    client.random(8)

    assert (caught.value.hsm, caught.value.outcome) == ("hsm-1", "fail")
    assert [hsm.session_count for hsm in cluster.hsms] == [1, 1]
