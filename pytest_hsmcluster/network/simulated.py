"""How does a request come to an HSM and the answer back, in simulated time?"""

from enum import Enum
from typing import Any, Protocol

from ..errors import ClusterError
from ..faults.effects import Corrupt
from ..faults.injector import Injection
from ..faults.points import Point
from ..service.calls import Call
from ..service.commands import ExtractMasked, InsertMasked
from ..service.hsm import Hsm
from ..service.trouble import ConnectionReset, MessageLost
from ..service.world import World
from ..sim.flow import Flow

BOTH = "both"


class Silence(Enum):
    """Why there is no answer."""

    LOST = "nothing came back"
    RESET = "the connection was closed while the request was under way"
    REFUSED = "nobody listens there"


class Peer(Protocol):
    """A client, as far as the network talks to it."""

    application: str

    def connection_lost(self, hsm: str) -> None:
        """The connection to an HSM was closed."""

    def member_joined(self, hsm: str) -> None:
        """A new HSM is a member of the cluster."""


class Network:
    """Carries calls, with latency, partitions and whatever faults do to messages.

    Attributes:
        peers: clients with connections, in the order in which they were made.
        applications: names of all that there have been.
        detours: where the next routed calls go, whoever makes them: HSMs, from the end of the first list that
            is not empty; see `Chaos.route_to`.
    """

    def __init__(self, world: World) -> None:
        self.peers: dict[int, Peer] = {}
        self.applications: dict[str, None] = {}
        self.detours: list[list[str]] = []
        self._world = world
        self._reach = world.faults.reach
        self._ahead = world.scheduler.ahead
        self._wire_ns = world.profile.wire_ns
        # (from, to) → how many partitions cut that way; names of applications and HSMs.
        self._cut: dict[tuple[str, str], int] = {}

    def exchange(self, call: Call, hsm: Hsm) -> Flow[Any]:
        """Carry a request and return the answer, a `ClusterError` that is the answer, or a `Silence`."""
        hsm.inflight[call] = None
        try:
            spoiled = False
            if (struck := self._reach(Point.WIRE_REQUEST, call)) is not None:
                spoiled = isinstance(struck.effect, Corrupt) and not struck.effect.payload
                if not spoiled:
                    yield from self._strike_request(struck, call)
            if self._cut and self.is_cut(call.client, hsm.id):
                return Silence.LOST
            if not self._ahead(self._wire_ns, call.deadline_ns):
                yield self._wire_ns
            if not hsm.alive:
                return Silence.REFUSED if self._world.profile.crash_peer == "reset" else Silence.LOST
            if spoiled:
                return Silence.LOST if hsm.paused or self._swallowed(hsm.id, call) else Silence.RESET
            try:
                answer = yield from hsm.serve(call)
            except ClusterError as refused:
                answer = refused.with_traceback(None)
            if (struck := self._reach(Point.WIRE_RESPONSE, call)) is not None:
                answer = yield from self._strike_response(struck, call, answer)
            if self._cut and self.is_cut(hsm.id, call.client):
                return Silence.LOST
            if not self._ahead(self._wire_ns, call.deadline_ns):
                yield self._wire_ns
            return answer
        except MessageLost:
            return Silence.LOST
        except ConnectionReset:
            return Silence.LOST if self._swallowed(hsm.id, call) else Silence.RESET
        finally:
            del hsm.inflight[call]

    # -- who is there -----------------------------------------------------------------

    def enter(self, number: int, peer: Peer) -> None:
        """Take a client in."""
        self.peers[number] = peer
        self.applications[peer.application] = None

    def leave(self, number: int) -> None:
        """Forget a client that has ended."""
        self.peers.pop(number, None)

    @property
    def foreign(self) -> bool:
        """Whether it belongs to the process that this one was forked from, and is to be left alone here."""
        return False

    def open(self) -> None:
        """Carry calls from now on: the first HSMs are there."""

    def close(self) -> None:
        """Carry nothing any more."""

    # -- partitions -----------------------------------------------------------------

    def cut(self, a: str, b: str, direction: str = BOTH) -> list[tuple[str, str]]:
        """Cut the link between two names and return the ways that were cut, for `mend`.

        Args:
            a: an application or an HSM.
            b: the other one.
            direction: `both`, or anything else for the one way from `a` to `b`.
        """
        ways = [(a, b), (b, a)] if direction == BOTH else [(a, b)]
        for way in ways:
            self._cut[way] = self._cut.get(way, 0) + 1
        return ways

    def mend(self, ways: list[tuple[str, str]]) -> None:
        """Take back one `cut`."""
        for way in ways:
            left = self._cut.get(way, 0) - 1
            if left > 0:
                self._cut[way] = left
            else:
                self._cut.pop(way, None)

    def is_cut(self, sender: str | None, receiver: str | None) -> bool:
        """Whether messages from `sender` to `receiver` vanish."""
        return (_application(sender), _application(receiver)) in self._cut

    def reachable(self, client: str, hsm: str) -> bool:
        """Whether a client and an HSM can talk both ways."""
        return not self._cut or not (self.is_cut(client, hsm) or self.is_cut(hsm, client))

    # -- news -------------------------------------------------------------------------

    def reset(self, hsm: str) -> None:
        """Tell every client that can hear it that its connection to an HSM was closed."""
        for peer in self.peers.values():
            if not self._cut or not self.is_cut(hsm, peer.application):
                peer.connection_lost(hsm)

    def announce(self, hsm: str) -> None:
        """Tell every client that an HSM joined."""
        for peer in self.peers.values():
            peer.member_joined(hsm)

    def _swallowed(self, hsm: str, call: Call) -> bool:
        """Whether a partition keeps from a client that its connection was closed."""
        return bool(self._cut) and self.is_cut(hsm, call.client)

    # -- faults on messages --------------------------------------------------------------

    def _strike_request(self, struck: Injection, call: Call) -> Flow[None]:
        if isinstance(struck.effect, Corrupt) and struck.effect.payload and isinstance(call.request, InsertMasked):
            call.request = InsertMasked(call.request.handle, flipped(call.request.blob), call.request.source)
        else:
            yield from self._world.trouble.strike(struck, call)

    def _strike_response(self, struck: Injection, call: Call, answer: Any) -> Flow[Any]:
        masked = isinstance(call.request, ExtractMasked) and isinstance(answer, bytes)
        if isinstance(struck.effect, Corrupt) and struck.effect.payload and masked:
            return flipped(answer)
        yield from self._world.trouble.strike(struck, call)
        return answer


def flipped(blob: bytes) -> bytes:
    """Return the bytes with one bit changed, in the middle."""
    middle = len(blob) // 2
    return blob[:middle] + bytes([blob[middle] ^ 1]) + blob[middle + 1 :]


def _application(name: str | None) -> str:
    return (name or "").partition("#")[0]
