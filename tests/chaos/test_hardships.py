"""Each hardship does what its row of the table says, and is taken back at the end of its block."""

import pytest

from pytest_hsmcluster import (
    CKA,
    Crash,
    Fault,
    HsmBusy,
    HsmCluster,
    HsmState,
    HsmUnavailable,
    KeyCapacityReached,
    KeyNotOnHsm,
    Kind,
    LoginFailed,
    Point,
    RequestTimeout,
    TooFewCopies,
    UsageError,
    When,
)

UP, DOWN = HsmState.UP, HsmState.DOWN


def states(cluster):
    return [str(hsm.state) for hsm in cluster.hsms]


@pytest.fixture
def cluster(make):
    return make(sdk=3, sweep=False)


@pytest.fixture
def app(cluster):
    return cluster.client("app")


# -- power -------------------------------------------------------------------------------------


def test_crash_and_restart(cluster, app):
    """Off and on: token keys survive; session keys, sessions and logins do not."""
    app.generate_key("AES", 256, label="kek")
    app.generate_key("AES", 256, label="dek", token=False)
    hsm = cluster.hsm("hsm-2")
    cluster.chaos.crash("hsm-2")
    assert (hsm.state, hsm.session_count) == (DOWN, 0)
    cluster.chaos.restart("hsm-2")
    assert (hsm.state, hsm.session_count, hsm.boots) == (UP, 0, 1)
    assert [key.label for key in hsm.keys.values()] == ["kek"]
    assert cluster.chaos.hardships == []


def test_a_crash_is_over_at_the_end_of_its_block(cluster):
    """After an exception as well; `hits` of what happens at once is 1."""
    with pytest.raises(ZeroDivisionError), cluster.chaos.crash("hsm-2") as hardship:
        assert states(cluster) == ["up", "down", "up"]
        assert (hardship.hits, hardship.active) == (1, True)
        raise ZeroDivisionError
    assert states(cluster) == ["up", "up", "up"]
    assert not hardship.active
    hardship.end()


def test_nested_crashes_end_with_the_outer_one(cluster):
    """An HSM is up again when nothing holds it down any more."""
    with cluster.chaos.crash("hsm-2"):
        with cluster.chaos.crash("hsm-2"):
            pass
        assert cluster.hsm("hsm-2").state is DOWN
    assert cluster.hsm("hsm-2").state is UP


def test_an_hsm_that_a_fault_switched_off_is_restarted_by_hand(cluster, app):
    """`restart` is for any HSM that is off."""
    with cluster.chaos.inject("crash @ hsm.execute command=random"), pytest.raises(HsmUnavailable):
        app.random(4)
    assert cluster.hsm("hsm-1").state is DOWN
    cluster.chaos.restart("hsm-1")
    assert cluster.hsm("hsm-1").state is UP


def test_a_lost_hsm_suffers_nothing_more(cluster):
    """Lost for good: it can only be replaced."""
    cluster.chaos.destroy("hsm-2")
    with pytest.raises(UsageError, match=r"replace\('hsm-2'\) lets a new one join"):
        cluster.chaos.restart("hsm-2")
    for verb in ("crash", "destroy", "throttle", "fill", "flap", "route_to"):
        with pytest.raises(UsageError, match="hsm-2 is lost for good"):
            getattr(cluster.chaos, verb)("hsm-2")
    with pytest.raises(UsageError):
        cluster.chaos.pause("hsm-2")


@pytest.mark.parametrize(
    "verb", ["crash", "restart", "destroy", "pause", "resume", "throttle", "relieve", "fill", "flap"]
)
def test_an_hsm_that_is_not_there_is_refused(cluster, verb):
    """With the ids that there are."""
    with pytest.raises(UsageError, match="no HSM 'hsm-9'; it has hsm-1, hsm-2, hsm-3"):
        getattr(cluster.chaos, verb)("hsm-9")
    assert cluster.chaos.hardships == []


