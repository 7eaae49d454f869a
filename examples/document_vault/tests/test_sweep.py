"""Is there any step of a rotation at which a failure costs a document or a key?

The other files name their faults.  Here nobody does: each rotation is run once to see which points it passes, and then
once for every fault at every point.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest

from examples.mortal import dead_men_search
from pytest_hsmcluster import Chaos, History, HsmCheck, HsmClock, HsmCluster

from .. import HardenedVault, Store, VaultUnavailable
from .forms import Form
from .promises import CHECKS, SDK3, SDK5

EVERYTHING = ("crash", "destroy", "drop", "corrupt", "fail CKR_DEVICE_ERROR", "delay 30s", "hold")

EVERYWHERE = pytest.mark.hsm_sweep(*EVERYTHING, points="*", checks=CHECKS)
ON_THE_WAY = pytest.mark.hsm_sweep(
    *("crash", "destroy", "drop", "fail CKR_DEVICE_ERROR"),
    points="client.clone client.receive client.report wire.response hsm.commit",
    checks=CHECKS,
)
"""The production form meets the same HSMs and copies, and what it is told of them is a return value.

What the hardened form has shown: how early in a call a fault may strike, and that corrupt and late messages end as lost
ones do.  Here it is asked what the library makes of each end that a call can have, done or not.
"""

LONGEST_S = 100.0
"""A time-out and some pauses, and the 87.2 s that SDK 5 may ask whether a key is available."""

Recover = Callable[[], HardenedVault]

pytestmark = dead_men_search


@pytest.fixture
def dying(form: Form) -> HardenedVault:
    """A vault, not started, that a fault may kill."""
    return form.dying()


@pytest.fixture
def recover(form: Form, hsm_cluster: HsmCluster, hsm_chaos: Chaos, hsm_clock: HsmClock) -> Recover:
    """End the storm, let ten minutes pass, and return the vault's next process, started."""

    def recover() -> HardenedVault:
        hsm_chaos.undo_all()
        for hsm in hsm_cluster.hsms:
            if hsm.state == "down":
                hsm_chaos.restart(hsm.id)
        while len(hsm_cluster.hsms) < 3:  # the service replaces HSMs that were lost
            hsm_cluster.add_hsm("a")
        hsm_clock.advance(600)
        vault = form.vault()
        vault.start()
        return vault

    return recover


@pytest.fixture
def document(vault: HardenedVault) -> bytes:
    """A kilobyte that is in the vault already."""
    document = bytes(range(256)) * 4
    vault.start()
    vault.put("contract", document)
    return document


def check_keys(cluster: HsmCluster, store: Store) -> None:
    """Look at the HSMs themselves: the current key is on each of three, alike and the vault's own, and no other."""
    for hsm in cluster.hsms:
        there = [(key.label, key.cls, key.owner, key.shares, key.token) for key in hsm.keys.values()]
        assert there == [(store.current(), "secret", cluster.default_user, (), True)], f"what is on {hsm.id}"
    assert len(cluster.hsms) == 3


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("hardened", marks=[SDK3, EVERYWHERE], id="SDK 3"),
        pytest.param("hardened", marks=[SDK5, EVERYWHERE], id="SDK 5"),
        pytest.param("production", marks=[SDK3, ON_THE_WAY], id="production, SDK 3"),
        pytest.param("production", marks=[SDK5, ON_THE_WAY.with_args(op="generate_key")], id="production, SDK 5"),
    ],
    indirect=True,
)
def test_rotation(
    form: Form,
    document: bytes,
    dying: HardenedVault,
    recover: Recover,
    hsm_cluster: HsmCluster,
    hsm_clock: HsmClock,
    hsm_history: History,
    hsm_check: HsmCheck,
    store: Store,
) -> None:
    """Whatever fails at whatever step: the rotation succeeds, or died with its process, and nothing is lost or left.

    The production form meets four of the seven effects, at the points from which on a call has done something.
    """
    began, calls = hsm_clock.now, len(hsm_history.of("invoke"))
    with suppress(SystemExit):  # one failure is no reason to give up, so VaultUnavailable is not expected
        dying.rotate()
    assert hsm_clock.now - began < LONGEST_S
    assert len(hsm_history.of("invoke")) - calls <= form.calls + form.more_calls
    holders = [hsm.id for hsm in hsm_cluster.hsms if store.current() in [key.label for key in hsm.keys.values()]]
    assert len(holders) >= 2, "what documents are under is never on one HSM only"

    vault = recover()
    assert vault.get("contract") == document
    vault.rotate()
    hsm_clock.advance(60)
    vault.maintain()
    assert vault.get("contract") == document
    check_keys(hsm_cluster, store)
    hsm_check.session_keys_stay_put()


TWO = pytest.mark.hsm_sweep(
    "crash", "drop", points="hsm.commit wire.* client.*", op="generate_key", depth=2, checks=CHECKS
)


@SDK3
@pytest.mark.parametrize(
    "form",
    [
        pytest.param("hardened", marks=TWO),
        pytest.param("production", marks=TWO.with_args(points="hsm.commit wire.response client.receive")),
    ],
    indirect=True,
)
def test_first_key_and_two_failures(
    form: Form, dying: HardenedVault, recover: Recover, hsm_cluster: HsmCluster, hsm_clock: HsmClock, store: Store
) -> None:
    """Two failures while the first key is made, in every order that can happen: in the end there is one key.

    For the production form each of them comes when something was done: before that, it is the hardened form's story.
    """
    with suppress(VaultUnavailable, SystemExit):
        dying.start()

    vault = recover()
    hsm_clock.advance(60)
    vault.maintain()
    check_keys(hsm_cluster, store)
