"""Problems that teams report from the field, each as a story in one cluster."""

import pytest

from pytest_hsmcluster import CKR, ClusterError, HsmUnavailable, KeyUnavailable, TooFewCopies

PASSWORD = "correct horse"


def test_a_create_that_answers_with_an_error_may_have_made_the_key(make):
    """CKR_ATTRIBUTE_VALUE_INVALID, and the key is there: look for it before creating it again."""
    cluster = make(sdk=3)
    app = cluster.client()
    spec = "fail CKR_ATTRIBUTE_VALUE_INVALID @ hsm.reply op=generate_key command=generate_key nth=1"
    with cluster.chaos.inject(spec), pytest.raises(ClusterError) as caught:
        app.generate_key("AES", 256, label="kek")

    assert (caught.value.ckr, caught.value.outcome) == (CKR.ATTRIBUTE_VALUE_INVALID, "info")
    assert [key.label for key in app.find_keys(label="kek")] == ["kek"]
    assert cluster.check.orphan_keys() == []


def test_a_create_again_after_an_error_makes_a_duplicate(make):
    """Labels are not unique: who creates again without looking has two keys."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.lose_response("generate_key"), pytest.raises(ClusterError):
        app.generate_key("AES", 256, label="kek")
    app.generate_key("AES", 256, label="kek")
    cluster.clock.advance(10)  # then the HSM that fell silent is reached again

    assert len(app.find_keys(label="kek")) == 2
    assert [finding.label for finding in cluster.check.duplicate_labels()] == ["kek"]


def test_a_stale_library_answers_device_error_until_it_is_initialized_again(make):
    """One application fails at every call while others work; here the fault's end stands for the new start."""
    cluster = make(sdk=5)
    app, other = cluster.client("app"), cluster.client("other")
    with cluster.chaos.inject("fail CKR_DEVICE_ERROR @ client.route client=app"):
        for _ in range(5):
            with pytest.raises(HsmUnavailable) as caught:
                app.random(4)
            assert caught.value.ckr == CKR.DEVICE_ERROR
            other.random(4)

    assert len(app.random(4)) == 4


def test_a_single_operation_fails_while_a_backup_is_taken_and_works_when_repeated(make):
    """Random bytes fail once on the HSM that is backed up; the next try works."""
    cluster = make(1, sdk=3)
    app = cluster.client()
    with cluster.chaos.inject("fail CKR_FUNCTION_FAILED @ hsm.execute hsm=hsm-1 command=random nth=1"):
        cluster.backup("hsm-1")
        with pytest.raises(ClusterError) as caught:
            app.random(4)
        assert len(app.random(4)) == 4

    assert (caught.value.ckr, caught.value.outcome) == (CKR.FUNCTION_FAILED, "fail")


def test_a_tool_that_does_not_know_a_new_hsm_leaves_it_without_the_user(make):
    """A stale list of HSMs: the user is made on those that are in it, and coverage is inconsistent."""
    cluster = make(2, sdk=3)
    listed = [hsm.id for hsm in cluster.hsms]
    cluster.add_hsm("c")
    cluster.clock.run_until_idle()

    assert cluster.create_user("alice", PASSWORD, hsms=listed) == listed
    assert cluster.coverage("alice") == "inconsistent"
    assert cluster.create_user("alice", PASSWORD) == ["hsm-3"]
    assert cluster.coverage("alice") == "full"


def test_an_account_that_is_locked_on_one_hsm_is_inconsistent_until_its_password_is_reset(make):
    """`locked` differs between HSMs; an admin's new password repairs it."""
    cluster = make(2, sdk=3)
    cluster.create_user("alice", PASSWORD)
    for number in range(6):
        app = cluster.client(f"app-{number}", login=False)
        with cluster.chaos.partition(f"app-{number}", "hsm-2"), pytest.raises(ClusterError):
            app.login("alice", "wrong password")
    locked = [hsm.accounts.locked("alice", cluster.profile.lockout_after) for hsm in cluster.hsms]

    assert sorted(locked) == [False, True]
    assert cluster.coverage("alice") == "inconsistent"
    cluster.admin.change_password("alice", "another horse")
    assert cluster.coverage("alice") == "full"


