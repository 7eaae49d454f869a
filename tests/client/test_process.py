"""One application process: logging in everywhere, losing and regaining HSMs, ending."""

import pytest

from pytest_hsmcluster import (
    CKR,
    AccountLocked,
    ApplicationDied,
    ClusterError,
    HsmUnavailable,
    KeyNotOnHsm,
    Kind,
    LoginFailed,
    NotLoggedIn,
    RequestTimeout,
    UsageError,
    sdk3_config,
    write_config,
)
from pytest_hsmcluster.errors import SessionLimitReached


def executed(cluster, command):
    events = cluster.history.of(Kind.REACH)
    return [event.hsm for event in events if event.point == "hsm.execute" and event.command == command]


def served(cluster, app, times=6):
    """Return which HSMs serve the next calls."""
    before = len(executed(cluster, "random"))
    for _ in range(times):
        app.random(4)
    return sorted({*executed(cluster, "random")[before:]})


# -- logging in -------------------------------------------------------------------------


def test_a_login_goes_to_every_hsm(make):
    """After a login on one HSM the others log it too."""
    cluster = make(sdk=3)
    app = cluster.client()

    assert executed(cluster, "login") == ["hsm-1", "hsm-2", "hsm-3"]
    assert [hsm.session_count for hsm in cluster.hsms] == [1, 1, 1]
    assert app.user == cluster.default_user


def test_which_hsm_is_asked_first_varies(make):
    """From process to process and from attempt to attempt, in turn (how is a guess)."""
    cluster = make(sdk=3)
    for name in ("a", "b", "c", "d"):
        cluster.client(name, login=False).login(cluster.default_user, cluster.default_password)

    assert executed(cluster, "login")[::3] == ["hsm-1", "hsm-2", "hsm-3", "hsm-1"]


def test_a_wrong_password_is_refused_by_the_hsm_that_is_asked_first(make):
    """CKR_PIN_INCORRECT and the HSM's 0xA3; the password is in no message."""
    cluster = make(sdk=3)
    app = cluster.client(login=False)
    with pytest.raises(LoginFailed, match="RET_USER_LOGIN_FAILURE") as caught:
        app.login(cluster.default_user, "not the password")

    error = caught.value
    assert (error.ckr, error.hsm_code, error.hsm, error.outcome) == (CKR.PIN_INCORRECT, 0xA3, "hsm-1", "fail")
    assert "not the password" not in str(error)
    assert app.user is None


def test_an_unknown_user_has_a_code_of_its_own(make):
    """0x9D, and a hint that accounts are not synchronised."""
    app = make(sdk=3).client(login=False)
    with pytest.raises(LoginFailed, match="user with this name doesn't exist") as caught:
        app.login("nobody", "password-1")
    assert caught.value.hsm_code == 0x9D


def test_a_user_who_is_missing_on_one_hsm_can_sometimes_log_in(make):
    """Depends on the HSM that is asked first; when it works, calls avoid the one that refused."""
    cluster = make(sdk=3)
    cluster.create_user("alice", "password-1", hsms=["hsm-2", "hsm-3"])
    app = cluster.client("app", login=False)
    with pytest.raises(LoginFailed):
        app.login("alice", "password-1")  # hsm-1 is asked first
    app.login("alice", "password-1")  # now hsm-2 is

    assert served(cluster, app) == ["hsm-2", "hsm-3"]
    cluster.create_user("alice", "password-1")
    cluster.clock.advance(3)
    assert served(cluster, app) == ["hsm-1", "hsm-2", "hsm-3"]


def test_bad_passwords_are_counted_on_each_hsm(make):
    """More than five lock the account there; a cluster bears more tries, because another HSM is asked each time."""
    cluster = make(sdk=3)
    app = cluster.client(login=False)
    for _ in range(18):
        with pytest.raises(LoginFailed):
            app.login(cluster.default_user, "not the password")
    for _ in range(3):
        with pytest.raises(AccountLocked) as caught:
            app.login(cluster.default_user, cluster.default_password)
    assert caught.value.ckr == CKR.PIN_LOCKED


