"""Do operators see the same of a cluster of processes as of a simulated one?"""

from itertools import product

import pytest

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.cryptoki import CKA
from tests.processes.parity import NETWORKS, SETTINGS, Stage, assert_alike, differences

QUICK = {"join_snapshot_s": 2, "join_active_s": 6}


def test_administration():
    """Users come, go and change their passwords, on all HSMs or on some; what is refused is refused."""

    def tell(on):
        cluster, admin = on.cluster, on.cluster.admin
        on(cluster.create_user, "bob", "bobs-password")
        on(cluster.create_user, "Bob", "bobs-password")
        on(cluster.create_user, "carol", "a-password", hsms=["hsm-2"])
        on(cluster.create_user, "dave", "a-password", "CO")
        on(cluster.create_user, "erin", "short")
        on(cluster.create_user, "erin", "a-password", "XX")
        on(cluster.create_user, "erin", "a-password", hsms=["hsm-9"])
        for name in ("bob", "carol", "dave", "nobody"):
            on(cluster.coverage, name)
        bob = on.app("bobs-app", login=False)
        on(bob.login, "BOB", "bobs-password")
        on(bob.generate_key, "AES", 256, label="bobs")
        on(admin.change_password, "bob", "another-password")
        on(admin.delete_user, "bob")
        on(bob.logout)
        on(admin.delete_user, "bob")
        on(admin.change_password, "bob", "another-password", ["hsm-1"])
        on(cluster.coverage, "bob")
        for _ in range(3):
            on(bob.login, "bob", "bobs-password")
            on(bob.login, "bob", "another-password")
        on(admin.delete_user, "carol", ["hsm-2"])
        on(on.chaos.crash, "hsm-1")
        on(cluster.create_user, "frank", "a-password")
        on(on.chaos.restart, "hsm-1")
        on(cluster.coverage, "frank")
        on(cluster.metrics)

    assert_alike(tell)


def test_views_and_sweeps():
    """Coverage, metrics and the ground truth, while copies are missing and after the sweep has brought them."""

    def tell(on):
        app = on.app()
        on(on.cluster.create_user, "bob", "bobs-password")
        with on.chaos.fail_clone("hsm-3"):
            key = on(app.generate_key, "AES", 256, label="key")
            pair = on(app.generate_key_pair, "EC", "P-256", label="pair")
        session = on(app.generate_key, "AES", 256, label="session", token=False)
        on(on.cluster.coverage, key)
        on(on.cluster.coverage, session)
        on(on.cluster.metrics)
        on(on.cluster.sweep_now)
        on(on.cluster.coverage, pair.private)
        with on.chaos.crash("hsm-2"):
            on(app.share_key, key, with_user="bob")
            on(app.set_attribute, key, CKA.LABEL, "renamed")
            on(app.delete_key, pair.public)
            on(on.cluster.metrics)
            on(on.cluster.sweep_now)
        on(on.cluster.coverage, key)
        on(on.cluster.sweep_now)
        on(on.cluster.coverage, pair.public)
        on(on.cluster.sweep_now)
        on(on.cluster.metrics)
        on(on.cluster.admin.trust_key, key.number)
        on(on.cluster.admin.trust_key, 7)

    assert_alike(tell)


@pytest.mark.parametrize("remembers", [False, True])
def test_service_sweeps_by_itself(remembers):
    """A delete that an HSM missed comes back, unless the sweep remembers it."""

    def tell(on):
        app = on.app()
        key = on(app.generate_key, "AES", 256, label="key")
        with on.chaos.stall_sync(), on.chaos.crash("hsm-2"):
            on(app.delete_key, key)
            on(app.generate_key, "AES", 256, label="new")
        on.wait(3)
        on.settle()
        on(app.find_keys)

    assert_alike(tell, sweep=True, sweep_period_s=1, sweep_remembers_deletes=remembers)


