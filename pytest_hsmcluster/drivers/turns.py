"""Which of several threads has the turn, and how does it go from one to the next?

One holds it.  Who gives it up, ends, or is relieved of it decides who is next, on its own thread; while that is being
decided nobody has it.  Who it is to be is another question, which `Company` answers.
"""

from collections.abc import Callable
from threading import Lock

from .actors import Actor, ActorEnded, State


class Turns:
    """The actors, and the one that has the turn.

    Args:
        first: has it now.
        choose: returns who could go on, once there is somebody; None: nobody is left.

    Attributes:
        actors: those that have not ended.
        holder: who has the turn; None while it is decided who is next.
        closed: whether there are no turns any more.
    """

    def __init__(self, first: Actor, choose: Callable[[], Actor | None]) -> None:
        self.actors = [first]
        self.holder: Actor | None = first
        self.closed = False
        self._choose = choose
        self._state = Lock()
        self._deciding = False
        self._number = 0
        first.state = State.HAS_TURN

    def arrive(self, me: Actor, now_ns: int) -> None:
        """Return once an actor has the turn; it may have been taken for one that waits outside.

        Raises:
            ActorEnded: there are no turns any more, or its group ends.
        """
        with self._state:
            late = self.holder is not me
            if late and self.closed:
                raise ActorEnded(me.name)
            if late:
                _park(me, "its turn", now_ns, ready=True)
        if late:
            self._await(me)
        me.check()

    def give_up(self, me: Actor, what: str, now_ns: int) -> None:
        """Return at the actor's next turn.

        Args:
            what: it waits for, for people.
        """
        with self._state:
            _park(me, what, now_ns, ready=False)
            decides = self._deciding = self.holder is me
        if decides:
            following = self._decided()
            if following is me:
                me.check()
                return
            if following is not None:
                following.gate.release()
        self._await(me)
        me.check()

    def end(self, me: Actor) -> Actor | None:
        """Have an actor be none any more, and return whose gate is to be opened then, if that had to be decided."""
        with self._state:
            decides = self.holder is me
            if decides:
                self.holder, self._deciding = None, True
            me.state = State.ENDED
            self.actors.remove(me)
        return self._decided() if decides else None

    def take_from(self, holder: Actor, number: int) -> bool:
        """Relieve an actor of its turn, if it is still that one, and return whether `pass_on` has to follow."""
        with self._state:
            if self._number != number or self.holder is not holder or self._deciding or holder.real:
                return False
            self.holder, self._deciding = None, True
            holder.state = State.OUTSIDE
        return True

    def pass_on(self) -> None:
        """Let somebody have the turn that was taken."""
        if (following := self._decided()) is not None:
            following.gate.release()

    def watched(self) -> tuple[Actor, int] | None:
        """Return who has the turn, and which turn it is; None if nobody needs to be watched."""
        holder = self.holder
        return None if holder is None or holder.real or self._deciding else (holder, self._number)

    def _decided(self) -> Actor | None:
        chosen = self._choose()
        with self._state:
            self._number += 1
            self.holder, self._deciding = chosen, False
            if chosen is not None:
                chosen.state = State.HAS_TURN
        return chosen

    def _await(self, me: Actor) -> None:
        try:
            me.gate.acquire()
        except BaseException:  # an interrupt, or a time limit of the test: it goes on without having been asked to
            with self._state:
                if self.holder is me:
                    me.gate.acquire(blocking=False)
                else:
                    me.state = State.OUTSIDE
            raise


def _park(me: Actor, what: str, since_ns: int, *, ready: bool) -> None:
    me.state, me.ready, me.waits_for, me.since_ns = State.WAITS, ready, what, since_ns
