"""Do the checks say of a journal what the sentences of their words say?

Where `Words` has no word, the sentence is read here: a routing miss and its retry, a session key that strayed, and what
a digest covers.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pytest_hsmcluster import HsmCheck
from pytest_hsmcluster.history.events import FIELDS, OUTSIDE, Record
from pytest_hsmcluster.history.history import History

from .view import View
from .words import Words

FANNED = ("find_keys", "delete_key", "share_key", "unshare_key", "set_attribute", "login", "logout")


def misread(history: History, ends: Sequence[int]) -> Iterator[str]:
    """Yield what the checks say of a history, or of its beginning, that the sentences of their words do not."""
    for end in ends:
        part = History(history.records[:end], note=history.note)
        check, words = HsmCheck(part), Words(part)
        misses = list(_misses(part.records))
        for name, told, meant in (
            ("lost", [one.key for one in check.lost_keys()], words.lost()),
            ("at risk", [one.key for one in check.at_risk_keys()], words.at_risk(2)),
            ("at risk of two losses", [one.key for one in check.at_risk_keys(survive=2)], words.at_risk(3)),
            ("an orphan", [one.key for one in check.orphan_keys()], words.orphans()),
            ("resurrected", [one.key for one in check.resurrected_keys()], words.resurrected()),
            ("a duplicate", bool(check.duplicate_labels()), bool(words.duplicates())),
            ("a second label", bool(check.duplicate_labels(strict=True)), bool(words.same_labels())),
            ("undecryptable", len(check.undecryptable_data(shredded=True)), len(words.unopenable_data())),
            ("missed", [one.key for one in check.routing_misses()], [key for key, _ in misses]),
            ("missed for good", _holds(check.misses_retried), all(retried for _, retried in misses)),
            ("session keys that stay", _holds(check.session_keys_stay_put), True),
        ):
            if told != meant:
                yield f"after {end} records the check calls {told} {name}, its sentence {meant}"


def misjudged(history: History, view: View) -> Iterator[str]:
    """Yield what `in_sync` says of this instant that the key stores do not."""
    up = view.up()
    kept = [{handle: _kept(key) for handle, key in view.keys[hsm].items() if key.token} for hsm in up]
    meant = {handle: None for one in kept for handle in one if any(one[handle] != other.get(handle) for other in kept)}
    found = [one for one in HsmCheck(history).differences() if "it lingers" not in one.cause]
    handles = dict.fromkeys(one.handle for one in found)
    if sorted(handles) != sorted(meant):
        yield f"the check finds differences in {list(handles)}, the key stores differ in {list(meant)}"


def miscast(history: History) -> Iterator[str]:
    """Yield what is wrong with digests and with the check of session keys, on journals made up from this one."""
    digest, records = history.digest(), history.records
    later = [(record[0], record[1] + 1, *record[2:]) for record in records]
    if History(later).digest() == digest:
        yield "a journal in which all is a nanosecond later has the same digest"
    if History([_renamed(record) for record in records]).digest() != digest:
        yield "a journal in which labels and users have other names has another digest"
    born = next((record for record in records if record[0] == "held" and not record[8]), None)
    others = [record[2] for record in records if record[0] == "up" and born is not None and record[2] != born[3]]
    if born is not None and others:
        index, other = records.index(born) + 1, others[0]
        stray = (*born[:3], other, *born[4:6], "clone", *born[7:])
        if _holds(HsmCheck(History([*records[:index], stray])).session_keys_stay_put):
            yield "a session key on a second HSM is no finding"


def _kept(key: Any) -> tuple[Any, ...]:
    return key.attributes, key.owner, sorted(key.shares)


def _misses(records: Sequence[Record]) -> Iterator[tuple[str, bool]]:
    """Yield each routing miss, the key that was missed and whether the application tried again with success."""
    holders: dict[str, dict[str, None]] = {}
    token: dict[str, bool] = {}
    state: dict[str, str] = {}
    deleting: dict[str, int] = {}
    invoked: dict[int, tuple[int, str | None]] = {}
    for index, record in enumerate(records):
        kind = record[0]
        if kind == "invoke":
            invoked[record[2]] = (index, record[6])
            if record[5] == "delete_key":
                deleting.setdefault(record[6], index)
        elif kind == "held":
            holders.setdefault(record[4], {})[record[3]] = None
            token.setdefault(record[4], record[8])
        elif kind in ("gone", "tombstoned"):
            holders.get(record[4], {}).pop(record[3], None)
        elif kind == "attribute" and record[5] == "token":
            token[record[4]] = record[6]
        elif kind in ("up", "down", "paused", "lost", "joining", "joined"):
            state[record[2]] = kind
        elif kind == "fail" and record[5] == "KeyNotOnHsm" and record[4] not in FANNED and record[7] is not None:
            key = record[8] or invoked[record[2]][1] or ""
            others = [hsm for hsm in holders.get(key, ()) if hsm != record[7] and state[hsm] != "lost"]
            if token.get(key) and others and key not in deleting:
                yield key, key in _deleted(records) or _retried(records, index, record, key)


def _deleted(records: Sequence[Record]) -> dict[str, None]:
    failed = {record[2]: None for record in records if record[0] == "fail"}
    deletes = [record for record in records if record[0] == "invoke" and record[5] == "delete_key"]
    return {record[6]: None for record in deletes if record[2] not in failed}


def _retried(records: Sequence[Record], index: int, missed: Record, key: str) -> bool:
    application = missed[3].partition("#")[0]
    begun: dict[int, None] = {}
    for record in records[index:]:
        if record[0] == "invoke" and record[5] == missed[4] and record[3].partition("#")[0] == application:
            begun[record[2]] = None
        elif record[0] == "ok" and record[2] in begun:
            asked = next(one[6] for one in records if one[0] == "invoke" and one[2] == record[2])
            if key in (asked, *record[5], *record[6][2:]):
                return True
    return False


def _renamed(record: Record) -> Record:
    names = FIELDS[record[0]]
    fields = [
        tuple((attribute, _prefixed(new)) for attribute, new in value)
        if name == "changed"
        else _prefixed(value)
        if OUTSIDE.get(name) in ("label", "user")
        else value
        for name, value in zip(names, record[2:], strict=True)
    ]
    return (*record[:2], *fields)


def _prefixed(value: Any) -> Any:
    if isinstance(value, str):
        return f"another {value}"
    return tuple(map(_prefixed, value)) if isinstance(value, tuple) else value


def _holds(check: Any) -> bool:
    try:
        check()
    except AssertionError:
        return False
    return True
