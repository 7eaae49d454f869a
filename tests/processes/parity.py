"""Do a simulated cluster and a cluster of processes say the same when the same happens to them?

A tale is a function that takes a `Stage`: a cluster, and a notebook in which it writes what came of each call.  `both`
tells a tale on both networks and returns what they disagree about, a line each.  What is compared is what somebody can
see: outcomes, what HSMs hold, their users and audit logs, metrics, what applications logged, what the checks find.
Never the journals: that of processes is in the order in which its lines came in.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.checkers.verdict import Finding
from pytest_hsmcluster.client.config import ConfigWarning
from pytest_hsmcluster.client.handles import KeyHandle, KeyPair
from pytest_hsmcluster.cryptoki import CKA
from pytest_hsmcluster.drivers.reactor import Reactor
from pytest_hsmcluster.errors import ClusterError, UsageError
from pytest_hsmcluster.faults.injector import Injection
from pytest_hsmcluster.hardships import Hardship
from pytest_hsmcluster.service.hsm import Hsm, HsmState

NETWORKS = ("simulated", "processes")

NEVER_S = 3600
"""Longer than any tale: what shall not happen by itself."""

SETTINGS: Mapping[str, Any] = {
    "sweep": False,
    "reconnect_interval_s": NEVER_S,
    "availability_budget_s": 10,
    "availability_poll_s": 10,
    "seed": 1,
}
"""What a tale's cluster has unless it says otherwise: nothing in it depends on how fast a machine is."""

PATIENT: Mapping[str, Any] = {"request_timeout_s": 60, "availability_budget_s": 30, "availability_poll_s": 30}
"""Time-outs of three real seconds, for a machine that has much else to do."""

CHECKS = (
    *("durable", "no_lost_keys", "no_orphan_keys", "no_resurrected_keys", "misses_retried", "no_duplicate_labels"),
    *("in_sync", "session_keys_stay_put", "no_undecryptable_data", "no_stale_handles", "retries", "linearizable"),
)
LISTS = (
    *("at_risk_keys", "lost_keys", "orphan_keys", "resurrected_keys", "routing_misses", "duplicate_labels"),
    *("differences", "undecryptable_data", "stale_handles"),
)
CHANCE = ("encrypt", "sign", "wrap_key", "random")
"""Operations whose bytes are drawn by lot: only how many there are is compared."""

PLAIN = (CKA.ID, CKA.EC_PARAMS, CKA.PUBLIC_EXPONENT)
"""Attributes in bytes that no lot decides."""