def test_an_account_that_is_locked_on_one_hsm_works_on_the_others(make):
    """The lock is that HSM's alone; an admin's new password lifts it."""
    locked = make(2, sdk=3)
    app = locked.client("app", login=False)
    with locked.chaos.crash("hsm-2"):
        for _ in range(6):
            with pytest.raises(LoginFailed):
                app.login(locked.default_user, "not the password")
    locked.clock.advance(3)
    outcomes = []
    for name in ("b", "c"):
        try:
            one = locked.client(name)
            outcomes.append(served(locked, one))
        except AccountLocked:
            outcomes.append("locked")

    assert outcomes == [["hsm-2"], "locked"]


def test_a_second_login_is_refused(make):
    """CKR_USER_ALREADY_LOGGED_IN; a test that means it logs out first."""
    cluster = make(sdk=3)
    app = cluster.client()
    with pytest.raises(LoginFailed, match="logged in as 'crypto_user' already") as caught:
        app.login(cluster.default_user, cluster.default_password)
    assert caught.value.ckr == CKR.USER_ALREADY_LOGGED_IN


def test_a_login_passes_over_silent_hsms(make):
    """One that does not answer costs its time-out; the next one decides."""
    cluster = make(sdk=3)
    with cluster.chaos.pause("hsm-1"):
        app = cluster.client()
        assert served(cluster, app) == ["hsm-2", "hsm-3"]


def test_a_login_without_any_hsm_is_refused(make):
    """The code of a cluster that cannot be reached."""
    cluster = make(2, sdk=3)
    cluster.chaos.crash("hsm-1")
    cluster.chaos.crash("hsm-2")
    with pytest.raises(HsmUnavailable, match="hsm-1 is down, hsm-2 is down") as caught:
        cluster.client()
    assert caught.value.hsm_code == 0x30000088


def test_names_of_users_ignore_case_and_passwords_do_not(make):
    """User names are case-insensitive, passwords are not."""
    cluster = make(sdk=3)
    cluster.create_user("Alice", "Password-1")
    app = cluster.client("app", login=False)
    with pytest.raises(LoginFailed):
        app.login("ALICE", "password-1")
    app.login("ALICE", "Password-1")
    assert app.user == "alice"


def test_nothing_works_before_login_or_after_logout(make):
    """CKR_USER_NOT_LOGGED_IN for every operation; the keys are as they were."""
    cluster = make(sdk=3)
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    app.logout()
    assert [hsm.session_count for hsm in cluster.hsms] == [0, 0, 0]
    for call in (
        lambda: app.generate_key("AES", 256),
        lambda: app.encrypt(key, b"data"),
        lambda: app.find_keys(),
        lambda: app.delete_key(key),
        lambda: app.share_key(key, with_user="bob"),
        lambda: app.random(4),
        app.logout,
    ):
        with pytest.raises(NotLoggedIn) as caught:
            call()
        assert (caught.value.ckr, caught.value.outcome) == (CKR.USER_NOT_LOGGED_IN, "fail")
    app.login(cluster.default_user, cluster.default_password)
    app.encrypt(key, b"data")


# -- losing and regaining HSMs ----------------------------------------------------------------


@pytest.mark.parametrize("sdk", [3, 5])
def test_an_idle_connection_that_breaks_costs_no_call(make, sdk):
    """The client hears of it and avoids the HSM."""
    cluster = make(sdk=sdk)
    app = cluster.client()
    cluster.chaos.crash("hsm-2")
    assert served(cluster, app) == ["hsm-1", "hsm-3"]


@pytest.mark.parametrize(("sdk", "ckr"), [(3, CKR.GENERAL_ERROR), (5, CKR.DEVICE_ERROR)])
def test_a_call_in_flight_fails_once_and_the_next_avoid_the_hsm(make, sdk, ckr):
    """Connection lost during the call: nobody knows what happened; the documented text; no retry by the client."""
    cluster = make(sdk=sdk)
    app = cluster.client()
    with cluster.chaos.inject("crash @ hsm.execute command=random"):
        with pytest.raises(HsmUnavailable, match="Communication with the device was lost") as caught:
            app.random(4)

    assert (caught.value.ckr, caught.value.outcome, caught.value.hsm) == (ckr, "info", "hsm-1")
    assert served(cluster, app) == ["hsm-2", "hsm-3"]


