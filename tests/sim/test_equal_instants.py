"""What comes first in a cluster when several things fall on one instant, or in the middle of another?"""

import asyncio

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.errors import HsmUnavailable, RequestTimeout, TooFewCopies
from pytest_hsmcluster.history.events import Kind


@pytest.fixture(params=[True, False], ids=["ahead", "heap"])
def cluster_of(request):
    """`cluster_of(3, …)` is a cluster, with the fast path and without it; closed, and so audited, at the end."""
    made = []

    def make(*args, **options):
        cluster = HsmCluster(*args, **options)
        cluster._scheduler.run_ahead = request.param
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.close()


def reached(cluster, point, since=0):
    """Who passed a point, in order: (instant in ms, operation's name)."""
    events = list(cluster.history)[since:]
    return [(event.at_ns / 1e6, event.name) for event in events if event.kind is Kind.REACH and event.point == point]


def test_answer_at_the_very_deadline_is_in_time(cluster_of):
    """0.5 ms there, 1 ms of work, 0.5 ms back: with 2 ms of patience all is well."""
    cluster = cluster_of(1, request_timeout_s=0.002)
    assert len(cluster.client("app").random(8)) == 8
    assert cluster.clock.now == 0.004


def test_answer_a_nanosecond_later_is_too_late(cluster_of):
    cluster = cluster_of(1)
    client = cluster.client("app")
    with cluster.chaos.inject("delay 19.998000001s @ wire.request command=random"):
        with pytest.raises(RequestTimeout):
            client.random(8)
    cluster.clock.advance(10)
    assert cluster.history.last.kind is Kind.INFO


def test_answer_that_was_delayed_to_the_very_deadline_is_in_time(cluster_of):
    cluster = cluster_of(1)
    client = cluster.client("app")
    with cluster.chaos.inject("delay 19.998s @ wire.request command=random"):
        assert len(client.random(8)) == 8
    assert cluster.clock.now == 20.002


def test_service_goes_before_clients(cluster_of):
    """A sweep that is due at the instant of a call is made first; a call that comes first in time goes first."""
    cluster = cluster_of(2, sweep_period_s=1)
    client = cluster.client("app")
    cluster.clock.advance(0.9985)  # 1.0005 s after the start of the world
    began = len(cluster.history)
    cluster.clock.advance(0.9995)  # the next sweep is due as the client calls
    client.random(8)
    assert [event.kind for event in list(cluster.history)[began:]].count(Kind.INVOKE) == 1
    sweeps = reached(cluster, "sync.sweep")
    assert [instant for instant, _ in sweeps] == [1000, 2000]


def test_first_client_goes_before_the_second(cluster_of):
    """Whichever began first: lanes decide among equals."""
    cluster = cluster_of(1)
    first, second = cluster.async_client("first"), cluster.async_client("second")

    async def main():
        await asyncio.gather(second.random(1), first.random(1), second.random(2), first.random(2))

    began = len(cluster.history)
    asyncio.run(main())
    events = [event for event in list(cluster.history)[began:] if event.kind is Kind.REACH]
    for point in ("client.route", "hsm.receive", "hsm.commit", "client.receive"):
        assert [event.client for event in events if event.point == point] == ["first", "first", "second", "second"]
        assert [event.op for event in events if event.point == point] == sorted(
            event.op for event in events if event.point == point
        )


def test_clones_in_the_background_come_after_the_clients_own_call(cluster_of):
    """They began earlier, and still let it go first at each instant."""
    cluster = cluster_of(3, sdk=3, create_returns="enough")
    client = cluster.client("app")
    client.generate_key("AES", 256)
    cluster.clock.advance(0)
    began = len(cluster.history)
    client.random(8)
    at_once = [event for event in list(cluster.history)[began:] if event.at_ns == cluster.clock.now_ns - 1_500_000]
    assert [event.name for event in at_once if event.point == "hsm.receive"] == ["random", "generate_key"]
    cluster.clock.run_until_idle()
    assert all(len(hsm.keys) == 1 for hsm in cluster.hsms)


# -- in the middle of something -------------------------------------------------------------


def test_hsm_may_join_while_a_client_logs_in_again(cluster_of):
    """The list of HSMs grows under the client's hands."""
    cluster = cluster_of(2, join_snapshot_s=0, join_active_s=10)
    client = cluster.client("app")
    with cluster.chaos.crash("hsm-1"):
        client.random(8)
    cluster.add_hsm("c")
    cluster.clock.advance(9.999)
    with cluster.chaos.inject("pass @ wire.request op=random command=login") as logins:
        client.random(8)
    assert logins.hits == 1
    assert cluster.hsm("hsm-3").state == "up"
    with cluster.chaos.inject("pass @ wire.request op=random command=login hsm=hsm-3") as logins:
        client.random(8)
    assert logins.hits == 1


def test_hsm_may_join_while_a_client_cleans_up(cluster_of):
    cluster = cluster_of(3, sdk=3, create_object_minimum_nodes=2, join_snapshot_s=0, join_active_s=10)
    client = cluster.client("app")
    cluster.add_hsm("c")
    with cluster.chaos.fail_clone(), cluster.chaos.inject("delay 20s @ client.cleanup"):
        with pytest.raises(TooFewCopies):
            client.generate_key("AES", 256)
    assert cluster.hsm("hsm-4").state == "up"


@pytest.mark.parametrize("effect", ["crash here", "crash hsm-1", "destroy here"])
def test_hsm_that_dies_before_it_is_asked_refuses_the_connection(cluster_of, effect):
    """The request was never sent: it certainly did not happen."""
    cluster = cluster_of(2, routing="pinned")
    client = cluster.client("app")
    point = "hsm.receive" if effect.startswith("destroy") else "client.send"
    with cluster.chaos.inject(f"{effect} @ {point} command=random nth=1"):
        with pytest.raises(HsmUnavailable) as caught:
            client.random(8)
    assert caught.value.outcome == ("fail" if point == "client.send" else "info")
    assert len(client.random(8)) == 8


def test_hsm_that_dies_after_its_answer_arrived_takes_nothing_back(cluster_of):
    """The application has what it asked for; its next call goes elsewhere."""
    cluster = cluster_of(2, routing="pinned")
    client = cluster.client("app")
    with cluster.chaos.inject("crash here @ client.receive command=random nth=1"):
        assert len(client.random(8)) == 8
    assert cluster.hsm("hsm-1").state == "down"
    assert len(client.random(8)) == 8


def test_everybody_is_answered_whatever_is_held(cluster_of):
    """A hold without a release costs a time-out; nothing waits without a timer."""
    cluster = cluster_of(2)
    client = cluster.client("app")
    key = client.generate_key("AES", 256)
    for point in ("wire.request", "hsm.execute", "hsm.reply", "wire.response"):
        with cluster.chaos.inject(f"hold @ {point} command=encrypt nth=1"):
            began = cluster.clock.now
            with pytest.raises(RequestTimeout):
                client.encrypt(key, b"data")
            assert cluster.clock.now - began == pytest.approx(20, abs=0.01)
        cluster.clock.advance(3)
    with cluster.chaos.pause("hsm-1"), cluster.chaos.pause("hsm-2"):
        with pytest.raises(RequestTimeout):
            client.encrypt(key, b"data")
