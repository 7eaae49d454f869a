"""Which rows there are, which are left out, and what every lane holds at the end."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_hsmcluster.history.events import FIELDS, Kind
from pytest_hsmcluster.history.history import History
from pytest_hsmcluster.timeline.layout import lay_out
from pytest_hsmcluster.timeline.rows import Row
from pytest_hsmcluster.timeline.story import Mark, Sign, tell
from pytest_hsmcluster.timeline.text import timeline_text


def busy(book: Any, keys: int = 30) -> Any:
    """Many keys are created; key-3 is then lost."""
    story = book()
    for number in range(1, keys + 1):
        key, at_us = f"key-{number}", number * 1000
        story.at_us(at_us).invoke(number, "generate_key", label=key).at_us(at_us + 100).held(number, "hsm-1", key)
        story.at_us(at_us + 200).ok(number, "generate_key", key)
    story.at_us(90_000).invoke(keys + 1, "sign", key="key-3").at_us(91_000)
    story.inject(keys + 1, "destroy here @ hsm.execute", "hsm-1").state("lost", "hsm-1", cause="destroy")
    return story.bad("info", keys + 1, "sign", "RequestTimeout", 0x30, "hsm-1", "key-3")


def marks_of(rows: Sequence[Row]) -> list[Mark]:
    return [mark for row in rows for marks in row.marks.values() for mark in marks]


def test_an_outcome_closes_a_row_and_an_invocation_opens_one(book):
    """What happens to an HSM right after an answer is never beside it: whether a key was acknowledged matters."""
    story = book(1).at_us(1000).invoke(1, "generate_key").at_us(2000).held(1, "hsm-1").ok(1, "generate_key", "key-1")
    story.state("lost", "hsm-1").invoke(2, "sign", key="key-1").state("up", "hsm-2")

    rows = lay_out(tell(story.history)).rows

    signs = [[mark.sign for marks in row.marks.values() for mark in marks] for row in rows]
    assert signs == [
        [Sign.STATE],
        [Sign.START],
        [Sign.ADDED, Sign.END],
        [Sign.STATE],
        [Sign.START, Sign.STATE],
    ]


@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 5, 9, 40, 91, 92, 500])
def test_rows_are_left_out_up_to_the_limit_and_counted(limit, book):
    """Never more rows than asked, and each one that is missing is in a count."""
    plan = lay_out(tell(busy(book).history), keys=["key-3"], limit=limit)

    assert len(plan.rows) <= max(limit, 0)
    assert len(plan.rows) + plan.left_out == plan.total
    assert sum(row.left_out for row in plan.rows) + plan.left_out_below == plan.left_out


@pytest.mark.parametrize("limit", range(12))
def test_a_bar_is_never_cut_in_two(limit, book):
    """Beginning and end of an operation are left out together."""
    marks = marks_of(lay_out(tell(busy(book).history), limit=limit).rows)

    begun = [mark.bar for mark in marks if mark.sign is Sign.START]
    ended = [mark.bar for mark in marks if mark.sign in (Sign.END, Sign.OPEN)]
    assert begun == ended


def test_the_keys_asked_for_faults_and_states_come_first(book):
    """With few rows, those are kept that tell the story of the key."""
    plan = lay_out(tell(busy(book).history), keys=["key-3"], limit=7)

    marks = marks_of(plan.rows)
    assert {name for mark in marks if mark.sign is Sign.ADDED for name in mark.names} == {"key-3"}
    assert [mark.sign for mark in marks if mark.sign in (Sign.FAULT, Sign.OPEN)] == [Sign.FAULT, Sign.OPEN]
    assert plan.keys == ("key-3",)


def test_a_late_commit_is_about_the_operation_that_was_given_up(book):
    """A key that appears after the `info` makes that operation one about the key."""
    story = book(1).at_us(1).invoke(1, "generate_key").at_us(2).bad("info", 1, "generate_key", "RequestTimeout", 0x30)
    told = tell(story.at_us(3).held(1, "hsm-1", "key-7").history)

    assert list(told.bar_keys[1]) == ["key-7"]


def test_the_end_says_what_each_hsm_holds(book):
    """State, keys (the wanted ones first) and tombstones, as the journal folds up; a lost HSM holds nothing."""
    story = book(2).held(0, "hsm-1", "key-1").held(0, "hsm-1", "key-2").held(0, "hsm-1", "key-3")
    story.gone(0, "hsm-1", "key-2", "cleanup", "tombstoned").held(0, "hsm-2", "key-1").state("lost", "hsm-2")

    plan = lay_out(tell(story.history), keys=["key-3"])

    first, second = plan.end[0][0], plan.end[1][0]
    assert (first.state, first.keys, first.tombstones) == ("up", ("key-3", "key-1"), ("key-2",))
    assert (second.state, second.keys, second.tombstones) == ("lost", (), ())


@pytest.mark.parametrize("hsms", [1, 2, 5, 28])
def test_folded_lanes_lose_no_hsm(hsms, book):
    """However few lanes there are, each HSM is in one."""
    plan = lay_out(tell(book(28).history), hsms=hsms)

    assert len(plan.lanes) == hsms
    assert sum(lane.folded or 1 for lane in plan.lanes) == 28
    assert sum(len(ends) for ends in plan.end.values()) == 28


ODD = [None, 0, -5, True, 3.5, "", "x\x1b\u202e", "hsm-1", "app#2", "#2", "key-1", "日本", "\ud800", (), ("a",)]
ODD += [("a", 1), (("a",),), {}, ("ciphertext", 3), ("ciphertext",), ("a", {}), "create", "sweep"]


@pytest.mark.parametrize("seed", range(150))
def test_records_of_the_right_length_are_drawn_whatever_they_say(seed):
    """A file promises kinds, instants and the number of fields; everything else in it may be odd."""
    dice, records, at_ns = random.Random(seed), [], 0
    for _ in range(25):
        kind = dice.choice([*Kind])
        at_ns += dice.choice([0, 1, 1000, -3, 10**9])
        records.append((kind, at_ns, *(dice.choice(ODD) for _ in FIELDS[kind])))

    drawn = timeline_text(History(records), limit=dice.choice([0, 5, 40]), keys=["key-1"])

    assert all(line.isprintable() for line in drawn.splitlines())
