"""What becomes of the hardened vault when HSMs fail, and of its production form?"""

from contextlib import suppress

import pytest

from examples.hurried import PROCESSES, on_both_networks, pass_a_minute
from pytest_hsmcluster import Chaos, HsmCheck, HsmClock, HsmCluster
from pytest_hsmcluster.scenarios import SCENARIOS

from .. import HardenedVault, VaultUnavailable
from ..hsm import Passing
from .forms import Form
from .promises import CHECKS, SDK3, SDK5

# -- the four classic reasons, from the first call on ---------------------------------------------


@SDK3
@on_both_networks
@pytest.mark.hsm_chaos("destroy source @ client.clone nth=1", checks=("durable", "no_orphan_keys"))
def test_no_key_is_used_before_two_hsms_have_it(vault: HardenedVault) -> None:
    """The HSM that made the first key dies with the only copy: that create fails, and another key is made."""
    vault.start()
    vault.put("contract", b"signed and sealed")
    assert vault.get("contract") == b"signed and sealed"


@SDK5
@pytest.mark.hsm_chaos("fail-clone hsm-3", "stall-sync", checks=("misses_retried",))
def test_a_miss_is_retried(vault: HardenedVault, hsm_check: HsmCheck) -> None:
    """Every third call goes to an HSM without the key, and is repeated until it meets another one."""
    vault.start()
    for name in ("contract", "minutes", "plan"):
        vault.put(name, b"signed and sealed")

    assert {hsm for miss in hsm_check.routing_misses() for hsm in miss.hsms} == {"hsm-3"}


@SDK3
@on_both_networks
@pytest.mark.hsm_chaos("fail-cleanup hsm-1", checks=("no_orphan_keys", "no_duplicate_labels"))
def test_no_orphan_is_left(vault: HardenedVault, hsm_cluster: HsmCluster) -> None:
    """What a failed create left on the first HSM is removed before the next create."""
    vault.start()
    assert [key.label for key in hsm_cluster.hsm("hsm-1").keys.values()] == ["vault-kek-2"]


@SDK3
@pytest.mark.hsm_chaos("lost-ack generate_key", checks=("no_orphan_keys", "no_duplicate_labels", "in_sync"))
def test_no_duplicate_is_made(vault: HardenedVault, hsm_cluster: HsmCluster, hsm_clock: HsmClock) -> None:
    """The create without an answer is looked for until it is found: at first the HSM that did it is out of reach."""
    vault.start()
    assert [key.label for key in hsm_cluster.hsm("hsm-1").keys.values()] == ["vault-kek-1"]

    hsm_clock.advance(60)
    vault.maintain()
    assert [[key.label for key in hsm.keys.values()] for hsm in hsm_cluster.hsms] == [["vault-kek-2"]] * 3


@SDK3
@pytest.mark.hsm_chaos("fail-cleanup", checks=("no_orphan_keys", "durable"))
def test_a_rotation_that_is_refused_leaves_nothing(
    vault: HardenedVault, documents: dict[str, bytes], hsm_cluster: HsmCluster
) -> None:
    """As long as no durable key can be made, none is left behind, and the documents stay where they are."""
    with pytest.raises(VaultUnavailable, match="failed 10 times"):
        vault.rotate()

    assert [[key.label for key in hsm.keys.values()] for hsm in hsm_cluster.hsms] == [["vault-kek-1"]] * 3
    assert {name: vault.get(name) for name in documents} == documents


# -- single errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "",
    [
        pytest.param(marks=pytest.mark.hsm_chaos(f"fail CKR_{ckr.name} @ hsm.execute op=encrypt nth=1"), id=ckr.name)
        for ckr in Passing
    ],
)
def test_what_will_pass_is_tried_again(vault: HardenedVault) -> None:
    """Each return value that means "not now" or "not here" is met once and survived."""
    vault.start()
    vault.put("contract", b"signed and sealed")
    assert vault.get("contract") == b"signed and sealed"


@pytest.mark.hsm_chaos("fail CKR_KEY_FUNCTION_NOT_PERMITTED @ hsm.execute op=encrypt")
def test_what_is_wrong_is_wrong_at_once(form: Form, vault: HardenedVault, hsm_clock: HsmClock) -> None:
    """An error that will not pass is not waited for."""
    vault.start()
    before = hsm_clock.now
    with pytest.raises(form.not_permitted, match=form.forbidden):
        vault.put("contract", b"signed and sealed")
    assert hsm_clock.now - before < 0.1


# -- every scenario that there is -------------------------------------------------------------------

