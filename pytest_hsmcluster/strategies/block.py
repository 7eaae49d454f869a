"""How does Hypothesis play one block of a campaign?"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from ..errors import UsageError
from ..history.difference import first_difference
from ..history.history import History
from ..stories.playing import play
from ..stories.story import Story
from .machine import ChaosMachine

REHEARSED = 5
"""Clean stories that are played twice."""


def play_block(what: Any, strategy: SearchStrategy[Any] | None, seed: int, stories: int) -> None:
    """Have Hypothesis play so many stories; what it finds it makes as small as it gets, and raises.

    Args:
        what: a machine, or a function that is given what the strategy draws.
        strategy: None for a machine.
        seed: the same seed draws the same stories.
        stories: how many.

    Raises:
        UsageError: `what` is neither, or the strategy is missing or too much.
        AssertionError: what was found; or the clean story did not leave the same journal twice.
    """
    machine = isinstance(what, type) and issubclass(what, RuleBasedStateMachine)
    if machine is not (strategy is None) or not callable(what):
        raise UsageError(
            "a campaign plays a machine, hsm_campaign(VaultMachine), or a function that is given what a strategy "
            "draws, hsm_campaign(function, stories())"
        )
    if strategy is not None:
        _run_function(what, strategy, _settings(stories, Phase.generate, Phase.shrink), seed)
    else:
        steps = getattr(what, "steps", ChaosMachine.steps)
        _run_machine(what, _settings(stories, Phase.generate, Phase.shrink, stateful_step_count=steps), seed)


def rehearse(what: Any, strategy: SearchStrategy[Any] | None = None) -> None:
    """Play clean stories twice, without faults and hardships; each has to leave the same journal.

    Raises:
        AssertionError: names the first event that differs, and likely causes.
    """
    for one, other in zip(_clean(what, strategy), _clean(what, strategy), strict=False):
        difference = first_difference(one, other)
        if difference is not None:
            raise AssertionError(
                "the clean story, without any fault, was played twice and is not the same: nothing that is found could "
                f"be replayed\n{difference}"
            )


def _clean(what: Any, strategy: SearchStrategy[Any] | None) -> list[History]:
    """Return the journals of a few clean stories; the same stories each time."""
    settings = _settings(REHEARSED, Phase.generate, database=None)
    if strategy is not None:
        drawn: list[Any] = []
        _run_function(drawn.append, strategy, settings, 0)
        return [play(story.calm).history for story in drawn if isinstance(story, Story)]
    if not issubclass(what, ChaosMachine):
        return []
    histories: list[History] = []
    clean = type(what.__name__, (what,), {"calm": True, "histories": histories})
    _run_machine(clean, settings, 0)
    return histories


def _settings(stories: int, *phases: Phase, **more: Any) -> hypothesis.settings:
    # What was found before is not tried again in each block: an ordinary run of the machine does that.
    return hypothesis.settings(
        max_examples=stories,
        phases=phases,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        **more,
    )


def _run_machine(machine: Any, settings: hypothesis.settings, seed: int) -> None:
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(machine), settings=settings)
    finally:
        with suppress(AttributeError):  # the seed is this block's, and a machine may be run otherwise as well
            del machine._hypothesis_internal_use_seed


def _run_function(
    function: Callable[[Any], Any], strategy: SearchStrategy[Any], settings: hypothesis.settings, seed: int
) -> None:
    def story(drawn: Any) -> None:
        function(drawn)

    settings(hypothesis.seed(seed)(hypothesis.given(strategy)(story)))()
