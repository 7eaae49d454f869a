"""Creating with SDK 3: enough copies or none."""

import logging

import pytest

from pytest_hsmcluster import (
    CKR,
    CounterKdfParams,
    HsmUnavailable,
    KeyNotOnHsm,
    Kind,
    RequestTimeout,
    TooFewCopies,
    UsageError,
)

# Some ask for a copy on every HSM, which is allowed and warned of; test_config_minimum.py has the warning.
pytestmark = pytest.mark.filterwarnings("ignore:min_srv is:pytest_hsmcluster.ConfigWarning")

ORPHAN_LOG = "liquidSecurity ERR: print_node_ts_status: [create_object_min_nodes]Key: {} failed to tombstone on node:{}"


def test_a_create_clones_to_every_hsm_whatever_the_minimum(make, holders):
    """With a minimum of 1 the other copies are made too; the setting decides success only."""
    cluster = make(sdk=3)
    key = cluster.client().generate_key("AES", 256, label="kek")

    assert holders(cluster, "kek") == ["hsm-1", "hsm-2", "hsm-3"]
    assert all(key.number in hsm.keys for hsm in cluster.hsms), "the handle is the same everywhere"


def test_the_audit_logs_tell_of_a_create_as_the_guide_shows(make):
    """The maker logs generate and extract, every other one insert, all with one handle."""
    cluster = make(sdk=3)
    key = cluster.client().generate_key("AES", 256, label="kek")

    told = [[entry.opcode for entry in hsm.audit_log if key.number in entry.handles] for hsm in cluster.hsms]
    insert = ["CN_INSERT_MASKED_OBJECT_USER"]
    assert told == [["CN_GENERATE_KEY", "CN_EXTRACT_MASKED_OBJECT_USER"], insert, insert]


def test_a_minimum_of_one_succeeds_where_no_copy_can_be_made(make, holders):
    """The default: the create is acknowledged with one copy."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.fail_clone():
        app.generate_key("AES", 256, label="kek")

    assert holders(cluster, "kek") == ["hsm-1"]
    assert cluster.history.last.kind is Kind.OK


def test_too_few_copies_are_cleaned_up_and_the_create_certainly_failed(make, holders):
    """A minimum of 2 and no copy: nothing is left, the outcome is `fail`, it can be tried again."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    with cluster.chaos.fail_clone():
        with pytest.raises(TooFewCopies, match=r"reached 1 of 2 HSMs: hsm-1; all copies were removed") as caught:
            app.generate_key("AES", 256, label="kek")

    refused = caught.value
    assert (refused.copies, refused.needed, refused.leftovers, refused.outcome) == (1, 2, (), "fail")
    assert refused.ckr == CKR.FUNCTION_FAILED
    assert holders(cluster, "kek") == []
    assert app.log == []
    assert cluster.history.last.kind is Kind.FAIL
    app.generate_key("AES", 256, label="kek")
    assert len(holders(cluster, "kek")) == 3


@pytest.mark.parametrize(
    ("minimum", "min_srv", "needed"),
    [(2, None, 2), (None, 2, 2), (2, 1, 2), (1, 2, 2), (2, 3, 3), (None, None, 1)],
)
def test_the_larger_of_setting_and_option_counts(make, minimum, min_srv, needed):
    """`create_object_minimum_nodes` and `-min_srv`: the larger one wins."""
    cluster = make(sdk=3, create_object_minimum_nodes=minimum)
    app = cluster.client()
    with cluster.chaos.fail_clone():
        if needed == 1:
            app.generate_key("AES", 256, min_srv=min_srv)
        else:
            with pytest.raises(TooFewCopies) as caught:
                app.generate_key("AES", 256, min_srv=min_srv)
            assert caught.value.needed == needed


