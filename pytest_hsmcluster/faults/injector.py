"""Which fault, if any, strikes at this point of this call?

`Faults.reach` is the only fault mechanism.  It writes that a point was reached, asks the
injections in the order in which they were installed, and hands back the first that strikes
and is not `Pass`; whoever reached the point performs it.  This room knows no HSM.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from ..history.events import Kind
from ..history.journal import Journal
from ..sim.entropy import Entropy, Stream
from ..sim.flow import Signal
from ..sim.scheduler import Scheduler
from .effects import Effect, Pass
from .points import Point
from .spec import Fault

# Most records are reaches.  Without enum members in them the garbage collector forgets them at its first look.
_REACH = Kind.REACH.value


class Passage(Protocol):
    """What a point sees of the call that passes it; also what a `When` is matched against."""

    op: int
    op_name: str | None
    command: str | None
    hsm: str | None
    client: str | None
    user: str | None
    key: str | None
    label: str | None
    handle: int | None


class Injection:
    """One installed fault; a context manager that takes it out again.

    Attributes:
        fault: effect, point and condition.
        hits: how often it was performed (for `pass`: how often it matched).
        may_miss: whether the test may end without a hit.
        undo: by HSM, what ends an effect that lasts; done when the fault is taken out.
    """

    def __init__(self, fault: Fault, owner: "Faults", may_miss: bool, dice: Stream | None, now_ns: int) -> None:
        self.fault = fault
        self.may_miss = may_miss
        self.hits = 0
        self.held = Signal(f"release of {fault}")
        self.installed = True
        self.undo: dict[str, Callable[[], object]] = {}
        self._owner: Faults | None = owner
        self._dice = dice
        self._counts: dict[Any, int] = {}
        self._installed_ns = now_ns

    @property
    def effect(self) -> Effect:
        """What it does."""
        return self.fault.effect

    def strikes(self, passage: Passage, now_ns: int) -> bool:
        """Count this passage if it matches, and say whether the fault strikes at it."""
        when = self.fault.when
        if not self.fault.concerns(passage) or not when.open_at(now_ns - self._installed_ns):
            return False
        if when.nth is not None:
            scope = getattr(passage, when.per) if when.per else None
            if when.per == "client" and scope is not None:
                scope = scope.partition("#")[0]  # the application, whatever process it has become
            count = self._counts[scope] = self._counts.get(scope, 0) + 1
            if count != when.nth:
                return False
        return self._dice is None or self._dice.chance(when.chance or 1.0)

    def release(self) -> None:
        """Let go all who are held here; later passages are held anew."""
        if self._owner is not None:
            self._owner.let_pass(self)

    def remove(self) -> None:
        """Take the fault out; whoever is held goes on.  Doing it twice is harmless."""
        if self._owner is not None:
            self._owner.remove(self)

    def let_go(self) -> None:
        """Forget whose it is: its cluster has ended."""
        self._owner = None
        self.undo.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __str__(self) -> str:
        return str(self.fault)

    def __repr__(self) -> str:
        return f"<Injection {self.fault} hits={self.hits}>"


class Faults:
    """All faults of one cluster.

    Attributes:
        installed: what is in force, in install order.
        all: everything that was ever installed, in order.
        on_change: called after a fault was put in or taken out.
    """

    def __init__(self, journal: Journal, scheduler: Scheduler, entropy: Entropy) -> None:
        self.installed: list[Injection] = []
        self.all: list[Injection] = []
        self.on_change: Callable[[], None] | None = None
        self._append = journal.append
        self._scheduler = scheduler
        self._entropy = entropy
        self._at: dict[Point, list[Injection]] = {}
        self._ordinals: dict[str, int] = {}

    def inject(self, fault: Fault, *, may_miss: bool = False) -> Injection:
        """Install a fault and return it; it is in force until removed."""
        injection = Injection(fault, self, may_miss, self._dice(fault), self._scheduler.now_ns)
        self.installed.append(injection)
        self.all.append(injection)
        self._at.setdefault(fault.point, []).append(injection)
        if self.on_change is not None:
            self.on_change()
        return injection

    def waits_at(self, point: Point) -> bool:
        """Whether a fault is installed at a point."""
        return bool(self._at.get(point))

    def _dice(self, fault: Fault) -> Stream | None:
        """Return the dice of a fault with a chance.

        Its name is what the fault does, without names that the test chose, and its ordinal among
        those that do the same: neither another fault nor a renamed label shifts them.
        """
        if fault.when.chance is None:
            return None
        given = [f"{key}={text}" for key, text in fault.when.given if key not in ("client", "key", "user")]
        name = " ".join([str(fault.effect), fault.point, *given])
        ordinal = self._ordinals[name] = self._ordinals.get(name, 0) + 1
        return self._entropy.stream(f"fault/{name}/{ordinal}")

    def remove(self, injection: Injection) -> None:
        """Take an injection out, release whoever it holds, and end what it did that lasts."""
        with self._scheduler.alone:
            if injection.installed:
                injection.installed = False
                self.installed.remove(injection)
                self._at[injection.fault.point].remove(injection)
                self.let_pass(injection)
                while injection.undo:
                    injection.undo.popitem()[1]()
                if self.on_change is not None:
                    self.on_change()

    def let_pass(self, injection: Injection) -> None:
        """Release whoever an injection holds."""
        with self._scheduler.alone:
            held, injection.held = injection.held, Signal(injection.held.name)
            self._scheduler.fire(held)

    def let_go(self) -> None:
        """Part from all injections: the cluster has ended."""
        self.on_change = None
        for injection in self.all:
            injection.let_go()

    def reach(self, point: Point, passage: Passage) -> Injection | None:
        """Write that `point` is reached, and return the injection to perform there, or None."""
        self._append(
            (
                _REACH,
                self._scheduler.now_ns,
                passage.op,
                point._value_,
                passage.op_name,
                passage.command,
                passage.hsm,
                passage.client,
                passage.user,
                passage.key,
            )
        )
        here = self._at.get(point)
        return self._ask(here, passage) if here else None

    def _ask(self, here: list[Injection], passage: Passage) -> Injection | None:
        winner: Injection | None = None
        for injection in here:
            if not injection.strikes(passage, self._scheduler.now_ns):
                continue
            if isinstance(injection.effect, Pass):
                injection.hits += 1
            elif winner is None:
                winner = injection
        if winner is not None:
            winner.hits += 1
            self._append(
                (
                    Kind.INJECT,
                    self._scheduler.now_ns,
                    passage.op,
                    str(winner),
                    winner.fault.point,
                    passage.hsm,
                    passage.client,
                    winner.hits,
                )
            )
        return winner