def test_a_silent_hsm_costs_one_time_out_and_is_avoided_until_it_answers(make):
    """Gray failure: up and silent. Later calls are not slowed down by attempts to reach it."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.pause("hsm-1"):
        before = cluster.clock.now
        with pytest.raises(RequestTimeout) as caught:
            app.random(4)
        assert cluster.clock.now - before == pytest.approx(20)
        assert (caught.value.hsm, caught.value.outcome) == ("hsm-1", "info")
        cluster.clock.advance(10)
        before = cluster.clock.now
        assert served(cluster, app) == ["hsm-2", "hsm-3"]
        assert cluster.clock.now - before < 1
    assert served(cluster, app) == ["hsm-1", "hsm-2", "hsm-3"]


def test_a_lost_hsm_is_reached_again_after_the_interval(make):
    """Three seconds after the loss; the client logs in there by itself."""
    cluster = make(sdk=3)
    app = cluster.client()
    cluster.chaos.crash("hsm-2")
    cluster.chaos.restart("hsm-2")
    assert served(cluster, app) == ["hsm-1", "hsm-3"]
    cluster.clock.advance(3)
    assert served(cluster, app) == ["hsm-1", "hsm-2", "hsm-3"]
    assert cluster.hsm("hsm-2").session_count == 1


def test_the_interval_is_the_files(make, tmp_path):
    """`reconnect_interval` of `cloudhsm_client.cfg`."""
    config = write_config(sdk3_config(hostname="10.0.0.10", reconnect_interval_s=60), tmp_path / "cloudhsm_client.cfg")
    cluster = make(config=config)
    app = cluster.client()
    cluster.chaos.crash("hsm-2")
    cluster.chaos.restart("hsm-2")
    cluster.clock.advance(59)
    assert served(cluster, app) == ["hsm-1", "hsm-3"]
    cluster.clock.advance(1)
    assert "hsm-2" in served(cluster, app)


def test_with_the_last_connection_the_login_is_lost(make):
    """PKCS#11 has no implicit login: while nothing answers, unavailable; then the application logs in again."""
    cluster = make(2, sdk=5, availability_check=False)
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    for hsm in ("hsm-1", "hsm-2"):
        cluster.chaos.crash(hsm)
    with pytest.raises(HsmUnavailable) as lost:
        app.encrypt(key, b"data")
    assert (lost.value.ckr, lost.value.hsm_code) == (CKR.DEVICE_ERROR, 0x30000088)
    cluster.chaos.restart("hsm-2")
    cluster.clock.advance(3)
    with pytest.raises(NotLoggedIn, match="a login ends with the last connection"):
        app.encrypt(key, b"data")
    app.login(cluster.default_user, cluster.default_password)
    app.encrypt(key, b"data")
    assert served(cluster, app) == ["hsm-2"]