@pytest.mark.parametrize("minimum", [1, 2])
def test_keys_keep_working_on_the_last_hsm_under_sdk_3(make, minimum):
    """The minimum is asked for at creation only: with 2, no new key can be made any more."""
    cluster = make(3, sdk=3, create_object_minimum_nodes=minimum)
    app = cluster.client("app")
    key = app.generate_key("AES", 256, label="kek")
    box = app.encrypt(key, b"data")
    cluster.chaos.destroy("hsm-2")
    cluster.chaos.destroy("hsm-3")

    assert app.decrypt(key, box) == b"data"
    after_a_restart = cluster.client("app")
    assert after_a_restart.decrypt(after_a_restart.find_keys(label="kek")[0], box) == b"data"
    if minimum == 1:
        app.generate_key("AES", 256, label="new")
    else:
        with pytest.raises(TooFewCopies) as caught:
            app.generate_key("AES", 256, label="new")
        assert (caught.value.copies, caught.value.needed, caught.value.outcome) == (1, 2, "fail")


def test_a_create_while_the_second_hsm_joins_fails_with_the_check(make):
    """One HSM is up, the other still joins: the key can be on one only."""
    cluster = make(1, sdk=5)
    app = cluster.client()
    cluster.add_hsm("b")
    cluster.clock.advance(60)
    with pytest.raises(KeyUnavailable):
        app.generate_key("AES", 256, label="kek")

    cluster.clock.run_until_idle()
    assert app.generate_key("AES", 256, label="kek") in app.find_keys(label="kek")


def test_a_create_while_the_second_hsm_joins_is_swept_later_without_the_check(make, holders):
    """Made after the snapshot: on one HSM, until the service copies it to the one that joined."""
    cluster = make(1, sdk=5, availability_check=False, sweep=False)
    app = cluster.client()
    cluster.add_hsm("b")
    cluster.clock.advance(60)
    app.generate_key("AES", 256, label="kek")
    cluster.clock.run_until_idle()

    assert holders(cluster, "kek") == ["hsm-1"]
    assert cluster.sweep_now() == 1
    assert holders(cluster, "kek") == ["hsm-1", "hsm-2"]


@pytest.mark.parametrize(("longest", "taken"), [({}, 20), ({"longest_wait_s": 10}, 10)])
def test_a_create_without_a_time_out_ends_all_the_same(make, longest, taken):
    """ "No limit" is a day, and can be less: then a silent HSM is not even waited for until its time-out."""
    cluster = make(2, sdk=3, **longest)
    app = cluster.client()
    before = cluster.clock.now
    with cluster.chaos.pause("hsm-2"):
        app.generate_key("AES", 256, label="kek")

    assert cluster.clock.now - before == pytest.approx(taken, abs=0.1)


@pytest.mark.parametrize("kind", ["AES", "EC", "RSA"])
def test_one_handle_has_one_check_value_on_every_hsm(make, kind):
    """Whoever compares check values compares keys."""
    cluster = make(sdk=3, keys="seeded")
    app = cluster.client()
    made = {
        "AES": lambda: [app.generate_key("AES", 256, label="k")],
        "EC": lambda: [*_pair(app, "EC", "P-256")],
        "RSA": lambda: [*_pair(app, "RSA", 2048)],
    }[kind]()
    for key in made:
        values = {hsm.keys[key.number].material.check_value() for hsm in cluster.hsms}
        assert [len(value) for value in values] == [3]


def test_label_and_key_survive_the_clone_in_another_region_and_new_keys_do_not_follow(make):
    """Disaster recovery: keys of the backup are there, later ones have to be replicated by hand."""
    cluster = make(2, sdk=3)
    app = cluster.client()
    old = app.generate_key("AES", 256, label="old")
    box = app.encrypt(old, b"data")
    with type(cluster).from_backup(cluster.backup(), hsms=2, seed=2, sdk=3) as clone:
        new = app.generate_key("AES", 256, label="new")
        there = clone.client()
        assert there.decrypt(there.find_keys(label="old")[0], box) == b"data"
        assert there.find_keys(label="new") == []

        cluster.sync_key(new, clone)
        (copied,) = there.find_keys(label="new")
        assert there.decrypt(copied, app.encrypt(new, b"more")) == b"more"


def _pair(app, kind, size):
    pair = app.generate_key_pair(kind, size, label="k")
    return pair.public, pair.private
