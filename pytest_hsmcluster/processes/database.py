"""How does an HSM process keep its token keys and users, so that they survive it?

In SQLite, with one transaction for each command, which is over before the command is answered.  Keys stand there as
masked objects: the masking key never is on a disk.  Beside them stands what was last told to the test process, sealed
under the same key, so that nothing is in doubt after a kill between the commit and the telling.

A process that is killed loses nothing that it committed: the system has it.  That says nothing about a machine that
loses power; `synchronous=FULL` asks for that, and no test here can show it.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

NAME = "hsm.db"
PAGE_BYTES = 512
"""The smallest page: each key needs one of its own, so that a full disk has no room for one more key.

It also has this much room to become longer in its place: a full disk is no reason not to share or change a key.
"""

_SCHEMA = """
CREATE TABLE keys
    (handle INTEGER PRIMARY KEY, masked BLOB NOT NULL, tombstoned INTEGER NOT NULL, padding BLOB NOT NULL);
CREATE TABLE users (name TEXT PRIMARY KEY, type TEXT NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL);
CREATE TABLE failures (name TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE told (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, report BLOB NOT NULL);
INSERT INTO told VALUES (1, 0, x'');
"""
_ROOM = f"""
INSERT INTO keys VALUES (:handle, :masked, :tombstoned, zeroblob({PAGE_BYTES}))
ON CONFLICT (handle) DO UPDATE SET masked = excluded.masked, tombstoned = excluded.tombstoned,
    padding = zeroblob(max(0, length(keys.masked) + length(keys.padding) - length(excluded.masked)))
"""
_MOST_PAGES = 1 << 30

UserRow = tuple[str, str, int, bytes]
KeyRow = tuple[int, bytes, bool]


class DiskFull(Exception):
    """There is no room for what was to be written; nothing of it was."""


class Database:
    """The disk of one HSM.

    Args:
        folder: where the file is, or will be; only its owner may look into it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        path.touch(mode=0o600)
        self._full = False
        self._base = sqlite3.connect(path, isolation_level=None)
        # Whoever made the file may have been killed before there was anything in it.
        fresh = not self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if fresh:
            self._base.execute(f"PRAGMA page_size={PAGE_BYTES}")
            self._base.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=FULL")
        if fresh:
            self._base.executescript(f"BEGIN; {_SCHEMA} COMMIT;")

    @property
    def told(self) -> tuple[int, bytes]:
        """Number and text, sealed, of the last report that belongs to what is written."""
        number, report = self._base.execute("SELECT number, report FROM told").fetchone()
        return number, report

    def rows(self) -> list[KeyRow]:
        """Return the keys in the order of their handles: handle, masked object, whether it is marked for deletion."""
        rows = self._base.execute("SELECT handle, masked, tombstoned FROM keys ORDER BY handle")
        return [(handle, masked, bool(tombstoned)) for handle, masked, tombstoned in rows]

    def users(self) -> tuple[list[UserRow], dict[str, int]]:
        """Return the users in the order in which they were made, and how many bad passwords have been tried."""
        users = self._base.execute("SELECT name, type, number, digest FROM users ORDER BY rowid").fetchall()
        return users, dict(self._base.execute("SELECT name, count FROM failures"))

    def write(
        self,
        number: int,
        report: bytes,
        *,
        keys: Iterable[KeyRow] = (),
        gone: Iterable[int] = (),
        users: Iterable[UserRow] | None = None,
        failures: dict[str, int] | None = None,
    ) -> None:
        """Write what one command has changed, and what will be told of it: all or nothing.

        Raises:
            DiskFull: there is no room.
        """
        base = self._base
        if users is not None or failures is not None:
            self._lift()  # what is full has no room for keys; users find theirs
        try:
            base.execute("BEGIN IMMEDIATE")
            base.executemany("DELETE FROM keys WHERE handle = ?", [(handle,) for handle in gone])
            rows = ({"handle": handle, "masked": blob, "tombstoned": dead} for handle, blob, dead in keys)
            base.executemany(_ROOM, rows)
            if users is not None:
                base.execute("DELETE FROM users")
                base.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", users)
            if failures is not None:
                base.execute("DELETE FROM failures")
                base.executemany("INSERT INTO failures VALUES (?, ?)", failures.items())
            base.execute("UPDATE told SET number = ?, report = ?", (number, report))
            base.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if base.in_transaction:
                base.execute("ROLLBACK")
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskFull from None
            raise
        if self._full:
            self._fill()

    def limit(self, full: bool) -> None:
        """Let the disk have no further page, or as many as it likes.

        The last report must have been told: it is forgotten, so that its pages are no room for a key.
        """
        self._full = full
        if full:
            self._base.execute("UPDATE told SET report = x''")
            self._fill()
        else:
            self._lift()

    def _lift(self) -> None:
        """Have as many pages as one likes."""
        self._base.execute(f"PRAGMA max_page_count={_MOST_PAGES}")

    def _fill(self) -> None:
        """Have no room: neither in pages that are free nor in further ones."""
        self._base.executescript("PRAGMA incremental_vacuum;")  # execute() takes one step of it: one page
        (pages,) = self._base.execute("PRAGMA page_count").fetchone()
        self._base.execute(f"PRAGMA max_page_count={pages}")

    def check(self) -> str:
        """Return `ok`, or what SQLite finds wrong."""
        try:
            return "\n".join(row[0] for row in self._base.execute("PRAGMA integrity_check"))
        except sqlite3.DatabaseError as error:  # it cannot even look through it
            return str(error)

    def close(self) -> None:
        """Close the file."""
        self._base.close()


class DeadDisk:
    """The disk of an HSM that is off, for reading; a context manager.

    It reads a copy.  The file alone is not what was committed: the newest of it stands in the write-ahead log, and
    whoever opens the two of them writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Database:
        self._copy = Path(tempfile.mkdtemp(prefix="copy-", dir=self._folder))
        for suffix in ("", "-wal", "-shm"):
            part = self._folder / f"{NAME}{suffix}"
            if part.exists():
                (self._copy / part.name).touch(mode=0o600)
                shutil.copyfile(part, self._copy / part.name)
        self._database = Database(self._copy)
        return self._database

    def __exit__(self, *error: object) -> None:
        self._database.close()
        shutil.rmtree(self._copy)
