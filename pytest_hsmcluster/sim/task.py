"""What is due at an instant, and what waits for that?"""

from collections.abc import Callable
from typing import Any

from .flow import Flow, Wait


class Timer:
    """Something due at an instant; `action` is None once it is cancelled or has run."""

    __slots__ = ("action", "background", "due_ns")

    def __init__(self, due_ns: int, action: Callable[[], None], background: bool) -> None:
        self.due_ns = due_ns
        self.action: Callable[[], None] | None = action
        self.background = background


class Task:
    """A flow that waits, or has ended.

    Attributes:
        done: whether it has ended; then `value` or `error` says how.
        collect: called in the step in which it ends; without it and without a joiner, an error is raised there.
        what: what it does, for `Stuck`.
        since_ns: since when it waits for `waiting`.
    """

    __slots__ = (
        "background",
        "collect",
        "deadline",
        "done",
        "error",
        "flow",
        "joiner",
        "lane",
        "since_ns",
        "timer",
        "value",
        "waiting",
        "what",
    )

    def __init__(self, flow: Flow[Any], lane: int, what: str, background: bool) -> None:
        self.flow = flow
        self.lane = lane
        self.what = what
        self.background = background
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.collect: Callable[[Task], None] | None = None
        self.joiner: Task | None = None
        self.deadline: Timer | None = None
        self.timer: Timer | None = None
        self.waiting: Wait | None = None
        self.since_ns = 0

    def result(self) -> Any:
        """Return what the flow returned, or raise what it raised; once, then whoever waited for it has it alone.

        An error that the task kept would be a circle, for the error's frames hold the task.
        """
        value, error, self.value, self.error = self.value, self.error, None, None
        if error is not None:
            try:
                raise error
            finally:
                del error
        return value
