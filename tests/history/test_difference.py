"""Does a person learn where two runs part, and why?"""

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.history.difference import CAUSES, first_difference
from pytest_hsmcluster.history.events import Kind
from pytest_hsmcluster.history.history import History

THREADS, CLOCK, ORDER, DICE, STATE, NETWORK = CAUSES


def invoke(op=1, at=0, client="app", name="sign", label="kek", key="key-1"):
    return (Kind.INVOKE, at, op, client, "crypto_user", name, key, label, "secret", "AES", True, ())


def reach(op=1, at=0, hsm="hsm-1", point="hsm.commit"):
    return (Kind.REACH, at, op, point, "sign", "sign", hsm, "app", "crypto_user", "key-1")


def difference(one, other):
    return first_difference(History(one), History(other))


def causes(one, other):
    """Return the likely causes, the first two."""
    text = difference([invoke(), *one], [invoke(), *other])
    return text.splitlines()[-1].removeprefix("  likely causes: ").split("; ")[:2]


def test_equal_runs_have_no_difference():
    """Nothing, a story told twice, and one in which only names are others."""
    assert difference([], []) is None
    assert difference([invoke(), reach()], [invoke(), reach()]) is None
    assert difference([invoke(label="one"), invoke(label="two")], [invoke(label="1"), invoke(label="2")]) is None


def test_first_event_that_differs_is_shown_on_both_sides():
    """With its place, what it is on each side, and the operation that it belongs to."""
    text = difference(
        [invoke(op=7), reach(op=7), reach(op=7)],
        [invoke(op=7), reach(op=7), reach(op=7, hsm="hsm-2"), reach(op=7, hsm="hsm-3")],
    )
    assert text.splitlines()[:3] == [
        "event 2 is the first that differs, within sign of app",
        "  first : 0.000000s reach op=7 point=hsm.commit name=sign command=sign hsm=hsm-1 client=app user=crypto_user "
        "key=key-1",
        "  second: 0.000000s reach op=7 point=hsm.commit name=sign command=sign hsm=hsm-2 client=app user=crypto_user "
        "key=key-1",
    ]


def test_run_that_goes_on_differs_from_one_that_does_not():
    """Where one has ended, nothing more happens; most likely because something outlived the test."""
    text = difference([invoke()], [invoke(), reach()])
    assert "  first : nothing more happens" in text
    assert ", within sign of app" in text
    assert difference([invoke(), reach()], [invoke()]).splitlines()[2] == "  second: nothing more happens"
    assert causes([], [reach()])[0] == STATE


def test_beginning_of_an_operation_is_within_none():
    """An `invoke` says itself which operation it is; the service's own work is none's."""
    assert difference([invoke()], [invoke(name="verify")]).startswith("event 0 is the first that differs\n")
    sweeping = (Kind.REACH, 5, 0, "sync.sweep", None, None, None, None, None, None)
    assert difference([sweeping], [reach()]).startswith("event 0 is the first that differs\n")


def test_name_that_was_seen_before_is_told_from_a_new_one():
    """The same words on both sides, but one of them for the second time: then the canonical lines are shown."""
    text = difference([invoke(label="a"), invoke(label="b")], [invoke(label="b"), invoke(label="b")])
    first, second = text.splitlines()[1:3]
    assert first.removeprefix("  first : ") != second.removeprefix("  second: ")
    assert '"~1"' in first and '"~0"' in second


@pytest.mark.parametrize(
    "mine, theirs, likely",
    [
        (reach(), reach(at=3), [CLOCK, THREADS]),
        (invoke(label="kek"), invoke(label="kek", at=3), [CLOCK, THREADS]),
        (invoke(name="sign"), invoke(name="verify"), [ORDER, DICE]),
        (invoke(key="key-1"), invoke(key="key-2"), [ORDER, DICE]),
        (invoke(client="app"), invoke(client="other"), [THREADS, ORDER]),
        (reach(), reach(hsm="hsm-2"), [THREADS, ORDER]),
        (reach(), invoke(), [THREADS, CLOCK]),
    ],
    ids=["instant", "instant-of-a-call", "call", "key", "client", "hsm", "kind"],
)
def test_causes_fit_the_difference(mine, theirs, likely):
    """Time alone: the clock; another call: an order; another client or HSM: threads."""
    assert causes([mine], [theirs]) == likely


def test_clusters_are_compared_as_they_are():
    """Two runs of one story are equal, and one with a longer wait is not."""

    def told(wait):
        with HsmCluster(3, sdk=3, seed=1) as cluster:
            cluster.client().generate_key("AES", 256, label="kek")
            cluster.clock.advance(wait)
            cluster.client("late").find_keys()
            return cluster.history

    assert first_difference(told(1), told(1)) is None
    text = first_difference(told(1), told(2))
    assert f"likely causes: {CLOCK}" in text
