"""Are retries found that leave their bounds, do not back off, are in vain, or make a key twice, and no others?"""

import re

import pytest

from pytest_hsmcluster import ClusterError, History, HsmCheck, HsmCluster, RequestTimeout, UsageError

HERE = r"test_retries\.py:\d+ \((\w+\.)?\w+\)"


class Application:
    """Tries again after each pause, and looks first if it is told to."""

    def __init__(self, cluster, name="app", **arguments):
        self.cluster = cluster
        self.client = cluster.client(name, **arguments)

    def again(self, call, pauses):
        for pause in pauses:
            try:
                return call()
            except ClusterError:
                self.cluster.clock.advance(pause)
        return call()

    def sign(self, key, *pauses):
        return self.again(lambda: self.client.sign(key, b"data"), pauses)

    def make(self, label, *pauses, look=False):
        def make():
            found = self.client.find_keys(label=label) if look else []
            return found[0] if found else self.client.generate_key("AES", 256, label=label)

        return self.again(make, pauses)


@pytest.fixture
def cluster():
    with HsmCluster(3, sdk=3, seed=1) as cluster:
        yield cluster


@pytest.fixture
def app(cluster):
    return Application(cluster)


@pytest.fixture
def mac(app):
    return app.client.generate_key("GENERIC_SECRET", 256, label="mac")


def fails(cluster, times, error="0xBB", command="sign"):
    """Let the next calls fail."""
    for nth in range(1, times + 1):
        cluster.chaos.inject(f"fail {error} @ hsm.receive command={command} nth={nth}")


def found(cluster, **bounds):
    """Return the findings, one text each."""
    with pytest.raises(AssertionError) as raised:
        cluster.check.retries(**bounds)
    return str(raised.value).splitlines()


def test_an_application_that_backs_off_is_fine(cluster, app, mac):
    """Four attempts in a second, each after a longer pause; and what was never retried."""
    fails(cluster, 3)
    app.sign(mac, 0.1, 0.2, 0.4)
    cluster.check.retries()
    cluster.check.retries(max_attempts=4, max_elapsed=1)


def test_too_many_attempts_are_found(cluster, app, mac):
    """The finding is about the first attempt too many, and names its line."""
    fails(cluster, 3)
    app.sign(mac, 0.1, 0.2, 0.4)
    [finding] = found(cluster, max_attempts=3)
    assert "retry of sign 'mac' (key-1, handle 262144) by app since" in finding
    assert "tried 4 times, and at most 3 are allowed; HsmBusy 3 times; waited 0.1 0.2 0.4 s" in finding
    assert re.search(HERE, finding)


def test_an_attempt_too_late_is_found(cluster, app, mac):
    """Simulated time counts, from the first attempt to the end of the last; a call that is only slow is no retry."""
    fails(cluster, 1)
    app.sign(mac, 60)
    cluster.check.retries(max_elapsed=61)
    [finding] = found(cluster, max_elapsed=30)
    assert "went on for 60.0" in finding
    assert "s in 2 attempts, and at most 30 s are allowed; HsmBusy once; waited 60 s" in finding


def test_a_busy_hsm_is_not_to_be_hurried(cluster, app, mac):
    """Throttling needs a pause before each retry."""
    fails(cluster, 2)
    app.sign(mac, 0.1, 0)
    [finding] = found(cluster)
    assert finding.endswith(
        "did not back off: tried again at once after HsmBusy: an HSM that is busy is no less busy at once"
    )


def test_a_hot_loop_is_found(cluster, app, mac):
    """Once per call, with the number of its retries."""
    fails(cluster, 5)
    app.sign(mac, 0, 0, 0, 0, 0)
    [finding] = found(cluster)
    assert "did not back off: tried again at once 5 times after HsmBusy: " in finding


def test_a_routing_miss_may_be_tried_again_at_once_but_not_twice():
    """The next HSM may have the key; who misses there too has to wait for the sweep."""
    cluster = HsmCluster(3, sdk=3, seed=1, routing="pinned", pinned_to="hsm-1")
    app = Application(cluster)
    with cluster.chaos.fail_clone("hsm-3"):
        key = app.client.generate_key("GENERIC_SECRET", 256, label="mac")
    with cluster.chaos.route_to("hsm-3", next=1):
        app.sign(key, 0)
    cluster.check.retries()
    with cluster.chaos.route_to("hsm-3", next=2):
        app.sign(key, 0, 0)
    [finding] = found(cluster)
    assert "did not back off: tried again at once after KeyNotOnHsm: a second retry needs a pause" in finding
    assert len(cluster.check.routing_misses()) == 3
    cluster.close()


def test_a_cluster_that_is_gone_needs_a_pause(cluster, app, mac):
    """A lost connection does not, for another HSM may be up; without any, one has to come back first."""
    for hsm in ("hsm-1", "hsm-2", "hsm-3"):
        cluster.chaos.crash(hsm)
    with pytest.raises(ClusterError):
        app.sign(mac, 0, 1)
    assert any("no HSM can be reached, and a reconnect takes time" in finding for finding in found(cluster))


