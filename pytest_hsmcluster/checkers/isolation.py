"""Did session keys stay on their HSM, and did they end with their session?"""

from bisect import bisect_right

from .facts import Facts, KeyFacts, Place
from .verdict import Finding, instant, listed


def stray_session_keys(facts: Facts) -> list[Finding]:
    """Return the session keys that were ever on a second HSM, and those that outlived their session.

    A session ends when its HSM goes down or is lost, when its application dies, and on each HSM that carried out its
    logout.  `Finding.hsms` are the HSMs where the key was, or the one on which it outlived its session.
    """
    found = []
    for key in facts.keys.values():
        if not key.token:
            found.extend(_seconds(facts, key))
            found.extend(_outlived(facts, key))
    return found


def _seconds(facts: Facts, key: KeyFacts) -> list[Finding]:
    hsms = tuple(dict.fromkeys(hsm for _, _, hsm, held in key.moves if held))
    if len(hsms) < 2:
        return []
    came_ns = next(at_ns for _, at_ns, hsm, held in key.moves if held and hsm == hsms[1])
    cause = f"made on {hsms[0]}, and came to {listed(hsms[1:])} too"
    return [_finding(key, facts.by_rank(hsms), came_ns, cause)]


def _outlived(facts: Facts, key: KeyFacts) -> list[Finding]:
    found = []
    for hsm, from_index, until_ns in _stays(facts, key):
        first = min(_ends_after(facts, key, hsm, from_index), default=None)
        if first is not None and (until_ns is None or until_ns > first[1]):
            _, ended_ns, why = first
            until = "is still there" if until_ns is None else f"stayed until {instant(until_ns)}"
            found.append(_finding(key, (hsm,), ended_ns, f"{why} at {instant(ended_ns)}, and the key {until}"))
    return found


def _stays(facts: Facts, key: KeyFacts) -> list[tuple[str, int, int | None]]:
    """Return each stay of a key on an HSM: where, from which index, until which instant (None: still there)."""
    stays: list[tuple[str, int, int | None]] = []
    begun: dict[str, int] = {}
    for index, at_ns, hsm, held in key.moves:
        if held:
            begun.setdefault(hsm, index)
        elif hsm in begun:
            stays.append((hsm, begun.pop(hsm), at_ns))
    for hsm, index in begun.items():
        holdings = facts.holdings.hsms[hsm]
        stays.append((hsm, index, None if holdings.restartable else holdings.since_ns))
    return stays


def _ends_after(facts: Facts, key: KeyFacts, hsm: str, index: int) -> list[tuple[int, int, str]]:
    """Return the next end of a session of each sort that the key lives in."""
    create = facts.creator(key)
    places: list[Place] = [(hsm, None)]
    if create is not None:
        places += [(None, create.client), (hsm, create.client)]
    found = []
    for place in places:
        ends = facts.ends.get(place, [])
        position = bisect_right(ends, index, key=lambda end: end[0])
        found.extend(ends[position : position + 1])
    return found


def _finding(key: KeyFacts, hsms: tuple[str, ...], since_ns: int, cause: str) -> Finding:
    return Finding("session_keys_stay_put", key.name, key.label, key.handle, hsms, since_ns, cause)
