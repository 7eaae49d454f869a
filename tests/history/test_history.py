"""Does a history read, digest, save and load as it should, and say which file is wrong?"""

import copy
import json
import pickle

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.history.events import FIELDS, OUTCOMES, OUTSIDE, Cause, Event, Kind, read
from pytest_hsmcluster.history.history import History
from pytest_hsmcluster.history.journal import Journal, well_formed

UP = (Kind.UP, 0, "hsm-1", "a", "start")


def call(op=1, client="app", label="payroll", key="key-1", at=1_000_000):
    """The records of a create that worked."""
    return [
        (
            Kind.INVOKE,
            at,
            op,
            client,
            "crypto_user",
            "generate_key",
            None,
            label,
            "secret",
            "AES",
            True,
            (("bits", 256),),
        ),
        (Kind.REACH, at, op, "hsm.commit", "generate_key", "generate_key", "hsm-1", client, "crypto_user", None),
        (
            *(Kind.HELD, at + 5, op, "hsm-1", key, 262144, Cause.CREATE, "mat-1", True, "secret", "AES", label),
            *("crypto_user", (), (), None),
        ),
        (Kind.OK, at + 9, op, client, "generate_key", (key,), ()),
    ]


# -- journal ----------------------------------------------------------------------------


def test_journal_appends_and_numbers_operations():
    """Records keep their order; operations count from 1."""
    journal = Journal()
    assert (journal.next_op(), journal.next_op(), len(journal)) == (1, 2, 0)
    journal.append(UP)
    assert journal.records == [UP]


@pytest.mark.parametrize(
    "record",
    [
        UP,
        ("up", 0, "hsm-1", "a", "start"),
        (Kind.GONE, 5, 0, "hsm-1", "key-1", 7, "delete"),
        *call(),
    ],
)
def test_record_with_a_known_kind_and_all_fields_is_well_formed(record):
    """The kind may be plain text, as in a file."""
    assert well_formed(record)


@pytest.mark.parametrize(
    "record",
    [
        (),
        ("up",),
        ("sideways", 0, 1),
        UP[:-1],
        (*UP, 1),
        ("up", "0", "hsm-1", "a", "x"),
        (None, 0),
        (({},), 0),
        ((), 0),
    ],
)
def test_record_with_an_unknown_kind_or_other_fields_is_not(record):
    """Too short, too long, without an instant, of no kind."""
    assert not well_formed(record)


# -- events -----------------------------------------------------------------------------


def test_event_gives_its_fields_by_name():
    """An `invoke` has a client; `kind` is what the event is about, `key_kind` the kind of the key."""
    event = read(call()[0], 7)
    assert (event.index, event.at_ns, event.client, event.token) == (7, 1_000_000, "app", True)
    assert (event.kind, event.key_kind) == (Kind.INVOKE, "AES")


def test_event_without_such_a_field_names_those_that_it_has():
    """A slip is answered with the fields of the kind."""
    with pytest.raises(AttributeError, match="a up event has no 'key'; it has hsm, zone, cause"):
        _ = read(UP, 0).key


def test_event_prints_what_is_known():
    """Instant, kind, and the fields that say something."""
    assert str(read((Kind.DOWN, 1_500_000, "hsm-1", None, "crash"), 0)) == "0.001500s down hsm=hsm-1 cause=crash"


def test_event_can_be_copied_and_pickled():
    """Events travel between processes, for instance of a parallel test run."""
    event = read(UP, 3)
    assert copy.copy(event) == copy.deepcopy(event) == pickle.loads(pickle.dumps(event)) == event


def test_fields_from_outside_exist():
    """A misspelt name would let an application's words into a digest."""
    assert all(any(name in names for names in FIELDS.values()) for name in sorted(OUTSIDE))


# -- reading ----------------------------------------------------------------------------


def test_history_is_a_sequence_of_events():
    """Length, index from both ends, iteration."""
    history = History([UP, *call()])
    assert len(history) == 5
    assert [event.kind for event in history] == [Kind.UP, Kind.INVOKE, Kind.REACH, Kind.HELD, Kind.OK]
    assert (history[1].index, history[-1].index, history[-1].kind) == (1, 4, Kind.OK)
    assert all(isinstance(event, Event) for event in history)
    assert repr(history) == "<History of 5 events>"
    with pytest.raises(IndexError):
        _ = history[5]
    with pytest.raises(IndexError):
        _ = History([])[0]


def test_events_of_some_kinds_keep_their_place():
    """By kind or by its name."""
    history = History([UP, *call()])
    assert [event.index for event in history.of(Kind.OK, "up")] == [0, 4]
    assert [event.kind for event in history.operations] == [Kind.INVOKE, Kind.OK]
    with pytest.raises(ValueError, match="sideways"):
        history.of("sideways")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_last_is_what_the_application_was_told_last(outcome):
    """Not the newest event."""
    told = (
        (Kind.OK, 9, 1, "app", "sign", (), ())
        if outcome is Kind.OK
        else (outcome, 9, 1, "app", "sign", "E", 1, None, None)
    )
    history = History([UP, *call(), told, UP])
    assert (history.last.kind, history.last.index) == (outcome, 5)


def test_history_without_an_outcome_has_no_last():
    """A usage error says why."""
    with pytest.raises(UsageError, match="no operation has ended yet"):
        _ = History([UP]).last


def test_history_follows_the_journal_that_it_reads():
    """It keeps no copy; nor of the note, even when that is empty at first."""
    journal, note = Journal(), {}
    history = History(journal.records, note=note)
    journal.append(UP)
    note["seed"] = 7
    assert (len(history), history.note) == (1, {"seed": 7})


# -- digest -----------------------------------------------------------------------------


