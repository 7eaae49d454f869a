"""What does a cluster suffer, how often did it strike, and how is it written down?"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .errors import UsageError
from .faults.effects import duration_ns
from .faults.injector import Injection
from .faults.points import nearest
from .faults.spec import Scenario
from .faults.when import When, value_of
from .sim.clock import NS

if TYPE_CHECKING:
    from .installer import Installer
    from .service.hsm import Hsm


DURING = "during"
"""The argument that every scenario takes: the window in which it lasts, counted as for faults from its installation."""


class Hardship:
    """Something that a cluster suffers; a context manager that ends it.

    `str()` is the spec of its scenario.

    Attributes:
        name: of the scenario.
        arguments: what the scenario was given, None where it was left out.
        injections: the faults that it consists of, if any; the first is its cause.
        active: whether it has not ended.
        may_miss: whether the test may end before it strikes.
        replacement: the HSM that joins instead of a lost one, if one does.
    """

    def __init__(
        self,
        chaos: "Installer",
        name: str,
        arguments: Mapping[str, Any],
        undo: Callable[[], object] | None = None,
        injections: tuple[Injection, ...] = (),
        hits: Callable[[], int] | None = None,
    ) -> None:
        self.name = name
        self.arguments = dict(arguments)
        self.injections = injections
        self.active = True
        self.may_miss = False
        self.replacement: Hsm | None = None
        self._chaos: Installer | None = chaos
        self._undo = undo
        self._hits = hits

    @property
    def hits(self) -> int:
        """How often it struck: of faults, as often as its cause was performed; of what happens at once, 1."""
        if self._hits is not None:
            return self._hits()
        return self.injections[0].hits if self.injections else 1

    def end(self) -> None:
        """Take back what it did.  Doing it twice is harmless."""
        chaos, self._chaos = self._chaos, None
        if chaos is not None:
            with chaos.scheduler.alone:
                try:
                    chaos.scheduler.catch_up()
                finally:
                    self._take_back(chaos)

    def _take_back(self, chaos: "Installer") -> None:
        self.active = False
        struck = self.hits
        self._hits = lambda: struck  # what is taken back below is no reason to count differently
        for kept in (chaos.hardships, chaos.awaited):
            if self in kept:
                kept.remove(self)
        for injection in self.injections:
            injection.remove()
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def become(self, begun: "Hardship", cancel: Callable[[], object]) -> None:
        """Be from now on what has just begun, and end as that does.

        Args:
            begun: a hardship that is not used otherwise.
            cancel: called as well when this one ends.
        """

        def undo() -> None:
            cancel()
            if begun._undo is not None:
                begun._undo()

        self._undo, self.replacement, self.injections = undo, begun.replacement, begun.injections
        self._hits = lambda: begun.hits
        for injection in self.injections:
            injection.may_miss = injection.may_miss or self.may_miss

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def __str__(self) -> str:
        given = ((key, _text(value)) for key, value in self.arguments.items() if value is not None)
        return str(Scenario(self.name, tuple(given)))

    def __repr__(self) -> str:
        return f"<Hardship {self} {'active' if self.active else 'ended'}>"


@dataclass(frozen=True, slots=True)
class ScenarioKind:
    """A scenario that markers and the command line know by name.

    Attributes:
        name: as it is written.
        meaning: in one line.
        apply: called with the chaos and the arguments.
        positional: name of the argument that may stand without a key, or None.
    """

    name: str
    meaning: str
    apply: Callable[..., Any]
    positional: str | None = None

    def install(self, chaos: "Installer", spec: Scenario) -> Hardship:
        """Begin the scenario that a spec names, or have it begin and end in the window of its `during=`.

        Raises:
            UsageError: arguments that are missing, unknown or not of the right kind, or that make no sense here.
        """
        values = self.arguments(spec)
        window = values.pop(DURING) if DURING in values and DURING not in self._wanted() else None

        def begin() -> Hardship:
            there: list[Hardship | Injection] = [*chaos.hardships, *chaos.injections]
            result = self.apply(chaos, **values)
            if isinstance(result, Hardship):
                return result
            parts: list[Hardship | Injection] = [*chaos.injections, *chaos.hardships]
            parts = [one for one in parts if one not in there]
            return chaos.began(self.name, values, lambda: _end(parts))

        return begin() if window is None else chaos.in_window(self.name, values, window, begin)

    def _wanted(self) -> dict[str, inspect.Parameter]:
        return dict(list(inspect.signature(self.apply).parameters.items())[1:])  # the first is the chaos

    def arguments(self, spec: Scenario) -> dict[str, Any]:
        """Return the arguments of a spec, converted to what the verb takes."""
        wanted = self._wanted()
        known = list(dict.fromkeys([*wanted, DURING]))
        given = list(spec.arguments)
        if spec.positional:
            if self.positional is None or len(spec.positional) > 1:
                raise UsageError(f"{spec}: {self.name} takes arguments by key: {', '.join(known)}")
            given.insert(0, (self.positional, spec.positional[0]))
        values: dict[str, Any] = {}
        for key, text in given:
            if key not in known:
                raise UsageError(
                    f"{spec}: {self.name} has no argument {key!r}{nearest(key, known)}; it takes {', '.join(known)}"
                )
            if key in values:
                raise UsageError(f"{spec}: {key}= is given twice")
            if key in wanted:
                values[key] = _converted(spec, key, text, wanted[key].annotation)
            else:
                values[key] = _window(spec, text)
        missing = [name for name, one in wanted.items() if one.default is one.empty and name not in values]
        if missing:
            raise UsageError(f"{spec}: {self.name} needs {', '.join(f'{name}=' for name in missing)}")
        return values


def _end(parts: "list[Hardship | Injection]") -> None:
    for part in reversed(parts):
        if isinstance(part, Hardship):
            part.end()
        else:
            part.remove()


def _converted(spec: Scenario, key: str, text: str, annotation: Any) -> Any:
    try:
        if annotation in (int, "int"):
            return int(text)
        if annotation in (float, "float"):
            return duration_ns(text) / NS if text[-1:].isalpha() else float(text)
    except (ValueError, UsageError):
        what = "a whole number" if annotation in (int, "int") else "a duration such as 30s, or a number of seconds"
        raise UsageError(f"{spec}: {key}= is {what}; got {text!r}") from None
    return text


def _window(spec: Scenario, text: str) -> object:
    try:
        return value_of(DURING, text)
    except UsageError as error:
        raise UsageError(f"{spec}: {error}") from None


def _text(value: object) -> str:
    """Return one spelling for equal values: 30 and 30.0 seconds are the same."""
    if isinstance(value, tuple):
        return dict(When(during=value).given)[DURING]
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
