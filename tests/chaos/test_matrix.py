"""Every effect at every point that can take it, and what is true afterwards."""

import pytest

from pytest_hsmcluster import HsmState, Kind, Point, TooFewCopies

ALL = ["hsm-1", "hsm-2", "hsm-3"]
ONE, NONE = ["hsm-1"], []

# (point, effect) → what the application is told of its create, and who holds the key in the end.
CREATE = {
    ("client.route", "fail CKR_DEVICE_ERROR"): ("HsmUnavailable", "fail", NONE),
    ("client.route", "delay 1s"): ("later", "ok", ALL),
    ("client.route", "crash"): ("ApplicationDied", "info", NONE),
    ("client.send", "fail CKR_DEVICE_ERROR"): ("HsmUnavailable", "fail", NONE),
    ("client.send", "delay 1s"): ("later", "ok", ALL),
    ("client.send", "drop"): ("RequestTimeout", "info", NONE),
    ("client.send", "crash"): ("ApplicationDied", "info", NONE),
    ("wire.request", "delay 1s"): ("later", "ok", ALL),
    ("wire.request", "hold"): ("RequestTimeout", "info", ONE),  # the late commit
    ("wire.request", "drop"): ("RequestTimeout", "info", NONE),
    ("wire.request", "corrupt"): ("HsmUnavailable", "info", NONE),
    ("hsm.receive", "fail CKR_DEVICE_ERROR"): ("HsmUnavailable", "fail", NONE),
    ("hsm.receive", "delay 1s"): ("later", "ok", ALL),
    ("hsm.receive", "crash"): ("HsmUnavailable", "info", NONE),
    ("hsm.receive", "destroy"): ("HsmUnavailable", "info", NONE),
    ("hsm.receive", "pause"): ("RequestTimeout", "info", ONE),  # done when it goes on
    ("hsm.receive", "fill-disk"): ("KeyCapacityReached", "fail", NONE),
    ("hsm.authorize", "fail CKR_DEVICE_ERROR"): ("HsmUnavailable", "fail", NONE),
    ("hsm.authorize", "crash"): ("HsmUnavailable", "info", NONE),
    ("hsm.authorize", "destroy"): ("HsmUnavailable", "info", NONE),
    ("hsm.authorize", "pause"): ("RequestTimeout", "info", ONE),
    ("hsm.authorize", "fill-disk"): ("KeyCapacityReached", "fail", NONE),
    ("hsm.execute", "fail CKR_DEVICE_ERROR"): ("HsmUnavailable", "fail", NONE),
    ("hsm.execute", "delay 1s"): ("later", "ok", ALL),
    ("hsm.execute", "hold"): ("RequestTimeout", "info", ONE),
    ("hsm.execute", "crash"): ("HsmUnavailable", "info", NONE),
    ("hsm.execute", "destroy"): ("HsmUnavailable", "info", NONE),
    ("hsm.execute", "pause"): ("RequestTimeout", "info", ONE),
    ("hsm.execute", "fill-disk"): ("KeyCapacityReached", "fail", NONE),
    ("hsm.commit", "fail CKR_DEVICE_ERROR"): ("HsmUnavailable", "fail", NONE),
    ("hsm.commit", "crash"): ("HsmUnavailable", "info", NONE),
    ("hsm.commit", "destroy"): ("HsmUnavailable", "info", NONE),
    ("hsm.commit", "pause"): ("RequestTimeout", "info", ONE),
    ("hsm.commit", "fill-disk"): ("KeyCapacityReached", "fail", NONE),
    ("hsm.reply", "fail CKR_DEVICE_ERROR"): ("HsmUnavailable", "info", ONE),
    ("hsm.reply", "delay 1s"): ("later", "ok", ALL),
    ("hsm.reply", "hold"): ("RequestTimeout", "info", ONE),
    ("hsm.reply", "crash"): ("HsmUnavailable", "info", ONE),  # off, and it has the key
    ("hsm.reply", "destroy"): ("HsmUnavailable", "info", NONE),
    ("hsm.reply", "pause"): ("RequestTimeout", "info", ONE),
    ("hsm.reply", "fill-disk"): ("at once", "ok", ALL),  # it is full too late
    ("wire.response", "delay 1s"): ("later", "ok", ALL),
    ("wire.response", "hold"): ("RequestTimeout", "info", ONE),
    ("wire.response", "drop"): ("RequestTimeout", "info", ONE),
    ("wire.response", "corrupt"): ("HsmUnavailable", "info", ONE),
    ("client.receive", "fail CKR_DEVICE_ERROR"): ("HsmUnavailable", "info", ONE),
    ("client.receive", "delay 1s"): ("later", "ok", ALL),
    ("client.receive", "crash"): ("ApplicationDied", "info", ONE),
    ("client.clone", "fail CKR_DEVICE_ERROR"): ("at once", "ok", ["hsm-1", "hsm-3"]),
    ("client.clone", "delay 1s"): ("later", "ok", ALL),
    ("client.clone", "drop"): ("at once", "ok", ["hsm-1", "hsm-3"]),
    ("client.clone", "crash"): ("ApplicationDied", "info", ONE),
    ("client.clone", "destroy"): ("at once", "ok", ["hsm-1", "hsm-3"]),  # the destination
    ("client.clone", "pause"): ("later", "ok", ALL),  # the copy comes when it goes on
    ("client.clone", "fill-disk"): ("at once", "ok", ["hsm-1", "hsm-3"]),
    ("client.cleanup", "fail CKR_DEVICE_ERROR"): ("TooFewCopies", "info", ONE),
    ("client.cleanup", "delay 1s"): ("TooFewCopies", "fail", NONE),
    ("client.cleanup", "drop"): ("TooFewCopies", "info", ONE),
    ("client.cleanup", "crash"): ("ApplicationDied", "info", ONE),
    ("client.report", "delay 1s"): ("later", "ok", ALL),
    ("client.report", "crash"): ("ApplicationDied", "info", ALL),
    ("client.report", "destroy"): ("at once", "ok", ["hsm-2", "hsm-3"]),
    ("client.report", "pause"): ("at once", "ok", ALL),
    ("client.report", "fill-disk"): ("at once", "ok", ALL),
}
SWEEP = {
    ("sync.sweep", "delay 1s"): ALL,
    ("sync.sweep", "drop"): ONE,
    ("sync.sweep", "fail CKR_DEVICE_ERROR"): ONE,
    ("sync.clone", "delay 1s"): ALL,
    ("sync.clone", "drop"): ["hsm-1", "hsm-3"],
    ("sync.clone", "fail CKR_DEVICE_ERROR"): ["hsm-1", "hsm-3"],
}
# (point, effect) → how the HSM is at once, and half a minute later.
POWER = {
    ("hsm.start", "fail CKR_DEVICE_ERROR"): (HsmState.DOWN, HsmState.DOWN),
    ("hsm.start", "delay 20s"): (HsmState.DOWN, HsmState.UP),
    ("hsm.stop", "fail CKR_DEVICE_ERROR"): (HsmState.UP, HsmState.UP),
    ("hsm.stop", "delay 20s"): (HsmState.UP, HsmState.DOWN),
    ("hsm.restore", "fail CKR_DEVICE_ERROR"): (HsmState.JOINING, HsmState.LOST),
    ("hsm.restore", "delay 20s"): (HsmState.JOINING, HsmState.UP),
}


