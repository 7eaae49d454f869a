"""A scenario with `during=` begins and ends by itself, as time passes."""

import pytest

from pytest_hsmcluster import UsageError
from pytest_hsmcluster.hardships import ScenarioKind


def states(cluster):
    return [str(hsm.state) for hsm in cluster.hsms]


def test_a_hardship_lasts_as_long_as_its_window(make):
    """Off from the tenth to the fortieth second; `str` parses back to the same."""
    cluster = make()
    hardship = cluster.chaos.install("crashed-hsm hsm-2 during=10s..40s")
    assert str(hardship) == "crashed-hsm hsm=hsm-2 during=10s..40s"
    assert (cluster.chaos.hardships, cluster.chaos.unfired, hardship.hits) == ([], [hardship], 0)
    seen = []
    for seconds in (9, 2, 28, 2):
        cluster.clock.advance(seconds)
        seen.append((cluster.clock.now, states(cluster)[1], hardship.active, len(cluster.chaos.hardships)))
    assert seen == [(9, "up", True, 0), (11, "down", True, 1), (39, "down", True, 1), (41, "up", False, 0)]
    assert (hardship.hits, cluster.chaos.unfired) == (1, [])


def test_an_open_window_begins_at_once(make):
    """`during=30s` is from now on, and what is wrong is refused as without a window."""
    cluster = make()
    hardship = cluster.chaos.install("throttled hsm-2 during=30s")
    assert hardship.hits == 1
    with pytest.raises(UsageError, match="no HSM is in zone 'z'"):
        cluster.chaos.install("az-outage z during=30s")
    assert cluster.chaos.hardships == [hardship]
    cluster.clock.advance(30)
    assert (hardship.active, cluster.chaos.hardships) == (False, [])


def test_windows_of_one_hsm_do_not_hold_each_other(make):
    """A crash that has yet to come keeps nobody off; two that overlap end with the later one."""
    cluster = make()
    for window in ("0s..10s", "20s..30s", "25s..35s"):
        cluster.chaos.install(f"crashed-hsm hsm-1 during={window}")
    seen = []
    for _ in range(8):
        cluster.clock.advance(5 - cluster.clock.now % 5 or 5)
        seen.append(states(cluster)[0])
    assert seen == ["down", "up", "up", "down", "down", "down", "up", "up"]


def test_a_hardship_that_consists_of_a_fault_strikes_in_its_window(make):
    """The copies of the second key are refused, those of the others are not."""
    cluster = make(availability_check=False)
    hardship = cluster.chaos.install("fail-clone during=60s..2m")
    client = cluster.client("app")
    copies = []
    for number in range(3):
        client.generate_key("AES", 256, label=f"k{number}")
        copies.append(sum(f"k{number}" in [key.label for key in hsm.keys.values()] for hsm in cluster.hsms))
        cluster.clock.advance(61)
    assert copies == [3, 1, 3]
    assert hardship.hits == 2
    assert cluster.chaos.unfired == []


@pytest.mark.parametrize("end", ["by hand", "all", "close"])
def test_what_has_not_begun_never_does_after_its_end(make, end):
    """Ended by hand, with everything, or with the cluster."""
    cluster = make()
    hardship = cluster.chaos.install("crashed-hsm hsm-2 during=10s..40s")
    {"by hand": hardship.end, "all": cluster.chaos.undo_all, "close": cluster.close}[end]()
    assert (hardship.active, cluster.chaos.awaited) == (False, [])
    if end != "close":
        cluster.clock.advance(20)
    assert states(cluster) == ["up"] * 3


def test_what_cannot_begin_any_more_has_not_struck(make):
    """Its HSM was lost meanwhile: the hardship misses, and time goes on."""
    cluster = make()
    hardship = cluster.chaos.install("crashed-hsm hsm-2 during=10s..40s")
    cluster.chaos.destroy("hsm-2")
    cluster.clock.advance(60)
    assert (hardship.hits, hardship.active, cluster.chaos.unfired) == (0, False, [hardship])
    other = make().chaos
    pending = other.install("gray-failure hsm-2 during=10s..40s")
    other.allow_miss(pending)
    assert other.unfired == []


def test_a_scenario_of_another_package_ends_with_its_parts(make):
    """What it began through the chaos is taken back at the end of the window, or of the block."""

    def power_cut(chaos, zone: str) -> None:
        """One zone is off and the sweep makes no round."""
        chaos.lose_zone(zone)
        chaos.stall_sync()
        chaos.inject("fail 0xBB @ hsm.receive", may_miss=True)

    cluster = make()
    cluster.chaos.scenarios = {"power-cut": ScenarioKind("power-cut", "", power_cut, "zone")}
    cluster.chaos.install("power-cut a during=10s..20s")
    seen = []
    for _ in range(3):
        cluster.clock.advance(10)
        seen.append((states(cluster)[0], len(cluster.service.world.faults.installed)))
    assert seen == [("down", 1), ("up", 0), ("up", 0)]
    with cluster.chaos.install("power-cut b"):
        assert states(cluster)[1] == "down"
    assert (states(cluster)[1], cluster.chaos.hardships) == ("up", [])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("crashed-hsm hsm-2 during=40s..10s", "crashed-hsm hsm-2 during=40s..10s: during= takes a window that ends"),
        ("crashed-hsm hsm-2 during=soon", "'soon' is not a duration"),
        ("crashed-hsm hsm-9 during=10s..40s", "no HSM 'hsm-9'"),
        ("crashed-hsm hsm-2 durng=10s", r"no argument 'durng' \(did you mean 'during'\?\); it takes hsm, during"),
    ],
)
def test_a_wrong_window_is_refused_when_it_is_installed(make, spec, words):
    """Not when its time has come."""
    cluster = make()
    with pytest.raises(UsageError, match=words):
        cluster.chaos.install(spec)
    assert (cluster.chaos.hardships, cluster.chaos.awaited) == ([], [])
