"""How does a history look in which just this happened?

A `Story` writes well-formed records, a millisecond apart, in the words of a test: keys are created, HSMs crash,
applications are told.  It is a pen, not an emulator: it writes what it is told to, possible or not.
"""

from collections.abc import Iterable
from typing import Any

from pytest_hsmcluster.history.events import FIELDS, Kind, Record
from pytest_hsmcluster.history.history import History
from pytest_hsmcluster.history.journal import well_formed

HSMS = ("hsm-1", "hsm-2", "hsm-3")
MS = 1_000_000
FIRST_HANDLE = 262144


class Story:
    """A history in the making.

    Args:
        hsms: ids of the HSMs, up from the start.
        note: facts of the run, as `History.note` has them.
    """

    def __init__(self, hsms: Iterable[str] = HSMS, /, **note: Any) -> None:
        self.records: list[Record] = []
        self.now_ns = 0
        self.note = note
        self._hsms = tuple(hsms)
        self._op = 0
        self._keys: dict[str, dict[str, Any]] = {}
        self._mats = 0
        self._data = 0
        for hsm in self._hsms:
            self.write(Kind.UP, hsm=hsm, zone="a", cause="start")

    @property
    def history(self) -> History:
        return History(self.records, note=self.note)

    def write(self, kind: Kind | str, /, **fields: Any) -> None:
        """Append one record; fields that are not given are None."""
        kind = Kind(kind)
        unknown = [name for name in fields if name not in FIELDS[kind]]
        assert not unknown, f"{kind} has no {unknown}"
        record = (kind, self.now_ns, *(fields.get(name) for name in FIELDS[kind]))
        assert well_formed(record)
        self.records.append(record)

    def wait(self, ms: float = 1) -> "Story":
        """Let time pass."""
        self.now_ns += round(ms * MS)
        return self

    # -- calls -----------------------------------------------------------------------

    def invoke(self, name: str, key: str | None = None, client: str = "app", **fields: Any) -> int:
        """Begin a call and return its number."""
        self.wait()
        self._op += 1
        fields = {"user": "crypto_user", "args": (), **fields}
        self.write(Kind.INVOKE, op=self._op, client=client, name=name, key=key, **fields)
        return self._op

    def end(self, op: int, outcome: str = "ok", **fields: Any) -> None:
        """End a call: `ok`, `fail`, `info`; `open` writes nothing."""
        self.wait()
        call = next(r for r in reversed(self.records) if r[0] is Kind.INVOKE and r[2] == op)
        if outcome == "ok":
            fields = {"keys": (), "made": (), **fields}
            self.write(Kind.OK, op=op, client=call[3], name=call[5], **fields)
        elif outcome != "open":
            fields = {"error": "RequestTimeout", "ckr": 0x30, "key": call[6], **fields}
            self.write(Kind(outcome), op=op, client=call[3], name=call[5], **fields)

    def create(
        self,
        label: str = "payroll",
        on: Iterable[str] | None = None,
        outcome: str = "ok",
        *,
        name: str = "generate_key",
        under: str | None = None,
        client: str = "app",
        error: str = "RequestTimeout",
        told: bool = True,
        **born: Any,
    ) -> str:
        """Make a key on the first of some HSMs (of all), clone it to the others, and return its name.

        Args:
            outcome: what the application is told; with `told` false an `ok` names no key.
            under: the wrapping or base key of an unwrap or derive.
            born: fields of its birth: mat, token, cls, key_kind, owner.
        """
        op = self.invoke(name, under, client, label=label, cls="secret", key_kind="AES", token=born.get("token", True))
        key = self.born(label, on, name=name, op=op, **born)
        self.end(op, outcome, **({"keys": (key,) if told else ()} if outcome == "ok" else {"error": error}))
        return key

    def born(
        self, label: str = "payroll", on: Iterable[str] | None = None, *, name: str = "", op: int = 0, **born: Any
    ) -> str:
        """Put a new key on HSMs and return its name; without a call it was seeded."""
        key = f"key-{len(self._keys) + 1}"
        if "mat" not in born:
            self._mats += 1
            born["mat"] = f"mat-{self._mats}"
        plain = {"token": True, "cls": "secret", "key_kind": "AES", "owner": "crypto_user", "changed": (), "shares": ()}
        self._keys[key] = {"handle": FIRST_HANDLE + len(self._keys), "label": label, **plain, **born}
        cause = {"import_key": "import", "unwrap_key": "unwrap", "derive_key": "derive", "": "seed"}.get(name, "create")
        source = None
        for hsm in self._hsms if on is None else on:
            self.held(key, hsm, cause if source is None or not name else "clone", op=op, source=source)
            source = source or hsm
        return key

    def pair(self, label: str = "signer", on: Iterable[str] | None = None, outcome: str = "ok") -> tuple[str, str]:
        """Make a key pair on HSMs and return the names of its halves, public first."""
        op = self.invoke("generate_key_pair", label=label, key_kind="RSA", token=True)
        public = self.born(label, on, name="generate_key_pair", op=op, cls="public", key_kind="RSA")
        mat = self._keys[public]["mat"]
        private = self.born(label, on, name="generate_key_pair", op=op, cls="private", key_kind="RSA", mat=mat)
        self.end(op, outcome, **({"keys": (public, private)} if outcome == "ok" else {}))
        return public, private

    def use(self, key: str, name: str = "sign", outcome: str = "ok", client: str = "app", **fields: Any) -> None:
        """Use a key."""
        op = self.invoke(name, key, client)
        self.end(op, outcome, **({"keys": (key,)} if outcome == "ok" else fields))

    def miss(self, key: str, hsm: str, name: str = "sign", client: str = "app") -> None:
        """Use a key on an HSM that answers that there is no such key."""
        self.use(key, name, "fail", client, error="KeyNotOnHsm", ckr=0x60, hsm=hsm)

    def encrypt(self, key: str, outcome: str = "ok") -> None:
        """Encrypt something under a key."""
        self._make(key, "encrypt", ("ciphertext",), (), outcome)

    def wrap(self, key: str, under: str, outcome: str = "ok") -> None:
        """Wrap one key under another."""
        self._make(under, "wrap_key", ("wrapped",), (key,), outcome)

    def find(self, *keys: str, client: str = "app", label: str | None = None) -> None:
        """Find keys."""
        self.end(self.invoke("find_keys", client=client, label=label), keys=keys)

    def delete(self, key: str, on: Iterable[str] | None = None, outcome: str = "ok", client: str = "app") -> None:
        """Delete a key; it goes from some HSMs."""
        op = self.invoke("delete_key", key, client)
        for hsm in self._hsms if on is None else on:
            self.gone(key, hsm, "delete", op=op)
        self.end(op, outcome, **({"keys": (key,)} if outcome == "ok" else {}))

    def logout(self, hsms: Iterable[str] = HSMS, keys: Iterable[tuple[str, str]] = (), client: str = "app") -> None:
        """Log out on some HSMs, and take (key, HSM) away with the session."""
        op = self.invoke("logout", client=client)
        for key, hsm in keys:
            self.gone(key, hsm, "session_end", op=op)
        for hsm in hsms:
            self.write(
                Kind.REACH, op=op, point="hsm.reply", name="logout", command="logout", hsm=hsm, client=client, user="u"
            )
        self.end(op)

    def _make(self, key: str, name: str, what: tuple[str], inner: tuple[str, ...], outcome: str) -> None:
        op = self.invoke(name, key)
        self._data += outcome == "ok"
        self.end(op, outcome, **({"keys": (key,), "made": (*what, self._data, *inner)} if outcome == "ok" else {}))

    # -- copies ------------------------------------------------------------------------

    def held(self, key: str, hsm: str, cause: str, *, op: int = 0, source: str | None = None, **other: Any) -> None:
        """Put a copy of a key on an HSM."""
        self.wait()
        self.write(Kind.HELD, op=op, hsm=hsm, key=key, cause=cause, source=source, **{**self._keys[key], **other})

    def gone(self, key: str, hsm: str, cause: str, *, op: int = 0) -> None:
        """Take a copy away."""
        self.wait()
        self.write(Kind.GONE, op=op, hsm=hsm, key=key, handle=self._keys[key]["handle"], cause=cause)

    def tombstoned(self, key: str, hsm: str, cause: str = "cleanup", *, op: int = 0) -> None:
        """Mark a copy."""
        self.wait()
        self.write(Kind.TOMBSTONED, op=op, hsm=hsm, key=key, handle=self._keys[key]["handle"], cause=cause)

    def sweep(self, key: str, to: str, source: str) -> None:
        """Let the service copy a key."""
        self.held(key, to, "sweep", source=source)

    def attribute(self, key: str, name: str, value: Any, on: Iterable[str] = HSMS) -> None:
        """Change an attribute on some HSMs."""
        for hsm in on:
            self.wait()
            self.write(Kind.ATTRIBUTE, op=0, hsm=hsm, key=key, name=name, value=value)

    def share(self, key: str, user: str, on: Iterable[str] = HSMS, *, shared: bool = True) -> None:
        """Share a key, or take it back, on some HSMs."""
        for hsm in on:
            self.wait()
            self.write(Kind.SHARE, op=0, hsm=hsm, key=key, user=user, shared=shared)

    # -- HSMs --------------------------------------------------------------------------

    def state(self, hsm: str, kind: Kind | str, cause: str = "test") -> None:
        """Change how an HSM is."""
        self.wait()
        self.write(Kind(kind), hsm=hsm, zone="a", cause=cause)

    def crash(self, hsm: str, session_keys: Iterable[str] = ()) -> None:
        """Power an HSM off; its session keys go."""
        self.state(hsm, Kind.DOWN, "crash")
        for key in session_keys:
            self.write(Kind.GONE, op=0, hsm=hsm, key=key, handle=self._keys[key]["handle"], cause="crash")

    def restart(self, hsm: str) -> None:
        """Power an HSM on."""
        self.state(hsm, Kind.UP, "restart")

    def destroy(self, hsm: str, *keys: str) -> None:
        """Lose an HSM for good, with the keys that it holds."""
        self.wait()
        for key in keys:
            self.write(Kind.GONE, op=0, hsm=hsm, key=key, handle=self._keys[key]["handle"], cause="destroy")
        self.write(Kind.LOST, hsm=hsm, zone="a", cause="destroy")

    def join(self, hsm: str, *keys: str) -> None:
        """Let a new HSM join from a snapshot with some keys."""
        self.state(hsm, Kind.JOINING, "add")
        for key in keys:
            self.held(key, hsm, "join", source="hsm-1")
        self.state(hsm, Kind.JOINED, "add")
