"""The text timeline, story by story, to the character."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_hsmcluster.history.history import History
from pytest_hsmcluster.timeline.columns import width_of
from pytest_hsmcluster.timeline.text import timeline_text


@dataclass(frozen=True, slots=True)
class Found:
    key: str | None
    since_ns: int | None


def clean(book: Any) -> Any:
    story = book().at_us(1000).invoke(1, "login").at_us(2000).ok(1, "login")
    story.invoke(2, "generate_key", label="payroll").at_us(3000).held(2, "hsm-1").at_us(4000)
    story.held(2, "hsm-2", cause="clone", source="hsm-1").at_us(5000).held(2, "hsm-3", cause="clone", source="hsm-1")
    story.at_us(6000).ok(2, "generate_key", "key-1")
    for number in range(1, 4):
        story.at_us(6000 + 1000 * number).invoke(2 + number, "encrypt", key="key-1")
        story.ok(2 + number, "encrypt", "key-1", made=("ciphertext", number))
    story.at_us(10_000).invoke(6, "delete_key", key="key-1").at_us(11_000)
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        story.gone(6, hsm, cause="delete")
    return story.ok(6, "delete_key", "key-1")


def kill_mid_create(book: Any) -> Any:
    story = book().at_us(1900).invoke(1, "generate_key", label="payroll").at_us(2450).held(1, "hsm-1").at_us(2800)
    story.inject(1, "destroy source @ client.clone nth=1 per=op", "hsm-2")
    story.state("lost", "hsm-1", "a", "destroy").gone(1, "hsm-1").ok(1, "generate_key", "key-1")
    story.at_us(3200).invoke(2, "encrypt", key="key-1")
    return story.at_us(3900).bad("fail", 2, "encrypt", "KeyNotOnHsm", 0x60, "hsm-2", "key-1")


def late_commit(book: Any) -> Any:
    """The reply is lost, the application looks, finds nothing and creates again; then the first create is executed."""
    story = book(2).at_us(1000).invoke(1, "generate_key", label="payroll").at_us(1100)
    story.inject(1, "hold @ wire.request op=generate_key nth=1", "hsm-1")
    story.at_us(20_001_000).bad("info", 1, "generate_key", "RequestTimeout", 0x30, "hsm-1")
    story.invoke(2, "find_keys", label="payroll", client="app#2")
    story.at_us(20_001_900).ok(2, "find_keys", client="app#2")
    story.invoke(3, "generate_key", label="payroll", client="app#2").at_us(20_002_300).held(3, "hsm-2")
    story.at_us(20_002_900).held(3, "hsm-1", cause="clone", source="hsm-2")
    story.at_us(20_003_300).ok(3, "generate_key", "key-1", client="app#2")
    story.at_us(25_000_000).held(1, "hsm-1", "key-2")
    return story.at_us(60_000_000).held(0, "hsm-2", "key-2", cause="sweep", source="hsm-1")


def partial_cleanup(book: Any) -> Any:
    story = book().at_us(1000).invoke(7, "generate_key", label="kek").at_us(1400).held(7, "hsm-1", label="kek")
    story.at_us(1800).held(7, "hsm-2", cause="clone", label="kek", source="hsm-1")
    story.inject(7, "fail CKR_DEVICE_ERROR @ hsm.commit command=insert_masked hsm=hsm-3", "hsm-3")
    story.at_us(2200).inject(7, "drop @ client.cleanup hsm=hsm-1", "hsm-1")
    story.at_us(2600).gone(7, "hsm-2", cause="cleanup", kind="tombstoned")
    return story.at_us(3000).bad("info", 7, "generate_key", "TooFewCopies", 6, None, "key-1")


def long_run(book: Any) -> Any:
    story, at_us = kill_mid_create(book), 4000
    for number in range(2, 42):
        key, label = f"key-{number}", f"k{number}"
        story.at_us(at_us).invoke(number + 8, "generate_key", label=label)
        story.at_us(at_us + 300).held(number + 8, "hsm-2", key, label=label)
        story.at_us(at_us + 900).ok(number + 8, "generate_key", key)
        at_us += 1000
    return story


GOLDEN = Path(__file__).parent / "golden"

STORIES: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "clean": (clean, {}),
    "kill_mid_create": (kill_mid_create, {"marks": [Found("key-1", 2_800_000)]}),
    "late_commit": (late_commit, {}),
    "late_commit_ascii": (late_commit, {"ascii": True}),
    "partial_cleanup": (partial_cleanup, {"keys": ["key-1"]}),
    "long_run": (long_run, {"keys": ["key-1"], "limit": 9}),
    "narrow": (partial_cleanup, {"width": 60}),
}


@pytest.mark.parametrize("name", STORIES)
def test_a_story_looks_as_it_is_printed_in_its_file(name, book):
    """Each story is drawn to the character as `golden/` shows it."""
    story, asked = STORIES[name]

    drawn = timeline_text(story(book).history, **asked)

    assert drawn.splitlines() == (GOLDEN / f"{name}.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize("name", STORIES)
def test_a_loaded_file_is_drawn_like_the_live_run(name, book, tmp_path):
    """Drawing is a function of the journal: saved, loaded and drawn again it is the same text."""
    story, asked = STORIES[name]
    history = story(book).history

    loaded = History.load(history.save(tmp_path / "run.jsonl"))

    assert timeline_text(loaded, **asked) == timeline_text(history, **asked) == timeline_text(history, **asked)


@pytest.mark.parametrize("width", [10, 60, 61, 77, 100, 160])
@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("name", STORIES)
def test_no_line_is_wider_than_asked(name, width, ascii, book):
    """Lines keep to the width (60 at least), and to ASCII where that is asked."""
    story, asked = STORIES[name]

    drawn = timeline_text(story(book).history, **{**asked, "width": width, "ascii": ascii})

    assert max(map(width_of, drawn.splitlines())) <= max(width, 60)
    assert drawn.isascii() or not ascii


def test_an_empty_journal_is_said_to_be_empty():
    """Nothing to draw is an answer, not an error."""
    assert timeline_text(History([])) == "Nothing happened: the journal is empty."


@pytest.mark.parametrize("name", STORIES)
def test_a_journal_that_is_cut_off_anywhere_is_drawn(name, book):
    """Each beginning and each rest of a journal is drawn as far as it tells."""
    records = STORIES[name][0](book).records
    for cut in range(len(records)):
        assert timeline_text(History(records[:cut]))
        assert timeline_text(History(records[cut:]))


def test_a_bar_without_outcome_runs_to_the_end_and_is_counted(book):
    """An operation that is still open when the journal ends keeps its bar, and the legend says so."""
    story = book(1).at_us(1000).invoke(1, "sign", key="key-4").at_us(2000).state("down", "hsm-1", cause="crash")

    drawn = timeline_text(story.history).splitlines()

    assert drawn[-2:] == [
        "key-4  was on no HSM in this journal",
        "│      at the end: one operation without an outcome",
    ]
    assert " at end  │ " in drawn[6]


def test_an_outcome_without_its_invoke_names_its_operation(book):
    """Where the beginning of the journal is missing, the outcome says what it was of."""
    assert "└ ok (sign)" in timeline_text(book(1).ok(9, "sign", client="app").history)


def test_an_hsm_that_was_never_up_has_a_lane(book):
    """A key on an HSM of which the journal knows nothing else is drawn; its state is unknown."""
    drawn = timeline_text(book(1).held(0, "hsm-9").history).splitlines()

    assert "hsm-9" in drawn[0]
    assert drawn[4].split() == ["at", "end", "up", "unknown"]


def test_strings_of_the_application_cannot_harm_a_terminal(book):
    """Labels and names with control characters are shown escaped, long labels cut."""
    story = book(1).invoke(1, "generate_key", label="a\x1b[31m\n" + "x" * 99, client="ap\rp")
    story.held(1, "hsm-1", label="\u202ekey", owner="bo\tb")

    drawn = timeline_text(story.history)

    assert all(line.isprintable() for line in drawn.splitlines())
    assert r"'a\x1b[31m\n" in drawn
    assert r"'\u202ekey'" in drawn
    assert "x" * 30 not in drawn


def test_wide_characters_keep_the_columns(book):
    """A label in a script with double-width characters moves no column."""
    story = book(1).at_us(1000).invoke(1, "generate_key", label="給与の鍵").at_us(2000).held(1, "hsm-1").history

    rows = timeline_text(story).splitlines()[2:5]

    starts = {width_of(row[: row.index(sign)]) for row, sign in zip(rows, ("UP", "·", "+key-1"), strict=True)}
    assert len(starts) == 1


def test_hsms_that_find_no_room_share_a_lane_and_keep_their_names(book):
    """With 28 HSMs the one that was hit has its lane; the others are named in a common one, and counted."""
    story = book(28).at_us(1000).inject(0, "crash @ hsm.reply hsm=hsm-17", "hsm-17", None)
    story.state("down", "hsm-17", "b", "crash").at_us(2000).held(0, "hsm-25", cause="sweep", source="hsm-1")

    drawn = timeline_text(story.history).splitlines()

    assert "hsm-17" in drawn[0]
    assert "more HSMs" in drawn[0]
    assert any("hsm-25 +key-1" in line for line in drawn)
    assert any("at end" in line and "up" in line for line in drawn)


def test_clients_that_find_no_room_share_a_lane_and_keep_their_names(book):
    """With many clients the operations of a common lane begin with the name of their process."""
    story = book(1)
    for number in range(9):
        story.at_us(number).invoke(number, "sign", key="key-1", client=f"app-{number}#2")
        story.at_us(number).bad("fail", number, "sign", "HsmBusy", 6, client=f"app-{number}#2")

    drawn = timeline_text(story.history, width=70)

    assert "more clients" in drawn
    assert "app-8#2 sign" in drawn


def test_equal_calls_in_a_row_are_one_row(book):
    """A loop is drawn as one call with its count, what it made and when the last one began."""
    story = book(1)
    for number in range(1, 51):
        story.at_us(number * 1000).invoke(number, "encrypt", key="key-1")
        story.ok(number, "encrypt", "key-1", made=("ciphertext", number))

    assert "0.001  ╶ encrypt key-1 ×50 → ok ciphertext 1 to 50 until 0.050" in timeline_text(story.history)


def test_a_finding_at_an_instant_without_events_has_a_row(book):
    """Where nothing was written at the instant that a finding names, the row is made."""
    drawn = timeline_text(book(1).at_us(5000).state("down", "hsm-1").history, marks=[Found(None, 3_000_000)])

    assert [line.split() for line in drawn.splitlines()[2:5]] == [
        ["0.000", "UP"],
        ["▶", "0.003", "·"],
        ["0.005", "DOWN"],
    ]


def test_a_finding_without_an_instant_only_names_its_key(book):
    """A finding that cannot say since when still has its key explained first."""
    drawn = timeline_text(kill_mid_create(book).history, marks=[Found("key-1", None)])

    assert "▶" not in drawn
    assert "key-1        'payroll'" in drawn


def test_changes_of_users_shares_and_attributes_are_drawn(book):
    """Accounts and policies stand in the lane of the HSM on which they changed."""
    story = book(1).held(0, "hsm-1", cause="seed").at_us(1000)
    story.add("user", op=0, hsm="hsm-1", user="bob", type="CU", action="created")
    story.add("user", op=0, hsm="hsm-1", user="eve", type="CU", action="created")
    story.add("share", op=0, hsm="hsm-1", key="key-1", user="bob", shared=True)
    story.add("share", op=0, hsm="hsm-1", key="key-1", user="bob", shared=False)
    story.add("attribute", op=0, hsm="hsm-1", key="key-1", name="label", value="new")
    story.add("attribute", op=0, hsm="hsm-1", key="key-1", name="encrypt", value=False)

    shown = [line.strip() for line in timeline_text(story.history).splitlines()[4:9]]

    assert shown == [
        "0.001  user bob, eve created",
        "key-1 shared with bob",
        "key-1 no longer shared with bob",
        "key-1 label='new'",
        "key-1 encrypt=false",
    ]


def test_a_return_value_without_a_name_is_shown_as_a_number(book):
    """An injected error may carry any number."""
    story = book(1).invoke(1, "sign").bad("fail", 1, "sign", "InjectedError", 0xBB, "hsm-1")

    assert "InjectedError  return value (0xBB)" in timeline_text(story.history)
