"""Which names, PINs and data might an application bring?"""

from faker.providers import BaseProvider

from .errors import UsageError

_PURPOSES = (
    "payroll",
    "ledger",
    "invoices",
    "archive",
    "vault",
    "tokens",
    "backups",
    "statements",
    "cards",
    "patients",
)
_ROLES = ("kek", "dek", "signing", "wrapping", "mac", "root")
_NAMES = ("svc", "app", "batch", "api", "job", "ops")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
# PKCS#11 applications give the PIN as USER:PASSWORD, so a colon in it would be read as the separator.
_SECRET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789!#$%&*+-.=?@^_~"


class HsmProvider(BaseProvider):
    """Values that CloudHSM accepts; reproducible from the seed of the `Faker` that it is added to."""

    def hsm_key_label(self) -> str:
        """Return a label such as teams give keys: `payroll-kek-2031-07`."""
        year, month = self.random_int(2019, 2039), self.random_int(1, 12)
        return f"{self.random_element(_PURPOSES)}-{self.random_element(_ROLES)}-{year}-{month:02d}"

    def hsm_user_name(self) -> str:
        """Return a crypto user's name: 1 to 31 letters, digits and underscores."""
        head = f"{self.random_element(_NAMES)}_{self.random_element(_PURPOSES)}_"
        return head + self._drawn(_LETTERS, self.random_int(1, 31 - len(head)))

    def hsm_pin(self) -> str:
        """Return a password of 8 to 32 characters without a colon."""
        return self._drawn(_SECRET, self.random_int(8, 32))

    def hsm_payload(self, max_bytes: int = 4096) -> bytes:
        """Return 0 to `max_bytes` bytes; empty, one byte and the full length come more often than chance would have it.

        Raises:
            UsageError: `max_bytes` is no whole number, or negative.
        """
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:
            raise UsageError(f"max_bytes is a whole number, 0 or more; got {max_bytes!r}")
        # Block sizes are where ciphers go wrong: none, one byte, one block and its neighbours, all there may be.
        edges = [size for size in (0, 1, 15, 16, 17, max_bytes) if size <= max_bytes]
        size = self.random_element(edges) if self.random_int(0, 3) == 0 else self.random_int(0, max_bytes)
        return bytes(self.generator.random.randbytes(size))

    def _drawn(self, letters: str, count: int) -> str:
        return "".join(self.random_element(letters) for _ in range(count))