# -- losing the maker of a key -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_copies", "fault", "held"),
    [
        (1, "destroy source @ client.clone nth=1 per=op", []),
        (2, "destroy source @ client.clone nth=2 per=op", ["hsm-2", "hsm-3"]),
        (3, "destroy source @ client.report", ["hsm-2", "hsm-3"]),
    ],
)
def test_kill_mid_create_is_a_fault_with_a_name(make, holders, after_copies, fault, held):
    """Equivalent to its fault, to the journal's last event but for the way it is written."""
    cluster = make(sdk=3, sweep=False)
    hardship = cluster.chaos.kill_mid_create(after_copies)
    assert [str(injection) for injection in hardship.injections] == [fault]
    cluster.client().generate_key("AES", 256, label="kek")
    assert (hardship.hits, holders(cluster, "kek")) == (1, held)

    twin = make(sdk=3, sweep=False)
    twin.chaos.inject(fault)
    twin.client().generate_key("AES", 256, label="kek")
    assert twin.history.digest() == cluster.history.digest()


def test_kill_mid_create_strikes_each_create(make):
    """`per=op`: as long as it is in force, each create loses its maker."""
    cluster = make(4, sdk=3, sweep=False)
    app = cluster.client()
    with cluster.chaos.kill_mid_create(2) as hardship:
        app.generate_key("AES", 256)
        app.generate_key_pair("EC", "P-256")
    assert (hardship.hits, len(cluster.hsms)) == (2, 2)


@pytest.mark.parametrize("wrong", [0, 4, True, 1.0, "1"])
def test_after_how_many_copies_is_a_number_of_hsms(cluster, wrong):
    """From 1 to all."""
    with pytest.raises(UsageError, match="after_copies is a number of HSMs, 1 to 3"):
        cluster.chaos.kill_mid_create(wrong)


# -- replacing ---------------------------------------------------------------------------------


def test_a_replaced_hsm_has_a_new_id_and_address_and_starts_from_a_live_one(cluster, app):
    """Lost for good at once; the new one joins from a snapshot that is taken meanwhile."""
    kek = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.replace("hsm-2") as hardship:
        new = hardship.replacement
        assert [hsm.id for hsm in cluster.hsms] == ["hsm-1", "hsm-3", "hsm-4"]
        assert (new.id, new.state, new.zone) == ("hsm-4", HsmState.JOINING, "b")
        assert new.ip != cluster.hsm("hsm-2").ip
        cluster.clock.advance(320)
    assert new.state is UP
    assert kek.number in new.keys
    assert cluster.hsm("hsm-2").state is HsmState.LOST, "the end of the block brings nothing back"


def test_a_key_that_was_made_after_the_snapshot_is_missing_until_the_sweep(make):
    """Joining is no replay: what came later is brought by the service."""
    cluster = make(2, sdk=3, sweep=False)
    app = cluster.client()
    new = cluster.chaos.replace("hsm-2").replacement
    cluster.clock.advance(60)
    key = app.generate_key("AES", 256, label="late")
    cluster.clock.advance(260)
    assert key.number not in new.keys
    cluster.sweep_now()
    assert key.number in new.keys


def test_a_replacement_can_start_from_a_named_backup(cluster, app):
    """An old one: keys that were made since are missing, keys that were deleted since are back."""
    old = app.generate_key("AES", 256, label="old")
    backup = cluster.backup()
    app.delete_key(old)
    for how in (backup, backup.id):
        new = cluster.chaos.replace(cluster.hsms[0].id, backup=how).replacement
        cluster.clock.advance(320)
        assert [key.label for key in new.keys.values()] == ["old"]
    with pytest.raises(UsageError, match="there is no backup 'backup-99'; there are backup-1"):
        cluster.chaos.replace("hsm-3", backup="backup-99")
    assert cluster.hsm("hsm-3").state is UP


def test_without_a_live_hsm_the_newest_backup_serves(make):
    """All gone: the daily backup is what is left."""
    cluster = make(1, sdk=3)
    app = cluster.client()
    app.generate_key("AES", 256, label="kek")
    cluster.clock.advance(24 * 3600)
    app.generate_key("AES", 256, label="since")
    new = cluster.chaos.replace("hsm-1").replacement
    cluster.clock.advance(320)
    assert [key.label for key in new.keys.values()] == ["kek"]
    assert [finding.label for finding in cluster.check.lost_keys()] == ["since"]


