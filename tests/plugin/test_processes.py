"""Is a cluster of processes, inside pytest, like any other one, and what is refused with it?

Nothing here looks at a wall clock: whether something took real time is of no interest, only that it ended.
"""

import importlib.util
import re
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes need Linux")
pytest.importorskip("msgspec", reason='python -m pip install "pytest-hsmcluster[processes]"')
import_module("pytest_hsmcluster.processes.network")  # once: see conftest.py

needs = {
    name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"pip install {name.replace('_', '-')}")
    for name in ("freezegun", "time_machine", "looptime")
}

BEGIN = """
    import pytest

    pytestmark = pytest.mark.hsm_cluster(network="processes", clock_rate=20)
"""
LOOPS = ("-p", "asyncio", "-p", "anyio", "-W", "error::pytest.PytestUnraisableExceptionWarning")
if version("pytest-asyncio").startswith(("0.", "1.0", "1.1", "1.2", "1.3")):
    # The newest for the oldest pytest makes a loop to put back (`_get_event_loop_no_warn`) and leaves it open.
    LOOPS = (*LOOPS, "-W", "ignore:unclosed:ResourceWarning")
SCOPE = "asyncio_default_fixture_loop_scope = function\n"

EVERY_FIXTURE = """
    import unittest

    def test_fixtures(
        hsm_cluster, hsm_client, hsm_chaos, hsm_check, hsm_history, hsm_clock, hsm_faker, hsm_config_file, hsm_pkcs11
    ):
        assert hsm_cluster.network_kind == "processes"
        assert hsm_clock.real and hsm_cluster.client.__self__ is hsm_cluster
        pids = [hsm.pid for hsm in hsm_cluster.hsms]
        key = hsm_client.generate_key("AES", 256, label=hsm_faker.hsm_key_label())
        payload = hsm_faker.hsm_payload(100)
        with hsm_chaos.crash("hsm-1"):
            assert hsm_cluster.hsm("hsm-1").pid is None
            assert hsm_client.decrypt(key, hsm_client.encrypt(key, payload)) == payload
        assert [hsm.pid == pid for hsm, pid in zip(hsm_cluster.hsms, pids)] == [False, True, True]
        before_ns = hsm_clock.now_ns
        hsm_clock.advance(0.5)
        assert hsm_clock.now_ns - before_ns >= 500_000_000
        hsm_check.durable(copies=3)
        assert [event.fields["cause"] for event in hsm_history.of("down")] == ["chaos"]
        assert hsm_config_file().name == "cloudhsm-pkcs11.cfg"
        assert hsm_pkcs11.user_pin.startswith("crypto_user:")

    @pytest.mark.parametrize("hsms", [1, 2])
    def test_case(hsm_cluster_factory, hsms):
        cluster = hsm_cluster_factory(hsms=hsms, availability_check=False)
        twin = hsm_cluster_factory(hsms=2, network="simulated")
        for one in (cluster, twin):
            one.client().generate_key("AES", 256, label="kek")
        assert [len(hsm.keys) for hsm in cluster.hsms] == [1] * hsms
        assert not twin.clock.real

    class TestOld(unittest.TestCase):
        def test_method(self):
            key = self.hsm_cluster.client().generate_key("AES", 256, label="kek")
            self.assertEqual([[*hsm.keys] for hsm in self.hsm_cluster.hsms], [[key.number]] * 3)

    @pytest.mark.hsm_chaos("lost-ack random")
    def test_fault_of_a_marker(hsm_client):
        from pytest_hsmcluster import RequestTimeout
        with pytest.raises(RequestTimeout):
            hsm_client.random(8)
"""


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n", "2"), ("-p", "randomly")])
def test_every_fixture_works(run, arguments):
    """In functions, cases and TestCases, alone, on two workers and in a random order; nothing is left unclosed."""
    run(BEGIN + EVERY_FIXTURE, "--strict-markers", *arguments).assert_outcomes(passed=5)


def test_awaited_calls(run):
    """Under pytest-asyncio and under anyio with asyncio and trio: answers and time-outs come, side by side too."""
    result = run(
        BEGIN
        + """
    import asyncio
    import anyio
    from pytest_hsmcluster import RequestTimeout

    async def story(client, chaos):
        key = await client.generate_key("AES", 256, label="kek")
        with chaos.inject("drop @ wire.response command=random nth=1"), pytest.raises(RequestTimeout):
            await client.random(8)
        return key

    @pytest.mark.asyncio
    async def test_asyncio(hsm_async_client, hsm_chaos):
        key = await story(hsm_async_client, hsm_chaos)
        boxes = await asyncio.gather(*(hsm_async_client.encrypt(key, bytes([n])) for n in range(5)))
        assert [await hsm_async_client.decrypt(key, box) for box in boxes] == [bytes([n]) for n in range(5)]

    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
    async def test_anyio(anyio_backend, hsm_async_client, hsm_chaos):
        key = await story(hsm_async_client, hsm_chaos)
        opened = []

        async def there_and_back(n):
            box = await hsm_async_client.encrypt(key, bytes([n]))
            opened.append(await hsm_async_client.decrypt(key, box))

        async with anyio.create_task_group() as group:
            for n in range(5):
                group.start_soon(there_and_back, n)
        assert sorted(opened) == [bytes([n]) for n in range(5)]
    """,
        *LOOPS,
        ini=SCOPE,
        apart=True,
    )
    result.assert_outcomes(passed=3)


