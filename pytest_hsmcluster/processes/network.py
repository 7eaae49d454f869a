"""How does a request come to an HSM process and the answer back, over TCP with mutual TLS?

Behind the same seam as the simulated network: clients do not know which of the two carries their calls.  What a fault
or a partition does to messages is done here, at the client's end of the connection; what a real network does besides,
is done by a real one.
"""

import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import msgspec

from ..drivers.reactor import Reactor
from ..errors import UsageError
from ..faults.effects import Corrupt
from ..faults.points import Point
from ..network.simulated import Network, Peer, Silence
from ..service.calls import Call
from ..service.hsm import Hsm
from ..service.keystore import StoredKey
from ..service.trouble import ConnectionReset, MessageLost
from ..service.world import World
from ..sim.clock import Pace
from ..sim.flow import Flow, Signal
from .certificates import server_name
from .codec import Malformed, decode_answer, encode_request
from .line import MOST_BYTES, Frame, Line
from .rack import Rack

Address = tuple[str, int]

_decode_members = msgspec.msgpack.Decoder(dict[str, int]).decode


class Connection:
    """One TLS connection of an application to an HSM, and the one request that is under way on it.

    Attributes:
        line: the connection itself.
        hsm: where it goes.
        number: of the request under way; `answered` is fired with its answer, or with a `Silence`.
    """

    __slots__ = ("answered", "hsm", "line", "number")

    def __init__(self, line: Line, hsm: str) -> None:
        self.line = line
        self.hsm = hsm
        self.number = 0
        self.answered: Signal | None = None


