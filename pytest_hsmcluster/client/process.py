"""What is one application process, and how does it talk to HSMs?"""

import logging
from collections.abc import Iterator
from contextlib import suppress
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

log = logging.getLogger("pytest_hsmcluster.client")
log.addHandler(logging.NullHandler())  # outside pytest nobody has asked for these lines


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
    ) -> None:
        self.application = application
        self.number = number
        self.lane = lane
        self.service = service
        self.network = network
        self.world = service.world
        self.profile = service.world.profile
        self.router = Router(self.profile, service.hsms, dice, network.detours)
        self.user: str | None = None
        self.dead = False
        self.homes: dict[int, str] = {}
        self.available: dict[int, None] = {}
        self.log_lines: list[str] = []
        self.connections = {hsm.id: Connection(up=hsm.alive) for hsm in service.members if hsm.state != "joining"}
        self._untold: dict[str, None] = {}
        self._password: str | None = None
        self._logins = 0
        self._obituary = f"the application process {application!r} has ended"
        self.name = self.world.register.process(application)
        network.enter(number, self)

    def next_generation(self) -> None:
        """Go on as a new Jepsen process, because nobody knows what came of the last call."""
        self.name = self.world.register.process(self.application)

    def say(self, line: str) -> None:
        """Write a line to the SDK's log."""
        self.log_lines.append(line)
        log.warning("%s: %s", self.application, line)

    # -- news from the network -------------------------------------------------------

    def connection_lost(self, hsm: str) -> None:
        """Believe an HSM down until a reconnect works.  With the last connection the login is lost.

        Source:
            AWS CloudHSM User Guide, "Best practices for application integration": PKCS #11 has no implicit
            login; after the loss of all connections the application logs in again.
        """
        connection = self.connections.get(hsm)
        if connection is not None and connection.up:
            connection.up = connection.logged_in = False
            connection.lost_ns = self.world.scheduler.now_ns
            for handle in [handle for handle, home in self.homes.items() if home == hsm]:
                self.homes[handle] = ""
            if not any(self._could_reach(id) for id in self.connections):
                self.forget_login()

    def member_joined(self, hsm: str) -> None:
        """Connect to a new member; whom no HSM can tell of it learns it with the next answer of any.

        Source:
            AWS CloudHSM User Guide, "Known issues": when all HSMs were replaced by others, a client keeps trying the
            old addresses.
        """
        if self._in_touch():
            self.connections[hsm] = Connection()
        else:
            self._untold[hsm] = None

    def _in_touch(self) -> bool:
        """Whether any HSM can tell this client something."""
        hsms, reachable = self.service.hsms, self.network.reachable
        return any(hsms[id].state == "up" and reachable(self.application, id) for id in self.up_members())

    def _learn(self) -> None:
        """Learn from an HSM that answers who joined while none could tell."""
        untold, self._untold = self._untold, {}
        for hsm in untold:
            if self.service.hsms[hsm].state != "lost":
                self.connections[hsm] = Connection()

    # -- login state --------------------------------------------------------------------

    def remember_login(self, user: str, password: str) -> None:
        """Keep who is logged in, so that a lost connection can be restored."""
        self.user, self._password = user.lower(), password

    def forget_login(self) -> None:
        """Be nobody; what SDK 5's check has found is kept, it belongs to the process."""
        self.user = self._password = None
        self.homes.clear()
        for connection in self.connections.values():
            connection.logged_in = False

    def end(self, why: str | None = None) -> None:
        """Close all connections; sessions and session keys end on every HSM that hears of it."""
        with self.world.scheduler.alone:
            if self.dead:
                return
            self.dead = True
            self._obituary = why or self._obituary
            self.network.leave(self.number)
            for hsm in self.service.members:
                if hsm.alive and not self.network.is_cut(self.application, hsm.id):
                    hsm.close_session(self.number, Cause.SESSION_END)

    def end_session_keys(self, handles: list[int]) -> None:
        """End session keys with the PKCS#11 session that made them; nothing is sent that a fault could meet."""
        with self.world.scheduler.alone:
            for handle in handles:
                hsm = self.service.hsms.get(self.homes.pop(handle, ""))
                if hsm is not None and hsm.alive and handle in hsm.store.keys:
                    with suppress(HsmUnavailable):  # its process has just died, and the key with it
                        hsm.store.remove(handle, Cause.SESSION_END)

    def check_alive(self) -> None:
        """Refuse to go on after the process has ended.

        Raises:
            ApplicationDied: it has.
        """
        if self.dead:
            raise ApplicationDied(f"{self._obituary}; start another one with cluster.client({self.application!r})")

    # -- routing ---------------------------------------------------------------------------

    def route(self, call: Call, command: str, home: str | None = None) -> Flow[str]:
        """Return the id of the HSM that the next command goes to.

        Args:
            call: the operation.
            command: what that HSM will be asked to do.
            home: where it has to go, because a session key lives there.

        Raises:
            NotLoggedIn: nobody is logged in.
            HsmUnavailable: no HSM is believed up, or none let this user in.
        """
        step = call.about(None, command)
        if (struck := self.world.faults.reach(Point.CLIENT_ROUTE, step)) is not None:
            yield from self.strike(struck, step)
        return home or self.router.pick((yield from self.candidates(call)))

    def candidates(self, call: Call) -> Flow[list[str]]:
        """Return the HSMs that the client believes up and is logged in to; lost ones are tried again when it is time.

        Raises:
            NotLoggedIn: nobody is logged in.
            HsmUnavailable: there is none.
        """
        self.check_alive()
        if self.user is None:
            if not any(self._could_reach(id) for id in self.connections):
                raise self.unreachable()
            raise NotLoggedIn(
                f"{self.application!r} is not logged in; call login() first"
                + (" (again: a login ends with the last connection)" if self._logins else "")
            )
        ready = []
        for id, connection in list(self.connections.items()):  # a new member may join while one is logged in to
            if (connection.up and connection.logged_in) or (yield from self._restored(id, connection, call)):
                ready.append(id)
        if not ready:
            raise self.unreachable()
        return ready

    def unreachable(self) -> HsmUnavailable:
        """Return the error of a client that has lost every HSM."""
        states = ", ".join(f"{hsm.id} is {hsm.state}" for hsm in self.service.members)
        return HsmUnavailable(
            f"no HSM of {self.service.cluster_id} can be reached by {self.application!r}: {states or 'none is left'}",
            hsm_code=0x30000088,
        )

    def up_members(self) -> Iterator[str]:
        """Iterate over the HSMs that the client believes up, in HSM order."""
        return (id for id, connection in self.connections.items() if connection.up)

    def to_log_in(self) -> list[str]:
        """Return the HSMs for a login, the one that decides first: each attempt begins with another one.

        Source:
            AWS CloudHSM User Guide, "loginHSM": which HSM is tried first varies.  How is a guess:
            in turn, from process to process and from attempt to attempt.
        """
        ids = [id for id in self.connections if self._could_reach(id)]
        for id in ids:
            self.connections[id].up = True
        first = (self.number - 1 + self._logins) % len(ids) if ids else 0
        self._logins += 1
        return ids[first:] + ids[:first]

    def _could_reach(self, id: str) -> bool:
        """Whether there is a connection, or it is time to open one and the HSM would answer.

        The attempts are made lazily, when somebody asks: what a background thread would have found
        is what is found now.
        """
        connection, hsm = self.connections[id], self.service.hsms[id]
        if connection.up:
            return True
        due_ns = connection.lost_ns + self.profile.reconnect_interval_ns
        answers = hsm.alive and not hsm.paused and self.network.reachable(self.application, id)
        return answers and self.world.scheduler.now_ns >= due_ns

    def _restored(self, id: str, connection: Connection, call: Call) -> Flow[bool]:
        """Reconnect and log in again if the interval is over and the HSM can be reached.

        That a client with other connections logs in again by itself is a guess.
        """
        if self.user is None or self._password is None or not self._could_reach(id):
            return False
        connection.up = True
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
                call.task = task = scheduler.adopt(exchange, wait, call.lane, f"{request.name} on {hsm}")
                task.collect = _discard
                in_time = yield Join(task, call.deadline_ns)
                answer = task.result() if in_time else Silence.LOST
        if isinstance(answer, Silence):
            yield from self._no_answer(answer, call, until_ns)
        self.check_alive()
        if self._untold:
            self._learn()
        if isinstance(answer, NotLoggedIn):
            self.connections[hsm].logged_in = False  # restarted behind a partition, say: the next call logs in anew
        if (struck := reach(Point.CLIENT_RECEIVE, call)) is not None:
            yield from self.strike(struck, call, done=request.changes)
        if isinstance(answer, ClusterError):
            try:
                raise answer
            finally:
                del answer  # or the error holds this frame, which holds the error: nobody but a collector frees that
        return answer

    def _no_answer(self, silence: Silence, call: Call, until_ns: int) -> Flow[None]:
        """Raise what the client makes of silence."""
        hsm, name = call.hsm or "", call.command
        if silence is Silence.LOST:
            left_ns = call.deadline_ns - self.world.scheduler.now_ns
            if left_ns > 0 and not self.world.scheduler.ahead(left_ns):
                yield left_ns
            self.check_alive()  # the dead are told that they died, whatever they waited for
            if call.deadline_ns < until_ns:  # else the application ran out of time, which says nothing of the HSM
                self.connection_lost(hsm)
            raise RequestTimeout(
                f"{name} on {hsm} was not answered in time; it may or may not have been done: look before repeating it",
                hsm=hsm,
            )
        self.check_alive()
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
            self.end(
                f"the application process {self.name!r} was ended by the fault {str(struck)!r} during {call.op_name}, "
                "and what it had asked for may or may not have been done"
            )
            self.check_alive()
        yield from self.world.trouble.strike(struck, call, done=done)


def _discard(task: object) -> None:
    """An answer that comes after its deadline is nobody's."""
