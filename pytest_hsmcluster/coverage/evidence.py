"""What happened to one operation, and how did the cluster stand around it, according to the journal?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..history.events import Event

SECOND_NS = 1_000_000_000

DEAD = ("down", "lost")


@dataclass(slots=True)
class Exchange:
    """One command to one HSM within an operation.

    Attributes:
        command: what the HSM was asked to do.
        hsm: its id.
        points: the points that were passed, in order, `client.send` first.
        struck: specs of the faults that were performed on it.
        last_ns: instant of the last point, or of the death of its HSM while the client waited.
        ended_ns: instant at which the operation went on or ended; None while it has not.
        died: whether its HSM was off, or went off, before it answered.
    """

    command: str
    hsm: str
    points: list[str]
    last_ns: int
    died: bool
    struck: list[str] = field(default_factory=list)
    ended_ns: int | None = None

    @property
    def heard(self) -> bool:
        """Whether the client got an answer, of whatever kind."""
        return "client.receive" in self.points

    @property
    def done(self) -> bool:
        """Whether the HSM did what it was asked."""
        return "hsm.reply" in self.points

    @property
    def refused(self) -> bool:
        """Whether the HSM's answer was an error."""
        return self.heard and not self.done

    @property
    def busy(self) -> bool:
        """Whether the HSM answered that it was too busy (0xBB): it did so itself, or a fault in its name."""
        if any(spec.startswith(("fail 0xBB", "fail HsmBusy", "fail CKR_OPERATION_ACTIVE")) for spec in self.struck):
            return True
        turned_away = "hsm.receive" in self.points and "hsm.authorize" not in self.points
        return turned_away and self.heard and not any(spec.startswith("fail ") for spec in self.struck)

    @property
    def silent(self) -> bool:
        """Whether the client waited for an answer and the operation went on, or ended, without one."""
        failed_here = self.points[-1] == "client.send" and any(s.startswith(("fail ", "crash")) for s in self.struck)
        return self.ended_ns is not None and not self.heard and not failed_here

    @property
    def reset(self) -> bool:
        """Whether the silence was a closed connection, told at once."""
        cut = self.died or any(spec.startswith("corrupt") for spec in self.struck)
        # A client that only hears nothing waits for seconds; one that is told does not wait.
        return self.silent and cut and (self.ended_ns or 0) - self.last_ns < SECOND_NS

    @property
    def timed_out(self) -> bool:
        """Whether nothing came back in time."""
        return self.silent and not self.reset


@dataclass(frozen=True, slots=True)
class View:
    """Where one key, or both halves of a pair, were at an instant.

    Attributes:
        holders: HSMs, not lost, with an untombstoned copy; of a pair those that have both halves.
        running: those of them that run.
        partly: HSMs, not lost, with an untombstoned copy of at least one half.
        lacking: HSMs that are up and lack a copy.
        differ: whether two copies differ in attributes or shares.
        token: whether it is a token key.
    """

    holders: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    differ: bool = False
    token: bool = True


@dataclass(slots=True)
class Evidence:
    """All that a journal says about one operation.

    Attributes:
        invoked: its `invoke` event.
        sdk: 3 or 5.
        guarded: whether a create has to reach a second HSM: a minimum above 1, or SDK 5's check.
        hsms: how many HSMs the cluster began with.
        before: HSM → state when it was invoked.
        most: the largest number of HSMs that ran at the same time until then.
        key_before: where its key was then; None when it is about no key, or about one of another cluster.
        gone_before: whether an `ok` delete of its key had ended by then.
        ended: its `ok`, `fail` or `info`; None when it never ended.
        after: HSM → state when it ended.
        key_after: where its key was then, or the one that its error names; for creates the keys that it made.
        deleted: whether by its end somebody had asked for the deletion of that key.
        joined_since: whether the HSM that its error names joined in the course of this journal.
        drifted: whether its user existed, by its end, on some HSMs only, or not in the same state.
        exchanges: its commands, in order.
        struck: specs of the faults that were performed on it, in order.
        deaths: (index, HSM, `down` or `lost`) of HSMs that went while it was open.
        changes: `held`, `gone`, `tombstoned`, `attribute` and `share` events of it; some come after its end.
        hidden: keys that a find with a label should have shown and did not.
        twins: whether a find named two keys of one label and kind.
        strangers: keys that a find named and that no create or find had told anybody.
        revenants: keys that its answer names although an `ok` delete of them had ended before it began.
    """

    invoked: Event
    sdk: int
    guarded: bool
    hsms: int
    before: Mapping[str, str]
    most: int
    key_before: View | None
    gone_before: bool
    ended: Event | None = None
    after: Mapping[str, str] = field(default_factory=dict)
    key_after: View | None = None
    deleted: bool = False
    joined_since: bool = False
    drifted: bool = False
    exchanges: list[Exchange] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    deaths: list[tuple[int, str, str]] = field(default_factory=list)
    changes: list[Event] = field(default_factory=list)
    hidden: tuple[str, ...] = ()
    twins: bool = False
    strangers: tuple[str, ...] = ()
    revenants: tuple[str, ...] = ()

    @property
    def op(self) -> int:
        """Its number in the journal."""
        return int(self.invoked.op)

    @property
    def name(self) -> str:
        """What the application called: `generate_key`, `sign`, …"""
        return str(self.invoked.name)

    @property
    def token(self) -> bool | None:
        """Whether it is about a token key; None when it is about no key."""
        token: bool | None = self.invoked.token
        return token

    @property
    def outcome(self) -> str:
        """`ok`, `fail`, `info` or `open`."""
        return "open" if self.ended is None else str(self.ended.kind)

    @property
    def error(self) -> str | None:
        """Name of the error class that the application met, or None."""
        return None if self.ended is None or self.outcome == "ok" else str(self.ended.error)

    @property
    def hsm(self) -> str | None:
        """The HSM that its error names."""
        return None if self.error is None or self.ended is None else self.ended.hsm

    @property
    def seconds(self) -> float:
        """How long it took, in simulated time."""
        return 0.0 if self.ended is None else (self.ended.at_ns - self.invoked.at_ns) / SECOND_NS

    def changed_in_time(self) -> Iterator[Event]:
        """Yield its changes up to its end."""
        return (event for event in self.changes if self.ended is None or event.index < self.ended.index)

    def changed_late(self) -> Iterator[Event]:
        """Yield its changes after its end."""
        return (event for event in self.changes if self.ended is not None and event.index > self.ended.index)
