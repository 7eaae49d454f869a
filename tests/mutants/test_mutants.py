"""Each wrong cluster: a test of an application that a right one passes and that notices what is wrong."""

import pytest

from pytest_hsmcluster import (
    CKA,
    ClusterError,
    DataInvalid,
    HsmBusy,
    HsmCluster,
    KeyAccessDenied,
    KeyFunctionNotPermitted,
    KeyUnavailable,
    LoginFailed,
    RequestTimeout,
    SignatureInvalid,
    TooFewCopies,
    UsageError,
)
from pytest_hsmcluster.mutants import MUTANTS, words_of

SDK3 = {"sdk": 3, "create_object_minimum_nodes": 2}


class Trials:
    """A test for each mutant, under its name; `_` is `-`."""

    def lying_sweep(self, cluster, app):
        with cluster.chaos.fail_clone("hsm-3"):
            app.generate_key("AES", 256, label="kek")
        cluster.clock.advance(60)
        cluster.check.durable(copies=3)

    def hollow_copies(self, cluster, app):
        app.generate_key("AES", 256, label="kek")
        cluster.check.durable()

    def mixed_up_copies(self, cluster, app):
        app.generate_key("AES", 256, label="kek-1")
        kek = app.generate_key("AES", 256, label="kek-2")
        box = app.encrypt(kek, b"data")
        assert [app.decrypt(kek, box) for _ in cluster.hsms] == [b"data"] * 3

    def disowned_copies(self, cluster, app):
        app.generate_key("AES", 256, label="kek")
        cluster.check.in_sync()

    def bare_copies(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek")
        cluster.create_user("bob", "password")
        app.share_key(kek, with_user="bob")
        cluster.add_hsm("a")
        cluster.clock.advance(400)
        cluster.check.in_sync()

    def cloned_session_keys(self, cluster, app):
        app.generate_key("AES", 256, label="dek", token=False)
        cluster.check.session_keys_stay_put()

    def early_creates(self, cluster, app):
        with cluster.chaos.fail_clone(), pytest.raises(TooFewCopies):
            app.generate_key("AES", 256, label="kek", min_srv=2)

    def no_availability_check(self, cluster, app):
        with cluster.chaos.fail_clone(), cluster.chaos.stall_sync(), pytest.raises(KeyUnavailable):
            app.generate_key("AES", 256, label="kek")

    def doubled_creates(self, cluster, app):
        app.generate_key("AES", 256, label="kek")
        assert len(app.find_keys(label="kek")) == 1

    def hollow_deletes(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek")
        app.delete_key(kek)
        assert app.find_keys(label="kek") == []

    def half_deletes(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek")
        app.delete_key(kek)
        cluster.clock.advance(60)
        cluster.check.no_resurrected_keys()

    def undead_keys(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek")
        app.delete_key(kek)
        cluster.check.in_sync()
        cluster.clock.advance(60)
        assert app.find_keys(label="kek") == []

    def careless_cleanup(self, cluster, app):
        with cluster.chaos.fail_clone(), pytest.raises(TooFewCopies):
            app.generate_key("AES", 256, label="kek", min_srv=2)
        cluster.check.no_orphan_keys()

    def narrow_find(self, cluster, app):
        with cluster.chaos.fail_clone("hsm-1"), cluster.chaos.route_to("hsm-2"):
            app.generate_key("AES", 256, label="kek")
        assert [key.label for key in app.find_keys()] == ["kek"]

    def stale_copy(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek")
        app.set_attribute(kek, CKA.LABEL, "old-kek")
        assert {app.get_attributes(kek)[CKA.LABEL] for _ in cluster.hsms} == {"old-kek"}

    def gullible_verify(self, cluster, app):
        pair = app.generate_key_pair("EC", "secp256r1", label="signer")
        with pytest.raises(SignatureInvalid):
            app.verify(pair.public, b"other data", app.sign(pair.private, b"data"))

    def gullible_decrypt(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek")
        box = app.encrypt(kek, b"data", aad=b"contract")
        with pytest.raises(DataInvalid):
            app.decrypt(kek, box, aad=b"minutes")

    def repeating_random(self, cluster, app):
        assert app.random(16) != app.random(16)

    def sure_failures(self, cluster, app):
        with cluster.chaos.lose_response("generate_key"), pytest.raises(RequestTimeout) as lost:
            app.generate_key("AES", 256, label="kek")
        assert lost.value.outcome == "info"

    def never_busy(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek")
        with cluster.chaos.throttle("hsm-1"), cluster.chaos.route_to("hsm-1"), pytest.raises(HsmBusy):
            app.encrypt(kek, b"data")

    def open_door(self, cluster, app):
        with pytest.raises(LoginFailed):
            cluster.client("other", login=False).login(cluster.default_user, "wrong password")

    def open_keys(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek")
        cluster.create_user("bob", "password")
        other = cluster.client("other", login=False)
        other.login("bob", "password")
        with pytest.raises(KeyAccessDenied):
            other.encrypt(kek, b"data")

    def lax_attributes(self, cluster, app):
        kek = app.generate_key("AES", 256, label="kek", template={CKA.ENCRYPT: False})
        with pytest.raises(KeyFunctionNotPermitted):
            app.encrypt(kek, b"data")

    def immortal_session_keys(self, cluster, app):
        app.generate_key("AES", 256, label="dek", token=False)
        app.logout()
        cluster.check.session_keys_stay_put()

    def forgetful_restart(self, cluster, app):
        app.generate_key("AES", 256, label="kek")
        cluster.chaos.crash("hsm-2")
        cluster.chaos.restart("hsm-2")
        cluster.check.in_sync()

    def old_backups(self, cluster, app):
        app.generate_key("AES", 256, label="kek")
        with HsmCluster.from_backup(cluster.backup(), seed=2) as clone:
            clone_app = clone.client(login=False)
            clone_app.login(clone.default_user, cluster.default_password)
            assert [key.label for key in clone_app.find_keys()] == ["kek"]

    def strange_joins(self, cluster, app):
        cluster.add_hsm("a")
        cluster.clock.advance(400)
        assert cluster.coverage(cluster.default_user) == "full"


def trial(name):
    return getattr(Trials(), name.replace("-", "_"))


def play(name, mutant=None, cluster=None, **arguments):
    """Run the trial of a name in a cluster that is right, or the mutant of another name."""
    arguments = {"seed": 1, "keys": "seeded", **({"sdk": 5} if name == "no-availability-check" else SDK3), **arguments}
    with HsmCluster(3, **arguments) as cluster:
        infection = MUTANTS[mutant].apply(cluster) if mutant else None
        noticed = None
        try:
            trial(name)(cluster, cluster.client("app"))
        except (AssertionError, pytest.fail.Exception, ClusterError) as error:
            noticed = error
    return infection, noticed, cluster


def test_there_are_at_least_twelve():
    """Each has a name of words, a meaning, what sees it, and a trial here."""
    assert len(MUTANTS) >= 12
    for name, mutant in MUTANTS.items():
        assert mutant.name == name
        assert mutant.meaning
        assert mutant.seen_by
        assert trial(name)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_right_cluster_passes_the_trial(name):
    """So that it is the mutant, nothing else, that fails it."""
    _, noticed, cluster = play(name)
    assert noticed is None
    assert "mutant" not in cluster.history.note


@pytest.mark.parametrize("name", MUTANTS)
def test_the_trial_notices_the_mutant(name):
    """It acts, an assertion fails, and the journal still says what the HSMs hold: closing would tell otherwise."""
    infection, noticed, cluster = play(name, name)
    assert noticed is not None
    assert infection.hits > 0
    assert (cluster.history.note["mutant"], cluster.history.note["mutant_acted"]) == (name, infection.hits)


@pytest.fixture(scope="module")
def right():
    """Each trial's cluster, a right one."""
    return {name: play(name)[2] for name in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_until_a_mutant_acts_nothing_differs(mutant, right):
    """In every trial: it acts, and the right cluster shows signs of it; or the journal is the same to the byte."""
    for name in MUTANTS:
        infection, _, cluster = play(name, mutant)
        if infection.hits:
            assert MUTANTS[mutant].could_act(words_of(right[name])), name
        else:
            assert cluster.history.digest() == right[name].history.digest(), name
    with HsmCluster(3) as idle:
        idle.clock.advance(300)
    assert not MUTANTS[mutant].could_act(words_of(idle)), "its signs would have it tried everywhere"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_changes_one_cluster_only(name):
    """While it is there, and afterwards, another cluster passes the trial."""
    with HsmCluster(3, **SDK3) as wrong:
        MUTANTS[name].apply(wrong)
        assert play(name)[1] is None
        assert isinstance(wrong, HsmCluster)
        assert repr(wrong).startswith("<HsmCluster cluster-")
    assert play(name)[1] is None


def test_a_cluster_is_made_wrong_once_and_early():
    """Before it has clients, and one wrong thing at a time."""
    with HsmCluster(3) as cluster:
        infection = MUTANTS["lying-sweep"].apply(cluster)
        assert repr(infection) == "<Infection lying-sweep hits=0>"
        with pytest.raises(UsageError, match="is a lying-sweep already"):
            MUTANTS["half-deletes"].apply(cluster)
    with HsmCluster(3) as cluster:
        cluster.client()
        with pytest.raises(UsageError, match="before it has clients"):
            MUTANTS["half-deletes"].apply(cluster)
    with pytest.raises(UsageError, match="before it has clients"):
        MUTANTS["half-deletes"].apply(cluster)
