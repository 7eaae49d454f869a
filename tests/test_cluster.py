"""A whole cluster: how it is built, used, closed, and what it refuses."""

import warnings

import pytest

from pytest_hsmcluster import (
    ClusterError,
    ConfigWarning,
    HsmCluster,
    Kind,
    TooFewCopies,
    UsageError,
    sdk3_config,
    sdk5_config,
    write_config,
)
from pytest_hsmcluster.arguments import check_arguments


@pytest.fixture
def cluster():
    with HsmCluster(3, sdk=3) as one:
        yield one


def test_cluster_without_arguments_has_three_hsms_in_three_zones_and_sdk_5():
    """What AWS recommends, and what it supports."""
    with HsmCluster() as cluster:
        assert [(hsm.id, hsm.zone) for hsm in cluster.hsms] == [("hsm-1", "a"), ("hsm-2", "b"), ("hsm-3", "c")]
        assert cluster.profile.sdk == 5
        assert cluster.minimum == 1
        assert repr(cluster) == f"<HsmCluster {cluster.id} of 3 HSMs, SDK 5, 0.000 s>"


def test_handle_is_the_same_number_on_every_hsm(cluster):
    """One key, one handle, and keys of a pair have one each."""
    client = cluster.client()
    keys = [client.generate_key("AES", 256, label="k")]
    pair = client.generate_key_pair("EC", "secp256r1", label="pair")
    keys += [pair.public, pair.private]

    for hsm in cluster.hsms:
        assert [(n, key.label) for n, key in hsm.keys.items()] == [(key.number, key.label) for key in keys]
    assert [key.number for key in keys] == [262_144, 262_145, 262_146]


def test_default_user_owns_what_clients_make(cluster):
    """`client()` logs in as it; without `login` it is nobody."""
    client, nobody = cluster.client(), cluster.client("other", login=False)
    key = client.generate_key("AES", 256, label="k")

    assert (client.user, nobody.user) == (cluster.default_user, None)
    assert cluster.hsm("hsm-1").keys[key.number].owner == cluster.default_user


def test_default_password_is_drawn_from_the_seed_and_shown_nowhere():
    """It is in no repr, and differs between seeds."""
    with HsmCluster(1, seed=1) as one, HsmCluster(1, seed=2) as two, HsmCluster(1, seed=1) as again:
        assert one.default_password == again.default_password != two.default_password
        assert one.default_password not in repr(one) + repr(one.profile) + repr(one.hsms) + repr(one.history)


@pytest.mark.parametrize("hsms", [0, -1, 29, 2.0, "3", True, None])
def test_cluster_has_1_to_28_hsms(hsms):
    """The quota is fixed."""
    with pytest.raises(UsageError, match=r"hsms is a number from 1 to 28 .*got"):
        HsmCluster(hsms)


