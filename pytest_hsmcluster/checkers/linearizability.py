"""Is there an order of the calls on a key in which each of them makes sense?

The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of the states that
led nowhere (2017), one key at a time.  A key's model has three states: not yet there, there, deleted.  An `ok` call
takes effect at one instant between its invoke and its end; an `info` call at any instant after its invoke, or never;
a `fail` says nothing.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import UsageError
from ..history.events import BIRTHS
from .facts import Facts, KeyFacts
from .operation import Operation
from .verdict import Finding

BUDGET = 1_000_000
"""States that are explored at most."""

Verdict = Literal["linearizable", "not linearizable", "unknown"]
Does = Literal["makes", "deletes", "sees", "misses"]

_NEXT: dict[tuple[str, Does], str] = {
    ("none", "makes"): "there",
    ("there", "deletes"): "deleted",
    ("there", "sees"): "there",
    ("none", "misses"): "none",
    ("deleted", "misses"): "deleted",
}
_CHANGES = ("makes", "deletes")
_FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Step:
    """What one call means for one key.

    Attributes:
        does: to the key, or finds out about it.
        began, ended: indices in the history; one that nobody knows the end of ends at the end of time.
        needed: whether it has to have happened.
        operation: the call; None for what the service did.
    """

    does: Does
    began: int
    ended: int = _FOREVER
    needed: bool = True
    operation: Operation | None = None


@dataclass(frozen=True, slots=True)
class Linearizability:
    """What became of the search.

    Attributes:
        findings: one for each key whose calls have no order.
        undecided: keys ("key-1") for which the budget was not enough.
        explored: states, over all keys.
    """

    findings: tuple[Finding, ...]
    undecided: tuple[str, ...]
    explored: int

    @property
    def verdict(self) -> Verdict:
        """`unknown` is no finding, and no proof either."""
        return "not linearizable" if self.findings else "unknown" if self.undecided else "linearizable"


def linearizability(facts: Facts, budget: int) -> Linearizability:
    """Search an order for the calls on each token key.

    Args:
        facts: of the history.
        budget: states to explore at most, over all keys.

    Raises:
        UsageError: the budget is no integer above 0.
    """
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise UsageError(f"linearizable: budget is a number of states, an integer, 1 or more; got {budget!r}")
    findings, undecided, explored = [], [], 0
    for name, steps in _steps(facts).items():
        verdict, cost = ordered(steps, budget - explored)
        explored += cost
        if verdict == "unknown":
            undecided.append(name)
        elif verdict == "not linearizable":
            culprit, cost = _culprit(steps, budget)
            explored += cost
            findings.append(_finding(facts.keys[name], steps, culprit))
    return Linearizability(tuple(findings), tuple(undecided), explored)


def ordered(steps: Sequence[Step], budget: int) -> tuple[Verdict, int]:
    """Say whether steps have an order, and how many states were explored.

    Args:
        steps: in the order in which they began.
        budget: states.
    """
    needed = [step for step in steps if step.needed]
    maybe = [step for step in steps if not step.needed and step.does in _CHANGES]
    # A place in the search: needed steps before `first` are done, of the later ones those in `later`, of the others
    # those in `taken`; and how the key is.
    stack: list[tuple[int, frozenset[int], frozenset[int], str]] = [(0, frozenset(), frozenset(), "none")]
    known = dict.fromkeys(stack)
    explored = 0
    while stack:
        first, later, taken, state = stack.pop()
        explored += 1
        if explored > budget:
            return "unknown", explored - 1
        while first < len(needed):
            candidates, earliest = _candidates(needed, first, later)
            reading = next((i for i in candidates if _NEXT.get((state, needed[i].does)) == state), None)
            if reading is None:
                break
            # What changes nothing and fits now can as well have been now: there is no need to try it later.
            first, later = _done(first, later, reading)
        else:
            return "linearizable", explored
        places = [
            (*_done(first, later, i), taken, after)
            for i in candidates
            if (after := _NEXT.get((state, needed[i].does))) is not None
        ]
        places += [
            (first, later, taken | {i}, after)
            for i, step in enumerate(maybe)
            if i not in taken and step.began < earliest and (after := _NEXT.get((state, step.does))) is not None
        ]
        for place in places:
            if place not in known:
                known[place] = None
                stack.append(place)
    return "not linearizable", explored


def _candidates(needed: Sequence[Step], first: int, later: frozenset[int]) -> tuple[list[int], int]:
    """Return the steps that can be next, none of which began after another one had ended; and when the first ends."""
    found: list[int] = []
    earliest = _FOREVER
    for i in range(first, len(needed)):
        step = needed[i]
        if step.began > earliest:
            break
        if i not in later:
            found.append(i)
            earliest = min(earliest, step.ended)
    return [i for i in found if needed[i].began < earliest], earliest


def _done(first: int, later: frozenset[int], step: int) -> tuple[int, frozenset[int]]:
    if step != first:
        return first, later | {step}
    first += 1
    if first in later:
        rest = set(later)
        while first in rest:
            rest.remove(first)
            first += 1
        later = frozenset(rest)
    return first, later


def _culprit(steps: Sequence[Step], budget: int) -> tuple[Step, int]:
    """Return the step with whose end the history first has no order, and how many states that cost.

    What is true of a history is true of its beginning, so the shortest beginning is found by halving.
    """
    ends = sorted((step for step in steps if step.needed), key=lambda step: step.ended)
    cost = 0

    def wrong(number: int) -> bool:
        nonlocal cost
        last = ends[number].ended
        begun = [step if step.ended <= last else replace(step, needed=False) for step in steps if step.began < last]
        verdict, explored = ordered(begun, budget)
        cost += explored
        return verdict != "linearizable"

    return ends[bisect_left(range(len(ends) - 1), True, key=wrong)], cost


def _steps(facts: Facts) -> dict[str, list[Step]]:
    """Return what calls mean for each token key, in the order in which they began."""
    keys = {key.name: key for key in facts.token_keys()}
    steps: dict[str, list[Step]] = {name: [] for name in keys}
    born: dict[int, list[str]] = {}
    there = _There()
    for key in keys.values():
        if key.born.cause in BIRTHS:
            born.setdefault(key.born.op, []).append(key.name)
        else:
            steps[key.name].append(Step("makes", key.born.index - 1, needed=False))
            there.add(key)
    for number, operation in facts.operations.items():
        made = born.get(number, ())
        for name, does in _meaning(operation, keys, made):
            steps[name].append(_step(operation, does))
        if operation.name == "find_keys" and operation.outcome == "ok":
            for name in there.not_shown(operation):
                steps[name].append(_step(operation, "misses"))
        for name in made:
            there.add(keys[name])
    return {name: found for name, found in steps.items() if found}


def _step(operation: Operation, does: Does) -> Step:
    if operation.outcome != "ok" or operation.ended is None:
        return Step(does, operation.invoked.index, needed=False, operation=operation)
    return Step(does, operation.invoked.index, operation.ended.index, operation=operation)


def _meaning(operation: Operation, keys: dict[str, KeyFacts], made: Iterable[str]) -> Iterable[tuple[str, Does]]:
    for name in made:
        yield name, "makes"
    if operation.outcome == "fail":
        for name in made:
            yield name, "deletes"  # undone; meanwhile others may have seen it
    elif operation.name == "delete_key" and operation.key in keys:
        yield operation.key, "deletes"
    elif operation.outcome == "ok":
        for name in operation.named:
            if name in keys and name not in made:
                yield name, "sees"


class _There:
    """The keys that a find could show: called for before it began, and not deleted for sure by then.

    What else it does not show is no question.
    """

    def __init__(self) -> None:
        self._by_label: dict[str, dict[str, KeyFacts]] = {}

    def add(self, key: KeyFacts) -> None:
        self._by_label.setdefault(key.label, {})[key.name] = key

    def not_shown(self, find: Operation) -> Iterable[str]:
        """Yield the keys that a find should show to their owner, and does not."""
        asked = find.invoked
        if asked.args:
            return  # by more than label, kind and class: what that fits is not in the history
        shown = dict.fromkeys(find.named)
        labels = list(self._by_label) if asked.label is None else [asked.label]
        for label in labels:
            keys = self._by_label.get(label, {})
            for key in list(keys.values()):
                if key.deleted is not None and _ended(key.deleted) < asked.index:
                    del keys[key.name]
                    continue
                relabelled = any(aspect == "label" for _, aspect in key.changed_ns)
                fits = asked.key_kind in (None, key.born.key_kind) and asked.cls in (None, key.born.cls)
                if key.name not in shown and key.born.owner == asked.user and fits and not relabelled:
                    yield key.name


def _ended(operation: Operation) -> int:
    return _FOREVER if operation.ended is None else operation.ended.index


def _finding(key: KeyFacts, steps: Sequence[Step], culprit: Step) -> Finding:
    assert culprit.operation is not None, "what the service did need not have happened"
    assert culprit.operation.ended is not None
    what = {"sees": "shows or uses it", "misses": "does not show it"}.get(culprit.does, f"{culprit.does} it")
    before = [step for step in steps if step.does in _CHANGES and step.began < culprit.ended and step is not culprit]
    changes = "; ".join(str(step.operation) if step.operation else "the service brought it" for step in before)
    return Finding(
        "linearizable",
        key.name,
        key.label,
        key.handle,
        (),
        culprit.operation.ended.at_ns,
        f"{culprit.operation} {what}, and no order of the calls before it explains that: {changes or 'nobody made it'}",
    )
