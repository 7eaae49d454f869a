"""Do markers say what a cluster is like, over all their levels?"""

MERGING = """
    import pytest

    pytestmark = [
        pytest.mark.hsm_cluster(hsms=2, sdk=3, create_object_minimum_nodes=1, sweep_period_s=10),
        pytest.mark.hsm_chaos("stall-sync"),
    ]

    def shape(cluster):
        return len(cluster.hsms), cluster.profile.sdk, cluster.minimum, cluster.profile.sweep_period_ns // 10**9

    def chaos(cluster):
        return [str(one) for one in (*cluster.chaos.hardships, *cluster.chaos.injections)]

    def test_module(hsm_cluster):
        assert shape(hsm_cluster) == (2, 3, 1, 10)
        assert chaos(hsm_cluster) == ["stall-sync"]

    @pytest.mark.hsm_cluster(hsms=5, sdk=3)
    @pytest.mark.hsm_chaos("pass @ hsm.commit", "pass @ client.send", checks=())
    def test_function(hsm_cluster):
        assert shape(hsm_cluster) == (5, 3, 1, 10)
        assert chaos(hsm_cluster) == ["pass @ hsm.commit", "pass @ client.send"]
        hsm_cluster.client().generate_key("AES", 256, label="kek")

    @pytest.mark.hsm_cluster(hsms=3, sweep_period_s=20)
    class TestBase:
        expected = (3, 3, 1, 20)

        def test_class(self, hsm_cluster):
            assert shape(hsm_cluster) == self.expected

        @pytest.mark.hsm_cluster(hsms=7)
        def test_method(self, hsm_cluster):
            assert shape(hsm_cluster) == (7, *self.expected[1:])

    @pytest.mark.hsm_cluster(sweep_period_s=40)
    class TestDerived(TestBase):
        expected = (3, 3, 1, 40)

    @pytest.mark.parametrize("expected", [
        (6, 3, 1, 10),
        pytest.param((4, 3, 1, 10), marks=pytest.mark.hsm_cluster(hsms=4)),
    ])
    @pytest.mark.hsm_cluster(hsms=6)
    def test_case(hsm_cluster, expected):
        assert shape(hsm_cluster) == expected
"""


def test_keywords_merge_and_the_closest_wins(run):
    """Function, class, base class and module each add; a parameter set is closest; faults replace farther ones."""
    run(MERGING).assert_outcomes(passed=8)


def test_marker_brings_its_fixture(run):
    """A marker is enough to have a cluster, in functions, methods and TestCases, also under --setup-plan."""
    source = """
        import unittest
        import pytest

        @pytest.mark.hsm_cluster(hsms=2)
        def test_function(request):
            assert len(request.getfixturevalue("hsm_cluster").hsms) == 2
            assert "hsm_cluster" in request.fixturenames

        @pytest.mark.parametrize("spec", [
            pytest.param("stall-sync", marks=pytest.mark.hsm_chaos("stall-sync")),
            pytest.param("", id="none"),
        ])
        def test_case(request, spec):
            assert ("hsm_cluster" in request.fixturenames) is bool(spec)

        @pytest.mark.hsm_chaos("stall-sync")
        class TestIt(unittest.TestCase):
            def setUp(self):
                self.client = self.hsm_cluster.client()

            def test_one(self):
                self.client.generate_key("AES", 256, label="kek")
                assert [str(one) for one in self.hsm_cluster.chaos.hardships] == ["stall-sync"]

            def test_two(self):
                assert self.client.find_keys() == []
    """
    run(source).assert_outcomes(passed=5)
    planned = run(source, "--setup-plan")
    assert str(planned.outlines).count("SETUP    F hsm_cluster") == 4


def test_chaos_with_a_factory_strikes_its_first_cluster(run):
    """A test that makes its clusters itself gets no other; the faults are for the first of them."""
    run("""
        import pytest

        @pytest.mark.hsm_chaos("stall-sync")
        def test_it(hsm_cluster_factory, request):
            clusters = [hsm_cluster_factory(), hsm_cluster_factory()]
            assert "hsm_cluster" not in request.fixturenames
            assert [len(one.chaos.hardships) for one in clusters] == [1, 0]
    """).assert_outcomes(passed=1)


