"""Conditions: at which passages a fault strikes."""

import math
import pickle
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.faults.when import COMMANDS, KEYS, OPERATIONS, PER, When, value_of

SETTLED = settings(deadline=None, derandomize=True, database=None)


@dataclass
class Passage:
    """The second copy of a new key is being made."""

    op_name: str | None = "generate_key"
    command: str | None = "insert_masked"
    hsm: str | None = "hsm-2"
    client: str | None = "app"
    key: str | None = "key-3"
    label: str | None = "payroll kek"
    handle: int | None = 262151
    user: str | None = "alice"


def test_a_condition_without_keys_holds_for_every_passage():
    """Nothing asked, nothing refused: not even a passage of which nothing is known."""
    assert When().matches(Passage())
    assert When().matches(Passage(None, None, None, None, None, None, None, None))


@pytest.mark.parametrize(
    "condition",
    [
        {"op": "generate_key"},
        {"op": "generate_*"},
        {"command": "insert_masked"},
        {"command": "*_masked"},
        {"hsm": "hsm-2"},
        {"hsm": "hsm-[23]"},
        {"client": "app"},
        {"client": "a?p"},
        {"key": "key-3"},
        {"key": "payroll kek"},
        {"key": "payroll*"},
        {"key": "262151"},
        {"user": "alice"},
        {"op": "generate_key", "command": "insert_masked", "hsm": "hsm-2", "client": "app", "user": "a*"},
    ],
    ids=str,
)
def test_a_name_matches_exactly_or_as_a_pattern(condition):
    """Each key is compared with its own fact; all must hold."""
    assert When(**condition).matches(Passage())


@pytest.mark.parametrize(
    "condition",
    [
        {"op": "sign"},
        {"op": "generate_key_*"},
        {"command": "extract_masked"},
        {"command": "generate_key"},
        {"hsm": "hsm-1"},
        {"hsm": "HSM-2"},
        {"client": "app-1"},
        {"client": "ap"},
        {"key": "key-30"},
        {"key": "payroll"},
        {"key": "26215"},
        {"user": "bob"},
        {"op": "generate_key", "hsm": "hsm-1"},
    ],
    ids=str,
)
def test_another_name_does_not_match(condition):
    """Part of a name is another name, and so is other case."""
    assert not When(**condition).matches(Passage())


def test_op_never_matches_by_command():
    """A create's `insert_masked` belongs to the operation generate_key, not to import_key."""
    assert not When(op="generate_key").matches(Passage(op_name="import_key", command="generate_key"))


@pytest.mark.parametrize("name", ["op", "command", "hsm", "client", "key", "user"])
def test_a_fact_that_is_not_known_matches_no_name(name):
    """Not even the pattern that matches every name."""
    nothing = Passage(None, None, None, None, None, None, None, None)

    assert not When(**{name: "*"}).matches(nothing)


@pytest.mark.parametrize(("wanted", "holds"), [("app", True), ("app#2", True), ("app#3", False), ("a*", True)])
def test_an_application_is_all_its_processes(wanted, holds):
    """`app` is also `app#2`, which it becomes after an unknown outcome; `app#2` is only that one."""
    assert When(client=wanted).matches(Passage(client="app#2")) is holds


def test_a_pattern_ends_where_the_application_s_name_ends():
    """`?pp` is `app` and its later processes, as the exact name would be."""
    assert When(client="?pp").matches(Passage(client="app#2"))
    assert not When(client="?pp").matches(Passage(client="apps#2"))


def test_a_key_goes_by_label_or_handle_before_it_has_a_name():
    """In the first commands of a create only the wanted label is known."""
    assert When(key="kek").matches(Passage(key=None, label="kek", handle=None))
    assert When(key="17").matches(Passage(key=None, label=None, handle=17))
    assert not When(key="kek").matches(Passage(key=None, label=None, handle=17))


def test_a_label_that_looks_like_a_pattern_matches_itself():
    """Brackets in a label do not keep it from being named."""
    assert When(key="kek[1]").matches(Passage(label="kek[1]"))
    assert When(key="kek[1]").matches(Passage(label="kek1"))


