"""What is one application process, and how does it talk to HSMs?"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ApplicationDied, ClusterError, HsmBusy, HsmUnavailable, NotLoggedIn, RequestTimeout
from ..faults.effects import Crash, Drop
from ..faults.injector import Injection
from ..faults.points import Point
from ..history.events import Cause
from ..network.simulated import Network, Silence
from ..service.calls import Call
from ..service.commands import Command, Login
from ..service.service import Service
from ..sim.entropy import Stream
from ..sim.flow import Flow, Join
from ..sim.scheduler import FOREVER_NS
from .retry import backoff_ns
from .routing import Router

# pytest prints the arguments of the frames of a traceback; keys and passwords are among ours.
__tracebackhide__ = True

log = logging.getLogger("pytest_hsmcluster.client")


@dataclass(slots=True)
class Connection:
    """A client's connection to one HSM, as the client believes it to be.

    Attributes:
        up: whether calls may be routed there.
        logged_in: whether the client has a session there.
        lost_ns: instant of its loss, from which the reconnect interval counts.
    """

    up: bool = True
    logged_in: bool = False
    lost_ns: int = 0


class Process:
    """One application process: its connections, its login, its routing.

    Attributes:
        application: the name that the test gave it.
        name: the name of the Jepsen process; a new one after each outcome that nobody knows (`app#2`).
        number: unique in the cluster; HSMs know the login by it.
        lane: the order of its steps among others of one instant; `lane + 1` is its background lane.
        user: who is logged in, or None.
        homes: handle → HSM of each session key.
        available: handles that SDK 5's check has passed once.
        log_lines: what the SDK wrote to its log, with the documented texts.
    """

    def __init__(
        self,
        application: str,
        number: int,
        lane: int,
        service: Service,
        network: Network,
        dice: Stream,
        generation: int = 1,
    ) -> None:
        self.application = application
        self.number = number
        self.lane = lane
        self.service = service
        self.network = network
        self.world = service.world
        self.profile = service.world.profile
        self.router = Router(self.profile, service.hsms, dice)
        self.user: str | None = None
        self.dead = False
        self.homes: dict[int, str] = {}
        self.available: dict[int, None] = {}
        self.log_lines: list[str] = []
        self.connections = {hsm.id: Connection(up=hsm.alive) for hsm in service.members if hsm.state != "joining"}
        self._password: str | None = None
        self._generation = generation
        self.name = application if generation == 1 else f"{application}#{generation}"
        network.peers[number] = self

    @property
    def generation(self) -> int:
        """How many Jepsen processes this application has been."""
        return self._generation

    def next_generation(self) -> None:
        """Go on as a new Jepsen process, because nobody knows what came of the last call."""
        self._generation += 1
        self.name = f"{self.application}#{self._generation}"

    def say(self, line: str) -> None:
        """Write a line to the SDK's log."""
        self.log_lines.append(line)
        log.warning("%s: %s", self.application, line)

    # -- news from the network -------------------------------------------------------

    def connection_lost(self, hsm: str) -> None:
        """Believe an HSM down until a reconnect works."""
        connection = self.connections.get(hsm)
        if connection is not None and connection.up:
            connection.up = connection.logged_in = False
            connection.lost_ns = self.world.scheduler.now_ns
            for handle in [handle for handle, home in self.homes.items() if home == hsm]:
                self.homes[handle] = ""

    def member_joined(self, hsm: str) -> None:
        """Connect to a new member; clients learn of it from any live HSM."""
        self.connections[hsm] = Connection()

    # -- login state --------------------------------------------------------------------

    def remember_login(self, user: str, password: str) -> None:
        """Keep who is logged in, so that a lost connection can be restored."""
        self.user, self._password = user.lower(), password

    def forget_login(self) -> None:
        """Be nobody."""
        self.user = self._password = None
        self.homes.clear()
        self.available.clear()
        for connection in self.connections.values():
            connection.logged_in = False

    def end(self) -> None:
        """Close all connections; sessions and session keys end on every HSM that hears of it."""
        if self.dead:
            return
        self.dead = True
        self.network.peers.pop(self.number, None)
        for hsm in self.service.members:
            if hsm.alive and not self.network.is_cut(self.application, hsm.id):
                hsm.close_session(self.number, Cause.SESSION_END)

    def check_alive(self) -> None:
        """Refuse to go on after the process has ended.

        Raises:
            ApplicationDied: it has.
        """
        if self.dead:
            raise ApplicationDied(
                f"the application process {self.name!r} has ended; start another one with cluster.client({self.application!r})"
            )

    # -- routing ---------------------------------------------------------------------------

    def route(self, call: Call) -> Flow[str]:
        """Return the id of the HSM that the next command goes to.

        Raises:
            NotLoggedIn: nobody is logged in.
            HsmUnavailable: no HSM is believed up, or none let this user in.
        """
        if (struck := self.world.faults.reach(Point.CLIENT_ROUTE, call)) is not None:
            yield from self.strike(struck, call)
        candidates = yield from self.candidates(call)
        if not candidates:
            raise HsmUnavailable(
                f"no HSM of {self.service.cluster_id} can be reached by {self.application!r}: "
                f"{', '.join(f'{hsm.id} is {hsm.state}' for hsm in self.service.members) or 'none is left'}",
                hsm_code=0x30000088,
            )
        return self.router.pick(candidates)

    def candidates(self, call: Call) -> Flow[list[str]]:
        """Return the HSMs that the client believes up and is logged in to; lost ones are tried again when it is time."""
        if self.user is None:
            raise NotLoggedIn(f"{self.application!r} is not logged in; call login() first")
        ready = []
        for id, connection in list(self.connections.items()):  # a new member may join while one is logged in to
            if (connection.up and connection.logged_in) or (yield from self._restored(id, connection, call)):
                ready.append(id)
        return ready

    def up_members(self) -> Iterator[str]:
        """Iterate over the HSMs that the client believes up, in HSM order."""
        return (id for id, connection in self.connections.items() if connection.up)

    def _restored(self, id: str, connection: Connection, call: Call) -> Flow[bool]:
        """Reconnect and log in again if the interval is over and the HSM can be reached.

        The attempts are made lazily, at the first call after the interval: what a background
        thread would have found is what is found now.  That a client logs in again by itself is a guess.
        """
        hsm, now_ns = self.service.hsms[id], self.world.scheduler.now_ns
        due = connection.up or now_ns >= connection.lost_ns + self.profile.reconnect_interval_ns
        if not due or not hsm.alive or not self.network.reachable(self.application, id):
            return False
        connection.up = True
        if self.user is None or self._password is None:
            return False
        try:
            yield from self.call(call, id, Login(self.user, self._password))
        except ClusterError:
            connection.up, connection.lost_ns = False, self.world.scheduler.now_ns
            return False
        connection.logged_in = True
        return True

    # -- one command to one HSM ----------------------------------------------------------------

    def call(self, step: Call, hsm: str, request: Command, until_ns: int = FOREVER_NS) -> Flow[Any]:
        """Send one command to one HSM and return its answer.

        Args:
            step: the operation that it belongs to.
            hsm: where to.
            request: what.
            until_ns: an instant beyond which the operation does not wait.

        Raises:
            RequestTimeout: no answer in time; whether it was done is unknown.
            HsmUnavailable: the connection was refused (`fail`) or closed meanwhile (`info`).
            ClusterError: the HSM's refusal.
        """
        attempt = 0
        while True:
            try:
                return (yield from self._once(step.at(hsm, request), until_ns))
            except HsmBusy:
                attempt += 1
                pause_ns = backoff_ns(attempt, self.profile)
                if pause_ns is None:
                    raise
                self.say(
                    "Received error from the server. Error: This operation is already in progress. "
                    "Internal error code: 0x000000BB"
                )
            if not self.world.scheduler.ahead(pause_ns):
                yield pause_ns

    def _once(self, call: Call, until_ns: int) -> Flow[Any]:
        self.check_alive()
        scheduler, reach = self.world.scheduler, self.world.faults.reach
        hsm, request = call.hsm, call.request
        assert hsm is not None and request is not None, "at() gives both"
        answer: Any = None
        if (struck := reach(Point.CLIENT_SEND, call)) is not None:
            if isinstance(struck.effect, Drop):
                answer = Silence.LOST
            else:
                yield from self.strike(struck, call)
        call.deadline_ns = min(scheduler.now_ns + self.profile.request_timeout_ns, until_ns)
        if answer is None:
            exchange = self.network.exchange(call, self.service.hsms[hsm])
            # The exchange runs in place; only if it has to wait does it become a task, and the deadline a timer.
            try:
                wait = next(exchange)
            except StopIteration as end:
                answer = end.value
            else:
                call.task = task = scheduler.adopt(exchange, wait, self.lane, f"{request.name} on {hsm}")
                task.collect = _discard
                in_time = yield Join(task, call.deadline_ns)
                answer = task.result() if in_time else Silence.LOST
        if isinstance(answer, Silence):
            yield from self._no_answer(answer, call)
        self.check_alive()
        if (struck := reach(Point.CLIENT_RECEIVE, call)) is not None:
            yield from self.strike(struck, call, done=request.changes)
        if isinstance(answer, ClusterError):
            raise answer
        return answer

    def _no_answer(self, silence: Silence, call: Call) -> Flow[None]:
        """Raise what the client makes of silence."""
        hsm, name = call.hsm or "", call.command
        if silence is Silence.LOST:
            left_ns = call.deadline_ns - self.world.scheduler.now_ns
            if left_ns > 0 and not self.world.scheduler.ahead(left_ns):
                yield left_ns
            self.connection_lost(hsm)
            raise RequestTimeout(
                f"{name} on {hsm} was not answered in time; it may or may not have been done: look before you repeat it",
                hsm=hsm,
            )
        self.connection_lost(hsm)
        if silence is Silence.REFUSED:
            raise HsmUnavailable(f"HSM CLUSTER ERROR: Server in cluster is unavailable: {hsm} refused {name}", hsm=hsm)
        raise HsmUnavailable(
            f"Communication with the device was lost during the execution of the function: {name} on {hsm}; "
            "it may or may not have been done",
            hsm=hsm,
            outcome="info",
        )

    def strike(self, struck: Injection, call: Call, *, done: bool = False) -> Flow[None]:
        """Perform a fault at one of the client's own points.

        Raises:
            ApplicationDied: a crash without a target: the process ends here.
            ClusterError: an injected error.
        """
        if isinstance(struck.effect, Crash) and struck.effect.target is None:
            self.end()
            raise ApplicationDied(
                f"the application process {self.name!r} was ended by the fault {str(struck)!r} during {call.op_name}; "
                "what it had asked for may or may not have been done"
            )
        yield from self.world.trouble.strike(struck, call, done=done)


def _discard(task: object) -> None:
    """An answer that comes after its deadline is nobody's."""
