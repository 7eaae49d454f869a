"""Where do the HSM processes of one cluster live?

In a rack: a private folder for their disks, the certificates that the cluster was activated with, and the processes
themselves.  It is the home of the mirrors (see `mirror`), and tells clients' HSMs who the members are.
"""

import logging
import shutil
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from ..drivers.pace import today
from ..drivers.reactor import Reactor
from ..errors import UsageError
from ..faults.effects import Crash, Delay, Destroy, Fail, FillDisk, Hold, Pause
from ..faults.injector import Injection
from ..faults.points import Point
from ..service.accounts import Accounts
from ..service.calls import Call
from ..service.hsm import HsmState
from ..service.trouble import ConnectionReset, MessageLost
from ..service.world import World
from ..sim.flow import Flow
from ..sim.scheduler import SERVICE_LANE
from .certificates import activate, client_context
from .control import Asking, Begin, Failed, Fate, Members
from .folder import Folder
from .line import PROTOCOL
from .link import Link
from .mirror import HsmMirror
from .spawner import forget

HANDLES_EACH = 1 << 20
"""Handles that one incarnation of an HSM may give out: an old backup must not give out those of live keys again."""

PARENTS_HANDLES = HANDLES_EACH * 64
"""Handles that a clone leaves to its parent, whose HSMs go on giving out theirs."""

LEAST_FREE_BYTES = 1 << 20
"""An HSM that ended where there is less has probably ended because of that."""

RUNGS = (Point.HSM_RECEIVE, Point.HSM_AUTHORIZE, Point.HSM_EXECUTE, Point.HSM_COMMIT, Point.HSM_REPLY)
"""Points that a request passes in the HSM's process."""

log = logging.getLogger("pytest_hsmcluster.hsm")
log.addHandler(logging.NullHandler())  # outside pytest nobody has asked for these lines


