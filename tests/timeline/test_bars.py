"""Bars side by side in the lane of a client."""

from pytest_hsmcluster.timeline.bars import MOST_TRACKS, Bars, Track
from pytest_hsmcluster.timeline.story import Mark, Sign


def mark(sign, bar):
    return Mark(bar, 0, ("client", "app"), sign, bar=bar)


def test_a_bar_keeps_its_track_and_frees_it():
    """Two operations at once stand side by side; the next one takes the first free track."""
    bars = Bars()
    assert bars.row(mark(Sign.START, 1)) == (Track.STARTS,)
    assert bars.row(mark(Sign.START, 2)) == (Track.RUNS, Track.STARTS)
    assert bars.row(mark(Sign.END, 1)) == (Track.ENDS, Track.RUNS)
    assert bars.row(None) == (Track.EMPTY, Track.RUNS)
    assert bars.row(mark(Sign.CALL, 3)) == (Track.CALL, Track.RUNS)
    assert bars.below == (Track.EMPTY, Track.RUNS)


def test_the_bar_of_an_info_never_ends():
    """Whatever follows, an operation with unknown outcome stays open."""
    bars = Bars()
    bars.row(mark(Sign.START, 1))
    assert bars.row(mark(Sign.OPEN, 1)) == (Track.OPENS,)
    bars.row(mark(Sign.START, 2))
    bars.row(mark(Sign.END, 2))
    assert bars.below == (Track.UNKNOWN,)


def test_very_many_bars_share_the_last_track():
    """A lane does not grow without end, and what happens now is seen before what goes on."""
    bars = Bars()
    for bar in range(20):
        bars.row(mark(Sign.START, bar))
        bars.row(mark(Sign.OPEN, bar))
    assert len(bars.below) == MOST_TRACKS
    assert bars.row(mark(Sign.START, 99))[-1] is Track.STARTS
    assert bars.row(None)[-1] is Track.RUNS
    assert bars.row(mark(Sign.END, 99))[-1] is Track.ENDS
    assert bars.row(None)[-1] is Track.UNKNOWN
