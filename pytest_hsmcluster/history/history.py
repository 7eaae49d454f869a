"""What happened, for readers: events, a digest, and a file for next week."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .events import FIELDS, OUTCOMES, OUTSIDE, Event, Kind, Record, read
from .journal import well_formed

FORMAT = "hsmcluster-history"
VERSION = 1


class History:
    """The journal of one cluster, to read.

    Works on a live run and on a loaded file alike.  Reading never moves time and writes no event.

    Args:
        records: journal lines; the live list of a run, or what `load` read.
        note: facts about the run that readers show, such as `{"seed": 7}`; `no_digest` says why there is none.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        note: dict[str, Any] | None = None,
    ) -> None:
        self.records = records
        self.note = {} if note is None else note

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Event]:
        for index, record in enumerate(self.records):
            yield read(record, index)

    def __getitem__(self, index: int) -> Event:
        return read(self.records[index], index % len(self.records))

    def __repr__(self) -> str:
        return f"<History of {len(self.records)} events>"

    def of(self, *kinds: Kind | str) -> list[Event]:
        """Return the events of these kinds, in order."""
        wanted = {Kind(kind) for kind in kinds}
        return [read(record, index) for index, record in enumerate(self.records) if record[0] in wanted]

    @property
    def operations(self) -> list[Event]:
        """The `invoke`, `ok`, `fail` and `info` events, in order."""
        return self.of(Kind.INVOKE, *OUTCOMES)

    @property
    def last(self) -> Event:
        """The newest outcome: what the application was told last.

        Raises:
            UsageError: no operation has ended yet.
        """
        for index in range(len(self.records) - 1, -1, -1):
            if self.records[index][0] in OUTCOMES:
                return read(self.records[index], index)
        raise UsageError("no operation has ended yet: the history has no outcome")

    def digest(self) -> str:
        """Return the SHA-256 of the canonical records, 64 hex digits.

        Equal seed, story and package version give an equal digest in virtual time.  Strings that the
        application chose count by their order of first appearance, so that renaming a label changes nothing.

        Raises:
            UsageError: the run was paced by a real clock.
        """
        if "no_digest" in self.note:
            raise UsageError(f"this history has no digest: {self.note['no_digest']}")
        sha = hashlib.sha256()
        for line in self.canonical():
            sha.update(line.encode())
            sha.update(b"\n")
        return sha.hexdigest()

    def canonical(self) -> Iterator[str]:
        """Yield each record as its digest sees it: one line of JSON, names from outside as ordinals."""
        ordinals = _Ordinals()
        for record in self.records:
            line = [str(record[0]), record[1]]
            for name, value in zip(FIELDS[record[0]], record[2:], strict=True):
                if name == "changed":  # pairs of attribute and value: the attributes' names are ours
                    line.append([[attribute, ordinals.replace("label", new)] for attribute, new in value])
                else:
                    line.append(ordinals.replace(OUTSIDE[name], value) if name in OUTSIDE else value)
            yield json.dumps(line, separators=(",", ":"))

    def save(self, path: str | Path) -> Path:
        """Write the history as JSON lines and return the path.  `History.load` reads it back.

        The file holds names and instants, never key bytes, PINs or data.
        """
        target = Path(path)
        head = {"format": FORMAT, "version": VERSION, "events": len(self.records), "note": self.note}
        with target.open("w", encoding="utf-8") as file:
            for line in (head, *self.records):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
        return target

    @classmethod
    def load(cls, path: str | Path) -> "History":
        """Read a file that `save` wrote.

        Raises:
            UsageError: not such a file; says which line is wrong.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the history {path}: {error}") from error
        head, *rest = [_parsed(path, number, line) for number, line in enumerate(lines, 1)] or [None]
        if not isinstance(head, dict) or head.pop("format", None) != FORMAT:
            raise UsageError(f"{path} is not a history: its first line should say {FORMAT!r}")
        if head.pop("version", None) != VERSION:
            raise UsageError(f"{path} was written in another version of the format; this one reads version {VERSION}")
        if head.pop("events", None) != len(rest):
            raise UsageError(f"{path} is cut short: {len(rest)} events, its first line promises more or fewer")
        return cls([_record(path, number, line) for number, line in enumerate(rest, 2)], note=head.pop("note", None))


class _Ordinals:
    """Numbers names of each kind in order of first appearance, inside tuples too."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, int]] = {}

    def replace(self, kind: str, value: Any) -> Any:
        if isinstance(value, str):
            seen = self._seen.setdefault(kind, {})
            return f"~{seen.setdefault(value, len(seen))}"
        if isinstance(value, tuple | list):
            return [self.replace(kind, item) for item in value]
        return value


def _parsed(path: str | Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {number}: not JSON ({error.msg}, column {error.colno})") from error


def _record(path: str | Path, number: int, line: Any) -> Record:
    record: Record = _tuples(line) if isinstance(line, list) else ()
    if not well_formed(record):
        raise UsageError(f"{path}, line {number}: not an event of a known kind with all its fields")
    return (Kind(record[0]), *record[1:])


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
