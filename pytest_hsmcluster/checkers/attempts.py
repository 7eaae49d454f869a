"""Which calls of an application are attempts at the same thing?"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..history.events import BIRTHS, Event, Kind
from ..history.places import OURS, Place, Site
from .facts import Facts
from .operation import CREATES, Operation, Outcome

SitesOf = Callable[[int], Site]
"""Number of an operation → who called it."""

INCURABLE = (
    "StaleHandle",
    "StaleSession",
    "LoginFailed",
    "AccountLocked",
    "KeyAccessDenied",
    "KeyFunctionNotPermitted",
    "KeyUnextractable",
    "TemplateInvalid",
    "MechanismInvalid",
    "DataInvalid",
    "SignatureInvalid",
    "UsageError",
)
"""Errors that say what is wrong with the call itself, which is no better the second time."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call.

    Attributes:
        op: number of the operation.
        place: the line that called, or None where that is not known.
        key: "key-N" that a create made, or that any other call is about; else None.
        began_ns, ended_ns: instants; `ended_ns` is None while it is open.  Through the PKCS#11 library a use begins
            where `C_…Init` asks an HSM for the key.
        outcome: `ok`, `fail`, `info` or `open`.
        error: class name of what it raised; None if it raised nothing.
        hsm: HSM that the error is about, or None.
        sends: commands that the client sent for it, to whatever HSM; its own retries included.
        incurable: whether its error is one that no retry of the same call heals.
        blind: whether it made a key again without a look for the one that the attempt before may have left.
    """

    op: int
    place: Place | None
    key: str | None
    began_ns: int
    ended_ns: int | None
    outcome: Outcome
    error: str | None
    hsm: str | None
    sends: int
    incurable: bool
    blind: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """What an application did for one thing that it wanted: an attempt, and those after errors, up to an `ok`.

    Attributes:
        operation: name of the operation.
        application: who called.
        key: "key-N" that it is about, or None; of a create the newest that it made.
        label: of the key, given or known.
        attempts: in order; all but the last one ended with an error.
        adopted: whether the application found the key that a create left whose outcome nobody knew.
    """

    operation: str
    application: str
    key: str | None
    label: str | None
    attempts: tuple[Attempt, ...]
    adopted: bool = False

    @property
    def place(self) -> Place | None:
        """The line of the first attempt."""
        return self.attempts[0].place

    @property
    def waits_ns(self) -> tuple[int, ...]:
        """The backoff curve: from each error to the next attempt, ns of simulated time."""
        pairs = zip(self.attempts, self.attempts[1:], strict=False)
        return tuple(after.began_ns - (before.ended_ns or 0) for before, after in pairs)

    @property
    def elapsed_ns(self) -> int:
        """From the first attempt to the end of the last one that has ended; 0 while the first is open."""
        ends = [one.ended_ns for one in self.attempts if one.ended_ns is not None]
        return ends[-1] - self.attempts[0].began_ns if ends else 0

    @property
    def errors(self) -> tuple[str, ...]:
        """What each attempt raised, in order."""
        return tuple(one.error for one in self.attempts if one.error is not None)

    @property
    def healed(self) -> bool:
        """Whether the application had what it wanted in the end."""
        return self.attempts[-1].outcome == "ok" or self.adopted

    @property
    def sends(self) -> int:
        """Commands that it sent to HSMs in all."""
        return sum(one.sends for one in self.attempts)


def chains(facts: Facts, sites: SitesOf) -> list[Chain]:
    """Return what an application did for each thing that it wanted, in the order in which it began.

    Attempts at one thing are calls of one application, of one operation, on one key (creates: with one label, class and
    kind), from one function of it (in a test function: one line), by one thread or task, each begun after the error of
    the one before.  Where an attempt has a task to itself it follows the only one that could be before it.
    """
    links = _Links()
    logins: dict[str, list[int]] = {}
    found: dict[tuple[str, str | None], None] = {}
    for number, operation in facts.operations.items():
        site = sites(number)
        if site.place is not OURS:
            links.add(operation, site)
        if operation.ended is not None and _is_ok(operation, "login"):
            logins.setdefault(operation.client, []).append(operation.ended.index)
        elif operation.ended is not None and _is_ok(operation, "find_keys"):
            found.update(((operation.client, key), None) for key in operation.ended.keys)
    made = {key.born.op: key.name for key in facts.keys.values() if key.born.cause in BIRTHS}
    evidence = _Evidence(facts, _sends(facts), _blind(facts), logins, made, found, _begun(facts))
    return [_chain(evidence, linked) for linked in links.chains]


_Linked = list[tuple[Operation, Site]]


class _Links:
    """Links calls to chains, in the order in which they were invoked.

    Attributes:
        chains: what belongs together.
    """

    def __init__(self) -> None:
        self.chains: list[_Linked] = []
        self._threads: dict[tuple[Any, ...], _Thread] = {}

    def add(self, operation: Operation, site: Site) -> None:
        """Put a call behind the one that it repeats, or let it begin something."""
        thread = self._threads.setdefault((*_subject(operation), _function(site.place)), _Thread({}, {}, -1))
        chain = thread.before(operation, site)
        if chain is None:
            chain = []
            self.chains.append(chain)
        chain.append((operation, site))
        thread.follow(operation, site, chain)


@dataclass(slots=True)
class _Thread:
    """All calls for one thing from one function.

    Attributes:
        waiting: caller → chains that ended with an error so far, in that order.
        seen: callers that have called.
        busy_until: index of the last end; without end when a call is open.
    """

    waiting: dict[int | None, list[_Linked]]
    seen: dict[int | None, None]
    busy_until: float

    def before(self, operation: Operation, site: Site) -> _Linked | None:
        """Take out and return the chain that a call goes on with."""
        begun = operation.invoked.index
        caller = site.caller
        if caller in self.seen or caller is None:
            mine = self.waiting.get(caller, [])
        else:
            # Somebody new: the task of one attempt (`wait_for` makes some), if nobody else can be meant.
            left = [chains for chains in self.waiting.values() if chains]
            mine = left[0] if len(left) == 1 and len(left[0]) == 1 and self.busy_until < begun else []
        for position, chain in enumerate(mine):
            ended = chain[-1][0].ended
            if ended is not None and ended.index < begun:
                return mine.pop(position)
        return None

    def follow(self, operation: Operation, site: Site, chain: _Linked) -> None:
        """Note how a call ended."""
        self.seen[site.caller] = None
        ended = operation.ended
        self.busy_until = max(self.busy_until, float("inf") if ended is None else ended.index)
        if operation.outcome in ("fail", "info"):
            self.waiting.setdefault(site.caller, []).append(chain)


def _subject(operation: Operation) -> tuple[Any, ...]:
    """Return what a call is about, equal for calls that want the same."""
    asked, key = operation.invoked, operation.key
    if key is not None and operation.name not in CREATES:
        return operation.client, operation.name, key, asked.args
    return operation.client, operation.name, key, asked.label, asked.cls, asked.key_kind, asked.token, asked.args


def _function(place: Place | None) -> tuple[Any, ...] | None:
    """Return what an application's retry stays within: a function; a test calls again in other lines and means it."""
    if place is None:
        return None
    name = place.function.rpartition(".")[2]
    exact = name.startswith("<") or (place.test and name.startswith("test"))
    return place.path, place.function, place.line if exact else None


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What is to be known of calls.

    Attributes:
        sends: number → commands sent.
        blind: numbers of blind creates.
        logins: application → indices of the ends of its `ok` logins.
        made: number → key made.
        found: application and key that it found.
        begun: number of a use → when the library had asked for its key.
    """

    facts: Facts
    sends: Mapping[int, int]
    blind: Mapping[int, None]
    logins: Mapping[str, Sequence[int]]
    made: Mapping[int, str]
    found: Mapping[tuple[str, str | None], None]
    begun: Mapping[int, int]


def _chain(evidence: _Evidence, linked: _Linked) -> Chain:
    after = [*(operation for operation, _ in linked[1:]), None]
    attempts = tuple(
        _attempt(evidence, operation, site, again) for (operation, site), again in zip(linked, after, strict=True)
    )
    last, keys = linked[-1][0], evidence.facts.keys
    key = next((one.key for one in reversed(attempts) if one.key is not None), None)
    label = keys[key].label if key in keys else last.invoked.label
    doubtful = last.name in CREATES and last.outcome == "info"
    adopted = doubtful and (last.client, attempts[-1].key) in evidence.found
    return Chain(last.name, last.client, key, label, attempts, adopted)


def _attempt(evidence: _Evidence, operation: Operation, site: Site, again: Operation | None) -> Attempt:
    op, ended = operation.invoked.op, operation.ended
    error = ended if ended is not None and ended.kind is not Kind.OK else None
    return Attempt(
        op=op,
        place=site.place,
        key=evidence.made.get(op) if operation.name in CREATES else operation.key,
        began_ns=evidence.begun.get(op, operation.invoked.at_ns),
        ended_ns=ended.at_ns if ended else None,
        outcome=operation.outcome,
        error=error.error if error else None,
        hsm=error.hsm if error else None,
        sends=evidence.sends.get(op, 0),
        incurable=error is not None and _incurable(evidence, operation, error, again),
        blind=op in evidence.blind,
    )


def _incurable(evidence: _Evidence, operation: Operation, error: Event, again: Operation | None) -> bool:
    facts = evidence.facts
    if error.error in INCURABLE:
        return True
    if error.error == "NotLoggedIn":
        # An HSM that forgot a login is logged in to anew by the client; somebody who is nobody has to log in.
        until = len(facts.history) if again is None else again.invoked.index
        logins = evidence.logins.get(operation.client, ())
        return error.hsm is None and not any(error.index < login < until for login in logins)
    if error.error == "KeyNotOnHsm":
        # Without an HSM it is the client's own word: a session key is gone, or the handle is another cluster's.
        key = facts.keys.get(error.key or "")
        deleted = key.deleted if key is not None else None
        return error.hsm is None or (deleted is not None and deleted.invoked.index < operation.invoked.index)
    return False


def _blind(facts: Facts) -> dict[int, None]:
    """Return the creates that nobody looked before, though one with the same label may have left its key."""
    doubtful: dict[tuple[Any, ...], int] = {}  # what was to be made → index from which nobody knows whether it was
    found: dict[int, None] = {}
    finds = [one for one in facts.operations.values() if _is_ok(one, "find_keys")]
    for number, operation in facts.operations.items():
        if operation.name not in CREATES or not operation.invoked.token:
            continue
        subject = _subject(operation)
        begun, since = operation.invoked.index, doubtful.pop(subject, None)
        if since is not None:
            first = bisect_right(finds, since, key=lambda find: find.invoked.index)
            last = bisect_left(finds, begun, key=lambda find: find.invoked.index)
            if since < begun and not any(_shows(find, operation, begun) for find in finds[first:last]):
                found[number] = None
        if operation.outcome == "info" and operation.ended is not None:
            doubtful[subject] = operation.ended.index
    return found


def _shows(find: Operation, create: Operation, before: int) -> bool:
    """Whether a look would have shown what a create is to make, and was over before it began."""
    return (
        find.client == create.client
        and find.invoked.label in (None, create.invoked.label)
        and find.ended is not None
        and find.ended.index < before
    )


def _begun(facts: Facts) -> dict[int, int]:
    """Return number of a use → the instant at which the library asked an HSM for the key, in the same breath."""
    asked: dict[tuple[str, str | None], Operation] = {}
    found: dict[int, int] = {}
    for number, operation in facts.operations.items():
        about = operation.client, operation.key
        if _is_ok(operation, "validate_key"):
            asked[about] = operation
        elif (before := asked.pop(about, None)) is not None and _follows(before, operation):
            found[number] = before.invoked.at_ns
    return found


def _follows(before: Operation, operation: Operation) -> bool:
    """Whether one call began in the instant in which the other one ended."""
    return before.ended is not None and before.ended.at_ns == operation.invoked.at_ns


def _sends(facts: Facts) -> dict[int, int]:
    """Return number of an operation → commands that the client sent for it."""
    sends: dict[int, int] = {}
    reach = Kind.REACH.value
    for record in facts.history.records:
        if record[0] == reach and record[3] == "client.send":
            sends[record[2]] = sends.get(record[2], 0) + 1
    return sends


def _is_ok(operation: Operation, name: str) -> bool:
    return operation.name == name and operation.outcome == "ok"
