"""Creating and using with SDK 5: a key must be available on two HSMs."""

import logging

import pytest

from pytest_hsmcluster import CKR, HsmUnavailable, KeyNotOnHsm, KeyUnavailable, Kind, NotLoggedIn

LOG = (
    "Key {} does not meet the availability requirements - "
    "The key must be available on at least 2 HSMs before being used."
)
DATA = (
    "Cannot perform the requested key operation as the key must be available on at least 2 HSMs. "
    "Either increase the number of HSMs in the cluster, or disable the key availability check."
)
BUDGET_S = 87.2


def test_a_key_on_two_hsms_is_created(make, holders):
    """Two HSMs are enough: the key is on both, and can be used at once."""
    cluster = make(2, sdk=5)
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")

    assert holders(cluster, "kek") == ["hsm-1", "hsm-2"]
    assert app.decrypt(key, app.encrypt(key, b"data")) == b"data"


def test_a_key_on_one_hsm_is_refused_after_the_budget_with_the_documented_texts(make, holders, caplog):
    """Keys of a one-HSM cluster are unusable: 87.2 s, then CKR_FUNCTION_FAILED, and the SDK's own words in its log."""
    cluster = make(1, sdk=5)
    app = cluster.client()
    before = cluster.clock.now
    with caplog.at_level(logging.WARNING, "pytest_hsmcluster.client"), pytest.raises(KeyUnavailable) as caught:
        app.generate_key("AES", 256, label="kek")

    assert cluster.clock.now - before == pytest.approx(BUDGET_S, abs=0.04)
    assert caught.value.ckr == CKR.FUNCTION_FAILED
    assert str(caught.value).startswith(DATA)
    assert app.log == [LOG.format(262144)]
    assert LOG.format(262144) in caplog.text
    assert (caught.value.outcome, holders(cluster, "kek")) == ("fail", [])


def test_a_cluster_of_one_hsm_works_with_the_check_switched_off(make, holders):
    """The documented remedy, and the documented need for a single-HSM cluster."""
    cluster = make(1, sdk=5, availability_check=False)
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    app.encrypt(key, b"data")

    assert holders(cluster, "kek") == ["hsm-1"]


def test_a_refused_create_may_leave_its_key(make, holders):
    """Not documented, so a switch: without cleanup the key stays and nobody knows what happened."""
    cluster = make(1, sdk=5, sdk5_cleans_up=False)
    with pytest.raises(KeyUnavailable) as caught:
        cluster.client().generate_key("AES", 256, label="kek")

    assert (caught.value.outcome, holders(cluster, "kek")) == ("info", ["hsm-1"])
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["kek"]


def test_two_copies_of_three_are_enough(make, holders):
    """A join of the third HSM is under way, say: the create succeeds on two."""
    cluster = make(sdk=5)
    with cluster.chaos.crash("hsm-3"):
        cluster.client().generate_key("AES", 256, label="kek")
        assert holders(cluster, "kek") == ["hsm-1", "hsm-2"]


def test_the_source_is_lost_before_any_copy(make):
    """The create fails where SDK 3 with a minimum of 1 would have lost an acknowledged key."""
    cluster = make(sdk=5)
    with cluster.chaos.kill_mid_create(after_copies=1), pytest.raises(KeyUnavailable) as caught:
        cluster.client().generate_key("AES", 256, label="kek")

    assert caught.value.outcome == "info", "the lost HSM could not be cleaned"
    cluster.check.no_lost_keys()


def test_the_source_is_lost_after_one_copy(make, holders):
    """One copy is left, the client goes on copying: two HSMs hold it."""
    cluster = make(sdk=5)
    with cluster.chaos.kill_mid_create(after_copies=2):
        cluster.client().generate_key("AES", 256, label="kek")

    assert holders(cluster, "kek") == ["hsm-2", "hsm-3"]


def test_the_sweep_can_save_a_create_that_waits(make, holders):
    """The check asks again and again: when the service brings the second copy, the key is available."""
    cluster = make(sdk=5, sweep_period_s=30)
    app = cluster.client()
    with cluster.chaos.fail_clone():
        app.generate_key("AES", 256, label="kek")

    assert 30 <= cluster.clock.now < 32
    assert len(holders(cluster, "kek")) == 3


def test_losing_every_hsm_while_a_create_waits_leaves_it_open(make):
    """The key was made; that nobody can be asked any more does not unmake it."""
    cluster = make(sdk=5, sweep=False)
    app = cluster.client()
    cluster.chaos.fail_clone()
    for hsm in cluster.hsms:
        cluster.chaos.inject(f"crash {hsm.id} @ client.send command=check_key hsm={hsm.id} nth=2")
    with pytest.raises((NotLoggedIn, HsmUnavailable)) as caught:
        app.generate_key("AES", 256, label="kek")

    assert caught.value.outcome == "info"
    assert cluster.history.last.kind is Kind.INFO


# -- use ---------------------------------------------------------------------------------