class Rack:
    """The processes of one cluster's HSMs.

    Args:
        world: of the cluster.
        cluster: its id.
        reactor: ties the world to real time.
        seed: of the keys; None draws them from the system.

    Attributes:
        mirrors: HSM id → what the test process knows of it.
        call: returns the call that a request's number belongs to, or None.
        on_moved: called with the id of an HSM that listens on another port than before.
    """

    def __init__(self, world: World, cluster: str, reactor: Reactor, seed: int | None) -> None:
        self.mirrors: dict[str, HsmMirror] = {}
        self.call: Callable[[int], Call | None] = _no_call
        self.on_moved: Callable[[str], None] = _nobody
        self.cluster = cluster
        self._world = world
        if world.register.inherited:
            world.register.skip(PARENTS_HANDLES)  # `sync_key` brings keys of the parent under their own handles
        self._reactor = reactor
        self._seed = seed
        self._activation = activate(cluster, today())
        self._profile = replace(world.profile, wire_ns=0, execute_ns=0, clone_ns=0)  # work takes what it takes
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._ports: dict[str, int] = {}
        self._folder = Folder()
        world.faults.on_change = self.arm

    def hsm(self, id: str, zone: str, ip: str, world: World, accounts: Accounts) -> HsmMirror:
        """Return the mirror of a new HSM, which has no process yet."""
        mirror = self.mirrors[id] = HsmMirror(id, zone, ip, world, accounts, self)
        self.folder(id).mkdir(mode=0o700)
        mirror.arm(self._armed())
        return mirror

    def members(self) -> dict[str, int]:
        """Return the ports of the members: HSM id → port on the loopback interface."""
        return dict(self._ports)

    def client_context(self, application: str) -> ssl.SSLContext:
        """Return the TLS side of an application, with a certificate of its own."""
        if application not in self._contexts:
            identity = self._activation.client(application)
            context = self._contexts[application] = client_context(identity, self._activation.customer_ca)
            context.set_alpn_protocols([PROTOCOL])
        return self._contexts[application]

    def announce(self) -> None:
        """Tell every HSM who the members are, so that their clients learn it."""
        running = {id: mirror for id, mirror in self.mirrors.items() if mirror.link.running}
        there = {id: mirror.link.port for id, mirror in running.items() if mirror.state is not HsmState.JOINING}
        lost = [id for id, mirror in self.mirrors.items() if mirror.state is HsmState.LOST]
        self._ports = {id: port for id, port in {**self._ports, **there}.items() if id not in lost}
        body = msgspec.msgpack.encode(self._ports)
        for mirror in running.values():
            mirror.order(lambda number: Members(number, body))

    def arm(self) -> None:
        """Have requests wait for their fate where a fault may strike now."""
        points = self._armed()
        for mirror in self.mirrors.values():
            mirror.arm(points)

    def close(self) -> None:
        """End every process and remove every file."""
        with ExitStack() as ends:  # one that cannot be ended as it should does not keep the others alive
            ends.callback(forget, self._folder.path)
            ends.callback(self._folder.remove)
            for mirror in self.mirrors.values():
                mirror.link.on_end, mirror.audited = _nothing, True
                ends.callback(mirror.link.kill)
        del self.call, self.on_moved

    # -- for the mirrors ------------------------------------------------------------------

    def link(self, mirror: HsmMirror) -> Link:
        """Return the hold on an HSM's process, which has not been started."""
        return Link(mirror.id, self._reactor, mirror.hear)

    def folder(self, hsm: str) -> Path:
        """Return the folder of an HSM's disk."""
        return self._folder.path / hsm

    def start(self, mirror: HsmMirror) -> None:
        """Start an HSM's process."""
        world, activation = self._world, self._activation
        mirror.link.start(
            self._folder.path,
            Begin(
                self.cluster,
                mirror.id,
                mirror.zone,
                mirror.ip,
                mirror.boots,
                self._profile,
                self._reactor.reached_ns(),
                self._reactor.rate,
                world.masking_key.reveal(),
                None if self._seed is None else str(self._seed),  # it may have any number of digits
                world.register.block(HANDLES_EACH),
                activation.hsm.chain,
                activation.hsm.key,
                activation.trust_anchor,
                str(self.folder(mirror.id)),
                self._ports.get(mirror.id, 0),
                self._armed(),
            ),
        )

    def up(self, mirror: HsmMirror) -> None:
        """An HSM's process listens: on the port that it had before, if that was free."""
        before = self._ports.get(mirror.id)
        if before is not None and before != mirror.link.port:
            self.announce()
            self.on_moved(mirror.id)

    def asked(self, mirror: HsmMirror, question: Asking) -> None:
        """A request waits at an armed point: write that it is there, and decide what becomes of it."""
        call, point = self.call(question.request), Point.of(question.point)
        if call is None:  # of a client that is none of ours
            mirror.link.tell(Fate(question.number))
            return
        struck = self._world.faults.reach(point, call)
        if struck is not None and isinstance(struck.effect, Hold):
            flow = self._held(mirror, question, struck)
            self._world.scheduler.spawn(flow, SERVICE_LANE, f"a request held on {mirror.id}")
            return
        fate = Fate(question.number)
        if struck is not None:
            effect = struck.effect
            if isinstance(effect, Delay):
                fate = Fate(question.number, delay_ns=effect.ns)
            elif isinstance(effect, Fail):
                fate = Fate(question.number, error=effect.answer)
            elif isinstance(effect, Crash | Destroy):
                with suppress(ConnectionReset, MessageLost):
                    self._world.trouble.cut(effect, call, point)
            elif isinstance(effect, Pause | FillDisk):
                self._world.trouble.afflict(struck, call)
        mirror.link.tell(fate)

    def said(self, mirror: HsmMirror, line: str) -> None:
        """Write a line of an HSM to the log."""
        log.warning("%s: %s", mirror.id, line)

    def failed(self, mirror: HsmMirror, failed: Failed) -> None:
        """Write to the log what a foreign client did to itself; what happens to one of ours is our mistake.

        Raises:
            AssertionError: the request was ours.
        """
        if self.call(failed.request) is not None:
            raise AssertionError(f"a request failed on {mirror.id} by a mistake in pytest-hsmcluster:\n{failed.trace}")
        *_, last = failed.trace.splitlines()
        self.said(
            mirror, f"lost the client at port {failed.port}: its request makes no sense ({last.partition(':')[0]})"
        )

    def broke(self, mirror: HsmMirror, trace: str) -> None:
        """Say that an HSM process ended by a mistake.

        Raises:
            UsageError: there is no room for its disk.
            AssertionError: else.
        """
        if shutil.disk_usage(self._folder.path).free < LEAST_FREE_BYTES:
            raise UsageError(
                f"HSM processes keep their disks in {self._folder.path.parent}, and no room is left there: "
                f"{mirror.id} has ended; set TMPDIR to a larger folder"
            )
        raise AssertionError(f"the process of {mirror.id} ended by a mistake in pytest-hsmcluster:\n{trace}")

    def ended(self, mirror: HsmMirror) -> None:
        """An HSM process ended, and nobody here ended it: it has crashed, whatever a fault at `hsm.stop` says."""
        if mirror.alive:
            mirror.read_disk()
            self._world.trouble.power.fell(mirror.id)

    # -- inside -----------------------------------------------------------------------------

    def _armed(self) -> tuple[str, ...]:
        return tuple(str(point) for point in RUNGS if self._world.faults.waits_at(point))

    def _held(self, mirror: HsmMirror, question: Asking, struck: Injection) -> Flow[None]:
        boots = mirror.boots
        yield struck.held
        if mirror.boots == boots:  # else whoever asked has died, and questions are counted anew
            mirror.link.tell(Fate(question.number))


def _no_call(number: int) -> None:
    """There are no calls."""


def _nobody(hsm: str) -> None:
    """Nobody listens."""


def _nothing() -> None:
    """Nobody wants to know."""
