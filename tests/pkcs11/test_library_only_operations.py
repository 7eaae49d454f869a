"""Can what only the PKCS#11 library asks of HSMs be broken, swept and told from a use?"""

from collections.abc import Iterator
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType

from pytest_hsmcluster import Chaos, History, HsmCheck, HsmCluster, Pkcs11Door
from pytest_hsmcluster.faults.when import OF_THE_LIBRARY


@pytest.fixture
def session(hsm_pkcs11: Pkcs11Door) -> Iterator[Any]:
    """A session of python-pkcs11, logged in."""
    token = pkcs11.lib(hsm_pkcs11.module).get_token(token_label=hsm_pkcs11.token_label)
    session = token.open(rw=True, user_pin=hsm_pkcs11.user_pin)
    yield session
    session.close()


@pytest.mark.parametrize("name", OF_THE_LIBRARY)
def test_a_fault_waits_for_it(name: str, session: Any, hsm_chaos: Chaos) -> None:
    """`op=` and `command=` take its name, and it is struck."""
    key = session.generate_key(KeyType.AES, 256, label="kek", store=True)
    with hsm_chaos.inject(f"fail CKR_DEVICE_ERROR @ hsm.execute op={name} command={name} nth=1") as injection:
        with pytest.raises((pkcs11.DeviceError, pkcs11.FunctionFailed)):
            key.encrypt(bytes(16), mechanism_param=bytes(16))
        assert injection.hits == 1


@pytest.mark.hsm_sweep("fail CKR_DEVICE_ERROR", points="hsm.execute", op="read_attributes validate_key")
def test_a_sweep_finds_it(session: Any) -> None:
    """A test that comes in through the library can be swept."""
    session.generate_key(KeyType.AES, 256, label="kek", store=True)
    for _ in range(3):
        try:
            [found] = session.get_objects({Attribute.LABEL: "kek"})
            found.encrypt(bytes(16), mechanism_param=bytes(16))
        except (pkcs11.DeviceError, pkcs11.FunctionFailed):
            continue


def test_ten_attributes_are_one_question(session: Any, hsm_history: History) -> None:
    """python-pkcs11 asks for the lengths of ten and the values of those that there are: an HSM answers once."""
    session.generate_key(KeyType.AES, 256, label="kek", store=True)
    assert [event.fields["name"] for event in hsm_history.of("invoke")].count("read_attributes") == 1


@pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2, checks=())
@pytest.mark.hsm_chaos("fail-clone", "fail-cleanup hsm-1")
def test_finding_and_reading_adopts_no_key(session: Any, hsm_cluster: HsmCluster, hsm_check: HsmCheck) -> None:
    """Who only looks at what a failed create has left does not rely on it: it is not acknowledged."""
    with pytest.raises(pkcs11.PKCS11Error):
        session.generate_key(KeyType.AES, 256, label="kek", store=True)
    hsm_cluster.chaos.route_to("hsm-1", next=50)
    assert len(list(session.get_objects({Attribute.LABEL: "kek"}))) == 1
    hsm_cluster.chaos.undo_all()
    hsm_cluster.chaos.destroy("hsm-1")
    assert hsm_check.lost_keys() == []