def test_waits_that_shrink_are_found_and_jitter_is_not(cluster, app, mac):
    """Two steps, each shorter; one that is shorter may be chance."""
    fails(cluster, 2)
    app.sign(mac, 4, 1)
    cluster.check.retries()
    fails(cluster, 3)
    app.sign(mac, 4, 2, 1)
    assert [finding for finding in found(cluster) if "its waits shrink: 4 2 1 s" in finding]
    fails(cluster, 3)
    app.sign(mac, 1, 5, 2)  # the same line: it does not always shrink
    cluster.check.retries()


def test_what_no_retry_heals_is_not_to_be_tried_again(cluster):
    """A wrong password is wrong the second time, whatever the pause; with the right one it is no finding."""
    app = Application(cluster, "batch", login=False)
    with pytest.raises(ClusterError):
        app.again(lambda: app.client.login("crypto_user", "wrong"), [1, 2])
    [finding] = found(cluster)
    assert "retry of login by batch since" in finding
    assert "tried again twice after LoginFailed, which no retry heals" in finding
    passwords = iter(["wrong", cluster.default_password])
    other = Application(cluster, "other", login=False)
    other.again(lambda: other.client.login("crypto_user", next(passwords)), [1])
    assert len(found(cluster)) == 1


def test_an_error_that_is_given_up_is_no_finding(cluster, app):
    """Nobody has to retry."""
    with pytest.raises(ClusterError):
        app.client.generate_key("AES", 77, label="odd")
    cluster.check.retries(max_attempts=1, max_elapsed=0)


def test_a_create_without_a_look_is_found(cluster, app):
    """The first one's key is there, and the finding names it; who is allowed to is fine."""
    cluster.chaos.lose_response("generate_key")
    app.make("payroll", 1)
    [finding] = found(cluster)
    assert "made the key again after an unknown outcome (RequestTimeout) without looking for the first one" in finding
    assert finding.endswith("find_keys() with its label shows whether it is there; key-1 was left")
    cluster.check.retries(blind_creates=True)


def test_a_create_after_a_look_is_fine(cluster, app):
    cluster.chaos.lose_response("generate_key")
    key = app.make("payroll", 1, look=True)
    assert [one.number for one in app.client.find_keys(label="payroll")] == [key.number]
    cluster.check.retries()


def test_a_look_at_another_label_does_not_count(cluster, app):
    """Nor one by another application; a find of everything does."""
    other = cluster.client("other")
    for label, look in [
        ("first", lambda: app.client.find_keys(label="else")),
        ("second", lambda: other.find_keys(label="second")),
        ("third", lambda: app.client.find_keys()),
    ]:
        with (
            cluster.chaos.inject("drop @ wire.response command=generate_key nth=1"),
            pytest.raises(RequestTimeout),
        ):
            app.make(label)
        look()
        app.make(label)
    assert ["'first'" in one or "'second'" in one for one in found(cluster)] == [True, True]


def test_a_create_that_certainly_did_not_happen_needs_no_look(cluster, app):
    fails(cluster, 1, command="generate_key")
    app.make("payroll", 1)
    cluster.check.retries()


def test_a_session_key_is_nobodys_when_its_session_ends(cluster, app):
    """What a lost answer left of it cannot be mistaken for another."""
    cluster.chaos.lose_response("generate_key")
    app.again(lambda: app.client.generate_key("AES", 256, label="tmp", token=False), [1])
    cluster.check.retries()


def test_a_blind_create_elsewhere_in_the_application_is_found_too(cluster, app):
    """It need not be a retry: nobody looked."""
    cluster.chaos.lose_response("generate_key")
    with pytest.raises(RequestTimeout):
        app.make("payroll")
    app.client.generate_key("AES", 256, label="payroll")
    [finding] = found(cluster)
    assert "(test_a_blind_create_elsewhere_in_the_application_is_found_too) made the key again" in finding


def test_a_history_from_a_file_knows_operation_and_application(cluster, app, mac, tmp_path):
    """No lines: calls are told apart by what they are about."""
    fails(cluster, 3)
    app.sign(mac, 0, 0, 0)
    check = HsmCheck(History.load(cluster.history.save(tmp_path / "history.jsonl")))
    with pytest.raises(AssertionError, match=r"retry of sign 'mac' .* by app since .* s: did not back off: tried"):
        check.retries()
    assert "not known  sign by app" in str(check.retry_report())


def test_the_check_reads(cluster, app, mac):
    """No event, no time."""
    fails(cluster, 1)
    app.sign(mac, 1)
    before, now = len(cluster.history), cluster.clock.now
    cluster.check.retries()
    str(cluster.check.retry_report())
    assert (len(cluster.history), cluster.clock.now) == (before, now)


@pytest.mark.parametrize(
    "bounds",
    [
        {"max_attempts": 0},
        {"max_attempts": 2.0},
        {"max_attempts": True},
        {"max_attempts": "3"},
        {"max_elapsed": -1},
        {"max_elapsed": float("nan")},
        {"max_elapsed": float("inf")},
        {"max_elapsed": "1"},
        {"max_elapsed": False},
        {"blind_creates": 1},
        {"blind_creates": None},
    ],
    ids=str,
)
def test_wrong_bound_is_refused(cluster, bounds):
    """It says what is allowed."""
    [name] = bounds
    with pytest.raises(UsageError, match=rf"retries: {name} is .*; got"):
        cluster.check.retries(**bounds)