def names(cases):
    return [f"{effect} @ {point}" for point, effect in cases]


def test_no_combination_is_forgotten():
    """The tables above are all that the catalogue of points allows, and nothing else."""
    tried = {(point, effect.split()[0]) for point, effect in (*CREATE, *SWEEP, *POWER)}
    allowed = {(point.value, effect) for point in Point for effect in point.effects if effect != "pass"}
    assert tried == allowed


@pytest.mark.parametrize(("case", "expected"), CREATE.items(), ids=names(CREATE))
def test_a_create_is_struck(make, holders, case, expected):
    """Told and true: what the application gets, its outcome, and who really holds the key when all is over."""
    (point, effect), (told, outcome, held) = case, expected
    cluster = make(sdk=3, create_object_minimum_nodes=2, sweep=False)
    app = cluster.client("app")
    cluster.clock.run_until_idle()
    if point == "client.cleanup":
        cluster.chaos.fail_clone()
    command = "command=generate_key " if point.split(".")[0] in ("wire", "hsm") or point in STEPS else ""
    begun, error = cluster.clock.now, None
    with cluster.chaos.inject(f"{effect} @ {point} {command}nth=1") as fault:
        try:
            app.generate_key("AES", 256, label="kek")
        except Exception as raised:
            error = raised
        took = cluster.clock.now - begun
    cluster.clock.run_until_idle()

    assert fault.hits == 1
    assert type(error).__name__ == told if error else told in ("later", "at once")
    assert getattr(error, "outcome", "ok") == outcome
    assert cluster.history.last.kind is Kind(outcome)
    assert (took > 1) == (told in ("later", "RequestTimeout") or effect.startswith("delay"))
    assert holders(cluster, "kek") == held
    assert [event.point for event in cluster.history.of(Kind.INJECT)].count(point) == 1
    cluster.check.no_lost_keys()


