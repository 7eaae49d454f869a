"""Are keys found that nobody was told of, and nothing else?"""

import pytest

from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.checkers.verdict import Finding

MS = 1_000_000


def leftover(story, label="payroll", outcome="info"):
    """A create that reached two HSMs of three, and whose cleanup reached one."""
    op = story.invoke("generate_key", label=label)
    key = story.born(label, ["hsm-1", "hsm-2"], name="generate_key", op=op)
    story.gone(key, "hsm-1", "cleanup", op=op)
    story.end(op, outcome, error="TooFewCopies")
    return key


def test_leftover_of_a_failed_create_is_an_orphan(tell):
    """The cleanup missed one HSM: the key is there and nobody knows."""
    story = tell()
    leftover(story)

    assert HsmCheck(story.history).orphan_keys() == [
        Finding(
            check="no_orphan_keys",
            key="key-1",
            label="payroll",
            handle=262144,
            hsms=("hsm-2",),
            since_ns=5 * MS,
            cause="generate_key by app, info (TooFewCopies) at 0.005000 s, and the cleanup did not reach every copy",
        )
    ]


def test_key_of_a_create_without_an_answer_is_an_orphan(tell):
    """The reply was lost: a key on every HSM that nobody was told of."""
    story = tell()
    story.create(outcome="info")
    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).no_orphan_keys()
    assert str(raised.value) == (
        "orphan key 'payroll' (key-1, handle 262144) on hsm-1, hsm-2, hsm-3 since 0.005000 s: "
        "generate_key by app, info (RequestTimeout) at 0.005000 s, and nobody was told of the key"
    )


def test_second_birth_of_one_create_is_an_orphan(tell):
    """A create that made two keys and named one left the other behind."""
    story = tell()
    op = story.invoke("generate_key", label="twice")
    first = story.born("twice", ["hsm-1"], name="generate_key", op=op)
    second = story.born("twice", ["hsm-2"], name="generate_key", op=op)
    story.end(op, keys=(second,))
    [orphan] = HsmCheck(story.history).orphan_keys()
    assert (orphan.key, orphan.cause) == (first, "generate_key by app, ok at 0.004000 s, which named another key")


def test_key_that_was_committed_after_its_create_had_ended_is_an_orphan_from_then_on(tell):
    """A request that was carried out after the client had given up makes a key late."""
    story = tell()
    op = story.invoke("generate_key", label="late")
    story.end(op, "info")
    story.wait(500)
    story.born("late", ["hsm-3"], name="generate_key", op=op)
    [orphan] = HsmCheck(story.history).orphan_keys()
    assert (orphan.hsms, orphan.since_ns) == (("hsm-3",), 503 * MS)


def test_orphan_on_an_hsm_that_is_off_counts_and_the_sweep_spreads_orphans(tell):
    """Restartable HSMs hold their keys; a sweep that copied the orphan is named."""
    story = tell()
    key = leftover(story)
    story.sweep(key, "hsm-3", "hsm-2")
    story.crash("hsm-2")
    [orphan] = HsmCheck(story.history).orphan_keys()
    assert orphan.hsms == ("hsm-2", "hsm-3")
    assert orphan.cause.endswith("; the sweep copied it")
    story.destroy("hsm-2", key)
    [orphan] = HsmCheck(story.history).orphan_keys()
    assert orphan.cause.endswith("; the sweep copied it")
    story.destroy("hsm-3", key)
    HsmCheck(story.history).no_orphan_keys()


def test_half_of_a_pair_that_was_not_found_stays_an_orphan(tell):
    """Each half is a key of its own."""
    story = tell()
    public, private = story.pair(outcome="info")
    story.find(private)
    assert [orphan.key for orphan in HsmCheck(story.history).orphan_keys()] == [public]


def test_key_that_was_found_is_no_orphan(tell):
    """Adopted by find, by any client: somebody knows it."""
    story = tell()
    story.find(leftover(story), client="reaper")
    HsmCheck(story.history).no_orphan_keys()


def test_key_that_was_taken_back_is_no_orphan(tell):
    """Removed or tombstoned by the cleanup: no HSM holds it."""
    story = tell()
    op = story.invoke("generate_key", label="gone")
    key = story.born("gone", ["hsm-1", "hsm-2"], name="generate_key", op=op)
    story.gone(key, "hsm-1", "cleanup", op=op)
    story.tombstoned(key, "hsm-2", op=op)
    story.end(op, "fail", error="TooFewCopies")
    HsmCheck(story.history).no_orphan_keys()


def test_key_whose_create_is_still_running_is_no_orphan(tell):
    """As long as the application waits, it may be told."""
    story = tell()
    story.create(outcome="open")
    HsmCheck(story.history).no_orphan_keys()


@pytest.mark.parametrize("cause", ["join", "restore", "sync_key"])
def test_key_that_this_run_did_not_make_is_no_orphan(tell, cause):
    """Seeded, restored from a backup or copied from another cluster: nobody is told of such keys."""
    story = tell()
    key = story.born("old", [])
    story.held(key, "hsm-1", cause)
    HsmCheck(story.history).no_orphan_keys()


def test_orphan_that_died_with_its_hsm_is_none_any_more(tell):
    """A lost HSM takes its orphans along."""
    story = tell()
    story.destroy("hsm-2", leftover(story))
    HsmCheck(story.history).no_orphan_keys()


def test_session_key_of_a_lost_reply_is_no_orphan(tell):
    """Session keys go with their session."""
    story = tell()
    story.create(on=["hsm-1"], token=False, outcome="info")
    HsmCheck(story.history).no_orphan_keys()


def test_reaped_orphan_is_none_any_more(tell):
    """Found and deleted: the custodian did its work."""
    story = tell()
    key = leftover(story)
    story.find(key)
    story.delete(key, on=["hsm-2"])
    check = HsmCheck(story.history)
    check.no_orphan_keys()
    check.no_lost_keys()
