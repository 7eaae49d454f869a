"""Can checks be called by name, and do they only read, and each event once?"""

import contextlib
import sys

import pytest

from pytest_hsmcluster.checkers.check import CHECKS, HsmCheck
from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.history.history import History


def busy(story, rounds):
    """A story with everything in it, `rounds` times; breaks several promises each time."""
    for _ in range(rounds):
        key = story.create("a", on=["hsm-1"])
        story.miss(key, "hsm-2")
        story.use(key)
        story.encrypt(key)
        story.sweep(key, "hsm-2", "hsm-1")
        story.create("a", on=["hsm-2"], outcome="info")
        gone = story.create("b")
        story.find(key, gone, label="b")
        story.delete(gone, on=["hsm-1", "hsm-2"])
        story.logout(keys=[])


def run_all(check):
    """Run every check, whatever it finds."""
    for name in CHECKS:
        with contextlib.suppress(AssertionError):
            check.run(name)


def test_each_check_has_a_name_and_a_line():
    """The names are those of the methods; the lines fit one line."""
    assert list(CHECKS) == [
        "durable",
        "no_lost_keys",
        "no_orphan_keys",
        "no_resurrected_keys",
        "misses_retried",
        "no_duplicate_labels",
        "in_sync",
        "session_keys_stay_put",
        "no_undecryptable_data",
        "no_stale_handles",
        "retries",
        "exposure",
        "linearizable",
    ]
    for name, check in CHECKS.items():
        assert check.run is getattr(HsmCheck, name)
        assert 0 < len(check.line) < 80
        assert check.line.isprintable()


@pytest.mark.parametrize("name", CHECKS)
def test_check_that_passes_returns_nothing(tell, name):
    """By name and as a method."""
    check = HsmCheck(tell().history)
    assert check.run(name) is None
    assert getattr(check, name)() is None


def test_unknown_check_is_a_usage_error_that_names_the_nearest(tell):
    """A slip of the pen is answered with a suggestion and the whole list."""
    with pytest.raises(UsageError) as raised:
        HsmCheck(tell().history).run("no_lost_key", {"mine": lambda history: None})
    assert str(raised.value) == (
        "unknown check 'no_lost_key' (did you mean 'no_lost_keys'?); checks are " + ", ".join([*CHECKS, "mine"])
    )
    with pytest.raises(UsageError, match=r"^unknown check 'zzz'; checks are durable, "):
        HsmCheck(tell().history).run("zzz")


def test_other_packages_add_checks_by_name(tell):
    """A callable that takes the history; ours cannot be replaced."""
    history = tell().history
    seen = []

    def no_joining(given):
        seen.append(given)
        assert not given.of("joining"), "somebody joined"

    check = HsmCheck(history)
    check.run("no_joining", {"no_joining": no_joining})
    assert seen == [history]
    with pytest.raises(UsageError, match="'durable' is ours already"):
        check.run("durable", {"durable": no_joining})

    joined = tell()
    joined.join("hsm-4")
    with pytest.raises(AssertionError, match="somebody joined"):
        HsmCheck(joined.history).run("no_joining", {"no_joining": no_joining})


def test_one_finding_is_one_line_whatever_the_label(tell):
    """A label with a line feed does not make two lines of one."""
    story = tell()
    story.create("two\nlines", outcome="info")
    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).no_orphan_keys()
    assert str(raised.value).startswith(r"orphan key 'two\nlines' (key-1")
    assert len(str(raised.value).splitlines()) == 1


def test_traceback_ends_in_the_test(tell):
    """The frames of a check hide themselves from pytest's traceback."""
    story = tell()
    story.create(outcome="info")
    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).run("no_orphan_keys")
    frames = [entry.frame for entry in raised.traceback]
    assert [frame.f_locals.get("__tracebackhide__", False) for frame in frames] == [False, True, True, True]


def test_check_reads_only(tell):
    """The journal is the same after all checks as before."""
    story = tell()
    busy(story, 3)
    before = list(story.records)
    run_all(HsmCheck(story.history))
    assert story.records == before


def test_check_says_how_much_it_sees(tell):
    """For a debugger's eyes."""
    assert repr(HsmCheck(tell().history)) == "<HsmCheck of 3 events>"


def test_check_follows_a_live_history(tell):
    """What happened between two checks is seen by the second."""
    story = tell()
    check = HsmCheck(story.history)
    check.no_lost_keys()
    story.destroy("hsm-1", story.create(on=["hsm-1"]))
    assert len(check.lost_keys()) == 1
    story.create("other")
    assert len(check.lost_keys()) == 1


def test_history_that_was_cut_is_a_usage_error(tell):
    """A copy on an HSM that no event made known: says which event."""
    story = tell("hsm-1")
    story.create(on=["hsm-9"])
    with pytest.raises(UsageError, match=r"^event 2 of the history \(0\.002000s held .*\) is about 'hsm-9'"):
        HsmCheck(story.history).no_lost_keys()


@pytest.mark.parametrize("kind", ["ok", "gone", "tombstoned", "attribute"])
def test_history_without_its_beginning_is_a_usage_error(tell, kind):
    """An outcome without a call, a key that goes without having come."""
    story = tell()
    key = story.create(outcome="ok")
    story.attribute(key, "encrypt", False)
    story.tombstoned(key, "hsm-1")
    story.gone(key, "hsm-2", "delete")
    cut = History([record for record in story.records if record[0] in ("up", kind)])
    with pytest.raises(UsageError, match="the history was cut or edited"):
        HsmCheck(cut).in_sync()


class Counted(list):
    """Records that count how often one is looked at."""

    looked = 0

    def __getitem__(self, index):
        self.looked += 1
        return super().__getitem__(index)

    def __iter__(self):
        raise AssertionError("a check reads by index, where it stopped before")


def test_each_event_is_read_once_by_all_checks_together(tell):
    """Nine checks, twice, in the middle and at the end: every record is looked at once."""
    story = tell()
    busy(story, 4)
    records = Counted(story.records)
    check = HsmCheck(History(records))
    run_all(check)
    assert records.looked == len(records)
    busy(story, 2)
    records.extend(story.records[len(records) :])
    run_all(check)
    assert records.looked == len(records) == len(story.records)


def test_work_grows_with_the_events_and_no_faster(tell):
    """Four times the history is four times the function calls, within a tenth."""

    def calls(rounds):
        story = tell()
        busy(story, rounds)
        check, count = HsmCheck(story.history), 0

        def tick(frame, event, argument):
            nonlocal count
            count += event == "call"

        before = sys.getprofile()
        sys.setprofile(tick)
        try:
            run_all(check)
        finally:
            sys.setprofile(before)
        return count

    assert calls(100) < 4.4 * calls(25)