STEPS = ("client.route", "client.send", "client.receive")


@pytest.mark.parametrize(("case", "held"), SWEEP.items(), ids=names(SWEEP))
def test_the_sweep_is_struck(make, holders, case, held):
    """Delayed it comes later; dropped or failed, the round or the copy is not made, and the next round makes it."""
    point, effect = case
    cluster = make(sdk=3)
    with cluster.chaos.fail_clone():
        cluster.client().generate_key("AES", 256, label="kek")
    where = " hsm=hsm-2" if point == "sync.clone" else ""
    begun = cluster.clock.now
    with cluster.chaos.inject(f"{effect} @ {point}{where} nth=1") as fault:
        copied = cluster.sweep_now()
    assert (fault.hits, holders(cluster, "kek"), copied) == (1, held, len(held) - 1)
    assert (cluster.clock.now - begun >= 1) == effect.startswith("delay")
    cluster.sweep_now()
    assert holders(cluster, "kek") == ALL


@pytest.mark.parametrize(("case", "states"), POWER.items(), ids=names(POWER))
def test_power_and_restore_are_struck(make, case, states):
    """Prevented, or half a minute late."""
    point, effect = case
    cluster = make(sdk=3, sweep=False)
    hsm = cluster.hsm("hsm-2")
    if point == "hsm.start":
        cluster.chaos.crash("hsm-2")
    if point == "hsm.restore":
        hsm = cluster.add_hsm("a")
        cluster.clock.advance(312)
    with cluster.chaos.inject(f"{effect} @ {point}") as fault:
        if point == "hsm.start":
            cluster.chaos.restart("hsm-2")
        elif point == "hsm.stop":
            cluster.chaos.crash("hsm-2")
        seen = [hsm.state]
        cluster.clock.advance(30)
        seen.append(hsm.state)
    assert (fault.hits, tuple(seen)) == (1, states)


@pytest.mark.parametrize("point", [point.value for point in Point])
def test_pass_is_only_counted(make, holders, point):
    """At every point: the story goes as it would have gone, and nothing is written of it."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    seen = cluster.chaos.inject(f"pass @ {point}")
    app = cluster.client()
    app.generate_key("AES", 256, label="kek")
    with cluster.chaos.fail_clone():
        with pytest.raises(TooFewCopies):
            app.generate_key("AES", 256, label="refused")
    with cluster.chaos.crash("hsm-2"):
        cluster.client("other").delete_key(app.find_keys(label="kek")[0])
    cluster.sweep_now()
    cluster.add_hsm("b")
    cluster.clock.advance(400)

    assert seen.hits > 0
    assert all(event.spec != str(seen) for event in cluster.history.of(Kind.INJECT))


# -- what a message suffers, in detail ------------------------------------------------------------


@pytest.mark.parametrize("point", ["wire.request", "wire.response"])
def test_a_corrupt_masked_object_is_refused(make, holders, point):
    """One bit flips; the HSM checks what it opens. From the maker, all copies are bad; to a destination, one is."""
    cluster = make(sdk=3)
    with cluster.chaos.inject(f"corrupt payload @ {point} nth=1") as fault:
        cluster.client().generate_key("AES", 256, label="kek")

    assert fault.hits == 1
    assert holders(cluster, "kek") == (["hsm-1", "hsm-3"] if point == "wire.request" else ["hsm-1"])


def test_a_request_that_is_released_after_the_time_out_is_executed(make, holders):
    """The late commit: nobody waits for it, and it is done."""
    cluster = make(sdk=3, sweep=False)
    app = cluster.client()
    with cluster.chaos.inject("hold @ wire.request command=generate_key") as held:
        with pytest.raises(Exception, match="not answered in time"):
            app.generate_key("AES", 256, label="kek")
        cluster.clock.advance(100)
        assert holders(cluster, "kek") == []
        held.release()
        cluster.clock.advance(1)
        assert holders(cluster, "kek") == ["hsm-1"]
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["kek"]


def test_a_request_that_is_released_in_time_is_answered(make):
    """Somebody else lets it go before the client gives up."""
    cluster = make(sdk=3)
    app = cluster.client()
    held = cluster.chaos.inject("hold @ hsm.execute command=random")
    world = cluster.service.world
    world.scheduler.at(world.scheduler.now_ns + 5_000_000_000, held.release)
    begun = cluster.clock.now
    assert len(app.random(4)) == 4
    assert 5 < cluster.clock.now - begun < 5.1


def test_an_answer_that_is_released_late_is_discarded(make):
    """The client has turned away; its next call is not disturbed."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("hold @ wire.response command=random nth=1") as held:
        with pytest.raises(Exception, match="not answered in time"):
            app.random(4)
        held.release()
        cluster.clock.advance(5)
        assert len(app.random(8)) == 8