# -- the sweep ---------------------------------------------------------------------------------


def test_the_sweep_can_be_late(make, holders):
    """Each round comes so much later; a test that ends before a round came is fine."""
    cluster = make(sdk=3, sweep_period_s=60)
    with cluster.chaos.fail_clone():
        cluster.client().generate_key("AES", 256, label="kek")
    with cluster.chaos.delay_sync(30) as hardship:
        cluster.clock.advance(80)
        assert holders(cluster, "kek") == ["hsm-1"]
        cluster.clock.advance(20)
        assert len(holders(cluster, "kek")) == 3
    assert [str(injection) for injection in hardship.injections] == ["delay 30s @ sync.sweep"]
    assert make(sdk=3).chaos.delay_sync().active
    assert cluster.chaos.unfired == []


def test_the_sweep_can_stand_still(make, holders):
    """No round of its own; one by hand is made; stalls add up and end with their blocks, or all at once."""
    cluster = make(sdk=3, sweep_period_s=10)
    with cluster.chaos.fail_clone():
        cluster.client().generate_key("AES", 256, label="kek")
    with cluster.chaos.stall_sync():
        with cluster.chaos.stall_sync():
            cluster.clock.advance(60)
        cluster.clock.advance(60)
        assert holders(cluster, "kek") == ["hsm-1"]
    cluster.clock.advance(10)
    assert len(holders(cluster, "kek")) == 3
    cluster.chaos.stall_sync()
    cluster.chaos.stall_sync()
    cluster.chaos.resume_sync()
    assert cluster.chaos.hardships == []


# -- creating badly ----------------------------------------------------------------------------


@pytest.mark.parametrize(("hsm", "held"), [(None, ["hsm-1"]), ("hsm-3", ["hsm-1", "hsm-2"])])
def test_copies_can_be_refused(cluster, app, holders, hsm, held):
    """There or anywhere; the service's sweep is another thing."""
    with cluster.chaos.fail_clone(hsm):
        app.generate_key("AES", 256, label="kek")
        assert holders(cluster, "kek") == held
        cluster.sweep_now()
        assert len(holders(cluster, "kek")) == 3


def test_the_cleanup_can_fail(make, holders):
    """On one HSM or on all: leftovers stay."""
    cluster = make(sdk=3, create_object_minimum_nodes=2, sweep=False)
    app = cluster.client()
    with cluster.chaos.fail_clone():
        with cluster.chaos.fail_cleanup("hsm-1"), pytest.raises(TooFewCopies) as caught:
            app.generate_key("AES", 256, label="kek")
        with cluster.chaos.fail_cleanup(), pytest.raises(TooFewCopies):
            app.generate_key("AES", 256, label="kek")
        with pytest.raises(TooFewCopies):
            app.generate_key("AES", 256, label="kek")
    assert caught.value.leftovers == ("hsm-1",)
    assert holders(cluster, "kek") == ["hsm-1", "hsm-2"]


@pytest.mark.parametrize("op", ["generate_key", "sign", "delete_key"])
def test_the_first_answer_can_be_lost(cluster, app, op):
    """Equivalent to a dropped response: the work was done, and nobody is told."""
    key = app.generate_key("AES", 256, label="kek")
    calls = {
        "generate_key": lambda: app.generate_key("AES", 256),
        "sign": lambda: app.sign(key, b"data"),
        "delete_key": lambda: app.delete_key(key),
    }
    hardship = cluster.chaos.lose_response(op)
    assert [str(one) for one in hardship.injections] == [f"drop @ wire.response op={op} command={op} nth=1"]
    with pytest.raises(RequestTimeout) as caught:
        calls[op]()

    assert (caught.value.outcome, cluster.history.last.kind, hardship.hits) == ("info", Kind.INFO, 1)
    held = [len(hsm.keys) for hsm in cluster.hsms]
    assert held == {"generate_key": [1, 2, 1], "sign": [1, 1, 1], "delete_key": [0, 0, 0]}[op]


