"""What does a blocking application call?"""

from collections.abc import Mapping
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ..cryptoki import CKA
from ..drivers.blocking import BlockingDriver
from ..keys.mechanisms import Mechanism
from ..sim.flow import Flow
from .base import BaseClient
from .handles import KeyHandle, KeyPair
from .interface import Template
from .operations import Operations

T = TypeVar("T")


class Client(BaseClient):
    """One application process: own routing state, own connections.

    Every call may let simulated time pass and may meet whatever a fault does to it.
    """

    def __init__(self, operations: Operations, driver: BlockingDriver) -> None:
        super().__init__(operations)
        self._driver = driver

    def login(self, user: str, password: str) -> None:
        """Log in on every HSM that can be reached.

        The HSM that is asked first decides; one that refuses later is left out of the routing.

        Raises:
            LoginFailed: unknown user or wrong password there, or already logged in.
            AccountLocked: too many wrong passwords there.
            HsmUnavailable: no HSM can be reached.

        Source:
            AWS CloudHSM User Guide, "loginHSM": failed logins are counted per HSM.
        """
        self._drive(self._calls.login(user, password), "login")

    def logout(self) -> None:
        """Log out everywhere; session keys end."""
        self._drive(self._calls.logout(), "logout")

    def generate_key(
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
        """Create a secret key and return its handle.

        Args:
            kind: `AES`, `DES3` or `GENERIC_SECRET`.
            bits: AES 128, 192, 256; GENERIC_SECRET 8 to 6400 in steps of 8; DES3 may leave it out.
            label: CKA_LABEL; need not be unique.
            token: a token key is cloned to all HSMs, a session key lives on one.
            min_srv: SDK 3: HSMs that must hold it; the larger of it and `create_object_minimum_nodes` counts.
            timeout_s: SDK 3, with `min_srv`: seconds until there must be enough copies.
            template: attributes; without it the key can do all that suits its kind.

        Raises:
            TooFewCopies: SDK 3: fewer copies than wanted, cleaned up as far as possible.
            KeyUnavailable: SDK 5: fewer than two HSMs have it.
            TemplateInvalid: a kind, size or attribute that is not offered.
            ClusterError: whatever else the cluster answers.
            UsageError: the call is written wrongly.

        Source:
            AWS CloudHSM User Guide, "Key synchronization and durability settings".
        """
        return self._drive(
            self._calls.generate_key(kind, bits, label, token, min_srv, timeout_s, template), "generate_key"
        )

    def generate_key_pair(
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
        """Create a key pair and return both handles.

        Args:
            kind: `RSA` or `EC`.
            size: RSA modulus bits, 2048 to 4096 in steps of 256; EC curve (`secp256r1`, `P-256`, …).
            template: the private key's attributes; public_template the public key's.

        Raises:
            ClusterError, UsageError: as `generate_key`.
        """
        return self._drive(
            self._calls.generate_key_pair(kind, size, label, token, min_srv, timeout_s, template, public_template),
            "generate_key_pair",
        )

    def import_key(
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
        """Take in a key that the application has in the clear.

        Args:
            kind: `AES`, `DES3`, `GENERIC_SECRET`, `RSA` or `EC`.
            value: raw bytes of a secret; PKCS #8 of a private, SubjectPublicKeyInfo of a public key, DER or PEM.
            cls: `secret`, `private` or `public`; None is `secret`, for RSA and EC `private`.

        Raises:
            DataInvalid: the bytes are no such key.
            ClusterError, UsageError: as `generate_key`.
        """
        return self._drive(
            self._calls.import_key(kind, value, cls, label, token, min_srv, timeout_s, template), "import_key"
        )

    def wrap_key(
        self, key: KeyHandle, *, with_key: KeyHandle, mechanism: Mechanism | None = None, params: object = None
    ) -> bytes:
        """Return a key encrypted under another one; only its owner may.

        Args:
            key: what leaves.
            with_key: under which AES or public RSA key.
            mechanism: None is RFC 5649 under AES and RSA_AES_KEY_WRAP under RSA.

        Raises:
            KeyUnextractable: it must not leave so.
            ClusterError: whatever else the cluster answers.
        """
        return self._drive(self._calls.wrap_key(key, with_key, mechanism, params), "wrap_key")

    def unwrap_key(
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
        """Take in a wrapped key and return its handle; it is a new key with a new handle.

        Raises:
            DataInvalid: the blob is refused.
            ClusterError, UsageError: as `generate_key`.
        """
        return self._drive(
            self._calls.unwrap_key(
                blob, with_key, kind, cls, label, token, min_srv, timeout_s, template, mechanism, params
            ),
            "unwrap_key",
        )

    def derive_key(
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
        """Derive a secret key from another key and return its handle.

        Args:
            base: an EC private key (ECDH) or a secret key (SP 800-108 counter KDF).
            params: `EcdhParams` or `CounterKdfParams`.

        Raises:
            ClusterError, UsageError: as `generate_key`.
        """
        return self._drive(
            self._calls.derive_key(base, params, kind, bits, label, token, min_srv, timeout_s, template, mechanism),
            "derive_key",
        )

    def encrypt(
        self,
        key: KeyHandle,
        data: bytes,
        *,
        aad: bytes = b"",
        mechanism: Mechanism | None = None,
        params: object = None,
    ) -> bytes:
        """Return the ciphertext.

        Args:
            mechanism: None is OAEP under RSA, and under AES GCM: IV (12 bytes, made by the HSM), ciphertext, tag (16).
            aad: authenticated along with it (AES-GCM).

        Raises:
            KeyNotOnHsm: the call was routed to an HSM that does not hold the key: retry.
            DataInvalid: more bytes than the mechanism takes.
            ClusterError: whatever else the cluster answers.
        """
        return self._drive(self._calls.encrypt(key, data, aad, mechanism, params), "encrypt")

    def decrypt(
        self,
        key: KeyHandle,
        data: bytes,
        *,
        aad: bytes = b"",
        mechanism: Mechanism | None = None,
        params: object = None,
    ) -> bytes:
        """Return the plaintext of what `encrypt` returned.

        Raises:
            DataInvalid: the ciphertext is refused.
            ClusterError: as `encrypt`.
        """
        return self._drive(self._calls.decrypt(key, data, aad, mechanism, params), "decrypt")

    def sign(self, key: KeyHandle, data: bytes, *, mechanism: Mechanism | None = None, params: object = None) -> bytes:
        """Return a signature or MAC of the data.

        Args:
            mechanism: None is ECDSA with the hash that fits the curve (r and s, each as long as the order),
                SHA256_RSA_PKCS, SHA256_HMAC, or AES_CMAC.

        Raises:
            KeyNotOnHsm: the call was routed to an HSM that does not hold the key: retry.
            ClusterError: whatever else the cluster answers.
        """
        return self._drive(self._calls.sign(key, data, mechanism, params), "sign")

    def verify(
        self,
        key: KeyHandle,
        data: bytes,
        signature: bytes,
        *,
        mechanism: Mechanism | None = None,
        params: object = None,
    ) -> None:
        """Return if the signature fits the data and the key.

        Raises:
            SignatureInvalid: it does not.
            ClusterError: as `sign`.
        """
        self._drive(self._calls.verify(key, data, signature, mechanism, params), "verify")

    def public_key(self, key: KeyHandle) -> PublicKeyTypes:
        """Return the public half of a pair as a `cryptography` public key, to verify with elsewhere."""
        return self._drive(self._calls.public_key(key), "public_key")

    def get_attributes(self, key: KeyHandle) -> Mapping[CKA, Any]:
        """Return what is known of a key: CKA → value, CHECK_VALUE (3 bytes or None) included, never the key itself."""
        return self._drive(self._calls.get_attributes(key), "get_attributes")

    def set_attribute(self, key: KeyHandle, attribute: CKA, value: object) -> None:
        """Change one attribute on every HSM that is believed up; nothing reconciles the others later.

        Raises:
            TemplateInvalid: this attribute cannot be changed so.
            ClusterError: with outcome `info` when some HSMs did it and others failed.
        """
        self._drive(self._calls.set_attribute(key, attribute, value), "set_attribute")

    def find_keys(
        self,
        *,
        label: str | None = None,
        kind: str | None = None,
        cls: str | None = None,
        id: bytes | None = None,
        template: Template | None = None,
    ) -> list[KeyHandle]:
        """Return the keys that fit and that the user may see, by handle: the union of what every up HSM has."""
        return self._drive(self._calls.find_keys(label, kind, cls, id, template), "find_keys")

    def delete_key(self, key: KeyHandle) -> None:
        """Remove a key from every HSM that is believed up; only its owner may.

        Raises:
            KeyNotOnHsm: no HSM that was reached had it (a guess).
            ClusterError: with outcome `info` when an HSM failed or fell silent: it may still be there.
        """
        self._drive(self._calls.delete_key(key), "delete_key")

    def share_key(self, key: KeyHandle, *, with_user: str) -> None:
        """Let another crypto user use a key, on every HSM that is believed up; only its owner may."""
        self._drive(self._calls.share_key(key, with_user, True), "share_key")

    def unshare_key(self, key: KeyHandle, *, with_user: str) -> None:
        """Take a shared key back from a user."""
        self._drive(self._calls.share_key(key, with_user, False), "unshare_key")

    def random(self, count: int) -> bytes:
        """Return random bytes from an HSM."""
        return self._drive(self._calls.random(count), "random")

    def _drive(self, flow: Flow[T], what: str) -> T:
        return self._driver.run(flow, self._process.lane, f"{self._process.name}: {what}")
