"""Do hardships do to HSM processes what they do to simulated HSMs?"""

import pytest

from pytest_hsmcluster.cryptoki import CKA
from tests.processes.parity import NEVER_S, assert_alike

SDKS = {3: {"sdk": 3, "create_object_minimum_nodes": 2}, 5: {"sdk": 5}}
QUICK = {"request_timeout_s": 10, "join_snapshot_s": 2, "join_active_s": 6}

SCENARIOS = (
    *("crashed-hsm hsm-1", "crashed-hsm hsm-2", "destroyed-hsm hsm-1", "destroyed-hsm hsm-3"),
    *("kill-mid-create", "kill-mid-create after_copies=2", "kill-mid-create after_copies=3"),
    *("replaced-hsm hsm-1", "replaced-hsm hsm-3", "joining-hsm b", "stall-sync", "delay-sync 1s"),
    *("fail-clone", "fail-clone hsm-2", "fail-cleanup", "fail-cleanup hsm-1", "fail-cleanup hsm-2"),
    *("lost-ack op=generate_key", "lost-ack op=sign", "lost-ack op=delete_key", "lost-ack op=find_keys"),
    *("failed-ack op=generate_key", "failed-ack op=delete_key", "failed-ack op=set_attribute"),
    *("glitch op=sign", "glitch op=generate_key code=0xBB", "glitch op=delete_key"),
    *("partition a=app b=hsm-1", "partition a=app b=hsm-2 direction=one-way", "partition a=hsm-2 b=hsm-3"),
    *("partition a=hsm-1 b=app direction=one-way", "gray-failure hsm-1", "gray-failure hsm-2"),
    *("throttled hsm-1", "throttled hsm-2", "full-hsm hsm-1", "full-hsm hsm-2", "full-sessions hsm-2"),
    *("az-outage a", "rolling-restart down_s=3600", "flapping hsm-2 down_s=3600"),
    *("routed-to hsm-2 next=3", "user-drift hsm=hsm-2 user=crypto_user", "user-drift hsm=hsm-1 user=bob"),
)


CREATING = ("kill", "fail-clone", "full-hsm", "lost-ack op=generate", "failed-ack op=generate", "replaced", "crashed")
"""Scenarios in which the two generations of clients do different things."""


@pytest.mark.parametrize(
    ("scenario", "sdk"),
    [(scenario, sdk) for scenario in SCENARIOS for sdk in SDKS if sdk == 3 or scenario.startswith(CREATING)],
)
def test_scenarios_do_the_same(scenario, sdk):
    """A day before, during and after each of them."""

    def tell(on):
        on(on.cluster.create_user, "bob", "bobs-password")
        app = on.app()
        key = on(app.generate_key, "AES", 256, label="before")
        hardship = on.chaos.install(scenario)
        if scenario.startswith(("replaced", "joining")):
            on.settle()
        during = a_day(on, app, key, late=not scenario.startswith("gray"))
        on(on.cluster.sweep_now)
        on.note("hits", hardship.hits)
        hardship.end()
        on.settle()
        on(app.find_keys)
        on(app.sign, during or key, b"data")
        on(on.cluster.sweep_now)

    assert_alike(tell, **QUICK, **SDKS[sdk])


def a_day(on, app, key, late):
    """Use a key, make one, share, change and delete it; a second application starts."""
    for _ in range(3):
        on(app.sign, key, b"data")
    during = on(app.generate_key, "AES", 256, label="during")
    on(app.share_key, key, with_user="bob")
    on(app.set_attribute, key, CKA.LABEL, "changed")
    on(app.find_keys)
    if late:
        on(on.app("late").generate_key, "AES", 256, label="late")
    on(app.delete_key, key)
    return during


TALES = []


def tale(tell):
    """Have a tale told by the test below."""
    TALES.append(tell)
    return tell


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("tell", TALES, ids=lambda tell: tell.__name__)
def test_hardships_end_alike(tell, sdk):
    """What is back is back, what is lost is lost, what was waiting goes on."""
    settings = {**QUICK, "reconnect_interval_s": 0 if "return" in tell.__name__ else NEVER_S}
    if tell is an_hsm_joins:
        settings["join_active_s"] = 20  # what is made too early is made long before
    assert_alike(tell, **settings, **SDKS[sdk])


