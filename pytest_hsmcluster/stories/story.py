"""What is a story?

A cluster and a list of steps, each of them one line of a test: `key_1 = app.generate_key("AES", 256)`,
`hsm_chaos.install("crash @ hsm.commit nth=1")`, `hsm_clock.advance(60)`.  A story is a value: it can be drawn,
shortened, compared and printed, and what it prints is Python.
"""

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..cluster import HsmCluster
from ..errors import UsageError
from ..faults.spec import Fault, Scenario

CLUSTER, CHAOS, CLOCK = "hsm_cluster", "hsm_chaos", "hsm_clock"
"""What every story begins with: named like the fixtures of a test."""


TROUBLE = "trouble_"
"""How the names of faults and hardships begin in a story."""


@dataclass(frozen=True, slots=True)
class Ref:
    """What an earlier step gave.

    Attributes:
        name: as that step's `gives`.
        part: the attribute of it that is meant (`private` of a pair), or nothing for the whole.
    """

    name: str
    part: str = ""

    def __str__(self) -> str:
        return f"{self.name}.{self.part}" if self.part else self.name


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a story: `gives = on.does(*args, **options)`.

    Attributes:
        on: whose method is called: one of the names that every story begins with, or what an earlier step gave.
        does: the method; nothing if it is called itself, as classes are.
        args: its arguments; `Ref` stands for what an earlier step gave.
        options: its keyword arguments, as pairs.
        gives: the name that the result has from here on, or None.
        equals: what the result has to be, alone in a tuple; empty if nothing is said of it.
    """

    on: str
    does: str
    args: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    gives: str | None = None
    equals: tuple[Any, ...] = ()

    @property
    def refs(self) -> tuple[str, ...]:
        """The names that it needs: whose method it calls, and those in its arguments."""
        values = (*self.args, *(value for _, value in self.options))
        return (self.on, *(value.name for value in values if isinstance(value, Ref)))

    def __str__(self) -> str:
        given = [source(value) for value in self.args] + [f"{name}={source(value)}" for name, value in self.options]
        call = f"{self.on}.{self.does}({', '.join(given)})" if self.does else f"{self.on}({', '.join(given)})"
        if self.equals:
            return f"assert {call} == {source(self.equals[0])}"
        return call if self.gives is None else f"{self.gives} = {call}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A cluster that a story may be about.

    Attributes:
        hsms: how many.
        sdk: 3 or 5: which client software applications use.
        minimum: `create_object_minimum_nodes`, SDK 3; None leaves it out.
        settings: further arguments of `HsmCluster`, as pairs: fields of `Profile`, `zones`, …

    Raises:
        UsageError: what `HsmCluster` would refuse.
    """

    hsms: int = 3
    sdk: int = 3
    minimum: int | None = None
    settings: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        reserved = [name for name, _ in self.settings if name in ("hsms", "sdk", "seed", "keys", "clock", "network")]
        if reserved:
            raise UsageError(f"settings of a shape are zones and fields of Profile; {', '.join(reserved)} is not")

    @property
    def arguments(self) -> dict[str, Any]:
        """What `HsmCluster` and the marker `hsm_cluster` are given."""
        given: dict[str, Any] = {"hsms": self.hsms, "sdk": self.sdk}
        if self.minimum is not None:
            given["create_object_minimum_nodes"] = self.minimum
        return {**given, **dict(self.settings)}

    @property
    def ids(self) -> tuple[str, ...]:
        """The HSMs that it begins with."""
        return tuple(f"hsm-{number}" for number in range(1, self.hsms + 1))

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones in which there are HSMs."""
        zones: tuple[str, ...] = dict(self.settings).get("zones", ("a", "b", "c"))
        return tuple(dict.fromkeys(zones[number % len(zones)] for number in range(self.hsms)))

    def cluster(self, seed: int = 0, keys: str = "seeded", **where: Any) -> HsmCluster:
        """Return a new cluster of this shape; key bytes are reproducible unless `keys` says otherwise.

        Args:
            seed: of what it draws by lot.
            keys: `seeded` or `random`.
            where: what is no shape: `network`, `clock`, `clock_rate`.
        """
        return HsmCluster(seed=seed, keys=keys, **where, **self.arguments)


@dataclass(frozen=True, slots=True)
class Story:
    """A cluster and what happens to it.

    Attributes:
        shape: of the cluster.
        steps: in order.
        checks: names of the checks that are asked at its end.
        seed: of what the cluster draws by lot: routes, chances, key bytes.
    """

    shape: Shape
    steps: tuple[Step, ...]
    checks: tuple[str, ...] = ("no_lost_keys",)
    seed: int = 0

    def without(self, index: int) -> "Story":
        """Return the story without one step."""
        return dataclasses.replace(self, steps=self.steps[:index] + self.steps[index + 1 :])

    @property
    def calm(self) -> "Story":
        """The same story without faults and hardships."""
        return dataclasses.replace(self, steps=tuple(step for step in self.steps if not is_trouble(step)))

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))


def is_trouble(step: Step) -> bool:
    """Whether a step installs a fault or a hardship, or is about one."""
    return (step.on == CHAOS and step.does in ("inject", "install")) or step.on.startswith(TROUBLE)


def source(value: Any) -> str:
    """Return a value as Python source."""
    if isinstance(value, Ref):
        return str(value)
    if isinstance(value, Fault | Scenario):
        return source(str(value))
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, tuple) and type(value) is tuple:
        return f"({', '.join(map(source, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{source(name)}: {source(one)}' for name, one in value.items())}}}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = [(one.name, getattr(value, one.name), one.default) for one in dataclasses.fields(value)]
        said = (f"{name}={source(now)}" for name, now, default in given if now != default)
        return f"{type(value).__name__}({', '.join(said)})"
    if isinstance(value, str):
        return '"' + repr(value)[1:-1] + '"' if '"' not in value and "\\" not in repr(value) else repr(value)
    if isinstance(value, bytes) and b'"' not in value and b"'" not in value:
        return f'b"{repr(value)[2:-1]}"'
    return repr(value)
