"""Which of these faults does a failure need, and how little of each?

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002): halves and their
complements, ever finer, until no single fault can be left out.  Then each fault that is left is made simpler for as
long as the failure stays.  Who looks says how to run the test; here it is only counted how often.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

from ..faults.effects import Delay
from ..faults.spec import Fault, Scenario, parse_spec
from ..faults.when import When, value_of
from ..history.events import Kind
from ..history.history import History
from .storm import MS, steps

Specs = tuple[str, ...]

RUNS = 60
"""Runs that one failure is worth."""


@dataclass(frozen=True, slots=True)
class Smallest:
    """What is left of a storm.

    Attributes:
        specs: faults with which the test fails.
        runs: how often it was run to find them.
        minimal: whether it passed without any one of them; False if the runs were used up before that was known.
    """

    specs: Specs
    runs: int
    minimal: bool


class _Enough(Exception):
    """No runs are left."""


class Search:
    """Looks for the smallest set of faults; equal answers give equal results.

    Args:
        specs: with all of them the test fails, and without any it passes.
        scenarios: names of those that specs may name.
        fails: runs the test with some faults, and says whether it fails.
        limit: how often it may be asked.
    """

    def __init__(
        self, specs: Specs, scenarios: Collection[str], fails: Callable[[Specs], bool], limit: int = RUNS
    ) -> None:
        self._best = specs
        self._scenarios = scenarios
        self._ask = fails
        self._limit = limit
        self._runs = 0
        self._known: dict[Specs, bool] = {(): False, specs: True}

    def run(self) -> Smallest:
        """Return the smallest set that was found, each of its faults as simple as it gets."""
        minimal = False
        with suppress(_Enough):
            self._isolate()
            minimal = True
            for index in range(len(self._best)):
                self._simplify(index)
        return Smallest(self._best, self._runs, minimal)

    def _fails(self, specs: Specs) -> bool:
        if specs not in self._known:
            if self._runs == self._limit:
                raise _Enough
            self._runs += 1
            self._known[specs] = self._ask(specs)
        if self._known[specs]:
            self._best = specs
        return self._known[specs]

    def _isolate(self) -> None:
        """Leave out what is not needed, until nothing can be left out."""
        parts = 2
        while len(self._best) > 1:
            whole = self._best
            chunks = _split(whole, parts)
            rests = [tuple(one for other in chunks if other is not chunk for one in other) for chunk in chunks]
            if any(self._fails(chunk) for chunk in chunks):
                parts = 2
            elif any(self._fails(rest) for rest in rests):
                parts = max(parts - 1, 2)
            elif parts < len(whole):
                parts = min(2 * parts, len(whole))
            else:
                return

    def _simplify(self, index: int) -> None:
        """Make one fault simpler for as long as the test fails."""
        while any(
            self._fails((*self._best[:index], spec, *self._best[index + 1 :]))
            for spec in simpler(self._best[index], self._scenarios)
        ):
            pass


def simpler(spec: str, scenarios: Collection[str]) -> Iterator[str]:
    """Yield specs that say less than this one, the simplest first: surer, earlier, shorter; never stronger."""
    parsed = parse_spec(spec, scenarios)
    yield from map(str, _simpler_fault(parsed) if isinstance(parsed, Fault) else _simpler_hardship(parsed))


def pinned(spec: str, scenarios: Collection[str], history: History, since: int) -> str:
    """Return a fault that says what it struck: `op=` and `command=`, and the count among those alone.

    It strikes at the same passage, and goes on doing so when the application makes other calls before that one.

    Args:
        spec: what was installed; a hardship, and a fault that says more than where it strikes, is returned as it is.
        scenarios: names of those that the spec may name.
        history: of a run in which it struck.
        since: how long that was when it was installed.
    """
    fault = parse_spec(spec, scenarios)
    if not isinstance(fault, Fault):
        return spec
    when = fault.when
    if when.nth is None or any((when.per, when.during, when.chance, when.client, when.key, when.user)):
        return spec
    records = history.records
    for index in range(since, len(records)):
        if records[index][0] == Kind.INJECT and records[index][3] == str(fault):
            # A passage is written just before what strikes there: kind, instant, operation, point, what it is about.
            _, _, _, point, op, command, hsm, *_ = records[index - 1]
            known = {"op": op, "command": command, "hsm": hsm}
            told = {key: value for key, value in known.items() if key in fault.point.facts}
            nth = sum(one[0] == Kind.REACH and one[3:7] == (point, op, command, hsm) for one in records[since:index])
            return str(replace(fault, when=replace(when, **told, nth=nth)))
    return spec


def _split(specs: Specs, parts: int) -> list[Specs]:
    bounds = [len(specs) * part // parts for part in range(parts + 1)]
    return [specs[start:end] for start, end in pairwise(bounds)]


def _simpler_fault(fault: Fault) -> Iterator[Fault]:
    effect, when = fault.effect, fault.when
    if when.chance is not None:
        yield replace(fault, when=replace(when, chance=None))
    for nth in _smaller(when.nth or 1):
        yield replace(fault, when=replace(when, nth=nth))
    if isinstance(effect, Delay):
        for ns in _shorter(effect.ns):
            yield replace(fault, effect=Delay(ns))


def _simpler_hardship(hardship: Scenario) -> Iterator[Scenario]:
    given = dict(hardship.arguments)
    if "during" in given:
        window = value_of("during", given["during"])
        assert isinstance(window, tuple), "a window is two instants"
        begin, end = window
        if begin:
            yield _with(hardship, "during", _window(0, end - begin))
        for lasts in _shorter(end - begin):
            yield _with(hardship, "during", _window(begin, begin + lasts))
    for number in _smaller(int(given.get("next", 1))):
        yield _with(hardship, "next", str(number))


def _with(hardship: Scenario, key: str, text: str) -> Scenario:
    return replace(hardship, arguments=tuple((name, text if name == key else old) for name, old in hardship.arguments))


def _window(first_ns: int, last_ns: int) -> str:
    return dict(When(during=(first_ns, last_ns)).given)["during"]


def _smaller(number: int) -> list[int]:
    return list(dict.fromkeys(one for one in (1, number // 2, number - 1) if 1 <= one < number))


def _shorter(ns: int) -> list[int]:
    """Return a few shorter durations, the shortest first."""
    options = [one for one in steps(MS, ns) if one < ns]
    return list(dict.fromkeys([options[0], options[len(options) // 2], options[-1]])) if options else []
