"""Which keys came back after they were deleted, and which never went?"""

from ..history.events import Cause
from ..history.holdings import Copy
from .facts import Facts, KeyFacts
from .operation import Operation
from .verdict import Finding, instant, listed

_COMEBACKS = {
    Cause.SWEEP: "the sweep copied it there",
    Cause.JOIN: "it joined with it",
    Cause.RESTORE: "a backup brought it",
}


def resurrected_keys(facts: Facts) -> list[Finding]:
    """Return the keys whose delete was `ok` and that are held through a later sweep, join, restore or power-on.

    A key that was deleted once more, and is gone, is none.  A delete with an unknown outcome never counts.
    `Finding.hsms` are the HSMs on which the key is back.
    """
    found = []
    for key in facts.token_keys():
        delete = key.deleted
        if delete is None:
            continue
        back = [hsm for hsm in facts.holders(key) if came_back(facts, key, hsm, delete)]
        if back:
            found.append(_finding(facts, key, delete, back))
    return found


def lingering_on(facts: Facts, key: KeyFacts) -> list[str]:
    """Return the HSMs that still hold a key that was deleted `ok`, without having come back or got it back."""
    delete = key.deleted
    if delete is None:
        return []
    return [
        hsm
        for hsm in facts.holders(key)
        if facts.holdings.hsms[hsm].state != "joining" and not came_back(facts, key, hsm, delete)
    ]


def came_back(facts: Facts, key: KeyFacts, hsm: str, delete: Operation) -> bool:
    """Whether the copy on this HSM is there because of something that happened after the delete began.

    From its beginning, not from its end: a sweep that runs in the middle of a delete puts the key back too.
    """
    copy, began = key.copies[hsm], delete.invoked.index
    return _brought(copy, began) or copy.held.index < facts.members[hsm].came_up > began


def _brought(copy: Copy, began: int) -> bool:
    return copy.held.index > began and copy.held.cause in _COMEBACKS


def _finding(facts: Facts, key: KeyFacts, delete: Operation, back: list[str]) -> Finding:
    assert delete.ended is not None
    instants, ways = [], []
    for hsm in back:
        copy = key.copies[hsm]
        if _brought(copy, delete.invoked.index):
            came_ns, way = copy.held.at_ns, _COMEBACKS[copy.held.cause]
            way += f" from {copy.held.source}" if copy.held.source else ""
        else:
            came_ns, way = facts.holdings.hsms[hsm].since_ns, "it came up with it"
        instants.append(came_ns)
        ways.append(f"{hsm}: {way} at {instant(came_ns)}")
    cause = f"deleted ok by {delete.client} at {instant(delete.ended.at_ns)}; {listed(ways)}"
    return Finding(
        "no_resurrected_keys",
        key.name,
        key.label,
        key.handle,
        tuple(back),
        max(min(instants), delete.ended.at_ns),
        cause,
    )