@pytest.mark.parametrize("hsms", [1, 28])
def test_smallest_and_largest_cluster_work(hsms):
    """From one HSM to 28."""
    with HsmCluster(hsms, sdk=3) as cluster:
        key = cluster.client().generate_key("AES", 256, label="k")

        assert all(key.number in hsm.keys for hsm in cluster.hsms)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zones": ()}, "zones is a sequence of zone names"),
        ({"zones": "abc"}, "zones is a sequence of zone names"),
        ({"zones": ("a", "")}, "zones is a sequence of zone names"),
        ({"zones": ("a", 1)}, "zones is a sequence of zone names"),
        ({"zones": None}, "zones is a sequence of zone names"),
        ({"seed": "1"}, "seed is a whole number; got '1'"),
        ({"seed": 1.5}, "seed is a whole number; got 1.5"),
        ({"seed": True}, "seed is a whole number; got True"),
        ({"keys": "fixed"}, "keys is 'random' or 'seeded'; got 'fixed'"),
        ({"clock": "wall"}, "clock is 'virtual' or 'real'; got 'wall'"),
        ({"network": "tcp"}, "network is 'simulated' or 'processes'; got 'tcp'"),
        ({"network": "processes", "crash_peer": "silence"}, 'cannot be had with network="processes": the operating'),
        ({"clock": "real", "clock_rate": 0}, "rate is a number above 0"),
        ({"clock": "real", "clock_rate": float("inf")}, "rate is a number above 0"),
        ({"sdk": 4}, "sdk"),
        ({"create_object_minimum_nodes": 0, "sdk": 3}, "create_object_minimum_nodes is 0; allowed: "),
        ({"create_object_minimum_nodes": 4, "sdk": 3}, "create_object_minimum_nodes is 4; allowed: "),
        ({"create_object_minimum_nodes": -1, "sdk": 3}, "create_object_minimum_nodes is -1; allowed: "),
        ({"create_object_minimum_nodes": "2", "sdk": 3}, "create_object_minimum_nodes is '2'; allowed: "),
        ({"create_object_minimum_nodes": True, "sdk": 3}, "create_object_minimum_nodes is True; allowed: "),
        ({"create_object_minimum_nodes": 2, "sdk": 5}, "create_object_minimum_nodes is a setting of SDK 3"),
        ({"create_object_minimum_nodes": 2}, "create_object_minimum_nodes is a setting of SDK 3"),
        ({"config": "/nowhere/cloudhsm_client.cfg"}, "/nowhere/cloudhsm_client.cfg"),
        ({"config": 5}, "config is the path of a configuration file; got 5"),
        ({"hsm": 3}, "'hsm' is no argument of hsm_cluster and no field of its profile"),
    ],
)
def test_arguments_out_of_range_are_refused_with_what_is_allowed(arguments, message):
    """Before anything is built; and the marker's check says the same."""
    with pytest.raises(UsageError) as caught:
        HsmCluster(3, **arguments)
    with pytest.raises(UsageError) as checked:
        check_arguments(3, **arguments)

    assert message in str(caught.value)
    assert str(checked.value) == str(caught.value)


def test_minimum_of_all_hsms_is_accepted_with_a_warning():
    """It names the documented maximum, one fewer than the HSMs, and why."""
    with pytest.warns(ConfigWarning, match="the documented maximum is 2, one fewer than the HSMs"):
        cluster = HsmCluster(3, sdk=3, create_object_minimum_nodes=3)
    with cluster:
        assert cluster.minimum == 3


