"""What has the job made, and what was it about to do?

One JSON file.  Each change is on disk, whole, before the call that it announces is made, so
that a job that dies at any step knows the next night what may have been left half done.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .inventory import KeyPlan

State = Literal["intended", "active", "retired"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key, or one pair, that was made or was about to be made.

    Attributes:
        label: CKA_LABEL.
        plan: id of the plan that it was made for.
        generation: the n of its label.
        state: `intended` (nobody has been given it), `active` (in use), `retired` (decrypts what is old).
        since: the day from which it has been in this state.
        handles: numbers of its key objects; empty while it is intended.
        shared_with: users that it was shared with.
    """

    label: str
    plan: str
    generation: int
    state: State
    since: int
    handles: tuple[int, ...] = ()
    shared_with: tuple[str, ...] = ()


class Ledger:
    """The job's memory.

    Args:
        path: of the file; one that does not exist is an empty ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: list[Entry] = []
        self._condemned: dict[int, int] = {}
        self._suspects: dict[int, int] = {}
        self._numbers = 0
        document = self._read()
        if document is not None:
            self._entries = [_entry(fields) for fields in document["entries"]]
            self._condemned = _days(document["condemned"])
            self._suspects = _days(document["suspects"])
            self._numbers = document.get("numbers", 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written: the first night, or a lost file."""
        return not (self._entries or self._condemned)

    # -- entries ---------------------------------------------------------------------------

    def entries(self, *states: State) -> list[Entry]:
        """Return the entries in one of these states, in the order in which they were intended."""
        return [entry for entry in self._entries if entry.state in states]

    def of(self, plan: KeyPlan, state: State) -> Entry | None:
        """Return the newest entry of a plan in this state."""
        return next((entry for entry in reversed(self.entries(state)) if entry.plan == plan.id), None)

    def intend(self, plan: KeyPlan, day: int) -> Entry:
        """Write down that the next generation of a key is about to be made, and return its entry."""
        generation = 1 + max((entry.generation for entry in self._entries if entry.plan == plan.id), default=0)
        entry = Entry(plan.label(generation), plan.id, generation, "intended", day)
        self._entries.append(entry)
        self._write()
        return entry

    def next_number(self) -> int:
        """Return a number that was never used before; from now on it is used."""
        self._numbers += 1
        self._write()
        return self._numbers

    def activate(self, entry: Entry, handles: Iterable[int], day: int) -> None:
        """Put a key in use and retire the one before it, in one step."""
        for old in self.entries("active"):
            if old.plan == entry.plan:
                self._change(old, state="retired", since=day)
        self._change(entry, state="active", since=day, handles=tuple(handles))
        self._write()

    def share(self, entry: Entry, users: Iterable[str]) -> None:
        """Write down with whom a key is shared."""
        if entry.shared_with != tuple(users):
            self._change(entry, shared_with=tuple(users))
            self._write()

    # -- keys that have to go ----------------------------------------------------------------

    @property
    def condemned(self) -> dict[int, int]:
        """Handle → day from which the key must not exist, for ever: a sweep or a backup may bring it back."""
        return dict(self._condemned)

    def condemn(self, handles: Iterable[int], day: int) -> None:
        """Write down that keys are to be deleted; entries that had no others are dropped."""
        for handle in handles:
            self._condemned.setdefault(handle, day)
        self._entries = [entry for entry in self._entries if not entry.handles or not self._all_condemned(entry)]
        self._write()

    def suspect(self, handles: Iterable[int], day: int) -> dict[int, int]:
        """Remember these unknown keys and forget all others; return handle → day on which it was first seen."""
        suspects = {handle: self._suspects.get(handle, day) for handle in handles}
        if suspects != self._suspects:
            self._suspects = suspects
            self._write()
        return suspects

    # -- inside ------------------------------------------------------------------------------

    def _all_condemned(self, entry: Entry) -> bool:
        return all(handle in self._condemned for handle in entry.handles)

    def _change(self, entry: Entry, **fields: Any) -> None:
        place = [other.label for other in self._entries].index(entry.label)
        self._entries[place] = replace(self._entries[place], **fields)

    def _write(self) -> None:
        document = {
            "entries": [asdict(entry) for entry in self._entries],
            "condemned": self._condemned,
            "suspects": self._suspects,
            "numbers": self._numbers,
        }
        self._replace(document)

    # -- the file ----------------------------------------------------------------------------

    def _read(self) -> dict[str, Any] | None:
        """Return what the file says, or None where there is none."""
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else None

    def _replace(self, document: dict[str, Any]) -> None:
        """Let the file say this; at no instant does it say half of it."""
        draft = self.path.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(**{**fields, "handles": tuple(fields["handles"]), "shared_with": tuple(fields["shared_with"])})


def _days(fields: dict[str, int]) -> dict[int, int]:
    return {int(handle): day for handle, day in fields.items()}