def test_a_login_whose_answer_is_lost_goes_on_with_the_next_hsm(cluster):
    """The silent one is left out until it is reached again."""
    cluster.chaos.lose_response("login")
    assert cluster.client().user == "crypto_user"


@pytest.mark.parametrize("op", ["digest", "check_key", "sing", None])
def test_only_answers_of_an_hsm_can_be_lost(cluster, op):
    """An operation that is no command, a command that is no operation, a slip."""
    with pytest.raises(UsageError, match=r"lose_response\(\) takes an operation that one HSM answers"):
        cluster.chaos.lose_response(op)


# -- the network -------------------------------------------------------------------------------


def test_a_partition_cuts_both_ways(cluster, app):
    """Nothing arrives: the request is not even executed."""
    with cluster.chaos.partition("app", "hsm-1"), pytest.raises(RequestTimeout):
        app.random(4)
    assert "random" not in {event.command for event in cluster.history.of(Kind.REACH) if event.point == "hsm.execute"}


@pytest.mark.parametrize(("a", "b", "done"), [("app", "hsm-1", False), ("hsm-1", "app", True)])
def test_a_partition_can_cut_one_way(cluster, app, a, b, done):
    """From a to b: requests, or answers."""
    with cluster.chaos.partition(a, b, direction="one-way"), pytest.raises(RequestTimeout):
        app.random(4)
    executed = [event for event in cluster.history.of(Kind.REACH) if event.point == "hsm.execute"]
    assert any(event.command == "random" for event in executed) is done


def test_a_partition_between_hsms_keeps_the_sweep_from_copying(cluster, app, holders):
    """The service cannot copy over a link that is cut; it takes another holder."""
    with cluster.chaos.fail_clone():
        app.generate_key("AES", 256, label="kek")
    with cluster.chaos.partition("hsm-1", "hsm-2"), cluster.chaos.partition("hsm-1", "hsm-3"):
        assert cluster.sweep_now() == 0
    with cluster.chaos.partition("hsm-1", "hsm-2"):
        cluster.sweep_now()
        cluster.sweep_now()
    assert len(holders(cluster, "kek")) == 3


def test_partitions_add_up_and_are_healed_together(cluster, app):
    """Two cuts of one link need both ends; `heal` ends all."""
    first = cluster.chaos.partition("app", "hsm-1")
    cluster.chaos.partition("app", "hsm-1")
    first.end()
    assert not cluster.network.reachable("app", "hsm-1")
    cluster.chaos.heal()
    assert cluster.network.reachable("app", "hsm-1")
    assert cluster.chaos.hardships == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("app", "hsm-1", "up"), "direction is 'both' or 'one-way'"),
        (("app", "hsm-9"), "no HSM 'hsm-9'"),
        (("app", "other"), "between a client and an HSM"),
        (("hsm-1", "hsm-1"), "between a client and an HSM"),
    ],
)
def test_a_partition_that_could_cut_nothing_is_refused(cluster, arguments, words):
    """Two clients do not talk to each other; a direction is one of two."""
    with pytest.raises(UsageError, match=words):
        cluster.chaos.partition(*arguments)
    assert cluster.chaos.hardships == []


# -- ailing HSMs -------------------------------------------------------------------------------


def test_a_paused_hsm_is_up_and_silent(cluster, app):
    """It keeps what it has; a request that waits there is served when it goes on."""
    with cluster.chaos.pause("hsm-1"):
        assert states(cluster) == ["paused", "up", "up"]
        with pytest.raises(RequestTimeout):
            app.generate_key("AES", 256, label="late")
    cluster.clock.advance(1)
    assert [key.label for key in cluster.hsm("hsm-1").keys.values()] == ["late"]
    cluster.chaos.pause("hsm-2")
    with pytest.raises(UsageError, match="only an HSM that is up can be paused"):
        cluster.chaos.pause("hsm-2")
    cluster.chaos.resume("hsm-2")
    assert states(cluster) == ["up", "up", "up"]