@tale
def an_hsm_returns(on):
    """Session keys, sessions and logins are gone; token keys are there."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="token")
    session = on(app.generate_key, "AES", 256, label="session", token=False)
    home = next(hsm.id for hsm in on.cluster.hsms if session.number in hsm.keys)
    on(on.chaos.crash, home)
    on(app.sign, session, b"data")
    for _ in range(3):
        on(app.sign, key, b"data")
    missed = on(app.generate_key, "AES", 256, label="missed")
    on(on.chaos.restart, home)
    on(on.chaos.restart, home)
    for _ in range(3):
        on(app.sign, missed, b"data")
    on(app.sign, session, b"data")
    on(on.cluster.sweep_now)
    on(app.sign, missed, b"data")


@tale
def all_hsms_return(on):
    """With the last connection the login is lost; the application logs in again."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="token")
    for hsm in on.cluster.hsms:
        on(on.chaos.crash, hsm.id)
    on(app.sign, key, b"data")
    on(app.login, on.cluster.default_user, on.cluster.default_password)
    on(on.cluster.backup)
    for hsm in on.cluster.hsms:
        on(on.chaos.restart, hsm.id)
    on(app.sign, key, b"data")
    on(app.login, on.cluster.default_user, on.cluster.default_password)
    on(app.sign, key, b"data")


@tale
def a_zone_returns(on):
    """All HSMs of a zone, off and on."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="token")
    on(on.chaos.lose_zone, "b")
    on(on.chaos.lose_zone, "x")
    on(app.delete_key, key)
    on(on.chaos.restore_zone, "b")
    on(app.find_keys)
    on(on.cluster.sweep_now)
    on(app.find_keys)


@tale
def a_crash_behind_a_partition_returns(on):
    """Whoever is cut off does not learn that an HSM is down, nor that it was."""
    app, other = on.app(), on.app("other")
    key = on(app.generate_key, "AES", 256, label="token")
    cut = on(on.chaos.partition, "app", "hsm-2") or on.chaos.hardships[-1]
    on(on.chaos.crash, "hsm-2")
    for client in (app, other, other, other):
        on(client.sign, key, b"data")
    on(on.chaos.restart, "hsm-2")
    for client in (app, app, app, other, other):
        on(client.sign, key, b"data")
    on(on.chaos.heal)
    for client in (app, app, app, other, other):
        on(client.sign, key, b"data")
    on.note("cut", str(cut))


@tale
def a_crash_behind_a_partition(on):
    """The same one way, with a client that never reconnects."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="token")
    on(on.chaos.partition, "hsm-3", "app", "one-way")
    on(on.chaos.crash, "hsm-3")
    for _ in range(3):
        on(app.sign, key, b"data")
    on(on.chaos.heal)
    on(on.chaos.restart, "hsm-3")
    on(app.find_keys)


@tale
def a_silent_hsm_is_destroyed(on):
    """Paused, then lost: with all that it holds."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="token")
    on(on.chaos.pause, "hsm-1")
    on(on.chaos.pause, "hsm-1")
    on(app.sign, key, b"data")
    on(on.chaos.destroy, "hsm-1")
    on(on.chaos.crash, "hsm-1")
    on(on.chaos.restart, "hsm-1")
    on(app.sign, key, b"data")
    on(on.chaos.resume, "hsm-1")


@tale
def a_silent_hsm_crashes_and_returns(on):
    """Paused, then off and on."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="token")
    on(on.chaos.pause, "hsm-1")
    on(app.find_keys)
    on(on.chaos.crash, "hsm-1")
    on(on.chaos.restart, "hsm-1")
    on(app.find_keys)
    on(app.sign, key, b"data")


@tale
def a_request_waits_in_a_silent_hsm(on):
    """It is carried out when the HSM goes on, long after its client gave up."""
    app = on.app()
    with on.chaos.pause("hsm-1"):
        on(app.generate_key, "AES", 256, label="late")
        on(app.generate_key, "AES", 256, label="second")
    on.settle()
    on(app.find_keys)
    on(on.cluster.sweep_now)


@tale
def a_silent_hsm_is_changed(on):
    """What operators do to it meanwhile holds when it goes on."""
    app = on.app()
    on(on.cluster.create_user, "bob", "bobs-password")
    on(app.generate_key, "AES", 256, label="token")
    with on.chaos.pause("hsm-2"):
        on(on.cluster.admin.delete_user, "bob")
        on(on.cluster.create_user, "carol", "a-password")
        on(on.cluster.sweep_now)
        on.chaos.drop_user("hsm-2", "bob")
        on.chaos.throttle("hsm-2")
        on.chaos.fill("hsm-2")
        on.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.commit hsm=hsm-2 nth=1", may_miss=True)
        on(on.cluster.backup, "hsm-2")
        on(app.close)
    on.settle()
    other = on.app("other")
    on(other.generate_key, "AES", 256, label="busy")
    on(on.chaos.relieve, "hsm-2")
    on(other.generate_key, "AES", 256, label="full")
    on(on.chaos.undo_all)
    on(other.generate_key, "AES", 256, label="free")
    on(on.cluster.coverage, "carol")


