"""Which fault strikes: counting, windows, dice, and the order of installation."""

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.faults.effects import Crash, Pass
from pytest_hsmcluster.faults.injector import Faults
from pytest_hsmcluster.faults.points import Point
from pytest_hsmcluster.faults.spec import Fault, parse_fault
from pytest_hsmcluster.faults.when import When
from pytest_hsmcluster.history.events import Kind
from pytest_hsmcluster.history.journal import Journal
from pytest_hsmcluster.service.calls import Call
from pytest_hsmcluster.sim.entropy import Entropy
from pytest_hsmcluster.sim.scheduler import Scheduler


class Stage:
    """Faults, and calls that pass a point."""

    def __init__(self, seed=1):
        self.journal = Journal()
        self.scheduler = Scheduler()
        self.faults = Faults(self.journal, self.scheduler, Entropy(seed))

    def install(self, *specs, **arguments):
        return [self.faults.inject(parse_fault(spec), **arguments) for spec in specs]

    def passes(self, point="hsm.commit", **facts):
        """Let a call pass, and return the spec of the fault that strikes it, or None."""
        call = Call(
            facts.pop("op", 1),
            facts.pop("op_name", "generate_key"),
            facts.pop("client", "app"),
            facts.pop("user", "alice"),
            2,
            **{"hsm": "hsm-1", "command": "insert_masked", "key": "key-1", "label": "kek", "handle": 262144, **facts},
        )
        struck = self.faults.reach(Point.of(point), call)
        return None if struck is None else str(struck)


@pytest.fixture
def stage():
    return Stage()


def test_every_passage_is_written_down(stage):
    """With or without a fault there: what was reached, by whom, about what."""
    stage.passes()
    (event,) = stage.journal.records
    assert event[0] == Kind.REACH
    assert event[3:] == ("hsm.commit", "generate_key", "insert_masked", "hsm-1", "app", "alice", "key-1")


def test_a_fault_strikes_only_at_its_own_point(stage):
    """Another point, another passage."""
    (crash,) = stage.install("crash @ hsm.commit")
    assert stage.passes("hsm.reply") is None
    assert stage.passes("hsm.commit") == "crash @ hsm.commit"
    assert crash.hits == 1


@pytest.mark.parametrize(
    ("condition", "hit", "miss"),
    [
        ("op=generate_key", {}, {"op_name": "sign"}),
        ("command=insert_masked", {}, {"command": "generate_key"}),
        ("hsm=hsm-1", {}, {"hsm": "hsm-2"}),
        ("client=app", {"client": "app#2"}, {"client": "other"}),
        ("key=kek", {}, {"label": "other"}),
        ("key=key-1", {}, {"key": "key-2"}),
        ("key=262144", {}, {"handle": 262145}),
        ("user=alice", {}, {"user": "bob"}),
        ("op=*key hsm=hsm-[12]", {"hsm": "hsm-2"}, {"hsm": "hsm-3"}),
    ],
)
def test_all_names_that_are_given_must_hold(stage, condition, hit, miss):
    """Each key of the language, in a passage that it means and one that it does not."""
    (fault,) = stage.install(f"crash @ hsm.commit {condition}")
    assert stage.passes(**miss) is None
    assert stage.passes(**hit) == str(fault)


def test_the_nth_passage_is_struck_and_no_other(stage):
    """Once, from 1."""
    stage.install("crash @ hsm.commit nth=3")
    assert [stage.passes() is not None for _ in range(6)] == [False, False, True, False, False, False]


def test_only_matching_passages_count(stage):
    """Names and window decide what is counted."""
    stage.install("crash @ hsm.commit hsm=hsm-2 nth=2")
    assert [stage.passes(hsm=f"hsm-{n}") is not None for n in (2, 1, 3, 2)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("per", "facts"),
    [("op", {"op": 2}), ("client", {"client": "other"}), ("hsm", {"hsm": "hsm-2"}), ("key", {"key": "key-2"})],
)
def test_the_count_starts_anew_for_each(stage, per, facts):
    """`per=op` strikes at the second passage of each operation; so with clients, HSMs and keys."""
    (fault,) = stage.install(f"crash @ hsm.commit nth=2 per={per}")
    assert [stage.passes() is not None for _ in range(3)] == [False, True, False]
    assert [stage.passes(**facts) is not None for _ in range(3)] == [False, True, False]
    assert fault.hits == 2


def test_the_first_in_install_order_wins_and_both_count(stage):
    """A passage that another fault wins advances the count of those that match as well."""
    first, second = stage.install("fail CKR_DEVICE_ERROR @ hsm.commit nth=1", "crash @ hsm.commit nth=2")
    assert [stage.passes() for _ in range(2)] == [str(first), str(second)]
    assert (first.hits, second.hits) == (1, 1)


def test_a_fault_that_loses_has_spent_its_turn(stage):
    """Both mean the first passage: the second never strikes, and that is told at the end."""
    first, second = stage.install("fail CKR_DEVICE_ERROR @ hsm.commit nth=1", "crash @ hsm.commit nth=1")
    assert [stage.passes() for _ in range(2)] == [str(first), None]
    assert second.hits == 0


def test_pass_counts_and_lets_others_win(stage):
    """It is never performed, writes nothing, and does not stand in the way."""
    seen, crash = stage.install("pass @ hsm.commit", "crash @ hsm.commit nth=2")
    assert [stage.passes() for _ in range(3)] == [None, str(crash), None]
    assert (seen.hits, crash.hits) == (3, 1)
    assert [record[3] for record in stage.journal.records if record[0] == Kind.INJECT] == [str(crash)]


