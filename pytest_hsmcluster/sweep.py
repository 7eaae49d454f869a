"""Which faults does a sweep try?

A clean run passes points; its journal says which, in what order, about which command and HSM.  A sweep makes one
case of every effect at every passage that it is asked for, written as a spec that strikes exactly there.
"""

import fnmatch
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .errors import UsageError
from .faults.effects import Effect, effect_of
from .faults.points import Point, nearest
from .faults.spec import Fault
from .faults.when import LIBRARY_ONLY, OPERATIONS, When
from .faults.words import words_of
from .history.events import Kind, Record
from .history.history import History

EFFECTS = ("crash", "drop")
POINTS = "hsm.* wire.*"

Specs = tuple[str, ...]
"""The faults of one case: as many as the sweep is deep."""


class Passage(NamedTuple):
    """One passage of a point in a recorded run.

    Attributes:
        place: of its event in the journal, from 0.
        point: which one.
        op: what the application had called, or None for the service's own work.
        command: what the HSM was asked to do, or None.
        hsm: which one it was about, or None.
        nth: its ordinal among the passages that point, command, HSM, and the operation if the sweep names any, match.
    """

    place: int
    point: Point
    op: str | None
    command: str | None
    hsm: str | None
    nth: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a marker `hsm_sweep` asks for.

    Attributes:
        effects: what happens, one case each.
        points: where, in the order of the catalogue.
        op: shell patterns of operations, separated by blanks; None is every one, and the service's own work.
        depth: faults in one case, 1 or 2.
        shards: tests into which it is dealt out, for several workers.
    """

    effects: tuple[Effect, ...]
    points: tuple[Point, ...]
    op: str | None = None
    depth: int = 1
    shards: int = 1

    @classmethod
    def of(
        cls,
        *effects: str,
        points: str = POINTS,
        op: str | None = None,
        depth: int = 1,
        shards: int = 1,
        checks: object = None,
    ) -> "Sweep":
        """Return the sweep that these arguments of the marker ask for; `checks` is not its business.

        Raises:
            UsageError: what is wrong, a line each.
        """
        wrong = [*_wrong_number("depth", depth, 2), *_wrong_number("shards", shards, 1000)]
        matching = _points(points, wrong)
        _check_op(op, wrong)
        read = [one for text in effects or EFFECTS if (one := _effect(text, matching, wrong)) is not None]
        if wrong:
            raise UsageError("\n".join(wrong))
        return cls(tuple(dict.fromkeys(read)), matching, op, depth, shards)

    def passages(self, history: History, first: int, last: int) -> list[Passage]:
        """Return the passages that the sweep is about, in order.

        One that a fault of the test's own struck is left out: there nothing else can happen.

        Args:
            history: of the recorded run.
            first: index of the first event after the test's faults were installed, from which `nth` counts.
            last: index behind the last event of its body.
        """
        return list(self._passages(history.records, first, last))

    def cases(self, passages: Iterable[Passage]) -> list[Specs]:
        """Return the faults to try, one a case, in the order of the passages."""
        return [(str(fault),) for passage in passages for fault in self._faults(passage)]

    def pairs(self, one: Specs, history: History, first: int, last: int) -> list[Specs]:
        """Return the pairs that begin with a fault: its own, and each that is reached after it has struck.

        Args:
            one: the case with the first fault alone.
            history: of its run, `first` and `last` as in `passages`.
        """
        records = history.records
        struck = next((i for i in range(first, last) if records[i][0] == Kind.INJECT and records[i][3] == one[0]), last)
        later = [passage for passage in self._passages(records, first, last) if passage.place > struck]
        return [(*one, second) for (second,) in self.cases(later) if second not in one]

    def _passages(self, records: Sequence[Record], first: int, last: int) -> Iterator[Passage]:
        wanted = {str(point): point for point in self.points}
        seen: dict[str, Counter[tuple[str | None, ...]]] = {name: Counter() for name in wanted}
        patterns = self.op.split() if self.op else None
        for index in range(first, last):
            record = records[index]
            if record[0] != Kind.REACH or record[3] not in wanted:
                continue
            op, command, hsm = record[4:7]
            facts = (command, hsm, op) if patterns else (command, hsm)
            counts = seen[record[3]]
            counts[facts] += 1
            if patterns and not (op and any(fnmatch.fnmatchcase(op, pattern) for pattern in patterns)):
                continue
            if index + 1 < len(records) and records[index + 1][0] == Kind.INJECT:
                continue
            # What is not known here is not named in the spec, and then it matches every value.
            nth = counts[facts] if None not in facts else sum(n for other, n in counts.items() if _fits(facts, other))
            yield Passage(index, wanted[record[3]], op, command, hsm, nth)

    def _faults(self, passage: Passage) -> Iterator[Fault]:
        op = passage.op if self.op else None
        when = When(op=op, command=passage.command, hsm=passage.hsm, nth=passage.nth)
        for effect in self.effects:
            if effect.name in passage.point.effects:
                try:
                    yield Fault(effect, passage.point, when)
                except UsageError:
                    continue  # such as the payload of a command that carries none: nothing can happen here


def narrower(passages: list[Passage], cases: int, limit: int) -> str:
    """Return what to say of a sweep that is too large: its numbers, and the globs that would narrow it."""
    by_point = Counter(str(passage.point) for passage in passages)
    by_op = Counter(passage.op for passage in passages if passage.op)
    share = cases / max(1, len(passages))
    lines = [f"{cases} cases are above the limit of {limit} (ini hsm_sweep_limit), and nothing was swept; narrow it:"]
    for key, counts in (("points", by_point), ("op", by_op)):
        shown = [f"{key}={name!r} about {round(number * share)}" for name, number in counts.most_common(6)]
        lines.append("  " + ", ".join(shown))
    return "\n".join(lines)


def _fits(facts: tuple[str | None, ...], other: tuple[str | None, ...]) -> bool:
    return all(mine is None or mine == theirs for mine, theirs in zip(facts, other, strict=True))


def _wrong_number(name: str, value: object, most: int) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        yield f"{name}= is a whole number, 1 to {most}; got {value!r}"


def _points(globs: object, wrong: list[str]) -> tuple[Point, ...]:
    """Return the points that globs match, in the order of the catalogue."""
    if not isinstance(globs, str) or not globs.split():
        wrong.append(f"points= takes shell patterns of points, separated by blanks, such as {POINTS!r}; got {globs!r}")
        return ()
    found: list[Point] = []
    for glob in globs.split():
        matching = [point for point in Point if fnmatch.fnmatchcase(point, glob)]
        if not matching:
            wrong.append(
                f"points={glob!r} matches no point{nearest(glob, map(str, Point))}; there are {', '.join(Point)}"
            )
        found += matching
    return tuple(point for point in Point if point in found)


def _check_op(op: object, wrong: list[str]) -> None:
    if op is None:
        return
    if not isinstance(op, str) or not op.split():
        wrong.append(f"op= takes shell patterns of operations, separated by blanks; got {op!r}")
        return
    for glob in op.split():
        if not any(fnmatch.fnmatchcase(name, glob) for name in (*OPERATIONS, *LIBRARY_ONLY)):
            hint = nearest(glob, OPERATIONS)
            wrong.append(f"op={glob!r} matches no operation{hint}; there are {', '.join(OPERATIONS)}")


def _effect(text: object, points: tuple[Point, ...], wrong: list[str]) -> Effect | None:
    """Return an effect, if one of the points can take it."""
    try:
        if not isinstance(text, str) or not text.split():
            raise UsageError(f"an effect is text such as 'crash' or 'delay 30s'; got {text!r}")
        words = [word.text for word in words_of(text)]
        if "@" in words:
            raise UsageError(f"{text!r}: effects alone are wanted, points= says where")
        if len(words) > 2:
            raise UsageError(f"{text!r}: an effect takes one argument at most")
        effect = effect_of(*words)
    except UsageError as error:
        wrong.append(str(error))
        return None
    if effect.name == "pass":
        wrong.append("'pass' breaks nothing; a sweep wants effects that do")
    elif points and not any(effect.name in point.effects for point in points):
        able = [str(point) for point in Point if effect.name in point.effects]
        wrong.append(f"none of these points can take {effect.name}; {', '.join(able)} can")
    return effect
