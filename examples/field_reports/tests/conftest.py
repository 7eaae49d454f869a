"""What do the exhibits work with?"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_hsmcluster import Chaos, HsmClock, HsmCluster, Pkcs11Door


@pytest.fixture
def library(hsm_pkcs11: Pkcs11Door) -> Iterator[Any]:
    """The PKCS#11 library, as python-pkcs11 has it; it is finalized after the test, for whoever loads it next."""
    import pkcs11

    library = pkcs11.lib(hsm_pkcs11.module)
    if not library.initialized:
        library.initialize()
    yield library
    library.finalize()


@pytest.fixture
def token(library: Any, hsm_pkcs11: Pkcs11Door) -> Any:
    """This test's cluster."""
    return next(slot.get_token() for slot in library.get_slots() if slot.slot_id == hsm_pkcs11.slot_id)


@pytest.fixture
def pin(hsm_pkcs11: Pkcs11Door) -> str:
    """The PIN of the applications' crypto user."""
    return hsm_pkcs11.user_pin


@pytest.fixture
def outage(hsm_cluster: HsmCluster, hsm_chaos: Chaos, hsm_clock: HsmClock) -> Callable[[], None]:
    """All HSMs go down and come back: every connection is lost, and the login with the last one."""

    def outage() -> None:
        for hsm in hsm_cluster.hsms:
            hsm_chaos.crash(hsm.id)
        for hsm in hsm_cluster.hsms:
            hsm_chaos.restart(hsm.id)
        hsm_clock.advance(60)

    return outage


@pytest.fixture
def calm(hsm_cluster: HsmCluster, hsm_chaos: Chaos, hsm_clock: HsmClock) -> Callable[[], None]:
    """The storm is over: all HSMs are back, and two minutes pass."""

    def calm() -> None:
        hsm_chaos.undo_all()
        for hsm in hsm_cluster.hsms:
            if hsm.state == "down":
                hsm_chaos.restart(hsm.id)
        hsm_clock.advance(120)

    return calm


@pytest.fixture
def stored(token: Any, pin: str) -> Any:
    """Make keys as an operator does before an application is started: in a session of his own, which is over then."""

    class Stored:
        def aes(self, label: str) -> None:
            """An AES key."""
            from pkcs11 import KeyType

            with token.open(rw=True, user_pin=pin) as session:
                session.generate_key(KeyType.AES, 256, label=label, store=True)

        def rsa(self, label: str) -> None:
            """An RSA pair."""
            from pkcs11 import KeyType

            with token.open(rw=True, user_pin=pin) as session:
                session.generate_keypair(KeyType.RSA, 2048, label=label, store=True)

    return Stored()
