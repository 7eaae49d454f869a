"""What is a command, and which refusals do several of them share?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import KeyAccessDenied, KeyFunctionNotPermitted, KeyNotOnHsm
from ...keys import mechanisms
from ..audit import Opcode
from ..keystore import StoredKey

if TYPE_CHECKING:
    from ..calls import Call
    from ..hsm import Hsm


class Command:
    """One request to one HSM.

    Attributes:
        name: what faults and the journal call it.
        changes: whether an HSM's keys, sessions or policies may be different afterwards.
        opcode: how the audit log calls it; None is not logged.
    """

    name: ClassVar[str]
    changes: ClassVar[bool] = True
    opcode: Opcode | None = None

    def admit(self, hsm: "Hsm", call: "Call") -> None:
        """Refuse whoever may not do this.

        Raises:
            NotLoggedIn: the client has no login on this HSM.
        """
        hsm.login_of(call)

    def duration_ns(self, hsm: "Hsm") -> int:
        """Return how long the work takes."""
        return hsm.profile.execute_ns

    def work(self, hsm: "Hsm", call: "Call") -> Any:
        """Do the part that changes nothing on the HSM and return it."""

    def settle(self, hsm: "Hsm", call: "Call", worked: Any) -> Any:
        """Change what changes and return the answer."""
        return worked

    def handles(self) -> Sequence[int]:
        """Return the key handles for the audit log."""
        return ()

    def taken_back(self) -> None:
        """Know that what `settle` changed was not kept."""


def permit(key: StoredKey, operation: str, hsm: "Hsm") -> None:
    """Refuse a use that the key's attributes forbid."""
    needed = mechanisms.NEEDS[operation]
    if not key.attributes.get(needed, False):
        raise KeyFunctionNotPermitted(
            f"key {key.label!r} ({key.handle}) has CKA_{needed.name} false, so it cannot {operation}", hsm=hsm.id
        )


def not_here(hsm: "Hsm", handle: int, call: "Call | None" = None) -> KeyNotOnHsm:
    """Return the answer of an HSM that does not hold a key."""
    label = call.label if call is not None and call.handle == handle else None
    missing = KeyNotOnHsm(
        f"HSM Error: Invalid object handle is passed to this operation: {hsm.id} does not hold key "
        f"{f'{label!r} ({handle})' if label else handle}; "
        "another HSM may, so retry",
        hsm=hsm.id,
    )
    missing.handle = handle
    return missing


def denied(hsm: "Hsm", key: StoredKey, user: str, what: str) -> KeyAccessDenied:
    """Return the answer to a user who may not do this with a key."""
    return KeyAccessDenied(
        f"HSM Error: Key Access is denied: {user!r} {what} key {key.label!r} ({key.handle})", hsm=hsm.id
    )
