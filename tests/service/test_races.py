"""What happens when creating, deleting, finding, cleaning up and sweeping meet?"""

import asyncio

import pytest

from pytest_hsmcluster import ClusterError, HsmUnavailable, KeyNotOnHsm, Kind, LoginFailed, RequestTimeout, TooFewCopies


@pytest.fixture
def quiet(build):
    """Return a function that builds a cluster of three in which the first is asked first."""

    def make(**arguments):
        return build(3, routing="pinned", pinned_to="hsm-1", **arguments)

    return make


def test_delete_while_the_sweep_copies_leaves_no_key(quiet, partial, holders):
    """The sweep had chosen the key; when it comes to copy, the key is gone."""
    cluster = quiet()
    client, key = partial(cluster)
    cluster.chaos.inject("delay 5s @ sync.clone")
    cluster.clock.advance(62 - cluster.clock.now)

    client.delete_key(key)
    cluster.clock.advance(600)

    assert holders(cluster, "k") == []
    cluster.check.no_resurrected_keys()


def test_sweep_that_is_faster_than_the_delete_brings_the_key_back(quiet, holders):
    """Removed from the first HSM, copied back from the second before that is asked: deleted, and still there."""
    cluster = quiet()
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    cluster.clock.advance(59 - cluster.clock.now)
    cluster.chaos.inject("delay 5s @ hsm.execute command=delete_key hsm=hsm-2")

    client.delete_key(key)

    assert cluster.history.last.kind is Kind.OK
    assert holders(cluster, "k") == ["hsm-1"]
    assert [finding.label for finding in cluster.check.resurrected_keys()] == ["k"]
    cluster.clock.advance(120)
    assert holders(cluster, "k") == ["hsm-1", "hsm-2", "hsm-3"]


def test_sweep_that_remembers_deletes_does_not(quiet, holders):
    """The same race, with the switch: the key stays deleted."""
    cluster = quiet(sweep_remembers_deletes=True)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    cluster.clock.advance(59 - cluster.clock.now)
    cluster.chaos.inject("delay 5s @ hsm.execute command=delete_key hsm=hsm-2")

    client.delete_key(key)
    cluster.clock.advance(120)

    assert holders(cluster, "k") == []


def test_find_during_a_create_sees_the_key_before_its_maker_is_told(quiet):
    """A second application finds what is on the first HSM already; the first one's create still runs."""
    cluster = quiet(sweep=False)
    maker, finder = cluster.async_client("maker"), cluster.async_client("finder")
    cluster.chaos.inject("delay 5s @ client.clone nth=1")

    async def story():
        async def late():
            await finder.random(8)
            return await finder.find_keys(label="k")

        return await asyncio.gather(maker.generate_key("AES", 256, label="k"), late())

    key, found = asyncio.run(story())

    assert found == [key]
    ends = [(e.client, e.name) for e in cluster.history.of(Kind.OK) if e.name in ("generate_key", "find_keys")]
    assert ends == [("finder", "find_keys"), ("maker", "generate_key")]


def test_key_that_was_found_and_then_cleaned_up_is_gone_for_the_finder(quiet, holders):
    """A find names it, the create fails, the cleanup removes it: the finder has a handle to nothing."""
    cluster = quiet(sweep=False, create_object_minimum_nodes=2)
    maker, finder = cluster.async_client("maker"), cluster.async_client("finder")
    cluster.chaos.inject("delay 5s @ client.clone nth=1")
    cluster.chaos.fail_clone()

    async def story():
        create = asyncio.ensure_future(maker.generate_key("AES", 256, label="k"))
        await finder.random(8)
        (found,) = await finder.find_keys(label="k")
        with pytest.raises(TooFewCopies):
            await create
        with pytest.raises(KeyNotOnHsm):
            await finder.encrypt(found, b"data")

    asyncio.run(story())

    assert holders(cluster, "k") == []
    cluster.check.no_orphan_keys()
    cluster.check.no_lost_keys()


def test_use_right_after_a_create_on_one_hsm_misses_elsewhere(quiet, partial):
    """Routed to an HSM that has not got the key yet: the call fails, and the next one may not."""
    cluster = quiet()
    client, key = partial(cluster)
    with cluster.chaos.route_to("hsm-3"), pytest.raises(KeyNotOnHsm) as caught:
        client.encrypt(key, b"data")

    assert (caught.value.hsm, caught.value.hsm_code) == ("hsm-3", 0xA8)
    client.encrypt(key, b"data")
    assert [finding.hsms for finding in cluster.check.routing_misses()]


