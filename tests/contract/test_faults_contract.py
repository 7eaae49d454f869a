"""Do faults and hardships do what the contract's table says, and print as what they are?"""

import asyncio

import pytest

from pytest_hsmcluster import ApplicationDied, ClusterError, KeyCapacityReached, UsageError


@pytest.mark.parametrize(("hsms", "copies"), [(hsms, copies) for hsms in (2, 3, 4) for copies in range(1, hsms + 1)])
def test_kill_mid_create_is_the_fault_that_it_is_said_to_be(make, hsms, copies):
    """The same journal to the byte, whatever became of the create."""
    spec = f"destroy source @ client.clone nth={copies} per=op" if copies < hsms else "destroy source @ client.report"
    digests = []
    for way in ("hardship", "scenario", "fault"):
        cluster = make(hsms)
        if way == "hardship":
            cluster.chaos.kill_mid_create(after_copies=copies)
        else:
            cluster.chaos.install(f"kill-mid-create after_copies={copies}" if way == "scenario" else spec)
        cluster.client().generate_key("AES", 256, label="k")
        digests.append(cluster.history.digest())
        assert bool(cluster.check.lost_keys()) == (copies == 1)
    assert len(dict.fromkeys(digests)) == 1


def test_lost_ack_is_the_fault_that_it_is_said_to_be(make):
    digests = []
    for spec in ("lost-ack op=sign", "drop @ wire.response op=sign command=sign nth=1"):
        cluster = make()
        app = cluster.client()
        key = app.generate_key("AES", 256, label="k")
        cluster.chaos.install(spec)
        with pytest.raises(ClusterError) as caught:
            app.sign(key, b"data")
        assert caught.value.outcome == "info"
        app.sign(key, b"data")
        digests.append(cluster.history.digest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("wrong", ["foreign", "number", "unknown id"])
def test_a_replacement_that_is_refused_loses_nothing(make, wrong):
    """The HSM is still up: what could not be done was not begun."""
    cluster, other = make(), make(seed=2)
    backup = {"foreign": other.backup(), "number": 5, "unknown id": "backup-9"}[wrong]
    with pytest.raises(UsageError, match="backup"):
        cluster.chaos.replace("hsm-1", backup=backup)
    assert cluster.hsm("hsm-1").state == "up"
    assert len(cluster.hsms) == 3


@pytest.mark.parametrize("ends", [("app", 5), (5, "hsm-1"), (None, "hsm-1")])
def test_a_partition_is_between_names(make, ends):
    with pytest.raises(UsageError, match="between two names"):
        make().chaos.partition(*ends)


def test_a_fault_that_is_refused_is_not_installed(make):
    cluster = make()
    for spec in ("drop @ hsm.execute", "crash hsm-9 @ hsm.commit", "crash @ hsm.commit nth=0", "boom @ hsm.commit"):
        with pytest.raises(UsageError):
            cluster.chaos.inject(spec)
    assert cluster.chaos.injections == []


def test_a_full_hsm_is_full_with_what_it_has(make, holders):
    """`fill` makes no keys; the create that comes there fails for certain."""
    cluster = make()
    app = cluster.client()
    app.generate_key("AES", 256, label="k")
    with cluster.chaos.fill("hsm-1"):
        assert len(cluster.hsm("hsm-1").keys) == 1
        with pytest.raises(KeyCapacityReached) as caught:
            app.generate_key("AES", 256, label="one more")
    assert caught.value.outcome == "fail"
    assert holders(cluster, "one more") == []
    app.generate_key("AES", 256, label="one more")


def test_every_block_ends_what_it_began_after_an_exception_too(make):
    cluster = make()
    chaos = cluster.chaos
    with pytest.raises(ZeroDivisionError), chaos.crash("hsm-1"), chaos.throttle("hsm-2"), chaos.stall_sync():
        with chaos.partition("app", "hsm-3"), chaos.inject("hold @ hsm.execute", may_miss=True):
            _ = 1 / 0
    assert chaos.hardships == []
    assert [hsm.state for hsm in cluster.hsms] == ["up", "up", "up"]
    cluster.client().generate_key("AES", 256, label="k")
    cluster.check.durable(copies=3)


@pytest.mark.parametrize("waits", ["hold @ hsm.execute op=encrypt", "drop @ wire.request op=encrypt"])
def test_all_calls_of_an_application_that_dies_are_told_so(make, waits):
    """Those too that were waiting for an HSM, whatever became of their requests."""
    cluster = make()

    async def story():
        app = cluster.async_client()
        key = await app.generate_key("AES", 256, label="k")
        cluster.chaos.inject(waits)
        cluster.chaos.inject("crash @ client.send op=random")
        return await asyncio.gather(app.encrypt(key, b"data"), app.random(1), return_exceptions=True)

    assert [type(error) for error in asyncio.run(story())] == [ApplicationDied, ApplicationDied]
    assert [event.kind for event in cluster.history.operations][-2:] == ["info", "info"]
