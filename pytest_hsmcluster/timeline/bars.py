"""Which bars stand side by side in the lane of a client?"""

from enum import StrEnum

from .story import Mark, Sign

MOST_TRACKS = 6
"""Bars side by side in one lane; what is open beyond that shares the last track."""


class Track(StrEnum):
    """What one bar looks like in one row."""

    EMPTY = "empty"
    STARTS = "starts"
    RUNS = "runs"
    ENDS = "ends"
    CALL = "call"
    OPENS = "opens"  # the row of an `info`
    UNKNOWN = "unknown"  # below an `info`, to the end


class Bars:
    """The bars of one lane, row by row: each keeps its track from its first row to its last."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, Track]] = {}

    def row(self, mark: Mark | None) -> tuple[Track, ...]:
        """Return the tracks of the next row, from the left; `mark` is what a bar does in it."""
        if mark is None or mark.bar is None:
            return self.below
        known = self._open.get(mark.bar)
        at = self._free() if known is None else known[0]
        self._open[mark.bar] = at, _IN_ROW[mark.sign]
        tracks = self._side_by_side()
        below = after(_IN_ROW[mark.sign])
        if below is Track.EMPTY:
            del self._open[mark.bar]
        else:
            self._open[mark.bar] = at, below
        return tracks

    @property
    def below(self) -> tuple[Track, ...]:
        """The tracks where nothing happens: bars that run, and bars that never end."""
        return self._side_by_side()

    def _free(self) -> int:
        taken = [at for at, _ in self._open.values()]
        return next((at for at in range(MOST_TRACKS - 1) if at not in taken), MOST_TRACKS - 1)

    def _side_by_side(self) -> tuple[Track, ...]:
        """Return the tracks; where bars share one, what happens now hides what goes on."""
        tracks = [Track.EMPTY] * (1 + max((at for at, _ in self._open.values()), default=-1))
        for at, track in sorted(self._open.values(), key=lambda bar: _COVERS.index(bar[1])):
            tracks[at] = track
        return tuple(tracks)


def after(track: Track) -> Track:
    """Return how a track looks just below a row in which it looks like this."""
    return _AFTER.get(track, track)


_IN_ROW = {Sign.START: Track.STARTS, Sign.END: Track.ENDS, Sign.OPEN: Track.OPENS, Sign.CALL: Track.CALL}
_AFTER = {Track.STARTS: Track.RUNS, Track.OPENS: Track.UNKNOWN, Track.ENDS: Track.EMPTY, Track.CALL: Track.EMPTY}
_COVERS = (Track.EMPTY, Track.UNKNOWN, Track.RUNS, Track.STARTS, Track.ENDS, Track.OPENS, Track.CALL)