def test_cleanup_that_races_with_the_sweep_leaves_an_orphan(quiet, holders):
    """The sweep copies the key to an HSM that the client never reached; the cleanup does not look there."""
    cluster = quiet(create_object_minimum_nodes=2)
    client = cluster.client()
    cluster.chaos.fail_clone()
    cluster.chaos.inject("delay 90s @ client.cleanup nth=1")

    with pytest.raises(TooFewCopies) as caught:
        client.generate_key("AES", 256, label="k")

    assert caught.value.leftovers == ()
    assert holders(cluster, "k") == ["hsm-2", "hsm-3"]
    (finding,) = cluster.check.orphan_keys()
    assert finding.hsms == ("hsm-2", "hsm-3")
    cluster.clock.advance(120)
    assert len(holders(cluster, "k")) == 3


def test_insert_that_comes_after_the_cleanup_leaves_an_orphan_and_an_unknown_outcome(quiet, holders):
    """An insert without an answer may still work: nobody may call the create undone."""
    cluster = quiet(sweep=False, create_object_minimum_nodes=2)
    client = cluster.client()
    cluster.chaos.inject("drop @ client.clone hsm=hsm-2")
    held = cluster.chaos.inject("hold @ wire.request command=insert_masked hsm=hsm-3")

    with pytest.raises(TooFewCopies) as caught:
        client.generate_key("AES", 256, label="k")
    held.release()
    cluster.clock.advance(1)

    assert holders(cluster, "k") == ["hsm-3"]
    assert caught.value.outcome == "info"
    assert caught.value.leftovers == ("hsm-3",)
    assert [finding.hsms for finding in cluster.check.orphan_keys()] == [("hsm-3",)]


def test_insert_whose_answer_was_lost_is_undone_by_the_cleanup(quiet, holders):
    """It had worked, and the delete proves it: the create failed, and is known to be undone."""
    cluster = quiet(sweep=False, create_object_minimum_nodes=2)
    client = cluster.client()
    cluster.chaos.inject("drop @ client.clone hsm=hsm-2")
    cluster.chaos.inject("drop @ wire.response command=insert_masked hsm=hsm-3")

    with pytest.raises(TooFewCopies) as caught:
        client.generate_key("AES", 256, label="k")

    assert holders(cluster, "k") == []
    assert (caught.value.leftovers, caught.value.outcome) == ((), "fail")


def test_delete_goes_to_every_member_that_the_client_believes_up(quiet, holders):
    """One that is off is not asked, and keeps its copy."""
    cluster = quiet(sweep=False)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    cluster.chaos.crash("hsm-2")

    client.delete_key(key)

    assert holders(cluster, "k") == ["hsm-2"]
    op = cluster.history.last.op
    asked = {e.hsm for e in cluster.history.of(Kind.REACH) if e.op == op and e.command == "delete_key" and e.hsm}
    assert asked == {"hsm-1", "hsm-3"}
    cluster.check.no_resurrected_keys()


def test_delete_counts_an_hsm_without_the_key_as_done(quiet, partial, holders):
    """At least one removed it: ok."""
    cluster = quiet(sweep=False)
    client, key = partial(cluster)

    client.delete_key(key)

    assert holders(cluster, "k") == []
    assert cluster.history.last.kind is Kind.OK


def test_delete_of_a_key_that_no_hsm_has_says_so(quiet):
    """Nobody had it."""
    cluster = quiet(sweep=False)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    client.delete_key(key)

    with pytest.raises(KeyNotOnHsm) as caught:
        client.delete_key(key)

    assert caught.value.outcome == "fail"


@pytest.mark.parametrize(
    ("spec", "error", "left"),
    [
        ("drop @ wire.response command=delete_key hsm=hsm-2", RequestTimeout, []),
        ("drop @ wire.request command=delete_key hsm=hsm-2", RequestTimeout, ["hsm-2"]),
        ("fail CKR_DEVICE_ERROR @ hsm.execute command=delete_key hsm=hsm-2", ClusterError, ["hsm-2"]),
        ("crash @ hsm.execute command=delete_key hsm=hsm-2", HsmUnavailable, ["hsm-2"]),
    ],
)
def test_delete_with_one_failure_or_silence_has_an_unknown_outcome(quiet, holders, spec, error, left):
    """The others are asked all the same."""
    cluster = quiet(sweep=False)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    cluster.chaos.inject(spec)

    with pytest.raises(error) as caught:
        client.delete_key(key)

    assert caught.value.outcome == "info"
    assert holders(cluster, "k") == left
    cluster.chaos.undo_all()
    cluster.sweep_now()
    cluster.check.no_resurrected_keys()


def test_find_is_the_union_of_what_every_up_hsm_has(quiet):
    """Each key once, in the order of handles, also when one HSM does not answer."""
    cluster = quiet(sweep=False)
    client = cluster.client()
    keys = []
    for source in ("hsm-1", "hsm-2", "hsm-3"):
        with cluster.chaos.inject("drop @ client.clone"), cluster.chaos.route_to(source):
            keys.append(client.generate_key("AES", 256, label="k"))

    assert client.find_keys(label="k") == keys
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=find_keys hsm=hsm-2"):
        assert client.find_keys(label="k") == [keys[0], keys[2]]
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=find_keys"), pytest.raises(ClusterError):
        client.find_keys(label="k")


