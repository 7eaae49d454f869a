"""What is an actor: one of several threads that take turns?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from threading import Lock
from typing import TYPE_CHECKING

from ..sim.clock import NS
from ..sim.entropy import Stream
from ..sim.scheduler import FOREVER_NS
from .watching import Watched

if TYPE_CHECKING:
    from .company import Company

AT_WORK: "dict[int, Company]" = {}
"""Thread → the company in which it acts.  Module state: what stands in for `time.sleep` can be told in no other way."""

_LONGEST_DELAY = 28
"""An actor comes late to its call by up to 2**28 ns (0.27 s), more than a create on three HSMs takes: a guess."""


LOOKS_AT_ONCE = 100
"""Waits of no time in a row that take none, of one actor.  In reality none does, and a loop ends that polls."""

LOOK_NS = 100_000
"""What each further one takes: a guess."""


class ActorEnded(BaseException):
    """Ends an actor where it stands; no `except Exception` of the application keeps it."""


class Order:
    """Draws who goes on.

    Attributes:
        drawn: how often there was a choice.
    """

    def __init__(self, dice: Stream) -> None:
        self.drawn = 0
        self._dice = dice

    def choose(self, ready: "list[Actor]") -> "Actor":
        """Return one of those who could go on."""
        if len(ready) == 1:
            return ready[0]
        self.drawn += 1
        return self._dice.choice(ready)

    def delay_ns(self) -> int:
        """Return how late an actor comes to its call: a busy machine lets threads wait.

        Half of them are in time; how late the others are is drawn over all orders of magnitude.
        """
        return 0 if self._dice.chance(0.5) else 1 + self._dice.below(1 << self._dice.below(_LONGEST_DELAY) + 1)


class Group:
    """Actors that begin and end together: the functions of one `run()`, and the threads that they start.

    Args:
        longest_ns: instant at which it must be over; None: no limit.
        turns: how many turns may be taken until it is over.

    Attributes:
        ending: whether its actors are being ended.
        functions: the actors with which it began.
        errors: (name of the actor, what it raised), in the order in which they came.
    """

    def __init__(self, longest_ns: int = FOREVER_NS, turns: int = FOREVER_NS) -> None:
        self.longest_ns = longest_ns
        self.turns = turns
        self.ending = False
        self.functions: list[Actor] = []
        self.errors: list[tuple[str, BaseException]] = []

    def fail(self, name: str, error: BaseException) -> None:
        """Keep an error, and have everybody end."""
        self.errors.append((name, error))
        self.ending = True

    def over(self) -> bool:
        """Whether all its functions have ended; then the threads that they left behind end, too."""
        alive = [one.state for one in self.functions if one.state is not State.ENDED]
        if not alive:
            self.ending = True
        return not alive or (self.ending and all(state is State.OUTSIDE for state in alive))

    def raise_errors(self) -> None:
        """Raise what its actors raised: the error itself if there is one, else all of them as a group."""
        for name, error in self.errors:
            if name:
                error.add_note(f"(in the actor {name!r} of run())")
        errors = [error for _, error in self.errors]
        self.errors.clear()
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} actors of run() failed", errors)


class State(Enum):
    """What an actor does."""

    WAITS = auto()
    HAS_TURN = auto()
    OUTSIDE = auto()  # waits for something that simulated time knows nothing of
    ENDED = auto()


class Actor:
    """One thread that takes its turns.

    Attributes:
        name: for people.
        group: with whom it ends.
        state: what it does.
        ready: whether it could go on.
        poll: asks whether it could go on, if nobody says so.
        waits_for, since_ns: for the report of who waits.
        real: whether it waits for real just now, on purpose.
        error: to be raised at its next turn.
        on_stuck: told of what would end its event loop; each says whether somebody there hears of it.
        looks: how often in a row it waited for no time.
        inside: whether it is being waited with; what interrupts it there, a signal handler say, cannot wait as well.
        watched: what tells whether it waits outside.
    """

    def __init__(self, name: str, group: Group, since_ns: int) -> None:
        self.name = name
        self.group = group
        self.state = State.WAITS
        self.ready = True
        self.poll: Callable[[], bool] | None = None
        self.waits_for = "its first turn"
        self.since_ns = since_ns
        self.real = False
        self.error: BaseException | None = None
        self.on_stuck: list[Callable[[Exception], bool]] = []
        self.looks = 0
        self.inside = False
        self.watched: Watched | None = None
        self.gate = Lock()
        self.gate.acquire()

    @property
    def can_go_on(self) -> bool:
        return self.state is State.WAITS and (
            self.ready or self.group.ending or self.error is not None or (self.poll is not None and self.poll())
        )

    def wake(self, *_: object) -> None:
        """Let it go on at its next turn."""
        self.ready = True

    def look_ns(self) -> int:
        """Return what a wait of no time takes: no time, but not for ever, for who polls must come to an end."""
        self.looks += 1
        return 0 if self.looks <= LOOKS_AT_ONCE else LOOK_NS

    @contextmanager
    def for_real(self) -> Iterator[None]:
        """Let it wait for real, on purpose, within the block."""
        self.real = True
        try:
            yield
        finally:
            self.real = False

    def waits(self) -> str:
        """Return for what it waits, since when and where, in a line; nothing if it does not."""
        where = self.watched.where() if self.watched else "its beginning"
        if self.state is State.OUTSIDE:
            return f"  {self.name}: outside of simulated time, say for a lock, at {where}"
        if self.state is State.WAITS:
            return f"  {self.name}: for {self.waits_for}, since {self.since_ns / NS:.6f} s, at {where}"
        return ""

    def check(self) -> None:
        """Raise what is to be raised at its turn."""
        if self.group.ending:
            raise ActorEnded(self.name)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
