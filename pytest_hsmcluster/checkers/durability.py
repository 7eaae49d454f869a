"""Which keys that an application relies on are lost, or one misfortune away from it?"""

from collections.abc import Iterator

from ..errors import UsageError
from ..history.events import Cause, Kind
from .facts import Facts, KeyFacts
from .verdict import Backups, Finding, instant, listed

_PARTINGS = {
    Cause.DESTROY: "destroyed",
    Cause.DELETE: "told to delete it",
    Cause.CLEANUP: "cleaned up",
    Cause.RESTORE: "restored from a backup without it",
}


def copies_needed(copies: int | None, survive: int) -> int:
    """Return how many running HSMs must hold a key.

    Args:
        copies: at least so many; None leaves it to `survive`.
        survive: how many HSMs may be lost at once without losing the key.

    Raises:
        UsageError: not an integer, or `copies` below 1, or `survive` below 0.
    """
    for name, value, least in (("copies", copies, 1), ("survive", survive, 0)):
        if value is None and name == "copies":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"durable: {name} is an integer, {least} or more, got {value!r}")
    return max(copies or 1, survive + 1)


def at_risk_keys(facts: Facts, needed: int) -> list[Finding]:
    """Return the acknowledged keys, not removed, that fewer than `needed` running HSMs hold.

    `Finding.hsms` are the running HSMs that hold the key: none for a lost one.
    """
    return [_at_risk(facts, key, needed) for key in _relied_on(facts) if len(facts.running_holders(key)) < needed]


def lost_keys(facts: Facts, backups: Backups) -> list[Finding]:
    """Return the acknowledged keys, not removed, that no HSM holds any more, running or restartable.

    `Finding.hsms` are the HSMs that held the key before.  A backup does not save a key; the cause names those with it.
    """
    return [_lost(facts, key, backups) for key in _relied_on(facts) if not facts.holders(key)]


def lost_since_ns(facts: Facts, key: KeyFacts) -> int:
    """Return when the last HSM that held the key let go of it."""
    return max((at_ns for _, at_ns, _ in _partings(facts, key)), default=key.born.at_ns)


def preventing(facts: Facts, key: KeyFacts, needed: int) -> str | None:
    """Return the setting that would have refused to acknowledge a key on fewer than `needed` HSMs, or None.

    None also when the key was on enough HSMs, when there were not so many, when no create of this run
    acknowledged the key, and when the history does not say which client it was.
    """
    told = key.acknowledged
    if told is None or told.op != key.born.op or key.copies_then >= needed or needed < 2:
        return None
    if needed > len(_members_at(facts, key.born.index)):
        return None
    note = facts.history.note
    if note.get("sdk") == 3:
        return f"create_object_minimum_nodes={needed}"
    # Source: AWS CloudHSM User Guide, "Key synchronization and durability settings": the check of
    # SDK 5 asks for two HSMs; the number cannot be changed.
    if note.get("sdk") == 5 and note.get("availability_check") is False and needed == 2:
        return "disable_key_availability_check=false"
    return None


def preventing_loss(facts: Facts, key: KeyFacts) -> str | None:
    """Return the setting that would have put the key on one HSM more than were lost since its birth, or None."""
    members = _members_at(facts, key.born.index)
    lost = sum(facts.members[hsm].lost is not None for hsm in members)
    return preventing(facts, key, lost + 1)


def running_copies(facts: Facts, key: KeyFacts) -> Iterator[tuple[int, int, int]]:
    """Yield (index, ns, how many running HSMs hold the key from here on) for each change, in order."""
    hsms = facts.hsms_of(key)
    Change = tuple[int, int, str, bool | None, bool | None]
    changes: list[Change] = [(index, at_ns, hsm, held, None) for index, at_ns, hsm, held in key.moves]
    changes += [(index, at_ns, hsm, None, alive) for hsm in hsms for index, at_ns, alive in facts.members[hsm].lives]
    holding, running = dict.fromkeys(hsms, False), dict.fromkeys(hsms, False)
    count = 0
    for index, at_ns, hsm, held, alive in sorted(changes, key=lambda change: change[0]):
        before = holding[hsm] and running[hsm]
        holding[hsm] = holding[hsm] if held is None else held
        running[hsm] = running[hsm] if alive is None else alive
        count += (holding[hsm] and running[hsm]) - before
        yield index, at_ns, count


