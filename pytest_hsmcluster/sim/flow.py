"""What is a flow, and what may it wait for?

A flow is a generator in which simulated time may pass; each `yield` is a place where the
world may change.  It yields what it waits for and is sent what came of it:

* an `int`: a duration in ns;
* a `Signal`: somebody fires it, once; its value comes back;
* a `Join`: another task, until an instant; whether it ended in time comes back.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .task import Task

T = TypeVar("T")


class Signal:
    """Something that happens at most once and that any number of tasks may wait for.

    Attributes:
        name: what it is, for `Stuck`.
        fired: whether it has happened.
        value: what it was fired with.
    """

    __slots__ = ("fired", "name", "value", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fired = False
        self.value: Any = None
        self.waiters: list[Task] = []


class Join:
    """Wait for a task to end, but not beyond an instant (ns)."""

    __slots__ = ("task", "until_ns")

    def __init__(self, task: "Task", until_ns: int) -> None:
        self.task = task
        self.until_ns = until_ns


Wait = int | Signal | Join
Flow = Generator[Wait, Any, T]
