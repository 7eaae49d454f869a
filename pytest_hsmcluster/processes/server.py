"""What does an HSM process do from its first order to its end?

It reads its orders from the private pipe, listens on a loopback port for clients that show a certificate, and carries
out what they ask for.  It ends with the pipe, whatever else happens.
"""

import os
import socket
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from ..cryptoki import CKA
from ..drivers.reactor import LONGEST_NAP_S, Reactor
from ..errors import ClusterError
from ..faults.injector import Faults
from ..history.events import Cause
from ..history.journal import Journal
from ..keys.masking import MaskingKey
from ..keys.source import KeySource, SeededSource, SystemSource
from ..service.accounts import Account, Accounts, UserType
from ..service.calls import Call
from ..service.commands import change_attribute
from ..service.trouble import Trouble
from ..service.world import World
from ..sim.clock import NS
from ..sim.entropy import Stream
from ..sim.flow import Flow
from . import control
from .alone import HsmAlone, RealScheduler
from .asker import Asker
from .block import Block, adopted
from .certificates import Identity, server_context
from .codec import Malformed, decode_request, encode_answer, key_of
from .database import Database
from .guard import descriptors
from .line import PROTOCOL, Frame, Line
from .pipe import Pipe
from .reporter import Reporter

LANE = 2
HANDSHAKE_S = 30
"""Longer than a client waits for an answer: the client gives up first, on an overloaded machine too."""
BACKLOG = 128

MOST_LINES = 512
"""Connections at a time, with strangers who have not shown a certificate yet; those have to make room for others.

Fewer where the system allows this process fewer descriptors.
"""

OTHERS = 32
"""Descriptors that are no connections: pipe, door, reactor, disk, and those that are open for a moment."""

MOST_AT_ONCE = 64
"""Requests of one connection under way at a time; clients of ours have one."""