@dataclass
class Stage:
    """What a tale is told on.

    Attributes:
        cluster: simulated, or of processes.
        notes: what came of each call, in order.
        clients: every application that there was.
    """

    cluster: HsmCluster
    notes: list[Any] = field(default_factory=list)
    clients: list[Any] = field(default_factory=list)

    @property
    def chaos(self) -> Any:
        return self.cluster.chaos

    def app(self, name: str = "app", *, login: bool = True) -> Any:
        """Return a new application, or None if it cannot log in."""
        client = self(self.cluster.client, name, login=False)
        if client is None:
            return None
        self.clients.append(client)
        if login:
            self(client.login, self.cluster.default_user, self.cluster.default_password)
        return client

    def __call__(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call something, note what came of it, and return what it returned; None after an error."""
        name = getattr(call, "__name__", str(call))
        try:
            result = call(*args, **options)
        except (ClusterError, UsageError, AssertionError) as error:
            self.notes.append((name, self.seen_error(error)))
            error.__traceback__ = error.__context__ = None
            return None
        self.notes.append((name, self.seen_result(name, result)))
        return result

    def note(self, what: str, value: object) -> None:
        """Note something else that can be seen."""
        self.notes.append((what, self.seen(value)))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.cluster.clock.advance(seconds)

    def settle(self) -> None:
        """Return when every HSM process has done what it was asked for, and everybody has heard what it told."""
        clock = self.cluster.clock
        clock.run_until_idle()
        for hsm in self.cluster.hsms * 2:  # what was let go before the first is done before the second
            if hsm.state is HsmState.UP:
                hsm.audit()
        if isinstance(clock.pace, Reactor):
            while clock.pace.look():
                pass

    # -- what is seen -------------------------------------------------------------------

    def seen(self, value: Any, *, chance: bool = False) -> Any:
        """Return a value without what is drawn by lot: key bytes, and the numbers that HSMs give to keys."""
        if isinstance(value, KeyHandle):
            return (self.key(value.number), value.label, value.kind, value.token, value.cls)
        if isinstance(value, KeyPair):
            return self.seen(value.private), self.seen(value.public)
        if isinstance(value, bytes | bytearray):
            return f"{len(value)} bytes" if chance else bytes(value)
        if isinstance(value, Mapping):
            return {
                str(name): self.seen(one, chance=isinstance(name, CKA) and name not in PLAIN)
                for name, one in sorted(value.items(), key=lambda item: str(item[0]))
            }
        if isinstance(value, list | tuple):
            seen = [self.seen(one, chance=chance) for one in value]
            return sorted(seen) if seen and all(isinstance(one, KeyHandle) for one in value) else seen
        if isinstance(value, Finding):
            return value.label, self.key(value.handle), tuple(value.hsms), self.clauses(value.cause)
        if isinstance(value, Hsm):
            return value.id
        if isinstance(value, Injection | Hardship):
            return str(value), value.hits
        if value is None or isinstance(value, bool | int | float | Enum):
            return value
        return self.text(str(value)) if isinstance(value, str) else type(value).__name__

    def seen_result(self, name: str, result: Any) -> Any:
        """Return what an operation returned, without what is drawn by lot."""
        return self.seen(result, chance=name in CHANCE)

    def seen_error(self, error: BaseException) -> tuple[Any, ...]:
        """Return all that can be seen of an error."""
        marks = [getattr(error, name, None) for name in ("ckr", "hsm_code", "outcome", "hsm", "copies", "needed")]
        return (type(error).__name__, *marks, getattr(error, "leftovers", None), self.text(str(error)))

    def text(self, text: str) -> str:
        """Return a text with names instead of handles, and without instants."""
        names = self.cluster._world.register.names
        timeless = re.sub(r"\d+(\.\d+)? (s|ms|µs)\b", "some s", text)
        return re.sub(r"\d{6,}", lambda found: names.get(int(found[0]), "a foreign handle"), timeless)

    def clauses(self, text: str) -> list[str]:
        """Return the parts of a sentence, sorted: what happened at the same instant is told by name, else by time."""
        return sorted(re.split("[,;] ", self.text(text)))

    def key(self, handle: int | None) -> str:
        return self.cluster._world.register.names.get(handle or 0, f"no key {handle}")

    # -- the end ------------------------------------------------------------------------

    def end(self) -> dict[str, Any]:
        """Return all that can be seen of a cluster at the end of a tale."""
        cluster = self.cluster
        for hsm in cluster.hsms:
            cluster.chaos.resume(hsm.id)  # who stands still cannot say what it holds
        self.settle()
        seen: dict[str, Any] = {f"note {index}": note for index, note in enumerate(self.notes)}
        for hsm in cluster.service.hsms.values():
            seen |= {f"{hsm.id}: {what}": value for what, value in self._hsm(hsm)}
        for client in self.clients:
            process = client._process
            links = {id: (one.up, one.logged_in) for id, one in process.connections.items()}
            seen[f"{process.name}: log"] = [self.text(line) for line in process.log_lines]
            seen[f"{process.name}: state"] = (client.alive, process.user, sorted(process.homes.values()))
            seen[f"{process.name}: connections"] = links
        seen["metrics"] = cluster.metrics()
        seen["faults"] = [(str(one), one.hits) for one in cluster.chaos.injections]
        seen["unfired"] = [str(one) for one in cluster.chaos.unfired]
        for name in CHECKS:
            try:
                cluster.check.run(name)
            except AssertionError as error:
                # Whether somebody waited before the next attempt is a matter of how fast a machine is.
                lines = [line for line in str(error).splitlines() if "did not back off" not in line]
                seen[name] = sorted(map(self.clauses, lines)) or "holds"
            else:
                seen[name] = "holds"
        for name in LISTS:
            seen[f"{name}()"] = sorted(map(str, self.seen(getattr(cluster.check, name)())))
        return seen

    def _hsm(self, hsm: Hsm) -> Iterator[tuple[str, Any]]:
        for what, keys in (("keys", hsm.keys), ("tombstones", hsm.tombstones)):
            for key in sorted(keys.values(), key=lambda key: key.name):
                attributes = {name: key.attributes[name] for name in key.attributes}
                yield (
                    f"{what}: {key.name}",
                    [key.label, key.mat, key.owner, key.shares, key.token, key.changed, self.seen(attributes)],
                )
        accounts = hsm.accounts
        yield "state", (str(hsm.state), hsm.zone, hsm.boots, hsm.session_count, hsm.throttled, hsm.store.capacity)
        yield "users", [(user.name, str(user.type), user.number, user.digest) for user in accounts.users.values()]
        yield "bad passwords", {name: count for name, count in accounts.failures.items() if count}
        yield (
            "audit log",
            [
                (e.sequence, e.reboots, e.opcode, e.session, e.response, self.text(e.text), e.user)
                + (tuple(map(self.key, e.handles)),)
                for e in hsm.audit_log
            ],
        )


Tale = Callable[[Stage], None]


def told(tale: Tale, network: str, **settings: Any) -> dict[str, Any]:
    """Tell a tale on a network, and return all that was seen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)
        pace = {"clock_rate": 20} if network == "processes" else {}
        with HsmCluster(network=network, **pace, **{**SETTINGS, **settings}) as cluster:
            stage = Stage(cluster)
            with suppress(StopIteration):
                tale(stage)
            return stage.end()


def both(tale: Tale, **settings: Any) -> list[str]:
    """Tell a tale on both networks, and return what they disagree about."""
    return differences(*(told(tale, network, **settings) for network in NETWORKS))


def assert_alike(tale: Tale, **settings: Any) -> None:
    """Tell a tale on both networks.

    A machine that stands still for half a second lets a request time out.  So a tale that differs is told once more,
    patiently: what is no difference then was none between the networks.

    Raises:
        AssertionError: something that can be seen differs; says what.
    """
    found = both(tale, **settings) and both(tale, **{**settings, **PATIENT})
    assert not found, "\n".join(["the two networks differ:", *found])


def differences(simulated: Mapping[str, Any], processes: Mapping[str, Any]) -> list[str]:
    """Return what two tellings disagree about, a line each; empty if nothing."""
    found = []
    for name in dict.fromkeys([*simulated, *processes]):
        one, other = simulated.get(name, "nothing"), processes.get(name, "nothing")
        if one == other:
            continue
        if isinstance(one, list) and isinstance(other, list):
            lines = [
                (index, *pair)
                for index, pair in enumerate(zip([*one, "nothing"], [*other, "nothing"], strict=False))
                if pair[0] != pair[1]
            ]
            index, one, other = lines[0] if lines else (0, one, other)
            name = f"{name}, {index}"
        found.append(f"{name}\n    simulated: {one}\n    processes: {other}")
    return found
