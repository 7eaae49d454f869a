"""Do the stand-ins get where applications look, and away from there again?"""

import contextlib
import datetime
import gc
import queue
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_hsmcluster.apptime.patching import put_back
from tests.apptime.conftest import simulated

OWNERS: list[tuple[Any, str]] = [
    (time, name) for name in ("sleep", "time", "time_ns", "monotonic", "perf_counter", "localtime", "strftime")
]
OWNERS += [(datetime, "datetime"), (datetime, "date"), (queue, "SimpleQueue"), (threading.Condition, "wait")]
OWNERS += [(threading.Thread, name) for name in ("start", "join", "is_alive")]


def found() -> list[Any]:
    return [getattr(owner, name) for owner, name in OWNERS]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of the application that has imported nothing yet."""
    module = types.ModuleType("apptime_app")
    monkeypatch.setitem(sys.modules, "apptime_app", module)
    return module


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_everything_is_put_back(error: type[BaseException] | None) -> None:
    """Also after an exception: what is found afterwards is what was found before."""
    before = found()
    with contextlib.suppress(ValueError, KeyboardInterrupt), simulated():
        assert not any(new is old for new, old in zip(found(), before, strict=True))
        if error is not None:
            raise error
    assert all(new is old for new, old in zip(found(), before, strict=True))


def test_what_is_imported_within_the_block_is_put_back(app: types.ModuleType) -> None:
    """A module that comes meanwhile gets stand-ins by its own import; afterwards it has the real functions."""
    with simulated():
        exec("from time import sleep, monotonic as now\nfrom datetime import datetime, date", app.__dict__)
        assert app.now() == 1_000_000
        assert app.datetime.now().year == 2025
    assert (app.sleep, app.now) == (time.sleep, time.monotonic)
    assert app.datetime is datetime.datetime and app.date is datetime.date


def test_module_from_a_file_is_simulated_at_every_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the application is looked through anew each time, whatever it has rebound meanwhile."""
    (tmp_path / "apptime_file.py").write_text("from time import monotonic as now\npause = int\n")
    monkeypatch.syspath_prepend(tmp_path)
    import apptime_file

    for kept in (apptime_file.now, time.monotonic):
        monkeypatch.setattr(apptime_file, "pause", kept)
        with simulated():
            assert apptime_file.now() == apptime_file.pause() == 1_000_000
    assert apptime_file.pause is apptime_file.now is time.monotonic


def test_variable_that_is_filled_later_is_found(app: types.ModuleType) -> None:
    """`clock = None` at import, a function at the first call, before or within the block."""
    app.clock = None
    with simulated():
        pass
    app.clock = time.monotonic
    with simulated():
        assert app.clock() == 1_000_000
        app.clock = None
    with simulated():
        app.clock = time.monotonic
    assert app.clock is time.monotonic


def test_what_a_later_fixture_brings_back_is_put_away(app: types.ModuleType) -> None:
    """Somebody keeps what he finds within the block, and restores it after its end."""
    real = time.sleep
    with simulated():
        kept = time.sleep
    app.sleep = kept
    put_back()
    assert app.sleep is real


def test_put_back_leaves_alone_who_still_lives_in_simulated_time() -> None:
    with simulated():
        put_back()
        assert time.monotonic() == 1_000_000


def test_blocks_of_several_threads_may_overlap() -> None:
    """Each has its own time; the stand-ins stay until the last one has ended."""
    real, inside, go = time.sleep, threading.Event(), threading.Event()
    told = list[float]()

    def live() -> None:
        with simulated():
            time.sleep(60)
            inside.set()
            while not go.is_set():
                time.sleep(1e-9)
            told.append(time.monotonic())

    thread = threading.Thread(target=live)
    with simulated():
        pass
    thread.start()
    inside.wait()
    with simulated():
        time.sleep(5)
        assert time.monotonic() == 1_000_005
    assert time.sleep is not real
    go.set()
    thread.join()
    assert told[0] == pytest.approx(1_000_060, abs=1)
    assert time.sleep is real


def test_modules_are_not_kept_alive() -> None:
    """A module that was looked through and forgotten by everybody else is collected."""
    module = types.ModuleType("apptime_gone")
    module.sleep = time.sleep  # type: ignore[attr-defined]
    sys.modules["apptime_gone"] = module
    with simulated():
        pass
    gone = weakref.ref(sys.modules.pop("apptime_gone"))
    del module
    gc.collect()
    assert gone() is None


def test_strange_things_among_the_modules_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, objects that are no modules, and objects that say that they are."""

    class Liar:
        __slots__ = ()
        __class__ = types.ModuleType  # type: ignore[assignment]

    for number, thing in enumerate((None, 3, Liar())):
        monkeypatch.setitem(sys.modules, f"apptime_strange_{number}", thing)
    with simulated():
        assert time.monotonic() == 1_000_000


def keep(clock: Callable[[], float] = time.monotonic) -> float:
    return clock()


class Kept:
    clock = staticmethod(time.monotonic)
    table = ({"clock": time.monotonic},)


def test_limits_are_as_documented(app_time: object) -> None:
    """Default arguments, class attributes, containers, closures from before the block keep the real function."""
    assert 1_000_000 not in (keep(), Kept.clock(), Kept.table[0]["clock"]())