def test_each_run_of_a_test_has_processes_of_its_own(run):
    """With reruns: what the first run left is gone."""
    result = run(
        BEGIN
        + """
    seen = []

    @pytest.mark.flaky(reruns=1)
    def test_it(hsm_cluster, hsm_client):
        assert hsm_client.find_keys() == []
        hsm_client.generate_key("AES", 256, label="kek")
        seen.append([hsm.pid for hsm in hsm_cluster.hsms])
        assert len(seen) == 2 and not {*seen[0]} & {*seen[1]}
    """,
        *("-p", "rerunfailures", "-p", "no:cacheprovider"),
    )
    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}


def test_a_failure_tells_what_it_tells_elsewhere(run):
    """Findings, faults and a timeline in real instants; and the replay says that it is none to the byte."""
    result = run(
        BEGIN
        + """
    @pytest.mark.hsm_cluster(sdk=3)
    @pytest.mark.hsm_chaos("kill-mid-create")
    def test_lost(hsm_client):
        hsm_client.generate_key("AES", 256, label="payroll")

    @pytest.mark.hsm_chaos("crash @ hsm.commit command=insert_masked nth=1")
    def test_unfired(hsm_cluster):
        pass
    """
    )
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    for line in (
        "lost key 'payroll' * hsm-1, which held the only copy, was destroyed *",
        "struck 1 time: destroy source @ client.clone nth=1 per=op",
        "*+key-1 create*",
        "pytest test_it.py::test_lost --hsm-seed=0*",
        "HSMs were processes: this installs the same faults at the same points; what comes first in between is",
        "up to chance again (network='simulated' repeats a run to the byte)",
        "fault that never fired: crash @ hsm.commit command=insert_masked nth=1 *",
    ):
        result.stdout.fnmatch_lines([line])
    assert "clock); 1 fault struck" in text


