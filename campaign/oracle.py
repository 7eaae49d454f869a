"""What is wrong with a story that was played?"""

from collections.abc import Iterator, Sequence

from pytest_hsmcluster import HsmCheck
from pytest_hsmcluster.faults.injector import Injection
from pytest_hsmcluster.hardships import Hardship
from pytest_hsmcluster.history.history import History
from pytest_hsmcluster.stories.playing import Player, Told
from pytest_hsmcluster.stories.story import CHAOS, Story

from .crypto import Crypto
from .journal import Cut, broken_rules
from .recount import Installed, miscounted
from .settling import settle
from .truths import Truths
from .view import View
from .words import Words


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
        played = len(records)
        yield from settle(player, story)
    yield from broken_rules(records, _cuts(player.told, played))
    yield from miscounted(_installed(player.told, played), records[:played])
    yield from misread(player.cluster.history, (played // 2, played))


def misread(history: History, ends: Sequence[int]) -> Iterator[str]:
    """Yield what the checks say of a history, or of its beginning, that the sentences of their words do not."""
    for end in ends:
        part = History(history.records[:end], note=history.note)
        check, words = HsmCheck(part), Words(part)
        for name, told, meant in (
            ("lost", [one.key for one in check.lost_keys()], words.lost()),
            ("at risk", [one.key for one in check.at_risk_keys()], words.at_risk(2)),
            ("at risk of two losses", [one.key for one in check.at_risk_keys(survive=2)], words.at_risk(3)),
            ("an orphan", [one.key for one in check.orphan_keys()], words.orphans()),
            ("resurrected", [one.key for one in check.resurrected_keys()], words.resurrected()),
            ("a duplicate", bool(check.duplicate_labels()), bool(words.duplicates())),
            ("a second label", bool(check.duplicate_labels(strict=True)), bool(words.same_labels())),
            ("undecryptable", len(check.undecryptable_data(shredded=True)), len(words.unopenable_data())),
        ):
            if told != meant:
                yield f"after {end} records the check calls {told} {name}, its sentence {meant}"


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
