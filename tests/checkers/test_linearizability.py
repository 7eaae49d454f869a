"""Is an order found where there is one, and nowhere else?"""

from contextlib import suppress
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_hsmcluster import ClusterError, HsmCluster, UsageError
from pytest_hsmcluster.checkers.linearizability import _NEXT, Step, ordered
from pytest_hsmcluster.mutants import MUTANTS


@pytest.fixture
def cluster():
    with HsmCluster(3, sdk=3, seed=1, sweep=False, routing="pinned", pinned_to="hsm-1") as cluster:
        yield cluster


# -- the search -----------------------------------------------------------------------------

KINDS = ("makes", "deletes", "sees", "misses")


@st.composite
def histories(draw):
    """Up to six steps whose intervals overlap at random, some of them without an end."""
    count = draw(st.integers(1, 6))
    places = draw(st.permutations(range(2 * count)))
    steps = []
    for number in range(count):
        began, ended = sorted(places[2 * number : 2 * number + 2])
        does = draw(st.sampled_from(KINDS))
        known = draw(st.sampled_from((True, True, False)))
        steps.append(Step(does, began, ended) if known else Step(does, began, needed=False))
    return sorted(steps, key=lambda step: step.began)


def has_order(steps):
    """Try every order of every choice of steps that includes the needed ones."""
    optional = [step for step in steps if not step.needed]
    for chosen in range(1 << len(optional)):
        taken = [step for step in steps if step.needed]
        taken += [step for i, step in enumerate(optional) if chosen >> i & 1]
        if any(keeps_time(order) and makes_sense(order) for order in permutations(taken)):
            return True
    return False


def keeps_time(order):
    """No step comes after another one that began when it had ended."""
    return all(later.ended > step.began for i, step in enumerate(order) for later in order[i + 1 :])


def makes_sense(order):
    state = "none"
    for step in order:
        state = _NEXT.get((state, step.does), "wrong")
    return state != "wrong"


@settings(max_examples=1500, derandomize=True, deadline=None, database=None)
@given(histories())
def test_search_agrees_with_every_order_tried_out(steps):
    """Six steps and fewer."""
    verdict, explored = ordered(steps, 10_000)
    assert verdict == ("linearizable" if has_order(steps) else "not linearizable")
    assert explored <= 10_000


def test_ten_thousand_calls_are_as_many_states_as_they_change_something():
    """Calls that only look cost no state of their own, however many overlap."""
    steps = [Step("makes", 0, 1)]
    steps += [Step("sees", 2 + number, 30 + number) for number in range(10_000)]
    steps.append(Step("deletes", 20_000, 20_001))
    steps.append(Step("misses", 20_002, 20_003))
    assert ordered(steps, 10) == ("linearizable", 3)


def test_too_small_a_budget_is_said():
    """An honest answer, and no failure."""
    steps = [Step("makes", 0, 9), Step("deletes", 1, 8), Step("misses", 2, 3), Step("sees", 4, 5)]
    assert ordered(steps, 1) == ("unknown", 1)
    assert ordered(steps, 100)[0] == "linearizable"


# -- histories of clusters -------------------------------------------------------------------


def broken(cluster):
    with pytest.raises(AssertionError) as raised:
        cluster.check.linearizable()
    return str(raised.value)


def test_what_a_healthy_cluster_does_has_an_order(cluster):
    """Two applications make, use, find and delete."""
    one, two = cluster.client("one"), cluster.client("two")
    keys = [one.generate_key("AES", 256, label=f"key {number % 3}") for number in range(9)]
    for number, key in enumerate(keys):
        two.encrypt(key, b"data")
        assert len(two.find_keys(label=f"key {number % 3}")) == 3
    for key in keys:
        two.delete_key(key)
    assert one.find_keys() == []
    told = cluster.check.linearizability()
    assert (told.verdict, told.findings, told.undecided) == ("linearizable", (), ())


