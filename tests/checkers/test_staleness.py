"""Are handles of session keys found that were used after their session, and no others?"""

import contextlib
import re

import pytest

from pytest_hsmcluster import ClusterError, History, HsmCheck, HsmCluster, KeyNotOnHsm


@pytest.fixture
def cluster():
    with HsmCluster(3, seed=1, routing="pinned", pinned_to="hsm-1") as cluster:
        yield cluster


@pytest.fixture
def app(cluster):
    return cluster.client("app")


def session_key(client, label="tmp"):
    return client.generate_key("AES", 256, label=label, token=False)


def login_again(cluster, client):
    client.login(cluster.default_user, cluster.default_password)


def use(client, key, times=1):
    for _ in range(times):
        with pytest.raises(KeyNotOnHsm):
            client.encrypt(key, b"data")


def test_keys_that_are_used_in_their_session_are_fine(cluster, app):
    """Token keys over all sessions, session keys until they are deleted or their session ends."""
    kek, tmp = app.generate_key("AES", 256, label="kek"), session_key(app)
    app.encrypt(tmp, b"data")
    app.logout()
    login_again(cluster, app)
    app.encrypt(kek, b"data")
    new = session_key(app)
    app.encrypt(new, b"data")
    app.delete_key(new)
    use(app, new)
    cluster.check.no_stale_handles()
    assert cluster.check.stale_handles() == []


def test_a_handle_from_before_a_logout_is_found(cluster, app):
    """With its key, where it lived, how its session ended, and who used it where, as often as it was."""
    tmp = session_key(app)
    app.logout()
    login_again(cluster, app)
    use(app, tmp, times=3)
    [stale] = cluster.check.stale_handles()
    assert (stale.key, stale.label, stale.handle, stale.hsms) == ("key-1", "tmp", tmp.number, ("hsm-1",))
    assert "made in a session of app at 0.00" in stale.cause
    assert ", which is over: app logged out at 0.0" in stale.cause
    assert re.search(r"; used afterwards 3 times by app: encrypt at .*test_staleness\.py:\d+ \(use\)$", stale.cause)
    with pytest.raises(AssertionError, match=r"stale handle of key 'tmp' \(key-1, handle \d+\) on hsm-1 since"):
        cluster.check.no_stale_handles()


def test_a_use_without_any_session_is_none_on_a_new_one(cluster, app):
    """Who is logged out has no session that a handle could be wrong in."""
    tmp = session_key(app)
    app.logout()
    use(app, tmp)
    cluster.check.no_stale_handles()
    login_again(cluster, app)
    use(app, tmp)
    assert len(cluster.check.stale_handles()) == 1


@pytest.mark.parametrize(("how", "why"), [("crash", "went down"), ("destroy", "was lost")])
def test_a_handle_of_an_hsm_that_died_is_found(cluster, app, how, why):
    """The session on the other HSMs is another one; also when the dead one is back."""
    tmp = session_key(app)
    with cluster.chaos.inject(f"{how} @ hsm.receive command=sign nth=1"), contextlib.suppress(ClusterError):
        app.sign(app.generate_key("GENERIC_SECRET", 256, label="mac"), b"data")
    use(app, tmp)
    if how == "crash":
        cluster.chaos.restart("hsm-1")
        cluster.clock.advance(60)
        use(app, tmp)
    found = cluster.check.stale_handles()
    assert all(f"which is over: hsm-1 {why} at" in stale.cause for stale in found)
    assert len(found) == 1


def test_a_handle_of_an_application_that_died_is_found(cluster, app):
    """The next process has another session."""
    tmp = session_key(app)
    app.close()
    use(cluster.client("app"), tmp)
    [stale] = cluster.check.stale_handles()
    assert "which is over: the process of app ended at" in stale.cause