@tale
def nobody_is_left(on):
    """The last HSM is lost, a new one joins from the newest backup."""
    app = on.app()
    on(app.generate_key, "AES", 256, label="token")
    on(on.cluster.backup)
    on(app.generate_key, "AES", 256, label="newer")
    for hsm in on.cluster.hsms:
        on(on.chaos.destroy, hsm.id)
    on(app.find_keys)
    on(on.cluster.add_hsm, "b")
    on(on.cluster.sweep_now)
    on.settle()
    other = on.app("other")
    on(other.find_keys)
    on(other.generate_key, "AES", 256, label="new")


@tale
def an_hsm_joins(on):
    """From a snapshot that lacks what is made later; the sweep brings it."""
    app = on.app()
    on(app.generate_key, "AES", 256, label="old")
    on(on.cluster.create_user, "bob", "bobs-password")
    joining = on.chaos.join("b")
    on.wait(3)
    on(app.generate_key, "AES", 256, label="too early")
    on.settle()
    on.note("state", str(joining.replacement.state))
    key = on(app.generate_key, "AES", 256, label="new")
    for _ in range(4):
        on(app.sign, key, b"data")
    on(on.cluster.sweep_now)
    on(on.cluster.remove_hsm, "hsm-1")
    for _ in range(3):
        on(app.sign, key, b"data")


@tale
def nobody_can_tell_of_an_hsm_that_joined(on):
    """An application that is cut off from all learns it with the next answer, another one at once."""
    app, other = on.app(), on.app("other")
    key = on(app.generate_key, "AES", 256, label="key")
    for hsm in on.cluster.hsms:
        on(on.chaos.partition, "app", hsm.id)
    on(other.sign, key, b"data")
    on(on.cluster.add_hsm, "b")
    on.settle()
    for _ in range(4):
        on(other.sign, key, b"data")
    on(on.chaos.heal)
    for _ in range(5):
        on(app.sign, key, b"data")


@tale
def every_hsm_goes_off_and_on(on):
    """One after the other, to the end."""
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="key")
    on.chaos.rolling_restart(1, 1)
    on.settle()
    on(app.sign, key, b"data")
    on(app.login, on.cluster.default_user, on.cluster.default_password)
    on(app.sign, key, b"data")


@tale
def a_login_drifts(on):
    """An HSM that does not know the user any more, or counts his bad passwords alone."""
    app = on.app()
    with on.chaos.drop_user("hsm-2", "crypto_user"):
        on(on.cluster.coverage, "crypto_user")
        key = on(app.generate_key, "AES", 256, label="key")
        other = on.app("other")
        for _ in range(3):
            on(other.sign, key, b"data")
    on(on.chaos.drop_user, "hsm-2", "nobody")
    wrong = on.app("wrong", login=False)
    for _ in range(7):
        on(wrong.login, "crypto_user", "wrong")
    with on.chaos.exhaust_sessions("hsm-1"):
        on.app("last")


@pytest.mark.parametrize("effect", ["crash", "destroy"])
@pytest.mark.parametrize("point", ["hsm.receive", "hsm.commit", "hsm.reply"])
@pytest.mark.parametrize("command", ["delete_key", "insert_masked", "set_attribute", "share_key", "login"])
def test_power_fails_alike_in_every_command(command, point, effect):
    """At the same rung of the same command, on the HSM that serves it."""

    def tell(on):
        on(on.cluster.create_user, "bob", "bobs-password")
        app = on.app()
        key = on(app.generate_key, "AES", 256, label="before")
        with on.chaos.inject(f"{effect} @ {point} command={command} nth=1"):
            on(app.share_key, key, with_user="bob")
            on(app.set_attribute, key, CKA.LABEL, "changed")
            on(app.generate_key, "AES", 256, label="during")
            on(app.delete_key, key)
            on.app("late")
        on.settle()
        for hsm in on.cluster.hsms:
            on(on.chaos.restart, hsm.id)
        on(app.find_keys)

    assert_alike(tell, **QUICK)