def test_what_was_performed_is_written_with_its_ordinal(stage):
    """Operation, spec, point, HSM, client, and how often it has been performed."""
    stage.install("fail 0xBB @ hsm.commit")
    stage.passes(op=4)
    stage.passes(op=5)
    told = [record[2:] for record in stage.journal.records if record[0] == Kind.INJECT]
    assert told == [
        (4, "fail 0xBB @ hsm.commit", "hsm.commit", "hsm-1", "app", 1),
        (5, "fail 0xBB @ hsm.commit", "hsm.commit", "hsm-1", "app", 2),
    ]


def test_a_window_counts_from_installation(stage):
    """Open from its beginning, closed at its end; passages outside do not count."""
    stage.scheduler.advance_to(5_000_000_000)
    stage.install("crash @ hsm.commit during=10s..20s nth=2")
    struck = []
    for at_s in (5, 14, 15, 24, 25, 26):
        stage.scheduler.advance_to(at_s * 1_000_000_000)
        struck.append(stage.passes() is not None)
    assert struck == [False, False, False, True, False, False]


# -- dice ----------------------------------------------------------------------------------------


def draws(stage, spec="crash @ hsm.commit chance=0.5", times=64):
    (fault,) = stage.install(spec)
    drawn = [stage.passes() is not None for _ in range(times)]
    fault.remove()
    return drawn


def test_equal_seeds_draw_equal_lots():
    """And another seed others; about half of them strike."""
    one, same, other = draws(Stage(1)), draws(Stage(1)), draws(Stage(2))
    assert one == same != other
    assert 16 < sum(one) < 48


def test_one_more_fault_shifts_no_dice():
    """Each fault has its own, whatever is installed before it."""
    crowded = Stage(1)
    crowded.install("pass @ hsm.commit", "drop @ wire.request chance=0.5", "fail 0xBB @ hsm.reply chance=0.5")
    assert draws(crowded) == draws(Stage(1))


def test_twins_draw_apart():
    """The same fault twice has two sets of dice."""
    stage = Stage(1)
    assert draws(stage) != draws(stage)


def test_a_chance_of_one_always_strikes(stage):
    """And is drawn after everything else: passages that do not match use up no dice."""
    assert all(draws(stage, "crash @ hsm.commit chance=1"))
    mixed = Stage(1)
    mixed.install("crash @ hsm.commit chance=0.5 hsm=hsm-1")
    drawn = []
    for _ in range(64):
        mixed.passes(hsm="hsm-2")
        drawn.append(mixed.passes() is not None)
    assert drawn == draws(Stage(1), "crash @ hsm.commit chance=0.5 hsm=hsm-1")


def test_nth_and_chance_together(stage):
    """The third passage, in about half of all seeds."""
    struck = 0
    for seed in range(40):
        one = Stage(seed)
        one.install("crash @ hsm.commit nth=3 chance=0.5")
        passed = [one.passes() is not None for _ in range(5)]
        assert passed in ([False] * 5, [False, False, True, False, False])
        struck += any(passed)
    assert 10 < struck < 30


# -- the payload ------------------------------------------------------------------------------------


def test_corrupt_payload_is_about_masked_objects_only(stage):
    """Other messages carry none: they neither are struck nor count."""
    (fault,) = stage.install("corrupt payload @ wire.request nth=1")
    assert stage.passes("wire.request", command="generate_key") is None
    assert stage.passes("wire.request", command="insert_masked") == str(fault)
    (answer,) = stage.install("corrupt payload @ wire.response")
    assert stage.passes("wire.response", command="insert_masked") is None
    assert stage.passes("wire.response", command="extract_masked") == str(answer)


# -- in and out ---------------------------------------------------------------------------------------


def test_the_end_of_the_block_takes_it_out(stage):
    """After an exception as well; taking it out twice is harmless."""
    (fault,) = stage.install("crash @ hsm.commit")
    with pytest.raises(ZeroDivisionError), fault:
        assert stage.passes() is not None
        raise ZeroDivisionError
    fault.remove()
    assert stage.passes() is None
    assert (fault.installed, stage.faults.installed, stage.faults.all) == (False, [], [fault])


def test_release_lets_go_all_who_are_held_and_holds_later_ones_anew(stage):
    """Each release is for those who wait at that moment."""
    (fault,) = stage.install("hold @ hsm.reply")
    gone = []

    def held(name):
        yield fault.held
        gone.append(name)

    for name in ("one", "two"):
        stage.scheduler.spawn(held(name), 2, name)
    stage.scheduler.advance_to(1)
    fault.release()
    stage.scheduler.spawn(held("three"), 2, "three")
    stage.scheduler.advance_to(2)
    assert gone == ["one", "two"]
    fault.remove()
    stage.scheduler.advance_to(3)
    assert gone == ["one", "two", "three"]


def test_an_injection_shows_what_it_is(stage):
    """Spec and hits."""
    (fault,) = stage.install("crash @ hsm.commit")
    assert (str(fault), repr(fault)) == ("crash @ hsm.commit", "<Injection crash @ hsm.commit hits=0>")
    assert fault.effect == Crash()
    assert not fault.may_miss


def test_a_fault_that_could_never_act_is_refused():
    """Before it is installed."""
    with pytest.raises(UsageError, match="can never act"):
        Fault(Crash(), Point.WIRE_REQUEST, When())
    assert Fault(Pass(), Point.WIRE_REQUEST, When()).effect == Pass()