def test_a_handle_of_a_login_that_was_lost_is_found(cluster, app):
    """The HSMs keep the session behind a partition; the client has lost it with its last connection."""
    tmp = session_key(app)
    with cluster.chaos.partition("app", "hsm-1"), cluster.chaos.crash("hsm-2"), cluster.chaos.crash("hsm-3"):
        for _ in range(3):
            with pytest.raises(ClusterError):
                app.random(8)
    cluster.clock.advance(60)
    assert app.user is None
    use(app, tmp)
    cluster.check.no_stale_handles()
    login_again(cluster, app)
    use(app, tmp)
    [stale] = cluster.check.stale_handles()
    assert "which is over: app had lost it and logged in anew at 80.0" in stale.cause


def test_a_handle_of_a_login_that_was_lost_on_one_hsm_is_found(cluster, app):
    """There the HSM never hears of it: the old session is behind another partition when the client has a new one."""
    tmp = session_key(app)
    with cluster.chaos.crash("hsm-2"), cluster.chaos.crash("hsm-3"), cluster.chaos.partition("app", "hsm-1"):
        for _ in range(3):
            with pytest.raises(ClusterError):
                app.random(8)
    cluster.clock.advance(60)
    with cluster.chaos.partition("app", "hsm-1"):
        login_again(cluster, app)
        use(app, tmp)
        [stale] = cluster.check.stale_handles()
        assert "which is over: app had lost it and logged in anew at" in stale.cause


def test_wrapping_a_stale_key_is_found(cluster, app):
    """It is about the session key, not about the token key that was to wrap it."""
    kek, tmp = app.generate_key("AES", 256, label="kek"), session_key(app)
    app.logout()
    login_again(cluster, app)
    with pytest.raises(KeyNotOnHsm):
        app.wrap_key(tmp, with_key=kek)
    [stale] = cluster.check.stale_handles()
    assert (stale.label, "wrap_key at" in stale.cause) == ("tmp", True)


def test_other_handles_that_name_nothing_are_another_matter(cluster, app):
    """Of another cluster, of a deleted token key, or not on this HSM yet."""
    with HsmCluster(3, seed=2) as elsewhere:
        use(app, session_key(elsewhere.client("app")))
    kek = app.generate_key("AES", 256, label="kek")
    app.delete_key(kek)
    use(app, kek)
    with cluster.chaos.install("fail-clone"), contextlib.suppress(ClusterError):
        app.generate_key("AES", 256, label="late")
    cluster.check.no_stale_handles()


def test_an_injected_no_such_key_is_no_stale_handle(cluster, app):
    tmp = session_key(app)
    with cluster.chaos.inject("fail 0xA8 @ hsm.receive command=encrypt"), contextlib.suppress(ClusterError):
        app.encrypt(tmp, b"data")
    cluster.check.no_stale_handles()


def test_each_line_and_key_is_one_finding(cluster, app):
    one, two = session_key(app, "one"), session_key(app, "two")
    app.logout()
    login_again(cluster, app)
    for key in (one, two):
        use(app, key)
    with pytest.raises(KeyNotOnHsm):
        app.delete_key(two)
    assert [(stale.label, "delete_key" in stale.cause) for stale in cluster.check.stale_handles()] == [
        ("one", False),
        ("two", False),
        ("two", True),
    ]


def test_a_history_from_a_file_knows_no_line(cluster, app, tmp_path):
    tmp = session_key(app)
    app.logout()
    login_again(cluster, app)
    use(app, tmp)
    [stale] = HsmCheck(History.load(cluster.history.save(tmp_path / "history.jsonl"))).stale_handles()
    assert stale.cause.endswith("used afterwards by app: encrypt")


def test_a_story_without_an_end_is_no_finding(tell):
    """Nobody closed the session: the handle is not stale, whatever an HSM says."""
    story = tell()
    key = story.create("tmp", on=["hsm-1"], token=False)
    story.use(key, outcome="fail", error="KeyNotOnHsm", hsm="hsm-2")
    story.use(key, outcome="fail", error="KeyNotOnHsm", hsm=None)
    HsmCheck(story.history).no_stale_handles()
