"""Does a thread wait for something that simulated time knows nothing of: a lock of the application's own, a socket?

Nobody tells.  So one looks: a thread is taken to wait if, over several looks, it stands at the same place and does not
use a processor, while nobody else keeps it from running.
"""

import ctypes
import sys
from pathlib import Path
from threading import get_native_id
from types import FrameType
from typing import TYPE_CHECKING

from .pace import pause

if TYPE_CHECKING:
    from .company import Company

LOOK_S = 0.001
"""Real seconds between two looks: time for a thread that can run to run."""

_STATES = Path("/proc/self/task")  # Linux says of each thread whether it runs
LOOKS = 4 if _STATES.exists() else 40
"""Looks that must show the same."""


class Watched:
    """One thread to look at.  It is made on that thread."""

    __slots__ = ("_ident", "_status")

    def __init__(self, ident: int) -> None:
        self._ident = ident
        self._status = _STATES / str(get_native_id()) / "stat"

    def waits(self) -> bool:
        """Look several times, and return whether the thread stood still all the while."""
        first = self._stands()
        for _ in range(LOOKS):
            pause(LOOK_S)
            now = self._stands()
            if now is None or first is None or now[0] is not first[0] or now[1] != first[1] or self._runs():
                return False
        return True

    def where(self) -> str:
        """Return where it stands, innermost last line of the application's: `file:line in function`."""
        frame = sys._current_frames().get(self._ident)
        while frame is not None and _of_ours(frame):
            frame = frame.f_back
        return "nowhere" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"

    def interrupt(self, error: type[BaseException]) -> None:
        """Have an exception raised there, as soon as it runs Python code."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._ident), ctypes.py_object(error))

    def _stands(self) -> tuple[FrameType, int] | None:
        frame = sys._current_frames().get(self._ident)
        return None if frame is None or _in_package(frame) else (frame, frame.f_lasti)

    def _runs(self) -> bool:
        try:
            return self._status.read_text().rpartition(")")[2].split()[0] == "R"
        except (OSError, IndexError):
            return False


def watch(company: "Company") -> None:
    """See to it, on a thread of its own, that nobody keeps the turn who waits for something else, or for ever."""
    turn, looks = -1, 0
    while not company.closed:
        company.look_away(LOOK_S)
        seen = company.watched()
        if seen is None:
            continue
        holder, watched, number = seen
        turn, looks = number, looks + 1 if turn == number else 1
        if watched.waits():
            company.take_turn_from(holder, turn)
        elif looks > company.patience:
            looks = 0
            company.stop(holder)


_PACKAGE = str(Path(__file__).parents[1])
_THREADING = sys.modules["threading"].__file__


def _in_package(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_PACKAGE)


def _of_ours(frame: FrameType) -> bool:
    return _in_package(frame) or frame.f_code.co_filename == _THREADING
