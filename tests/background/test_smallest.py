"""What is left of a storm is the least that fails, found in few runs."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.background.smallest import RUNS, Search, Smallest, pinned, simpler
from pytest_hsmcluster.errors import ClusterError
from pytest_hsmcluster.scenarios import SCENARIOS

STORM = tuple(f"drop @ wire.response hsm=hsm-{number} nth=1" for number in range(1, 9))


def search(specs, fails, limit=RUNS):
    """Search, and return the result with everything that was tried."""
    tried = []

    def ask(some):
        tried.append(some)
        return fails(some)

    return Search(specs, SCENARIOS, ask, limit).run(), tried


@pytest.mark.parametrize("needed", [*combinations(range(8), 1), (0, 7), (2, 3), (1, 4, 6), range(8)])
def test_what_a_failure_does_not_need_is_left_out(needed):
    """One fault, two, three, all of them."""
    needed = tuple(STORM[index] for index in needed)
    found, tried = search(STORM, lambda some: set(needed) <= set(some))
    assert found == Smallest(needed, len(tried), minimal=True)
    assert len(set(tried)) == len(tried) <= RUNS
    assert () not in tried and STORM not in tried


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**64))
def test_no_fault_can_be_left_out_of_what_is_found(count, dice):
    """Whatever answers the test gives, also odd ones that are not monotone: without any one fault it passes."""
    storm = STORM[:count]

    def fails(some):
        return len(some) == count or (some and bool(dice >> sum(1 << storm.index(one) for one in some) & 1))

    found, tried = search(storm, fails, limit=1000)
    assert found.minimal and fails(found.specs)
    for one in found.specs:
        rest = tuple(other for other in found.specs if other != one)
        assert not rest or not fails(rest)
    assert search(storm, fails, limit=1000) == (found, tried)


def test_the_search_is_given_up_after_so_many_runs():
    """What was found until then is still something that fails, and it says that there may be less."""
    found, tried = search(STORM, lambda some: len(some) >= 3, limit=4)
    assert (found.runs, len(tried), found.minimal) == (4, 4, False)
    assert 3 <= len(found.specs) < 8


def test_faults_that_are_left_are_made_simpler():
    """Surer, earlier, shorter, as long as it fails."""
    storm = (
        "drop @ wire.response op=sign nth=9 chance=0.5",
        "delay 5s @ wire.request hsm=hsm-1 nth=4",
        "crashed-hsm hsm=hsm-2 during=5s..15s",
    )

    def fails(some):
        return (
            some[0].startswith("drop @ wire.response op=sign nth=")
            and some[1].startswith("delay ")
            and "during=" in some[2]
            and ("delay 5s" in some[1] or "delay 2s" in some[1])
            if len(some) == 3
            else False
        )

    found, _ = search(storm, fails)
    assert found.specs == (
        "drop @ wire.response op=sign nth=1",
        "delay 2s @ wire.request hsm=hsm-1 nth=1",
        "crashed-hsm hsm=hsm-2 during=1ms",
    )
    assert found.minimal


@pytest.mark.parametrize(
    ("spec", "less"),
    [
        ("drop @ wire.response nth=1", []),
        ("drop @ wire.response nth=6", ["nth=1", "nth=3", "nth=5"]),
        ("delay 50ms @ wire.request nth=1", ["delay 1ms", "delay 5ms", "delay 20ms"]),
        ("throttled hsm=hsm-2 during=1s..1.01s", ["during=10ms", "1s..1001ms", "1s..1002ms", "1s..1005ms"]),
        ("routed-to hsm=hsm-2 next=3 during=1ms", ["next=1", "next=2"]),
        ("kill-mid-create", []),
    ],
)
def test_simpler_is_never_stronger(spec, less):
    """The largest step first."""
    found = list(simpler(spec, SCENARIOS))
    assert len(found) == len(less)
    assert all(part in one for part, one in zip(less, found, strict=True))


def story(cluster, before=0):
    client = cluster.client("app")
    for _ in range(before):
        client.random(8)
    since = len(cluster.history)
    return client, since


def play(client):
    try:
        key = client.generate_key("AES", 256, label="kek")
        return client.encrypt(key, b"data") and None
    except ClusterError as error:
        return type(error).__name__, error.hsm


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (
            "drop @ wire.response hsm=hsm-2 nth=1",
            "drop @ wire.response op=generate_key command=insert_masked hsm=hsm-2 nth=1",
        ),
        ("corrupt @ wire.request hsm=hsm-2 nth=2", "corrupt @ wire.request op=encrypt command=encrypt hsm=hsm-2 nth=1"),
        ("drop @ client.clone hsm=hsm-3 nth=1", "drop @ client.clone op=generate_key hsm=hsm-3 nth=1"),
        (
            "fail CKR_DEVICE_ERROR @ client.route nth=2",
            "fail CKR_DEVICE_ERROR @ client.route op=encrypt command=encrypt nth=1",
        ),
        ("crashed-hsm hsm=hsm-2 during=1ms", "crashed-hsm hsm=hsm-2 during=1ms"),
        ("drop @ wire.response hsm=hsm-2 nth=99", "drop @ wire.response hsm=hsm-2 nth=99"),
        ("drop @ wire.response hsm=hsm-2 nth=1 during=1h", "drop @ wire.response hsm=hsm-2 nth=1 during=1h"),
    ],
)
def test_a_fault_is_named_by_what_it_struck(spec, named):
    """The same passage is struck, also when the application makes other calls before."""
    with HsmCluster(3, seed=1) as cluster:
        client, since = story(cluster)
        cluster.chaos.install(spec)
        met = play(client)
        assert pinned(spec, SCENARIOS, cluster.history, since) == named
    with HsmCluster(3, seed=1) as cluster:
        client, _ = story(cluster)
        cluster.chaos.install(named)
        assert play(client) == met
