"""How is a fault or a hardship put into a cluster, and how is it taken out again?"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from .drivers.turnstile import one_at_a_time
from .errors import UsageError
from .faults.effects import Aimed, Effect
from .faults.injector import Injection
from .faults.points import Point, nearest
from .faults.spec import Fault, parse_fault, parse_spec
from .faults.when import When
from .hardships import DURING, Hardship, ScenarioKind
from .service.service import Service
from .sim.scheduler import SERVICE_LANE
from .sim.task import Timer


@one_at_a_time
class Installer:
    """What is installed in one cluster.

    Attributes:
        scheduler: of its simulated time.
        hardships: those that have not ended, in the order in which they began.
        awaited: those whose window has not come yet.
        scenarios: by name, what `install` knows; other packages' too under pytest.
        closed: whether the cluster is; then nothing can be installed.
        calm_from: index in the journal of what came after the first `undo_all()`, None before.
    """

    def __init__(self, service: Service, scenarios: Mapping[str, ScenarioKind]) -> None:
        self.scheduler = service.world.scheduler
        self.hardships: list[Hardship] = []
        self.awaited: list[Hardship] = []
        self.scenarios = scenarios
        self.closed = False
        self.calm_from: int | None = None
        self._begun: list[Hardship] = []
        self._all_of_it = service
        self._faults = service.world.faults

    @property
    def _service(self) -> Service:
        """The service, as long as there is something to break.

        Raises:
            UsageError: the cluster is closed; its history has ended with the audit.
        """
        if self.closed:
            raise UsageError("this cluster is closed and cannot be broken any more; each test has its own")
        return self._all_of_it

    def inject(
        self,
        fault: Effect | Fault | str,
        at: Point | str | None = None,
        when: When | None = None,
        *,
        may_miss: bool = False,
    ) -> Injection:
        """Install a fault and return it; it is in force until its block or the test ends.

        Args:
            fault: an effect with `at`, or a whole fault, as a value or as a spec
                (`"crash @ hsm.commit command=insert_masked nth=1"`).
            at: the point, with an effect.
            when: at which passages, with an effect; None is all.
            may_miss: allow it never to fire; otherwise that fails the test.

        Raises:
            UsageError: the fault could never act.
        """
        if isinstance(fault, str):
            if at is not None or when is not None:
                raise UsageError("a spec says point and condition itself: leave at= and when= out")
            fault = parse_fault(fault)
        elif not isinstance(fault, Fault):
            if not isinstance(fault, Effect):
                raise UsageError(f"inject() takes an effect with its point, a Fault or a spec; got {fault!r}")
            if at is None:
                raise UsageError(f"inject({fault!r}) needs a point: at=Point.HSM_COMMIT, say")
            fault = Fault(fault, Point.of(str(at)), when or When())
        elif at is not None or when is not None:
            raise UsageError("a Fault says point and condition itself: leave at= and when= out")
        self._refuse_unknown_hsms(fault)
        return self._faults.inject(fault, may_miss=may_miss)

    def install(self, spec: str) -> Injection | Hardship:
        """Install what a spec says: a fault or a scenario.

        Raises:
            UsageError: the spec is wrong, or could never act in this cluster.
        """
        parsed = parse_spec(spec, self.scenarios)
        if isinstance(parsed, Fault):
            return self.inject(parsed)
        return self.scenarios[parsed.name].install(self, parsed)

    def allow_miss(self, installed: Injection | Hardship) -> None:
        """Let what was installed end without a hit."""
        injections = (installed,) if isinstance(installed, Injection) else installed.injections
        for injection in injections:
            injection.may_miss = True
        installed.may_miss = True

    @property
    def injections(self) -> list[Injection]:
        """Every fault that was ever installed, in install order, also those taken out again."""
        return self._faults.all.copy()

    @property
    def struck(self) -> list[Injection | Hardship]:
        """Everything that was ever installed by itself and struck at least once, hardships with the faults in them."""
        parts = [injection for hardship in self._begun for injection in hardship.injections]
        alone = [injection for injection in self._faults.all if injection not in parts]
        everything: list[Injection | Hardship] = [*alone, *self._begun]
        return [one for one in everything if one.hits]

    @property
    def hits(self) -> int:
        """How often anything struck: faults, also those of hardships, and hardships of another kind."""
        without = [hardship for hardship in self._begun if not hardship.injections]
        return sum(fault.hits for fault in self._faults.all) + sum(hardship.hits for hardship in without)

    @property
    def unfired(self) -> list[Injection | Hardship]:
        """Faults that had to fire and never did, and hardships of another kind that never struck."""
        faults = [injection for injection in self._faults.all if injection.hits == 0 and not injection.may_miss]
        return [*faults, *(one for one in self._begun if not one.injections and not one.may_miss and one.hits == 0)]

    def undo_all(self) -> None:
        """End every hardship and take out every fault, the newest first: the storm is over.

        A sweep strikes before this only.
        """
        if self.calm_from is None:
            self.calm_from = len(self._all_of_it.world.journal)
        with ExitStack() as ends:  # the newest first, all of them, also when one cannot be ended
            for injection in self._faults.installed:
                ends.callback(injection.remove)
            for hardship in [*self.hardships, *self.awaited]:
                ends.callback(hardship.end)

    def close(self) -> None:
        """Undo all, for good: the cluster is closed."""
        try:
            self.undo_all()
        finally:
            self.closed = True

    def began(
        self,
        name: str,
        arguments: Mapping[str, Any],
        undo: Callable[[], object] | None = None,
        *faults: Fault,
        hits: Callable[[], int] | None = None,
    ) -> Hardship:
        """Return a hardship that has begun; its first fault is its cause and must fire, the others may miss."""
        for fault in faults:
            self._refuse_unknown_hsms(fault)
        injections = tuple(self._faults.inject(fault, may_miss=index > 0) for index, fault in enumerate(faults))
        hardship = Hardship(self, name, arguments, undo, injections, hits)
        self.hardships.append(hardship)
        self._begun.append(hardship)
        return hardship

    def in_window(
        self, name: str, arguments: Mapping[str, Any], window: tuple[int, int], begin: Callable[[], Hardship]
    ) -> Hardship:
        """Return a hardship that begins and ends by itself as time passes.

        What cannot begin when its time has come, say because its HSM is lost by then, has not struck.

        Args:
            name: of the scenario.
            arguments: what it was given.
            window: from when to when, in ns from now.
            begin: what begins it.

        Raises:
            UsageError: an HSM that is not there; with a window that is open already, all that `begin` refuses.
        """
        for value in arguments.values():
            if isinstance(value, str) and value.startswith("hsm-"):
                self._service.hsm(value)
        scheduler = self._service.world.scheduler
        timers: list[Timer] = []
        from_ns, to_ns = (scheduler.now_ns + end for end in window)

        def cancel() -> None:
            for timer in timers:
                scheduler.cancel(timer)

        hardship = Hardship(self, name, {**arguments, DURING: window}, cancel, hits=lambda: 0)

        def turn_into(begun: Hardship) -> None:
            self._begun.remove(begun)
            self.hardships[self.hardships.index(begun)] = hardship
            hardship.become(begun, cancel)

        def come() -> None:
            self.awaited.remove(hardship)
            with suppress(UsageError):
                turn_into(begin())

        if window[0] == 0:
            turn_into(begin())
        else:
            self.awaited.append(hardship)
            timers.append(scheduler.at(from_ns, come, SERVICE_LANE, background=True))
        timers.append(scheduler.at(to_ns, hardship.end, SERVICE_LANE, background=True))
        self._begun.append(hardship)
        return hardship

    # -- inside ----------------------------------------------------------------------------

    def _end_all(self, name: str, about: str | None = None) -> int:
        """End the hardships of a name, or those about one HSM or zone, the newest first; return how many."""
        meant = [one for one in self.hardships if one.name == name and about in (None, *one.arguments.values())]
        for hardship in reversed(meant):
            hardship.end()
        return len(meant)

    def _refuse_unknown_hsms(self, fault: Fault) -> None:
        """Refuse a fault that names an HSM which is not there: it could never act."""
        target = fault.effect.target if isinstance(fault.effect, Aimed) else None
        named = [target] if target not in (None, "here", "source") else []
        if fault.when.hsm is not None and not any(sign in fault.when.hsm for sign in "*?["):
            named.append(fault.when.hsm)
        there = [hsm.id for hsm in self._service.members]
        for name in named:
            if name not in there:
                raise UsageError(
                    f"{fault}: there is no {name!r}{nearest(str(name), there)}; there are {', '.join(there)}. "
                    "An HSM that joins later can be meant by a pattern: hsm=hsm-*"
                )
