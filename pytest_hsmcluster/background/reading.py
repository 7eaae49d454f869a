"""What does a budget file say, and what is wrong with it?

All mistakes of a file are told at once, each with its place, what is allowed there and the nearest spelling.
"""

import tomllib
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from ..cryptoki import CKR
from ..errors import ConfigError, UsageError
from ..faults.effects import Delay, Fail, FillDisk, Pass, Pause, duration_ns, duration_text
from ..faults.points import nearest
from ..faults.spec import Fault, parse_fault
from ..scenarios import SCENARIOS
from .budget import HARDSHIPS, POWER, Budget, FaultLine, HardshipLine, Line, Promise

SHIPPED = ("light", "heavy")
"""Budgets that come with the package, as files to copy."""

TABLES = ("promise", "faults", "hardships", "tests")

PATIENCE_NS = 60_000_000_000
"""How long a correct application tries again at least (a choice of ours): what `survivable` budgets go by."""

PASSING = (
    CKR.GENERAL_ERROR,
    CKR.FUNCTION_FAILED,
    CKR.DEVICE_ERROR,
    CKR.DEVICE_REMOVED,
    CKR.KEY_HANDLE_INVALID,
    CKR.OBJECT_HANDLE_INVALID,
    CKR.OPERATION_ACTIVE,
)
"""Return values after which a correct application tries again; the others say that it did something wrong."""


def read_budget(which: str, folder: Path) -> Budget:
    """Return a budget by name (`light`, `heavy`) or from a TOML file.

    Args:
        which: the name, or the path of the file.
        folder: where a relative path begins.

    Raises:
        ConfigError: there is no such file, or everything that is wrong with it.
    """
    if which in SHIPPED:
        return budget_of(shipped(which), which)
    try:
        text = (folder / which).read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = nearest(which, SHIPPED)
        raise ConfigError(f"{which}: there is no such file in {folder}{hint}; or say {' or '.join(SHIPPED)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{which} cannot be read: {error}") from None
    return budget_of(text, which)


