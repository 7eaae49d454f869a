"""Does each fixture give what its name says?"""

import pytest

from pytest_hsmcluster import HsmCluster, KeyNotOnHsm, read_config


def test_every_fixture_is_a_shortcut_to_the_cluster(
    hsm_cluster, hsm_client, hsm_chaos, hsm_check, hsm_history, hsm_clock
):
    """All fixtures of one test are about one cluster, and a client `app` is logged in."""
    assert isinstance(hsm_cluster, HsmCluster)
    assert (hsm_chaos, hsm_check) == (hsm_cluster.chaos, hsm_cluster.check)
    assert (hsm_history, hsm_clock) == (hsm_cluster.history, hsm_cluster.clock)
    key = hsm_client.generate_key("AES", 256, label="payroll")
    assert {hsm.id: [one.label for one in hsm.keys.values()] for hsm in hsm_cluster.hsms} == {
        f"hsm-{number}": ["payroll"] for number in (1, 2, 3)
    }
    assert hsm_history.last.client == "app"
    assert key.label == "payroll"


def test_both_clients_are_two_processes_of_one_application(hsm_client, hsm_async_client, hsm_cluster, hsm_history):
    """`hsm_client` and `hsm_async_client` in one test are both alive and do not share a login or a cache."""
    logins = [event.client for event in hsm_history.of("invoke")]
    assert len(logins) == len(set(logins)) == 2
    assert all(name.partition("#")[0] == "app" for name in logins)
    hsm_client.logout()
    assert hsm_cluster.client("other").find_keys() == []


def test_factory_makes_clusters_of_other_shapes(hsm_cluster_factory, hsm_cluster):
    """A cluster of the factory is another one, with another seed and other ids."""
    second = hsm_cluster_factory(hsms=1, sdk=3)
    third = hsm_cluster_factory()
    assert [len(one.hsms) for one in (hsm_cluster, second, third)] == [3, 1, 3]
    assert second.profile.sdk == 3
    assert len({one.seed for one in (hsm_cluster, second, third)}) == 3
    assert len({one.id for one in (hsm_cluster, second, third)}) == 3


@pytest.mark.hsm_cluster(hsms=2, sweep_period_s=30)
def test_factory_begins_from_the_marker(hsm_cluster_factory):
    """What the factory is not told, the marker says."""
    one, other = hsm_cluster_factory(), hsm_cluster_factory(hsms=5)
    assert (len(one.hsms), len(other.hsms)) == (2, 5)
    assert one.profile.sweep_period_ns == other.profile.sweep_period_ns == 30_000_000_000


def test_keys_of_one_cluster_mean_nothing_in_another(hsm_cluster_factory):
    """Clusters of one test share no keys."""
    one, other = hsm_cluster_factory().client(), hsm_cluster_factory(hsms=1, sdk=3).client()
    key = one.generate_key("AES", 256, label="payroll")
    with pytest.raises(KeyNotOnHsm):
        other.encrypt(key, b"data")


@pytest.mark.hsm_cluster(sdk=3, create_object_minimum_nodes=2)
def test_config_file_of_sdk_3_is_that_of_the_cluster(hsm_config_file, hsm_cluster, tmp_path):
    """The file of SDK 3 says the cluster's minimum and the address of an HSM, and makes the same cluster again."""
    path = hsm_config_file()
    config = read_config(path)
    assert path == tmp_path / "cloudhsm_client.cfg"
    assert (config.create_object_minimum_nodes, config.server_hostname) == (2, hsm_cluster.hsms[0].ip)
    with HsmCluster(config=path) as again:
        assert (again.profile.sdk, again.minimum) == (3, 2)


@pytest.mark.hsm_cluster(availability_check=False)
def test_config_file_of_sdk_5_is_that_of_the_cluster(hsm_config_file, hsm_cluster, tmp_path):
    """The file of SDK 5 lists all HSMs and says whether keys are checked."""
    path = hsm_config_file(log_level="debug")
    config = read_config(path)
    assert path == tmp_path / "cloudhsm-pkcs11.cfg"
    assert [server.hostname for server in config.servers] == [hsm.ip for hsm in hsm_cluster.hsms]
    assert config.disable_key_availability_check is True
    assert config.log_level == "debug"


def test_config_file_of_another_cluster_has_a_folder_of_its_own(hsm_config_file, hsm_cluster_factory, tmp_path):
    """Files of two clusters do not overwrite each other."""
    other = hsm_cluster_factory(sdk=3)
    paths = [hsm_config_file(), hsm_config_file(cluster=other)]
    assert paths == [tmp_path / "cloudhsm-pkcs11.cfg", tmp_path / other.id / "cloudhsm_client.cfg"]


def test_unknown_setting_of_a_config_file_is_named(hsm_config_file):
    """A setting that the file does not have is refused by name."""
    with pytest.raises(Exception, match=r"SDK 5.*'hostname'"):
        hsm_config_file(hostname="10.0.0.1")


def test_each_fixture_is_described(run):
    """`pytest --fixtures` shows every fixture with a sentence, and no helper."""
    result = run("", "--fixtures")
    names = [line.split()[0] for line in result.outlines if line.startswith(("hsm_", "_hsm"))]
    assert sorted(names) == [
        "hsm_app_time",
        "hsm_async_client",
        "hsm_chaos",
        "hsm_check",
        "hsm_client",
        "hsm_clock",
        "hsm_cluster",
        "hsm_cluster_factory",
        "hsm_config_file",
        "hsm_faker",
        "hsm_history",
        "hsm_pkcs11",
        "hsm_toxiproxy",
    ]
    described = [line for line in result.outlines if line.startswith("hsm_") and "fixtures.py" in line]
    following = [result.outlines[result.outlines.index(line) + 1] for line in described]
    assert all(line.startswith("    ") and len(line) > 30 for line in following), following


def test_fixture_asked_for_late_works(run):
    """A cluster that is asked for in the middle of a test gets the marker's shape and its faults."""
    result = run("""
        import pytest

        @pytest.mark.hsm_cluster(hsms=2)
        @pytest.mark.hsm_chaos("pass @ hsm.commit command=generate_key")
        def test_late(hsm_cluster_factory):
            cluster = hsm_cluster_factory()
            assert len(cluster.hsms) == 2
            cluster.client().generate_key("AES", 256, label="kek")
            assert [one.hits for one in cluster.chaos.injections] == [1]

        def test_later(request):
            assert len(request.getfixturevalue("hsm_cluster").hsms) == 3
    """)
    result.assert_outcomes(passed=2)


def test_all_clusters_are_closed_with_the_test(run):
    """Clusters of fixture and factory are closed, also when the test failed."""
    result = run("""
        kept = []

        def test_one(hsm_cluster, hsm_cluster_factory):
            kept.extend([hsm_cluster, hsm_cluster_factory(hsms=1)])
            assert not any(one.closed for one in kept)
            raise KeyError("the test's own failure")

        def test_two():
            assert [one.closed for one in kept] == [True, True]
    """)
    result.assert_outcomes(passed=1, failed=1)
