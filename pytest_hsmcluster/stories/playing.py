"""What comes of a story when it is played?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ..client.base import BaseClient
from ..errors import ClusterError, UsageError
from ..history.history import History
from .story import CHAOS, CLOCK, CLUSTER, Ref, Shape, Step, Story

EXPECTED = (ClusterError, UsageError)
"""What a drawn step may meet: an answer of the cluster, or that it makes no sense at that time."""


@dataclass(slots=True)
class Told:
    """What came of one step.

    Attributes:
        step: as it was performed.
        result: what it gave.
        error: what was raised instead.
        met: whether that is an error that an application may meet; any other ends the story.
        record: how many records the journal had before it.
        at_ns: instant of simulated time at which it began.
    """

    step: Step
    result: Any = None
    error: Exception | None = None
    met: bool = False
    record: int = 0
    at_ns: int = 0

    @property
    def refused(self) -> bool:
        """Whether it made no sense at that time (to crash an HSM that is lost, say), so that nothing has happened."""
        return self.met and isinstance(self.error, UsageError)


class Player:
    """Plays steps in a cluster of their own, one after the other; a context manager.

    Attributes:
        cluster: what is played in.
        things: name → what a step can call or refer to.
        told: what came of each step that was performed, in order.
        skipped: steps that needed what had not come to be.
        known: name → function or class that steps call by its name.
    """

    def __init__(self, shape: Shape, *, seed: int = 0, keys: str = "seeded", **where: Any) -> None:
        cluster = self.cluster = shape.cluster(seed, keys, **where)
        self.things: dict[str, Any] = {CLUSTER: cluster, CHAOS: cluster.chaos, CLOCK: cluster.clock}
        self.told: list[Told] = []
        self.skipped: list[Step] = []
        self.known: dict[str, Callable[..., Any]] = {}

    def do(
        self, step: Step, expected: tuple[type[Exception], ...] = EXPECTED, never: tuple[type[Exception], ...] = ()
    ) -> Told | None:
        """Perform one step and return what came of it; None if what it needs has not come to be.

        An application whose process has ended is started again first, as an operator would.

        Args:
            step: what to do.
            expected: errors that may be met; any other is raised.
            never: errors that are raised although they are among those.

        Raises:
            AssertionError: the result is not what it has to be.
        """
        if any(name not in self.things for name in step.refs):
            self.skipped.append(step)
            return None
        actor = self.things[step.on]
        if isinstance(actor, BaseClient) and not actor.alive:
            again = self._perform(Step(CLUSTER, "client", (actor.name,), gives=step.on), EXPECTED)
            if again.error is not None:
                self.skipped.append(step)
                return None
        return self._perform(step, expected, never)

    def know(self, thing: Callable[..., Any]) -> str:
        """Return the name under which steps can call a function or class."""
        name = thing.__name__
        self.known[name] = self.things[name] = thing
        return name

    def findings(self, checks: tuple[str, ...]) -> dict[str, str]:
        """Return what these checks find: name → text, for those that do not hold."""
        found = {}
        for name in checks:
            try:
                self.cluster.check.run(name)
            except AssertionError as error:
                found[name] = str(error)
        return found

    def close(self) -> None:
        """Close the cluster.

        Raises:
            AssertionError: the journal and the HSMs disagree: a mistake of pytest-hsmcluster.
        """
        self.cluster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _perform(
        self, step: Step, expected: tuple[type[Exception], ...], never: tuple[type[Exception], ...] = ()
    ) -> Told:
        told = Told(step, record=len(self.cluster.history.records), at_ns=self.cluster.clock.now_ns)
        self.told.append(told)
        actor = self.things[step.on]
        method = getattr(actor, step.does) if step.does else actor
        args = [self._value(value) for value in step.args]
        options = {name: self._value(value) for name, value in step.options}
        try:
            told.result = method(*args, **options)
            if step.equals and told.result != step.equals[0]:
                raise AssertionError(f"not so: {step}")
        except Exception as error:
            told.error, told.met = error, isinstance(error, expected) and not isinstance(error, never)
            if not told.met:
                raise
            # What it came from is of no use to anybody, and its frames hold the cluster.
            error.__traceback__ = error.__context__ = None
        else:
            if step.gives is not None:
                self.things[step.gives] = told.result
        return told

    def _value(self, value: Any) -> Any:
        if not isinstance(value, Ref):
            return value
        thing = self.things[value.name]
        return getattr(thing, value.part) if value.part else thing


@dataclass(slots=True)
class Played:
    """A story that was played to its end.

    Attributes:
        story: as it was to be.
        told: what came of each step that was performed, in order; an application that was started again is one more.
        findings: what the story's checks found: name → text, for those that do not hold.
        history: the journal of its cluster, which is closed.
    """

    story: Story
    told: tuple[Told, ...]
    findings: Mapping[str, str]
    history: History

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How often what was told: `ok`, the name of an error's class, `refused`."""
        counted: dict[str, int] = {}
        for one in self.told:
            name = "ok" if one.error is None else "refused" if one.refused else type(one.error).__name__
            counted[name] = counted.get(name, 0) + 1
        return counted


def play(story: Story, *, keys: str = "seeded") -> Played:
    """Play a story, ask its checks, close its cluster, and return what came of it.

    Raises:
        AssertionError: the journal and the HSMs disagree: a mistake of pytest-hsmcluster.
    """
    with Player(story.shape, seed=story.seed, keys=keys) as player:
        for step in story.steps:
            player.do(step)
        findings = player.findings(story.checks)
    return Played(story, tuple(player.told), findings, player.cluster.history)
