"""Power: off, on, silent, lost; and points on the way."""

import pytest

from pytest_hsmcluster import HsmState, HsmUnavailable, Kind, RequestTimeout, UsageError


def states(cluster):
    return [str(hsm.state) for hsm in cluster.service.hsms.values()]


def test_hsms_are_dealt_out_to_the_zones_in_turn(build):
    """a, b, c, a, …"""
    cluster = build(4)

    assert [hsm.zone for hsm in cluster.hsms] == ["a", "b", "c", "a"]
    assert len({hsm.ip for hsm in cluster.hsms}) == 4


def test_outage_of_a_zone_takes_its_hsms_and_no_other(build):
    """And they come back with it."""
    cluster = build(4)
    with cluster.chaos.lose_zone("a"):
        assert states(cluster) == ["down", "up", "up", "down"]

    assert states(cluster) == ["up"] * 4


def test_crashing_twice_and_restarting_what_is_up_is_harmless(build):
    """Nothing happens that did not happen already."""
    cluster = build(1)
    cluster.chaos.restart("hsm-1")
    cluster.chaos.crash("hsm-1")
    cluster.chaos.crash("hsm-1")
    cluster.chaos.restart("hsm-1")

    assert [str(e.kind) for e in cluster.history.of(Kind.UP, Kind.DOWN)] == ["up", "down", "up"]
    assert cluster.hsm("hsm-1").boots == 1


def test_power_off_can_be_prevented_and_delayed(build):
    """The point `hsm.stop`."""
    cluster = build(2)
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.stop"):
        cluster.chaos.crash("hsm-1")
    with cluster.chaos.inject("delay 5s @ hsm.stop"):
        cluster.chaos.crash("hsm-2")
    assert states(cluster) == ["up", "up"]
    cluster.clock.advance(5)

    assert states(cluster) == ["up", "down"]


def test_power_on_can_be_prevented_and_delayed(build):
    """The point `hsm.start`."""
    cluster = build(2)
    for hsm in cluster.hsms:
        cluster.chaos.crash(hsm.id)
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.start"):
        cluster.chaos.restart("hsm-1")
    with cluster.chaos.inject("delay 5s @ hsm.start"):
        cluster.chaos.restart("hsm-2")
    cluster.clock.advance(5)

    assert states(cluster) == ["down", "up"]


def test_paused_hsm_is_silent_and_goes_on_where_it_was(build):
    """Requests that wait are served after the resume, too late for whoever asked."""
    cluster = build(1, request_timeout_s=1)
    client = cluster.client()
    with cluster.chaos.pause("hsm-1"):
        assert states(cluster) == ["paused"]
        with pytest.raises(RequestTimeout):
            client.generate_key("AES", 256, label="k")
        assert cluster.hsm("hsm-1").keys == {}
    cluster.clock.advance(1)

    assert [key.label for key in cluster.hsm("hsm-1").keys.values()] == ["k"]
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["k"]


@pytest.mark.parametrize("state", ["down", "lost", "paused", "joining"])
def test_only_an_hsm_that_is_up_can_be_paused(build, state):
    """One that is off cannot fall silent."""
    cluster = build(2)
    {
        "down": lambda: cluster.chaos.crash("hsm-2"),
        "lost": lambda: cluster.chaos.destroy("hsm-2"),
        "paused": lambda: cluster.chaos.pause("hsm-2"),
        "joining": lambda: cluster.add_hsm("a"),
    }[state]()

    with pytest.raises(UsageError, match=f"is {state}; only an HSM that is up can be paused"):
        cluster.chaos.pause("hsm-3" if state == "joining" else "hsm-2")


def test_crash_of_a_paused_hsm_resets_who_waits(build):
    """Its queue is gone."""
    cluster = build(1)
    client = cluster.client()
    cluster.chaos.pause("hsm-1")
    cluster._scheduler.at(cluster.clock.now_ns + 10**9, lambda: cluster.service.crash("hsm-1"))

    with pytest.raises(HsmUnavailable) as caught:
        client.generate_key("AES", 256, label="k")
    cluster.chaos.restart("hsm-1")
    cluster.clock.advance(60)

    assert caught.value.outcome == "info"
    assert cluster.hsm("hsm-1").keys == {}


@pytest.mark.parametrize(("peer", "error"), [("reset", HsmUnavailable), ("silence", RequestTimeout)])
def test_peer_of_an_hsm_that_loses_power_sees_a_reset_or_nothing(build, peer, error):
    """A switch of the profile; in both cases nobody knows what came of the request."""
    cluster = build(1, crash_peer=peer)
    client = cluster.client()
    cluster.chaos.inject("crash @ hsm.execute command=generate_key")

    with pytest.raises(error) as caught:
        client.generate_key("AES", 256, label="k")

    assert caught.value.outcome == "info"


def test_hsm_that_is_off_answers_with_silence_when_the_profile_says_so(build):
    """Nobody is told of the loss, and the next call runs into its time-out."""
    cluster = build(1, crash_peer="silence")
    client = cluster.client()
    cluster.chaos.crash("hsm-1")
    before = cluster.clock.now

    with pytest.raises(RequestTimeout):
        client.random(8)

    assert cluster.clock.now - before == pytest.approx(20, abs=0.01)


def test_backups_are_taken_daily_and_at_every_join_and_removal(build):
    """One per 24 hours, and on add and on removal."""
    cluster = build(2, sweep=False)
    cluster.clock.advance(2 * 86400 + 1)
    assert list(cluster.service.backups) == ["backup-1", "backup-2"]

    cluster.add_hsm("c")
    cluster.clock.advance(400)
    cluster.remove_hsm("hsm-1")

    assert [backup.hsm for backup in cluster.service.backups.values()] == ["hsm-1", "hsm-1", "hsm-1", "hsm-1"]


def test_no_backup_is_taken_while_no_hsm_is_up(build):
    """And asking for one is refused."""
    cluster = build(1, sweep=False)
    cluster.chaos.crash("hsm-1")
    cluster.clock.advance(86400 + 1)

    assert cluster.service.backups == {}
    with pytest.raises(UsageError, match="a backup is taken of an HSM that is up; every HSM is not"):
        cluster.backup()
    with pytest.raises(UsageError, match="a backup is taken of an HSM that is up; hsm-1 is not"):
        cluster.backup("hsm-1")


def test_unknown_hsm_is_named_with_those_that_exist(build):
    """Wherever it is asked for."""
    cluster = build(2)

    with pytest.raises(UsageError, match="this cluster has no HSM 'hsm-3'; it has hsm-1, hsm-2"):
        cluster.hsm("hsm-3")


def test_journal_knows_every_state(build):
    """Created, off, on, silent, on, lost, joining, joined."""
    cluster = build(1)
    cluster.chaos.crash("hsm-1").end()
    cluster.chaos.pause("hsm-1").end()
    cluster.chaos.replace("hsm-1")
    cluster.clock.advance(400)

    told = [
        (str(e.kind), e.hsm)
        for e in cluster.history.of(Kind.UP, Kind.DOWN, Kind.PAUSED, Kind.LOST, Kind.JOINING, Kind.JOINED)
    ]
    assert told == [
        ("up", "hsm-1"),
        ("down", "hsm-1"),
        ("up", "hsm-1"),
        ("paused", "hsm-1"),
        ("up", "hsm-1"),
        ("lost", "hsm-1"),
        ("joining", "hsm-2"),
        ("joined", "hsm-2"),
    ]
    assert cluster.hsm("hsm-2").state == HsmState.UP
