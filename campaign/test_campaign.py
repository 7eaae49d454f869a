"""Does Hypothesis find a story that disagrees with the truth?  `make campaign N=10000` plays so many of each."""

from collections.abc import Callable

from hypothesis.strategies import sampled_from

from pytest_hsmcluster.stories.playing import play
from pytest_hsmcluster.stories.story import Story
from pytest_hsmcluster.stories.writing import regression_test
from pytest_hsmcluster.strategies import ClusterMachine, stories

from . import clean
from .oracle import disagreements

Campaign = Callable[..., None]


class EveryMachine(ClusterMachine):
    """Whatever happens to a cluster, a session key is on one HSM."""

    checks = ("session_keys_stay_put",)


def agrees(story: Story) -> None:
    """Nothing about a story disagrees with the truth."""
    found = next(disagreements(story), None)
    if found is not None:
        error = AssertionError(found)
        error.add_note(f"the story, as a test to paste:\n\n{regression_test(play(story))}")
        raise error


def agrees_when_calm(story: Story) -> None:
    """Nothing about a story without trouble is unlike the model."""
    found = next(clean.disagreements(story), None)
    assert found is None, found


def test_stories(hsm_campaign: Campaign) -> None:
    hsm_campaign(agrees, stories())


def test_clean_stories(hsm_campaign: Campaign) -> None:
    hsm_campaign(agrees_when_calm, stories(sampled_from(clean.PATIENT)))


def test_machine(hsm_campaign: Campaign) -> None:
    hsm_campaign(EveryMachine)
