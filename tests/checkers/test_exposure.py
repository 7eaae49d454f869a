"""Is it noticed how long keys were on too few HSMs, and who used them meanwhile?"""

import pytest

from pytest_hsmcluster import ClusterError, HsmCluster, UsageError
from pytest_hsmcluster.checkers.exposure import percentile


@pytest.fixture
def cluster():
    with HsmCluster(3, sdk=3, seed=1, sweep=False, routing="pinned", pinned_to="hsm-1") as cluster:
        yield cluster


def test_key_is_exposed_until_its_second_copy(cluster):
    """From the first copy to the second, without a use; the create itself is none."""
    cluster.client().generate_key("AES", 256, label="kek")

    [exposed] = cluster.check.exposures()

    copies = [event.at_ns for event in cluster.history if str(event.kind) == "held"]
    assert (exposed.since_ns, exposed.until_ns) == (copies[0], copies[1])
    assert (exposed.enough, exposed.uses, exposed.hsms) == (True, 0, ("hsm-1", "hsm-2"))
    cluster.check.exposure(p99=0.1, uses_before_durable=0)


def test_key_that_is_never_on_two_hsms_is_exposed_to_the_end(cluster):
    """And each use of it counts; the finding says how long, who, and what would have refused it."""
    cluster.chaos.install("fail-clone")
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    app.decrypt(key, app.encrypt(key, b"data"))
    cluster.clock.advance(60)
    app.random(4)  # a history ends with its last event

    with pytest.raises(AssertionError) as raised:
        cluster.check.exposure(uses_before_durable=1)

    assert "exposed key 'kek' (key-1, handle 262144) on hsm-1 since" in str(raised.value)
    assert "60." in str(raised.value)
    assert "never on more than 1; used 2 times meanwhile, by app at" in str(raised.value)
    assert "create_object_minimum_nodes=2 would have prevented it" in str(raised.value)
    cluster.check.exposure(uses_before_durable=2)
    with pytest.raises(AssertionError, match="exposed key"):
        cluster.check.exposure(p99=59)
    cluster.check.exposure(p99=61)


def test_uses_after_the_second_copy_do_not_count(cluster):
    """The sweep makes up for a missing copy."""
    cluster.chaos.install("fail-clone")
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    app.encrypt(key, b"data")
    cluster.clock.advance(1)
    cluster.sweep_now()
    app.encrypt(key, b"data")

    [exposed] = cluster.check.exposures()

    assert (exposed.enough, exposed.uses) == (True, 1)
    assert 1 <= exposed.lasted_ns / 1e9 < 1.2


def test_copies_that_do_not_run_are_not_enough(cluster):
    """The second HSM went off before the third got its copy."""
    with cluster.chaos.inject("crash hsm-2 @ client.clone hsm=hsm-3"):
        cluster.client().generate_key("AES", 256, label="kek")

    [exposed] = cluster.check.exposures()

    held = {event.hsm: event.at_ns for event in cluster.history if str(event.kind) == "held"}
    assert exposed.until_ns == min(held["hsm-2"], held["hsm-3"])
    assert exposed.enough


def test_exposure_ends_with_a_delete_or_the_loss_of_the_key(cluster):
    """Nobody relies on it any more; a failed create exposed nobody."""
    cluster.chaos.install("fail-clone")
    app = cluster.client()
    deleted, lost = app.generate_key("AES", 256, label="deleted"), app.generate_key("AES", 256, label="lost")
    cluster.clock.advance(1)
    app.delete_key(deleted)
    cluster.clock.advance(1)
    cluster.chaos.destroy("hsm-1")
    cluster.clock.advance(100)
    with pytest.raises(ClusterError):
        app.encrypt(lost, b"data")

    lasted = {exposed.label: exposed.lasted_ns / 1e9 for exposed in cluster.check.exposures()}

    assert 1 < lasted["deleted"] < 1.2
    assert 2 < lasted["lost"] < 2.3


def test_key_that_nobody_relies_on_is_not_exposed(cluster):
    """Neither a session key nor one of a create that failed."""
    app = cluster.client()
    app.generate_key("AES", 256, token=False)
    with cluster.chaos.inject("crash @ client.report op=generate_key"), pytest.raises(ClusterError):
        app.generate_key("AES", 256, label="kek")

    assert cluster.check.exposures() == []
    cluster.check.exposure(p99=0, uses_before_durable=0)


def test_percentile_is_one_of_the_values():
    """The nearest rank: of a hundred values the 99th, of fewer the largest."""
    assert percentile(range(1, 101), 99) == 99
    assert percentile([3, 1, 2], 99) == 3
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([], 99) == 0


def test_one_long_exposure_of_a_hundred_is_borne(cluster):
    """p99 is a promise about 99 of 100 keys."""
    app = cluster.client()
    for number in range(99):
        app.generate_key("AES", 256, label=f"key {number}")
    with cluster.chaos.install("fail-clone"):
        app.generate_key("AES", 256, label="late")
    cluster.clock.advance(30)
    app.random(4)
    cluster.check.exposure(p99=1)
    with cluster.chaos.install("fail-clone"):
        app.generate_key("AES", 256, label="late too")
    cluster.clock.advance(30)
    app.random(4)
    with pytest.raises(AssertionError) as raised:
        cluster.check.exposure(p99=1)
    assert [line.split("'")[1] for line in str(raised.value).splitlines()] == ["late", "late too"]


@pytest.mark.parametrize(
    "bounds",
    [{"p99": -1}, {"p99": "1"}, {"p99": float("nan")}, {"p99": True}, {"uses_before_durable": 0.5}],
    ids=str,
)
def test_wrong_bound_is_refused(cluster, bounds):
    with pytest.raises(UsageError, match=r"exposure: \w+ is .*, 0 or more; got"):
        cluster.check.exposure(**bounds)
