"""What does a check say about one key, and how does it say it to people?"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

Backups = Mapping[str, Collection[str]]
"""Id of a backup → the names ("key-1") of the keys that are in it."""

_WORDS = {
    "durable": "key at risk",
    "no_lost_keys": "lost key",
    "no_orphan_keys": "orphan key",
    "no_resurrected_keys": "resurrected key",
    "misses_retried": "routing miss of key",
    "no_duplicate_labels": "duplicate key",
    "in_sync": "HSMs differ in key",
    "session_keys_stay_put": "stray session key",
    "no_undecryptable_data": "undecryptable data of key",
    "no_stale_handles": "stale handle of session key",
    "exposure": "exposed key",
    "linearizable": "calls without an order on key",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise.

    Attributes:
        check: name of the check that found it.
        key: "key-N", the birth that it is about.
        label: the key's label when the history was read; may be empty.
        handle: the key's number, the same on every HSM.
        hsms: ids of the HSMs that it is about, in the order in which they joined; each check says which.
        since_ns: instant from which the promise was broken, ns of simulated time.
        cause: what led to it, in words.
        setting: the setting that would have prevented it, or None.
    """

    check: str
    key: str
    label: str
    handle: int
    hsms: tuple[str, ...]
    since_ns: int
    cause: str
    setting: str | None = None

    @property
    def since(self) -> float:
        """The instant in seconds."""
        return self.since_ns / 1e9

    def __str__(self) -> str:
        what = _WORDS.get(self.check, f"{self.check}: key")
        where = f" on {listed(self.hsms)}" if self.hsms else ""
        hint = f"; {self.setting} would have prevented it" if self.setting else ""
        # repr: a label with a line feed in it must not make two lines of one finding.
        return (
            f"{what} {self.label!r} ({self.key}, handle {self.handle}){where} since {instant(self.since_ns)}: "
            f"{self.cause}{hint}"
        )


def require_none(findings: Iterable[Finding | str]) -> None:
    """Raise an AssertionError with one finding a line, if there is any."""
    __tracebackhide__ = True
    text = "\n".join(map(str, findings))
    if text:
        raise AssertionError(text)


def instant(at_ns: int) -> str:
    """Return an instant for people: seconds with microseconds."""
    return f"{at_ns / 1e9:.6f} s"


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence, or "no HSM"."""
    return ", ".join(names) or "no HSM"