def test_a_running_process_goes_on_and_a_new_one_fails_when_one_hsm_is_left(make):
    """The deploy that breaks what had worked for hours: the check runs once per process."""
    cluster = make(2, sdk=5)
    old = cluster.client("app")
    pair = old.generate_key_pair("EC", "P-256", label="signer")
    old.sign(pair.private, b"data")
    cluster.chaos.destroy("hsm-2")
    for _ in range(300):
        old.sign(pair.private, b"data")
        cluster.clock.advance(1.6)

    new = cluster.client("app")
    (found,) = new.find_keys(label="signer", cls="private")
    for _ in range(3):
        before = cluster.clock.now
        with pytest.raises(KeyUnavailable) as caught:
            new.sign(found, b"data")
        assert cluster.clock.now - before == pytest.approx(BUDGET_S, abs=0.04)
    assert caught.value.outcome == "fail"
    assert new.log == [LOG.format(found.number)] * 3
    old.sign(pair.private, b"data")


def test_with_the_check_off_a_new_process_works_on_the_last_hsm(make):
    """Same story, check disabled: 5 of 5 succeed."""
    cluster = make(2, sdk=5, availability_check=False)
    key = cluster.client("app").generate_key("AES", 256, label="kek")
    cluster.chaos.destroy("hsm-2")
    for _ in range(5):
        new = cluster.client("app")
        new.encrypt(new.find_keys(label="kek")[0], b"data")
    assert key in new.find_keys()


def test_a_new_process_works_again_once_the_key_is_on_two_hsms(make):
    """A replacement joins: the next call of the very process that was refused succeeds."""
    cluster = make(2, sdk=5)
    cluster.client("app").generate_key("AES", 256, label="kek")
    cluster.chaos.replace("hsm-2")
    new = cluster.client("app")
    (found,) = new.find_keys(label="kek")
    with pytest.raises(KeyUnavailable):
        new.encrypt(found, b"data")
    cluster.clock.advance(300)
    before = cluster.clock.now
    new.encrypt(found, b"data")

    assert cluster.clock.now - before < 1


def test_the_check_is_made_once_per_key_and_process_and_outlives_a_logout(make):
    """A positive result is kept: `check_key` is asked for the first use only."""
    cluster = make(sdk=5)
    cluster.client("maker").generate_key("AES", 256, label="kek")
    app = cluster.client("app")
    (found,) = app.find_keys(label="kek")
    with cluster.chaos.inject("pass @ hsm.execute command=check_key client=app*") as asked:
        for _ in range(4):
            app.encrypt(found, b"data")
        app.logout()
        app.login(cluster.default_user, cluster.default_password)
        app.encrypt(found, b"data")

    assert asked.hits == 3, "once, on each of three HSMs"


def test_a_negative_result_is_not_kept(make):
    """What was refused is checked again at the next call."""
    cluster = make(sdk=5, sweep=False)
    maker = cluster.client("maker")
    with cluster.chaos.fail_clone(), pytest.raises(KeyUnavailable):
        maker.generate_key("AES", 256, label="kek")
    cluster.check.no_orphan_keys()


def test_a_key_that_no_hsm_has_is_not_found_at_once(make):
    """Nothing to wait for: deleted keys are no matter of availability."""
    cluster = make(sdk=5)
    maker, app = cluster.client("maker"), cluster.client("app")
    key = maker.generate_key("AES", 256, label="kek")
    (found,) = app.find_keys(label="kek")
    maker.delete_key(key)
    before = cluster.clock.now
    with pytest.raises(KeyNotOnHsm, match="no HSM holds key"):
        app.encrypt(found, b"data")

    assert cluster.clock.now - before < 1


def test_a_session_key_needs_no_second_hsm(make):
    """The check is about token keys."""
    cluster = make(1, sdk=5)
    app = cluster.client()
    dek = app.generate_key("AES", 256, label="dek", token=False)

    assert app.decrypt(dek, app.encrypt(dek, b"data")) == b"data"
    assert app.log == []


@pytest.mark.parametrize("use", ["wrap_key", "unwrap_key", "derive_key"])
def test_the_keys_that_other_keys_are_made_with_are_checked_too(make, use):
    """Wrapping, unwrapping and deriving use a key as signing does."""
    cluster = make(2, sdk=5)
    maker = cluster.client("maker")
    kek = maker.generate_key("AES", 256, label="kek")
    blob = maker.wrap_key(kek, with_key=kek)
    cluster.chaos.destroy("hsm-2")
    app = cluster.client("app")
    (found,) = app.find_keys(label="kek")
    with pytest.raises(KeyUnavailable):
        if use == "wrap_key":
            app.wrap_key(found, with_key=found)
        elif use == "unwrap_key":
            app.unwrap_key(blob, with_key=found, kind="AES", token=False)
        else:
            app.derive_key(found, None, token=False)


def test_finding_and_deleting_need_no_second_hsm(make, holders):
    """They use no key: an operator can clean up a degraded cluster (a guess)."""
    cluster = make(2, sdk=5)
    cluster.client("maker").generate_key("AES", 256, label="kek")
    cluster.chaos.destroy("hsm-2")
    app = cluster.client("app")
    app.delete_key(app.find_keys(label="kek")[0])

    assert holders(cluster, "kek") == []


def test_the_numbers_of_the_check_are_the_profiles(make):
    """Copies and budget can be changed; the texts follow."""
    cluster = make(2, sdk=5, availability_copies=3, availability_budget_s=5)
    before = cluster.clock.now
    with pytest.raises(KeyUnavailable, match="at least 3 HSMs"):
        cluster.client().generate_key("AES", 256)

    assert cluster.clock.now - before < 6
