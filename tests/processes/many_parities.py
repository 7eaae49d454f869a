"""Are drawn stories the same on both networks?  `python -m tests.processes.many_parities 200` plays so many.

What is drawn for simulated time is tamed first: nothing in it may depend on how fast a machine is.  After each step
everything that is under way comes to its end, on both networks.
"""

import dataclasses
import sys
import warnings
from typing import Any

from pytest_hsmcluster.client.base import BaseClient
from pytest_hsmcluster.client.config import ConfigWarning
from pytest_hsmcluster.faults.effects import Delay, Pause
from pytest_hsmcluster.faults.spec import Fault
from pytest_hsmcluster.stories.drawing import APPS, SHAPES, story_of
from pytest_hsmcluster.stories.picking import genes_of
from pytest_hsmcluster.stories.playing import Player
from pytest_hsmcluster.stories.story import Step, Story
from tests.processes.parity import NETWORKS, PATIENT, SETTINGS, Stage, differences

LENGTH = 30
KINDS = ("call",) * 10 + ("fault", "fault", "hardship", "calm", "sweep", "power")
LONGEST = Delay.of("2s")
QUICK = {"request_timeout_s": 10, "join_snapshot_s": 0, "join_active_s": 0}
UNEQUAL = ("crash_peer", "queue_limit", "least_busy")
"""Settings that cannot mean the same; see `docs/fidelity.md`."""
ELSEWHERE = ("rolling-restart", "flapping", "delay-sync", "gray-failure")
"""Hardships that go on while time passes, or that cannot mean the same to somebody who has no connection yet."""


def drawn(seed: int, *, patient: bool = False) -> Story:
    """Return a tame story: the same for the same seed; with longer time-outs if it has to be."""
    shape = SHAPES[seed % len(SHAPES)]
    settings = {name: value for name, value in shape.settings if name not in UNEQUAL and value not in UNEQUAL}
    settings |= {
        name: value for name, value in {**SETTINGS, **QUICK, **(PATIENT if patient else {})}.items() if name != "seed"
    }
    tame = dataclasses.replace(shape, settings=tuple(settings.items()))
    apps = APPS[: 1 + seed // len(SHAPES) % 2]
    story = story_of(tame, genes_of(seed, LENGTH), apps=apps, kinds=KINDS, seed=seed)
    return dataclasses.replace(story, steps=tuple(filter(None, map(_tamed, story.steps))))


def _tamed(step: Step) -> Step | None:
    """Return a step that takes no time by itself, or None."""
    if step.does == "advance":
        return None
    if step.args and isinstance(fault := step.args[0], Fault):
        if isinstance(fault.effect, Pause):  # as with `gray-failure`
            return None
        effect = LONGEST if isinstance(fault.effect, Delay) and fault.effect.ns > LONGEST.ns else fault.effect
        when = dataclasses.replace(fault.when, during=None)
        return dataclasses.replace(step, args=(dataclasses.replace(fault, effect=effect, when=when),))
    if step.does == "install":
        scenario = " ".join(word for word in step.args[0].split() if not word.startswith("during="))
        return None if scenario.startswith(ELSEWHERE) else dataclasses.replace(step, args=(scenario,))
    return dataclasses.replace(step, options=tuple(option for option in step.options if option[0] != "timeout_s"))


def played(story: Story, network: str) -> dict[str, Any]:
    """Play a story on a network, and return all that was seen."""
    pace = {"clock_rate": 20} if network == "processes" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)
        with Player(story.shape, seed=story.seed, network=network, **pace) as player:
            stage = Stage(player.cluster)
            for step in story.steps:
                player.do(step)
                stage.settle()
            for told in player.told:
                if told.error is not None:
                    stage.notes.append((str(told.step), stage.seen_error(told.error)))
                else:
                    stage.notes.append((str(told.step), stage.seen_result(told.step.does, told.result)))
                if isinstance(told.result, BaseClient):
                    stage.clients.append(told.result)
            return stage.end()


def parity_of(seed: int) -> list[str]:
    """Return what the two networks disagree about in a drawn story, on a second and patient look as well."""
    found: list[str] = []
    for patient in (False, True):
        story = drawn(seed, patient=patient)
        found = differences(*(played(story, network) for network in NETWORKS))
        if not found:
            break
    return found


def main(count: int, first: int = 0) -> int:
    """Play so many stories, print those that differ, and return how many did."""
    wrong = 0
    for seed in range(first, first + count):
        found = parity_of(seed)
        if found:
            wrong += 1
            sys.stdout.write("\n".join([f"seed {seed}:", str(drawn(seed)), *found, ""]))
    sys.stdout.write(f"{count} stories, {wrong} differ\n")
    return wrong


if __name__ == "__main__":
    sys.exit(min(1, main(*map(int, sys.argv[1:]))))
