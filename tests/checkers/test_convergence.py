"""Are differences between HSMs found, and lingering keys, and nothing else?"""

import pytest

from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.checkers.verdict import Finding

MS = 1_000_000


def test_key_that_one_up_hsm_lacks_is_a_difference(tell):
    """The HSM that lacks the key is named, and since when."""
    story = tell()
    story.create(on=["hsm-1", "hsm-2"])

    assert HsmCheck(story.history).differences() == [
        Finding(
            check="in_sync",
            key="key-1",
            label="payroll",
            handle=262144,
            hsms=("hsm-3",),
            since_ns=2 * MS,
            cause="on hsm-1, hsm-2, not on hsm-3",
        )
    ]


def test_hsm_that_comes_up_without_a_key_differs_from_then_on(tell):
    """While it was off it was not compared."""
    story = tell()
    story.crash("hsm-2")
    story.create(on=["hsm-1", "hsm-3"])
    HsmCheck(story.history).in_sync()
    story.restart("hsm-2")
    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).in_sync()
    assert str(raised.value) == (
        "HSMs differ in key 'payroll' (key-1, handle 262144) on hsm-2 since 0.006000 s: on hsm-1, hsm-3, not on hsm-2"
    )


def test_attribute_that_was_changed_on_some_hsms_is_a_difference(tell):
    """The rarer value's HSMs are named."""
    story = tell()
    key = story.create()
    story.attribute(key, "extractable", False, on=["hsm-1", "hsm-3"])
    [found] = HsmCheck(story.history).differences()
    assert (found.hsms, found.since_ns) == (("hsm-2",), 6 * MS)
    assert found.cause == "extractable: False on hsm-1, hsm-3, as at birth on hsm-2"


def test_labels_that_drifted_apart_are_one_difference(tell):
    """Labels compare by value, also where a copy was made with the new one."""
    story = tell()
    key = story.create("old", on=["hsm-1", "hsm-2"])
    story.attribute(key, "label", "new", on=["hsm-1"])
    story.held(key, "hsm-3", "sweep", source="hsm-1", label="new")
    [found] = HsmCheck(story.history).differences()
    assert (found.hsms, found.cause) == (("hsm-2",), "label: 'new' on hsm-1, hsm-3, 'old' on hsm-2")


def test_share_that_missed_an_hsm_is_a_difference(tell):
    """Shares compare by user name, whatever their order."""
    story = tell()
    key = story.create()
    story.share(key, "bob", on=["hsm-1", "hsm-2"])
    story.share(key, "amy", on=["hsm-2", "hsm-1"])
    story.share(key, "amy", on=["hsm-3"])
    [found] = HsmCheck(story.history).differences()
    assert (found.hsms, found.since_ns) == (("hsm-3",), 10 * MS)
    assert found.cause == "shares: amy, bob on hsm-1, hsm-2, amy on hsm-3"


def test_owner_that_differs_is_a_difference(tell):
    """One key, two owners."""
    story = tell()
    key = story.create(on=["hsm-1", "hsm-2"])
    story.held(key, "hsm-3", "restore", owner="bob")
    [found] = HsmCheck(story.history).differences()
    assert (found.hsms, found.cause) == (("hsm-3",), "owner: 'crypto_user' on hsm-1, hsm-2, 'bob' on hsm-3")


def test_key_that_is_tombstoned_here_and_held_there_is_a_difference(tell):
    """A tombstoned copy does not hold."""
    story = tell()
    key = story.create()
    story.tombstoned(key, "hsm-1")
    [found] = HsmCheck(story.history).differences()
    assert found.cause == "on hsm-2, hsm-3, not on hsm-1 (tombstoned on hsm-1)"
    assert found.since_ns == 6 * MS


def test_deleted_key_lingers_on_an_hsm_that_is_off(tell):
    """Deleted `ok`, still on an HSM that the delete did not reach and that never came back."""
    story = tell()
    key = story.create()
    story.crash("hsm-2")
    story.delete(key, on=["hsm-1", "hsm-3"])
    [found] = HsmCheck(story.history).differences()
    assert (found.hsms, found.since_ns) == (("hsm-2",), 10 * MS)
    assert found.cause == "deleted ok by app at 0.010000 s, which did not reach hsm-2 (down): it lingers"


