"""Where in the application was an operation called?

A *site* is the first frame outside this package, outside the standard library and outside pytest: a file, a line, a
function.  Sites stay in a table beside the journal: no file name and no line number ever enters that, or its digest.
"""

import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from fnmatch import fnmatch
from pathlib import Path, PurePath
from types import CodeType, FrameType
from typing import NamedTuple, TypeVar

from ..drivers.awaiting import task_origin
from ..sim.flow import Flow

T = TypeVar("T")

ORIGIN_DEPTH = 12
"""Frames that Python keeps for each coroutine, so that a call is found that was handed to a task as it is."""

TEST_FOLDERS = ("test", "tests")

_PACKAGE = str(Path(__file__).parents[1])


class Place(NamedTuple):
    """A line that calls the client.

    Attributes:
        path: relative to the root of the project, with `/`.
        line: number of the line, from 1.
        function: its qualified name; a lambda or an inner function counts as what it stands in.
        test: whether the line is a test's own, and not the application's.
    """

    path: str
    line: int
    function: str
    test: bool


OURS = Place("", 0, "", True)
"""The site of what a fixture of this plugin called: nobody's."""


class _Zone(Enum):
    """Whose file it is."""

    PASSED = auto()  # ours, the standard library's, pytest's
    HOOK = auto()  # a hook of pytest: beyond it nobody of interest called
    LOOP = auto()  # a turn of an asyncio loop: nor here
    LIBRARY = auto()
    TEST = auto()
    APPLICATION = auto()


class Ground:
    """Tells the application's files from all others.

    Args:
        root: the project's folder, to which paths are relative.
        tests: patterns of the names of test files, as pytest's `python_files`.
    """

    def __init__(self, root: str | Path, tests: Sequence[str] = ("test_*.py", "*_test.py")) -> None:
        self._root = str(root)
        self._tests = (*tests, "conftest.py")
        self._stdlib = tuple(os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib"))
        self._zones: dict[str, _Zone] = {}

    def place(self, frame: FrameType | None) -> Place | None:
        """Return the site of a call, `OURS` for a fixture of this plugin, or None when nobody can be named.

        Args:
            frame: where to begin.
        """
        return self._chosen(_calls(frame)) or self._origin()

    def _chosen(self, calls: Iterator[tuple[str, int, str]]) -> Place | None:
        """Return the innermost line of the application; without one that of a library, or else that of a test.

        A library that calls back into a test is a harness (Hypothesis, say), so behind a test none is looked for.
        """
        second: Place | None = None
        for file, line, function in calls:
            zone = self._zones.get(file) or self._zone(file)
            if zone is _Zone.HOOK:
                return second or OURS
            if zone is _Zone.LOOP:
                break
            if zone is _Zone.PASSED or (second is not None and zone is not _Zone.APPLICATION):
                continue
            found = Place(self._shown(file), line, function.partition(".<locals>")[0], zone is _Zone.TEST)
            if zone is _Zone.APPLICATION:
                return found
            second = found
        return second

    def _origin(self) -> Place | None:
        """Return where the current task's call was made: `create_task(client.sign(...))` has no caller on the stack."""
        return self._chosen(iter(task_origin()))

    def _zone(self, file: str) -> _Zone:
        zone = self._zones[file] = self._judged(file)
        return zone

    def _judged(self, file: str) -> _Zone:
        parts = PurePath(file).parts
        if "pluggy" in parts:
            return _Zone.HOOK
        if parts[-2:] == ("asyncio", "events.py"):
            return _Zone.LOOP
        if file.startswith((_PACKAGE + os.sep, "<")) or "_pytest" in parts:
            return _Zone.PASSED
        if "site-packages" in parts or "dist-packages" in parts:
            return _Zone.LIBRARY
        if file.startswith(self._stdlib):
            return _Zone.PASSED
        within = PurePath(os.path.relpath(file, self._root)) if _below(file, self._root) else PurePath(file)
        named = any(fnmatch(within.name, pattern) or fnmatch(str(within), pattern) for pattern in self._tests)
        return _Zone.TEST if named or set(within.parts[:-1]) & set(TEST_FOLDERS) else _Zone.APPLICATION

    def _shown(self, file: str) -> str:
        """Return a path that says the same on every machine, as far as there is one."""
        for base in (self._root, *site.getsitepackages()):
            if _below(file, base):
                return PurePath(os.path.relpath(file, base)).as_posix()
        return PurePath(file).as_posix()


class Sites:
    """Notes the site of each operation of one cluster; see `HsmCluster.observe`.

    Args:
        ground: whose file is whose.
        last_op: gives the number of the newest operation.

    Attributes:
        at: number of an operation → its site, `OURS`, or None when nobody can be named.
    """

    def __init__(self, ground: Ground, last_op: Callable[[], int]) -> None:
        self.at: dict[int, Place | None] = {}
        self._ground = ground
        self._last_op = last_op

    def __call__(self, flow: Flow[T]) -> Flow[T]:
        """Return a flow that does the same, and whose operation is known to have been called from here."""
        return self._noted(flow, self._ground.place(sys._getframe(1)))

    def _noted(self, flow: Flow[T], place: Place | None) -> Flow[T]:
        # A flow takes the number of its operation in its first step, and nobody else steps in between.
        self.at[self._last_op() + 1] = place
        return (yield from flow)


def _calls(frame: FrameType | None) -> Iterator[tuple[str, int, str]]:
    while frame is not None:
        code: CodeType = frame.f_code
        yield code.co_filename, frame.f_lineno, code.co_qualname
        frame = frame.f_back


def _below(file: str, folder: str) -> bool:
    return file.startswith(os.path.join(folder, ""))
