"""How often, and how long, does the job try again?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounded retries with pauses that double.

    The first pause is longer than a client takes to reconnect: a look before that does not see the HSM whose answer
    was lost.  All pauses together are longer than a round of the service's own key synchronisation.

    Attributes:
        sleep: lets seconds pass; a test hands in the cluster's own clock.
        passing: what may be over at the next try.
        attempts: tries in all.
        first_s: the first pause.
        longest_s: the longest pause.
    """

    sleep: Callable[[float], None]
    passing: tuple[type[Exception], ...]
    attempts: int = 8
    first_s: float = 5.0
    longest_s: float = 30.0

    def retry(self, action: Callable[[], T]) -> T:
        """Return what the action returns, after as many tries as it takes and patience allows.

        `action` runs anew from its beginning each time: it has to look before it creates.

        Raises:
            Exception: of the last try, or one that will not pass.
        """
        for attempt in range(self.attempts - 1):
            try:
                return action()
            except self.passing:
                self.sleep(min(self.first_s * 2**attempt, self.longest_s))
        return action()