@pytest.mark.parametrize("operation", ["generate", "pair", "import", "unwrap", "derive"])
def test_every_way_to_make_a_token_key_needs_its_copies(make, operation):
    """Generation, pairs, import, unwrap and derive alike; each comes to every HSM otherwise."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    before = _make(app, operation)
    copies = [len(hsm.keys) for hsm in cluster.hsms]
    with cluster.chaos.fail_clone(), pytest.raises(TooFewCopies):
        _make(app, operation, before)

    assert len(set(copies)) == 1
    cluster.check.no_orphan_keys()
    cluster.check.no_lost_keys()
    cluster.check.in_sync()


def _make(app, operation, base=None):
    if operation == "generate":
        return app.generate_key("AES", 256, label="new")
    if operation == "pair":
        return app.generate_key_pair("EC", "P-256", label="new")
    if operation == "import":
        return app.import_key("AES", bytes(range(16)), label="new")
    base = base or app.generate_key("AES", 256, label="base")
    if operation == "unwrap":
        app.unwrap_key(app.wrap_key(base, with_key=base), with_key=base, kind="AES", label="new")
    else:
        app.derive_key(base, CounterKdfParams(label=b"l", context=b"c"), label="new")
    return base


def test_a_session_key_stays_on_one_hsm_and_needs_no_copies(make, holders):
    """Session keys are never copied, so no minimum applies to them."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    with cluster.chaos.fail_clone() as hardship:
        app.generate_key("AES", 256, label="dek", token=False)
        assert hardship.hits == 0
        app.generate_key_pair("EC", "P-256", label="eph", token=False)
        hardship.injections[0].may_miss = True

    assert holders(cluster, "dek") == ["hsm-1"]
    assert holders(cluster, "eph") == ["hsm-2"]


# -- cleaning up --------------------------------------------------------------------------


def test_a_copy_that_cannot_be_deleted_is_tombstoned_and_counts_as_gone(make, holders):
    """Second rung of the cleanup: a tombstoned key is neither listed nor usable; the outcome is still `fail`."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    with cluster.chaos.fail_clone(), cluster.chaos.inject("fail 0xBB @ hsm.execute command=delete_key"):
        with pytest.raises(TooFewCopies) as caught:
            app.generate_key("AES", 256, label="kek")

    assert (caught.value.outcome, caught.value.leftovers) == ("fail", ())
    assert [key.label for key in cluster.hsm("hsm-1").tombstones.values()] == ["kek"]
    assert app.find_keys(label="kek") == []
    cluster.sweep_now()
    assert holders(cluster, "kek") == []
    cluster.check.no_orphan_keys()


def test_a_copy_that_can_neither_be_deleted_nor_tombstoned_is_an_orphan(make, holders):
    """Third rung: something stays, the leftovers are named, and nobody may say that nothing happened."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    with cluster.chaos.fail_clone(), cluster.chaos.inject("fail 0xBB @ hsm.execute command=delete_key"):
        with cluster.chaos.inject("fail 0xBB @ hsm.execute command=tombstone_key"):
            with pytest.raises(TooFewCopies) as caught:
                app.generate_key("AES", 256, label="kek")

    assert (caught.value.outcome, caught.value.leftovers) == ("info", ("hsm-1",))
    assert holders(cluster, "kek") == ["hsm-1"]


@pytest.mark.parametrize("source", ["hsm-1", "hsm-2"])
def test_an_orphan_is_logged_with_handle_and_node(make, holders, caplog, source):
    """`failed to tombstone on node:<n>`; n counts HSMs from 0."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    with caplog.at_level(logging.WARNING, "pytest_hsmcluster.client"):
        with cluster.chaos.route_to(source), cluster.chaos.fail_clone(), cluster.chaos.fail_cleanup():
            with pytest.raises(TooFewCopies, match=f"copies may be left on {source}: look for the label") as caught:
                app.generate_key("AES", 256, label="kek")

    line = ORPHAN_LOG.format(262144, int(source[-1]) - 1)
    assert app.log == [line]
    assert f"app: {line}" in caplog.text
    assert (caught.value.leftovers, caught.value.outcome) == ((source,), "info")
    assert holders(cluster, "kek") == [source]
    assert [finding.hsms for finding in cluster.check.orphan_keys()] == [(source,)]
    assert cluster.history.last.kind is Kind.INFO


def test_an_orphan_is_repaired_by_finding_and_deleting_it(make, holders):
    """The documented remedy: look for the label, delete the key."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    with cluster.chaos.fail_clone(), cluster.chaos.fail_cleanup(), pytest.raises(TooFewCopies):
        app.generate_key("AES", 256, label="kek")
    (orphan,) = app.find_keys(label="kek")
    app.delete_key(orphan)

    assert holders(cluster, "kek") == []
    cluster.check.no_orphan_keys()


