"""What must a cluster's network be able to do, so that a proxy can be put into it?"""

from collections.abc import Callable, Iterable
from typing import Protocol

Address = tuple[str, int]
"""Host and port."""


class Roads(Protocol):
    """The ways from applications to HSMs, each a TCP address.

    Attributes:
        on_needed: called with (application, HSM) before the first connection of an application to an HSM is opened.
        on_moved: called with the id of an HSM after it got another port.
    """

    on_needed: Callable[[str, str], None]
    on_moved: Callable[[str], None]

    def upstream(self, hsm: str) -> Address:
        """Return the HSM's own address.

        Raises:
            UsageError: there is none of that id.
        """

    def travelled(self) -> Iterable[tuple[str, str]]:
        """Return the (application, HSM) pairs that have had a connection: for these `on_needed` does not come again."""

    def detour(self, client: str, hsm: str, address: Address | None) -> None:
        """Open connections of an application to an HSM to this address from now on; those that are open are closed.

        Args:
            client: name of the application.
            hsm: id of the HSM.
            address: None for the HSM's own.
        """