def test_digest_counts_words_of_the_application_instead_of_reading_them():
    """Other labels and clients, same story: same digest."""
    one = History([UP, *call(client="app", label="payroll")])
    other = History([UP, *call(client="vault", label="kek\n")])
    assert one.digest() == other.digest()
    assert len(one.digest()) == 64
    assert set(one.digest()) <= set("0123456789abcdef")


def test_digest_sees_that_two_words_are_the_same_or_not():
    """One label twice is another story than two labels."""
    same = [*call(1, label="a", key="key-1"), *call(2, label="a", key="key-2")]
    different = [*call(1, label="a", key="key-1"), *call(2, label="b", key="key-2")]
    assert History(same).digest() != History(different).digest()


def test_digest_does_not_care_whether_a_label_is_spelled_like_a_client():
    """Names of each kind are counted by themselves."""
    assert History(call(client="app", label="app")).digest() == History(call(client="app", label="kek")).digest()


def test_digest_knows_attributes_by_name_and_their_values_by_ordinal():
    """Which attribute changed is ours; what label it got is the application's."""

    def held(*changed):
        record = list(call()[2])
        record[-3] = changed
        return History([tuple(record)]).digest()

    assert held(("label", "a")) == held(("label", "b"))
    assert held(("sign", False)) != held(("verify", False))
    assert held(("sign", False)) != held(("sign", True))


@pytest.mark.parametrize(
    "changed",
    [(Kind.UP, 1, "hsm-1", "a", "start"), (Kind.UP, 0, "hsm-2", "a", "start"), (Kind.DOWN, 0, "hsm-1", "a", "start")],
)
def test_digest_sees_instants_hsms_and_kinds(changed):
    """Everything that is ours counts."""
    assert History([UP]).digest() != History([changed]).digest()


def test_digest_reaches_into_tuples():
    """Shares, changed attributes and arguments are words of the application too."""

    def held(user):
        record = list(call()[2])
        record[-2] = (user, "bob")
        return History([tuple(record)])

    assert held("amy").digest() == held("zoe").digest()
    assert held("amy").digest() != held("bob").digest()


def test_digest_does_not_depend_on_the_run_that_took_it():
    """A constant: the canonical form must not change without a new version."""
    assert History([UP, *call()]).digest() == "755ee306c2ef1bfdb7454f8cd2212a97c0e6d93cbc8d349630cd0cb107a675c4"


def test_digest_is_refused_with_a_reason():
    """A run on a real clock has none."""
    history = History([UP], note={"no_digest": "its clock was real"})
    with pytest.raises(UsageError, match="this history has no digest: its clock was real"):
        history.digest()


# -- files ------------------------------------------------------------------------------


def test_saved_history_loads_as_it_was(tmp_path):
    """Records, note and digest; tuples stay tuples, kinds stay kinds."""
    history = History([UP, *call()], note={"seed": 7, "sdk": 3})
    path = history.save(tmp_path / "run.jsonl")
    loaded = History.load(str(path))
    assert loaded.records == history.records
    assert loaded.note == {"seed": 7, "sdk": 3}
    assert loaded.digest() == history.digest()
    assert all(type(record[0]) is Kind for record in loaded.records)
    assert loaded[1].args == (("bits", 256),)


@pytest.mark.parametrize("label", ["Schlüssel", "a\nb", "a\u2028b", "a\x85b", "a\x1cb", "\ud800", '"\\', "🔑"])
def test_any_label_survives_a_file(tmp_path, label):
    """Line separators of Unicode do not cut a line, and half a surrogate pair is written too."""
    history = History(call(label=label))
    assert History.load(history.save(tmp_path / "run.jsonl")).records == history.records


def test_note_may_use_any_word(tmp_path):
    """Facts of a run do not get in the way of the format's own words."""
    note = {"format": "x", "version": "9.9", "events": -1}
    assert History.load(History([UP], note=note).save(tmp_path / "run.jsonl")).note == note


def test_empty_history_survives_a_file(tmp_path):
    """No event, no note."""
    loaded = History.load(History([]).save(tmp_path / "run.jsonl"))
    assert (len(loaded), loaded.note) == (0, {})


HEAD = {"format": "hsmcluster-history", "version": 1, "events": 1, "note": {}}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is not a history: its first line should say 'hsmcluster-history'"),
        (["[]"], "is not a history"),
        (['{"format":"other"}'], "is not a history"),
        ([json.dumps({**HEAD, "version": 2})], "another version of the format; this one reads version 1"),
        ([json.dumps(HEAD)], "is cut short: 0 events"),
        ([json.dumps(HEAD), '["up",0,"hsm-1"'], "line 2: not JSON"),
        ([json.dumps(HEAD), '["up",0,"hsm-1"]'], "line 2: not an event of a known kind with all its fields"),
        ([json.dumps(HEAD), '["sideways",0]'], "line 2: not an event"),
        ([json.dumps(HEAD), '{"up":0}'], "line 2: not an event"),
        ([json.dumps(HEAD), "[[],0]"], "line 2: not an event"),
    ],
)
def test_wrong_file_is_a_usage_error_that_says_where(tmp_path, lines, message):
    """Path, line, and what is wrong with it."""
    path = tmp_path / "wrong.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(UsageError) as raised:
        History.load(path)
    assert message in str(raised.value)
    assert "wrong.jsonl" in str(raised.value)


def test_file_that_cannot_be_read_is_a_usage_error(tmp_path):
    """Not there, or not text."""
    with pytest.raises(UsageError, match=r"cannot read the history .*missing"):
        History.load(tmp_path / "missing.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"cannot read the history .*bytes"):
        History.load(tmp_path / "bytes.jsonl")
