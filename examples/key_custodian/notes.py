"""What did the job do tonight?  Neutral: each form says which errors are worth a note."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Verb = Literal["created", "rotated", "deleted", "missing", "duplicate", "suspected", "reaped", "returned", "failed"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that was done, found or not managed."""

    verb: Verb
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.verb:<9} {self.subject}" + (f": {self.detail}" if self.detail else "")


@dataclass(slots=True)
class Notes:
    """One night.

    Attributes:
        day: which.
        notes: in the order in which things happened.
        refusals: errors that are noted.
        fatal: those among them after which there is nobody who could note anything.
    """

    refusals: ClassVar[tuple[type[Exception], ...]] = ()
    fatal: ClassVar[tuple[type[Exception], ...]] = ()

    day: int
    notes: list[Note] = field(default_factory=list)

    def add(self, verb: Verb, subject: str, detail: object = "") -> None:
        self.notes.append(Note(verb, subject, str(detail)))

    def of(self, verb: Verb) -> list[str]:
        """Return what a verb was said of."""
        return [note.subject for note in self.notes if note.verb == verb]

    @property
    def is_routine(self) -> bool:
        """Whether nothing went wrong and nothing odd was found."""
        return all(note.verb in ("created", "rotated", "deleted") for note in self.notes)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Note what goes wrong in a step, and go on with the next one."""
        try:
            yield
        except self.fatal:
            raise
        except self.refusals as error:
            self.add("failed", what, f"{type(error).__name__}: {error}".removesuffix(": "))

    def __str__(self) -> str:
        return "\n".join(f"night {self.day:>2}  {note}" for note in self.notes) or f"night {self.day:>2}  nothing to do"
