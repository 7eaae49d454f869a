"""Which calls used a handle whose session or login was over?

Token keys have the same handle on every HSM, and keep it over every session.  A session key ends with its session, with
the login, and with its HSM; then its handle names nothing, and in another session it never will.  The object handles
that the PKCS#11 library gives out end with the login, those of token keys too; the library refuses them by itself.

Source:
    AWS CloudHSM User Guide, "Manage keys": session keys live in one session.  The AWS sample session_keys.c (of
    aws-samples/aws-cloudhsm-pkcs11-examples): a session key is CKR_KEY_HANDLE_INVALID after its session.  AWS staff in
    issue 78 there: an object handle is valid in the session that found it.  That every use counts, the first too from
    which the application learns it, is a guess.
"""

from ..history.events import Cause, Event, Kind
from ..history.places import Place
from .attempts import SitesOf
from .facts import Facts, KeyFacts
from .operation import Operation
from .verdict import Finding, instant


def stale_handles(facts: Facts, sites: SitesOf) -> list[Finding]:
    """Return one finding for each such key and line that used it, in the order of the first use.

    `Finding.hsms` is the HSM on which the key lived; `since` is the first use.
    """
    logins: dict[str, list[int]] = {}
    uses: dict[tuple[object, ...], list[Operation]] = {}
    ends: dict[tuple[object, ...], str] = {}
    for number, operation in facts.operations.items():
        ended = operation.ended
        if ended is None:
            continue
        if operation.name == "login" and operation.outcome == "ok":
            logins.setdefault(operation.client, []).append(ended.index)
        elif operation.outcome == "fail" and ended.error in ("KeyNotOnHsm", "StaleHandle"):
            key = facts.keys.get(ended.key or operation.key or "")
            why = None
            if key is not None and ended.error == "StaleHandle":
                why = None if _deleted(key, operation) else sites(number).why or "its session or its login was over"
            elif key is not None:
                why = _ended(facts, key, operation, ended, logins.get(operation.client, []))
            if key is not None and why is not None:
                use = (key.name, operation.client, operation.name, sites(number).place)
                uses.setdefault(use, []).append(operation)
                ends.setdefault(use, why)
    return [_finding(facts, facts.keys[str(use[0])], used, ends[use], use[3]) for use, used in uses.items()]


def _ended(facts: Facts, key: KeyFacts, operation: Operation, error: Event, logins: list[int]) -> str | None:
    """Return how the session of a key ended before it was used on another one, or None."""
    begun = operation.invoked.index
    if key.born.token or _deleted(key, operation):
        return None
    gone = max((event for event in key.left.values() if event.index < error.index), key=_index, default=None)
    if gone is None:
        # The HSM still has it, behind a partition say, but the client lost the session and has another one.
        again = next((login for login in logins if key.born.index < login < begun), None)
        mine = _maker(facts, key) == operation.client
        if error.hsm is not None or again is None or not mine:
            return None
        return f"{operation.client} had lost it and logged in anew at {instant(facts.history[again].at_ns)}"
    when = f"at {instant(gone.at_ns)}"
    if gone.cause == Cause.CRASH:
        return f"{gone.hsm} went down {when}"
    if gone.cause == Cause.DESTROY:
        return f"{gone.hsm} was lost {when}"
    if gone.cause != Cause.SESSION_END:
        return None
    logout = facts.operations.get(gone.op)
    if logout is None and _replaced(facts, gone):
        return f"{_maker(facts, key)} had lost it and logged in anew {when}"
    if logout is None:
        return f"the process of {_maker(facts, key)} ended {when}"
    if logout.client == operation.client and not any(gone.index < login < begun for login in logins):
        return None  # nobody is logged in: there is no new session that it could be used on
    return f"{logout.client} logged out {when}"


def _deleted(key: KeyFacts, operation: Operation) -> bool:
    begun = operation.invoked.index
    return any(delete.invoked.index < begun and delete.outcome != "fail" for delete in key.deletes)


def _replaced(facts: Facts, gone: Event) -> bool:
    """Whether a new login put an end to the session of a key."""
    index, records = gone.index, facts.history.records
    while index > 0 and records[index][0] == Kind.GONE:
        index -= 1
    return bool(records[index][0] == Kind.REACH and records[index][5] == "login")


def _maker(facts: Facts, key: KeyFacts) -> str:
    create = facts.creator(key)
    return "nobody" if create is None else create.client


def _finding(facts: Facts, key: KeyFacts, used: list[Operation], why: str, place: object) -> Finding:
    first = used[0]
    times = {1: "", 2: " twice"}.get(len(used), f" {len(used)} times")
    where = f" at {place}" if isinstance(place, Place) and place.path else ""
    use = f"used afterwards{times} by {first.client}: {first.name}{where}"
    if first.ended is not None and first.ended.error == "StaleHandle":
        cause = f"{why.removesuffix(': find the key again')}; {use}"
    else:
        made = f"made in a session of {_maker(facts, key)} at {instant(key.born.at_ns)}"
        cause = f"{made}, which is over: {why}; {use}"
    hsms = facts.hsms_of(key)
    return Finding("no_stale_handles", key.name, key.label, key.handle, hsms, first.invoked.at_ns, cause)


def _index(event: Event) -> int:
    return event.index
