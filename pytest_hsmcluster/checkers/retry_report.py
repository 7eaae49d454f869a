"""How does an application retry, call site by call site?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_high

from ..history.places import Place
from .attempts import Chain

NO_PAUSE_NS = 1_000_000
"""A shorter wait is none: an HSM takes longer for any answer."""

JITTER = 0.1
"""By which part of the shortest wait another one is longer that is drawn by lot.

What waits may come late because others have their turn; so half of the waits have to be so much longer.
"""

SHOWN_WAITS = 4
"""Waits that the table shows of a backoff curve; of a longer one the first three and the last."""

WIDTH = 160
"""Characters in a line of the table, unless somebody says otherwise."""

_HEADINGS = (
    "call site",
    "operation",
    "calls",
    "attempts",
    "waits",
    "backs off",
    "jitter",
    "storm",
    "healed",
    "in vain",
    "blind",
)
_RIGHT = ("calls", "storm", "blind")


@dataclass(frozen=True, slots=True)
class RetrySite:
    """How one line of an application calls, and calls again.

    Attributes:
        place: the line, or None where it is not known: then it is whatever one application calls.
        operation: what it calls.
        application: who calls it; several are one row if the line is known, under the name of the first.
        chains: what it wanted, each with all its attempts, in the order in which they began.
    """

    place: Place | None
    operation: str
    application: str
    chains: tuple[Chain, ...]

    @property
    def calls(self) -> int:
        """How many things it wanted."""
        return len(self.chains)

    @property
    def retried(self) -> tuple[Chain, ...]:
        """Those that took more than one attempt."""
        return tuple(chain for chain in self.chains if len(chain.attempts) > 1)

    @property
    def typical_attempts(self) -> int:
        """The median of the attempts of a call."""
        return median_high(len(chain.attempts) for chain in self.chains)

    @property
    def most_attempts(self) -> int:
        """The most attempts that a call took."""
        return max(len(chain.attempts) for chain in self.chains)

    @property
    def waits_ns(self) -> tuple[int, ...]:
        """The backoff curve: the median wait before the second attempt, before the third, …"""
        curves = [chain.waits_ns for chain in self.chains]
        return tuple(median_high(of) for of in _columns(curves))

    @property
    def backs_off(self) -> bool | None:
        """Whether there are pauses, and they do not shrink; None if nothing was retried."""
        if not self.retried:
            return None
        return any(wait >= NO_PAUSE_NS for wait in self.waits_ns) and not self.shrinks

    @property
    def shrinks(self) -> bool:
        """Whether each wait of each call is shorter than the one before, in two cases at least.

        One that is shorter may be jitter.
        """
        steps = [after - before for chain in self.retried for before, after in pairwise(chain.waits_ns)]
        return len(steps) > 1 and max(steps) < 0

    @property
    def jitter(self) -> bool | None:
        """Whether waits before the same attempt differ from call to call; None if no two calls can be compared."""
        columns = [of for of in _columns([chain.waits_ns for chain in self.retried]) if len(of) > 1]
        longer = [wait - min(of) > max(NO_PAUSE_NS, JITTER * min(of)) for of in columns for wait in of]
        return 2 * sum(longer) >= len(longer) if longer else None

    @property
    def storm(self) -> float:
        """The storm factor: commands that were sent to HSMs per call; also one without retries may send several."""
        return sum(chain.sends for chain in self.chains) / self.calls

    @property
    def failed(self) -> tuple[Chain, ...]:
        """Those that met an error."""
        return tuple(chain for chain in self.chains if chain.errors)

    @property
    def healed(self) -> int:
        """How many that met an error were ok in the end."""
        return sum(chain.healed for chain in self.failed)

    @property
    def in_vain(self) -> tuple[str, ...]:
        """Errors that no retry heals and that were retried all the same, each once."""
        return tuple(dict.fromkeys(error for chain in self.chains for error in retried_in_vain(chain)))

    @property
    def blind_creates(self) -> int:
        """How often a key was made again without a look for the one that may have been left."""
        return sum(attempt.blind for chain in self.chains for attempt in chain.attempts)

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        typical, most = self.typical_attempts, self.most_attempts
        return (
            "not known" if self.place is None else str(self.place),
            f"{self.operation} by {self.application}" if self.place is None else self.operation,
            str(self.calls),
            str(most) if typical == most else f"{typical}, at most {most}",
            curve(self.waits_ns),
            _yes(self.backs_off),
            _yes(self.jitter),
            f"{self.storm:.1f}",
            f"{self.healed} of {len(self.failed)}" if self.failed else "–",
            ", ".join(self.in_vain) or "–",
            str(self.blind_creates) if self.blind_creates else "–",
        )


@dataclass(frozen=True, slots=True)
class RetryReport:
    """How an application retries; printed, it is a table.

    Attributes:
        sites: one row for each line and operation, in the order in which they were first called: what the application
            calls, and of what a test calls itself only what it retries.
        chains: all calls, each with its attempts, in the order in which they began.
    """

    sites: tuple[RetrySite, ...]
    chains: tuple[Chain, ...]

    def __str__(self) -> str:
        return self.table()

    def table(self, columns: int = WIDTH) -> str:
        """Return the report in lines of so many characters.

        Where a whole row is longer the call site has a line of its own; where what is left of it is longer still, its
        cells are told one after the other, those with a dash left out.  A path is never broken.
        """
        if not self.sites:
            return "retries: the application called nothing"
        rows = [_HEADINGS, *(site.cells() for site in self.sites)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if sum(widths) + 2 * len(widths) - 2 <= columns:
            return "\n".join(_line(row, widths) for row in rows)
        indent = "  "
        if len(indent) + sum(widths[1:]) + 2 * len(widths) - 4 <= columns:
            told = [(row[0], indent + _line(row[1:], widths[1:], _HEADINGS[1:])) for row in rows]
            return "\n".join(line for both in told for line in both)
        return "\n".join(line for row in rows[1:] for line in (row[0], *_told(row, columns, indent)))


def retry_report(chains: Sequence[Chain]) -> RetryReport:
    """Return the report of all calls."""
    rows: dict[tuple[object, ...], list[Chain]] = {}
    for chain in chains:
        rows.setdefault((chain.place, chain.operation, chain.place or chain.application), []).append(chain)
    sites = [RetrySite(of[0].place, of[0].operation, of[0].application, tuple(of)) for of in rows.values()]
    shown = [site for site in sites if site.place is None or not site.place.test or site.retried or site.blind_creates]
    return RetryReport(tuple(shown), tuple(chains))


def retried_in_vain(chain: Chain) -> tuple[str, ...]:
    """Return the errors that no retry heals and that were followed by another attempt, if it never became ok."""
    if chain.healed:
        return ()
    return tuple(one.error for one in chain.attempts[:-1] if one.incurable and one.error is not None)


def curve(waits_ns: Sequence[int]) -> str:
    """Return waits for people: `0.1 0.2 0.4 … 12.8 s`, or a dash for none."""
    if not waits_ns:
        return "–"
    shown = [f"{wait / 1e9:.3g}" for wait in waits_ns]
    if len(shown) > SHOWN_WAITS:
        shown[SHOWN_WAITS - 1 : -1] = ["…"]
    return f"{' '.join(shown)} s"


def _columns(curves: Iterable[Sequence[int]]) -> list[list[int]]:
    """Return for each number of an attempt the waits before it."""
    columns: list[list[int]] = []
    for waits in curves:
        for number, wait in enumerate(waits):
            columns[number:] = columns[number:] or [[]]
            columns[number].append(wait)
    return columns


def _yes(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "no"


def _line(row: Sequence[str], widths: Sequence[int], headings: Sequence[str] = _HEADINGS) -> str:
    cells = (
        cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
        for heading, cell, width in zip(headings, row, widths, strict=True)
    )
    return "  ".join(cells).rstrip()


def _told(row: Sequence[str], columns: int, indent: str) -> list[str]:
    """Return the cells of a row beside their headings, in lines."""
    cells = [row[1], *(f"{name} {cell}" for name, cell in zip(_HEADINGS[2:], row[2:], strict=True) if cell != "–")]
    lines = [indent + cells[0]]
    for cell in cells[1:]:
        longer = f"{lines[-1]}, {cell}"
        lines[-1:] = [longer] if len(longer) < columns else [f"{lines[-1]},", indent + cell]
    return lines
