"""What do all HSMs of a cluster share?"""

from collections.abc import Callable

from ..faults.injector import Faults
from ..history.journal import Journal
from ..keys.masking import MaskingKey
from ..keys.source import KeySource
from ..sim.scheduler import Scheduler
from .profile import Profile
from .register import Register
from .trouble import Trouble


class World:
    """Time, journal, numbers, faults, where keys come from."""

    __slots__ = (
        "deleted",
        "faults",
        "journal",
        "linked",
        "masking_key",
        "profile",
        "register",
        "scheduler",
        "source",
        "touched",
        "trouble",
    )

    def __init__(
        self,
        profile: Profile,
        scheduler: Scheduler,
        journal: Journal,
        faults: Faults,
        register: Register,
        source: KeySource,
        masking_key: MaskingKey,
    ) -> None:
        self.profile = profile
        self.scheduler = scheduler
        self.journal = journal
        self.faults = faults
        self.register = register
        self.source = source
        self.masking_key = masking_key
        self.trouble = Trouble(scheduler, profile)
        # Handles of token keys that may not be on every HSM: what the next sweep looks at.
        self.touched: dict[int, None] = {}
        # Handles of keys that some HSM removed because the application asked for it.
        self.deleted: dict[int, None] = {}
        # Whether two HSMs can reach each other; the network says.
        self.linked: Callable[[str, str], bool] = _everybody

    def touch(self, handle: int) -> None:
        self.touched[handle] = None

    def unplug(self) -> None:
        """Let go of who was plugged in: without circles a closed cluster is freed at once, by no garbage collector.

        A campaign makes a thousand clusters a second, and what a collection costs depends on all else that is imported.
        """
        del self.trouble.power
        self.linked = _everybody
        self.faults.let_go()


def _everybody(sender: str, receiver: str) -> bool:
    """Nothing is cut."""
    return True