def test_deleted_key_that_comes_back_has_no_order(cluster):
    """The finding names the find that shows it, and the calls that made and deleted it."""
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.crash("hsm-3"):
        app.delete_key(key)
    cluster.sweep_now()
    assert app.find_keys(label="kek") == [key]
    app.encrypt(key, b"data")
    text = broken(cluster)
    assert text.startswith("calls without an order on key 'kek' (key-1, handle 262144) since ")
    assert "find_keys by app, ok at" in text
    assert "shows or uses it, and no order of the calls before it explains that: generate_key by app, ok" in text
    assert "delete_key by app, ok" in text


def test_find_that_does_not_show_a_key_has_no_order(cluster):
    """The HSM that has it was off; nobody has deleted it."""
    cluster.chaos.fail_clone()
    app = cluster.client()
    app.generate_key("AES", 256, label="kek")
    with cluster.chaos.crash("hsm-1"):
        assert app.find_keys(label="kek") == []
    assert "does not show it" in broken(cluster)


def test_finds_that_need_not_show_a_key_constrain_nothing(cluster):
    """Of another user, another label or kind, or by more than those."""
    cluster.create_user("bob", "correct horse")
    app, bob = cluster.client(), cluster.client("bob", login=False)
    bob.login("bob", "correct horse")
    app.generate_key("AES", 256, label="kek")
    assert bob.find_keys() == []
    assert app.find_keys(label="other") == app.find_keys(kind="RSA") == app.find_keys(label="kek", id=b"7") == []
    cluster.check.linearizable()


@pytest.mark.parametrize("point", ["wire.response", "wire.request"])
def test_unknown_delete_acts_at_any_time_or_never(cluster, point):
    """What is seen afterwards decides."""
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.inject(f"drop @ {point} op=delete_key nth=1"), suppress(ClusterError):
        app.delete_key(key)
    cluster.clock.advance(100)
    with suppress(ClusterError):
        app.encrypt(key, b"data")
    app.find_keys(label="kek")
    cluster.check.linearizable()


def test_miss_is_no_finding(cluster):
    """A `fail` says nothing, whatever the reason."""
    cluster.chaos.fail_clone()
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    cluster.chaos.route_to("hsm-2")
    with pytest.raises(ClusterError):
        app.encrypt(key, b"data")
    cluster.check.linearizable()


def test_key_of_a_failed_create_may_be_seen_meanwhile(cluster):
    """It is undone, and nobody is to blame who did not see it afterwards."""
    app = cluster.client()
    with cluster.chaos.fail_clone(), pytest.raises(ClusterError) as caught:
        app.generate_key("AES", 256, label="kek", min_srv=2, timeout_s=10)
    assert caught.value.outcome == "fail"
    assert app.find_keys(label="kek") == []
    cluster.check.linearizable()


def test_keys_that_the_service_brought_need_no_create(cluster):
    """Of a backup, say."""
    app = cluster.client()
    app.generate_key("AES", 256, label="kek")
    with HsmCluster.from_backup(cluster.backup(), sdk=3, seed=2) as clone:
        found = clone.client()
        [key] = found.find_keys(label="kek")
        found.encrypt(key, b"data")
        clone.check.linearizable()


@pytest.mark.parametrize("mutant", ["undead-keys", "hollow-deletes"])
def test_wrong_cluster_is_noticed(mutant):
    """Whose answers contradict each other."""
    with HsmCluster(3, sdk=3, seed=1) as cluster:
        MUTANTS[mutant].apply(cluster)
        app = cluster.client()
        key = app.generate_key("AES", 256, label="kek")
        app.delete_key(key)
        cluster.sweep_now()
        app.find_keys(label="kek")
        broken(cluster)


def test_small_budget_leaves_keys_undecided(cluster):
    """The check raises nothing, and the verdict says so."""
    app = cluster.client()
    for number in range(3):
        app.generate_key("AES", 256, label=f"key {number}")
    told = cluster.check.linearizability(budget=4)
    assert (told.verdict, told.undecided, told.explored) == ("unknown", ("key-3",), 4)
    cluster.check.linearizable(budget=4)


@pytest.mark.parametrize("budget", [0, -1, 1.5, "10", True, None])
def test_wrong_budget_is_refused(cluster, budget):
    with pytest.raises(UsageError, match="linearizable: budget is a number of states, an integer, 1 or more; got"):
        cluster.check.linearizable(budget=budget)
