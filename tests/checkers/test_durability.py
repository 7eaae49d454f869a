"""Are lost keys and keys at risk found, and nothing else?"""

import pytest

from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.checkers.verdict import Finding
from pytest_hsmcluster.errors import UsageError

MS = 1_000_000


# -- lost: bad histories ---------------------------------------------------------------


def test_key_that_died_with_its_only_hsm_is_lost(tell):
    """A key on one HSM, acknowledged, is lost when that HSM is destroyed; SDK 3's minimum would have refused it."""
    story = tell(sdk=3, create_object_minimum_nodes=1)
    key = story.create(on=["hsm-1"])
    story.destroy("hsm-1", key)

    assert HsmCheck(story.history).lost_keys() == [
        Finding(
            check="no_lost_keys",
            key="key-1",
            label="payroll",
            handle=262144,
            hsms=("hsm-1",),
            since_ns=4 * MS,
            cause="hsm-1, which held the only copy, was destroyed at 0.004000 s",
            setting="create_object_minimum_nodes=2",
        )
    ]


def test_lost_key_raises_one_line_that_says_everything(tell):
    """The message names key, handle, HSM, instant, cause and setting."""
    story = tell(sdk=3)
    story.destroy("hsm-1", story.create(on=["hsm-1"]))

    with pytest.raises(AssertionError) as raised:
        HsmCheck(story.history).no_lost_keys()

    assert str(raised.value) == (
        "lost key 'payroll' (key-1, handle 262144) on hsm-1 since 0.004000 s: hsm-1, which held the only copy, was "
        "destroyed at 0.004000 s; create_object_minimum_nodes=2 would have prevented it"
    )


def test_key_whose_hsms_are_all_destroyed_is_lost_and_no_setting_helps(tell):
    """When every HSM is destroyed, no number of copies would have saved the key."""
    story = tell(sdk=3)
    key = story.create()
    for hsm in ("hsm-2", "hsm-1", "hsm-3"):
        story.destroy(hsm, key)

    [lost] = HsmCheck(story.history).lost_keys()

    assert (lost.hsms, lost.since_ns, lost.setting) == (("hsm-1", "hsm-2", "hsm-3"), 8 * MS, None)
    assert lost.cause == (
        "no HSM holds it: hsm-2 was destroyed at 0.006000 s, hsm-1 was destroyed at 0.007000 s, "
        "hsm-3 was destroyed at 0.008000 s"
    )


def test_two_of_three_hsms_lost_ask_for_a_minimum_of_three(tell):
    """The setting that helps is one copy more than HSMs were lost."""
    story = tell(sdk=3)
    key = story.create(on=["hsm-1", "hsm-2"])
    story.destroy("hsm-1", key)
    story.destroy("hsm-2", key)

    [lost] = HsmCheck(story.history).lost_keys()

    assert lost.setting == "create_object_minimum_nodes=3"


def test_only_hsms_that_were_there_when_the_key_was_made_could_have_held_it(tell):
    """A minimum that the cluster of that instant could not meet would have prevented nothing."""
    story = tell("hsm-1", "hsm-2", sdk=3)
    story.destroy("hsm-2")
    key = story.create(on=["hsm-1"])
    story.join("hsm-3")
    story.destroy("hsm-1", key)
    assert HsmCheck(story.history).lost_keys()[0].setting is None


def test_hsm_that_was_lost_before_the_key_was_made_asks_for_no_more_copies(tell):
    """Only losses since its birth count."""
    story = tell("hsm-1", "hsm-2", "hsm-3", sdk=3)
    story.destroy("hsm-3")
    key = story.create(on=["hsm-1"])
    story.destroy("hsm-1", key)
    assert HsmCheck(story.history).lost_keys()[0].setting == "create_object_minimum_nodes=2"


def test_sdk_5_without_its_check_loses_keys_that_the_check_would_have_refused(tell):
    """With SDK 5 the hint is the availability check, when it was off; when it was on there is none."""
    for check_on, setting in ((False, "disable_key_availability_check=false"), (True, None)):
        story = tell(sdk=5, availability_check=check_on)
        story.destroy("hsm-1", story.create(on=["hsm-1"]))
        [lost] = HsmCheck(story.history).lost_keys()
        assert lost.setting == setting


def test_key_of_an_unknown_client_has_no_setting(tell):
    """A history without facts about the run names no setting."""
    story = tell()
    story.destroy("hsm-1", story.create(on=["hsm-1"]))
    assert HsmCheck(story.history).lost_keys()[0].setting is None