def test_losing_them_one_after_the_other_keeps_the_login(make):
    """A rolling restart: each is back before the next goes, whether or not somebody called meanwhile."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.rolling_restart(down_s=10, gap_s=10):
        cluster.clock.run_until_idle()
    assert served(cluster, app) == ["hsm-1", "hsm-2", "hsm-3"]


def test_an_hsm_that_fell_silent_instead_of_closing_costs_a_time_out(make):
    """`crash_peer="silence"`: nobody hears of the crash, the next call there waits in vain."""
    cluster = make(sdk=3, crash_peer="silence")
    app = cluster.client()
    cluster.chaos.crash("hsm-1")
    before = cluster.clock.now
    with pytest.raises(RequestTimeout):
        app.random(4)
    assert cluster.clock.now - before == pytest.approx(20)
    assert served(cluster, app) == ["hsm-2", "hsm-3"]


def test_a_partition_is_met_like_silence_and_healed_like_a_loss(make):
    """One client cannot reach one HSM; others can."""
    cluster = make(sdk=3)
    app, other = cluster.client("app"), cluster.client("other")
    with cluster.chaos.partition("app", "hsm-1"):
        with pytest.raises(RequestTimeout):
            app.random(4)
        cluster.clock.advance(5)
        assert served(cluster, app) == ["hsm-2", "hsm-3"]
        assert served(cluster, other) == ["hsm-1", "hsm-2", "hsm-3"]
    cluster.clock.advance(3)
    assert served(cluster, app) == ["hsm-1", "hsm-2", "hsm-3"]


def test_a_new_member_is_used_once_it_has_joined(make):
    """Clients learn of it by themselves and log in there."""
    cluster = make(2, sdk=3)
    app = cluster.client()
    new = cluster.add_hsm("c")
    cluster.clock.advance(200)
    assert served(cluster, app) == ["hsm-1", "hsm-2"]
    cluster.clock.advance(120)
    assert new.state == "up"
    assert served(cluster, app) == ["hsm-1", "hsm-2", "hsm-3"]


def test_a_client_that_lost_every_hsm_never_learns_of_the_new_ones(make):
    """It keeps trying those that it knew; a new application knows the new ones."""
    cluster = make(2, sdk=3)
    app = cluster.client()
    for hsm in cluster.hsms:
        cluster.chaos.destroy(hsm.id)
    cluster.add_hsm("c")
    cluster.clock.advance(400)

    with pytest.raises(HsmUnavailable):
        app.login(cluster.default_user, cluster.default_password)
    assert served(cluster, cluster.client("new")) == ["hsm-3"]


def test_a_client_that_was_cut_off_learns_of_a_new_member_with_the_next_answer(make):
    """Nobody could tell it before."""
    cluster = make(2, sdk=3)
    app = cluster.client()
    with cluster.chaos.partition("app", "hsm-1"), cluster.chaos.partition("app", "hsm-2"):
        cluster.add_hsm("c")
        cluster.clock.advance(400)
    app.find_keys()

    assert served(cluster, app) == ["hsm-1", "hsm-2", "hsm-3"]


def test_a_new_member_without_the_user_is_left_out(make):
    """The user was made after the snapshot from which the new HSM started."""
    cluster = make(2, sdk=3)
    cluster.add_hsm("c")
    cluster.clock.advance(65)
    cluster.create_user("alice", "password-1")
    app = cluster.client("app", login=False)
    app.login("alice", "password-1")
    cluster.clock.advance(300)
    assert served(cluster, app) == ["hsm-1", "hsm-2"]


# -- the end of a process -------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["client.route", "client.send", "client.receive"])
def test_an_application_can_end_at_its_own_points(make, point):
    """Its flow stops, its connections, logins and session keys go; the call raises ApplicationDied, outcome `info`."""
    cluster = make(sdk=3)
    app = cluster.client()
    app.generate_key("AES", 256, label="dek", token=False)
    with cluster.chaos.inject(f"crash @ {point} op=random"), pytest.raises(ApplicationDied, match=point) as caught:
        app.random(4)

    assert caught.value.outcome == "info"
    assert not app.alive
    assert [hsm.session_count for hsm in cluster.hsms] == [0, 0, 0]
    assert not any(hsm.keys for hsm in cluster.hsms)
    assert cluster.history.last.kind is Kind.INFO
    with pytest.raises(ApplicationDied, match=r"start another one with cluster.client\('app'\)"):
        app.random(4)
    cluster.check.session_keys_stay_put()


@pytest.mark.parametrize("point", ["client.clone", "client.cleanup", "client.report"])
def test_an_application_can_end_while_it_creates(make, point):
    """What it leaves: a key on too few HSMs, an orphan, a key that nobody knows."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    if point == "client.cleanup":
        cluster.chaos.fail_clone()
    with cluster.chaos.inject(f"crash @ {point}"), pytest.raises(ApplicationDied, match=f"crash @ {point}"):
        app.generate_key("AES", 256, label="kek")

    copies = sum(len(hsm.keys) for hsm in cluster.hsms)
    assert copies == (3 if point == "client.report" else 1)
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["kek"]


def test_the_next_process_has_the_next_number(make):
    """A new client of that name is `app#2` in the journal; faults for `app` strike it too."""
    cluster = make(sdk=3)
    app = cluster.client("app")
    app.close()
    again = cluster.client("app")
    with cluster.chaos.inject("pass @ client.route client=app") as seen:
        again.random(4)
    assert cluster.history.last.client == "app#2"
    assert (again.name, seen.hits) == ("app", 1)


def test_no_two_processes_share_a_name(make):
    """An unknown outcome makes a process a new one, beside others of the same application."""
    cluster = make(sdk=3)
    one, two = cluster.client("app"), cluster.client("app")
    names = []
    for client in (one, two, one):
        with cluster.chaos.inject("drop @ wire.response command=random nth=1"), pytest.raises(RequestTimeout):
            client.random(4)
        cluster.clock.advance(5)
        client.random(4)
        names.append(cluster.history.last.client)

    assert names == ["app#3", "app#4", "app#5"]


