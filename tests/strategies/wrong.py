"""What is tested in the tests of machines: an application with a mistake, and the same without."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from pytest_hsmcluster import Client, ClusterError, DataInvalid
from pytest_hsmcluster.stories.story import Ref
from pytest_hsmcluster.strategies import ChaosMachine, shapes

NAMES = st.sampled_from(("a", "b"))


class Vault:
    """Keeps documents; after any trouble it makes a new key, and forgets the one with which others were encrypted."""

    def __init__(self, app: Client) -> None:
        self.app = app
        self.documents: dict[str, bytes] = {}
        self.kek = app.generate_key("AES", 256, label="kek")

    def store(self, name: str, data: bytes) -> None:
        try:
            self.documents[name] = self.app.encrypt(self.kek, data)
        except ClusterError:
            self.replace_key()
            self.documents[name] = self.app.encrypt(self.kek, data)

    def load(self, name: str) -> bytes | None:
        return self.app.decrypt(self.kek, self.documents[name]) if name in self.documents else None

    def replace_key(self) -> None:
        self.kek = self.app.generate_key("AES", 256, label="kek")


class PatientVault(Vault):
    """Tries again with the key that it has."""

    def replace_key(self) -> None:
        self.app.random(1)


class VaultMachine(ChaosMachine):
    """Calls a vault; answers of the cluster are met, wrong data are not."""

    shapes = shapes((3,), (3,), plain=True)
    labels = ("kek",)
    operations = ("encrypt",)
    never = (DataInvalid,)
    checks = ()
    steps = 12
    suffer = wait = sweep = restart = None  # faults will do
    vault: Callable[..., Any] = Vault

    def begin(self) -> None:
        super().begin()
        self.make("vault", type(self).vault, Ref("app"))

    @rule(name=NAMES)
    def store(self, name: str) -> None:
        self.call("vault", "store", name, b"data")

    @rule(name=NAMES)
    def load(self, name: str) -> None:
        self.call("vault", "load", name)


class PatientMachine(VaultMachine):
    vault = PatientVault


class UnstableMachine(VaultMachine):
    """Calls another number of times with each run of the process's own counter."""

    runs = 0

    def begin(self) -> None:
        super().begin()
        UnstableMachine.runs += 1
        for _ in range(UnstableMachine.runs):
            self.call("app", "random", 1)