def test_a_throttled_hsm_is_busy_until_the_last_hardship_ends(cluster, app):
    """0xBB for whatever is asked there; across a restart, too."""
    with cluster.chaos.throttle("hsm-1"):
        with cluster.chaos.throttle("hsm-1"):
            pass
        with cluster.chaos.route_to("hsm-1"), pytest.raises(HsmBusy):
            app.random(4)
        with cluster.chaos.crash("hsm-1"):
            pass
        with cluster.chaos.route_to("hsm-1"), pytest.raises(HsmBusy):
            app.random(4)
    cluster.chaos.throttle("hsm-1")
    cluster.chaos.relieve("hsm-1")
    cluster.clock.advance(3)
    with cluster.chaos.route_to("hsm-1"):
        app.random(4)


def test_a_full_disk_takes_no_token_key(cluster, app, holders):
    """Neither a new one nor a copy, also when another has been deleted; all that takes no room on it goes on."""
    key, old = (app.generate_key("AES", 256, label=label) for label in ("before", "old"))
    with cluster.chaos.fill_disk("hsm-1"):
        with cluster.chaos.fill_disk("hsm-1"):
            pass
        app.delete_key(old)
        with cluster.chaos.route_to("hsm-1"), pytest.raises(KeyCapacityReached, match="the disk of hsm-1 is full"):
            app.generate_key("AES", 256)
        with cluster.chaos.route_to("hsm-1"), pytest.raises(KeyCapacityReached, match="the disk of hsm-1 is full"):
            app.generate_key_pair("EC", "secp256r1")
        app.generate_key("AES", 256, label="elsewhere")
        cluster.sweep_now()
        assert holders(cluster, "elsewhere") == ["hsm-2", "hsm-3"]
        with cluster.chaos.route_to("hsm-1"):
            session_key = app.generate_key("AES", 256, token=False)
        with pytest.raises(KeyCapacityReached, match="the disk of hsm-1 is full"):
            app.set_attribute(session_key, CKA.TOKEN, True)
        app.set_attribute(key, CKA.LABEL, "renamed")
        cluster.chaos.crash("hsm-1").end()
        cluster.sweep_now()
        assert holders(cluster, "elsewhere") == ["hsm-2", "hsm-3"]
    cluster.sweep_now()
    assert len(holders(cluster, "elsewhere")) == len(holders(cluster, "renamed")) == 3


def test_a_disk_is_cleared_and_an_hsm_resumed_whoever_did_it(cluster, app, holders):
    """A fault, or a hardship; the end of the fault's block does it as well, and leaves alone who was paused since."""
    cluster.chaos.inject("fill-disk hsm-1 @ hsm.receive command=random nth=1")
    cluster.chaos.inject("pause hsm-2 @ hsm.authorize command=random nth=1")
    silent = cluster.chaos.inject("pause hsm-3 @ hsm.execute command=random nth=1")
    with cluster.chaos.route_to("hsm-1"):
        app.random(4)
    assert cluster.hsm("hsm-2").paused and cluster.hsm("hsm-3").paused
    cluster.chaos.resume("hsm-2")
    cluster.chaos.resume("hsm-3")
    cluster.chaos.pause("hsm-3")
    silent.remove()
    assert cluster.hsm("hsm-3").paused
    cluster.chaos.clear_disk("hsm-1")
    cluster.chaos.resume("hsm-3")
    app.generate_key("AES", 256, label="anywhere")
    assert len(holders(cluster, "anywhere")) == 3


def test_an_hsm_that_has_not_joined_has_no_disk_to_fill(cluster):
    """It is refused; a fault that means it does nothing."""
    with pytest.raises(UsageError, match="hsm-4 has not joined yet"):
        cluster.chaos.fill_disk(cluster.add_hsm("a").id)


def test_a_full_hsm_takes_no_key_and_makes_none(cluster, app, holders):
    """Its capacity is lowered to what it holds: keys are neither made there nor copied nor swept to it."""
    app.generate_key("AES", 256, label="before")
    with cluster.chaos.fill("hsm-1"):
        with cluster.chaos.fill("hsm-1"):
            pass
        assert len(cluster.hsm("hsm-1").keys) == 1
        app.generate_key("AES", 256, label="elsewhere")
        cluster.sweep_now()
        assert holders(cluster, "elsewhere") == ["hsm-2", "hsm-3"]
        with cluster.chaos.route_to("hsm-1"), pytest.raises(KeyCapacityReached):
            app.generate_key("AES", 256)
    cluster.sweep_now()
    assert len(holders(cluster, "elsewhere")) == 3


