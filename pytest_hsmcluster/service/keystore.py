"""Which keys does one HSM hold, and what is known of every key of the cluster?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..cryptoki import CKA, CKO
from ..errors import DataInvalid, KeyCapacityReached
from ..history.events import Cause, Kind
from ..history.journal import Journal
from ..keys.attributes import Attributes
from ..keys.material import Material
from ..sim.scheduler import Scheduler

CLASSES = {CKO.SECRET_KEY: "secret", CKO.PRIVATE_KEY: "private", CKO.PUBLIC_KEY: "public"}


_HELD = Kind.HELD.value  # plain text, which the garbage collector does not follow; see `Faults.reach`


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key as one HSM holds it; the same object serves on every HSM until one of them changes it.

    Attributes:
        handle: its number, the same on every HSM.
        name: "key-N", its birth.
        mat: "mat-N", its material.
        owner: user name.
        shares: users who may use it too.
        session: the session that it lives in, or None for a token key.
        changed: attributes that differ from birth, as (name, value).
    """

    handle: int
    name: str
    mat: str
    material: Material
    attributes: Attributes
    owner: str
    shares: tuple[str, ...] = ()
    session: int | None = None
    changed: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """CKA_LABEL."""
        return self.attributes.label

    @property
    def cls(self) -> str:
        """`secret`, `private` or `public`."""
        return CLASSES[self.material.part]

    @property
    def token(self) -> bool:
        """Whether it is a token key, which outlives sessions."""
        return self.session is None

    def usable_by(self, user: str) -> bool:
        """Whether a user may use it: its owner, those it is shared with, and everybody a public key."""
        return user == self.owner or user in self.shares or self.material.part is CKO.PUBLIC_KEY

    def visible_in(self, session: int) -> bool:
        """Whether a session sees it: a token key always, a session key only the session that made it.

        Source:
            PKCS #11 v2.40, "Session objects": other applications do not see them.
        """
        return self.session is None or self.session == session

    def with_attribute(self, name: CKA, value: Any, *, by_officer: bool) -> "StoredKey":
        """Return the key with one attribute changed, or itself where it has that value already.

        Raises:
            TemplateInvalid: see `Attributes.with_changes`.
        """
        attributes = self.attributes.with_changes({name: value}, by_officer=by_officer)
        if attributes[name] == self.attributes[name]:
            return self
        # A session key that becomes a token key outlives its session; the sweep brings it to the other HSMs.
        session = None if attributes.flag(CKA.TOKEN) else self.session
        changed = dict(self.changed)
        if isinstance(value, bool) and name.name.lower() in changed:
            del changed[name.name.lower()]  # of two values, it has the one again with which it was born
        else:
            changed[name.name.lower()] = value
        return replace(self, attributes=attributes, session=session, changed=tuple(sorted(changed.items())))


def disk_full(hsm: str, remedy: str = "") -> KeyCapacityReached:
    """Return the refusal of an HSM that cannot keep a token key."""
    remedy = remedy or f"clear_disk({hsm!r}) makes room"
    return KeyCapacityReached(
        f"the disk of {hsm} is full and keeps no further key; nothing was written ({remedy})", hsm=hsm
    )


class KeyStore:
    """The keys of one HSM.  Each change writes its event in the same instant.

    Attributes:
        keys: handle → key, in the order in which they came.
        tombstones: handle → key, marked for later deletion: neither listed nor usable.
        capacity: how many keys there is room for, session keys and tombstones included.
        disk_full: whether the disk has no room for a further token key.
    """

    __slots__ = ("_journal", "_scheduler", "_touched", "capacity", "disk_full", "hsm", "keys", "tombstones")

    def __init__(
        self, hsm: str, capacity: int, journal: Journal, scheduler: Scheduler, touched: Callable[[int], None]
    ) -> None:
        self.hsm = hsm
        self.capacity = capacity
        self.disk_full = False
        self.keys: dict[int, StoredKey] = {}
        self.tombstones: dict[int, StoredKey] = {}
        self._journal = journal
        self._scheduler = scheduler
        self._touched = touched

    def __len__(self) -> int:
        return len(self.keys) + len(self.tombstones)

    def token_keys(self) -> Iterator[StoredKey]:
        """Iterate over the untombstoned token keys."""
        return (key for key in self.keys.values() if key.session is None)

    def insert(self, key: StoredKey, cause: Cause, op: int = 0, source: str | None = None) -> None:
        """Take a key in; one that is here already with the same material is left as it is.

        Raises:
            KeyCapacityReached: no room, in memory or on the disk.
            DataInvalid: the handle is taken by other material, or the key is marked for deletion here: a copy
                that comes late does not bring it back.
        """
        known = self.keys.get(key.handle)
        if known is not None:
            if known.mat != key.mat:
                raise DataInvalid(
                    f"handle {key.handle} is taken on {self.hsm} by other key material; the masked object is refused",
                    hsm=self.hsm,
                )
            return
        if key.handle in self.tombstones:
            raise DataInvalid(
                f"key {key.handle} is marked for deletion on {self.hsm}; the masked object is refused", hsm=self.hsm
            )
        if len(self) >= self.capacity:
            raise KeyCapacityReached(
                f"{self.hsm} holds {len(self)} keys and takes no more (capacity {self.capacity}, session keys "
                "included); delete keys or wrap rarely used ones out",
                hsm=self.hsm,
            )
        if self.disk_full and key.session is None:
            raise disk_full(self.hsm)
        self.take_in(key, cause, op, source)

    def take_in(self, key: StoredKey, cause: Cause, op: int = 0, source: str | None = None) -> None:
        """Have a key that is not here and may come."""
        self.keys[key.handle] = key
        self._journal.append(
            (
                _HELD,
                self._scheduler.now_ns,
                op,
                self.hsm,
                key.name,
                key.handle,
                str(cause),
                key.mat,
                key.session is None,
                key.cls,
                key.material.kind,
                key.label,
                key.owner,
                key.changed,
                key.shares,
                source,
            )
        )
        if key.session is None:
            self._touched(key.handle)

    def remove(self, handle: int, cause: Cause, op: int = 0) -> None:
        """Forget a key, tombstoned or not."""
        key = self.keys.pop(handle, None) or self.tombstones.pop(handle)
        self._journal.append((Kind.GONE, self._scheduler.now_ns, op, self.hsm, key.name, handle, cause))
        if key.session is None:
            self._touched(handle)

    def tombstone(self, handle: int, cause: Cause, op: int = 0) -> None:
        """Mark a key for later deletion."""
        key = self.tombstones[handle] = self.keys.pop(handle)
        self._journal.append((Kind.TOMBSTONED, self._scheduler.now_ns, op, self.hsm, key.name, handle, cause))
        self._touched(handle)

    def replace(self, key: StoredKey) -> None:
        """Put a changed key in the place of the old one; the caller writes what changed."""
        self.keys[key.handle] = key
        if key.token:
            self._touched(key.handle)

    def end_session_keys(self, session: int | None, cause: Cause, op: int = 0) -> None:
        """Forget the keys of one session, or of all when `session` is None."""
        for handle, key in list(self.keys.items()):
            if key.session is not None and session in (None, key.session):
                self.remove(handle, cause, op)
