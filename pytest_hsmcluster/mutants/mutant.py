"""What is a cluster that is wrong on purpose, and did it ever do the wrong thing?

A mutant changes parts of one cluster: it gives them another class, whose methods do the wrong thing.  Nothing else
is touched, no other cluster and no module, and what the wrong parts do to keys is journaled as it happens: the
journal stays true, only answers lie.
"""

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..client.operations import Operations
from ..cluster import HsmCluster
from ..errors import UsageError
from ..faults.points import Point
from ..history.events import Kind
from ..service.calls import Call
from ..service.commands import Command
from ..service.hsm import Hsm
from ..service.service import Service
from ..sim.flow import Flow

T = TypeVar("T")

Acted = Callable[[], None]
"""Called by a wrong part each time that it does what the right one would not."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A way in which a cluster can be wrong.

    Attributes:
        name: `lying-sweep`, …
        meaning: what is wrong, in one line.
        seen_by: which assertion notices it once it acts, in one line.
        change: makes a cluster wrong; is handed what to call whenever that shows.
        signs: a run in which it acts shows one of these words in a right cluster too (see `words_of`): until it acts
            nothing differs.
    """

    name: str
    meaning: str
    seen_by: str
    change: Callable[[HsmCluster, Acted], None]
    signs: tuple[str, ...]

    def apply(self, cluster: HsmCluster) -> "Infection":
        """Make a new cluster wrong from now on, and return what tells whether it ever acted.

        The history's note says so too (`mutant`, `mutant_acted`), also in a file.

        Raises:
            UsageError: the cluster is wrong already, is closed, or has clients.
        """
        if cluster.closed or cluster.network.peers:
            raise UsageError(f"{self.name}: a cluster is made wrong while it is new, before it has clients")
        if "mutant" in cluster.history.note:
            raise UsageError(f"{cluster.id} is a {cluster.history.note['mutant']} already; one wrong thing at a time")
        infection = Infection(self, cluster.history.note)
        self.change(cluster, infection.act)
        return infection

    def could_act(self, words: Collection[str]) -> bool:
        """Whether a run of which a right cluster has these words is worth a try."""
        return any(sign in words for sign in self.signs)


def words_of(cluster: HsmCluster) -> dict[str, None]:
    """Return what happened in a cluster, in words: commands, points, errors, kinds of events.

    Besides: `held CAUSE`, `held session key`, `up CAUSE`, `turned away` (an HSM received more than it looked at),
    and `backup` (one was taken).
    """
    found: dict[str, None] = dict.fromkeys(("backup",) if cluster.service.backups else ())
    turned_away = 0
    for record in cluster.history.records:
        kind = str(record[0])
        if kind == Kind.REACH:
            found[record[3]] = found[record[5] or record[3]] = None
            turned_away += (record[3] == Point.HSM_RECEIVE) - (record[3] == Point.HSM_AUTHORIZE)
        elif kind == Kind.HELD:
            found[f"held {record[6]}"] = None
            if not record[8]:
                found["held session key"] = None
        elif kind in (Kind.FAIL, Kind.INFO):
            found[kind] = found[record[5]] = None
        elif kind in (Kind.UP, Kind.JOINED):
            found[f"{kind} {record[4]}"] = found[kind] = None
    return {**found, "turned away": None} if turned_away else found


class Infection:
    """One mutant in one cluster.

    Attributes:
        mutant: which.
        hits: how often it did what a right cluster would not have done.
    """

    def __init__(self, mutant: Mutant, note: dict[str, Any]) -> None:
        self.mutant = mutant
        self.hits = 0
        self._note = note
        note.update(mutant=mutant.name, mutant_acted=0)

    def act(self) -> None:
        """Count one wrong thing."""
        self.hits += 1
        self._note["mutant_acted"] = self.hits

    def __repr__(self) -> str:
        return f"<Infection {self.mutant.name} hits={self.hits}>"


# -- for those who write mutants ---------------------------------------------------------------


def become(part: T, wrong: type[T]) -> T:
    """Give one object another class, a subclass of its own without further slots, and return it."""
    part.__class__ = wrong
    return part


def every_hsm(cluster: HsmCluster, change: Callable[[Hsm], object]) -> None:
    """Change each HSM, those that join later too."""

    class Spreading(Service):
        def _new(self, *arguments: Any) -> Hsm:
            hsm = super()._new(*arguments)
            change(hsm)
            return hsm

    become(cluster.service, Spreading)
    for hsm in cluster.hsms:
        change(hsm)


def every_client(cluster: HsmCluster, change: Callable[[Operations], object]) -> None:
    """Change what each client is made of."""

    class Misleading(HsmCluster):
        def _operations(self, name: str) -> Operations:
            operations = super()._operations(name)
            change(operations)
            return operations

    become(cluster, Misleading)


def instead(cluster: HsmCluster, done: Mapping[type[Command], type[Command]]) -> None:
    """Have every HSM execute other commands than it is asked for: each a subclass of what it stands for."""

    class Disobedient(Hsm):
        def serve(self, call: Call) -> Flow[Any]:
            wrong = done.get(type(call.request)) if call.request is not None else None
            if wrong is not None:
                call.request = become(copy.copy(call.request), wrong)
            return super().serve(call)

    every_hsm(cluster, lambda hsm: become(hsm, Disobedient))