OPS = ("generate_key", "random", "encrypt", "decrypt", "find_keys", "delete_key")
SPECS = {
    "kill-mid-create": ["kill-mid-create", "kill-mid-create after_copies=2", "kill-mid-create after_copies=3"],
    "replaced-hsm": ["replaced-hsm hsm-2"],
    "delay-sync": ["delay-sync 30s"],
    "stall-sync": ["stall-sync"],
    "fail-clone": ["fail-clone", "fail-clone hsm-3"],
    "fail-cleanup": ["fail-cleanup", "fail-cleanup hsm-2"],
    "lost-ack": [f"lost-ack {op}" for op in OPS],
    "failed-ack": [f"failed-ack {op} code=CKR_DEVICE_ERROR" for op in OPS],
    "glitch": [f"glitch {op}" for op in OPS],
    "partition": ["partition a=app b=hsm-1", "partition a=hsm-1 b=app direction=one-way"],
    "gray-failure": ["gray-failure hsm-2"],
    "throttled": ["throttled hsm-1"],
    "full-hsm": ["full-hsm hsm-1"],
    "full-disk": ["full-disk hsm-1"],
    "full-sessions": ["full-sessions hsm-1"],
    "joining-hsm": ["joining-hsm a"],
    "az-outage": ["az-outage zone=a"],
    "rolling-restart": ["rolling-restart"],
    "flapping": ["flapping hsm-2"],
    "user-drift": ["user-drift hsm=hsm-2 user=crypto_user"],
    "crashed-hsm": ["crashed-hsm hsm-1"],
    "destroyed-hsm": ["destroyed-hsm hsm-1"],
    "routed-to": ["routed-to hsm-3 next=5"],
}
NEEDS_A_MINIMUM = ("fail-cleanup",)
ELSEWHERE = {"fail-cleanup hsm-2": "fail-cleanup hsm-3"}
"""For the production form, whose creates are routed to other HSMs."""
CASES = [
    pytest.param(
        form,
        marks=[mark, pytest.mark.hsm_chaos(ELSEWHERE.get(spec, spec) if form == "production" else spec)],
        id=f"{form}, {sdk}: {spec}",
    )
    for form in ("hardened", "production")
    for name, specs in SPECS.items()
    for spec in specs
    for sdk, mark in (("SDK 3", SDK3), ("SDK 5", SDK5))
    if sdk == "SDK 3" or name not in NEEDS_A_MINIMUM
    if form == "hardened" or sdk == "SDK 3"
]
CASES += [
    pytest.param(form, marks=[mark, PROCESSES, pytest.mark.hsm_chaos(spec)], id=f"{form}, processes: {spec}")
    for form, mark, spec in (
        ("hardened", SDK3, "replaced-hsm hsm-2"),
        ("hardened", SDK3, "rolling-restart down_s=2 gap_s=1"),
        ("hardened", SDK5, "crashed-hsm hsm-1"),
        ("hardened", SDK3, "lost-ack generate_key"),
        ("production", SDK3, "partition a=app b=hsm-1"),
        ("production", SDK3, "gray-failure hsm-2"),
        ("production", SDK5, "flapping hsm-2 up_s=2 down_s=1"),
    )
]


def test_every_scenario_is_tried() -> None:
    """A scenario that pytest-hsmcluster learns one day is missing here until somebody adds it."""
    assert list(SPECS) == list(SCENARIOS)


@pytest.mark.hsm_chaos(checks=CHECKS)
@pytest.mark.parametrize("form", CASES, indirect=True)
def test_documents_survive_everything(
    vault: HardenedVault, documents: dict[str, bytes], hsm_cluster: HsmCluster, hsm_chaos: Chaos
) -> None:
    """Through four minutes of each hardship documents are stored and read; afterwards everything is as it should be.

    The production form has SDK 3 here; the key custodian's goes through the same hardships under SDK 5.  With HSMs that
    are processes each form meets some: what it does about them is the same, and that it is is what is tested.
    """
    for minute in range(4):
        # Where no durable key can be made, refusing is right.
        with suppress(VaultUnavailable):
            vault.rotate()
        documents[f"minute-{minute}"] = bytes([minute]) * 10_000
        vault.put(f"minute-{minute}", documents[f"minute-{minute}"])
        assert {name: vault.get(name) for name in documents} == documents
        pass_a_minute(hsm_cluster)

    hsm_chaos.undo_all()
    while len(hsm_cluster.hsms) < 3:  # the service replaces HSMs that were lost
        hsm_cluster.add_hsm("a")
    for _ in range(10):
        pass_a_minute(hsm_cluster)

    vault.rotate()
    pass_a_minute(hsm_cluster)
    vault.maintain()
    assert {name: vault.get(name) for name in documents} == documents
