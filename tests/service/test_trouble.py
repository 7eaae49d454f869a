"""What a fault does to the call that it strikes."""

import pytest

from pytest_hsmcluster import ClusterError, HsmUnavailable, RequestTimeout


@pytest.fixture
def cluster(build):
    return build(3, sweep=False, routing="pinned", pinned_to="hsm-1")


def states(cluster):
    return [str(hsm.state) for hsm in cluster.service.hsms.values()]


@pytest.mark.parametrize(("effect", "state"), [("crash", "down"), ("destroy", "lost")])
def test_here_is_the_hsm_that_the_passage_is_about(cluster, effect, state):
    """Written or not."""
    client = cluster.client()
    cluster.chaos.inject(f"{effect} here @ hsm.commit command=insert_masked hsm=hsm-2")
    cluster.chaos.inject(f"{effect} @ hsm.commit command=insert_masked hsm=hsm-3")

    client.generate_key("AES", 256, label="k")

    assert states(cluster) == ["up", state, state]


@pytest.mark.parametrize(("effect", "state"), [("crash", "down"), ("destroy", "lost")])
def test_source_is_the_hsm_that_made_the_key(cluster, effect, state):
    """Also when the passage is about another one; then that one goes on."""
    client = cluster.client()
    cluster.chaos.inject(f"{effect} source @ hsm.commit command=insert_masked hsm=hsm-2")

    client.generate_key("AES", 256, label="k")

    assert states(cluster) == [state, "up", "up"]
    assert [len(hsm.keys) for hsm in cluster.service.hsms.values()][1:] == [1, 1]


def test_named_hsm_may_be_a_third_one(cluster):
    """The call that was struck is served all the same."""
    client = cluster.client()
    cluster.chaos.inject("crash hsm-3 @ hsm.execute command=generate_key")

    key = client.generate_key("AES", 256, label="k")

    assert states(cluster) == ["up", "up", "down"]
    assert [key.number in hsm.keys for hsm in cluster.hsms] == [True, True, False]


@pytest.mark.parametrize(
    ("point", "outcome"),
    [("hsm.receive", "fail"), ("hsm.execute", "fail"), ("hsm.commit", "fail"), ("hsm.reply", "info")],
)
def test_injected_error_is_certain_until_something_has_changed(cluster, point, outcome):
    """From the commit on nobody knows."""
    client = cluster.client()
    cluster.chaos.inject(f"fail CKR_DEVICE_ERROR @ {point} command=generate_key")

    with pytest.raises(ClusterError) as caught:
        client.generate_key("AES", 256, label="k")

    assert (caught.value.outcome, caught.value.hsm) == (outcome, "hsm-1")
    assert len(cluster.hsm("hsm-1").keys) == (outcome == "info")


def test_error_after_looking_is_certain(cluster):
    """A sign changes nothing, so that its error answer is a plain failure."""
    client = cluster.client()
    key = client.generate_key("GENERIC_SECRET", 256, label="k")
    cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.reply command=sign")

    with pytest.raises(ClusterError) as caught:
        client.sign(key, b"data")

    assert caught.value.outcome == "fail"


@pytest.mark.parametrize("peer", ["reset", "silence"])
def test_everybody_whom_a_crashed_hsm_served_is_cut_off(build, peer):
    """Not only the call that was struck."""
    import asyncio

    cluster = build(1, crash_peer=peer)
    one, two = cluster.async_client("one"), cluster.async_client("two")
    cluster.chaos.inject("delay 1s @ hsm.execute client=one")
    cluster.chaos.inject("crash @ hsm.execute client=two")

    async def story():
        return await asyncio.gather(one.random(8), two.random(8), return_exceptions=True)

    results = asyncio.run(story())

    expected = HsmUnavailable if peer == "reset" else RequestTimeout
    assert [type(result) for result in results] == [expected, expected]
    assert {result.outcome for result in results} == {"info"}


def test_delay_lets_the_time_pass_and_nothing_else(cluster):
    """Two seconds more."""
    client = cluster.client()
    before = cluster.clock.now_ns
    client.random(8)
    plain_ns = cluster.clock.now_ns - before
    with cluster.chaos.inject("delay 2s @ hsm.execute command=random"):
        client.random(8)

    assert cluster.clock.now_ns - before == 2 * plain_ns + 2_000_000_000