def test_login_fans_out_and_leaves_out_an_hsm_that_refuses(quiet):
    """A user who is missing on one HSM is never routed there."""
    cluster = quiet(sweep=False)
    cluster.create_user("alice", "password1", hsms=["hsm-1", "hsm-3"])
    client = cluster.client(login=False)
    client.login("alice", "password1")

    client.generate_key("AES", 256, label="k")

    assert [hsm.logged_in("alice") for hsm in cluster.hsms] == [True, False, True]
    assert [len(hsm.keys) for hsm in cluster.hsms] == [1, 0, 1]


def test_login_depends_on_the_hsm_that_is_asked_first(quiet):
    """With a user on some HSMs only it works sometimes."""
    cluster = quiet(sweep=False)
    cluster.create_user("alice", "password1", hsms=["hsm-1"])
    worked = []
    for number in range(3):
        client = cluster.client(f"app{number}", login=False)
        try:
            client.login("alice", "password1")
            worked.append(True)
        except LoginFailed:
            worked.append(False)
        client.close()

    assert sorted(worked) == [False, False, True]


def test_two_clients_that_create_at_once_make_two_keys(quiet):
    """Handles are never given out twice, and each is on every HSM."""
    cluster = quiet(sweep=False)
    clients = [cluster.async_client(f"app{number}") for number in range(4)]

    async def story():
        return await asyncio.gather(*(client.generate_key("AES", 256, label="k") for client in clients))

    keys = asyncio.run(story())

    assert len({key.number for key in keys}) == 4
    assert all(sorted(hsm.keys) == sorted(key.number for key in keys) for hsm in cluster.hsms)
    cluster.check.in_sync()


def test_two_clients_that_delete_one_key_at_once(quiet, holders):
    """One of them at least did it; the key is gone."""
    cluster = quiet(sweep=False)
    clients = [cluster.async_client(f"app{number}") for number in range(2)]

    async def story():
        key = await clients[0].generate_key("AES", 256, label="k")
        return await asyncio.gather(*(client.delete_key(key) for client in clients), return_exceptions=True)

    results = asyncio.run(story())

    assert holders(cluster, "k") == []
    assert None in results
    assert all(one is None or isinstance(one, KeyNotOnHsm) for one in results)


def test_join_during_a_create_gets_the_key_by_the_sweep(quiet, holders):
    """The new HSM is up when the copies have been made; what it lacks is healed."""
    cluster = quiet()
    client = cluster.client()
    cluster.add_hsm("a")
    cluster.clock.advance(312)
    cluster.chaos.inject("delay 2s @ client.clone")
    client.generate_key("AES", 256, label="k")
    cluster.clock.advance(120)

    assert holders(cluster, "k") == ["hsm-1", "hsm-2", "hsm-3", "hsm-4"]


def test_destination_that_crashes_during_an_insert_is_filled_by_the_sweep(quiet, holders):
    """SDK 3 with a minimum of 1: the create is ok, the service heals."""
    cluster = quiet()
    client = cluster.client()
    cluster.chaos.inject("crash @ hsm.commit command=insert_masked hsm=hsm-2")
    client.generate_key("AES", 256, label="k")
    assert holders(cluster, "k") == ["hsm-1", "hsm-3"]

    cluster.chaos.restart("hsm-2")
    cluster.clock.advance(61)

    assert holders(cluster, "k") == ["hsm-1", "hsm-2", "hsm-3"]


def test_acknowledged_key_dies_with_its_only_hsm(quiet, partial):
    """Minimum 1, the source lost before the sweep: lost for ever."""
    cluster = quiet()
    partial(cluster)
    cluster.chaos.destroy("hsm-1")
    cluster.clock.advance(3600)

    assert [finding.label for finding in cluster.check.lost_keys()] == ["k"]


def test_race_is_the_same_every_time():
    """Clients, sweep and chaos at one instant: one digest."""
    from pytest_hsmcluster import HsmCluster

    def story():
        with HsmCluster(3, sdk=3, seed=9, sweep_period_s=1) as cluster:
            clients = [cluster.async_client(f"app{number}") for number in range(3)]
            cluster.chaos.inject("delay 1s @ client.clone chance=0.5")
            cluster.chaos.inject("delay 1s @ sync.clone chance=0.5", may_miss=True)

            async def work(client):
                for number in range(4):
                    key = await client.generate_key("AES", 256, label=f"{client.name}{number}")
                    await client.encrypt(key, b"data")
                    if number % 2:
                        await client.delete_key(key)

            async def all_of_it():
                await asyncio.gather(*(work(client) for client in clients), return_exceptions=True)

            asyncio.run(all_of_it())
        return cluster.history.digest()

    assert len({story() for _ in range(5)}) == 1