def test_a_zone_goes_and_comes(make):
    """All its HSMs, and only those that were up come back."""
    cluster = make(5, sdk=3, zones=("a", "b"))
    cluster.chaos.crash("hsm-1")
    with cluster.chaos.lose_zone("a"):
        assert states(cluster) == ["down", "up", "down", "up", "down"]
    assert states(cluster) == ["down", "up", "up", "up", "up"]
    cluster.chaos.restart("hsm-1")
    cluster.chaos.lose_zone("b")
    cluster.chaos.restore_zone("b")
    assert states(cluster) == ["up"] * 5
    cluster.chaos.crash("hsm-2")
    cluster.chaos.restore_zone("b")
    assert states(cluster) == ["up"] * 5, "whatever switched it off"
    with pytest.raises(UsageError, match="no HSM is in zone 'c'; there are a, b"):
        cluster.chaos.lose_zone("c")


def test_hsms_restart_one_after_the_other(cluster):
    """Each is off for a while, then there is a gap; never two at once; those that are off already are left alone."""
    seen = []
    with cluster.chaos.rolling_restart(down_s=10, gap_s=5):
        for _ in range(10):
            cluster.clock.advance(5)
            seen.append(states(cluster).index("down") if "down" in states(cluster) else None)
    assert seen == [0, None, 1, 1, None, 2, 2, None, None, None]
    assert [hsm.boots for hsm in cluster.hsms] == [1, 1, 1]

    cluster.chaos.crash("hsm-2")
    with cluster.chaos.rolling_restart(down_s=10, gap_s=5):
        cluster.clock.advance(2)
        assert states(cluster) == ["down", "down", "up"]
        cluster.clock.advance(14)
        assert states(cluster) == ["up", "down", "down"]
    assert states(cluster) == ["up", "down", "up"], "what was off because of it is on again, the rest not"


def test_an_hsm_flaps(cluster):
    """Off and on again and again until the block ends; nothing waits for it."""
    with cluster.chaos.flap("hsm-2", up_s=10, down_s=20):
        cluster.clock.advance(1)
        seen = []
        for _ in range(6):
            seen.append(str(cluster.hsm("hsm-2").state))
            cluster.clock.advance(10)
        assert seen == ["down", "down", "up", "down", "down", "up"]
        cluster.clock.run_until_idle()
    assert cluster.hsm("hsm-2").state is UP
    cluster.clock.advance(100)
    assert cluster.hsm("hsm-2").state is UP


@pytest.mark.parametrize("verb", ["rolling_restart", "delay_sync"])
def test_durations_are_seconds(cluster, verb):
    """Not negative, finite."""
    for wrong in (-1, float("nan"), "5s", None):
        with pytest.raises(UsageError, match="number of seconds"):
            getattr(cluster.chaos, verb)(wrong)


# -- accounts ----------------------------------------------------------------------------------


def test_a_user_vanishes_from_one_hsm_and_is_back_at_the_end(cluster):
    """Accounts drift apart; nothing reconciles them, and the journal knows."""
    with cluster.chaos.drop_user("hsm-1", "crypto_user"):
        assert cluster.coverage("crypto_user") == "inconsistent"
        with pytest.raises(LoginFailed):
            cluster.client("app")
        cluster.client("app2")
    assert cluster.coverage("crypto_user") == "full"
    cluster.client("app3").logout()
    told = [(event.hsm, event.user, event.action) for event in cluster.history.of(Kind.USER)]
    assert told[-2:] == [("hsm-1", "crypto_user", "deleted"), ("hsm-1", "crypto_user", "created")]


def test_only_a_user_who_is_there_can_vanish(cluster):
    """With the names that there are."""
    with pytest.raises(UsageError, match="hsm-1 has no user 'alice'; it has admin, app_user, crypto_user"):
        cluster.chaos.drop_user("hsm-1", "alice")