def test_closing_ends_sessions_and_session_keys_and_nothing_else(make):
    """Token keys stay; closing twice is harmless; a closed client is not used again."""
    cluster = make(sdk=3)
    app = cluster.client()
    app.generate_key("AES", 256, label="kek")
    app.generate_key("AES", 256, label="dek", token=False)
    app.close()
    app.close()

    assert [[key.label for key in hsm.keys.values()] for hsm in cluster.hsms] == [["kek"]] * 3
    for call in (app.logout, app.find_keys, lambda: app.login("a", "b" * 8)):
        with pytest.raises(ApplicationDied, match="has ended"):
            call()


def test_a_session_of_an_application_that_cannot_be_heard_stays(make):
    """Cut off when it ends, the HSM does not hear of it: its session and its session keys stay there."""
    cluster = make(sdk=3)
    app = cluster.client()
    app.generate_key("AES", 256, label="dek", token=False)
    with cluster.chaos.partition("app", "hsm-1"):
        app.close()
    assert cluster.hsm("hsm-1").session_count == 1
    assert len(cluster.hsm("hsm-1").keys) == 1


@pytest.mark.parametrize("name", ["", "app#2", 7, None])
def test_an_application_has_a_name(make, name):
    """A number sign belongs to us."""
    with pytest.raises(UsageError, match="an application's name"):
        make(sdk=3).client(name)


def test_a_closed_cluster_has_no_clients(make):
    """Each test has its own cluster."""
    cluster = make(sdk=3)
    app = cluster.client()
    cluster.close()
    with pytest.raises(UsageError, match="closed"):
        cluster.client("late")
    with pytest.raises((ApplicationDied, UsageError)):
        app.random(4)


def test_connections_are_limited(make):
    """900 concurrent client connections to a cluster."""
    cluster = make(1, sdk=3, connections_per_cluster=2)
    one = cluster.client("one")
    cluster.client("two")
    with pytest.raises(SessionLimitReached):
        cluster.client("three")
    one.close()
    cluster.client("three")


def test_no_secret_is_in_what_a_process_shows(make):
    """Neither client nor error nor log shows the password."""
    cluster = make(sdk=3)
    app = cluster.client()
    shown = [repr(app), str(app.log), repr(cluster)]
    with pytest.raises(ClusterError) as caught:
        app.login("alice", "hunter2-hunter2")
    shown += [str(caught.value), repr(caught.value)]
    assert not any(cluster.default_password in text or "hunter2" in text for text in shown)


def test_a_key_of_a_restarted_hsm_is_still_there(make):
    """Token keys survive a restart, session keys do not."""
    cluster = make(1, sdk=3)
    app = cluster.client()
    kek = app.generate_key("AES", 256, label="kek")
    dek = app.generate_key("AES", 256, label="dek", token=False)
    with cluster.chaos.crash("hsm-1"):
        pass
    cluster.clock.advance(3)
    app.login(cluster.default_user, cluster.default_password)
    app.encrypt(kek, b"data")
    with pytest.raises(KeyNotOnHsm):
        app.encrypt(dek, b"data")


def test_a_client_that_no_hsm_lets_in_again_can_reach_none(make):
    """Its user vanished while an HSM was away: what is left is unavailable, not an endless wait."""
    cluster = make(2, sdk=3)
    app = cluster.client()
    cluster.chaos.crash("hsm-1")
    cluster.chaos.restart("hsm-1")
    cluster.chaos.drop_user("hsm-1", cluster.default_user)
    cluster.clock.advance(3)
    cluster.chaos.inject("fail HsmUnavailable @ client.send command=login", may_miss=True)
    cluster.chaos.crash("hsm-2")
    with pytest.raises((HsmUnavailable, NotLoggedIn)):
        app.random(4)


def test_a_logout_that_an_hsm_does_not_hear_ends_here_all_the_same(make):
    """Its session there ends with the connection."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.receive command=logout hsm=hsm-2"):
        app.logout()
    assert app.user is None
    app.login(cluster.default_user, cluster.default_password)
    assert [hsm.session_count for hsm in cluster.hsms] == [1, 1, 1]


def test_an_hsm_that_refuses_the_login_for_its_own_reasons_is_passed_over(make):
    """Only a verdict on the password ends a login; when no HSM lets anybody in, its reason is told."""
    cluster = make(sdk=3)
    with cluster.chaos.inject("fail SessionLimitReached @ hsm.execute command=login hsm=hsm-1"):
        assert served(cluster, cluster.client()) == ["hsm-2", "hsm-3"]
    with cluster.chaos.inject("fail SessionLimitReached @ hsm.execute command=login"):
        with pytest.raises(SessionLimitReached):
            cluster.client("other")