def test_an_insert_without_an_answer_is_cleaned_up_too(make, holders):
    """An HSM that may hold the key is cleaned: its copy is found and removed, so nothing is left and all is known."""
    cluster = make(2, sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("drop @ wire.response command=insert_masked nth=1"):
        with pytest.raises(TooFewCopies) as caught:
            app.generate_key("AES", 256, label="kek", min_srv=2)

    assert (caught.value.outcome, caught.value.leftovers) == ("fail", ())
    assert holders(cluster, "kek") == []


def test_an_insert_that_may_come_late_leaves_the_outcome_open(make, holders):
    """Not there yet is no answer to trust: the held insert is done after the cleanup, so `fail` would be a lie."""
    cluster = make(2, sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("hold @ wire.request command=insert_masked") as held:
        with pytest.raises(TooFewCopies) as caught:
            app.generate_key("AES", 256, label="kek", min_srv=2)
        assert holders(cluster, "kek") == []
        held.release()
        cluster.clock.advance(1)

    assert (caught.value.outcome, caught.value.leftovers) == ("info", ("hsm-2",))
    assert holders(cluster, "kek") == ["hsm-2"], "the late commit"
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["kek"]


def test_one_half_of_a_pair_does_not_stay_behind(make):
    """Each half is a key of its own: where only one could be inserted, it is removed again."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.authorize command=insert_masked nth=2"):
        with cluster.chaos.inject("drop @ client.clone hsm=hsm-3"), pytest.raises(TooFewCopies) as caught:
            app.generate_key_pair("EC", "P-256", label="signer")

    assert caught.value.outcome == "fail"
    assert [len(hsm.keys) for hsm in cluster.hsms] == [0, 0, 0]


def test_a_source_that_is_lost_before_any_copy_is_made(make, holders):
    """With a minimum of 1 the create succeeds and the key is lost; with 2 it fails, and what happened is open."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.kill_mid_create(after_copies=1):
        app.generate_key("AES", 256, label="lost")
    assert [finding.label for finding in cluster.check.lost_keys()] == ["lost"]

    careful = make(sdk=3, create_object_minimum_nodes=2)
    with careful.chaos.kill_mid_create(after_copies=1), pytest.raises(TooFewCopies) as caught:
        careful.client().generate_key("AES", 256, label="refused")
    assert (caught.value.outcome, caught.value.leftovers) == ("info", ("hsm-1",))
    careful.check.no_lost_keys()


def test_a_source_that_is_lost_after_one_copy_leaves_a_key_that_survives(make, holders):
    """The client has the masked object by then and copies on."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    with cluster.chaos.kill_mid_create(after_copies=2):
        cluster.client().generate_key("AES", 256, label="kek")

    assert holders(cluster, "kek") == ["hsm-2", "hsm-3"]
    cluster.check.durable(copies=2)


def test_a_target_that_is_down_is_filled_by_the_sweep(make, holders):
    """A create succeeds without it if enough others hold the key; the service brings the copy later."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    with cluster.chaos.crash("hsm-3"):
        app.generate_key("AES", 256, label="kek")
        assert holders(cluster, "kek") == ["hsm-1", "hsm-2"]
    cluster.sweep_now()

    assert len(holders(cluster, "kek")) == 3


def test_one_hsm_down_is_all_that_a_minimum_of_all_hsms_bears(make):
    """Why the documented maximum is one fewer: nothing can be created while one HSM is down."""
    with pytest.warns(UserWarning, match="the documented maximum is 2"):
        cluster = make(sdk=3, create_object_minimum_nodes=3)
    app = cluster.client()
    app.generate_key("AES", 256)
    with cluster.chaos.crash("hsm-2"), pytest.raises(TooFewCopies):
        app.generate_key("AES", 256)


def test_a_sweep_in_the_middle_of_a_failed_create_makes_an_orphan(make, holders):
    """The client cleans where it put the key; a copy that the service made meanwhile stays."""
    cluster = make(sdk=3, create_object_minimum_nodes=2, sweep_period_s=1)
    app = cluster.client()
    with cluster.chaos.fail_clone(), cluster.chaos.inject("delay 2s @ client.cleanup hsm=hsm-1"):
        with pytest.raises(TooFewCopies) as caught:
            app.generate_key("AES", 256, label="kek")

    assert caught.value.outcome == "fail", "every command of the create is undone"
    assert "hsm-2" in holders(cluster, "kek")
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["kek"]


# -- unknown and certain outcomes of the first step ----------------------------------------------


@pytest.mark.parametrize(
    ("spec", "error", "outcome", "made"),
    [
        ("fail KeyCapacityReached @ hsm.commit command=generate_key", "KeyCapacityReached", "fail", 0),
        ("drop @ wire.request command=generate_key", "RequestTimeout", "info", 0),
        ("drop @ wire.response command=generate_key", "RequestTimeout", "info", 1),
        ("corrupt @ wire.request command=generate_key", "HsmUnavailable", "info", 0),
        ("fail CKR_DEVICE_ERROR @ hsm.receive command=generate_key", "HsmUnavailable", "fail", 0),
        ("fail CKR_DEVICE_ERROR @ hsm.reply command=generate_key", "HsmUnavailable", "info", 1),
        ("fail CKR_DEVICE_ERROR @ client.receive command=generate_key", "HsmUnavailable", "info", 1),
        ("fail CKR_DEVICE_ERROR @ client.send command=generate_key", "HsmUnavailable", "fail", 0),
    ],
)
def test_the_first_step_decides_how_much_is_known(make, holders, spec, error, outcome, made):
    """Refused is `fail`; silence and an error after the work are `info`, and then there may be a key."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject(spec):
        with pytest.raises(Exception) as caught:
            app.generate_key("AES", 256, label="kek")

    assert (type(caught.value).__name__, caught.value.outcome) == (error, outcome)
    assert cluster.history.last.kind is Kind(outcome)
    assert len(holders(cluster, "kek")) == made


# -- time -------------------------------------------------------------------------------------------


def test_without_a_time_out_all_copies_are_tried_before_it_returns(make):
    """`create_returns` is "auto": all tried, so the time of every copy is spent."""
    cluster = make(sdk=3)
    app = cluster.client()
    before = cluster.clock.now
    app.generate_key("AES", 256, min_srv=1)

    assert cluster.clock.now - before > 2 * 0.08


def test_with_a_time_out_it_returns_when_there_are_enough_and_clones_on_in_the_background(make, holders):
    """`-min_srv 1 -timeout 1` returns as soon as one HSM has the key; the rest follows."""
    cluster = make(sdk=3)
    app = cluster.client()
    before = cluster.clock.now
    app.generate_key("AES", 256, label="kek", min_srv=1, timeout_s=1)
    assert cluster.clock.now - before < 0.01
    assert holders(cluster, "kek") == ["hsm-1"]

    cluster.clock.advance(0.1)
    assert holders(cluster, "kek") == ["hsm-1", "hsm-2"]
    cluster.clock.run_until_idle()
    assert len(holders(cluster, "kek")) == 3


def test_enough_can_be_the_rule_without_a_time_out(make, holders):
    """The profile's switch `create_returns`."""
    cluster = make(sdk=3, create_returns="enough", create_object_minimum_nodes=2)
    cluster.client().generate_key("AES", 256, label="kek")
    assert holders(cluster, "kek") == ["hsm-1", "hsm-2"]

    patient = make(sdk=3, create_returns="all tried")
    patient.client().generate_key("AES", 256, label="kek", min_srv=1, timeout_s=5)
    assert len(holders(patient, "kek")) == 3


def test_the_rest_goes_on_while_the_application_does_other_things(make, holders):
    """The background lane: a second client's call and the copies share simulated time."""
    cluster = make(sdk=3)
    app, other = cluster.client("app"), cluster.client("other")
    app.generate_key("AES", 256, label="kek", min_srv=1, timeout_s=1)
    with cluster.chaos.route_to("hsm-3"), pytest.raises(KeyNotOnHsm):
        other.sign(other.find_keys(label="kek")[0], b"x")
    cluster.clock.run_until_idle()

    other.sign(other.find_keys(label="kek")[0], b"x")
    assert len(holders(cluster, "kek")) == 3


def test_an_application_that_ends_leaves_the_rest_uncloned(make, holders):
    """Who should copy on? The service's sweep does, later."""
    cluster = make(sdk=3, sweep=False)
    app = cluster.client()
    app.generate_key("AES", 256, label="kek", min_srv=1, timeout_s=1)
    app.close()
    cluster.clock.run_until_idle()

    assert holders(cluster, "kek") == ["hsm-1"]


def test_a_time_out_that_is_too_short_creates_nothing_in_the_end(make, holders):
    """If n copies are not reached in time, the key is not created; a copy under way makes the outcome open."""
    cluster = make(sdk=3)
    app = cluster.client()
    before = cluster.clock.now
    with pytest.raises(TooFewCopies) as caught:
        app.generate_key("AES", 256, label="kek", min_srv=3, timeout_s=0.1)

    assert caught.value.copies == 2
    assert 0.1 <= cluster.clock.now - before < 0.12
    assert (caught.value.outcome, caught.value.leftovers) == ("info", ("hsm-3",))
    cluster.clock.run_until_idle()
    assert holders(cluster, "kek") == ["hsm-3"], "the insert was under way when the time was over"


def test_a_time_out_between_two_copies_creates_nothing_and_says_so(make, holders):
    """No copy is under way when the time is over: all are removed, the outcome is `fail`."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("delay 1s @ client.clone hsm=hsm-3"), pytest.raises(TooFewCopies) as caught:
        app.generate_key("AES", 256, label="kek", min_srv=3, timeout_s=0.5)

    assert (caught.value.outcome, caught.value.leftovers) == ("fail", ())
    cluster.clock.run_until_idle()
    assert holders(cluster, "kek") == []


def test_an_own_time_limit_says_nothing_of_the_hsm(make):
    """The client gives up because its user does; it does not believe the HSM down."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("delay 5s @ hsm.execute command=generate_key"), pytest.raises(RequestTimeout):
        app.generate_key("AES", 256, min_srv=1, timeout_s=1)
    with cluster.chaos.inject("pass @ hsm.execute command=random hsm=hsm-1") as seen:
        for _ in range(3):
            app.random(8)

    assert seen.hits == 1, "hsm-1 is still in the rotation"


def test_a_create_in_a_cluster_without_hsms_is_refused(make):
    """Total loss: the code of a whole cluster that cannot be reached."""
    cluster = make(1, sdk=3)
    app = cluster.client()
    with cluster.chaos.crash("hsm-1"), pytest.raises(HsmUnavailable) as caught:
        app.generate_key("AES", 256)

    assert (caught.value.hsm_code, caught.value.outcome) == (0x30000088, "fail")


def test_more_copies_than_are_left_are_the_clusters_refusal(make):
    """An HSM was lost after the test was written: that is no mistake of the caller."""
    cluster = make(sdk=3)
    app = cluster.client()
    cluster.chaos.destroy("hsm-3")
    with pytest.raises(TooFewCopies):
        app.generate_key("AES", 256, min_srv=3)
    with pytest.raises(UsageError, match="min_srv is 4; allowed: an integer, 1…3"):
        app.generate_key("AES", 256, min_srv=4)


def test_an_application_can_end_in_its_background_lane(make, holders):
    """Its create was told; the copies that were still to come are not made, and the next call meets a dead process."""
    cluster = make(sdk=3, sweep=False)
    app = cluster.client()
    with cluster.chaos.inject("crash @ client.clone hsm=hsm-3"):
        app.generate_key("AES", 256, label="kek", min_srv=1, timeout_s=1)
        cluster.clock.run_until_idle()

    assert holders(cluster, "kek") == ["hsm-1", "hsm-2"]
    assert not app.alive
