"""Points: the path of a call, of the sweep, and of an HSM's life."""

import pickle

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.faults.effects import EFFECTS
from pytest_hsmcluster.faults.points import CREATING, Point, nearest
from pytest_hsmcluster.faults.when import NAMES, OPERATIONS

# The contract's table, copied by hand: point, effects.
TABLE = """
client.route     fail delay crash
client.send      fail delay drop crash
wire.request     delay hold drop corrupt
hsm.receive      fail delay crash destroy pause fill-disk
hsm.authorize    fail crash destroy pause fill-disk
hsm.execute      fail delay hold crash destroy pause fill-disk
hsm.commit       fail crash destroy pause fill-disk
hsm.reply        fail delay hold crash destroy pause fill-disk
wire.response    delay hold drop corrupt
client.receive   fail delay crash
client.clone     fail delay drop crash destroy pause fill-disk
client.cleanup   fail delay drop crash
client.report    delay crash destroy pause fill-disk
sync.sweep       delay drop fail
sync.clone       delay drop fail
hsm.start        fail delay
hsm.stop         fail delay
hsm.restore      fail delay
"""


def test_points_are_listed_in_the_order_in_which_a_call_passes_them():
    """Iterating `Point` gives the contract's list, in its order."""
    assert [str(point) for point in Point] == [line.split()[0] for line in TABLE.split("\n") if line]


@pytest.mark.parametrize("line", [line for line in TABLE.split("\n") if line])
def test_each_point_takes_its_effects_and_pass(line):
    """A point takes the effects of the contract's table, and `pass` everywhere."""
    text, *effects = line.split()

    assert Point.of(text).effects == ("pass", *effects)


def test_every_effect_that_a_point_takes_exists():
    """No point promises an effect that nobody can spell."""
    assert {name for point in Point for name in point.effects} == set(EFFECTS)


@pytest.mark.parametrize(
    ("point", "place"),
    [
        (Point.CLIENT_CLONE, "client"),
        (Point.WIRE_RESPONSE, "wire"),
        (Point.HSM_RESTORE, "hsm"),
        (Point.SYNC_SWEEP, "sync"),
    ],
)
def test_a_point_knows_its_place(point, place):
    """The word before the dot says who is there."""
    assert point.place == place


def test_each_point_says_in_one_line_what_happens_next():
    """Meanings are single lines and no two are the same."""
    meanings = [point.meaning for point in Point]

    assert all(meaning and "\n" not in meaning for meaning in meanings)
    assert len(dict.fromkeys(meanings)) == len(meanings)


def test_only_commands_on_their_way_have_a_command():
    """`command` is known from `client.route` to `client.receive`, and nowhere else."""
    assert [point.value for point in Point if "command" in point.facts] == [
        "client.route",
        "client.send",
        "wire.request",
        "hsm.receive",
        "hsm.authorize",
        "hsm.execute",
        "hsm.commit",
        "hsm.reply",
        "wire.response",
        "client.receive",
    ]


def test_facts_are_keys_of_a_condition():
    """A point knows nothing that `When` could not ask for."""
    assert all(fact in NAMES for point in Point for fact in point.facts)


def test_the_sweep_and_an_hsm_know_of_no_application():
    """What the service does by itself has no operation, client or user."""
    by_itself = [Point.SYNC_SWEEP, Point.SYNC_CLONE, Point.HSM_START, Point.HSM_STOP, Point.HSM_RESTORE]

    assert [point.facts for point in by_itself] == [(), ("hsm", "key"), ("hsm",), ("hsm",), ("hsm",)]


def test_creating_operations_are_operations():
    """What passes `client.clone` can be called by an application."""
    assert all(name in OPERATIONS for name in CREATING)


def test_a_point_is_read_from_its_spelling():
    """`Point.of` takes the spelling, and a point itself."""
    assert Point.of("hsm.commit") is Point.HSM_COMMIT
    assert Point.of(Point.HSM_COMMIT) is Point.HSM_COMMIT


def test_an_unknown_point_is_refused_with_the_nearest_one():
    """The error names the nearest point and lists all."""
    with pytest.raises(UsageError, match=r"unknown point 'hsm.comit' \(did you mean 'hsm.commit'\?\)") as refused:
        Point.of("hsm.comit")

    assert all(point.value in str(refused.value) for point in Point)


def test_a_point_travels_between_processes():
    """A pickled point comes back as the same member."""
    assert pickle.loads(pickle.dumps(Point.HSM_COMMIT)) is Point.HSM_COMMIT


def test_nothing_near_gives_no_hint():
    """A word that is like no other gets no suggestion; case does not count."""
    assert nearest("zzz", ["crash", "drop"]) == ""
    assert nearest("ckr_ok", ["CKR_OK"]) == " (did you mean 'CKR_OK'?)"
