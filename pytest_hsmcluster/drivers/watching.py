"""Does a thread wait for something that simulated time knows nothing of: a lock of the application's own, a socket?

Nobody tells.  So one looks: a thread is taken to wait if, over several looks, it stands at the same place and does not
use a processor, while nobody else keeps it from running.

What it waits for makes a difference.  A lock comes free in somebody's turn, so the turn is taken at once, and who goes
on does not depend on the machine.  A file, a socket or another process answers in real time: there all others stand
still for a while, so that nothing depends on how fast the answer is; and if that is not enough, the journal says so.
"""

import ctypes
import os
import platform
import sys
from enum import Enum, auto
from pathlib import Path
from threading import get_native_id
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from .pace import pause

if TYPE_CHECKING:
    from .company import Company

LOOK_S = 0.001
"""Real seconds between two looks: time for a thread that can run to run."""

_STATES = Path("/proc/self/task")  # Linux says of each thread whether it runs
LOOKS = 4 if _STATES.exists() else 40
"""Looks that must show the same."""

TIDYING = 500
"""Milliseconds of a processor's that an actor may use in one turn when it is told to end."""

LOOKS_FOR_THE_INTERPRETER = 20
"""As many if the wait has a limit: a thread that waits for the interpreter's lock wakes up every 5 ms, and looks."""

_FUTEX = {"x86_64": "202", "aarch64": "98", "riscv64": "98", "i686": "240", "armv7l": "240"}.get(platform.machine())
"""Number of Linux's call in which a thread waits for another one."""

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

_PROMPTS = ("bdb.py", "cmd.py", "code.py", "pdb.py")
"""Files of the standard library in which somebody at the keyboard is asked."""


class Standing(Enum):
    """What a thread does that has the turn, or will come back for one."""

    RUNS = auto()
    IN_LINE = auto()  # for a lock or another thread, or nobody knows what for
    AWAY = auto()  # for a file, a socket, another process


class Watched:
    """One thread to look at.  It is made on that thread."""

    __slots__ = ("_call", "_ident", "_status")

    def __init__(self, ident: int) -> None:
        self._ident = ident
        self._status = _STATES / str(get_native_id()) / "stat"
        self._call = self._status.with_name("syscall")

    def look(self) -> Standing:
        """Look several times, and return what the thread did all the while."""
        first = self._stands()
        if first is None:
            return Standing.RUNS
        looks = LOOKS_FOR_THE_INTERPRETER if first.hasty else LOOKS
        for _ in range(looks):
            pause(LOOK_S)
            if self._stands() != first:
                return Standing.RUNS
        return Standing.AWAY if first.away else Standing.IN_LINE

    def used_s(self) -> float:
        """Return how long it has used a processor; 0 where the system does not tell."""
        try:
            told = self._status.read_text().rpartition(")")[2].split()
            return (int(told[11]) + int(told[12])) / _TICKS
        except (OSError, IndexError):
            return 0.0

    def at_prompt(self) -> bool:
        """Whether somebody at the keyboard is asked, and may take as long as they like."""
        frame = sys._current_frames().get(self._ident)
        while frame is not None and os.path.basename(frame.f_code.co_filename) not in _PROMPTS:
            frame = frame.f_back
        return frame is not None

    def where(self) -> str:
        """Return where it stands, innermost last line of the application's: `file:line in function`."""
        frame = sys._current_frames().get(self._ident)
        while frame is not None and _of_ours(frame):
            frame = frame.f_back
        return "nowhere" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"

    def interrupt(self, error: type[BaseException]) -> None:
        """Have an exception raised there, as soon as it runs Python code."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._ident), ctypes.py_object(error))

    def _stands(self) -> "_Stand | None":
        """Return where it stands and in what; None if it runs, waits for a disk, or stands in our own code."""
        frame = sys._current_frames().get(self._ident)
        if frame is None or _in_package(frame):
            return None
        place = frame, frame.f_lasti
        try:
            if self._status.read_text().rpartition(")")[2].split()[0] in "RD":
                return None
            call, *told = self._call.read_text().split()
            futex = _FUTEX in (None, call)
            hasty = futex and len(told) > 3 and told[3] != "0x0"
            switches = self._switched() if hasty else ""
        except (OSError, IndexError, ValueError):  # it may end between any two of these looks
            return _Stand(*place, away=False, hasty=False, switches="")
        return _Stand(*place, away=not futex, hasty=hasty, switches=switches)

    def _switched(self) -> str:
        """Return how often it has gone to sleep."""
        for line in self._call.with_name("status").read_text().splitlines():
            if line.startswith("voluntary"):
                return line
        return ""


class _Stand(NamedTuple):
    """A thread that does not run.

    Attributes:
        frame, instruction: where it stands.
        away: whether it waits for the world, and not for another thread.
        hasty: whether its wait has a limit.
        switches: how often it has gone to sleep, if its wait has a limit.
    """

    frame: FrameType
    instruction: int
    away: bool
    hasty: bool
    switches: str


def watch(company: "Company") -> None:
    """See to it, on a thread of its own, that nobody keeps the turn who waits for something else, or for ever."""
    turn, away, used_s, looks = -1, 0, 0.0, 0
    while not company.closed:
        company.look_away(LOOK_S)
        seen = company.watched()
        if seen is None:
            continue
        holder, watched, number = seen
        if turn != number:
            turn, away, used_s, looks = number, 0, watched.used_s(), 0
        looks += 1
        standing = watched.look()
        away = away + 1 if standing is Standing.AWAY else 0
        if standing is Standing.RUNS:
            spent = (watched.used_s() - used_s) / LOOK_S or looks
            if spent > (TIDYING if holder.group.ending else company.diligence) and not watched.at_prompt():
                used_s, looks = watched.used_s(), 0
                company.stop(holder)
        elif watched.at_prompt():
            continue
        elif standing is Standing.IN_LINE or company.doubted or away > company.courtesy:
            company.take_turn_from(holder, turn, away=standing is Standing.AWAY)


_PACKAGE = str(Path(__file__).parents[1])
_THREADING = sys.modules["threading"].__file__


def _in_package(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_PACKAGE)


def _of_ours(frame: FrameType) -> bool:
    return _in_package(frame) or frame.f_code.co_filename == _THREADING
