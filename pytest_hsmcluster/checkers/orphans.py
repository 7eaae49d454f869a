"""Which keys exist that nobody was told of?"""

from ..history.events import Cause
from .facts import Facts, KeyFacts
from .operation import Operation
from .verdict import Finding


def orphan_keys(facts: Facts) -> list[Finding]:
    """Return the keys that an HSM holds, that no `ok` create or find named, and whose create has ended.

    Keys that were seeded, restored, or copied from another cluster are none: nobody of this run made them.
    `Finding.hsms` are the HSMs that hold the key, running or restartable.
    """
    found = []
    for key in facts.token_keys():
        create = facts.creator(key)
        if key.told is None and create is not None and create.ended is not None:
            holders = facts.holders(key)
            if holders:
                found.append(_finding(key, create, create.ended.at_ns, holders))
    return found


def _finding(key: KeyFacts, create: Operation, ended_ns: int, holders: tuple[str, ...]) -> Finding:
    cause = f"{create}"
    if create.outcome == "ok":
        cause += ", which named another key"
    elif any(event.cause == Cause.CLEANUP for event in key.left.values()):
        cause += ", and the cleanup did not reach every copy"
    else:
        cause += ", and nobody was told of the key"
    if any(key.copies[hsm].held.cause == Cause.SWEEP for hsm in holders):
        cause += "; the sweep copied it"
    return Finding("no_orphan_keys", key.name, key.label, key.handle, holders, max(ended_ns, key.born.at_ns), cause)