# -- all together ------------------------------------------------------------------------------


def test_partition_of_nobody_has_not_struck(cluster, app):
    """An application of another name is nobody's trouble; it may come yet."""
    chaos = cluster.chaos
    chaos.partition("app", "hsm-1")
    chaos.partition("hsm-1", "hsm-2")
    later = chaos.partition("later", "hsm-1")
    assert chaos.unfired == [later]
    assert chaos.hits == 2
    cluster.client("later", login=False)
    assert chaos.unfired == []


def test_flapping_takes_some_time(cluster):
    """Else nothing else would ever happen."""
    with pytest.raises(UsageError, match="up_s and down_s are not both 0"):
        cluster.chaos.flap("hsm-1", 0, 0)


def test_an_hsm_is_named_by_its_id(cluster):
    hsm = cluster.hsm("hsm-1")
    with pytest.raises(UsageError, match=r"by its id, such as 'hsm-1'; got \['hsm-1'\]$"):
        cluster.chaos.crash(["hsm-1"])
    with pytest.raises(UsageError, match="by its id.*: 'hsm-1' is the id of this one"):
        cluster.chaos.crash(hsm)


@pytest.mark.parametrize("end", ["undo_all", "close"])
def test_what_cannot_be_undone_keeps_nothing_else_from_it(cluster, end):
    """Nor the cluster from its end."""

    def fail():
        raise OSError("the server is gone")

    cluster.chaos.crash("hsm-1")
    cluster.chaos.inject("drop @ wire.request", may_miss=True)
    cluster.chaos.began("somebody's", {}, fail)
    with pytest.raises(OSError, match="the server is gone"):
        {"undo_all": cluster.chaos.undo_all, "close": cluster.close}[end]()
    assert (cluster.chaos.hardships, cluster.service.world.faults.installed) == ([], [])
    assert states(cluster) == ["up", "up", "up"]
    assert (cluster.history[-1].kind == "audit") == (end == "close")


def test_undo_all_takes_everything_back(cluster, app):
    """The newest first; after it the cluster is as healthy as it can be, and nothing is installed."""
    chaos = cluster.chaos
    chaos.crash("hsm-1")
    chaos.pause("hsm-2")
    chaos.throttle("hsm-3")
    chaos.fill("hsm-3")
    chaos.partition("app", "hsm-3")
    chaos.stall_sync()
    chaos.delay_sync()
    chaos.fail_clone()
    chaos.route_to("hsm-3", next=9)
    chaos.drop_user("hsm-3", "crypto_user")
    chaos.flap("hsm-1")
    chaos.rolling_restart()
    chaos.inject("drop @ wire.request", may_miss=True)
    chaos.undo_all()
    chaos.undo_all()

    assert (chaos.hardships, cluster.service.world.faults.installed) == ([], [])
    assert states(cluster) == ["up", "up", "up"]
    cluster.clock.advance(5)
    key = app.generate_key("AES", 256, label="kek")
    for _ in range(3):
        app.encrypt(key, b"data")


def test_closing_a_cluster_takes_everything_back(make):
    """No hardship, timer or held message outlives it."""
    cluster = make(sdk=3)
    cluster.chaos.flap("hsm-1")
    held = cluster.chaos.inject("hold @ wire.request command=random")
    with pytest.raises(RequestTimeout):
        cluster.client().random(4)
    cluster.close()
    assert cluster.chaos.hardships == []
    assert not held.installed
    assert cluster.service.world.scheduler.next_due_ns() is None


def test_what_never_fired_is_listed(cluster, app):
    """Each fault that had to fire, ended or not; consequences and what may miss are exempt."""
    with cluster.chaos.inject("crash @ hsm.commit command=sign"):
        pass
    cluster.chaos.inject("drop @ wire.request command=sign", may_miss=True)
    cluster.chaos.inject("pass @ client.route")
    cluster.chaos.kill_mid_create()
    assert [str(one) for one in cluster.chaos.unfired] == [
        "crash @ hsm.commit command=sign",
        "pass @ client.route",
        "destroy source @ client.clone nth=1 per=op",
    ]
    app.generate_key("AES", 256)
    assert [str(one) for one in cluster.chaos.unfired] == ["crash @ hsm.commit command=sign"]


