"""Which stories are there?"""

import subprocess
import sys
from collections import Counter
from hashlib import sha256

from pytest_hsmcluster.client.blocking import Client
from pytest_hsmcluster.faults.effects import EFFECTS
from pytest_hsmcluster.faults.points import Point
from pytest_hsmcluster.faults.spec import Fault
from pytest_hsmcluster.faults.when import KEYS, OPERATIONS
from pytest_hsmcluster.scenarios import SCENARIOS
from pytest_hsmcluster.stories.drawing import SHAPES, drawn, scenario
from pytest_hsmcluster.stories.playing import Player
from pytest_hsmcluster.stories.story import CHAOS

PRINT = """
from hashlib import sha256
from pytest_hsmcluster.stories.drawing import drawn, scenario
print(sha256("".join(str(make(seed)) for seed in range(40) for make in (drawn, scenario)).encode()).hexdigest())
"""


def test_seed_tells_the_same_story_in_every_process():
    """Whatever Python's strings hash to."""
    text = "".join(str(make(seed)) for seed in range(40) for make in (drawn, scenario))
    told = [
        subprocess.run(
            [sys.executable, "-c", PRINT], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        for seed in ("1", "2")
    ]
    assert {run.stdout.strip() for run in told} == {sha256(text.encode()).hexdigest()}


def test_scenario_has_three_hsms_five_calls_and_a_fault():
    for seed in range(50):
        story = scenario(seed)
        assert story.shape.hsms == 3
        assert Counter(step.on == CHAOS for step in story.steps)[True] == 1
        assert sum(step.on == "app" for step in story.steps) == 5


def test_stories_tell_of_everything_that_can_happen():
    """Every operation, effect, point, condition and scenario is in some story among a few hundred."""
    steps = [step for seed in range(400) for step in drawn(seed).steps]
    faults = [step.args[0] for step in steps if step.does == "inject"]
    assert {step.does for step in steps if step.on in ("app", "other")} == {*OPERATIONS} - {"digest"}
    assert {fault.effect.name for fault in faults} == {*EFFECTS} - {"pass"}
    assert {fault.point for fault in faults} == {*Point}
    assert {name for fault in faults for name, _ in fault.when.given} == {*KEYS}
    assert {step.args[0].partition(" ")[0] for step in steps if step.does == "install"} == {*SCENARIOS}
    assert {step.does for step in steps if step.on == "hsm_cluster"} >= {"add_hsm", "remove_hsm", "backup", "sweep_now"}
    assert {drawn(seed).shape for seed in range(20)} == {*SHAPES}


def test_drawn_calls_are_written_rightly_and_most_steps_make_sense():
    """Only what became of the HSMs meanwhile can make a step senseless: an operator may touch one that is lost."""
    refused = played = 0
    for seed in range(60):
        story = drawn(seed)
        with Player(story.shape, seed=story.seed) as player:
            for step in story.steps:
                told = player.do(step)
                played += 1
                refused += told is None or told.refused
                assert not isinstance(player.things.get(step.on), Client) or not told or not told.refused
    assert refused < played / 10


def test_faults_of_a_scenario_are_about_what_it_calls():
    """So that a third of them strikes at least."""
    hits = 0
    for seed in range(90):
        story = scenario(seed)
        called = {step.does for step in story.steps}
        with Player(story.shape, seed=seed) as player:
            for step in story.steps:
                player.do(step)
            (injection,) = player.cluster.chaos.injections
            assert isinstance(injection.fault, Fault)
            assert injection.fault.when.op in (None, *called)
            hits += injection.hits > 0
    assert hits > 30
