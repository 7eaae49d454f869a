"""Which trio task came first, whatever trio's dice say?"""

from collections.abc import Callable
from contextlib import suppress

import trio


class Kin:
    """A task's place in the family tree of one `trio.run`.

    Attributes:
        parent: the task that started it; None for one that ran before anybody kept the tree.
        number: how many tasks its parent had started before it.
        name: as trio has it.
    """

    __slots__ = ("name", "number", "parent", "started")

    def __init__(self, name: str, parent: "Kin | None" = None) -> None:
        self.name = name
        self.parent = parent
        self.started = 0
        self.number = 0
        if parent is not None:
            self.number = parent.started
            parent.started += 1

    @property
    def root(self) -> "Kin":
        """The first of its line that is known."""
        kin = self
        while kin.parent is not None:
            kin = kin.parent
        return kin

    @property
    def rank(self) -> tuple[str | int, ...]:
        """What tasks are ordered by: the root's name, then who of its children, of their children, and so on."""
        path: list[str | int] = []
        kin = self
        while kin.parent is not None:
            path.append(kin.number)
            kin = kin.parent
        path.append(kin.name)
        return tuple(reversed(path))

    def undecided(self, other: "Kin") -> bool:
        """Whether nothing but chance puts one of the two first."""
        mine, theirs = self.root, other.root
        return mine is not theirs and mine.name == theirs.name


class Family(trio.abc.Instrument):
    """Keeps the tree of who started which task, from the moment at which it is added to a run.

    In which order trio runs tasks is drawn by lot; in which order one task starts others is written in its code.

    Args:
        ended: called once the run is over.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._kin: dict[trio.lowlevel.Task, Kin] = {}

    def of(self, task: trio.lowlevel.Task) -> Kin:
        """Return the place of a task that runs."""
        kin = self._kin.get(task)
        if kin is None:
            kin = self._kin[task] = Kin(task.name)
        return kin

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        with suppress(RuntimeError):  # nobody's child: the host of a guest run started it
            self._kin[task] = Kin(task.name, self.of(trio.lowlevel.current_task()))

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._kin.pop(task, None)

    def after_run(self) -> None:
        self._ended()