def test_faults_of_the_command_line(run):
    """`--hsm-chaos` strikes in the processes, too."""
    source = (
        BEGIN
        + """
    def test_it(hsm_client):
        hsm_client.generate_key("AES", 256, label="kek")
    """
    )
    result = run(source, "--hsm-chaos=fail CKR_DEVICE_ERROR @ hsm.execute command=generate_key nth=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["struck 1 time: fail CKR_DEVICE_ERROR @ hsm.execute command=generate_key nth=1"])


def test_the_example_of_its_page_passes(run):
    """As it stands there."""
    page = (Path(__file__).parents[2] / "docs" / "processes.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n(import pytest\n.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    run(example, "-s").assert_outcomes(passed=1)


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marks, said",
    [
        ("hsm_cluster(clock='virtual')", 'network="processes" has a real clock, because *leave out clock="virtual"*'),
        ("hsm_cluster(clock_rate=21)", "clock_rate is at most 20 with network=*got 21"),
        ("hsm_cluster(explore=3)", "explore= needs a virtual clock, *network='processes', whose clock is real*"),
        ("hsm_sweep", "hsm_sweep: a sweep needs a virtual clock, *network='processes', whose clock is real*"),
        ("usefixtures('hsm_app_time')", "hsm_cluster: hsm_app_time and network='processes' do not go together*"),
    ],
)
@pytest.mark.parametrize("where", ["function", "method"])
def test_what_needs_simulated_time_is_a_mistake_of_the_marker(run, marks, said, where):
    """It is told before any test runs, with the test's name, the reason and the way out."""
    lines = [f"@pytest.mark.{marks}", "def test_it({}hsm_cluster): pass"]
    if where == "function":
        source, name = [lines[0], lines[1].format("")], "test_it.py::test_it"
    else:
        source, name = ["class TestIt:", f"    {lines[0]}", f"    {lines[1].format('self, ')}"], "test_it.py::TestIt"
    result = run("\n".join([BEGIN, *(f"    {line}" for line in source)]))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{name}*", f"*{said}*"])


def test_what_only_the_test_can_ask_for_is_refused_there(run):
    """Two kinds of time do not meet: an application in simulated time, actors, digests."""
    result = run(
        BEGIN
        + """
    def test_app_time(hsm_cluster, request):
        request.getfixturevalue("hsm_app_time")

    def test_app_time_first(request):
        request.getfixturevalue("hsm_app_time")
        request.getfixturevalue("hsm_cluster")

    def test_actors(hsm_cluster):
        hsm_cluster.run(lambda: None)

    def test_digest(hsm_history):
        hsm_history.digest()

    def test_clock(hsm_cluster_factory):
        hsm_cluster_factory(clock="virtual")
    """
    )
    result.assert_outcomes(failed=5)
    result.stdout.fnmatch_lines(
        [
            "E *UsageError: an application in simulated time (hsm_app_time) cannot use a cluster of clock=*",
            "E *UsageError: an application in simulated time (hsm_app_time) cannot use a cluster of clock=*",
            "E *UsageError: run() needs simulated time: a cluster with a real clock (network='processes' has one, *",
            "E *UsageError: this history has no digest: its HSMs were processes, so chance had a say in what came *",
            'E *UsageError: network="processes" has a real clock, because *',
        ]
    )


@pytest.mark.parametrize("arguments", [("--hsm-clock=virtual",), ("-o", "hsm_clock=virtual")])
def test_the_default_of_the_whole_run_leaves_processes_alone(run, arguments):
    """A virtual clock for all who ask for none is no virtual clock for processes; a factory may ask for them, too."""
    source = (
        BEGIN
        + """
    def test_it(hsm_clock):
        assert hsm_clock.real

    @pytest.mark.hsm_cluster(network="simulated")
    def test_factory(hsm_cluster, hsm_cluster_factory):
        assert not hsm_cluster.clock.real
        assert hsm_cluster_factory(hsms=1, network="processes").clock.real
    """
    )
    run(source, *arguments).assert_outcomes(passed=2)


def test_background_chaos_leaves_processes_in_peace(run):
    """Its failures are bisected, and no two runs in real time are the same."""
    source = """
    import pytest

    @pytest.mark.hsm_cluster(network="processes", clock_rate=20)
    def test_processes(hsm_cluster, hsm_client):
        hsm_client.generate_key("AES", 256, label="kek")
        assert hsm_cluster.chaos.injections == []

    def test_simulated(hsm_client):
        hsm_client.generate_key("AES", 256, label="kek")
    """
    result = run(source, "--hsm-background=light")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*struck in 1 test, no new failures"])


def test_mutants_are_not_processes(run):
    """A wrong cluster is one in this process; tests of processes run once, against right ones."""
    source = """
    import pytest

    @pytest.mark.hsm_cluster(network="processes", clock_rate=20)
    def test_processes(hsm_client):
        hsm_client.random(8)

    @pytest.mark.hsm_cluster(sdk=3, hsms=2)
    def test_simulated(hsm_cluster, hsm_client, hsm_cluster_factory):
        hsm_client.generate_key("AES", 256, label="kek")
        assert [len(hsm.keys) for hsm in hsm_cluster.hsms] == [1, 1]
    """
    result = run(source, "--hsm-mutants")
    assert result.parseoutcomes() == {"passed": 2}
    result.stdout.fnmatch_lines(["1 test against * wrong clusters: *"])


# -- other people's time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frozen",
    [
        pytest.param("freezegun.freeze_time('2001-02-03')", marks=needs["freezegun"]),
        pytest.param("time_machine.travel('2001-02-03', tick=False)", marks=needs["time_machine"]),
    ],
)
def test_a_frozen_date_stops_no_process(run, frozen):
    """Before the cluster is made or after: certificates are good, and a time-out comes when it has to."""
    module = frozen.partition(".")[0]
    source = (
        BEGIN
        + f"""
    import datetime
    import {module}
    from pytest_hsmcluster import RequestTimeout

    def work(cluster):
        assert datetime.date.today().year == 2001
        client = cluster.client()
        client.generate_key("AES", 256, label="kek")
        with cluster.chaos.inject("drop @ wire.response command=random nth=1"), pytest.raises(RequestTimeout):
            client.random(8)

    def test_before(hsm_cluster_factory):
        with {frozen}:
            work(hsm_cluster_factory())

    def test_after(hsm_cluster):
        with {frozen}:
            work(hsm_cluster)
    """
    )
    run(source, apart=True).assert_outcomes(passed=2)


STOPPED = {
    "looptime": """
    @pytest.mark.asyncio
    @pytest.mark.looptime
    async def test_it(hsm_async_client):
        await hsm_async_client.random(8)
    """,
    "freezegun": """
    import freezegun

    @pytest.mark.asyncio
    async def test_it(hsm_async_client):
        with freezegun.freeze_time("2001-02-03"):
            await hsm_async_client.random(8)
    """,
    "trio": """
    import trio.testing

    def test_it(hsm_async_client):
        trio.run(hsm_async_client.random, 8, clock=trio.testing.MockClock(autojump_threshold=0))
    """,
}


@pytest.mark.parametrize("whose", [pytest.param(name, marks=needs.get(name, ())) for name in STOPPED])
def test_a_loop_whose_clock_stands_still_is_refused(run, whose):
    """Real time never passes there, so that a time-out would never come: it is said at once, with the way out."""
    plugins = ("-p", "asyncio", *(("-p", "looptime._internal.plugin") if whose == "looptime" else ()))
    result = run(BEGIN + STOPPED[whose], *plugins, ini=SCOPE, apart=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *UsageError: the clock of this * stands still, *leave one of them out*"])
