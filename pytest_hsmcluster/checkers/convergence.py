"""In what do HSMs differ that should hold the same token keys?"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..history.holdings import Copy
from .facts import Facts, KeyFacts
from .resurrection import lingering_on
from .verdict import Finding, instant, listed

_AS_BORN = "as at birth"


def differences(facts: Facts) -> list[Finding]:
    """Return each difference between up HSMs in token keys, attributes, owners or shares, and each key that lingers.

    Paused, joining, off and lost HSMs are not compared; a key that was deleted `ok` is reported wherever it lingers.
    `Finding.hsms` are the HSMs that lack the key, or still hold the deleted one, or have the rarer value.
    """
    up = [hsm for hsm in facts.members if facts.holdings.hsms[hsm].state == "up"]
    found: list[Finding] = []
    for key in facts.token_keys():
        copies = {hsm: key.copies[hsm] for hsm in up if hsm in key.copies and key.copies[hsm].tombstoned is None}
        lingering = lingering_on(facts, key)
        if 0 < len(copies) < len(up):
            found.append(_presence(facts, key, up, copies, [hsm for hsm in lingering if hsm in copies]))
            lingering = [hsm for hsm in lingering if hsm not in copies]
        for aspect, value_of in _aspects(copies):
            values = {hsm: value_of(copy) for hsm, copy in copies.items()}
            if any(value != values[next(iter(values))] for value in values.values()):
                found.append(_aspect(facts, key, aspect, copies, values))
        if lingering:
            found.append(_lingering(facts, key, lingering))
    return found


def _aspects(copies: Mapping[str, Copy]) -> Iterator[tuple[str, Callable[[Copy], Any]]]:
    yield "owner", lambda copy: copy.held.owner
    yield "shares", lambda copy: tuple(sorted(copy.shares))
    # A copy that was made after a change of label carries the new one from the start.
    yield "label", lambda copy: copy.attributes.get("label", copy.held.label)
    for name in dict.fromkeys(name for copy in copies.values() for name in copy.attributes if name != "label"):
        yield name, lambda copy, name=name: copy.attributes.get(name, _AS_BORN)  # type: ignore[misc]


def _presence(facts: Facts, key: KeyFacts, up: list[str], copies: Mapping[str, Copy], lingering: list[str]) -> Finding:
    values = {hsm: hsm in copies for hsm in up}
    times = {}
    for hsm in up:
        left_ns = key.left[hsm].at_ns if hsm in key.left else 0
        times[hsm] = copies[hsm].held.at_ns if hsm in copies else left_ns
    missing = tuple(hsm for hsm in up if hsm not in copies)
    cause = f"on {listed(copies)}, not on {listed(missing)}"
    tombstoned = [hsm for hsm in missing if hsm in key.copies]
    if tombstoned:
        cause += f" (tombstoned on {listed(tombstoned)})"
    if key.deleted is not None and key.deleted.ended is not None:
        cause += f"; deleted ok by {key.deleted.client} at {instant(key.deleted.ended.at_ns)}"
        cause += f", which did not reach {listed(lingering)}" if lingering else ", and back since"
        missing = tuple(copies)
    return _finding(key, missing, _parted_ns(facts, values, times), cause)


def _aspect(facts: Facts, key: KeyFacts, aspect: str, copies: Mapping[str, Copy], values: Mapping[str, Any]) -> Finding:
    times = {hsm: max(copy.held.at_ns, key.changed_ns.get((hsm, aspect), 0)) for hsm, copy in copies.items()}
    groups: dict[Any, list[str]] = {}
    for hsm, value in values.items():
        groups.setdefault(value, []).append(hsm)
    usual = max(groups, key=lambda value: len(groups[value]))
    rare = tuple(hsm for hsm, value in values.items() if value != usual)
    told = ", ".join(f"{_shown(aspect, value)} on {listed(hsms)}" for value, hsms in groups.items())
    return _finding(key, rare, _parted_ns(facts, values, times), f"{aspect}: {told}")


def _shown(aspect: str, value: Any) -> str:
    if value == _AS_BORN:
        return _AS_BORN
    return (", ".join(value) or "none") if aspect == "shares" else repr(value)


def _lingering(facts: Facts, key: KeyFacts, hsms: list[str]) -> Finding:
    delete = key.deleted
    assert delete is not None
    assert delete.ended is not None
    places = listed(f"{hsm} ({facts.holdings.hsms[hsm].state})" for hsm in hsms)
    cause = f"deleted ok by {delete.client} at {instant(delete.ended.at_ns)}, which did not reach {places}: it lingers"
    return _finding(key, tuple(hsms), delete.ended.at_ns, cause)


def _parted_ns(facts: Facts, values: Mapping[str, Any], times: Mapping[str, int]) -> int:
    """Return when the first two of the HSMs that differ now began to differ, both being up."""
    at_ns = {hsm: max(time, facts.holdings.hsms[hsm].since_ns) for hsm, time in times.items()}
    hsms = list(values)
    return min(
        max(at_ns[one], at_ns[other])
        for place, one in enumerate(hsms)
        for other in hsms[place + 1 :]
        if values[one] != values[other]
    )


def _finding(key: KeyFacts, hsms: tuple[str, ...], since_ns: int, cause: str) -> Finding:
    return Finding("in_sync", key.name, key.label, key.handle, hsms, since_ns, cause)