def test_a_hardship_counts_by_its_cause(make):
    """`fail-cleanup` brings refused copies along; only the cleanup must have been struck."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    hardship = cluster.chaos.install("fail-cleanup hsm-1")
    assert [str(one) for one in cluster.chaos.unfired] == ["fail CKR_DEVICE_ERROR @ client.cleanup hsm=hsm-1"]
    with pytest.raises(TooFewCopies):
        app.generate_key("AES", 256)
    assert (hardship.hits, cluster.chaos.unfired) == (1, [])


# -- inject ------------------------------------------------------------------------------------


def test_both_spellings_are_one_fault(cluster):
    """An effect with point and condition, a Fault, a spec."""
    when = When(command="insert_masked", nth=1)
    one = cluster.chaos.inject(Crash(), at=Point.HSM_COMMIT, when=when)
    two = cluster.chaos.inject("crash @ hsm.commit command=insert_masked nth=1")
    three = cluster.chaos.inject(Fault(Crash(), Point.HSM_COMMIT, when))
    four = cluster.chaos.inject(Crash(), "hsm.commit", when)
    assert one.fault == two.fault == three.fault == four.fault


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("crash @ hsm.commit", "hsm.commit"), "a spec says point and condition itself"),
        (("FAULT", "hsm.commit"), "a Fault says point and condition itself"),
        (("CRASH",), r"needs a point: at=Point.HSM_COMMIT"),
        (("CRASH", "hsm.comit"), "did you mean 'hsm.commit'"),
        (("CRASH", "wire.request"), "cannot take crash"),
        (("crash hsm-9 @ hsm.commit",), "there is no 'hsm-9' .*; there are hsm-1, hsm-2, hsm-3"),
        (("crash @ hsm.commit hsm=hsm-7",), "there is no 'hsm-7'"),
        (("crash @ hsm.comit",), "unknown point"),
        (("kill-mid-create",), "no '@ POINT' in it"),
        ((7,), "takes an effect with its point, a Fault or a spec; got 7"),
    ],
)
def test_what_can_never_act_is_refused(cluster, arguments, words):
    """Nothing is installed then."""
    values = {"FAULT": Fault(Crash(), Point.HSM_COMMIT), "CRASH": Crash()}
    first, *rest = arguments
    with pytest.raises(UsageError, match=words):
        cluster.chaos.inject(values.get(first, first), *rest)
    assert cluster.service.world.faults.installed == []


def test_an_hsm_that_joins_later_is_meant_by_a_pattern(cluster):
    """`hsm=hsm-*`."""
    cluster.chaos.inject("pass @ hsm.restore hsm=hsm-[4-9]")
    cluster.add_hsm("a")
    cluster.clock.advance(320)
    assert cluster.chaos.unfired == []


def test_a_key_that_died_with_its_hsm_is_still_missed_elsewhere(cluster, app):
    """A story: made on hsm-1 only, lost with it, looked for on the others."""
    with cluster.chaos.fail_clone():
        key = app.generate_key("AES", 256, label="kek")
    cluster.chaos.destroy("hsm-1")
    with pytest.raises(KeyNotOnHsm):
        app.encrypt(key, b"data")
    assert [finding.label for finding in cluster.check.lost_keys()] == ["kek"]


def test_a_detour_that_no_call_took_is_unfired():
    """A hardship counts by its cause: sending calls to an HSM strikes when a call is sent there."""
    with HsmCluster(2, seed=1) as cluster:
        client = cluster.client()
        detour = cluster.chaos.route_to("hsm-2")
        assert [str(one) for one in cluster.chaos.unfired] == [str(detour)]
        client.random(8)
        assert (detour.hits, cluster.chaos.unfired) == (1, [])
        with cluster.chaos.route_to("hsm-1") as unused:
            pass
        assert (unused.hits, cluster.chaos.unfired) == (0, [unused])
