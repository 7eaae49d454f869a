"""How does a request learn its fate that has come to where a fault may strike?"""

from typing import TYPE_CHECKING, cast

from ..faults.effects import Fail
from ..faults.points import Point
from ..service.calls import Call
from ..sim.flow import Flow, Signal
from ..sim.scheduler import Scheduler
from .control import Asking, Fate
from .pipe import Pipe
from .reporter import Reporter

if TYPE_CHECKING:
    from ..faults.injector import Injection


class Question:
    """What an armed point answers instead of an injection: ask the test process."""

    __slots__ = ("point",)

    def __init__(self, point: Point) -> None:
        self.point = point


class Asker:
    """Stands where `Faults` and `Trouble` stand in the test process, and asks them.

    Attributes:
        armed: points at which a fault may strike.
        numbers: the request that each call came with.
    """

    def __init__(self, pipe: Pipe, reporter: Reporter, sdk: int) -> None:
        self.armed: frozenset[str] = frozenset()
        self.numbers: dict[Call, int] = {}
        self._pipe = pipe
        self._reporter = reporter
        self._sdk = sdk
        self._waiting: dict[int, Signal] = {}
        self._asked = 0

    def reach(self, point: Point, call: Call) -> "Injection | None":
        """Note that a point is passed, or return a question where a fault may strike."""
        if point in self.armed:
            return cast("Injection", Question(point))
        self._reporter.passed(point, call)
        return None

    def strike(self, question: Question, call: Call, *, done: bool = False) -> Flow[None]:
        """Wait for the fate of a request, and meet it.  A kill needs no words.

        Raises:
            ClusterError: an injected error.
        """
        self._asked += 1
        number, fate_known = self._asked, Signal(f"the fate of {call.command} at {question.point}")
        self._waiting[number] = fate_known
        self._reporter.flush()
        self._pipe.send(Asking(number, self.numbers[call], question.point, done))
        fate: Fate = yield fate_known
        if fate.delay_ns:
            yield fate.delay_ns
        if fate.error is not None:
            raise Fail(fate.error).error(hsm=call.hsm, outcome="info" if done else "fail", sdk=self._sdk)

    def meet(self, fate: Fate, scheduler: Scheduler) -> None:
        """Let a request go on to its fate."""
        scheduler.fire(self._waiting.pop(fate.number), fate)