class ProcessNetwork(Network):
    """Carries calls to HSM processes.

    Each application has connections of its own to each HSM, one for each request that is under way at a time; they are
    kept for later requests.  A request without an answer in time costs its connection: the answer may come yet.

    Attributes:
        on_needed: called with application and HSM before the first of its connections there is opened.
        on_moved: called with an HSM that listens on another port than before.
    """

    def __init__(self, world: World, rack: Rack, reactor: Reactor) -> None:
        super().__init__(world)
        self.on_needed: Callable[[str, str], None] = _no_road
        self.on_moved: Callable[[str], None] = _not_moved
        self._rack = rack
        self._reactor = reactor
        self._scheduler = world.scheduler
        self._server_name = server_name(rack.cluster)
        self._number = 0
        self._calls: dict[int, Call] = {}
        self._known: dict[int, dict[str, int]] = {}
        self._connections: dict[tuple[int, str], list[Connection]] = {}
        self._detours: dict[tuple[str, str], Address] = {}
        self._travelled: dict[tuple[str, str], None] = {}
        rack.call = self._calls.get
        rack.on_moved = self._moved

    def exchange(self, call: Call, hsm: Hsm) -> Flow[Any]:
        """Carry a request and return the answer, a `ClusterError` that is the answer, or a `Silence`."""
        hsm.inflight[call] = None
        connection: Connection | None = None
        spoiled = False
        try:
            if (struck := self._reach(Point.WIRE_REQUEST, call)) is not None:
                spoiled = isinstance(struck.effect, Corrupt) and not struck.effect.payload
                if not spoiled:
                    yield from self._strike_request(struck, call)
            if self._cut and self.is_cut(call.client, hsm.id):
                return Silence.LOST
            found = self._idle(call.session, hsm.id) or (yield from self._opened(call, hsm.id))
            if isinstance(found, Silence):
                return found
            connection = found
            answer = yield from self._asked(connection, call, spoiled)
            if isinstance(answer, Silence):
                return answer
            if (struck := self._reach(Point.WIRE_RESPONSE, call)) is not None:
                answer = yield from self._strike_response(struck, call, answer)
            if self._cut and self.is_cut(hsm.id, call.client):
                return Silence.LOST
            return self._named(answer)
        except MessageLost:
            return Silence.LOST
        except ConnectionReset:
            if connection is not None:
                connection.line.close()
            return Silence.LOST if self._swallowed(hsm.id, call) else Silence.RESET
        finally:
            hsm.inflight.pop(call, None)

    @property
    def foreign(self) -> bool:
        """Whether it belongs to the process that this one was forked from: connections and HSMs are that one's."""
        return self._reactor.foreign

    # -- who is there -----------------------------------------------------------------

    def enter(self, number: int, peer: Peer) -> None:
        """Take a client in; it knows the members of this moment."""
        super().enter(number, peer)
        self._known[number] = self._rack.members()

    def leave(self, number: int) -> None:
        """Close the connections of a client that has ended."""
        super().leave(number)
        self._known.pop(number, None)
        for key in [key for key in self._connections if key[0] == number]:
            for connection in self._connections.pop(key):
                connection.line.close()

    def reset(self, hsm: str) -> None:
        """Have clients hear at once that a dead HSM's connections ended: the system has closed them by now.

        Clients connect to every member; here they do when they need it, and whoever has not needed it yet is told.
        """
        for number in [number for number, call in self._calls.items() if call.hsm == hsm]:
            del self._calls[number]  # nobody will ask about it any more
        for number, peer in [*self.peers.items()]:
            connections = self._connections.get((number, hsm), [])
            for connection in connections.copy():
                connection.line.hear()
            if not connections and not (self._cut and self.is_cut(hsm, peer.application)):
                peer.connection_lost(hsm)

    def announce(self, hsm: str) -> None:
        """Tell the HSMs who the members are now; clients learn it from any of them.

        As with `reset`, whoever has not needed a connection yet is told.
        """
        self._rack.announce()
        connected = {number for (number, _), connections in self._connections.items() if connections}
        for number, peer in [*self.peers.items()]:
            if number not in connected:
                self._known[number] = self._rack.members()
                peer.member_joined(hsm)

    def _moved(self, hsm: str) -> None:
        """An HSM listens on another port, as those of the service never do: whoever knows it knows where it is."""
        port = self._rack.members()[hsm]
        for known in self._known.values():
            if hsm in known:
                known[hsm] = port
        self.on_moved(hsm)

    def open(self) -> None:
        """Tell the first HSMs who the members are."""
        self._rack.announce()

    def close(self) -> None:
        """Close every connection, then end every process."""
        with ExitStack() as ends:  # whatever goes wrong, the rest is done
            ends.callback(self._reactor.close)
            ends.callback(self._rack.close)
            for number in [*self._known]:
                ends.callback(self.leave, number)

    # -- roads ---------------------------------------------------------------------------

    def upstream(self, hsm: str) -> Address:
        """Return the address at which an HSM itself listens, or listened last.

        Raises:
            UsageError: no HSM of that id has ever listened.
        """
        members = self._rack.members()
        if hsm not in members:
            raise UsageError(f"there is no HSM {hsm!r} to connect to; there are {', '.join(members)}")
        return "127.0.0.1", members[hsm]

    def travelled(self) -> Iterable[tuple[str, str]]:
        """Return the pairs of application and HSM that have had a connection, in the order of their first ones."""
        return tuple(self._travelled)

    def detour(self, client: str, hsm: str, address: Address | None) -> None:
        """Open an application's connections to an HSM to this address from now on; open ones are replaced.

        Args:
            client: the application.
            hsm: where its requests go.
            address: who carries them there; None is the HSM itself.
        """
        with self._scheduler.alone:
            if address is None:
                self._detours.pop((client, hsm), None)
            else:
                self._detours[client, hsm] = address
            for number, peer in [*self.peers.items()]:
                if peer.application == client:
                    for connection in self._connections.pop((number, hsm), []):
                        connection.line.close()

    # -- connections ----------------------------------------------------------------------

    def _idle(self, session: int, hsm: str) -> Connection | None:
        for connection in self._connections.get((session, hsm), ()):
            if connection.answered is None:
                return connection
        return None

    def _opened(self, call: Call, hsm: str) -> Flow[Connection | Silence]:
        """Open one more connection: TCP, then TLS, both by the request's deadline."""
        application = self._application(call.session)
        if application is None:  # it ended while its request was held
            return Silence.RESET
        if (application, hsm) not in self._travelled:
            self.on_needed(application, hsm)
            self._travelled[application, hsm] = None
        port = self._known[call.session].get(hsm, 0)
        address = self._detours.get((application, hsm), ("127.0.0.1", port))
        try:
            sock = socket.socket()
        except OSError as error:
            raise UsageError(
                f"no further connection to {hsm} can be opened: {error.strerror}; close some files, or raise the limit "
                "of this process (ulimit -n)"
            ) from None
        sock.setblocking(False)
        sock.connect_ex(address)
        line = Line(sock, self._rack.client_context(application), self._server_name, self._reactor)
        connection = Connection(line, hsm)
        settled = Signal(f"a connection to {hsm}")
        line.on_shaken = lambda: self._scheduler.fire(settled, True)
        line.on_closed = lambda why: self._scheduler.fire(settled, False)
        line.on_frame = lambda kind, body: self._came(call.session, connection, kind, body)
        late = self._scheduler.at(call.deadline_ns, lambda: self._scheduler.fire(settled, None), call.lane)
        try:
            good: bool | None = yield settled
        except GeneratorExit:  # nobody wants it any more
            line.on_closed = _unheard
            line.close()
            raise
        finally:
            self._scheduler.cancel(late)
        if not good or call.session not in self.peers:
            line.on_closed = _unheard
            line.close()
            return Silence.LOST if good is None else Silence.REFUSED
        line.on_closed = lambda why: self._lost(call.session, connection)
        if line.closed:
            return Silence.REFUSED
        self._connections.setdefault((call.session, hsm), []).append(connection)
        return connection

    def _asked(self, connection: Connection, call: Call, spoiled: bool) -> Flow[Any]:
        """Send a request and return what comes back, or a `Silence`.

        Raises:
            UsageError: it has an argument that cannot be sent, or is too long; the connection is free for another one.
        """
        self._number += 1
        number = self._number
        body = encode_request(number, call)
        if len(body) > MOST_BYTES:
            raise UsageError(
                f"{call.command} has {len(body)} bytes to send to an HSM in a process of its own, which takes "
                f"{MOST_BYTES}; send the data in parts, or a digest of it"
            )
        connection.number = number
        answered = connection.answered = Signal("an answer")
        if spoiled:
            connection.line.spoil()
        else:
            self._calls[number] = call
            connection.line.send(Frame.REQUEST, body)
        deadline_ns = max(call.deadline_ns, self._scheduler.now_ns)
        late = self._scheduler.at(deadline_ns, lambda: self._give_up(connection, answered), call.lane)
        answer = yield answered
        self._scheduler.cancel(late)
        return answer

    def _give_up(self, connection: Connection, answered: Signal) -> None:
        """Wait no longer.  What the HSM has received it will carry out: its request is remembered."""
        self._scheduler.fire(answered, Silence.LOST)
        connection.line.close()

    def _came(self, session: int, connection: Connection, kind: int, body: bytes) -> None:
        if kind == Frame.MEMBERS:
            self._learned(session, body)
            return
        self._rack.mirrors[connection.hsm].link.hear()  # what it told before it answered is known before the answer
        try:
            number, answer = decode_answer(body)
        except Malformed as error:
            connection.line.close(str(error))
            return
        self._calls.pop(number, None)
        if number == connection.number and (answered := connection.answered) is not None:
            connection.answered = None
            self._scheduler.fire(answered, answer)

    def _lost(self, session: int, connection: Connection) -> None:
        """A connection has ended: whoever waits there gets no answer, and with the last one the HSM is lost."""
        connections = self._connections.get((session, connection.hsm), [])
        kept = connection in connections
        if kept:
            connections.remove(connection)
        if self._cut and self.is_cut(connection.hsm, self._application(session)):
            return  # the news of the end does not get through: whoever waits does so until his deadline
        answered, connection.answered = connection.answered, None
        if answered is not None:
            self._scheduler.fire(answered, Silence.RESET)
        elif kept and not connections and (peer := self.peers.get(session)) is not None:
            peer.connection_lost(connection.hsm)

    def _application(self, session: int) -> str | None:
        peer = self.peers.get(session)
        return peer.application if peer is not None else None

    def _learned(self, session: int, body: bytes) -> None:
        """An HSM says who the members are."""
        with suppress(msgspec.MsgspecError):
            known, peer = self._known.get(session), self.peers.get(session)
            if known is None or peer is None:
                return
            for hsm, port in _decode_members(body).items():
                new = hsm not in known
                known[hsm] = port
                if new:
                    peer.member_joined(hsm)

    def _named(self, answer: Any) -> Any:
        """Return an answer whose keys have the names that this cluster knows them by."""
        if isinstance(answer, StoredKey):
            register = self._world.register
            return replace(answer, name=register.names[answer.handle], mat=register.mats[answer.handle])
        if isinstance(answer, tuple | list):
            return type(answer)(self._named(one) for one in answer)
        return answer


def processes(
    world: World, cluster: str, pace: Pace | None, seed: int | None
) -> tuple[Callable[..., Hsm], ProcessNetwork]:
    """Return what makes HSMs that are processes, and what carries calls to them."""
    assert isinstance(pace, Reactor), "processes have a real clock that reads sockets"
    rack = Rack(world, cluster, pace, seed)
    return rack.hsm, ProcessNetwork(world, rack, pace)


def _no_road(application: str, hsm: str) -> None:
    """Nobody stands between."""


def _not_moved(hsm: str) -> None:
    """Nobody asks."""


def _unheard(why: str) -> None:
    """Nobody asks why."""
