"""What is wrong with a story that was played?"""

from collections.abc import Iterator, Sequence

from pytest_hsmcluster.faults.injector import Injection
from pytest_hsmcluster.hardships import Hardship
from pytest_hsmcluster.stories.playing import Player, Told
from pytest_hsmcluster.stories.story import CHAOS, Story

from .crypto import Crypto
from .journal import Cut, broken_rules
from .reading import miscast, misjudged, misread
from .recount import Installed, miscounted
from .settling import settle
from .truths import Truths
from .view import View


def disagreements(story: Story) -> Iterator[str]:
    """Play a story and yield what disagrees with the truth, each in a sentence; nothing if all is well."""
    with Player(story.shape, seed=story.seed) as player:
        records = player.cluster.history.records
        truths, crypto = Truths(story.shape, player), Crypto(player)
        before = View.of(player.cluster)
        for step in story.steps:
            if player.do(step) is None:
                before = View.of(player.cluster)
                continue
            after, told = View.of(player.cluster), player.told[-1]
            yield from truths.of_step(told, records[told.record :], before, after)
            yield from crypto.of_step(told, before, after)
            before = after
        yield from truths.at_the_end(records, before)
        yield from misjudged(player.cluster.history, before)
        played = len(records)
        yield from settle(player, story)
    yield from broken_rules(records, _cuts(player.told, played))
    yield from miscounted(_installed(player.told, played), records[:played])
    yield from misread(player.cluster.history, (played // 2, played))
    yield from miscast(player.cluster.history)


def unlike(story: Story) -> Iterator[str]:
    """Play a story again, without the fast path of simulated time and with other key bytes: nobody may notice."""
    digests = []
    for run_ahead, keys in ((True, "seeded"), (False, "seeded"), (True, "random")):
        with Player(story.shape, seed=story.seed, keys=keys) as player:
            player.cluster._scheduler.run_ahead = run_ahead
            for step in story.steps:
                player.do(step)
        digests.append(player.cluster.history.digest())
    if digests[1] != digests[0]:
        yield "the journal is another one without the fast path of simulated time"
    if digests[2] != digests[0]:
        yield "the journal is another one with other key bytes"


def _cuts(told: Sequence[Told], end: int) -> list[Cut]:
    """Return the partitions that steps began and ended; what has a window of its own is left out."""
    found: list[Cut] = []
    for one in told:
        if isinstance(one.result, Hardship) and one.result.name == "partition" and "during" not in one.result.arguments:
            a, b, direction = (one.result.arguments[name] for name in ("a", "b", "direction"))
            last = _end_of(one, told, end)
            found += [(a, b, one.record, last), (b, a, one.record, last)][: 1 if direction == "one-way" else 2]
    return found


def _installed(told: Sequence[Told], end: int) -> list[Installed]:
    """Return every fault that steps installed, alone or in a hardship."""
    found: list[Installed] = []
    for one in told:
        if one.step.on != CHAOS or one.step.does not in ("inject", "install") or one.error is not None:
            continue
        last = _end_of(one, told, end)
        if isinstance(one.result, Injection):
            found.append(Installed(one.result.fault, one.record, last, one.at_ns))
        elif isinstance(one.result, Hardship):
            certain = "during" not in one.result.arguments
            found += [Installed(part.fault, one.record, last, one.at_ns, certain) for part in one.result.injections]
    return found


def _end_of(begun: Told, told: Sequence[Told], end: int) -> int:
    """Return how many records there were when a trouble was ended."""
    ends = ("remove", "end")
    return next((one.record for one in told if one.step.on == begun.step.gives and one.step.does in ends), end)
