"""Are keys found that came back after an `ok` delete, and nothing else?"""

import pytest

from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.checkers.verdict import Finding

MS = 1_000_000


def deleted_without(story, hsm, outcome="ok"):
    """A key that was deleted while one HSM was off."""
    key = story.create()
    story.crash(hsm)
    story.delete(key, on=[other for other in ("hsm-1", "hsm-2", "hsm-3") if other != hsm], outcome=outcome)
    return key


def test_key_comes_back_with_an_hsm_that_missed_the_delete(tell):
    """The HSM comes up with the key: resurrected there."""
    story = tell()
    deleted_without(story, "hsm-3")
    story.restart("hsm-3")

    assert HsmCheck(story.history).resurrected_keys() == [
        Finding(
            check="no_resurrected_keys",
            key="key-1",
            label="payroll",
            handle=262144,
            hsms=("hsm-3",),
            since_ns=11 * MS,
            cause="deleted ok by app at 0.010000 s; hsm-3: it came up with it at 0.011000 s",
        )
    ]


def test_sweep_spreads_a_key_that_came_back(tell):
    """From the HSM that came back the sweep copies the key to the others."""
    story = tell()
    key = deleted_without(story, "hsm-3")
    story.restart("hsm-3")
    story.sweep(key, "hsm-1", "hsm-3")
    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).no_resurrected_keys()
    assert str(raised.value) == (
        "resurrected key 'payroll' (key-1, handle 262144) on hsm-1, hsm-3 since 0.011000 s: deleted ok by app at "
        "0.010000 s; hsm-1: the sweep copied it there from hsm-3 at 0.012000 s, hsm-3: it came up with it at 0.011000 s"
    )


@pytest.mark.parametrize(("cause", "way"), [("join", "it joined with it"), ("restore", "a backup brought it")])
def test_snapshot_brings_a_deleted_key_back(tell, cause, way):
    """A join or restore after the delete, from a snapshot before it."""
    story = tell()
    key = story.create()
    story.delete(key)
    story.state("hsm-4", "joining")
    story.held(key, "hsm-4", cause)
    [back] = HsmCheck(story.history).resurrected_keys()
    assert (back.hsms, back.since_ns) == (("hsm-4",), 12 * MS)
    assert f"hsm-4: {way} at" in back.cause


def test_hsm_that_joins_with_a_key_deleted_meanwhile_brings_it_back(tell):
    """The snapshot was taken before the delete; the HSM comes up after it."""
    story = tell()
    key = story.create()
    story.state("hsm-4", "joining")
    story.held(key, "hsm-4", "join")
    story.delete(key)
    story.state("hsm-4", "joined")
    [back] = HsmCheck(story.history).resurrected_keys()
    assert (back.hsms, back.since_ns) == (("hsm-4",), 13 * MS)


def test_sweep_in_the_middle_of_a_delete_puts_the_key_back(tell):
    """Deleted on one HSM, swept back from the next, deleted there: the delete is `ok` and the key is there."""
    story = tell("hsm-1", "hsm-2")
    key = story.create()
    op = story.invoke("delete_key", key)
    story.gone(key, "hsm-1", "delete", op=op)
    story.sweep(key, "hsm-1", "hsm-2")
    story.gone(key, "hsm-2", "delete", op=op)
    story.end(op, keys=(key,))
    [back] = HsmCheck(story.history).resurrected_keys()
    # Swept at 7 ms, but the promise stands from the `ok` of the delete on.
    assert (back.hsms, back.since_ns) == (("hsm-1",), 9 * MS)


def test_paused_hsm_that_goes_on_with_a_deleted_key_brings_it_back(tell):
    """Silent during the delete, up again after it."""
    story = tell()
    key = story.create()
    story.state("hsm-2", "paused")
    story.delete(key, on=["hsm-1", "hsm-3"])
    story.state("hsm-2", "up")
    assert [back.hsms for back in HsmCheck(story.history).resurrected_keys()] == [("hsm-2",)]


def test_delete_that_reached_every_hsm_is_final(tell):
    """Nothing comes back, whatever restarts."""
    story = tell()
    story.delete(story.create())
    story.crash("hsm-1")
    story.restart("hsm-1")
    HsmCheck(story.history).no_resurrected_keys()


@pytest.mark.parametrize("outcome", ["info", "open", "fail"])
def test_delete_with_another_outcome_than_ok_promises_nothing(tell, outcome):
    """Unknown outcome: the key may be there."""
    story = tell()
    key = deleted_without(story, "hsm-3", outcome)
    story.restart("hsm-3")
    story.sweep(key, "hsm-1", "hsm-3")
    HsmCheck(story.history).no_resurrected_keys()


def test_lingering_key_is_not_resurrected(tell):
    """The HSM that missed the delete has not come back: that is `in_sync`'s matter."""
    story = tell()
    deleted_without(story, "hsm-3")
    HsmCheck(story.history).no_resurrected_keys()


def test_up_hsm_that_is_said_to_be_up_has_not_come_back(tell):
    """It was up all the time: the key lingers."""
    story = tell()
    key = story.create()
    story.delete(key, on=["hsm-1", "hsm-2"])
    story.state("hsm-3", "up")
    HsmCheck(story.history).no_resurrected_keys()


def test_sweep_before_the_delete_is_no_comeback(tell):
    """A copy that the sweep had made earlier and that the delete missed lingers."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.sweep(key, "hsm-2", "hsm-1")
    story.delete(key, on=["hsm-1"])
    HsmCheck(story.history).no_resurrected_keys()


def test_key_that_was_deleted_once_more_is_gone(tell):
    """An application that looks again and deletes again has done its duty."""
    story = tell()
    key = deleted_without(story, "hsm-3")
    story.restart("hsm-3")
    story.delete(key, on=["hsm-3"])
    HsmCheck(story.history).no_resurrected_keys()


def test_hsm_that_came_back_and_was_lost_holds_nothing(tell):
    """No HSM, no key."""
    story = tell()
    key = deleted_without(story, "hsm-3")
    story.restart("hsm-3")
    story.destroy("hsm-3", key)
    HsmCheck(story.history).no_resurrected_keys()


def test_new_key_with_the_old_label_is_another_key(tell):
    """A label is no key."""
    story = tell()
    story.delete(story.create("kek"))
    story.create("kek")
    HsmCheck(story.history).no_resurrected_keys()
