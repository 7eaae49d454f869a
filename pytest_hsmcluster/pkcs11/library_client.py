"""What does a PKCS#11 library ask of a cluster that an application of the Python client does not?"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..client.blocking import Client
from ..client.handles import KeyHandle
from ..client.operations import Operations
from ..cryptoki import CKA
from ..drivers.blocking import BlockingDriver
from ..errors import ClusterError


class LibraryClient(Client):
    """One application process that has loaded the library."""

    def __init__(self, operations: Operations, driver: BlockingDriver) -> None:
        super().__init__(operations, driver)
        self._operations = operations
        operations.refuses_duplicates = self._process.profile.duplicates == "refused"
        operations.gathers = operations.process.profile.session_keys_together

    def read_attributes(self, key: KeyHandle, wanted: Sequence[CKA]) -> Mapping[CKA, Any]:
        """Return attributes as `C_GetAttributeValue` gives them: their values, or the CKR that says why there is none.

        Raises:
            KeyNotOnHsm: the call was routed to an HSM that does not hold the key: retry.
        """
        return self._drive(self._operations.read_attributes(key, wanted), "read_attributes")

    def validate_key(self, key: KeyHandle, operation: str) -> int:
        """Return the size of a key in bits, if the HSM that is asked has it and it may be used so.

        Args:
            operation: `encrypt`, `decrypt`, `sign`, `verify`.

        Raises:
            KeyNotOnHsm: the call was routed to an HSM that does not hold the key: retry.
            KeyFunctionNotPermitted: its attributes forbid this use.

        Source:
            AWS CloudHSM User Guide, "Client SDK 5 configure tool": by default each `*Init` makes this call.
        """
        return self._drive(self._operations.validate_key(key, operation), "validate_key")

    def refuse(self, operation: str, key: KeyHandle | None, error: ClusterError) -> None:
        """Write down a call that the library refused by itself, and raise the refusal; no HSM is asked.

        Args:
            key: which it was about; None where that cannot be said, because its session is over.
        """
        self._drive(self._operations.refused(operation, key, error), operation)

    def end_session_keys(self, keys: Sequence[KeyHandle]) -> None:
        """End session keys whose session was closed; an HSM out of reach ends them with the client's own session."""
        self._process.end_session_keys([key.number for key in keys])
