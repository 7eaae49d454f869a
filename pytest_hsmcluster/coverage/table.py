"""What does a person read about fault coverage?"""

from collections.abc import Iterator, Sequence

from ..timeline.columns import clipped, padded, plain, width_of, wrapped
from .matrix import Matrix, Site, State
from .mode import Mode

Line = list[tuple[str, str]]
"""Pieces of a line, each with the name of its style: empty, `bold`, `green`, `red`, `yellow`."""

MOST_TESTS = 8
"""Tests that are listed with the cells that failed in them; the JSON file has more."""

NAME_WIDTH = 20

_SIGNS: dict[State, tuple[str, str]] = {"survived": ("+", "green"), "failed": ("✗", "red"), "never": ("·", "yellow")}
_ASCII = {"✗": "x", "·": "."}


def total(matrix: Matrix) -> str:
    """Return one line: the percentage and the counts behind it."""
    counts = matrix.counts()
    sites = len(matrix.columns())
    return (
        f"fault coverage {shown(matrix.percent)} % of {sum(counts.values())} failure modes at {sites} "
        f"call site{'' if sites == 1 else 's'}: "
        f"{counts['survived']} survived, {counts['failed']} failed, {counts['never']} never met"
    )


def shown(percent: float) -> str:
    """Return a percentage as text; only all of it is 100, and only nothing is 0."""
    return f"{min(max(percent, 0.1), 99.9):.1f}" if 0 < percent < 100 else f"{percent:.0f}"


class Table:
    """Lays out a matrix for a terminal: sites, failures × sites, what was never met, what failed.

    Args:
        matrix: with at least one site.
        width: columns of the terminal.
        ascii: use no character beyond ASCII.
    """

    def __init__(self, matrix: Matrix, *, width: int, ascii: bool = False) -> None:
        self._matrix = matrix
        self._columns = list(matrix.columns().items())
        self._width = max(width, 60)
        self._ascii = ascii
        self._digits = len(str(len(self._columns)))

    def lines(self) -> Iterator[Line]:
        """Yield the lines, without line ends."""
        yield from self._sites()
        yield []
        yield from self._legend()
        yield from self._grid()
        yield from self._never()
        yield from self._failed()
        if self._matrix.unplaced:
            yield []
            yield from self._text(f"{self._matrix.unplaced} calls came from no line that can be named")

    # -- parts -----------------------------------------------------------------------------

    def _sites(self) -> Iterator[Line]:
        if self._columns[0][0].test:
            yield from self._text("no application called a cluster; these are the tests' own calls")
        for number, (site, column) in enumerate(self._columns, 1):
            states = list(column.states().values())
            score = f"{states.count('survived')} of {len(states)}"
            room = self._width - self._digits - 2 - len(score) - 2
            text = self._fitting(site, room)
            style = "red" if "failed" in states else "green" if "never" not in states else ""
            yield [
                (f"{number:>{self._digits}}  ", "bold"),
                (padded(text, room) + "  ", ""),
                (score, style),
            ]

    def _legend(self) -> Iterator[Line]:
        signs = {state: (self._plain(sign), style) for state, (sign, style) in _SIGNS.items()}
        yield [
            signs["survived"],
            (" survived   ", ""),
            signs["failed"],
            (" failed   ", ""),
            signs["never"],
            (" never met", ""),
        ]

    def _grid(self) -> Iterator[Line]:
        """Yield failures × sites, in as many panels as the sites need."""
        modes = list(self._matrix.met_anywhere())
        fits = max((self._width - NAME_WIDTH - 2) // (self._digits + 1), 1)
        states = [column.states() for _, column in self._columns]
        for first in range(0, len(states), fits) if modes else ():
            here = range(first, min(first + fits, len(states)))
            yield []
            numbers = "".join(f" {number + 1:>{self._digits}}" for number in here)
            yield [(" " * (NAME_WIDTH + 2) + numbers, "bold")]
            yield from self._panel(modes, [states[number] for number in here])

    def _panel(self, modes: Sequence[Mode], states: Sequence[dict[str, State]]) -> Iterator[Line]:
        group = ""
        for mode in modes:
            if not any(mode.name in column for column in states):
                continue  # of other sites, in another panel
            if mode.group != group:
                group = mode.group
                yield [(group, "bold")]
            line: Line = [(padded(f"  {mode.name}", NAME_WIDTH + 2), "")]
            for column in states:
                sign, style = _SIGNS[column[mode.name]] if mode.name in column else (" ", "")
                line.append((f" {self._plain(sign):>{self._digits}}", style))
            while line[-1][0].isspace():
                line.pop()
            yield line

    def _never(self) -> Iterator[Line]:
        """Yield the failures that no site has met, and how to meet them."""
        modes = list(self._matrix.met_nowhere())
        if modes:
            yield []
            yield [("met nowhere", "bold"), (", and how a test gets there", "")]
        for mode in modes:
            yield from self._entry(mode.name, f"{mode.meaning} — {mode.how}", "yellow")

    def _failed(self) -> Iterator[Line]:
        """Yield failing tests, as ids to paste, and what was met in them where."""
        tests: dict[str, dict[str, list[str]]] = {}
        for mode in self._matrix.met_anywhere():
            for number, (_, column) in enumerate(self._columns, 1):
                for test in column.cells[mode.name].tests if mode.name in column.cells else ():
                    tests.setdefault(test, {}).setdefault(mode.name, []).append(str(number))
        if tests:
            yield []
            yield [("failed", "bold"), (": tests, what was met in them, and where", "")]
        for test in sorted(tests)[:MOST_TESTS]:
            yield [("  " + self._plain(test), "")]  # never broken into lines, so that it can be pasted
            met = "; ".join(f"{name} at {', '.join(numbers)}" for name, numbers in tests[test].items())
            yield from self._text(met, 4, "red")
        if len(tests) > MOST_TESTS:
            yield from self._text(f"and {len(tests) - MOST_TESTS} more tests: --hsm-coverage-json", 2)

    # -- inside ------------------------------------------------------------------------------

    def _entry(self, head: str, text: str, style: str) -> Iterator[Line]:
        indent = NAME_WIDTH + 6
        first, *rest = wrapped(self._plain(text), self._width - indent)
        yield [(padded(f"  {head}", indent - 1) + " ", style), (first, "")]
        yield from ([(" " * indent + line, "")] for line in rest)

    def _text(self, text: str, indent: int = 0, style: str = "") -> Iterator[Line]:
        for line in wrapped(self._plain(text), self._width - indent):
            yield [(" " * indent + line, style)]

    def _fitting(self, site: Site, room: int) -> str:
        """Return a site as text that fits, the end of its path rather than the beginning."""
        text = self._plain(str(site))
        if width_of(text) <= room:
            return text
        rest = self._plain(f":{site.line} {site.function}, {site.operation}")
        dots = self._plain("…")
        keep = room - width_of(rest) - width_of(dots)
        path = self._plain(site.path)
        return clipped(dots + path[max(len(path) - max(keep, 8), 0) :] + rest, room)

    def _plain(self, text: str) -> str:
        if self._ascii:
            for sign, instead in _ASCII.items():
                text = text.replace(sign, instead)
            text = text.replace("—", "-")
        return plain(text, ascii=self._ascii)
