"""How does a test put trouble between applications and HSMs, and how does all of it go away again?"""

import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import RLock
from types import TracebackType
from typing import Self

from ..errors import UsageError
from . import toxics
from .answers import NotThere, Toxic, ToxiproxyError
from .names import Names, is_leftover
from .roads import Address, Roads
from .toxics import BOTH, Poison
from .trouble import Trouble


@dataclass(slots=True, eq=False)
class _Way:
    """One proxy of ours: what an application's connections to an HSM go through."""

    client: str
    hsm: str
    name: str
    address: Address
    seat: socket.socket | None = None


class ToxiproxyServer:
    """A real Toxiproxy between the applications and the HSM processes of one cluster.

    One proxy for each application and HSM, made before their first connection.  Each verb returns a `Trouble`, which
    ends with its block or with `close()`.  It strikes connections that are open and those that come.  Others may use
    the same server: only proxies of our own are made, changed and deleted.

    Verbs take `client` (one application's name; None for all), `direction` (`both`, `upstream`: from the application to
    the HSM, or `downstream`) and `toxicity` (the share of connections that are struck: drawn for each way by itself,
    when a connection begins and when toxics change).  They raise `UsageError` for arguments that make no sense and
    where no cluster is attached, and `ToxiproxyError` when the server does not answer.

    Args:
        url: of a server that runs: `http://127.0.0.1:8474`.
        worker: name of the xdist worker; stands in the names of the proxies.

    Raises:
        UsageError: the address is not one of this machine.

    Attributes:
        url: where the server answers.
    """

    def __init__(self, url: str, worker: str = "main") -> None:
        from .api import Api  # it needs an extra of this package, and time: scenarios know this module without

        self._api: Api = Api(url)
        self.url = self._api.url
        self._names = Names(worker)
        self._lock = RLock()  # connections are opened on whatever thread
        self._ways: dict[tuple[str, str], _Way] = {}
        self._troubles: list[Trouble] = []
        self._numbers = 0
        self._roads: Roads | None = None
        self._closed = False
        self._owner = os.getpid()

    @property
    def version(self) -> str:
        """What the server calls its version; `git` when it was built with `go install`."""
        return self._api.version()

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What is in force, in the order in which it began."""
        return tuple(self._troubles)

    def toxics(self, client: str, hsm: str) -> tuple[Toxic, ...]:
        """Return the toxics between an application and an HSM, as the server has them."""
        way = self._ways.get((client, hsm))
        return () if way is None else self._api.toxics(way.name)

    def __repr__(self) -> str:
        return f"<ToxiproxyServer {self.url}, {len(self._ways)} proxies, {len(self._troubles)} troubles>"

    # -- the cluster ------------------------------------------------------------------------

    def attach(self, roads: Roads) -> None:
        """Stand between the applications and the HSMs of a cluster from now on.

        Raises:
            UsageError: it stands there for another cluster, or is closed.
        """
        if self._closed or self._roads is not None:
            raise UsageError(f"{self!r} is {'closed' if self._closed else 'attached to a cluster already'}")
        self._roads = roads
        roads.on_needed, roads.on_moved = self._needed, self._moved
        for client, hsm in roads.travelled():
            self._needed(client, hsm)

    def detach(self) -> None:
        """End all troubles, the newest first, have connections go straight, and delete our proxies.

        Everything is tried, also when something fails.  Doing it twice is harmless, and in a process that was forked
        it does nothing: proxies and connections are those of its parent.

        Raises:
            ToxiproxyError: the server does not answer; another run deletes what is left.
        """
        if self._owner != os.getpid():
            return
        with self._lock:
            roads, self._roads = self._roads, None
            ways = [*self._ways.values()]
            troubles = self._troubles.copy()
        if roads is not None:
            roads.on_needed, roads.on_moved = _nothing, _nothing
        with ExitStack() as stack:  # backwards
            for way in ways:
                stack.callback(self._delete, way)
                if roads is not None:
                    stack.callback(roads.detour, way.client, way.hsm, None)
            for trouble in troubles:
                stack.callback(trouble.end)

    def close(self) -> None:
        """Detach, for good.  Doing it twice is harmless."""
        self._closed = True
        self.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def remove_leftovers(self) -> list[str]:
        """Delete the proxies that killed test processes of this machine have left, and return their names."""
        names = [name for name in self._api.names() if is_leftover(name)]
        for name in names:
            with suppress(NotThere):  # another worker was faster
                self._api.delete(name)
        return names

    # -- verbs --------------------------------------------------------------------------------

    def latency(
        self,
        hsm: str,
        seconds: float,
        jitter_s: float = 0,
        *,
        client: str | None = None,
        direction: str = BOTH,
        toxicity: float = 1.0,
    ) -> Trouble:
        """Have bytes come later: each way by so many seconds, so an answer by twice as many.

        Args:
            hsm: id of the HSM.
            seconds: the delay.
            jitter_s: how much it varies, up and down.
            client, direction, toxicity: as for all verbs.
        """
        return self._poison(hsm, toxics.latency(seconds, jitter_s), client, direction, toxicity)

    def bandwidth(
        self, hsm: str, kb_s: int, *, client: str | None = None, direction: str = BOTH, toxicity: float = 1.0
    ) -> Trouble:
        """Let no more than so many kilobytes (1000 bytes) a second through, each way and connection."""
        return self._poison(hsm, toxics.bandwidth(kb_s), client, direction, toxicity)

    def slow_close(
        self, hsm: str, seconds: float, *, client: str | None = None, direction: str = BOTH, toxicity: float = 1.0
    ) -> Trouble:
        """Have the end of a connection be noticed so many seconds later."""
        return self._poison(hsm, toxics.slow_close(seconds), client, direction, toxicity)

    def timeout(
        self, hsm: str, seconds: float = 0, *, client: str | None = None, direction: str = BOTH, toxicity: float = 1.0
    ) -> Trouble:
        """Let nothing through, and close a connection after so many seconds; 0 is never.

        Its end closes the connections that it held.
        """
        return self._poison(hsm, toxics.timeout(seconds), client, direction, toxicity)

    def reset_peer(
        self, hsm: str, seconds: float = 0, *, client: str | None = None, direction: str = BOTH, toxicity: float = 1.0
    ) -> Trouble:
        """Close connections so many seconds after the next bytes, which do not arrive.

        Connections that begin later end with a TCP reset; on those that were open already Toxiproxy does not set that,
        and they end with an orderly close.
        """
        return self._poison(hsm, toxics.reset_peer(seconds), client, direction, toxicity)

    def slicer(
        self,
        hsm: str,
        average_bytes: int,
        variation_bytes: int = 0,
        delay_s: float = 0,
        *,
        client: str | None = None,
        direction: str = BOTH,
        toxicity: float = 1.0,
    ) -> Trouble:
        """Cut what is sent into small parts.

        Args:
            hsm: id of the HSM.
            average_bytes: how large.
            variation_bytes: how much larger or smaller; less than the average.
            delay_s: the pause after each.
            client, direction, toxicity: as for all verbs.
        """
        poison = toxics.slicer(average_bytes, variation_bytes, delay_s)
        return self._poison(hsm, poison, client, direction, toxicity)

    def limit_data(
        self, hsm: str, bytes: int, *, client: str | None = None, direction: str = BOTH, toxicity: float = 1.0
    ) -> Trouble:
        """Close a connection once so many bytes went through, counted each way from now, or from its beginning."""
        return self._poison(hsm, toxics.limit_data(bytes), client, direction, toxicity)

    def down(self, hsm: str, *, client: str | None = None) -> Trouble:
        """Close all connections and refuse new ones."""
        return self._begin(hsm, client, "down", ())

    # -- inside -------------------------------------------------------------------------------

    def _poison(self, hsm: str, poison: Poison, client: str | None, direction: str, toxicity: float) -> Trouble:
        type, attributes = poison
        share = toxics.check_toxicity(toxicity)
        streams = toxics.streams(direction)
        with self._lock:
            self._numbers += 1
            number = self._numbers
        parts = tuple(Toxic(f"{type}-{stream}-{number}", type, stream, share, attributes) for stream in streams)
        return self._begin(hsm, client, type, parts)

    def _begin(self, hsm: str, client: str | None, type: str, parts: tuple[Toxic, ...]) -> Trouble:
        if self._roads is None:
            raise UsageError(f"{self!r} stands before no cluster: attach() comes first")
        if client is not None and (not isinstance(client, str) or not client):
            raise UsageError(f"client is the name of an application, or None for all; got {client!r}")
        self._roads.upstream(hsm)  # refuses an HSM that is not there
        trouble = Trouble(self._end, hsm, client, type, parts)
        with self._lock:
            self._troubles.append(trouble)
            try:
                for way in self._struck(trouble):
                    self._apply(trouble, way)
            except ToxiproxyError:
                with suppress(ToxiproxyError):
                    self._end(trouble)
                raise
        return trouble

    def _end(self, trouble: Trouble) -> None:
        with self._lock:
            if not trouble.active:
                return
            trouble.active = False
            self._troubles.remove(trouble)
            with ExitStack() as stack:
                for way in self._struck(trouble):
                    stack.callback(self._settle, way)
                    for part in trouble.parts:
                        stack.callback(self._remove, way, part)

    def _struck(self, trouble: Trouble) -> list[_Way]:
        return [way for way in self._ways.values() if trouble.strikes(way.client, way.hsm)]

    def _apply(self, trouble: Trouble, way: _Way) -> None:
        trouble.met += 1
        for part in trouble.parts:
            self._api.add_toxic(way.name, part)
        self._settle(way)

    def _remove(self, way: _Way, part: Toxic) -> None:
        with suppress(NotThere):  # it was never put there
            self._api.remove_toxic(way.name, part.name)

    def _settle(self, way: _Way) -> None:
        """Have a proxy listen, or not if some trouble says so."""
        down = any(one.type == "down" and one.strikes(way.client, way.hsm) for one in self._troubles)
        if down and way.seat is None:
            self._api.enable(way.name, False)
            way.seat = _seat(way.address)
        elif not down and way.seat is not None:
            way.seat.close()
            way.seat = None
            self._api.enable(way.name, True)

    def _needed(self, client: str, hsm: str) -> None:
        roads = self._roads
        if roads is None:
            return
        try:
            upstream = roads.upstream(hsm)  # like detour() without our lock: it may want one of its own
        except UsageError:  # it is a member no more: whoever still knows it is refused there, as without a proxy
            return
        with self._lock:
            if self._roads is not roads:  # detached meanwhile
                return
            way = self._ways.get((client, hsm)) or self._paved(client, hsm, upstream)
        roads.detour(client, hsm, way.address)
        if self._roads is not roads:
            roads.detour(client, hsm, None)

    def _paved(self, client: str, hsm: str, upstream: Address) -> _Way:
        """Make a proxy, with all that is to trouble it; one that cannot be made so is not made."""
        proxy = self._api.create(self._names.new(client, hsm), upstream)
        way = self._ways[client, hsm] = _Way(client, hsm, proxy.name, proxy.listen)
        try:
            for trouble in self._troubles:
                if trouble.strikes(client, hsm):
                    self._apply(trouble, way)
        except ToxiproxyError:
            with suppress(ToxiproxyError):
                self._delete(way)
            raise
        return way

    def _moved(self, hsm: str) -> None:
        roads = self._roads
        if roads is None:
            return
        address = roads.upstream(hsm)
        with self._lock:
            for way in self._ways.values():
                if way.hsm == hsm:
                    self._api.point(way.name, address)

    def _delete(self, way: _Way) -> None:
        with self._lock:
            self._ways.pop((way.client, way.hsm), None)
            if way.seat is not None:
                way.seat.close()
            with suppress(NotThere):
                self._api.delete(way.name)


def _seat(address: Address) -> socket.socket:
    """Keep a port, without listening, so that nobody else sits down there while its proxy is down.

    Who tries to connect is refused.
    """
    seat = socket.socket()
    seat.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that were just closed still use the port
    with suppress(OSError):  # somebody was faster; then the proxy cannot come back either, and says so
        seat.bind(address)
    return seat


def _nothing(*_: str) -> None:
    """There is no proxy to think of."""
