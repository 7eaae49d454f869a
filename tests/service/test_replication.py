"""The service's own sweep: what it copies, when, and what it costs."""

import pytest

from pytest_hsmcluster import Kind, Point


def copies(cluster):
    return [(e.hsm, e.source) for e in cluster.history.of(Kind.HELD) if e.cause == "sweep"]


def looked_at(cluster, monkeypatch, rounds=1):
    """Return how many keys the next rounds look at."""
    sweep, seen = cluster.service.sweep, []
    level = sweep._level
    monkeypatch.setattr(sweep, "_level", lambda handle: (seen.append(handle), level(handle))[1])
    for _ in range(rounds):
        cluster.sweep_now()
    return len(seen)


def test_sweep_copies_a_key_to_every_hsm_that_lacks_it(build, partial, holders):
    """By hand: it says how many copies it brought."""
    cluster = build(3, sweep=False)
    partial(cluster)

    assert cluster.sweep_now() == 2
    assert holders(cluster, "k") == ["hsm-1", "hsm-2", "hsm-3"]
    assert copies(cluster) == [("hsm-2", "hsm-1"), ("hsm-3", "hsm-1")]
    assert cluster.sweep_now() == 0


def test_sweep_comes_by_itself_every_period(build, partial, holders):
    """A number of the profile."""
    cluster = build(2, sweep_period_s=45)
    partial(cluster, lacking=("hsm-2",))
    cluster.clock.advance(44)
    assert holders(cluster, "k") == ["hsm-1"]

    cluster.clock.advance(1)

    assert holders(cluster, "k") == ["hsm-1", "hsm-2"]
    cluster.clock.advance(45 * 9)
    assert cluster.service.sweep.rounds == 10
    assert cluster.service.sweep.copied == 1


def test_copy_of_the_sweep_has_the_same_handle_owner_and_attributes(build, partial):
    """It is a clone like any other."""
    cluster = build(2, sweep=False)
    _, key = partial(cluster, lacking=("hsm-2",))
    cluster.sweep_now()
    one, two = (hsm.keys[key.number] for hsm in cluster.hsms)

    assert one == two


def test_stalled_sweep_makes_no_round_of_its_own(build, partial, holders):
    """Until it is resumed; by hand it still works, and two stalls need two ends."""
    cluster = build(2)
    partial(cluster, lacking=("hsm-2",))
    first = cluster.chaos.stall_sync()
    second = cluster.chaos.stall_sync()
    cluster.clock.advance(3600)
    first.end()
    cluster.clock.advance(3600)
    assert holders(cluster, "k") == ["hsm-1"]

    second.end()
    cluster.clock.advance(60)

    assert holders(cluster, "k") == ["hsm-1", "hsm-2"]


def test_delayed_sweep_comes_later(build, partial, holders):
    """Each round by that much."""
    cluster = build(2)
    partial(cluster, lacking=("hsm-2",))
    with cluster.chaos.delay_sync(25):
        cluster.clock.advance(84)
        assert holders(cluster, "k") == ["hsm-1"]
        cluster.clock.advance(2)

    assert holders(cluster, "k") == ["hsm-1", "hsm-2"]


@pytest.mark.parametrize("effect", ["drop", "fail CKR_DEVICE_ERROR"])
def test_dropped_round_brings_nothing_and_the_next_one_does(build, partial, holders, effect):
    """The point `sync.sweep`, once per tick."""
    cluster = build(3)
    partial(cluster)
    with cluster.chaos.inject(f"{effect} @ sync.sweep nth=1"):
        cluster.clock.advance(61)
        assert holders(cluster, "k") == ["hsm-1"]
        cluster.clock.advance(60)

    assert holders(cluster, "k") == ["hsm-1", "hsm-2", "hsm-3"]


@pytest.mark.parametrize("effect", ["drop", "fail CKR_DEVICE_ERROR"])
def test_dropped_copy_is_made_in_the_next_round(build, partial, holders, effect):
    """The point `sync.clone`, once per key and destination."""
    cluster = build(3, sweep=False)
    partial(cluster)
    with cluster.chaos.inject(f"{effect} @ sync.clone hsm=hsm-2"):
        assert cluster.sweep_now() == 1
    assert holders(cluster, "k") == ["hsm-1", "hsm-3"]

    assert cluster.sweep_now() == 1
    assert holders(cluster, "k") == ["hsm-1", "hsm-2", "hsm-3"]