def test_minimum_of_one_hsm_of_one_is_no_reason_to_warn():
    """There is no smaller one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with HsmCluster(1, sdk=3, create_object_minimum_nodes=1) as cluster:
            assert cluster.minimum == 1


def test_settings_come_from_the_real_files(tmp_path):
    """A file of SDK 3 makes a cluster of SDK 3, one of SDK 5 one of SDK 5."""
    old, new = tmp_path / "cloudhsm_client.cfg", tmp_path / "cloudhsm-pkcs11.cfg"
    write_config(sdk3_config(hostname="10.0.0.10", create_object_minimum_nodes=2, reconnect_interval_s=7), old)
    write_config(sdk5_config(hostnames=["10.0.0.10"], disable_key_availability_check=True), new)

    with HsmCluster(3, config=old) as cluster:
        assert (cluster.profile.sdk, cluster.minimum) == (3, 2)
        assert cluster.profile.reconnect_interval_ns == 7_000_000_000
    with HsmCluster(3, config=new) as cluster:
        assert (cluster.profile.sdk, cluster.profile.availability_check) == (5, False)
    with pytest.raises(UsageError, match="is a file of SDK 3, and sdk=5 was asked for"):
        HsmCluster(3, config=old, sdk=5)


def test_argument_wins_over_the_file(tmp_path):
    """What is said closest counts."""
    path = tmp_path / "cloudhsm_client.cfg"
    write_config(sdk3_config(hostname="10.0.0.10", create_object_minimum_nodes=2), path)

    with HsmCluster(4, config=path, create_object_minimum_nodes=3, reconnect_interval_s=1) as cluster:
        assert cluster.minimum == 3
        assert cluster.profile.reconnect_interval_ns == 1_000_000_000


def test_closed_cluster_lets_nothing_happen_any_more():
    """Whatever is asked of it is refused; what happened can still be read."""
    cluster, other = HsmCluster(2, sdk=3), HsmCluster(1, sdk=3)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    backup = cluster.backup()
    cluster.close()
    events = len(cluster.history)

    for act in (
        cluster.client,
        cluster.async_client,
        cluster.sweep_now,
        cluster.backup,
        lambda: cluster.add_hsm("a"),
        lambda: cluster.remove_hsm("hsm-1"),
        lambda: cluster.create_user("alice", "password1"),
        lambda: cluster.sync_key(key, other),
        lambda: other.sync_key(other.client().generate_key("AES", 256, label="o"), cluster),
    ):
        with pytest.raises(UsageError, match=f"{cluster.id} is closed"):
            act()
    with pytest.raises(UsageError, match="closed"):
        client.encrypt(key, b"data")
    cluster.close()
    other.close()

    assert cluster.closed
    assert len(cluster.history) == events
    assert cluster.history[-1].kind is Kind.AUDIT
    assert len(cluster.history.digest()) == 64
    with HsmCluster.from_backup(backup, 1, sdk=3) as clone:
        assert [stored.label for stored in clone.hsm("hsm-1").keys.values()] == ["k"]


def test_closing_undoes_all_chaos_and_ends_all_clients():
    """Nothing stays behind: no fault, no session, no timer."""
    cluster = HsmCluster(2, sdk=3)
    client = cluster.client()
    client.generate_key("AES", 256, label="s", token=False)
    cluster.chaos.crash("hsm-2")
    cluster.chaos.partition("app", "hsm-1")
    cluster.chaos.inject("delay 5s @ wire.request")
    cluster.add_hsm("c")

    cluster.close()

    assert not client.alive
    assert cluster.chaos.hardships == []
    assert [hsm.session_count for hsm in cluster.service.hsms.values()] == [0, 0, 0]
    assert cluster._scheduler.next_due_ns() is None


def test_cluster_is_closed_after_an_error_too():
    """The block ends it, whatever happened inside."""
    with pytest.raises(ZeroDivisionError), HsmCluster(1) as cluster:
        1 / 0  # noqa: B018

    assert cluster.closed


def test_audit_is_what_the_hsms_hold(cluster):
    """The last event, once, and the fold over the journal says the same."""
    client = cluster.client()
    client.generate_key("AES", 256, label="k")
    cluster.chaos.destroy("hsm-2")
    cluster.close()

    (audit,) = cluster.history.of(Kind.AUDIT)
    assert [(hsm, state, len(keys)) for hsm, state, keys in audit.hsms] == [
        ("hsm-1", "up", 1),
        ("hsm-2", "lost", 0),
        ("hsm-3", "up", 1),
    ]


def test_handle_of_another_cluster_is_refused_and_does_nothing():
    """The numbers are the same in both, and still no key of this cluster is touched."""
    with HsmCluster(2, sdk=3, seed=1) as one, HsmCluster(2, sdk=3, seed=2) as two:
        theirs = one.client().generate_key("AES", 256, label="theirs")
        client = two.client()
        ours = client.generate_key("AES", 256, label="ours")
        assert theirs.number == ours.number

        for act in (
            lambda: client.encrypt(theirs, b"data"),
            lambda: client.delete_key(theirs),
            lambda: client.share_key(theirs, with_user="admin"),
            lambda: client.wrap_key(ours, with_key=theirs),
            lambda: client.wrap_key(theirs, with_key=ours),
        ):
            with pytest.raises((ClusterError, UsageError)):
                act()

        assert all(ours.number in hsm.keys for hsm in two.hsms)
        with pytest.raises(UsageError, match=f"is of {one.id}, and this is {two.id}"):
            two.coverage(theirs)


def test_clone_with_the_seed_of_its_parent_is_another_cluster():
    """Its id is its own."""
    with HsmCluster(1, seed=3) as one, HsmCluster.from_backup(one.backup(), 1, seed=3) as two:
        assert one.id != two.id


@pytest.mark.parametrize("name", ["", "app#2", 5, None])
def test_application_names_are_words(name, cluster):
    """`#` belongs to the numbers of processes."""
    with pytest.raises(UsageError, match="an application's name is a non-empty str without '#'"):
        cluster.client(name)


def test_enough_copies_or_none(cluster):
    """The promise of a minimum: below it the create fails, and nothing is left."""
    with HsmCluster(3, sdk=3, create_object_minimum_nodes=2) as strict:
        client = strict.client()
        with strict.chaos.fail_clone(), pytest.raises(TooFewCopies) as caught:
            client.generate_key("AES", 256, label="k")

        assert (caught.value.copies, caught.value.needed, caught.value.leftovers) == (1, 2, ())
        assert all(hsm.keys == {} for hsm in strict.hsms)


def test_zones_are_dealt_out_in_turn():
    """Two zones, three HSMs."""
    with HsmCluster(3, zones=["x", "y"]) as cluster:
        assert [hsm.zone for hsm in cluster.hsms] == ["x", "y", "x"]


def test_ids_have_the_characters_of_the_real_ones(cluster):
    """`cluster-` and 11 of [2-7a-zA-Z]."""
    import re

    assert re.fullmatch(r"cluster-[2-7a-zA-Z]{11}", cluster.id)


def test_history_carries_what_a_reader_needs(cluster):
    """Seed, SDK, number of HSMs, minimum."""
    assert cluster.history.note["seed"] == 0
    assert cluster.history.note["sdk"] == 3
    assert cluster.history.note["hsms"] == 3
    assert cluster.history.note["create_object_minimum_nodes"] == 1


def test_digest_is_refused_for_a_real_clock():
    """Instants would differ from run to run."""
    with HsmCluster(1, sdk=3, clock="real", clock_rate=1000) as cluster, pytest.raises(UsageError, match="real"):
        cluster.history.digest()


@pytest.mark.parametrize("keys", ["random", "seeded"])
def test_equal_seeds_give_equal_journals(keys):
    """Whatever the key bytes are."""

    def story(seed):
        with HsmCluster(3, sdk=3, seed=seed, keys=keys, routing="random") as cluster:
            client = cluster.client()
            key = client.generate_key("AES", 256, label="k")
            for _ in range(8):
                client.encrypt(key, b"data")
            cluster.clock.advance(100)
        return cluster.history.digest()

    assert story(1) == story(1)
    assert story(1) != story(2)


def test_seeded_keys_are_reproducible():
    """Key bytes and ciphertexts too."""

    def box(seed):
        with HsmCluster(1, sdk=3, seed=seed, keys="seeded") as cluster:
            client = cluster.client()
            return client.encrypt(client.generate_key("AES", 256, label="k"), b"data")

    assert box(1) == box(1) != box(2)


def test_a_closed_cluster_cannot_be_broken_and_has_no_time():
    """Chaos and clock refuse: the history has ended with its audit."""
    cluster = HsmCluster(2)
    cluster.close()
    events = len(cluster.history)
    for late in (
        lambda: cluster.chaos.crash("hsm-1"),
        lambda: cluster.chaos.inject("crash @ hsm.commit"),
        lambda: cluster.chaos.stall_sync(),
        lambda: cluster.chaos.install("throttled hsm-1"),
        lambda: cluster.clock.advance(1),
    ):
        with pytest.raises(UsageError, match="closed"):
            late()
    assert len(cluster.history) == events


def test_a_logout_is_logged_where_it_is_executed():
    """Login is in the log of every HSM, logout in that of one (User Guide, "Interpreting HSM audit logs")."""
    with HsmCluster(3) as cluster:
        cluster.client().logout()
        logged = [[entry.opcode for entry in hsm.audit_log] for hsm in cluster.hsms]
    assert [log.count("CN_LOGIN") for log in logged] == [1, 1, 1]
    assert [log.count("CN_LOGOUT") for log in logged] == [1, 0, 0]
