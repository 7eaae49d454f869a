"""Which ciphertexts and wrapped keys can nobody open any more?"""

from collections.abc import Iterable

from ..history.events import Cause
from .durability import lost_since_ns, preventing_loss
from .facts import Facts, KeyFacts
from .operation import Operation
from .verdict import Finding, instant


class Materials:
    """Which key material can still be come by, and which could if nothing had been lost by accident.

    Attributes:
        keys: material → the keys that have it, public halves left out: these open nothing.
        wrapped_by: material → the materials under which an `ok` wrap, or the blob of an unwrap, has it.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.keys: dict[str, list[KeyFacts]] = {}
        self.wrapped_by: dict[str, dict[str, None]] = {}
        for key in facts.keys.values():
            if key.born.cls != "public":
                self.keys.setdefault(key.mat, []).append(key)
            create = facts.creator(key)
            if key.born.cause == Cause.UNWRAP and create is not None:
                self._wrap(key.name, create.key)
        for operation in facts.data:
            for inner in _inner(operation):
                self._wrap(inner, operation.key)
        imported = [key for keys in self.keys.values() for key in keys if key.born.cause == Cause.IMPORT]
        held = [key for keys in self.keys.values() for key in keys if facts.holders(key)]
        kept = [key for keys in self.keys.values() for key in keys if not self.on_purpose(key)]
        self.openable = self._closed([*imported, *held])
        self.without_accidents = self._closed([*imported, *held, *kept])

    def on_purpose(self, key: KeyFacts) -> bool:
        """Whether an application gave the key up: it deleted it, or logged out of the session that the key lived in.

        A session that ends because its application died, or was cut off and logged in anew, was ended by an accident.
        """
        ends = (event for event in key.left.values() if event.cause == Cause.SESSION_END)
        return key.removed or any(self._is_logout(event.op) for event in ends)

    def _is_logout(self, op: int) -> bool:
        operation = self.facts.operations.get(op)
        return operation is not None and operation.name == "logout"

    def fate(self, mat: str, *, accidental: bool) -> KeyFacts | None:
        """Return the key that material died with: the last to go of those that had it or could unwrap it."""
        reached, waiting = {mat: None}, [mat]
        while waiting:
            for outer in self.wrapped_by.get(waiting.pop(), ()):
                if outer not in reached:
                    reached[outer] = None
                    waiting.append(outer)
        keys = [key for each in reached for key in self.keys.get(each, ())]
        keys = [key for key in keys if not (accidental and self.on_purpose(key))]
        return max(keys, key=lambda key: lost_since_ns(self.facts, key), default=None)

    def _wrap(self, inner: str, outer: str | None) -> None:
        keys = self.facts.keys
        if inner in keys and outer in keys:
            self.wrapped_by.setdefault(keys[inner].mat, {})[keys[outer].mat] = None

    def _closed(self, keys: Iterable[KeyFacts]) -> dict[str, None]:
        """Return the materials of these keys and all that is wrapped under them, to the fixed point."""
        contents: dict[str, list[str]] = {}
        for inner, outers in self.wrapped_by.items():
            for outer in outers:
                contents.setdefault(outer, []).append(inner)
        waiting = [key.mat for key in keys]
        openable = dict.fromkeys(waiting)
        while waiting:
            for inner in contents.get(waiting.pop(), ()):
                if inner not in openable:
                    openable[inner] = None
                    waiting.append(inner)
        return openable


def undecryptable_data(facts: Facts, *, shredded: bool = False) -> list[Finding]:
    """Return the `ok` encrypts and wraps that were made under material which is no longer openable.

    Material is openable when an HSM, running or restartable, holds it, when the application imported it from bytes
    that it had, or when it is in a wrapped key whose wrapping material is openable.  What would be unopenable without
    any accident, because an application deleted keys, counts when `shredded`.  Data under a public key whose private
    half never was here is for somebody else to open.

    Each finding is about the key that the data died with; the cause names the data by their ordinal.
    """
    materials = Materials(facts)
    # Many ciphertexts share a key: what became of it is looked up once.
    fates: dict[str, KeyFacts | None] = {}
    hints: dict[str, str | None] = {}
    found = []
    for operation in facts.data:
        key = facts.keys.get(operation.key or "")
        if key is None or key.mat in materials.openable or key.mat not in materials.keys:
            continue
        accidental = key.mat in materials.without_accidents
        if not accidental and not shredded:
            continue
        if key.mat not in fates:
            fates[key.mat] = materials.fate(key.mat, accidental=accidental)
        fate = fates[key.mat]
        if fate is not None:
            if fate.name not in hints:
                hints[fate.name] = preventing_loss(facts, fate) if accidental else None
            found.append(_finding(facts, operation, key, fate, accidental, hints[fate.name]))
    return found


def _inner(operation: Operation) -> tuple[str, ...]:
    assert operation.ended is not None
    made: tuple[str, ...] = operation.ended.made
    return made[2:] if made[0] == "wrapped" else ()


def _finding(
    facts: Facts, operation: Operation, key: KeyFacts, fate: KeyFacts, accidental: bool, setting: str | None
) -> Finding:
    made = operation.ended
    assert made is not None
    what, ordinal, *inner = made.made
    noun = f"wrapped key {ordinal} (of {', '.join(inner)})" if what == "wrapped" else f"{what} {ordinal}"
    under = "" if key.mat == fate.mat else f" under {key.label!r} ({key.name})"
    end = "was lost" if accidental else "was given up on purpose"
    since_ns = lost_since_ns(facts, fate)
    cause = (
        f"{noun}, made by {operation.client}{under} at {instant(made.at_ns)}, "
        f"died with the key, which {end} at {instant(since_ns)}"
    )
    return Finding(
        "no_undecryptable_data",
        fate.name,
        fate.label,
        fate.handle,
        facts.hsms_of(fate),
        max(since_ns, made.at_ns),
        cause,
        setting,
    )