def test_adopted_key_is_lost_like_one_that_was_made(tell):
    """A key of an `info` create that was found and used is relied on; no setting of the create is to blame."""
    story = tell(sdk=3)
    key = story.create(on=["hsm-1"], outcome="info")
    story.find(key)
    story.use(key, "encrypt")
    story.destroy("hsm-1", key)

    [lost] = HsmCheck(story.history).lost_keys()

    assert (lost.key, lost.since_ns, lost.setting) == ("key-1", 8 * MS, None)


def test_key_that_was_gone_before_it_was_acknowledged_is_lost_from_the_acknowledgement(tell):
    """Destroying the source just before the report loses the key at the instant of the `ok`."""
    story = tell()
    op = story.invoke("generate_key", label="late")
    key = story.born("late", ["hsm-1"], name="generate_key", op=op)
    story.destroy("hsm-1", key)
    story.end(op, keys=(key,))

    [lost] = HsmCheck(story.history).lost_keys()

    assert lost.since_ns == 4 * MS
    assert lost.cause.endswith("destroyed at 0.003000 s; it was acknowledged after that, at 0.004000 s")


@pytest.mark.parametrize("name", ["import_key", "unwrap_key", "derive_key"])
def test_imported_unwrapped_and_derived_keys_are_acknowledged_by_their_ok(tell, name):
    """Every way of making a key counts."""
    story = tell()
    base = story.create("base")
    story.destroy("hsm-1", story.create("made", ["hsm-1"], name=name, under=None if name == "import_key" else base))
    assert [lost.label for lost in HsmCheck(story.history).lost_keys()] == ["made"]


def test_failed_delete_does_not_excuse_a_loss(tell):
    """A delete that certainly did not happen removes nothing."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.delete(key, on=[], outcome="fail")
    story.destroy("hsm-1", key)
    assert [lost.key for lost in HsmCheck(story.history).lost_keys()] == [key]


def test_tombstoned_copy_does_not_hold_a_key(tell):
    """A key whose last copy is tombstoned is lost."""
    story = tell()
    key = story.create(on=["hsm-1", "hsm-2"])
    story.tombstoned(key, "hsm-2", "delete")
    story.destroy("hsm-1", key)
    [lost] = HsmCheck(story.history).lost_keys()
    assert "hsm-2 was told to tombstone it at" in lost.cause


def test_key_on_an_hsm_that_was_lost_without_a_word_is_lost(tell):
    """The `lost` event alone is enough."""
    story = tell()
    story.create(on=["hsm-1"])
    story.destroy("hsm-1")
    [lost] = HsmCheck(story.history).lost_keys()
    assert (lost.hsms, lost.cause) == (("hsm-1",), "hsm-1, which held the only copy, was lost at 0.004000 s")


def test_copy_that_came_again_and_was_lost_without_a_word_was_lost_then(tell):
    """The last copy counts, not the one that went before."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.gone(key, "hsm-1", "restore")
    story.held(key, "hsm-1", "restore")
    story.destroy("hsm-1")
    [lost] = HsmCheck(story.history).lost_keys()
    assert lost.cause == "hsm-1, which held the only copy, was lost at 0.006000 s"