def _relied_on(facts: Facts) -> list[KeyFacts]:
    return [key for key in facts.token_keys() if key.acknowledged is not None and not key.removed]


def _at_risk(facts: Facts, key: KeyFacts, needed: int) -> Finding:
    running, present = facts.running_holders(key), facts.present()
    cause = f"{len(running)} of {needed} needed copies"
    if len(present) < needed:
        size = "only 1 HSM" if len(present) == 1 else f"only {len(present)} HSMs" if present else "no HSM left"
        cause += f", and the cluster has {size}"
    without = [_absence(facts, key, hsm) for hsm in present if hsm not in running]
    gone = [f"{hsm} was {why} at {instant(at_ns)}" for hsm, at_ns, why in _partings(facts, key) if hsm not in present]
    cause = "; ".join((cause, *gone, *without))
    return Finding(
        "durable",
        key.name,
        key.label,
        key.handle,
        running,
        _short_since_ns(facts, key, needed),
        cause,
        preventing(facts, key, needed),
    )


def _lost(facts: Facts, key: KeyFacts, backups: Backups) -> Finding:
    partings = _partings(facts, key)
    since_ns = lost_since_ns(facts, key)
    told = key.acknowledged
    assert told is not None
    if len(partings) == 1:
        hsm, at_ns, why = partings[0]
        cause = f"{hsm}, which held the only copy, was {why} at {instant(at_ns)}"
    else:
        cause = "no HSM holds it: " + ", ".join(f"{hsm} was {why} at {instant(at_ns)}" for hsm, at_ns, why in partings)
    if since_ns < told.at_ns:
        cause += f"; it was acknowledged after that, at {instant(told.at_ns)}"
    having = [backup for backup, names in backups.items() if key.name in names]
    if having:
        cause += f"; backup {listed(having)} has it"
    return Finding(
        "no_lost_keys",
        key.name,
        key.label,
        key.handle,
        facts.by_rank(hsm for hsm, _, _ in partings),
        max(since_ns, told.at_ns),
        cause,
        preventing_loss(facts, key),
    )


def _partings(facts: Facts, key: KeyFacts) -> list[tuple[str, int, str]]:
    """Return (HSM, when, how) of each HSM that held the key once and does not now, in order of time."""
    holders, found = facts.holders(key), []
    for hsm in facts.hsms_of(key):
        event = key.left.get(hsm)
        if hsm in holders:
            continue
        if event is None or (hsm in key.copies and key.copies[hsm].tombstoned is None):
            # No event took the copy away: its HSM was lost with it.
            found.append((hsm, facts.holdings.hsms[hsm].since_ns, "lost"))
        elif event.kind is Kind.TOMBSTONED:
            found.append((hsm, event.at_ns, "told to tombstone it"))
        else:
            found.append((hsm, event.at_ns, _PARTINGS.get(event.cause, f"rid of it ({event.cause})")))
    return sorted(found, key=lambda parting: parting[1])


def _absence(facts: Facts, key: KeyFacts, hsm: str) -> str:
    holdings = facts.holdings.hsms[hsm]
    if hsm in facts.holders(key):
        return f"{hsm} holds it and is {holdings.state} since {instant(holdings.since_ns)}"
    if holdings.alive:
        return f"{hsm} does not hold it"
    return f"{hsm} does not hold it and is {holdings.state}"


def _short_since_ns(facts: Facts, key: KeyFacts, needed: int) -> int:
    """Return since when, without a break, too few running HSMs hold an acknowledged key."""
    was, since_ns = 0, 0
    for _, at_ns, count in running_copies(facts, key):
        if was >= needed > count:
            since_ns = at_ns
        was = count
    assert key.acknowledged is not None
    told_ns: int = key.acknowledged.at_ns
    return max(since_ns, told_ns)


def _members_at(facts: Facts, index: int) -> list[str]:
    """Return the HSMs that had joined and were not lost when the event of this index was written."""
    return [
        hsm
        for hsm, member in facts.members.items()
        if member.lives[0][0] < index and (member.lost is None or member.lost > index)
    ]
