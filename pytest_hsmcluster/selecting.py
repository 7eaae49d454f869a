"""Which sweeps, which orders and which of their cases does a command line ask for?

A case is made when its test runs, long after pytest has collected and selected: so a test goes by the words of its
cases, what is left of them is decided here, and a case that is named by its node id is collected as a test.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from .errors import UsageError
from .faults.spec import parse_fault
from .faults.when import COMMANDS, LIBRARY_ONLY, OPERATIONS
from .identities import SHARD, identity, shard_of
from .keeping import CASE, Case
from .markers import levels, orders_asked, sweep_mark
from .options import SETTINGS
from .stage import Stage, Words, made
from .subjects import Subject, is_testcase
from .sweep import Specs, Sweep
from .sweeps import AND, CACHED_CASES

_ORDER = re.compile(r"order (0|[1-9]\d{0,8})")
_LENT = pytest.StashKey[set[str]]()
"""With an item: words that it was lent so that `-k` finds it."""


def sweep_asked(item: pytest.Item) -> pytest.Mark | None:
    """Return the marker by which a test is swept; None for another test, and where the faults are given."""
    if not isinstance(item, pytest.Function) or CASE in item.stash or item.config.stash[SETTINGS].chaos:
        return None
    return sweep_mark(levels(item))


def sweep_of(item: pytest.Item) -> Sweep | None:
    """Return the sweep that a test's marker asks for, or None.

    Raises:
        UsageError: the marker is wrong, and a hook has added it since markers were looked at.
    """
    mark = sweep_asked(item)
    if mark is None:
        return None
    with suppress(UsageError, TypeError):
        if not is_testcase(getattr(item, "cls", None)):
            return Sweep.of(*mark.args, **mark.kwargs)
    from .mistakes import complaint

    subject = Subject(item.nodeid, levels(item), is_testcase(getattr(item, "cls", None)))
    raise UsageError(complaint(item, [subject]) or "hsm_sweep: wrong")


def orders_of(item: pytest.Item) -> int:
    """Return in how many hand-over orders a test is to be run: 1 if it does not explore, or if its order is given."""
    if not isinstance(item, pytest.Function) or CASE in item.stash or item.config.stash[SETTINGS].order is not None:
        return 1
    return 1 if is_testcase(item.cls) else orders_asked(levels(item))


def label_of(order: int) -> str:
    """Return what a node id says of a hand-over order."""
    return f"order {order}"


def deal_out(metafunc: pytest.Metafunc) -> None:
    """Make one test of each shard; a wrong marker is refused elsewhere."""
    mark = sweep_mark(levels(metafunc.definition))
    shards = mark.kwargs.get("shards", 1) if mark else 1
    if metafunc.config.stash[SETTINGS].chaos or not isinstance(shards, int) or not 1 < shards <= 1000:
        return
    names = [f"shard {number} of {shards}" for number in range(1, shards + 1)]
    metafunc.fixturenames.append(SHARD)
    metafunc.parametrize(SHARD, names, ids=names)


# -- a case by its node id --------------------------------------------------------------


def cases_named(collector: pytest.Collector, found: Sequence[pytest.Item | pytest.Collector]) -> Iterator[pytest.Item]:
    """Yield the cases that the command line names by their node ids, each an item beside the tests that were found."""
    for name in dict.fromkeys(_names_within(collector)):
        yield from [case for item in found if (case := _case(item, name)) is not None]


def _names_within(collector: pytest.Collector) -> Iterator[str]:
    """Yield the names that the command line says within a module or a class."""
    config, here = collector.config, collector.nodeid.split("::")[1:]
    for argument in config.args:
        path, bracket, parameters = argument.partition("[")
        file, *names = path.split("::")
        leads_here = (
            config.option.pyargs or Path(os.path.abspath(config.invocation_params.dir / file)) == collector.path
        )
        if names and names[:-1] == here and leads_here:
            yield names[-1] + bracket + parameters


def _case(item: pytest.Item | pytest.Collector, name: str) -> pytest.Item | None:
    within = f"{item.name[:-1]}-" if item.name.endswith("]") else f"{item.name}["
    if not isinstance(item, pytest.Function) or not name.startswith(within):
        return None
    label, marks = name.removeprefix(within).removesuffix("]"), levels(item)
    if (order := _ORDER.fullmatch(label)) and orders_asked(marks) > 1:
        return made(item, Case(identity(item), label, order=int(order[1])), label)
    if not sweep_mark(marks):
        return None
    specs = tuple(label.split(AND))
    try:
        for spec in specs:
            parse_fault(spec)
    except UsageError:
        return None
    return made(item, Case(identity(item), label, specs), label)


# -- cases by words and by their past ---------------------------------------------------


def lend_words(config: pytest.Config, tests: list[pytest.Item]) -> None:
    """Let a test go by words that its cases may have: as many of those in `-k` as it needs to be selected."""
    words = Words(config)
    asked = dict.fromkeys(re.findall(r"[^\s()]+", words.text.lower()))
    for item in tests:
        known = None if words.want(item) else _words_of_cases(item)
        if known is None:
            continue
        lent = [word for word in asked if re.fullmatch(r"hsm-?\d*", word) or any(word in one for one in known)]
        before = item.extra_keyword_matches.copy()
        for chosen in (some for size in range(1, len(lent) + 1) for some in combinations(lent, size)):
            item.extra_keyword_matches = before.union(chosen)
            if words.want(item):
                item.stash[_LENT] = set(chosen) - before
                break
        else:
            item.extra_keyword_matches = before


def _words_of_cases(item: pytest.Item) -> list[str] | None:
    with suppress(UsageError):  # a wrong marker is refused elsewhere
        if sweep := sweep_of(item):
            return [
                word.lower()
                for word in (*map(str, sweep.effects), *sweep.points, *COMMANDS, *OPERATIONS, *LIBRARY_ONLY)
            ]
    orders = orders_of(item)
    return [label_of(order) for order in range(1, orders)] if orders > 1 else None


class Choice:
    """What `-k`, `--deselect`, `--lf`, `--ff` and shards leave of the cases of a test.

    Attributes:
        only_failed: whether nothing is wanted but what failed last time.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._words = Words(config)
        self._deselected = tuple(config.getoption("deselect", None) or ())
        self.only_failed = bool(config.getoption("lf", False))
        self._failed: dict[str, list[str]] = self.remembered(CACHED_CASES)

    def remembered(self, key: str) -> dict[str, Any]:
        """Return what the cache knows of failed cases, by test; nothing where nobody asks for them."""
        wanted = self.only_failed or self._config.getoption("failedfirst", False)
        cached = wanted and self._config.pluginmanager.hasplugin("cacheprovider") and self._config.cache
        return cached.get(key, {}) if cached else {}

    def singles(self, stage: Stage, cases: list[Specs]) -> list[Specs]:
        """Return which of all cases of one fault to run; those that begin a pair that failed are asked for with it."""
        failed = self._failed.get(identity(stage.item), [])
        begun = [label.partition(AND)[0] for label in failed]
        mine = _of_shard(stage.item, cases)
        if self.only_failed and any(specs[0] in begun for specs in cases):
            mine = [specs for specs in mine if specs[0] in begun]
        mine.sort(key=lambda specs: specs[0] not in failed)
        return [specs for specs in mine if self.wants(stage, AND.join(specs))]

    def pairs(self, stage: Stage, pairs: list[Specs]) -> list[Specs]:
        """Return which of these pairs to run."""
        failed = self._failed.get(identity(stage.item), [])
        if self.only_failed and any(AND.join(specs) in failed for specs in pairs):
            pairs = [specs for specs in pairs if AND.join(specs) in failed]
        pairs = sorted(pairs, key=lambda specs: AND.join(specs) not in failed)
        return [specs for specs in pairs if self.wants(stage, AND.join(specs))]

    def wants(self, stage: Stage, label: str) -> bool:
        """Whether `-k` and `--deselect` leave the case of this label."""
        if not self._words.text and not self._deselected:
            return True
        case, lent = stage.case(label), stage.item.stash.get(_LENT, set[str]())
        case.extra_keyword_matches -= lent
        return self._words.want(case) and not case.nodeid.startswith(self._deselected)


def _of_shard(item: pytest.Item, cases: list[Specs]) -> list[Specs]:
    shard = shard_of(item)
    if shard is None:
        return cases
    _, number, _, shards = shard.split()
    return cases[int(number) - 1 :: int(shards)]
