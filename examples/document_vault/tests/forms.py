"""In which forms does the vault run, and how is each of them made, restarted and killed?"""

from collections.abc import Callable
from typing import Protocol, cast

import pkcs11

from examples.mortal import Mortal
from pytest_hsmcluster import ApplicationDied, Client, DataInvalid, HsmCluster, KeyFunctionNotPermitted, Pkcs11Door

from .. import HardenedVault, Store
from ..hsm import Hsm
from ..production import ProductionVault

Died = Callable[[Exception], bool]


class Form(Protocol):
    """A form of the vault.

    Attributes:
        calls: what a rotation of one document costs when nothing fails, in calls that reach an HSM.
        more_calls: what a failure costs more, at most.
        not_permitted: what it raises when the key may not be used so.
        forbidden: what that says.
        refused: what it raises when an HSM cannot open what it is handed.
        refusal: what that says.
    """

    calls: int
    more_calls: int
    not_permitted: type[Exception]
    forbidden: str
    refused: tuple[type[Exception], ...]
    refusal: str

    def vault(self, store: Store | None = None) -> HardenedVault:
        """Return the vault of a new process, not started.

        Args:
            store: its database; by default that of the test.
        """

    def dying(self) -> HardenedVault:
        """Return a vault that dies with its process when a fault kills that."""


class Hardened:
    """The vault on the client of the emulated cluster; it waits in the cluster's time."""

    calls = 6
    """A key is made, used three times, and the old one is looked for and deleted."""
    more_calls = 5
    """What may be left of the new key is looked for and deleted, another made, at the end the first is looked for."""
    not_permitted: type[Exception] = KeyFunctionNotPermitted
    forbidden = "CKR_KEY_FUNCTION_NOT_PERMITTED"
    refused: tuple[type[Exception], ...] = (DataInvalid,)
    refusal = "refuses this ciphertext"

    def __init__(self, cluster: HsmCluster, store: Store) -> None:
        self._cluster = cluster
        self._store = store
        self._client: Client | None = None

    def vault(self, store: Store | None = None) -> HardenedVault:
        self._client = self._cluster.client("app")
        return self._with(self._client, store or self._store)

    def dying(self) -> HardenedVault:
        def died(error: Exception) -> bool:
            return isinstance(error, ApplicationDied)

        return self._with(cast(Hsm, Mortal(self._client or self._cluster.client("app"), died)), self._store)

    def _with(self, hsm: Hsm, store: Store) -> HardenedVault:
        return HardenedVault(hsm, store, sleep=self._cluster.clock.advance)


class Production:
    """The vault on the PKCS #11 library; the test has to ask for `hsm_app_time`, because it waits with time.sleep.

    It is given what stands in a configuration: a path, a token label, a PIN.
    """

    calls = 6 + 10
    """The session is opened and the old key found; each object is read as it is made or found, and once for its type as
    it is first used; each of the three uses is announced."""
    more_calls = 17
    """As above; and python-pkcs11, after one bad answer, reads the ten attributes of a key one by one."""
    not_permitted: type[Exception] = pkcs11.PKCS11Error  # it knows no CKR_KEY_FUNCTION_NOT_PERMITTED
    forbidden = "Unmapped error code 0x68"
    refused: tuple[type[Exception], ...] = (pkcs11.DataInvalid, pkcs11.EncryptedDataInvalid)
    refusal = "^$"  # a return value says no more

    def __init__(self, door: Pkcs11Door, store: Store) -> None:
        self._door = door
        self._store = store

    def vault(self, store: Store | None = None) -> HardenedVault:
        self._end_process()
        return ProductionVault(self._door.module, self._door.token_label, self._door.user_pin, store or self._store)

    def dying(self) -> HardenedVault:
        self._end_process()
        door = self._door
        return _DyingVault(door.module, door.token_label, door.user_pin, self._store, self._died)

    def _end_process(self) -> None:
        """End what a process before this one has: its sessions, its login, its objects."""
        pkcs11.lib(self._door.module).reinitialize()

    def _died(self, error: Exception) -> bool:
        # Return values do not tell death from a device error, and the dead are told neither.
        return any("start another one" in called.why for called in self._door.calls)


class _DyingVault(ProductionVault):
    def __init__(
        self, module: str, token_label: str, pin: str, store: Store, died: Callable[[Exception], bool]
    ) -> None:
        super().__init__(module, token_label, pin, store)
        self._hsm = cast(Hsm, Mortal(self._hsm, died))