def test_deleted_key_lingers_on_an_hsm_that_was_cut_off(tell):
    """An up HSM that the delete did not reach: one finding, about the HSM that still holds the key."""
    story = tell()
    key = story.create()
    story.delete(key, on=["hsm-1", "hsm-3"])
    [found] = HsmCheck(story.history).differences()
    assert found.hsms == ("hsm-2",)
    assert found.cause == "on hsm-2, not on hsm-1, hsm-3; deleted ok by app at 0.009000 s, which did not reach hsm-2"
    story.destroy("hsm-1")
    story.destroy("hsm-3")
    [found] = HsmCheck(story.history).differences()
    assert found.cause.endswith("which did not reach hsm-2 (up): it lingers")


def test_resurrected_key_is_a_difference_until_it_is_everywhere(tell):
    """It came back on one HSM: the up HSMs differ."""
    story = tell()
    key = story.create()
    story.crash("hsm-2")
    story.delete(key, on=["hsm-1", "hsm-3"])
    story.restart("hsm-2")
    [found] = HsmCheck(story.history).differences()
    assert (found.hsms, found.since_ns) == (("hsm-2",), 11 * MS)
    assert found.cause.endswith("deleted ok by app at 0.010000 s, and back since")
    story.sweep(key, "hsm-1", "hsm-2")
    story.sweep(key, "hsm-3", "hsm-2")
    HsmCheck(story.history).in_sync()


def test_equal_hsms_are_in_sync(tell):
    """Same keys, same attributes, same shares, in any order."""
    story = tell()
    key = story.create()
    story.attribute(key, "extractable", False)
    story.share(key, "amy", on=["hsm-1", "hsm-2"])
    story.share(key, "bob")
    story.share(key, "amy", on=["hsm-3"])
    HsmCheck(story.history).in_sync()


def test_share_that_was_taken_back_everywhere_leaves_no_difference(tell):
    """Shared and unshared is as before."""
    story = tell()
    key = story.create()
    story.share(key, "amy", on=["hsm-1"])
    story.share(key, "amy", on=["hsm-1"], shared=False)
    HsmCheck(story.history).in_sync()


@pytest.mark.parametrize("state", ["down", "paused", "joining", "lost"])
def test_only_up_hsms_are_compared(tell, state):
    """A joining HSM is exempt, and what is off or silent cannot be in sync."""
    story = tell()
    story.create(on=["hsm-1", "hsm-2"])
    story.state("hsm-3", state)
    HsmCheck(story.history).in_sync()


def test_joining_hsm_may_still_hold_a_deleted_key(tell):
    """It is exempt until it is up."""
    story = tell()
    key = story.create()
    story.state("hsm-4", "joining")
    story.held(key, "hsm-4", "join")
    story.delete(key)
    HsmCheck(story.history).in_sync()


def test_session_keys_are_on_one_hsm_and_that_is_right(tell):
    """Only token keys are compared."""
    story = tell()
    story.create(on=["hsm-1"], token=False)
    HsmCheck(story.history).in_sync()


def test_delete_with_an_unknown_outcome_leaves_nothing_lingering(tell):
    """Nobody promised that the key is gone; an HSM that is off may keep it."""
    story = tell()
    key = story.create()
    story.crash("hsm-2")
    story.delete(key, on=["hsm-1", "hsm-3"], outcome="info")
    HsmCheck(story.history).in_sync()


def test_copy_that_came_with_the_changed_attribute_agrees(tell):
    """A sweep carries attributes along."""
    story = tell()
    key = story.create(on=["hsm-1", "hsm-2"])
    story.attribute(key, "extractable", False, on=["hsm-1", "hsm-2"])
    story.held(key, "hsm-3", "sweep", source="hsm-1", changed=(("extractable", False),))
    HsmCheck(story.history).in_sync()