def test_faults_strike_once_fixtures_are_through(run):
    """What fixtures do is done in peace, whatever their order; setUp of a TestCase is part of the test."""
    run("""
        import unittest
        import pytest

        @pytest.fixture
        def kek(hsm_client, hsm_chaos):
            assert not hsm_chaos.injections
            return hsm_client.generate_key("AES", 256, label="kek")

        @pytest.mark.hsm_chaos("fail CKR_DEVICE_ERROR @ hsm.execute command=generate_key")
        def test_it(kek, hsm_client):
            with pytest.raises(Exception, match="CKR_DEVICE_ERROR"):
                hsm_client.generate_key("AES", 256, label="dek")

        @pytest.mark.hsm_chaos("fail CKR_DEVICE_ERROR @ hsm.execute command=generate_key")
        class TestIt(unittest.TestCase):
            def setUp(self):
                with self.assertRaisesRegex(Exception, "CKR_DEVICE_ERROR"):
                    self.hsm_cluster.client().generate_key("AES", 256, label="dek")

            def test_it(self):
                pass
    """).assert_outcomes(passed=2)


def test_marker_takes_fault_objects(run):
    """A `Fault` does as well as its spec."""
    run("""
        import pytest
        from pytest_hsmcluster import Delay, Fault, Point, When

        @pytest.mark.hsm_chaos(Fault(Delay.of("3s"), Point.HSM_EXECUTE, When(command="generate_key")))
        def test_it(hsm_client, hsm_clock):
            hsm_client.generate_key("AES", 256, label="kek")
            assert hsm_clock.now > 3
    """).assert_outcomes(passed=1)


def test_marker_seed_is_the_test_s_seed(run):
    """`seed=` on the marker comes before everything."""
    run(
        """
        import pytest

        @pytest.mark.hsm_cluster(seed=5)
        def test_it(hsm_cluster):
            assert hsm_cluster.seed == 5
    """,
        "--hsm-seed=9",
    ).assert_outcomes(passed=1)


def test_config_of_a_marker_starts_at_rootdir(run, pytester, monkeypatch):
    """A relative path on the marker does not depend on where pytest was called."""
    from pytest_hsmcluster import sdk3_config, write_config

    write_config(
        sdk3_config(hostname="10.0.0.9", create_object_minimum_nodes=2), pytester.mkdir("conf") / "cloudhsm_client.cfg"
    )
    source = """
        import pytest

        @pytest.mark.hsm_cluster(config="conf/cloudhsm_client.cfg")
        def test_it(hsm_cluster):
            assert (hsm_cluster.profile.sdk, hsm_cluster.minimum) == (3, 2)
    """
    run(source).assert_outcomes(passed=1)
    monkeypatch.chdir(pytester.mkdir("elsewhere"))
    pytester.runpytest_inprocess("..", "-p", "hsmcluster").assert_outcomes(passed=1)


def test_markers_are_registered(run):
    """Strict markers know ours, and `--markers` shows what they take."""
    run(MERGING, "--strict-markers", "--strict-config").assert_outcomes(passed=8)
    shown = run("", "--markers").stdout.str()
    assert "@pytest.mark.hsm_cluster(hsms=3, " in shown
    assert "@pytest.mark.hsm_chaos(*specs, checks=None): " in shown


def test_marker_added_by_a_hook_works(run):
    """A marker that a conftest adds late brings its fixture, and its mistakes are told too."""
    result = run(
        "def test_right(request): assert 'hsm_cluster' in request.fixturenames\n\ndef test_wrong(): pass\n",
        conftest="""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                wrong = item.name == "test_wrong"
                item.add_marker(pytest.mark.hsm_chaos("stal-sync") if wrong else pytest.mark.hsm_cluster(hsms=1))
    """,
    )
    result.assert_outcomes(passed=1, errors=1)
    assert "did you mean 'stall-sync'?" in result.stdout.str()
