"""How does a test write a journal by hand?"""

from collections.abc import Callable
from typing import Any

import pytest

from pytest_hsmcluster.history.events import FIELDS, Kind, Record
from pytest_hsmcluster.history.history import History


class Book:
    """A journal, written line by line; each method writes one at the instant that `at_us` set, and returns the book."""

    def __init__(self, hsms: int = 3) -> None:
        self.records: list[Record] = []
        self._at_ns = 0
        for number in range(hsms):
            self.state("up", f"hsm-{number + 1}", "abc"[number % 3])

    @property
    def history(self) -> History:
        return History(self.records)

    def at_us(self, instant: int) -> "Book":
        self._at_ns = instant * 1000
        return self

    def add(self, event: str, /, **fields: Any) -> "Book":
        kind = Kind(event)
        assert fields.keys() <= {*FIELDS[kind]}
        self.records.append((kind, self._at_ns, *(fields.get(name) for name in FIELDS[kind])))
        return self

    def state(self, kind: str, hsm: str, zone: str = "a", cause: str | None = None) -> "Book":
        return self.add(kind, hsm=hsm, zone=zone, cause=cause)

    def invoke(
        self, op: int, name: str, key: str | None = None, label: str | None = None, client: str = "app"
    ) -> "Book":
        return self.add("invoke", op=op, client=client, user="app_user", name=name, key=key, label=label, args=())

    def ok(self, op: int, name: str, *keys: str, made: tuple[Any, ...] = (), client: str = "app") -> "Book":
        return self.add("ok", op=op, client=client, name=name, keys=keys, made=made)

    def bad(
        self,
        kind: str,
        op: int,
        name: str,
        error: str,
        ckr: int,
        hsm: str | None = None,
        key: str | None = None,
        client: str = "app",
    ) -> "Book":
        return self.add(kind, op=op, client=client, name=name, error=error, ckr=ckr, hsm=hsm, key=key)

    def held(
        self,
        op: int,
        hsm: str,
        key: str = "key-1",
        cause: str = "create",
        label: str = "payroll",
        source: str | None = None,
        **more: Any,
    ) -> "Book":
        usual = {"mat": "mat-1", "token": True, "cls": "secret", "key_kind": "AES", "owner": "app_user"}
        number = 262143 + int(key.removeprefix("key-"))
        rest = {"handle": number, "changed": (), "shares": (), **usual, **more}
        return self.add("held", op=op, hsm=hsm, key=key, cause=cause, label=label, source=source, **rest)

    def gone(self, op: int, hsm: str, key: str = "key-1", cause: str = "destroy", kind: str = "gone") -> "Book":
        return self.add(kind, op=op, hsm=hsm, key=key, handle=262144, cause=cause)

    def inject(self, op: int, spec: str, hsm: str | None = None, client: str | None = "app") -> "Book":
        point = spec.partition(" @ ")[2].partition(" ")[0] or None
        return self.add("inject", op=op, spec=spec, point=point, hsm=hsm, client=client, hit=1)


@pytest.fixture
def book() -> Callable[..., Book]:
    """An empty journal of a cluster that is up: `book(hsms=3)`."""
    return Book
