"""Which calls through the PKCS#11 library used an object handle or a session that was over?

The library gives out handles of its own, for objects and for sessions.  An object handle means its key until the login
ends, of token keys too; a session ends when it is closed, or with its library's C_Finalize.  The library refuses what
is used afterwards, and the history tells (`StaleHandle`, `StaleSession`).

An application cannot always know: a login ends with the last connection, and another part of the process may finalize
the library.  The refusal tells it.  So a handle is a finding when somebody is logged in anew, for then the application
has a new session and still what it held from the old one; and a session from the second use on, or from the first if
it was closed.  That is a guess.

Source:
    PKCS #11 v2.40, C_Logout: handles of private objects are void after it, even if somebody logs in again.  AWS staff
    in issue 78 of aws-samples/aws-cloudhsm-pkcs11-examples: an object handle is valid in the session that found it.
"""

from dataclasses import dataclass

from ..history.places import Place
from .attempts import SitesOf
from .facts import Facts
from .operation import Operation
from .verdict import Finding, instant, listed

_ADVICE = ": find the key again"
_CLOSED = "is over: it was closed"
_UNKNOWN = "its session was closed, or its login ended"


@dataclass(frozen=True, slots=True)
class StaleUse(Finding):
    """An object handle or a session that was used when it was over.

    `key` is empty and `handle` 0 where it is about a session: then no key was looked for.

    Attributes:
        application: who used it.
    """

    application: str = ""

    def __str__(self) -> str:
        if not self.key:
            return f"stale session of {self.application} since {instant(self.since_ns)}: {self.cause}"
        return (
            f"stale handle of key {self.label!r} ({self.key}, handle {self.handle}) on {listed(self.hsms)} "
            f"since {instant(self.since_ns)}: {self.cause}"
        )


def stale_uses(facts: Facts, sites: SitesOf) -> list[Finding]:
    """Return one finding for each key and line that used its handle, and one for each session, by their first use."""
    handles: dict[tuple[object, ...], list[int]] = {}
    sessions: dict[str, list[int]] = {}
    for number, operation in facts.operations.items():
        error = operation.ended.error if operation.ended is not None and operation.outcome == "fail" else None
        if error == "StaleHandle" and operation.invoked.user is not None and not _deleted(facts, operation):
            use = (operation.key, operation.client, operation.name, sites(number).place)
            handles.setdefault(use, []).append(number)
        elif error == "StaleSession" and sites(number).why:
            uses = sessions.setdefault(sites(number).why, [])
            if not (uses and _reads_on(facts.operations[uses[-1]], operation)):
                uses.append(number)
    used = [
        *handles.values(),
        *(uses for why, uses in sessions.items() if len(uses) > 1 or _CLOSED in why),
    ]
    return [_finding(facts, sites, uses) for uses in sorted(used)]


def _reads_on(before: Operation, operation: Operation) -> bool:
    """Whether a call only asks again for attributes: libraries do that for one call of the application."""
    return before.name == operation.name == "read_attributes" and before.invoked.at_ns == operation.invoked.at_ns


def _deleted(facts: Facts, operation: Operation) -> bool:
    key, begun = facts.keys.get(operation.key or ""), operation.invoked.index
    return key is None or any(delete.invoked.index < begun and delete.outcome != "fail" for delete in key.deletes)


def _finding(facts: Facts, sites: SitesOf, uses: list[int]) -> Finding:
    first, site = facts.operations[uses[0]], sites(uses[0])
    key = facts.keys.get(first.key or "")
    times = {1: "", 2: " twice"}.get(len(uses), f" {len(uses)} times")
    where = f" at {site.place}" if isinstance(site.place, Place) and site.place.path else ""
    why = (site.why or _UNKNOWN).removesuffix(_ADVICE)
    return StaleUse(
        check="no_stale_handles",
        key="" if key is None else key.name,
        label="" if key is None else key.label,
        handle=0 if key is None else key.handle,
        hsms=() if key is None else facts.hsms_of(key),
        since_ns=first.invoked.at_ns,
        cause=f"{why}; used afterwards{times} by {first.client}: {first.name}{where}",
        application=first.client,
    )
