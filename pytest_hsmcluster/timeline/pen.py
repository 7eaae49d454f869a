"""In which characters are bars, instants and lists of names written?"""

from collections.abc import Sequence
from dataclasses import dataclass

from .bars import Track
from .columns import plain
from .layout import MOST_NAMES, Layout


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of a timeline."""

    tracks: dict[Track, str]
    fault: str
    dead: str
    rule: str
    here: str
    alive: str
    skipped: str
    arrow: str
    times: str


UNICODE = Glyphs(
    {
        Track.EMPTY: " ",
        Track.STARTS: "┌",
        Track.RUNS: "│",
        Track.ENDS: "└",
        Track.CALL: "╶",
        Track.OPENS: "├",
        Track.UNKNOWN: "┊",
    },
    fault="⚡",
    dead="†",
    rule="─",
    here="▶",
    alive="·",
    skipped="⋮",
    arrow="→",
    times="×",
)
ASCII = Glyphs(
    {
        Track.EMPTY: " ",
        Track.STARTS: "/",
        Track.RUNS: "|",
        Track.ENDS: "\\",
        Track.CALL: "-",
        Track.OPENS: "?",
        Track.UNKNOWN: ":",
    },
    fault="!",
    dead="~",
    rule="-",
    here=">",
    alive=".",
    skipped=":",
    arrow="->",
    times="x",
)


class Pen:
    """Writes what one timeline has in common: its characters, its precision, its order of names.

    Args:
        plan: instants are written with ms where that is exact for all its rows, with µs otherwise.
        ascii: use no character beyond ASCII.
    """

    def __init__(self, plan: Layout, *, ascii: bool) -> None:
        self.glyphs = ASCII if ascii else UNICODE
        self._wanted = plan.wanted
        self._digits = 3 if all(row.at_ns % 1_000_000 == 0 for row in plan.rows) else 6

    def at(self, instant_ns: int) -> str:
        """Return an instant as seconds since the start."""
        whole, rest = divmod(abs(instant_ns), 1_000_000_000)
        return f"{'-' * (instant_ns < 0)}{whole}.{rest:09d}"[: self._digits - 9]

    def some(self, names: Sequence[str], most: int = MOST_NAMES) -> str:
        """Return names as a list, the wanted ones first, and how many more there are."""
        first = [name for name in names if name in self._wanted]
        shown = [*first, *(name for name in names if name not in first)][:most]
        return ", ".join(shown) + (f" +{len(names) - len(shown)}" if len(names) > len(shown) else "")

    def bars(self, tracks: Sequence[Track]) -> str:
        """Return bars, each with a space after it."""
        return "".join(self.glyphs.tracks[track] + " " for track in tracks)

    def plain(self, text: str) -> str:
        """Return text that a terminal shows as it stands."""
        return plain(text, ascii=self.glyphs is ASCII)