def test_sweep_reaches_its_points_in_order(build, partial):
    """One tick, then one clone for each destination, in HSM order."""
    cluster = build(3, sweep=False)
    partial(cluster)
    before = len(cluster.history)
    cluster.sweep_now()

    points = [(e.point, e.hsm, e.key) for e in cluster.history.of(Kind.REACH) if e.index >= before]

    assert points == [
        (Point.SYNC_SWEEP, None, None),
        (Point.SYNC_CLONE, "hsm-2", "key-1"),
        (Point.SYNC_CLONE, "hsm-3", "key-1"),
    ]


def test_orphans_are_swept_too(build, holders):
    """The sweep does not know what an application was told."""
    cluster = build(3, create_object_minimum_nodes=2, sweep=False)
    client = cluster.client()
    cluster.chaos.fail_clone()
    cluster.chaos.fail_cleanup()
    with pytest.raises(Exception, match="reached 1 of 2 HSMs"):
        client.generate_key("AES", 256, label="orphan")

    cluster.sweep_now()

    assert len(holders(cluster, "orphan")) == 3
    (finding,) = cluster.check.orphan_keys()
    assert len(finding.hsms) == 3


def test_tombstone_is_not_resurrected_by_the_sweep(build, holders):
    """Marked for deletion on one HSM, held by another: the mark stays."""
    cluster = build(3, sweep=False)
    key = cluster.client().generate_key("AES", 256, label="k")
    cluster.hsm("hsm-2").store.tombstone(key.number, "cleanup")

    assert cluster.sweep_now() == 0
    assert holders(cluster, "k") == ["hsm-1", "hsm-3"]
    assert list(cluster.hsm("hsm-2").tombstones) == [key.number]


def test_key_that_is_only_a_tombstone_is_not_spread(build):
    """A joining HSM does not get it as a key."""
    cluster = build(2, sweep=False)
    key = cluster.client().generate_key("AES", 256, label="k")
    cluster.hsm("hsm-1").store.tombstone(key.number, "cleanup")
    cluster.hsm("hsm-2").store.remove(key.number, "cleanup")

    assert cluster.sweep_now() == 0
    assert cluster.hsm("hsm-2").keys == {}


def test_delete_that_an_hsm_missed_comes_back(build, holders):
    """The sweep keeps no memory of deletes: the key is resurrected when the HSM is up again."""
    cluster = build(3, sweep=False)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    with cluster.chaos.crash("hsm-2"):
        client.delete_key(key)
        assert cluster.sweep_now() == 0

    assert cluster.sweep_now() == 2
    assert holders(cluster, "k") == ["hsm-1", "hsm-2", "hsm-3"]
    assert [finding.label for finding in cluster.check.resurrected_keys()] == ["k"]


def test_sweep_that_remembers_deletes_spreads_no_deleted_key(build, holders):
    """A switch of the profile: the key lingers where the delete did not reach."""
    cluster = build(3, sweep=False, sweep_remembers_deletes=True)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    other = client.generate_key("AES", 256, label="other")
    with cluster.chaos.crash("hsm-2"):
        client.delete_key(key)
    cluster.clock.advance(5)
    with cluster.chaos.crash("hsm-3"):
        third = client.generate_key("AES", 256, label="third")

    assert cluster.sweep_now() == 1
    assert holders(cluster, "k") == ["hsm-2"]
    assert cluster.coverage(other) == cluster.coverage(third) == "full"


@pytest.mark.parametrize("state", ["crash", "pause", "destroy"])
def test_sweep_copies_from_and_to_hsms_that_are_up_only(build, partial, holders, state):
    """One that is off, silent or lost neither gives nor takes."""
    cluster = build(3, sweep=False)
    partial(cluster)
    getattr(cluster.chaos, state)("hsm-1")

    assert cluster.sweep_now() == 0
    assert holders(cluster, "k") == ([] if state == "destroy" else ["hsm-1"])


