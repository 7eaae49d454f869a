"""How does an HSM process tell what happens in it?"""

from ..faults.points import Point
from ..history.events import Kind, Record
from ..service.calls import Call
from ..service.hsm import Hsm
from .block import handle_of
from .codec import record_of
from .control import Changed, Fact, Gone, Held, Locked, Reached, Report, Shared, Tombstoned
from .pipe import Pipe


class Reporter:
    """Collects facts until they are told.  It stands where the journal stands in the test process.

    Attributes:
        facts: not told yet.
    """

    def __init__(self, pipe: Pipe) -> None:
        self.facts: list[Fact] = []
        self.hsm: Hsm | None = None
        self._pipe = pipe
        self._caller: Call | None = None
        self._last = Reached([], 0, None, None, None, None, None)

    def append(self, record: Record) -> None:
        """Take what would be a line of the journal."""
        kind, fields = record[0], record[2:]
        if kind == Kind.HELD:
            op, _, _, handle, cause = fields[:5]
            assert self.hsm is not None, "keys come to an HSM"
            key = self.hsm.store.keys[handle]
            self.facts.append(Held(op, cause, fields[-1], bytes.fromhex(key.mat), record_of(key)))
        elif kind == Kind.GONE:
            op, _, _, handle, cause = fields
            self.facts.append(Gone(op, str(cause), handle))
        elif kind == Kind.TOMBSTONED:
            op, _, _, handle, cause = fields
            self.facts.append(Tombstoned(op, str(cause), handle))
        elif kind == Kind.ATTRIBUTE:
            op, _, name, attribute, value = fields
            self.facts.append(Changed(op, handle_of(name), attribute, value))
        elif kind == Kind.SHARE:
            op, _, name, user, shared = fields
            self.facts.append(Shared(op, handle_of(name), user, shared))
        elif kind == Kind.USER:
            op, _, user, type_, _ = fields
            self.facts.append(Locked(op, user, type_))
        else:
            raise AssertionError(f"an HSM alone writes no {kind}")

    def passed(self, point: Point, call: Call) -> None:
        """Take that a call passed a point; most often it passed another one just before."""
        last = self._last
        goes_on = self._caller is call and bool(self.facts) and self.facts[-1] is last
        if goes_on and last.user == call.user and last.key == call.key:
            last.points.append(point._value_)
            return
        self._last = Reached([point._value_], call.op, call.op_name, call.command, call.client, call.user, call.key)
        self._caller = call
        self.facts.append(self._last)

    def flush(self) -> None:
        """Tell what there is to tell."""
        if self.facts:
            facts, self.facts = self.facts, []
            self._pipe.send(Report(0, facts))

    def tell(self, number: int, facts: list[Fact], before: list[Fact]) -> None:
        """Tell facts that are on the disk, and what came before them."""
        self.facts = []
        self._pipe.send(Report(number, before + facts))