def test_a_crash_takes_what_is_held_with_it(make, holders):
    """The queue of an HSM and the messages to it are gone; whoever waits is cut off at once."""
    cluster = make(sdk=3, sweep=False)
    app = cluster.client()
    with cluster.chaos.inject("hold @ wire.request command=generate_key") as held:
        world = cluster.service.world
        world.scheduler.at(world.scheduler.now_ns + 2_000_000_000, lambda: cluster.service.crash("hsm-1"))
        begun = cluster.clock.now
        with pytest.raises(Exception, match="Communication with the device was lost"):
            app.generate_key("AES", 256, label="kek")
        assert cluster.clock.now - begun == pytest.approx(2)
        cluster.chaos.restart("hsm-1")
        held.release()
        cluster.clock.advance(10)
    assert holders(cluster, "kek") == []


def test_a_delay_beyond_the_time_out_is_silence_first_and_work_later(make, holders):
    """Longer than the client waits: `info`, then the commit."""
    cluster = make(sdk=3, sweep=False)
    app = cluster.client()
    with cluster.chaos.inject("delay 30s @ wire.request command=generate_key"):
        with pytest.raises(Exception, match="not answered in time"):
            app.generate_key("AES", 256, label="kek")
        assert holders(cluster, "kek") == []
        cluster.clock.advance(15)
    assert holders(cluster, "kek") == ["hsm-1"]


# -- which HSM --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "down"),
    [
        ("crash here @ client.clone nth=2", "hsm-3"),
        ("crash source @ client.clone nth=2", "hsm-1"),
        ("crash hsm-2 @ client.clone nth=2", "hsm-2"),
        ("crash @ hsm.commit command=insert_masked nth=2", "hsm-3"),
        ("crash source @ hsm.commit command=insert_masked nth=2", "hsm-1"),
        ("crash here @ client.receive command=extract_masked", "hsm-1"),
        ("crash hsm-3 @ client.route", "hsm-3"),
        ("crash here @ client.report", "hsm-1"),
    ],
)
def test_which_hsm_a_crash_means(make, spec, down):
    """Named, the one that the passage is about, or the one that made the key."""
    cluster = make(sdk=3, sweep=False)
    app = cluster.client()
    with cluster.chaos.inject(spec) as fault:
        app.generate_key("AES", 256, label="kek")

    assert fault.hits == 1
    assert [hsm.id for hsm in cluster.hsms if hsm.state is HsmState.DOWN] == [down]
    assert app.alive


@pytest.mark.parametrize("target", ["here", "hsm-1"])
def test_an_hsm_can_go_while_a_client_is_about_to_send(make, target):
    """The request then meets a closed door: refused, certainly not done."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject(f"crash {target} @ client.send command=random"):
        with pytest.raises(Exception, match="hsm-1 refused random") as caught:
            app.random(4)
    assert caught.value.outcome == "fail"


def test_an_hsm_can_go_when_the_client_has_its_answer(make):
    """The answer counts all the same."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("crash here @ client.receive command=random"):
        assert len(app.random(4)) == 4
    assert cluster.hsm("hsm-1").state is HsmState.DOWN


def test_a_crash_that_is_prevented_strikes_nobody(make):
    """`hsm.stop` fails: the call goes on as if nothing had been."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("fail 0x1 @ hsm.stop"), cluster.chaos.inject("crash @ hsm.execute command=random"):
        assert len(app.random(4)) == 4
    assert cluster.hsm("hsm-1").state is HsmState.UP


def test_a_crash_that_comes_late_cuts_off_the_call_that_caused_it(make):
    """`hsm.stop` is delayed for less than the call takes."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("delay 500us @ hsm.stop"), cluster.chaos.inject("crash @ hsm.authorize command=random"):
        with pytest.raises(Exception, match="Communication with the device was lost"):
            app.random(4)
    assert cluster.hsm("hsm-1").state is HsmState.DOWN


def test_a_silent_crash_costs_the_caller_its_time_out(make):
    """`crash_peer="silence"`."""
    cluster = make(sdk=3, crash_peer="silence")
    app = cluster.client()
    begun = cluster.clock.now
    with cluster.chaos.inject("crash @ hsm.execute command=random"), pytest.raises(Exception, match="in time"):
        app.random(4)
    assert cluster.clock.now - begun == pytest.approx(20)
