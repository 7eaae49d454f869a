"""What if the vault itself dies in the middle?"""

from typing import cast

import pytest

from pytest_hsmcluster import Client, HsmClock, HsmCluster

from .. import HardenedVault, Store
from ..hsm import Hsm
from .mortal import Mortal
from .promises import CHECKS, SDK3

MESSAGES = 25
"""What rotating four documents takes: make and copy a key (4), find the old one (3), move the data keys (12), find and
delete the old one (6).  Were it fewer, the last ones would kill nobody, and fail."""


@SDK3
@pytest.mark.hsm_chaos(checks=CHECKS)
@pytest.mark.parametrize(
    "",
    [
        pytest.param(marks=pytest.mark.hsm_chaos(f"crash @ {point} nth={nth}"), id=f"{point} {nth}")
        for point, times in (("client.send", MESSAGES), ("client.receive", MESSAGES), ("client.report", 1))
        for nth in range(1, times + 1)
    ],
)
def test_a_rotation_that_died_is_finished_by_the_next_process(
    hsm_cluster: HsmCluster, hsm_client: Client, hsm_clock: HsmClock, store: Store, documents: dict[str, bytes]
) -> None:
    """Whatever message was the last, the next process reads every document and leaves one key."""
    dying = HardenedVault(cast(Hsm, Mortal(hsm_client)), store, sleep=hsm_clock.advance)
    with pytest.raises(SystemExit):
        dying.rotate()

    client = hsm_cluster.client("app")
    vault = HardenedVault(client, store, sleep=hsm_clock.advance)
    assert {name: vault.get(name) for name in documents} == documents
    vault.start()
    vault.rotate()

    assert {name: vault.get(name) for name in documents} == documents
    assert [key.label for key in client.find_keys()] == [store.current()]
