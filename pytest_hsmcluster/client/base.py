"""What do the blocking and the awaited client have in common?"""

from ..cryptoki import CKM
from ..keys.mechanisms import Mechanism
from .interface import Calls
from .operations import Operations


class BaseClient:
    """What needs no waiting.

    Attributes:
        name: the application's name; in the journal it gets a number after an unknown outcome (`app#2`).
    """

    def __init__(self, operations: Operations) -> None:
        self._calls = Calls(operations)
        self._process = operations.process
        self.name = operations.process.application

    @property
    def user(self) -> str | None:
        """Who is logged in, or None."""
        return self._process.user

    @property
    def alive(self) -> bool:
        """Whether the application process has not ended."""
        return not self._process.dead

    @property
    def log(self) -> list[str]:
        """What the SDK wrote to its log, with the documented texts; also in the logger `pytest_hsmcluster.client`."""
        return list(self._process.log_lines)

    def digest(self, data: bytes, mechanism: Mechanism = CKM.SHA256) -> bytes:
        """Return a digest; it is computed in the client (AWS CloudHSM User Guide, "PKCS #11 mechanisms")."""
        return self._calls.digest(data, mechanism)

    def close(self) -> None:
        """End the application process: its sessions and session keys end on every HSM that it can reach."""
        self._process.end()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._process.name} user={self.user} {'alive' if self.alive else 'ended'}>"
