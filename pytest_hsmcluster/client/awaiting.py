"""What does an asyncio application call?"""

from collections.abc import Mapping
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ..cryptoki import CKA
from ..drivers.awaiting import AwaitingDriver
from ..keys.mechanisms import Mechanism
from ..sim.flow import Flow
from .base import BaseClient
from .handles import KeyHandle, KeyPair
from .interface import Template
from .operations import Operations

T = TypeVar("T")


class AsyncClient(BaseClient):
    """One application process whose calls are awaited; the same operations as `Client`.

    Calls of one loop interleave in simulated time.  Cancelling one leaves its outcome unknown.
    """

    def __init__(self, operations: Operations, driver: AwaitingDriver) -> None:
        super().__init__(operations)
        self._driver = driver

    async def login(self, user: str, password: str) -> None:
        """See `Client.login`."""
        await self._drive(self._calls.login(user, password), "login")

    async def logout(self) -> None:
        """See `Client.logout`."""
        await self._drive(self._calls.logout(), "logout")

    async def generate_key(
        self,
        kind: str,
        bits: int | None = None,
        *,
        label: str = "",
        token: bool = True,
        min_srv: int | None = None,
        timeout_s: float | None = None,
        template: Template | None = None,
    ) -> KeyHandle:
        """See `Client.generate_key`."""
        return await self._drive(
            self._calls.generate_key(kind, bits, label, token, min_srv, timeout_s, template), "generate_key"
        )

    async def generate_key_pair(
        self,
        kind: str,
        size: int | str,
        *,
        label: str = "",
        token: bool = True,
        min_srv: int | None = None,
        timeout_s: float | None = None,
        template: Template | None = None,
        public_template: Template | None = None,
    ) -> KeyPair:
        """See `Client.generate_key_pair`."""
        return await self._drive(
            self._calls.generate_key_pair(kind, size, label, token, min_srv, timeout_s, template, public_template),
            "generate_key_pair",
        )

    async def import_key(
        self,
        kind: str,
        value: bytes,
        *,
        cls: str | None = None,
        label: str = "",
        token: bool = True,
        min_srv: int | None = None,
        timeout_s: float | None = None,
        template: Template | None = None,
    ) -> KeyHandle:
        """See `Client.import_key`."""
        return await self._drive(
            self._calls.import_key(kind, value, cls, label, token, min_srv, timeout_s, template), "import_key"
        )

    async def wrap_key(
        self, key: KeyHandle, *, with_key: KeyHandle, mechanism: Mechanism | None = None, params: object = None
    ) -> bytes:
        """See `Client.wrap_key`."""
        return await self._drive(self._calls.wrap_key(key, with_key, mechanism, params), "wrap_key")

    async def unwrap_key(
        self,
        blob: bytes,
        *,
        with_key: KeyHandle,
        kind: str,
        cls: str | None = None,
        label: str = "",
        token: bool = True,
        min_srv: int | None = None,
        timeout_s: float | None = None,
        template: Template | None = None,
        mechanism: Mechanism | None = None,
        params: object = None,
    ) -> KeyHandle:
        """See `Client.unwrap_key`."""
        return await self._drive(
            self._calls.unwrap_key(
                blob, with_key, kind, cls, label, token, min_srv, timeout_s, template, mechanism, params
            ),
            "unwrap_key",
        )

    async def derive_key(
        self,
        base: KeyHandle,
        params: object,
        *,
        kind: str = "AES",
        bits: int = 256,
        label: str = "",
        token: bool = True,
        min_srv: int | None = None,
        timeout_s: float | None = None,
        template: Template | None = None,
        mechanism: Mechanism | None = None,
    ) -> KeyHandle:
        """See `Client.derive_key`."""
        return await self._drive(
            self._calls.derive_key(base, params, kind, bits, label, token, min_srv, timeout_s, template, mechanism),
            "derive_key",
        )

    async def encrypt(
        self,
        key: KeyHandle,
        data: bytes,
        *,
        aad: bytes = b"",
        mechanism: Mechanism | None = None,
        params: object = None,
    ) -> bytes:
        """See `Client.encrypt`."""
        return await self._drive(self._calls.encrypt(key, data, aad, mechanism, params), "encrypt")

    async def decrypt(
        self,
        key: KeyHandle,
        data: bytes,
        *,
        aad: bytes = b"",
        mechanism: Mechanism | None = None,
        params: object = None,
    ) -> bytes:
        """See `Client.decrypt`."""
        return await self._drive(self._calls.decrypt(key, data, aad, mechanism, params), "decrypt")

    async def sign(
        self, key: KeyHandle, data: bytes, *, mechanism: Mechanism | None = None, params: object = None
    ) -> bytes:
        """See `Client.sign`."""
        return await self._drive(self._calls.sign(key, data, mechanism, params), "sign")

    async def verify(
        self,
        key: KeyHandle,
        data: bytes,
        signature: bytes,
        *,
        mechanism: Mechanism | None = None,
        params: object = None,
    ) -> None:
        """See `Client.verify`."""
        await self._drive(self._calls.verify(key, data, signature, mechanism, params), "verify")

    async def public_key(self, key: KeyHandle) -> PublicKeyTypes:
        """See `Client.public_key`."""
        return await self._drive(self._calls.public_key(key), "public_key")

    async def get_attributes(self, key: KeyHandle) -> Mapping[CKA, Any]:
        """See `Client.get_attributes`."""
        return await self._drive(self._calls.get_attributes(key), "get_attributes")

    async def set_attribute(self, key: KeyHandle, attribute: CKA, value: object) -> None:
        """See `Client.set_attribute`."""
        await self._drive(self._calls.set_attribute(key, attribute, value), "set_attribute")

    async def find_keys(
        self,
        *,
        label: str | None = None,
        kind: str | None = None,
        cls: str | None = None,
        id: bytes | None = None,
        template: Template | None = None,
    ) -> list[KeyHandle]:
        """See `Client.find_keys`."""
        return await self._drive(self._calls.find_keys(label, kind, cls, id, template), "find_keys")

    async def delete_key(self, key: KeyHandle) -> None:
        """See `Client.delete_key`."""
        await self._drive(self._calls.delete_key(key), "delete_key")

    async def share_key(self, key: KeyHandle, *, with_user: str) -> None:
        """See `Client.share_key`."""
        await self._drive(self._calls.share_key(key, with_user, True), "share_key")

    async def unshare_key(self, key: KeyHandle, *, with_user: str) -> None:
        """See `Client.unshare_key`."""
        await self._drive(self._calls.share_key(key, with_user, False), "unshare_key")

    async def random(self, count: int) -> bytes:
        """See `Client.random`."""
        return await self._drive(self._calls.random(count), "random")

    async def _drive(self, flow: Flow[T], what: str) -> T:
        return await self._driver.run(flow, self._process.lane, f"{self._process.name}: {what}")
