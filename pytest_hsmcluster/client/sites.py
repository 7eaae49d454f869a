"""Where in the application was an operation called?

A *site* is the first frame outside this package, outside the standard library and outside pytest: a file, a line, a
function.  Sites stay in a table beside the journal: no file name and no line number ever enters that, or its digest.
Every call is noted, so noting is quick: what is kept is a piece of code and an offset, which become a line when
somebody asks.
"""

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE
from pathlib import Path, PurePath
from types import CodeType, FrameType
from weakref import WeakKeyDictionary

from ..drivers.awaiting import task_here, task_origin, thread_here
from ..history.places import OURS, UNKNOWN, Place, Site

ORIGIN_DEPTH = 12
"""Frames that Python keeps for each coroutine, so that a call is found that was handed to a task as it is."""

TEST_FILES = ("test_*.py", "*_test.py")
TEST_FOLDERS = ("test", "tests")
BINDINGS = {"pkcs11", "PyKCS11"}
"""Packages that hand calls on to the PKCS#11 library: whoever calls them is the caller, as whoever calls us."""

_PACKAGE = str(Path(__file__).parents[1])
_STDLIB = tuple(os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib"))

_ASYNC = CO_COROUTINE | CO_ITERABLE_COROUTINE | CO_ASYNC_GENERATOR

# Whose file it is.  Plain numbers: they are compared for each frame of each call.
_PASSED = 1  # ours, the standard library's, pytest's
_HOOK = 2  # a hook of pytest: beyond it nobody of interest called
_LOOP = 3  # a turn of an asyncio loop, or of trio's: nor here
_LIBRARY = 4
_TEST = 5
_APPLICATION = 6

Mark = tuple[CodeType, int, int | None] | Site
"""A call as it is noted: code, offset in it and caller; or what is known of it already."""


class Ground:
    """Tells the application's files from all others.

    Args:
        root: the project's folder, to which paths are relative.
        tests: patterns of the names of test files, as pytest's `python_files`.

    Attributes:
        zones: file name → whose it is; those that were asked for.
    """

    def __init__(self, root: str | Path, tests: Sequence[str] = TEST_FILES) -> None:
        self.zones: dict[str, int] = {}
        self._root = str(root)
        self._tests = (*tests, "conftest.py")

    def zone(self, file: str) -> int:
        """Return whose file it is, and remember it."""
        zone = self.zones[file] = _judged(file, self._root, self._tests)
        return zone

    def place(self, file: str, line: int, function: str) -> Place:
        """Return a line of a file as people and machines elsewhere know it."""
        test = self.zone(file) == _TEST
        return Place(_shown(file, self._root), line, function.partition(".<locals>")[0], test)

    def chosen(self, calls: Iterable[tuple[str, int, str]]) -> Place | None:
        """Return the innermost line of the application; without one that of a library, or else that of a test.

        Args:
            calls: file, line and function of each frame, innermost first.
        """
        second: tuple[str, int, str] | None = None
        for call in calls:
            zone = self.zones.get(call[0]) or self.zone(call[0])
            if zone == _APPLICATION:
                return self.place(*call)
            if zone == _HOOK:
                return self.place(*second) if second else OURS
            if zone == _LOOP:
                break
            if zone != _PASSED:
                second = second or call
        return second and self.place(*second)


class Sites:
    """Notes the site of each operation of one cluster.

    Attributes:
        ground: whose file is whose; None is that of the current directory.
        marks: number of an operation → what `here()` returned for it.
        notes: number of an operation → what was wrong with the call itself.
    """

    def __init__(self) -> None:
        self.ground: Ground | None = None
        self.marks: dict[int, Mark] = {}
        self.notes: dict[int, str] = {}
        self._tasks: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._seen_tasks = 0
        self._depth_before: int | None = None

    def here(self) -> Mark:
        """Return who calls: the innermost line of the application on the stack; else of a library, or else of a test.

        A library that calls back into a test is a harness (Hypothesis, say), so behind a test none is looked for.
        It is asked by what a client's method calls, at some depth.
        """
        ground = self.ground
        if ground is None:
            ground = self.ground = Ground(os.getcwd())
        zones, second = ground.zones, None
        frame: FrameType | None = sys._getframe(3)
        while frame is not None:
            code = frame.f_code
            zone = zones.get(code.co_filename) or ground.zone(code.co_filename)
            if zone != _PASSED:
                if zone == _APPLICATION:
                    return code, frame.f_lasti, self._task() if code.co_flags & _ASYNC else thread_here()
                if zone == _HOOK:
                    return second or Site(OURS, None)
                if zone == _LOOP:
                    break
                if second is None:
                    second = code, frame.f_lasti, self._task() if code.co_flags & _ASYNC else thread_here()
            frame = frame.f_back
        # `create_task(client.sign(...))` has no caller on the stack, but Python may have kept who made the coroutine.
        return second or Site(ground.chosen(task_origin()), None)

    def caller(self) -> Place | None:
        """Return the line that calls just now; None where nobody can be named."""
        return self._known(self.here()).place

    def __call__(self, op: int) -> Site:
        """Return the site of an operation; of one that there has not been nothing is known."""
        site, why = self._known(self.marks.get(op, UNKNOWN)), self.notes.get(op)
        return site._replace(why=why) if why else site

    def _known(self, mark: Mark) -> Site:
        if isinstance(mark, Site):
            return mark
        assert self.ground is not None, "what is noted was judged"
        code, offset, caller = mark
        return Site(self.ground.place(code.co_filename, _line(code, offset), code.co_qualname), caller)

    def places(self) -> dict[int, Place | None]:
        """Return number of an operation → its place, `OURS`, or None when nobody can be named."""
        return {op: self(op).place for op in self.marks}

    def keep_origins(self) -> None:
        """Have Python keep where coroutines are made, on this thread, until `close()`."""
        depth = sys.get_coroutine_origin_tracking_depth()
        if depth < ORIGIN_DEPTH and self._depth_before is None:
            self._depth_before = depth
            sys.set_coroutine_origin_tracking_depth(ORIGIN_DEPTH)

    def close(self) -> None:
        """Let Python forget again where coroutines are made."""
        if self._depth_before is not None:
            sys.set_coroutine_origin_tracking_depth(self._depth_before)
            self._depth_before = None

    def _task(self) -> int:
        """Return a number for the running task that no thread has; outside of a task that of the thread."""
        task = task_here()
        if task is None:
            return thread_here()
        number = self._tasks.get(task)
        if number is None:
            self._seen_tasks += 1
            number = self._tasks[task] = -self._seen_tasks
        return number


def _line(code: CodeType, offset: int) -> int:
    return next((line for start, end, line in code.co_lines() if start <= offset < end and line), code.co_firstlineno)


# A pure function of its arguments, remembered for the next cluster: a run makes thousands.
@lru_cache(maxsize=4096)
def _judged(file: str, root: str, tests: tuple[str, ...]) -> int:
    parts = PurePath(file).parts
    if "pluggy" in parts:
        return _HOOK
    if parts[-2:] == ("asyncio", "events.py") or parts[-3:] == ("trio", "_core", "_run.py"):
        return _LOOP
    if file.startswith((_PACKAGE + os.sep, "<")) or "_pytest" in parts:
        return _PASSED
    for folder in ("site-packages", "dist-packages"):
        if folder in parts:
            return _PASSED if parts[parts.index(folder) + 1] in BINDINGS else _LIBRARY
    if file.startswith(_STDLIB):
        return _PASSED
    within = PurePath(os.path.relpath(file, root)) if _below(file, root) else PurePath(file)
    named = any(fnmatch(within.name, pattern) or fnmatch(str(within), pattern) for pattern in tests)
    return _TEST if named or set(within.parts[:-1]) & set(TEST_FOLDERS) else _APPLICATION


def _shown(file: str, root: str) -> str:
    """Return a path that says the same on every machine, as far as there is one."""
    for base in (root, *site.getsitepackages()):
        if _below(file, base):
            return PurePath(os.path.relpath(file, base)).as_posix()
    return PurePath(file).as_posix()


def _below(file: str, folder: str) -> bool:
    return file.startswith(os.path.join(folder, ""))
