"""Can the stories that prove determinism tell of everything that may happen?"""

from pytest_hsmcluster.faults.effects import EFFECTS
from pytest_hsmcluster.faults.points import Point
from pytest_hsmcluster.scenarios import SCENARIOS
from tests.fates import ARGUMENTS, CONDITIONS, HARDSHIPS, STRIKES, VERBS, fault
from tests.stories import drawn, play


def test_every_scenario_and_every_effect_at_every_point_is_in_reach():
    assert {hardship.split()[0] for hardship in HARDSHIPS} == set(SCENARIOS)
    assert len(STRIKES) == sum(len(point.effects) for point in Point)
    assert {effect for effect, _ in STRIKES} == set(EFFECTS)
    assert set(ARGUMENTS) <= set(EFFECTS)
    keys = {word.partition("=")[0] for condition in CONDITIONS for word in condition.split()}
    assert keys == {"op", "command", "hsm", "client", "key", "user", "nth", "per", "during", "chance"}
    spoken = {fault(b, c).partition(" ")[0] for b in range(len(STRIKES)) for c in range(3)}
    assert spoken == set(EFFECTS)


def test_drawn_stories_use_every_verb_and_meet_much():
    """Among a few dozen there is hardly a fate that nobody meets."""
    told = [play(drawn(seed)) for seed in range(48)]
    assert {outcome[1] for one in told for outcome in one.outcomes} == set(VERBS)
    fates = {outcome[2] for one in told for outcome in one.outcomes if len(outcome) > 3}
    assert fates > {
        "RequestTimeout",
        "HsmUnavailable",
        "KeyNotOnHsm",
        "TooFewCopies",
        "KeyUnavailable",
        "ApplicationDied",
    }
    struck = {(record[3].split()[0], record[4]) for one in told for record in one.records if record[0] == "inject"}
    assert len(struck) > len(STRIKES) / 3


def test_drawn_story_is_the_same_tomorrow():
    """Its seed is all that there is to write down."""
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
