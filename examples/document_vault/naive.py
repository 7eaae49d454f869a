"""How does a vault look that was tested against one HSM that never fails?"""

from . import envelope
from .hsm import Hsm, Key
from .store import Row, Store

LABEL = "vault-kek"


class NaiveVault:
    """Stores documents.  Each line of it looks right, and passes its tests on a healthy cluster.

    Args:
        hsm: the HSM client, logged in.
        store: the database.
    """

    def __init__(self, hsm: Hsm, store: Store) -> None:
        self._hsm = hsm
        self._store = store
        self._kek: Key = None

    def start(self) -> None:
        """Find the key-encryption key, or make the first."""
        found = self._hsm.find_keys(label=LABEL)
        self._kek = found[-1] if found else self._new_kek()

    def put(self, name: str, document: bytes) -> None:
        """Store a document."""
        dek = self._hsm.random(envelope.DEK_BYTES)
        wrapped = self._hsm.encrypt(self._kek, dek, aad=envelope.bound_to(name))
        self._store.save(Row(name, LABEL, wrapped), envelope.seal(dek, name, document))

    def get(self, name: str) -> bytes:
        """Return a document."""
        row, sealed = self._store.load(name)
        dek = self._hsm.decrypt(self._kek, row.wrapped_dek, aad=envelope.bound_to(name))
        return envelope.unseal(dek, name, sealed)

    def rotate(self) -> None:
        """Replace the key-encryption key."""
        old, new = self._kek, self._new_kek()
        for row in self._store.rows_not_under(""):
            aad = envelope.bound_to(row.name)
            dek = self._hsm.decrypt(old, row.wrapped_dek, aad=aad)
            self._store.rewrap(Row(row.name, LABEL, self._hsm.encrypt(new, dek, aad=aad)))
        self._kek = new
        self._hsm.delete_key(old)

    def _new_kek(self) -> Key:
        try:
            return self._hsm.generate_key("AES", 256, label=LABEL)
        except Exception:
            return self._hsm.generate_key("AES", 256, label=LABEL)  # "the network again: once more helps"