@pytest.mark.parametrize("op", OPERATIONS)
def test_every_operation_can_be_named(op):
    """What an application can call can be waited for."""
    assert When(op=op).matches(Passage(op_name=op))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_named(command):
    """What an HSM can be asked to do can be waited for."""
    assert When(command=command).matches(Passage(command=command))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"op": "signn"}, r"no operation is called 'signn' \(did you mean 'sign'\?\); there are generate_key,"),
        ({"op": "insert_masked"}, "no operation is called 'insert_masked'; you may mean command=insert_masked"),
        ({"command": "digest"}, "no command is called 'digest'; you may mean op=digest"),
        ({"command": "insert_maskd"}, "did you mean 'insert_masked'"),
        ({"op": "zz*"}, r"no operation is called 'zz\*'; there are"),
        ({"hsm": ""}, "hsm= takes a name, got ''"),
        ({"user": 7}, "user= takes a name, got 7"),
        ({"nth": 0}, "nth= takes a whole number from 1, got 0"),
        ({"nth": True}, "nth= takes a whole number from 1, got True"),
        ({"nth": 1.0}, "nth= takes a whole number from 1, got 1.0"),
        ({"nth": 1, "per": "zone"}, "per= takes one of op, client, hsm, key, got 'zone'"),
        ({"per": "op"}, "per=op says where nth= counts anew; without nth= it changes nothing"),
        ({"during": "30"}, "did you mean '30s'"),
        ({"during": "0s"}, "during= takes a window that ends after it begins, got '0s'"),
        ({"during": "40s..10s"}, "ends after it begins"),
        ({"during": (-1, 5)}, "ends after it begins"),
        ({"during": 30}, "during= takes a window such as '30s', '10s..40s' or .from_ns, to_ns., got 30"),
        ({"during": (1, 2.5)}, "during= takes a window such as"),
        ({"during": (1, 2, 3)}, "during= takes a window such as"),
        ({"chance": 0}, "chance= takes a number above 0 and up to 1, got 0"),
        ({"chance": 1.01}, "above 0 and up to 1"),
        ({"chance": math.nan}, "above 0 and up to 1"),
        ({"chance": True}, "above 0 and up to 1"),
        ({"chance": "0.5"}, "above 0 and up to 1"),
    ],
    ids=str,
)
def test_a_condition_that_could_never_hold_is_refused(condition, message):
    """The error says which key, what it takes, and the nearest spelling."""
    with pytest.raises(UsageError, match=message):
        When(**condition)


@pytest.mark.parametrize(
    ("during", "instants"),
    [
        ("30s", {0: True, 29_999_999_999: True, 30_000_000_000: False}),
        ("10s..40s", {9_999_999_999: False, 10_000_000_000: True, 40_000_000_000: False}),
        ((5, 6), {4: False, 5: True, 6: False}),
        (None, {0: True, 10**18: True}),
    ],
)
def test_a_window_is_open_from_its_beginning_until_just_before_its_end(during, instants):
    """Instants are counted from the installation of the fault."""
    when = When(during=during)

    assert {at: when.open_at(at) for at in instants} == instants


def test_equal_windows_are_equal_however_they_are_written():
    """`60s`, `0s..1m` and nanoseconds are kept in one form."""
    assert When(during="60s") == When(during="0s..1m") == When(during=(0, 60_000_000_000))
    assert When(during="60s").during == (0, 60_000_000_000)


def test_given_keys_are_text_in_the_order_of_the_fields():
    """What a spec writes after the point."""
    when = When(chance=1, during="90s..2m", per="key", nth=2, user="u", key="k", client="c", hsm="h", op="sign")

    assert [name for name, _ in when.given] == [name for name in KEYS if name != "command"]
    assert dict(when.given)["chance"] == "1"
    assert dict(when.given)["during"] == "90s..2m"


@SETTLED
@given(
    nth=st.none() | st.integers(1, 10**17),
    during=st.none() | st.tuples(st.integers(0, 10**15), st.integers(10**15 + 1, 10**18)),
    chance=st.none() | st.floats(0, 1, exclude_min=True),
)
def test_values_read_back(nth, during, chance):
    """Text of `given` gives an equal condition."""
    when = When(nth=nth, during=during, chance=chance)

    assert When(**{name: value_of(name, text) for name, text in when.given}) == when


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cmd", "sign", "unknown key 'cmd'.*; keys are op, command, hsm, client, key, user, nth, per, during, chance"),
        ("nht", "1", "unknown key 'nht' .did you mean 'nth'"),
        ("nth", "x", "nth= takes a whole number from 1, got 'x'"),
        ("nth", "-1", "nth= takes a whole number"),
        ("chance", "1..5", "chance= takes a number above 0 and up to 1, got '1..5'"),
        ("chance", "nan", "chance= takes a number"),
        ("chance", "1e400", "chance= takes a number"),
        ("during", "", "is not a duration"),
    ],
)
def test_a_wrong_value_in_a_spec_is_refused(name, text, message):
    """As in Python, with the text as it was written."""
    with pytest.raises(UsageError, match=message):
        value_of(name, text)


def test_a_condition_is_a_value():
    """Equal keys are equal, hash alike, and travel between processes."""
    when = When(op="sign", client="app", key="k*", nth=2, per="op")

    assert when == When(op="sign", client="app", key="k*", nth=2, per="op")
    assert hash(when) == hash(When(op="sign", client="app", key="k*", nth=2, per="op"))
    assert pickle.loads(pickle.dumps(when)).matches(Passage("sign", label="kek"))
    assert "_tests" not in repr(when)


def test_counts_restart_at_facts_of_a_passage():
    """Everything that `per` names can be asked for by a key."""
    assert all(name in KEYS for name in PER)


@pytest.mark.parametrize("name", ["read_attributes", "validate_key"])
def test_what_only_the_library_asks_can_be_named(name):
    """C_GetAttributeValue and C_SignInit are commands too: a sweep of an application behind the library needs them."""
    assert When(command=name).command == name
    assert When(op=name).op == name