@pytest.mark.parametrize("networks", [*product(NETWORKS, NETWORKS)][1:], ids="→".join)
@pytest.mark.parametrize("tell", ["cloned", "synchronised"])
def test_clusters_of_both_kinds_work_together(tell, networks):
    """A backup of one fills the other, and single keys are copied: as between two simulated clusters."""
    tale = globals()[tell]
    found = differences(tale("simulated", "simulated"), tale(*networks))
    assert not found, "\n".join(found)


def opened(network, backup=None, **settings):
    """Return a stage with a cluster of its own, or with one from a backup."""
    pace = {"clock_rate": 20} if network == "processes" else {}
    return Stage(HsmCluster(2, network=network, backup=backup, **pace, **{**SETTINGS, **QUICK, **settings}))


def cloned(first, second):
    """Fill a cluster from a backup of another, and live on in both."""
    parent = opened(first)
    with parent.cluster:
        key, pair = lived_in(parent)
        child = opened(second, parent.cluster.backup())
        with child.cluster:
            app = child.app()
            child(app.find_keys)
            child(app.generate_key, "AES", 256, label="childs")
            child(bob_in(child).find_keys)
            child(app.sign, key, b"data")  # a handle of the other cluster
            found = child(app.find_keys, label="key")[0]
            child(app.get_attributes, found)
            child.note("equal", app.sign(found, b"data") == parent.clients[0].sign(key, b"data"))
            child(child.chaos.crash, "hsm-1")
            child(child.chaos.restart, "hsm-1")
            child(child.cluster.add_hsm, "c")
            child.settle()
            child(child.cluster.sweep_now)
            parent(parent.clients[0].delete_key, pair.private)
            return joined(parent, child)


def synchronised(first, second):
    """Copy keys from a cluster to its clone and back."""
    parent = opened(first)
    with parent.cluster:
        key, _ = lived_in(parent)
        child = opened(second, parent.cluster.backup())
        with child.cluster:
            app, old = child.app(), parent.clients[0]
            new = parent(old.generate_key, "AES", 256, label="new")
            parent(parent.cluster.sync_key, key, child.cluster)
            copy = parent.cluster.sync_key(new, child.cluster)
            child.note("copy", copy)
            parent(parent.cluster.sync_key, new, child.cluster)
            child.note("equal", app.sign(copy, b"data") == old.sign(new, b"data"))
            child(child.cluster.sweep_now)
            back = child(app.generate_key_pair, "EC", "P-256", label="back")
            parent.note("copy", child.cluster.sync_key(back.private, parent.cluster))
            session = parent(old.generate_key, "AES", 256, label="session", token=False)
            parent(parent.cluster.sync_key, session, child.cluster)
            child(app.find_keys)
            parent(old.find_keys)
            return joined(parent, child)


def lived_in(on):
    """Make keys and a user, and change them; return what there is."""
    on(on.cluster.create_user, "bob", "bobs-password")
    app = on.app()
    key = on(app.import_key, "AES", bytes(32), label="key", template={CKA.ID: b"\x07"})
    pair = on(app.generate_key_pair, "EC", "P-256", label="pair")
    on(app.share_key, key, with_user="bob")
    on(app.set_attribute, key, CKA.DECRYPT, False)
    on(app.delete_key, pair.public)
    bob = bob_in(on)
    on(bob.login, "bob", "wrong")
    return key, pair


def bob_in(on):
    """Return an application of another user."""
    bob = on.app("bobs-app", login=False)
    on(bob.login, "bob", "bobs-password")
    return bob


def joined(parent, child):
    """Return what is seen of both clusters."""
    return {
        f"{who} {name}": value
        for who, stage in (("parent:", parent), ("child:", child))
        for name, value in stage.end().items()
    }


@pytest.mark.parametrize("seed", [2**64, -(2**70)])
def test_seed_with_many_digits(seed):
    """A seed is any whole number: HSMs that are processes draw seeded keys from it, too."""

    def tell(on):
        app = on.app()
        key = on(app.generate_key, "AES", 256, label="seeded")
        on(app.sign, key, b"data")

    assert_alike(tell, seed=seed, keys="seeded")