def test_sweep_needs_a_link_between_the_hsms(build, partial, holders):
    """Cut off from the holder, an HSM gets the key from another one, later."""
    cluster = build(3, sweep=False)
    partial(cluster)
    with cluster.chaos.partition("hsm-1", "hsm-3"):
        assert cluster.sweep_now() == 2
    assert copies(cluster) == [("hsm-2", "hsm-1"), ("hsm-3", "hsm-2")]

    assert holders(cluster, "k") == ["hsm-1", "hsm-2", "hsm-3"]


def test_full_hsm_takes_its_copy_when_it_has_room(build, partial, holders):
    """Capacity holds for the sweep too; it tries again."""
    cluster = build(2, sweep=False)
    partial(cluster, lacking=("hsm-2",))
    with cluster.chaos.fill("hsm-2"):
        assert cluster.sweep_now() == 0

    assert cluster.sweep_now() == 1
    assert holders(cluster, "k") == ["hsm-1", "hsm-2"]


def test_users_shares_and_attributes_are_never_swept(build):
    """Keys only."""
    cluster = build(2)
    cluster.create_user("bob", "password1")
    cluster.create_user("carol", "password1", hsms=["hsm-1"])
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    with cluster.chaos.crash("hsm-2"):
        client.share_key(key, with_user="bob")
    cluster.clock.advance(86400)

    assert ["carol" in hsm.users for hsm in cluster.hsms] == [True, False]
    assert [hsm.keys[key.number].shares for hsm in cluster.hsms] == [("bob",), ()]


@pytest.mark.parametrize("keys", [10, 200])
def test_sweep_looks_at_keys_that_changed_and_not_at_all_that_exist(build, monkeypatch, keys):
    """Counted, not timed: with any number of settled keys one new key is one look."""
    cluster = build(3, sweep=False)
    client = cluster.client()
    for number in range(keys):
        client.import_key("AES", number.to_bytes(32), label=f"k{number}")
    assert looked_at(cluster, monkeypatch) == keys

    assert looked_at(cluster, monkeypatch) == 0
    client.generate_key("AES", 256, label="new")
    assert looked_at(cluster, monkeypatch) == 1
    assert looked_at(cluster, monkeypatch, rounds=5) == 0


def test_key_that_cannot_be_settled_is_looked_at_again(build, partial, monkeypatch):
    """While an HSM that lacks it is off, each round looks; then no more."""
    cluster = build(3, sweep=False)
    partial(cluster)
    with cluster.chaos.crash("hsm-3"):
        assert looked_at(cluster, monkeypatch, rounds=3) == 3
    assert looked_at(cluster, monkeypatch) == 1
    assert looked_at(cluster, monkeypatch) == 0


def test_deleted_key_costs_one_look(build, monkeypatch):
    """After that it is forgotten."""
    cluster = build(3, sweep=False)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    cluster.sweep_now()
    client.delete_key(key)

    assert looked_at(cluster, monkeypatch) == 1
    assert looked_at(cluster, monkeypatch) == 0


def test_joined_hsm_is_looked_at_for_what_it_lacks(build, holders):
    """What it missed is healed, and only that is copied."""
    cluster = build(2, sweep=False)
    client = cluster.client()
    for number in range(5):
        client.generate_key("AES", 256, label=f"old{number}")
    cluster.add_hsm("c")
    cluster.clock.advance(100)
    client.generate_key("AES", 256, label="new")
    cluster.clock.advance(300)

    assert cluster.sweep_now() == 1
    assert holders(cluster, "new") == ["hsm-1", "hsm-2", "hsm-3"]


def test_sweep_can_be_switched_off(build, partial, holders):
    """`sweep=False`: then it comes by hand only."""
    cluster = build(2, sweep=False)
    partial(cluster, lacking=("hsm-2",))
    cluster.clock.advance(86400)

    assert holders(cluster, "k") == ["hsm-1"]
    assert cluster.service.sweep.rounds == 0