class Server:
    """One HSM process.

    Args:
        pipe: to the test process.
        begin: its first order.
    """

    def __init__(self, pipe: Pipe, begin: control.Begin) -> None:
        self._pipe = pipe
        self._begin = begin
        self._scheduler = RealScheduler()
        self._reactor = Reactor(self._scheduler, begin.rate)
        self._reactor.begin(begin.now_ns)
        self._scheduler.now_ns = begin.now_ns
        self._reporter = Reporter(pipe)
        self._asker = Asker(pipe, self._reporter, begin.profile.sdk)
        self._asker.armed = frozenset(begin.points)
        self._hsm = self._made()
        self._lines: dict[Line, int] = {}
        self._owners: dict[int, bytes] = {}
        self._members = b""
        self._unsaid = 0
        self._most_lines = min(MOST_LINES, descriptors(MOST_LINES + OTHERS) - OTHERS)
        context = server_context(
            Identity(begin.hsm, begin.certificate, begin.private_key),
            begin.trust_anchor,
        )
        context.set_alpn_protocols([PROTOCOL])
        self._context = context
        self._door = _listening(begin.port)

    def run(self) -> None:
        """Serve until the pipe ends."""
        scheduler, reactor = self._scheduler, self._reactor
        reactor.watch(self._pipe.fileno(), self._ordered)
        reactor.watch(self._door.fileno(), self._called)
        self._pipe.send(control.Ready(self._door.getsockname()[1]))
        self._ordered()  # what came together with the first order
        while not self._pipe.ended:
            reactor.look(self._idle_s())
            if self._idle_s() <= 0:
                scheduler.step()
            if self._pipe.pending:
                self._ordered()

    def _idle_s(self) -> float:
        """Return for how many seconds nothing is due."""
        due_ns = self._scheduler.next_due_ns()
        return LONGEST_NAP_S if due_ns is None else min(LONGEST_NAP_S, max(0.0, self._reactor.early_s(due_ns)))

    def _made(self) -> HsmAlone:
        begin = self._begin
        profile = begin.profile
        source: KeySource = SystemSource()
        if begin.seed is not None:
            source = SeededSource(Stream(int(begin.seed), f"keys/{begin.hsm}/{begin.boots}"))
        world = World(
            profile,
            self._scheduler,
            cast(Journal, self._reporter),
            cast(Faults, self._asker),
            Block(begin.first_handle),
            source,
            MaskingKey(begin.masking_key),
        )
        world.trouble = cast(Trouble, self._asker)
        database = Database(Path(begin.folder))
        hsm = HsmAlone(begin.hsm, begin.zone, begin.ip, world, Accounts({}), database, self._reporter)
        hsm.boots = begin.boots
        hsm.load()
        return hsm

    # -- clients --------------------------------------------------------------------------

    def _called(self) -> None:
        with suppress(OSError):  # nobody is waiting, or has gone already
            while True:
                sock, address = self._door.accept()
                if self._has_room():
                    self._welcome(sock, address[1])
                else:
                    sock.close()
                    self._say(f"refused the client at port {address[1]}: {self._most_lines} are connected")

    def _has_room(self) -> bool:
        """Whether one more connection can be taken, which the oldest makes room for that shows no certificate."""
        most = self._most_lines
        if len(self._lines) >= most:
            stranger = next((line for line in self._lines if not line.shaken), None)
            if stranger is not None:
                stranger.close(f"{most} are connected, and it has not shown a certificate yet")
        return len(self._lines) < most

    def _say(self, what: str) -> None:
        """Have a line for the log; while nobody takes lines any more, their number is all that is kept."""
        if self._unsaid:
            what = f"{what} ({self._unsaid} lines before this one are left out: nobody read them)"
        self._unsaid = 0 if self._pipe.offer(control.Said(what)) else self._unsaid + 1

    def _welcome(self, sock: socket.socket, port: int) -> None:
        line = Line(sock, self._context, None, self._reactor)
        line.port = port
        self._lines[line] = 0
        now_ns = self._scheduler.now_ns
        late = self._scheduler.at(now_ns + HANDSHAKE_S * NS, lambda: line.close("the handshake took too long"), LANE)

        def shaken() -> None:
            self._scheduler.cancel(late)
            if self._members:
                line.send(Frame.MEMBERS, self._members)

        def closed(why: str) -> None:
            self._scheduler.cancel(late)
            del self._lines[line]
            if why:
                self._say(f"{'lost' if line.shaken else 'refused'} the client at port {port}: {why}")

        line.on_shaken, line.on_closed = shaken, closed
        line.on_frame = lambda kind, body: self._asked(line, kind, body)

    def _asked(self, line: Line, kind: int, body: bytes) -> None:
        try:
            if kind != Frame.REQUEST:
                raise Malformed(f"a frame of kind {kind}; a client sends requests")
            number, call = decode_request(body, lane=LANE)
        except Malformed as error:
            line.close(f"malformed: {error}")
            return
        if self._owners.get(call.session, line.peer) != line.peer:
            line.close("it named the session of another client")
            return
        if self._lines[line] >= MOST_AT_ONCE:
            line.close(f"more than {MOST_AT_ONCE} requests at once")
            return
        self._lines[line] += 1
        call.hsm = self._hsm.id
        self._asker.numbers[call] = number
        flow = self._served(line, number, call)
        try:
            wait = next(flow)
        except StopIteration:
            return
        self._scheduler.adopt(flow, wait, LANE, f"{call.command} of {call.client}")

    def _served(self, line: Line, number: int, call: Call) -> Flow[None]:
        try:
            answer: Any = yield from self._hsm.serve(call)
        except ClusterError as refused:
            answer = refused.with_traceback(None)
        except Exception:
            self._reporter.flush()
            self._pipe.send(control.Failed(number, line.port, traceback.format_exc()))
            line.close()
            return
        finally:
            del self._asker.numbers[call]
            if line in self._lines:
                self._lines[line] -= 1
        self._note_owner(call.session, line)
        body = encode_answer(number, answer)
        self._reporter.flush()
        line.send(Frame.ANSWER, body)

    def _note_owner(self, session: int, line: Line) -> None:
        """Remember whose certificate a session was opened with, for as long as there is the session."""
        if not self._hsm.has_session(session):
            self._owners.pop(session, None)
        elif not line.closed:
            self._owners.setdefault(session, line.peer)

    # -- orders ------------------------------------------------------------------------------

    def _ordered(self) -> None:
        for order in self._pipe.receive():
            if isinstance(order, control.Fate):
                self._asker.meet(order, self._scheduler)
                continue
            refusal, handles = None, None
            try:
                handles = self._carry_out(order)
            except ClusterError as refused:
                refusal = encode_answer(0, refused.with_traceback(None))
            self._reporter.flush()
            self._pipe.send(control.Done(order.number, refusal, handles))

    def _carry_out(self, order: Any) -> list[tuple[int, bool, bool]] | None:
        hsm = self._hsm
        if isinstance(order, control.Arm):
            self._asker.armed = frozenset(order.points)
        elif isinstance(order, control.Limits):
            hsm.throttled, hsm.session_limit = order.throttled, order.sessions
            hsm.store.capacity = order.capacity
            hsm.limit_disk(order.disk_full)
        elif isinstance(order, control.Insert):
            hsm.order(lambda: self._take_in(order))
        elif isinstance(order, control.Remove):
            hsm.order(lambda: self._forget(order))
        elif isinstance(order, control.Change):
            attribute = CKA(order.attribute)
            hsm.order(lambda: change_attribute(hsm, order.handle, attribute, order.value, 0, by_officer=True))
        elif isinstance(order, control.Close):
            hsm.close_session(order.client, Cause(order.cause))
            self._owners.pop(order.client, None)
        elif isinstance(order, control.Users):
            users = {u.name: Account(u.name, UserType(u.type), u.number, u.digest) for u in order.users}
            hsm.set_users(Accounts(users, dict(order.failures)))
        elif isinstance(order, control.Members):
            self._members = order.body
            for line in [*self._lines]:
                if line.shaken:
                    line.send(Frame.MEMBERS, self._members)
        else:
            return [(handle, token, tombstoned) for _, handle, token, tombstoned in hsm.audit()[2]]
        return None

    def _take_in(self, order: control.Insert) -> None:
        store, cause = self._hsm.store, Cause(order.cause)
        for record in order.keys:
            store.insert(adopted(key_of(record)), cause, source=order.source)
        for handle in order.tombstones:
            store.tombstone(handle, cause)

    def _forget(self, order: control.Remove) -> None:
        store = self._hsm.store
        if order.handle in store.keys or order.handle in store.tombstones:
            store.remove(order.handle, Cause(order.cause))


def _listening(port: int) -> socket.socket:
    """Return a socket that listens on a loopback port: the wanted one if it is free, else one that the system chose."""
    for wanted in (port, 0):
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.setblocking(False)
        try:
            door.bind(("127.0.0.1", wanted))
            door.listen(BACKLOG)
        except OSError:
            door.close()
            if not wanted:
                raise
        else:
            return door
    raise AssertionError("port 0 is free or an error")


def main(end: socket.socket) -> None:
    """Be an HSM process until the pipe ends."""
    pipe = Pipe(end, control.decode_order)
    begin = pipe.wait(LONGEST_NAP_S)
    if begin is None:
        os._exit(1)
    try:
        Server(pipe, begin).run()
    except BaseException:
        pipe.send(control.Broken(traceback.format_exc()))
        os._exit(1)
    os._exit(0)