def test_backup_does_not_save_a_key_but_is_named(tell):
    """A backup has the key: it is lost all the same, and the cause says where it is."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.destroy("hsm-1", key)
    backups = {"backup-1": ["key-7"], "backup-2": [key]}
    for given in (backups, lambda: backups):
        [lost] = HsmCheck(story.history, backups=given).lost_keys()
        assert lost.cause.endswith("; backup backup-2 has it")


def test_partial_cleanup_does_not_excuse_a_later_loss(tell):
    """A leftover that the cleanup missed, found and used, is lost with its HSM."""
    story = tell()
    op = story.invoke("generate_key", label="left")
    key = story.born("left", ["hsm-1", "hsm-2"], name="generate_key", op=op)
    story.gone(key, "hsm-1", "cleanup", op=op)
    story.end(op, "info", error="TooFewCopies")
    story.find(key)
    story.use(key)
    story.destroy("hsm-2", key)
    assert [lost.key for lost in HsmCheck(story.history).lost_keys()] == [key]


# -- lost: good histories --------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["ok", "info", "open"])
def test_key_that_was_deleted_or_may_have_been_is_not_lost(tell, outcome):
    """Deleted on purpose, or with an unknown outcome: no key to miss."""
    story = tell()
    key = story.create()
    story.delete(key, outcome=outcome)
    check = HsmCheck(story.history)
    check.no_lost_keys()
    check.durable()


def test_delete_that_begins_before_the_loss_excuses_it_while_it_is_open(tell):
    """An open delete is a removal, whatever becomes of the HSM meanwhile."""
    story = tell()
    key = story.create(on=["hsm-1"])
    story.invoke("delete_key", key)
    story.destroy("hsm-1", key)
    HsmCheck(story.history).no_lost_keys()


def test_found_key_is_not_relied_on_until_it_is_used(tell):
    """A find alone does not acknowledge, nor does looking at attributes, nor a use that failed."""
    story = tell()
    key = story.create(on=["hsm-1"], outcome="info")
    story.find(key)
    story.use(key, "get_attributes")
    story.use(key, "sign", "info")
    story.destroy("hsm-1", key)
    HsmCheck(story.history).no_lost_keys()


def test_use_before_the_find_does_not_adopt(tell):
    """The use must follow the find."""
    story = tell()
    key = story.born(on=["hsm-1"])
    story.use(key)
    story.find(key)
    story.destroy("hsm-1", key)
    HsmCheck(story.history).no_lost_keys()


@pytest.mark.parametrize("state", ["down", "paused"])
def test_key_on_an_hsm_that_can_come_back_is_not_lost(tell, state):
    """Off but restartable, or paused: the key is still there."""
    story = tell()
    story.create(on=["hsm-1"])
    story.state("hsm-1", state)
    HsmCheck(story.history).no_lost_keys()


def test_key_that_came_with_a_snapshot_is_not_lost(tell):
    """A replacement that was restored with the key keeps it, when every HSM that had it before is gone."""
    story = tell("hsm-1", "hsm-2")
    key = story.create(on=["hsm-1"])
    story.join("hsm-3", key)
    story.destroy("hsm-1", key)
    HsmCheck(story.history).no_lost_keys()


def test_key_that_the_client_cleaned_up_is_not_lost(tell):
    """A failed create that was taken back leaves nothing to lose, even if it was used in between."""
    story = tell()
    op = story.invoke("generate_key", label="brief")
    key = story.born("brief", ["hsm-1"], name="generate_key", op=op)
    story.find(key, client="other")
    story.use(key, client="other")
    story.gone(key, "hsm-1", "cleanup", op=op)
    story.end(op, "fail", error="TooFewCopies")
    HsmCheck(story.history).no_lost_keys()


def test_session_key_is_never_lost(tell):
    """Session keys end with their HSM; that is what they are."""
    story = tell()
    key = story.create(on=["hsm-1"], token=False)
    story.destroy("hsm-1", key)
    check = HsmCheck(story.history)
    check.no_lost_keys()
    check.durable()


def test_create_that_nobody_was_told_of_loses_nothing(tell):
    """An `info` create whose key died is no loss."""
    story = tell()
    story.destroy("hsm-1", story.create(on=["hsm-1"], outcome="info"))
    HsmCheck(story.history).no_lost_keys()


def test_empty_history_breaks_no_promise(tell):
    """Nothing happened: all is well."""
    story = tell()
    story.records.clear()
    HsmCheck(story.history).no_lost_keys()


# -- at risk: bad histories ------------------------------------------------------------


def test_key_on_one_hsm_is_at_risk_from_its_acknowledgement(tell):
    """One copy does not survive one loss."""
    story = tell(sdk=3)
    story.create(on=["hsm-2"])

    assert HsmCheck(story.history).at_risk_keys() == [
        Finding(
            check="durable",
            key="key-1",
            label="payroll",
            handle=262144,
            hsms=("hsm-2",),
            since_ns=3 * MS,
            cause="1 of 2 needed copies; hsm-1 does not hold it; hsm-3 does not hold it",
            setting="create_object_minimum_nodes=2",
        )
    ]


def test_key_on_an_hsm_that_is_off_does_not_count(tell):
    """Two copies, one of them on an HSM that is off: at risk since it went off; no setting of the create helps."""
    story = tell(sdk=3)
    story.create(on=["hsm-1", "hsm-2"])
    story.crash("hsm-1")

    [risk] = HsmCheck(story.history).at_risk_keys()

    assert (risk.hsms, risk.since_ns, risk.setting) == (("hsm-2",), 5 * MS, None)
    assert risk.cause == ("1 of 2 needed copies; hsm-1 holds it and is down since 0.005000 s; hsm-3 does not hold it")


def test_more_copies_or_more_losses_ask_for_more(tell):
    """The larger of `copies` and `survive` + 1 is needed."""
    story = tell()
    story.create(on=["hsm-1", "hsm-2"])
    check = HsmCheck(story.history)
    for copies, survive in ((3, 1), (None, 2), (3, 0), (1, 2)):
        with pytest.raises(AssertionError, match="2 of 3 needed copies"):
            check.durable(copies=copies, survive=survive)


def test_smaller_cluster_cannot_hold_enough_and_the_finding_says_so(tell):
    """One HSM can hold one copy."""
    story = tell("hsm-1", "hsm-2", sdk=3)
    key = story.create()
    story.destroy("hsm-2", key)

    [risk] = HsmCheck(story.history).at_risk_keys()

    assert risk.cause == ("1 of 2 needed copies, and the cluster has only 1 HSM; hsm-2 was destroyed at 0.005000 s")
    assert risk.setting is None


@pytest.mark.parametrize(("left", "size"), [(0, "no HSM left"), (1, "only 1 HSM"), (2, "only 2 HSMs")])
def test_what_is_left_of_the_cluster_is_counted(tell, left, size):
    """HSMs that are lost are no part of it; those that are off are."""
    story = tell()
    key = story.create()
    for hsm in ("hsm-1", "hsm-2", "hsm-3")[left:]:
        story.destroy(hsm, key)
    if left:
        story.crash("hsm-1")
    [risk] = HsmCheck(story.history).at_risk_keys(copies=3)
    assert f" of 3 needed copies, and the cluster has {size};" in risk.cause


def test_session_key_that_was_made_a_token_key_is_one(tell):
    """CKA_TOKEN can be set later; from then on the key may be lost."""
    story = tell()
    key = story.create(on=["hsm-1"], token=False)
    story.attribute(key, "token", True, on=["hsm-1"])
    story.destroy("hsm-1", key)
    assert [lost.key for lost in HsmCheck(story.history).lost_keys()] == [key]


def test_lost_key_is_at_risk_too(tell):
    """No copy is fewer than two; the finding names no HSM."""
    story = tell()
    story.destroy("hsm-1", story.create(on=["hsm-1"]))
    [risk] = HsmCheck(story.history).at_risk_keys()
    assert (risk.hsms, risk.cause.split(";")[0]) == ((), "0 of 2 needed copies")
    assert str(risk).startswith("key at risk 'payroll' (key-1, handle 262144) since 0.003000 s: ")


def test_risk_counts_from_the_last_time_that_it_began(tell):
    """An HSM that goes off twice puts the key at risk from the second time."""
    story = tell()
    story.create(on=["hsm-1", "hsm-2"])
    story.crash("hsm-1")
    story.restart("hsm-1")
    story.crash("hsm-2")
    story.crash("hsm-1")
    story.restart("hsm-2")
    [risk] = HsmCheck(story.history).at_risk_keys()
    assert (risk.hsms, risk.since_ns) == (("hsm-2",), 7 * MS)


def test_joining_hsm_does_not_hold_yet(tell):
    """A copy on an HSM that is still joining protects nobody."""
    story = tell("hsm-1")
    key = story.create()
    story.state("hsm-2", "joining")
    story.held(key, "hsm-2", "join")
    [risk] = HsmCheck(story.history).at_risk_keys()
    assert risk.cause.endswith("hsm-2 holds it and is joining since 0.004000 s")


# -- at risk: good histories -----------------------------------------------------------


def test_two_copies_survive_one_loss(tell):
    """Two running holders are what `durable()` asks for."""
    story = tell()
    story.create(on=["hsm-1", "hsm-3"])
    HsmCheck(story.history).durable()


def test_paused_hsm_holds_its_keys(tell):
    """Up but silent still counts."""
    story = tell()
    story.create(on=["hsm-1", "hsm-3"])
    story.state("hsm-1", "paused")
    HsmCheck(story.history).durable()


def test_swept_key_is_no_longer_at_risk(tell):
    """The service's sweep makes up for what the client did not do."""
    story = tell()
    key = story.create(on=["hsm-1"])
    with pytest.raises(AssertionError):
        HsmCheck(story.history).durable()
    story.sweep(key, "hsm-2", "hsm-1")
    HsmCheck(story.history).durable()


def test_one_copy_is_enough_for_whoever_says_so(tell):
    """`survive=0` asks for one copy only."""
    story = tell("hsm-1")
    story.create()
    HsmCheck(story.history).durable(survive=0)
    HsmCheck(story.history).durable(copies=1, survive=0)


def test_key_that_nobody_relies_on_is_not_at_risk(tell):
    """Seeded, orphaned and merely found keys may be on one HSM."""
    story = tell()
    story.born("seeded", ["hsm-1"])
    story.find(story.create("found", ["hsm-2"], outcome="info"))
    HsmCheck(story.history).durable()


@pytest.mark.parametrize(
    "wrong", [{"copies": 0}, {"copies": True}, {"copies": 1.5}, {"survive": -1}, {"survive": None}, {"survive": "1"}]
)
def test_bad_numbers_are_a_usage_error(tell, wrong):
    """A test that asks for nonsense is told which argument and what is allowed."""
    [(name, _)] = wrong.items()
    with pytest.raises(UsageError, match=f"durable: {name} is an integer, "):
        HsmCheck(tell().history).durable(**wrong)
