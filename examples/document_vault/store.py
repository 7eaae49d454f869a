"""What does the vault keep in its database?"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    name        TEXT PRIMARY KEY,
    kek         TEXT NOT NULL,
    wrapped_dek BLOB NOT NULL,
    sealed      BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS keks (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    label       TEXT GENERATED ALWAYS AS ('vault-kek-' || number),
    current     INTEGER NOT NULL DEFAULT 0
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A document's data key, wrapped under the key-encryption key with this label."""

    name: str
    kek: str
    wrapped_dek: bytes


class Store:
    """Encrypted documents, wrapped data keys, and the name of every key-encryption key that was ever asked for.

    Every method is one transaction.

    Args:
        path: of the database file; `:memory:` for none.
    """

    def __init__(self, path: Path | str = ":memory:") -> None:
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode = WAL")  # one fsync for each transaction, not three
        self._database.executescript(SCHEMA)

    def close(self) -> None:
        self._database.close()

    # -- documents ----------------------------------------------------------------------

    def save(self, row: Row, sealed: bytes) -> None:
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", (row.name, row.kek, row.wrapped_dek, sealed)
            )

    def load(self, name: str) -> tuple[Row, bytes]:
        """Return a document's row and ciphertext.

        Raises:
            KeyError: there is none of this name.
        """
        query = "SELECT name, kek, wrapped_dek, sealed FROM documents WHERE name = ?"
        found = self._database.execute(query, (name,)).fetchone()
        if found is None:
            raise KeyError(name)
        return Row(*found[:3]), found[3]

    def names(self) -> list[str]:
        return [name for (name,) in self._database.execute("SELECT name FROM documents ORDER BY name")]

    def rows_not_under(self, kek: str) -> Iterator[Row]:
        """Return the documents whose data key is wrapped under any other key than this one."""
        query = "SELECT name, kek, wrapped_dek FROM documents WHERE kek <> ? ORDER BY name"
        return iter([Row(*found) for found in self._database.execute(query, (kek,))])

    def rewrap(self, row: Row) -> None:
        with self._database:
            self._database.execute(
                "UPDATE documents SET kek = ?, wrapped_dek = ? WHERE name = ?", (row.kek, row.wrapped_dek, row.name)
            )

    # -- key-encryption keys ----------------------------------------------------------------

    def next_label(self) -> str:
        """Return a label that was never used before; from now on it is known to the database."""
        with self._database:
            number = self._database.execute("INSERT INTO keks DEFAULT VALUES").lastrowid
        return f"vault-kek-{number}"

    def promote(self, label: str) -> None:
        """Make this key the one that documents are stored under."""
        with self._database:
            self._database.execute("UPDATE keks SET current = (label = ?)", (label,))

    def current(self) -> str | None:
        found = self._database.execute("SELECT label FROM keks WHERE current").fetchone()
        return found[0] if found else None

    def needless(self) -> list[str]:
        """Return the labels of all keys, made or only asked for, that are not current and that no document names."""
        query = "SELECT label FROM keks WHERE NOT current AND label NOT IN (SELECT kek FROM documents) ORDER BY number"
        return [label for (label,) in self._database.execute(query)]
