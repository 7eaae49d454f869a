"""When does an application live in simulated time?"""

from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..drivers.actors import Order
from ..drivers.company import AT_WORK, Company
from ..errors import UsageError
from .neighbours import check_alone

if TYPE_CHECKING:
    from .patching import Patches


class AppTime:
    """The time of one application: within the block it is simulated, for this thread and those that it starts.

    Args:
        order: draws who goes on.

    Attributes:
        company: the application's threads.
    """

    company: Company
    _patches: "Patches"

    def __init__(self, order: Order) -> None:
        self._order = order

    def __enter__(self) -> Self:
        if get_ident() in AT_WORK:
            raise UsageError("the application lives in simulated time already")
        check_alone(started=False)
        from .patching import Patches  # looks up the real functions

        self._patches = Patches()
        self._patches.apply()
        self.company = Company(self._order, before_wait=check_alone)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.company.close()
        finally:
            self._patches.undo()
