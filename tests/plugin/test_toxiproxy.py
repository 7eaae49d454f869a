"""Does a test get a real Toxiproxy when it asks for one, and is nothing left of it?"""

from pathlib import Path

import pytest

from pytest_hsmcluster.toxiproxy.answers import Toxic
from pytest_hsmcluster.toxiproxy.api import Api
from pytest_hsmcluster.toxiproxy.starting import NoServer, serving

CONFTEST = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import pytest
from tests.toxiproxy.conftest import EchoRoads

def pytest_hsm_profile(config):
    return {{"network": "processes"}}

@pytest.fixture
def hsm_cluster(hsm_cluster):
    '''A cluster whose network leads to listeners that give back what they get.'''
    roads, own = EchoRoads("hsm-1", "hsm-2", "hsm-3"), hsm_cluster.network
    hsm_cluster.network = roads
    yield hsm_cluster
    hsm_cluster.network = own
    assert not roads.detours
    roads.close()

@pytest.fixture
def roads(hsm_cluster):
    return hsm_cluster.network
"""


@pytest.fixture
def shared(monkeypatch):
    """A server that the inner run is told of, with a stranger's proxy on it."""
    try:
        with serving() as url:
            monkeypatch.setenv("TOXIPROXY_URL", url)
            api = Api(url)
            api.create("theirs", ("127.0.0.1", 9))
            api.add_toxic("theirs", Toxic("slow", "latency", "downstream", 1.0, {"latency": 7, "jitter": 0}))
            before = api.proxies()
            yield api
            assert api.proxies() == before
            api.delete("theirs")
    except NoServer as error:
        pytest.skip(str(error))


def test_the_fixture_undoes_all_with_each_test(run, shared):
    """Also of a test that fails; strangers on the server are left alone."""
    result = run(
        """
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_fails(hsm_toxiproxy, hsm_chaos, roads, number):
            assert hsm_chaos.toxiproxy is hsm_toxiproxy
            hsm_toxiproxy.down("hsm-1")
            hsm_toxiproxy.latency("hsm-2", 30)
            roads.connect("app", "hsm-2")
            with pytest.raises(ConnectionRefusedError):
                roads.connect()
            assert number == 2

        def test_passes(hsm_toxiproxy, roads):
            one = roads.connect()
            one.sendall(b"ping")
            assert one.recv(4) == b"ping" and not hsm_toxiproxy.troubles
        """,
        conftest=CONFTEST,
        apart=True,
    )
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["*assert 0 == 2*", "*assert 1 == 2*"])


LINKED = """
    import pytest, unittest

    @pytest.mark.hsm_chaos("link-down hsm=hsm-1")
    def test_marked(roads):
        with pytest.raises(ConnectionRefusedError):
            roads.connect()

    @pytest.mark.hsm_chaos("slow-link hsm-1 seconds=0.2")
    def test_alone(request):
        request.getfixturevalue("roads").connect()

    @pytest.mark.hsm_chaos("link-down hsm=hsm-2")
    class TestCase(unittest.TestCase):
        def test_case(self):
            assert [one.type for one in self.hsm_toxiproxy.troubles] == ["down"]
            with pytest.raises(ConnectionRefusedError):
                self.hsm_cluster.network.connect("app", "hsm-2")
"""


def test_a_scenario_brings_the_fixture(run, shared):
    """A marker does, and its trouble begins after the setup."""
    run(LINKED, conftest=CONFTEST, apart=True).assert_outcomes(passed=3)


def test_the_command_line_brings_the_fixture(run, shared):
    """For every test that uses a cluster, and no other."""
    source = """
        def test_clustered(hsm_cluster):
            assert [str(one) for one in hsm_cluster.chaos.hardships] == ["dead-link hsm=hsm-1"]
            hsm_cluster.network.connect()

        def test_other(request):
            assert "hsm_toxiproxy" not in request.fixturenames
    """
    result = run(source, "--hsm-chaos=dead-link hsm-1", conftest=CONFTEST, apart=True)
    result.assert_outcomes(passed=2)


def test_it_stands_before_the_first_cluster_of_the_factory(run, shared):
    """A test that makes its own has no other, and that is the one which suffers; whoever calls the factory."""
    source = """
        import pytest
        from pytest_hsmcluster import HsmUnavailable

        pytestmark = [pytest.mark.hsm_cluster(hsms=1, network="processes"), pytest.mark.hsm_chaos("link-down hsm-1")]

        @pytest.fixture
        def made(hsm_cluster_factory):
            return hsm_cluster_factory()

        def suffers(cluster):
            with pytest.raises(HsmUnavailable):
                cluster.client("app")
            return [one.hsm for one in cluster.chaos.toxiproxy.troubles], cluster.chaos.unfired

        def test_in_the_body(hsm_cluster_factory, _hsm_trial):
            cluster, other = hsm_cluster_factory(), hsm_cluster_factory()
            assert suffers(cluster) == (["hsm-1"], []) and other.chaos.toxiproxy is None
            assert _hsm_trial.clusters == [cluster, other]

        def test_in_a_fixture(made, _hsm_trial):
            assert suffers(made) == (["hsm-1"], [])
            assert _hsm_trial.clusters == [made]
    """
    run(source, apart=True).assert_outcomes(passed=2)


