"""What does a test hold of the PKCS#11 library?"""

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from ..errors import UsageError
from .active import SLOTS, module
from .application import QUIET, Called, log
from .token import Token

if TYPE_CHECKING:
    from ..cluster import HsmCluster
    from .server import Server

_MOST_TOLD = 20


class Pkcs11Door:
    """The way in for applications that load a PKCS#11 library: some clusters, each a token in a slot of its own.

    Under pytest the fixture `hsm_pkcs11` gives one to the clusters of the test; elsewhere it is a context manager, and
    raises at its end what went wrong behind the library, where no exception can pass.

    Args:
        clusters: in the order of their slots; `add` brings others.

    Raises:
        UsageError: there is no library: the package was built without a C compiler.

    Attributes:
        module: path of the shared library, for whoever loads it.
        token_label: of the first cluster's token: `hsm1`, or `cavium` under SDK 3.
        slot_id: number of its slot.
        user_pin: `<user>:<password>` of the default crypto user there.
        slots: number of a slot → its token: `.cluster`, `.label`, `.user_pin`.
        calls: every call of the library, in this process and through the socket, in order.
    """

    def __init__(self, *clusters: "HsmCluster") -> None:
        self.module = str(module())
        self.calls: list[Called] = []
        self.slots: dict[int, Token] = {}
        self._server: Server | None = None
        self._pace: Literal["calls", "wall"] = "calls"
        self._open = ExitStack()
        SLOTS.carry()
        self._open.enter_context(SLOTS.listening(self._hear))
        for cluster in clusters:
            self.add(cluster)

    def add(self, cluster: "HsmCluster", test: str = "") -> int:
        """Put a cluster behind the door, and return the number of its slot.

        Args:
            test: to which it belongs, for people.
        """
        token = cluster.token(test)
        number = SLOTS.add(token)
        self.slots[number] = token
        if self._server is not None:
            self._server.serve(token)
        return number

    @property
    def pace(self) -> Literal["calls", "wall"]:
        """How time passes for processes at the socket.

        `calls`: a call takes its simulated latency, and nothing else takes time.  `wall`: between calls simulated time
        follows the wall clock, for applications that poll or sleep; such a history is not reproducible, and says so.
        A cluster whose clock is real, as that of processes is, passes its time by itself, whatever the pace is.
        """
        return self._pace

    @pace.setter
    def pace(self, pace: Literal["calls", "wall"]) -> None:
        if pace not in ("calls", "wall"):
            raise UsageError(f"pace is 'calls' or 'wall'; got {pace!r}")
        if self._server is not None:
            raise UsageError("pace is set before .env is read: applications may be connected already")
        self._pace = pace

    @property
    def refusals(self) -> list[str]:
        """The last calls that were refused, and why: what their return value does not say."""
        told = [str(called) for called in self.calls if called.why and called.result not in QUIET]
        counts = dict.fromkeys(told[-_MOST_TOLD:], 0)
        for line in told:
            if line in counts:
                counts[line] += 1
        return [f"{line} ({times} times)" if times > 1 else line for line, times in counts.items()]

    def _hear(self, called: Called) -> None:
        self.calls.append(called)
        if called.outlived and self.slots:
            token = self.slots.get(called.slot) or self.slots[self.slot_id]
            place = token.sites.caller()
            where = f" at {place}" if place is not None and place.path else ""
            token.outlived(f"stale handle: {called.why}; used afterwards: {called.function}{where}")

    @property
    def slot_id(self) -> int:
        """The slot of the first cluster.

        Raises:
            UsageError: there is none.
        """
        if not self.slots:
            raise UsageError("there is no cluster behind this door: with Pkcs11Door(cluster) as door: …")
        return next(iter(self.slots))

    @property
    def token_label(self) -> str:
        """The label of the first cluster's token."""
        return self.slots[self.slot_id].label

    @property
    def user_pin(self) -> str:
        """The PIN that logs the first cluster's default user in: `name:password`."""
        return self.slots[self.slot_id].user_pin

    @property
    def env(self) -> dict[str, str]:
        """The environment in which another process finds this test's clusters: `HSMCLUSTER_PKCS11_SOCKET`."""
        from .server import SOCKET_VARIABLE, Server

        if self._server is None:
            from ..drivers.pace import RealPace

            self._server = Server(self.slots, SLOTS.gone, self._hear, RealPace() if self.pace == "wall" else None)
            self._open.callback(self._server.close)
        return {SOCKET_VARIABLE: self._server.path}

    @property
    def failures(self) -> list[BaseException]:
        """Exceptions that no return value says; whoever asks takes them away."""
        applications = [SLOTS.application, *(self._server.applications if self._server else ())]
        found = [error for one in applications for error in one.failures]
        for one in applications:
            one.failures.clear()
        return found

    def close(self) -> None:
        """Shut the door: its slots are gone, and whoever is connected is hung up on."""
        for failure in self.failures:  # after the body of the test: the next test has no part in it
            log.error("after the test: %s: %s", type(failure).__name__, failure)
        self._open.close()
        for number in self.slots:
            SLOTS.remove(number)
        self.slots = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        failures = self.failures if error is None else []
        self.close()
        if failures:
            raise failures[0]

    def __repr__(self) -> str:
        return f"<Pkcs11Door to {', '.join(token.cluster for token in self.slots.values()) or 'nothing'}>"
