"""Which keys cannot be told apart by an application that looks them up by label?"""

from .facts import Facts, KeyFacts
from .verdict import Finding


def duplicate_labels(facts: Facts, *, strict: bool = False) -> list[Finding]:
    """Return one finding for each key too many among those with one owner, class, kind and label.

    The first key from an `ok` create is the one that is meant; without one, the first of all.  A second `ok` create
    is a rotation and counts only when `strict`.  `Finding.hsms` are the HSMs that hold the key.
    """
    groups: dict[tuple[str, str, str, str], list[KeyFacts]] = {}
    for key in facts.token_keys():
        if key.label and facts.creator(key) is not None and _alive(facts, key):
            born = key.born
            groups.setdefault((born.owner, born.cls, born.key_kind, key.label), []).append(key)
    found = []
    for keys in groups.values():
        meant = next((key for key in keys if _is_ok(facts, key)), keys[0])
        for key in keys:
            if key is not meant and (strict or not _is_ok(facts, key)):
                found.append(_finding(facts, key, meant))
    return found


def _alive(facts: Facts, key: KeyFacts) -> bool:
    """Whether the key is there to be found; one that was deleted and lingers on an HSM that is off is not."""
    return bool(facts.running_holders(key) if key.deleted else facts.holders(key))


def _is_ok(facts: Facts, key: KeyFacts) -> bool:
    create = facts.creator(key)
    return create is not None and create.outcome == "ok"


def _finding(facts: Facts, key: KeyFacts, meant: KeyFacts) -> Finding:
    return Finding(
        "no_duplicate_labels",
        key.name,
        key.label,
        key.handle,
        facts.holders(key),
        max(key.born.at_ns, meant.born.at_ns),
        f"made by {facts.creator(key)}; {meant.name} (handle {meant.handle}) has the same label, owner, class, kind: "
        f"{facts.creator(meant)}",
    )
