"""What can happen to a cluster, told as data, and played under any driver?

A `Story` is a shape and a list of steps.  `play` runs it with blocking clients, `play_awaiting` with
awaited ones, `play_at_once` with all actors at the same time.  What comes back, a `Telling`, is what
the application was told and what the journal says.
"""

import asyncio
import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from pytest_hsmcluster.client.config import ConfigWarning
from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.errors import ClusterError
from tests.fates import OFTEN, SHAPES, VERBS, Actor, Stage, Step


@dataclass(frozen=True)
class Story:
    """A cluster and what happens to it.

    Attributes:
        shape: index into `SHAPES`.
        clients: how many applications there are.
        steps: verb, and three numbers that it makes sense of.
    """

    shape: int
    clients: int
    steps: tuple[Step, ...]
    seed: int = 7


@dataclass
class Telling:
    """What came of a story: outcomes in order, the journal's records and its digest."""

    outcomes: list[tuple[Any, ...]]
    records: list[tuple[Any, ...]]
    digest: str

    def first_difference(self, other: "Telling") -> str | None:
        """Return where two tellings part, or None."""
        for what in ("records", "outcomes"):
            mine, theirs = getattr(self, what), getattr(other, what)
            for index, (a, b) in enumerate(zip(mine, theirs, strict=False)):
                if a != b:
                    before = "\n".join(map(str, mine[max(0, index - 5) : index]))
                    return f"{what} part at {index}, after\n{before}\n  one:   {a}\n  other: {b}"
            if len(mine) != len(theirs):
                return f"{what}: {len(mine)} and {len(theirs)}: {(mine + theirs)[-1]}"
        return None if self.digest == other.digest else "digests differ although all records are equal"


# -- telling ----------------------------------------------------------------------------


def drawn(seed: int, length: int = 30, *, shape: int | None = None) -> Story:
    """Return a story that is the same for the same seed."""
    dice = random.Random(seed)
    verbs = [verb for verb in VERBS for _ in range(OFTEN.get(verb, 1))]
    steps = tuple(
        (dice.choice(verbs), dice.randrange(8), dice.randrange(512), dice.randrange(512)) for _ in range(length)
    )
    return Story(seed % len(SHAPES) if shape is None else shape, 1 + seed % 3, steps, seed)


def play(story: Story, *, run_ahead: bool = True, keys: str = "random") -> Telling:
    """Tell a story with blocking clients, one step after the other."""

    async def tell(stage: Stage) -> None:
        for index, step in enumerate(story.steps):
            await stage.act(index, step)

    def drive(stage: Stage) -> None:
        telling = tell(stage)
        try:
            telling.send(None)
        except StopIteration:
            return
        raise AssertionError("a blocking client never makes anybody wait")

    return _told(story, ("client",), drive, run_ahead, keys)


def play_awaiting(
    story: Story, *, run_ahead: bool = True, keys: str = "random", run: Callable[..., object] = asyncio.run
) -> Telling:
    """Tell a story with awaited clients, one step after the other; under asyncio unless `run` is another library's."""

    async def tell(stage: Stage) -> None:
        for index, step in enumerate(story.steps):
            await stage.act(index, step)

    # asyncio is given a coroutine, trio a function.
    def drive(stage: Stage) -> None:
        if run is asyncio.run:
            asyncio.run(tell(stage))
        else:
            run(tell, stage)

    return _told(story, ("async_client",), drive, run_ahead, keys)


def play_at_once(story: Story, *, run_ahead: bool = True, keys: str = "random") -> Telling:
    """Tell a story at once: two strands for each client, of which every third is a blocking one."""

    async def tell(stage: Stage) -> None:
        strands: list[list[tuple[int, Step]]] = [[] for _ in range(2 * len(stage.actors))]
        for index, step in enumerate(story.steps):
            strands[(step[1] % len(stage.actors)) * 2 + step[2] % 2].append((index, step))
        await asyncio.gather(*(strand(stage, steps) for steps in strands))

    async def strand(stage: Stage, steps: list[tuple[int, Step]]) -> None:
        for index, step in steps:
            if step[0] in ("login", "advance") and step[3] % 2:
                await asyncio.sleep(0)
            if step[0] == "random" and step[3] % 3 == 0:
                await _cancelled(stage, index, step)
            else:
                await stage.act(index, step)

    doors = ("async_client", "async_client", "client")
    return _told(story, doors, lambda stage: asyncio.run(tell(stage)), run_ahead, keys)


async def _cancelled(stage: Stage, index: int, step: Step) -> None:
    """Begin a step and lose patience after a while."""
    task = asyncio.ensure_future(stage.act(index, step))
    for _ in range(step[2] % 5):
        await asyncio.sleep(0)
    task.cancel()
    # Not `gather`: since Python 3.12 it takes one turn of the loop less for a task that has ended.
    await asyncio.wait([task])


def _told(story: Story, doors: tuple[str, ...], drive: Callable[[Stage], None], run_ahead: bool, keys: str) -> Telling:
    with warnings.catch_warnings(), HsmCluster(seed=story.seed, keys=keys, **SHAPES[story.shape]) as cluster:
        warnings.simplefilter("ignore", ConfigWarning)
        cluster._scheduler.run_ahead = run_ahead
        cluster.create_user("bob", "password")
        first = cluster.client("first").generate_key("AES", 256, label="label-0")

        def open_one(number: int, *, login: bool = True) -> Any:
            return getattr(cluster, doors[number % len(doors)])(f"app-{number + 1}", login=login)

        def open_again(number: int) -> Any:
            with suppress(ClusterError):
                return open_one(number)
            return open_one(number, login=False)

        actors = [Actor(open_one(number), partial(open_again, number)) for number in range(story.clients)]
        stage = Stage(cluster, actors, [first])
        drive(stage)
    return Telling(stage.outcomes, list(cluster.history.records), cluster.history.digest())
