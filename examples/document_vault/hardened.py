"""How does a vault look that expects HSMs to fail?

Five habits make the difference to `naive.py`:

1. Every use of a key may meet an HSM that does not hold it (yet), is busy, or dies: it is repeated, with pauses, a
   limited number of times.  Uses change nothing, so repeating them is safe.
2. Making a key does change something.  The label is new each time, and written down before the HSMs are asked.
3. When making a key failed, nobody knows what is left of it.  The vault looks, removes, and only then makes another.
4. A document names the key that it is under, and moves to a new key only after the new key has opened what it closed.
   So a rotation that breaks off leaves every document readable and can go on later.
5. What may be left over is removed at the next opportunity, and looked for again each time: a copy on an HSM that was
   off during the delete comes back with it.

The sixth is no code: the cluster must not call a key made that is on one HSM only (SDK 3:
`create_object_minimum_nodes` of 2; SDK 5: its availability check, on by default).
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from . import envelope
from .hsm import Hsm, Key, KeyMissing, VaultUnavailable, named, will_pass
from .store import Row, Store

T = TypeVar("T")
log = logging.getLogger(__name__)

PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0)
"""Between attempts: twice as long each time, half a minute in all, then the caller shall know."""


class HardenedVault:
    """Stores documents, and has them as long as one HSM survives that held the key.

    One process at a time works on a database, and one database with the keys of a crypto user.

    Args:
        hsm: the HSM client, logged in.
        store: the database.
        sleep: how the vault waits between attempts.
    """

    def __init__(self, hsm: Hsm, store: Store, sleep: Callable[[float], None] = time.sleep) -> None:
        self._hsm = hsm
        self._store = store
        self._sleep = sleep
        self._handles: dict[str, Key] = {}

    def start(self) -> None:
        """Finish what an earlier process had to leave, and have a key-encryption key.

        Raises:
            VaultUnavailable: the HSMs do not let it, now.
        """
        if self._store.current() is None:
            self._store.promote(self._new_kek())
        self.maintain()

    def put(self, name: str, document: bytes) -> None:
        """Store a document; when this returns, it has been proven that its data key can be opened.

        Raises:
            VaultUnavailable: it is not stored.
        """
        kek = self._store.current()
        if kek is None:
            raise VaultUnavailable("there is no key-encryption key yet: call start() first")
        dek = self._patiently("random", lambda: self._hsm.random(envelope.DEK_BYTES))
        self._store.save(self._wrapped(name, kek, dek), envelope.seal(dek, name, document))

    def get(self, name: str) -> bytes:
        """Return a document.

        Raises:
            KeyError: there is none of this name.
            VaultUnavailable: its data key cannot be opened now.
        """
        row, sealed = self._store.load(name)
        return envelope.unseal(self._opened(row), name, sealed)

    def rotate(self) -> None:
        """Replace the key-encryption key, and delete the old one when nothing is under it any more.

        Raises:
            VaultUnavailable: it is not finished.  Every document can still be read; `maintain` goes on with it.
        """
        self._store.promote(self._new_kek())
        self.maintain()

    def maintain(self) -> None:
        """Bring all documents under the current key, and remove keys that nothing needs.

        Raises:
            VaultUnavailable: as `rotate`.
        """
        current = self._store.current()
        if current is not None:
            for row in self._store.rows_not_under(current):
                self._store.rewrap(self._wrapped(row.name, current, self._opened(row)))
        for label in self._store.needless():
            self._remove(label)

    # -- data keys ------------------------------------------------------------------------

    def _wrapped(self, name: str, kek: str, dek: bytes) -> Row:
        """Return the data key under a key-encryption key, which has proven that it opens it again."""
        aad = envelope.bound_to(name)
        wrapped = self._with_kek("encrypt", kek, lambda key: self._hsm.encrypt(key, dek, aad=aad))
        row = Row(name, kek, wrapped)
        if self._opened(row) != dek:
            raise VaultUnavailable(f"{kek} does not give back what it was given")
        return row

    def _opened(self, row: Row) -> bytes:
        aad = envelope.bound_to(row.name)
        return self._with_kek("decrypt", row.kek, lambda key: self._hsm.decrypt(key, row.wrapped_dek, aad=aad))

    # -- key-encryption keys ----------------------------------------------------------------

    def _new_kek(self) -> str:
        """Make a key-encryption key and return its label."""
        pauses = self._pauses()
        while True:
            label = self._store.next_label()
            try:
                self._handles[label] = self._hsm.generate_key("AES", 256, label=label)
                return label
            except Exception as error:
                self._remove(label)
                self._wait(f"making {label}", error, pauses)

    def _remove(self, label: str) -> None:
        """Delete what is there under a label; if that does not work now, the next `maintain` does it."""
        self._handles.pop(label, None)
        try:
            for key in self._hsm.find_keys(label=label):
                self._hsm.delete_key(key)
                log.info("%s is removed", label)
        except Exception as error:
            if not will_pass(error):
                raise
            log.info("%s cannot be looked for and removed now (%s): later", label, named(error))

    def _with_kek(self, what: str, label: str, use: Callable[[Key], T]) -> T:
        def once() -> T:
            if label not in self._handles:
                found = self._hsm.find_keys(label=label)
                if not found:
                    raise KeyMissing(f"no HSM shows {label}")
                self._handles[label] = found[0]
            return use(self._handles[label])

        return self._patiently(f"{what} with {label}", once)

    # -- patience ---------------------------------------------------------------------------

    def _pauses(self) -> Iterator[float]:
        """Return the pauses between the attempts at one thing."""
        return iter(PAUSES_S)

    def _patiently(self, what: str, call: Callable[[], T]) -> T:
        """Return what a call that changes nothing returns, after as many attempts as it takes."""
        pauses = self._pauses()
        while True:
            try:
                return call()
            except Exception as error:
                self._wait(what, error, pauses)

    def _wait(self, what: str, error: Exception, pauses: Iterator[float]) -> None:
        """Return when it is time for another attempt; raise when there is none."""
        if not will_pass(error):
            raise error
        pause = next(pauses, None)
        if pause is None:
            raise VaultUnavailable(f"{what} failed {len(PAUSES_S) + 1} times") from error
        log.info("%s: %s; again in %g s", what, named(error), pause)
        self._sleep(pause)
