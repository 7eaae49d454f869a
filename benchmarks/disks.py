"""What do the disks of HSM processes hold, read by SQLite alone, and what follows from it?

Nothing here asks a journal or a check of the package: whatever these say is held against what is found here.
"""

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pytest_hsmcluster.keys.masking import MaskedKey, MaskingKey, unmask
from pytest_hsmcluster.processes.mirror import HsmMirror
from pytest_hsmcluster.service.keystore import StoredKey
from pytest_hsmcluster.service.register import Register

PARTS = ("", "-wal", "-shm")
"""What the disk of an HSM consists of.  The newest that was committed stands in the second."""

Keys = dict[int, tuple[object, ...]]
"""Handle → all that matters of a key, and no bytes of it."""


class Wrong(AssertionError):
    """An HSM has lost, kept or invented what it must not."""


def keys_on(folder: Path, masking_key: MaskingKey, parts: Sequence[str] = PARTS) -> Keys:
    """Return the keys on a disk; of a copy of it, which SQLite opens and looks through.

    Raises:
        Wrong: SQLite finds something wrong with it.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as copy:
        for part in (part for part in parts if Path(folder, f"hsm.db{part}").exists()):
            shutil.copyfile(folder / f"hsm.db{part}", Path(copy, f"hsm.db{part}"))
        base = sqlite3.connect(Path(copy, "hsm.db"))
        try:
            verdict = "\n".join(row[0] for row in base.execute("PRAGMA integrity_check"))
            if verdict != "ok":
                raise Wrong(f"SQLite says of {folder.name}: {verdict}")
            rows = base.execute("SELECT handle, masked, tombstoned FROM keys").fetchall()
        except sqlite3.DatabaseError as error:
            raise Wrong(f"SQLite does not open {folder.name}: {error}") from None
        finally:
            base.close()
    return {handle: _said(unmask(masking_key, blob), bool(tombstoned)) for handle, blob, tombstoned in rows}


def check_mirror(hsm: HsmMirror, on_disk: Keys) -> None:
    """Hold what the test process knows of an HSM against its disk.

    Raises:
        Wrong: they differ.
    """
    mirror = {handle: _said(key, False) for handle, key in hsm.keys.items() if key.token}
    mirror |= {handle: _said(key, True) for handle, key in hsm.tombstones.items() if key.token}
    differing = [handle for handle in {**mirror, **on_disk} if mirror.get(handle) != on_disk.get(handle)]
    if differing:
        raise Wrong(f"disk and mirror of {hsm.id} differ in the keys {differing}")


class Ledger:
    """What applications were told, and what became of it on the disks.

    Attributes:
        relied_on: handles of keys that some application was told to have made, or has found and used.
        told: handles that any application was ever told.
        removals: handle → deletes of it that are not known to have failed.
        excused: handles of keys that went with all the HSMs that had them.
    """

    def __init__(self) -> None:
        self.relied_on: dict[int, None] = {}
        self.told: dict[int, None] = {}
        self.removals: Counter[int] = Counter()
        self.excused: dict[int, None] = {}
        self._made: dict[int, None] = {}
        self._holders: dict[int, list[str]] = {}

    def made(self, handle: int) -> None:
        """Note that an application was told to have made a key."""
        self._made[handle] = self.relied_on[handle] = self.told[handle] = None

    def found(self, handle: int) -> None:
        """Note that an application was shown a key."""
        self.told[handle] = None

    def used(self, handle: int) -> None:
        """Note that a key did something for an application."""
        self.relied_on[handle] = None

    def usable(self) -> list[int]:
        """Return the keys that an application may go on with, in the order in which it heard of them."""
        return [handle for handle in self.told.copy() if not self.removals[handle]]

    def check(self, disks: Mapping[str, Keys], destroyed: Iterable[str]) -> None:
        """Look for every key that is relied on, and remember who has it now.

        Args:
            disks: of the HSMs that are up or restartable: id → what is on them.
            destroyed: ids of HSMs that were lost for good since the last look.

        Raises:
            Wrong: one was acknowledged with fewer than two copies, or is on no disk although an HSM had it.
        """
        gone = list(destroyed)
        for handle in self.relied_on:
            if self.removals[handle]:
                continue
            holders = [hsm for hsm, keys in disks.items() if handle in keys and not tombstoned(keys[handle])]
            before = self._holders.get(handle)
            if before is None and handle in self._made and len(holders) < 2:
                raise Wrong(f"key {handle} was acknowledged with {len(holders)} of two copies: {holders}")
            if not holders and before is not None and handle not in self.excused:
                if any(hsm not in gone for hsm in before):
                    raise Wrong(
                        f"key {handle} is lost: {before} had it, and {', '.join(gone) or 'no HSM'} was destroyed"
                    )
                self.excused[handle] = None
            self._holders[handle] = holders

    def orphans(self, disks: Mapping[str, Keys]) -> list[int]:
        """Return the keys that are on a disk and that nobody was ever told of, when no call is under way."""
        return sorted(
            {handle for keys in disks.values() for handle in keys if not tombstoned(keys[handle])} - {*self.told}
        )

    def lost(self) -> list[int]:
        """Return the keys that are relied on and that no disk had at the last look."""
        return sorted(handle for handle, holders in self._holders.items() if not holders and not self.removals[handle])


def check_named(what: str, expected: Iterable[int], named: Iterable[int]) -> None:
    """Hold what a check of the package names against what the disks say.

    Raises:
        Wrong: it names others.
    """
    missing, invented = sorted({*expected} - {*named}), sorted({*named} - {*expected})
    if missing or invented:
        raise Wrong(f"{what}: not named {missing}, named without reason {invented}")


def tombstoned(key: tuple[object, ...]) -> bool:
    """Return whether a key on a disk is only marked for deletion."""
    return bool(key[-1])


def _said(key: StoredKey | MaskedKey, dead: bool) -> tuple[object, ...]:
    return Register.fingerprint(key.material).hex(), key.attributes.packed(), key.owner, key.shares, dead
