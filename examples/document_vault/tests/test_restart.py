"""What if the vault itself dies in the middle?"""

import pytest

from examples.mortal import dead_men_search
from pytest_hsmcluster import Client, HsmCluster

from .. import Store
from .forms import Form
from .promises import CHECKS, SDK3

MESSAGES = {"hardened": 25, "production": 45}
"""What rotating four documents takes: make and copy a key (4), find the old one (3), move the data keys (12), find and
delete the old one (6).  The production form opens a session (3) and reads keys and announces their uses (17).  Were it
fewer, the last ones would kill nobody, and fail."""
STEP = {"hardened": 1, "production": 2}
"""Of the longer one each second message will do."""


@SDK3
@dead_men_search
@pytest.mark.hsm_chaos(checks=CHECKS)
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=pytest.mark.hsm_chaos(f"crash @ {point} nth={nth}"), id=f"{form}, {point} {nth}")
        for form, messages in MESSAGES.items()
        for point, times in (("client.send", messages), ("client.receive", messages), ("client.report", 1))
        for nth in range(1, times + 1, STEP[form])
    ],
    indirect=True,
)
def test_a_rotation_that_died_is_finished_by_the_next_process(
    form: Form, hsm_cluster: HsmCluster, store: Store, documents: dict[str, bytes]
) -> None:
    """Whatever message was the last, the next process reads every document and leaves one key."""
    dying = form.dying()
    with pytest.raises(SystemExit):
        dying.rotate()

    vault = form.vault()
    assert {name: vault.get(name) for name in documents} == documents
    vault.start()
    vault.rotate()

    assert {name: vault.get(name) for name in documents} == documents
    auditor: Client = hsm_cluster.client("auditor")
    assert [key.label for key in auditor.find_keys()] == [store.current()]