def test_a_simulated_cluster_of_the_factory_is_refused(run, shared):
    """Where it is made."""
    source = """
        import pytest
        from pytest_hsmcluster import UsageError

        def test_simulated(hsm_cluster_factory, hsm_toxiproxy):
            with pytest.raises(UsageError, match="a real Toxiproxy needs real connections"):
                hsm_cluster_factory()
    """
    run(source, apart=True).assert_outcomes(passed=1)


def test_link_that_no_application_has_is_a_fault_that_never_fired(run, shared):
    """Of an application that is called otherwise, say."""
    source = """
        import pytest

        @pytest.mark.hsm_chaos("slow-link hsm-1 seconds=1ms client=aap")
        def test_mistyped(roads):
            roads.connect()
    """
    result = run(source, conftest=CONFTEST, apart=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*fault that never fired: slow-link hsm=hsm-1 seconds=* client=aap*"])


def test_verbs_in_force_stand_in_the_report_of_a_failed_test(run, shared):
    """As hardships do, and scenarios once."""
    source = """
        import pytest

        @pytest.mark.hsm_chaos("link-down hsm-2")
        def test_fails(hsm_toxiproxy, roads):
            hsm_toxiproxy.latency("hsm-1", 0.1)
            with pytest.raises(ConnectionRefusedError):
                roads.connect("app", "hsm-2")
            assert roads is None
    """
    result = run(source, conftest=CONFTEST, apart=True)
    result.assert_outcomes(failed=1)
    told = [line for line in result.outlines if "in force to the end" in line]
    assert told == [
        "in force to the end: link-down hsm=hsm-2",
        "in force to the end: <Trouble latency between all clients and hsm-1, active>",
    ]


def test_two_workers_share_a_server(run, shared, pytester):
    """Each with proxies of its own; afterwards only the stranger's is there, as the fixture asserts."""
    source = """
        import pytest

        @pytest.mark.parametrize("number", range(10))
        @pytest.mark.hsm_chaos("cut-link hsm-1 bytes=3 direction=downstream")
        def test_cut(roads, number):
            one = roads.connect()
            one.sendall(b"ping")
            assert one.recv(4) == b"pin"
    """
    result = run(source, "-p", "xdist", "-n", "2", conftest=CONFTEST, apart=True)
    result.assert_outcomes(passed=10)


def test_each_worker_starts_its_own_where_none_is_named(run, shared, monkeypatch):
    """On a port of its own, and it is gone afterwards."""
    monkeypatch.delenv("TOXIPROXY_URL")
    source = """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_url(hsm_toxiproxy, number, worker_id):
            with open("urls", "a") as file:
                print(worker_id, hsm_toxiproxy.url, file=file)
    """
    run(source, "-p", "xdist", "-n", "2", conftest=CONFTEST, apart=True).assert_outcomes(passed=4)
    told = dict(line.split() for line in Path("urls").read_text(encoding="ascii").splitlines())
    assert len(set(told.values())) == len(told) == 2
    for url in told.values():
        with pytest.raises(Exception, match="does it run there"):
            Api(url).version()


def test_a_simulated_network_is_refused(run):
    """By the fixture, and by the command line that brings it; no server is looked for."""
    result = run(
        """
        def test_fixture(hsm_toxiproxy):
            pass

        def test_option(hsm_cluster):
            pass
        """,
        "--hsm-chaos=link-down hsm-1",
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(['a real Toxiproxy needs real connections: network="processes"*'])
    result.stdout.no_fnmatch_line("*fixtures.py*")


def test_a_marker_on_a_simulated_network_is_a_collection_error(run):
    """With the scenario, and what to take instead."""
    result = run("""
        import pytest

        @pytest.mark.hsm_chaos("link-down hsm-1")
        def test_marker():
            pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*test_marker*", "*'link-down hsm-1' needs a real Toxiproxy*network=\"processes\"*take partition*"]
    )


def test_without_a_server_the_test_is_skipped_with_the_command(run, monkeypatch):
    """Whoever reads the summary can copy it."""
    monkeypatch.delenv("TOXIPROXY_URL", raising=False)
    nobody = "\nfrom pytest_hsmcluster.toxiproxy import starting\nstarting.program = lambda: None\n"
    result = run(LINKED, "-rs", conftest=CONFTEST + nobody, apart=True)
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["*no Toxiproxy: TOXIPROXY_URL is not set*Install it: GOBIN=*go install github.com/*"])


def test_without_the_client_the_test_is_skipped_with_the_command(run):
    """It is an extra."""
    nobody = "\nimport sys\nsys.modules['toxiproxy'] = None\n"
    result = run(
        "def test_it(hsm_toxiproxy): pass",
        "-rs",
        conftest=CONFTEST.replace("from tests.toxiproxy.conftest import EchoRoads", "EchoRoads = None").replace(
            'EchoRoads("hsm-1", "hsm-2", "hsm-3")', "type('Roads', (), {'detours': {}, 'close': print})"
        )
        + nobody,
        apart=True,
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*pip install 'pytest-hsmcluster[[]toxiproxy]'*"])