def shipped(name: str) -> str:
    """Return the text of a budget that comes with the package."""
    return resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def budget_of(text: str, name: str) -> Budget:
    """Return the budget that a TOML text describes.

    Args:
        text: the file's.
        name: the file's, for messages.

    Raises:
        ConfigError: no TOML, or everything that is wrong with it.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is no TOML file: {error}") from None
    reader = _Reader()
    budget = reader.budget(tables, name)
    if budget is None or reader.mistakes:
        count = len(reader.mistakes)
        lines = [f"{name} cannot be used: {count} {'mistake' if count == 1 else 'mistakes'}"]
        lines += ["    " + mistake.replace("\n", "\n    ") for mistake in reader.mistakes]
        raise ConfigError("\n".join(lines))
    return budget


class _Reader:
    """Reads tables and collects what is wrong with them."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def budget(self, tables: dict[str, Any], name: str) -> Budget | None:
        for key in tables:
            if key not in TABLES:
                self._wrong(key, f"unknown table{nearest(key, TABLES)}; there are {_listed(TABLES)}")
        promise = self._promise(self._table(tables, "promise"))
        faults = self._lines(tables, "faults", lambda key, weight: FaultLine(_fault(key), weight))
        hardships = self._lines(tables, "hardships", lambda key, weight: HardshipLine(_hardship(key), weight))
        tests = self._table(tables, "tests")
        for key in tests:
            if key not in ("only", "never"):
                self._wrong(f"tests.{key}", f"unknown key{nearest(key, ('only', 'never'))}; [tests] takes only, never")
        only, never = self._patterns(tests, "only", ("*",)), self._patterns(tests, "never", ())
        lines = (*faults, *hardships)
        if not any(line.weight for line in lines) and (lines or not self.mistakes):
            self.mistakes.append(
                "nothing could ever happen: neither [faults] nor [hardships] has a line with a weight above 0"
            )
        if promise is None:
            return None
        for line in lines:
            self._kept(promise, line)
        if promise.survivable:
            self._survivable(promise, lines)
        return Budget(name, promise, lines, only, never)

    # -- [promise] ---------------------------------------------------------------------------

    def _promise(self, table: dict[str, Any]) -> Promise | None:
        before, values = len(self.mistakes), dict[str, Any]()
        for key, value in table.items():
            if key not in _KEYS:
                self._wrong(f"promise.{key}", f"unknown key{nearest(key, _KEYS)}; [promise] takes {_listed(_KEYS)}")
                continue
            field, read = _KEYS[key]
            try:
                values[field] = read(value)
            except UsageError as error:
                self._wrong(f"promise.{key} = {_toml(value)}", str(error))
        missing = [key for key in _NEEDED if key not in table]
        if missing:
            self._wrong("promise", f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing")
        if len(self.mistakes) > before:
            return None
        promise = Promise(**values)
        if promise.together_ns < promise.longest_ns:
            self._wrong(
                f"promise.together = {_toml(table['together'])}",
                f"shorter than longest = {_toml(table['longest'])}, which could then never be drawn; make it as long",
            )
        return promise

    # -- [faults] and [hardships] ----------------------------------------------------------

    def _lines(self, tables: dict[str, Any], name: str, read: Callable[[str, int], Line]) -> tuple[Line, ...]:
        lines = []
        for key, weight in self._table(tables, name).items():
            where = f'{name}."{key}"' if " " in key else f"{name}.{key}"
            try:
                line = read(key, 0)
            except UsageError as error:
                self._wrong(where, str(error))
                continue
            if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= _HEAVIEST:
                what = f"a weight is a whole number from 0 (never) to {_HEAVIEST}"
                self._wrong(f"{where} = {_toml(weight)}", what)
                continue
            lines.append(read(key, weight) if weight else line)
        return tuple(lines)

    def _kept(self, promise: Promise, line: Line) -> None:
        """Complain about a line that the promise forbids: who reads it would expect what never comes."""
        if not line.weight:
            return
        for allowed, key, done in (
            (promise.destroyed or not line.destroys, "destroyed = 0", "an HSM would be lost for good"),
            (promise.crashed or not line.crashes, "crashed = 0", "an HSM would be off to the end of the test"),
            (promise.deaths or not line.ends_process, "deaths = 0", "an application process would be ended"),
            (promise.sweep_late_ns or not line.of_sweep, 'sweep_late = "0s"', "the service's sweep would be late"),
        ):
            if not allowed:
                self._wrong(_place(line), f"{done}, and promise.{key}: raise that, or set the weight to 0")
        if isinstance(line, FaultLine) and isinstance(line.fault.effect, Delay):
            key, limit_ns = ("longest", promise.longest_ns) if line.lasts else ("sweep_late", promise.sweep_late_ns)
            if line.fault.effect.ns > limit_ns > 0:
                self._wrong(_place(line), f"longer than promise.{key} = {duration_text(limit_ns)}")
        nth = line.fault.when.nth if isinstance(line, FaultLine) else None
        if nth is not None and nth > promise.passages:
            self._wrong(_place(line), f"nth={nth} is beyond promise.passages = {promise.passages}")

    def _survivable(self, promise: Promise, lines: Iterable[Line]) -> None:
        """Complain about what an application that only tries again does not survive."""
        why = "promise.survivable = true:"
        for key, reason in (
            ("destroyed", "what only a lost HSM had is not brought back by trying again"),
            ("crashed", "what an HSM has that stays off is not there until the end, however often one tries"),
            ("deaths", "an application process that was ended does not try again"),
        ):
            if number := getattr(promise, key):
                self._wrong(f"promise.{key} = {number}", f"{why} {reason}; set it to 0")
        if promise.untouched < 2:
            self._wrong(
                f"promise.untouched = {promise.untouched}",
                f"{why} SDK 5 makes and uses no key that is not on two HSMs; leave 2 or more alone",
            )
        if promise.together_ns > PATIENCE_NS:
            self._wrong(
                f"promise.together = {duration_text(promise.together_ns)}",
                f"{why} whoever tries again for {duration_text(PATIENCE_NS)} may have given up; not more than that",
            )
        for line in lines:
            answer = line.fault.effect if isinstance(line, FaultLine) and line.weight else None
            if isinstance(answer, Fail) and answer.error().ckr not in PASSING:
                names = _listed(f"CKR_{CKR(one).name}" for one in PASSING)
                self._wrong(
                    _place(line),
                    f"{why} {answer.answer} says that the request was wrong, nobody repeats it; {names} do",
                )

    # -- inside ------------------------------------------------------------------------------

    def _wrong(self, where: str, what: str) -> None:
        self.mistakes.append(f"{where}: {what}")

    def _table(self, tables: dict[str, Any], name: str) -> dict[str, Any]:
        table = tables.get(name, {})
        if isinstance(table, dict):
            return table
        self._wrong(f"{name} = {_toml(table)}", f"a table is wanted: [{name}]")
        return {}

    def _patterns(self, table: dict[str, Any], key: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
        given = table.get(key, [*otherwise])
        if isinstance(given, list) and all(isinstance(one, str) and one for one in given):
            return tuple(given)
        self._wrong(f"tests.{key} = {_toml(given)}", 'a list of shell patterns of node ids, such as ["tests/app/*"]')
        return otherwise


# -- values ------------------------------------------------------------------------------------


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise UsageError(f"a whole number from {least} to {most} is wanted")
        return value

    return read


def _duration(least_ns: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, str):
            raise UsageError(f'a duration in quotes is wanted, such as "{value}s"' if _number(value) else _DURATION)
        if (ns := duration_ns(value)) < least_ns:
            raise UsageError(f"{duration_text(least_ns)} or more is wanted")
        return ns

    return read


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError("true or false is wanted")
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fault(key: str) -> Fault:
    """Return the fault that a line of [faults] draws.

    Raises:
        UsageError: no spec of a fault, or one that the storm cannot keep within a promise.
    """
    if key in HARDSHIPS:
        raise UsageError("is a hardship: it belongs into [hardships]")
    if key in SCENARIOS:
        raise UsageError(_UNAIMED)
    fault = parse_fault(key)
    effect, when = fault.effect, fault.when
    if isinstance(effect, Pass):
        raise UsageError("pass lets nothing happen; leave the line out")
    if isinstance(effect, Pause | FillDisk):
        name = "gray-failure" if isinstance(effect, Pause) else "full-disk"
        raise UsageError(f"{effect.name} lasts until somebody ends it; use {name} in [hardships], which has an end")
    if when.hsm is not None or getattr(effect, "target", None) not in (None, "here"):
        raise UsageError("names an HSM: which HSMs are left alone is drawn for each test; leave the name out")
    if when.per is not None:
        raise UsageError(f"per={when.per} would let it strike again and again; a fault of a storm strikes once")
    if fault.point in POWER:
        raise UsageError(f"{fault.point} is about an HSM's power, not about a call; use crashed-hsm in [hardships]")
    return fault


def _hardship(key: str) -> str:
    """Return the name of a hardship that a line of [hardships] draws.

    Raises:
        UsageError: there is none, or it cannot be aimed or has no end.
    """
    if key in HARDSHIPS:
        return key
    if "@" in key:
        raise UsageError("is a fault: it belongs into [faults]")
    if key.partition(" ")[0] in HARDSHIPS:
        raise UsageError("is a hardship with arguments: which HSM and when is drawn; leave them out")
    if key in SCENARIOS:
        raise UsageError(_UNAIMED)
    raise UsageError(f"unknown hardship{nearest(key, HARDSHIPS)}; there are {_listed(HARDSHIPS)}")


_HEAVIEST = 1000
_UNAIMED = (
    "cannot be aimed at the HSMs that may be touched, or strikes without end; hardships of a budget are "
    + ", ".join(HARDSHIPS)
)
_DURATION = 'a duration such as "30s" is wanted'
_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "faults": ("faults", _whole(1, 100)),
    "untouched": ("untouched", _whole(0, 28)),
    "longest": ("longest_ns", _duration(10_000_000)),
    "together": ("together_ns", _duration(10_000_000)),
    "begin": ("begin_ns", _duration(1_000_000)),
    "sweep_late": ("sweep_late_ns", _duration(0)),
    "passages": ("passages", _whole(1, 100_000)),
    "destroyed": ("destroyed", _whole(0, 28)),
    "crashed": ("crashed", _whole(0, 28)),
    "deaths": ("deaths", _whole(0, 100)),
    "survivable": ("survivable", _switch),
}
"""Key of [promise] → field of `Promise`, and what reads its value."""

_NEEDED = ("faults", "untouched", "longest", "together")


def _place(line: Line) -> str:
    return f'faults."{line}"' if isinstance(line, FaultLine) else f"hardships.{line}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _toml(value: Any) -> str:
    """Return a value as it stands in the file, more or less."""
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
