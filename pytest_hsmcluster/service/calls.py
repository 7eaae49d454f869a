"""What does one request look like while it is on its way?"""

from typing import TYPE_CHECKING

from ..sim.scheduler import FOREVER_NS
from ..sim.task import Task

if TYPE_CHECKING:
    from .commands import Command


class Call:
    """One passage through the points: a command on its way to one HSM, or a step of a client or of the service.

    Faults are matched against it (`faults.injector.Passage`).

    Attributes:
        op: number of the operation, 0 for the service's own work.
        op_name: what the application called.
        command: what one HSM is asked to do; None at points before that is settled.
        hsm: id of the HSM that it is about.
        lane: in which it waits for its turn among others of one instant.
        client: process name; session: the client's number, by which an HSM knows its login.
        source: the HSM on which the operation made its key, if any.
        deadline_ns: instant at which the client stops waiting.
        task: the task that carries it, once it had to wait.
    """

    __slots__ = (
        "client",
        "command",
        "deadline_ns",
        "handle",
        "hsm",
        "key",
        "label",
        "lane",
        "op",
        "op_name",
        "request",
        "session",
        "source",
        "task",
        "user",
    )

    def __init__(
        self,
        op: int,
        op_name: str | None,
        client: str | None,
        user: str | None,
        lane: int,
        *,
        session: int = 0,
        hsm: str | None = None,
        command: str | None = None,
        key: str | None = None,
        label: str | None = None,
        handle: int | None = None,
        source: str | None = None,
        request: "Command | None" = None,
    ) -> None:
        self.op = op
        self.op_name = op_name
        self.client = client
        self.user = user
        self.lane = lane
        self.session = session
        self.hsm = hsm
        self.command = command
        self.key = key
        self.label = label
        self.handle = handle
        self.source = source
        self.request = request
        self.deadline_ns = FOREVER_NS
        self.task: Task | None = None

    def at(self, hsm: str, request: "Command") -> "Call":
        """Return this operation's call of one command on one HSM."""
        call = Call.__new__(Call)
        call.op, call.op_name, call.client, call.user, call.lane = (
            self.op,
            self.op_name,
            self.client,
            self.user,
            self.lane,
        )
        call.session, call.key, call.label, call.handle = self.session, self.key, self.label, self.handle
        call.source = self.source
        call.hsm, call.request, call.command = hsm, request, request.name
        call.deadline_ns, call.task = FOREVER_NS, None
        return call

    def about(self, hsm: str | None, command: str | None = None) -> "Call":
        """Return a passage of the operation's own step that concerns `hsm`."""
        step = Call(
            self.op, self.op_name, self.client, self.user, self.lane, session=self.session, hsm=hsm, command=command
        )
        step.key, step.label, step.handle, step.source = self.key, self.label, self.handle, self.source
        return step
