"""Are duplicates found, and rotations and twins left alone?"""

import pytest

from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.checkers.verdict import Finding

MS = 1_000_000


def test_retry_after_a_lost_reply_makes_a_duplicate(tell):
    """The first create worked, nobody was told, the second made another key: the first is one too many."""
    story = tell()
    story.create("kek", outcome="info")
    story.create("kek", client="app#2")

    assert HsmCheck(story.history).duplicate_labels() == [
        Finding(
            check="no_duplicate_labels",
            key="key-1",
            label="kek",
            handle=262144,
            hsms=("hsm-1", "hsm-2", "hsm-3"),
            since_ns=7 * MS,
            cause=(
                "made by generate_key by app, info (RequestTimeout) at 0.005000 s; key-2 (handle 262145) has the same "
                "label, owner, class, kind: generate_key by app, ok at 0.010000 s"
            ),
        )
    ]


def test_second_create_without_an_answer_is_a_duplicate_of_the_first(tell):
    """The key that is meant is the acknowledged one, wherever it stands."""
    story = tell()
    story.create("kek")
    story.create("kek", outcome="info", on=["hsm-2"])
    with pytest.raises(
        AssertionError, match=r"^duplicate key 'kek' \(key-2, handle 262145\) on hsm-2 since 0.007000 s"
    ):
        HsmCheck(story.history).no_duplicate_labels()


def test_create_that_is_still_open_is_not_ok(tell):
    """Two at once with one label: as long as one has no answer it is the one too many."""
    story = tell()
    story.create("kek", outcome="open")
    story.create("kek", client="other")
    [found] = HsmCheck(story.history).duplicate_labels()
    assert found.key == "key-1"
    assert found.cause.startswith("made by generate_key by app, still open; key-2 ")


def test_three_tries_leave_two_keys_too_many(tell):
    """One finding for each key too many; without an acknowledged one the first is meant."""
    story = tell()
    for _ in range(3):
        story.create("kek", outcome="info")
    assert [key.key for key in HsmCheck(story.history).duplicate_labels()] == ["key-2", "key-3"]


def test_adoption_does_not_make_a_failed_create_ok(tell):
    """Found and used, but still from a create that is not `ok`."""
    story = tell()
    key = story.create("kek", outcome="info")
    story.find(key)
    story.use(key)
    story.create("kek")
    assert [key.key for key in HsmCheck(story.history).duplicate_labels()] == ["key-1"]


def test_half_of_a_pair_is_a_duplicate_of_its_like(tell):
    """Public of public, private of private."""
    story = tell()
    story.pair(outcome="info")
    story.pair()
    assert [key.key for key in HsmCheck(story.history).duplicate_labels()] == ["key-1", "key-2"]


def test_relabelled_key_collides_with_its_new_label(tell):
    """The label that counts is the one the key has now."""
    story = tell()
    key = story.create("kek-new", outcome="info")
    story.create("kek")
    story.attribute(key, "label", "kek")
    assert [found.label for found in HsmCheck(story.history).duplicate_labels()] == ["kek"]


def test_rotation_is_a_duplicate_only_in_strict_mode(tell):
    """Two `ok` creates, twin imports too, are what the application wanted, unless it says otherwise."""
    story = tell()
    story.create("kek")
    story.create("kek")
    story.create("dek", name="import_key", mat="mat-9")
    story.create("dek", name="import_key", mat="mat-9")
    check = HsmCheck(story.history)
    check.no_duplicate_labels()
    assert [key.key for key in check.duplicate_labels(strict=True)] == ["key-2", "key-4"]
    with pytest.raises(AssertionError):
        check.no_duplicate_labels(strict=True)


@pytest.mark.parametrize(
    "other",
    [{"owner": "bob"}, {"key_kind": "DES3"}, {"cls": "private"}, {"label": "dek"}, {"token": False}],
    ids=["owner", "kind", "class", "label", "session"],
)
def test_key_that_differs_is_no_duplicate(tell, other):
    """Same owner, class, kind and label, all of them, and token keys."""
    story = tell()
    story.create("kek")
    story.create(**{"label": "kek", "outcome": "info", **other})
    HsmCheck(story.history).no_duplicate_labels(strict=True)


def test_keys_without_a_label_are_no_duplicates(tell):
    """An empty label names nothing."""
    story = tell()
    story.create("", outcome="info")
    story.create("")
    HsmCheck(story.history).no_duplicate_labels(strict=True)


def test_removed_duplicate_is_none_any_more(tell):
    """Found and deleted, or lost with its HSM, or taken back."""
    story = tell()
    story.create("kek")
    story.delete(story.create("kek", outcome="info"))
    story.destroy("hsm-3", story.create("kek", outcome="info", on=["hsm-3"]))
    HsmCheck(story.history).no_duplicate_labels(strict=True)


def test_deleted_duplicate_that_lingers_where_nobody_finds_it_is_none(tell):
    """Deleted `ok` while an HSM was off; it counts again when that HSM comes back with it."""
    story = tell()
    story.create("kek")
    key = story.create("kek", outcome="info")
    story.find(key)
    story.crash("hsm-3")
    story.delete(key, on=["hsm-1", "hsm-2"])
    HsmCheck(story.history).no_duplicate_labels()
    story.restart("hsm-3")
    assert [found.key for found in HsmCheck(story.history).duplicate_labels()] == [key]


def test_key_that_was_seeded_or_restored_is_no_birth(tell):
    """Nobody of this run made it."""
    story = tell()
    story.born("kek")
    story.create("kek", outcome="info")
    HsmCheck(story.history).no_duplicate_labels(strict=True)
