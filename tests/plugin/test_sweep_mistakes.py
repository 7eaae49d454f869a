"""Is somebody who asks for a sweep that cannot be told so, with the reason and the way out?"""

import textwrap

import pytest

from tests.plugin.swept import HOLDS, ROTATION, case, names, verdicts

HEAD = "import unittest\nimport pytest\n\nmark = pytest.mark\n\n\n"


def collected(run, decorator: str, *arguments: str) -> str:
    """Return what pytest says about a function with this decorator."""
    result = run(f"{HEAD}@mark.{decorator}\ndef test_it(hsm_cluster):\n    pass\n", *arguments)
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    return result.stdout.str()


# -- markers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marker, said",
    [
        ("hsm_sweep('crahs')", "hsm_sweep: unknown effect 'crahs' (did you mean 'crash'?)"),
        (
            "hsm_sweep(points='hsm.comit')",
            "points='hsm.comit' matches no point (did you mean 'hsm.commit'?); there are ",
        ),
        ("hsm_sweep(op='generate_kye')", "op='generate_kye' matches no operation (did you mean 'generate_key'?)"),
        ("hsm_sweep('drop', points='hsm.*')", "none of these points can take drop; client.send, wire.request, "),
        ("hsm_sweep(depth=3)", "depth= is a whole number, 1 to 2; got 3"),
        ("hsm_sweep(shards=0)", "shards= is a whole number, 1 to 1000; got 0"),
        ("hsm_sweep(shards=2000)", "shards= is a whole number, 1 to 1000; got 2000"),
        (
            "hsm_sweep(point='hsm.*')",
            "unknown argument 'point' (did you mean 'points'?); it takes effects and points, ",
        ),
        ("hsm_sweep(effects='crash')", "unknown argument 'effects'"),
        ("hsm_sweep(hsms=3)", "unknown argument 'hsms'"),
        ("hsm_sweep(checks=('durabel',))", "unknown check 'durabel' (did you mean 'durable'?)"),
        ("hsm_sweep(checks='durable')", 'checks is a tuple of names, such as checks=("durable",)'),
        ("hsm_sweep\n@mark.hsm_cluster(clock='real')", "a sweep needs a virtual clock"),
    ],
)
def test_each_mistake_is_told_when_tests_are_collected(run, marker, said):
    """What is wrong, what is allowed and the nearest right spelling, with the test."""
    text = collected(run, marker)
    assert said in text
    assert "test_it.py::test_it" in text


def test_all_mistakes_of_a_module_are_told_at_once(run):
    """Those of classes, parameters and shards too."""
    result = run(
        HEAD
        + textwrap.dedent("""
        @mark.hsm_sweep("crahs", shards=0)
        def test_one(hsm_client): pass

        @mark.hsm_sweep(depth=9)
        class TestClass:
            def test_two(self, hsm_client): pass

        @mark.parametrize("n", [pytest.param(1, marks=mark.hsm_sweep(points="hms.commit"))])
        def test_three(hsm_client, n): pass
    """)
    )
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert "4 mistakes in markers of pytest-hsmcluster" in text
    for said in (
        "'crahs'",
        "shards= is",
        "depth= is",
        "points='hms.commit' matches no point (did you mean 'hsm.commit'?)",
    ):
        assert said in text


def test_real_clock_is_refused_wherever_it_comes_from(run):
    """By option and by ini too."""
    said = "by a real one no two runs are the same; got clock='real'"
    assert said in collected(run, "hsm_sweep", "--hsm-clock=real")
    assert said in collected(run, "hsm_sweep", "-o", "hsm_clock=real")


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n", "1"]], ids=["serial", "xdist"])
def test_testcase_is_refused_at_collection(run, workers):
    """Methods of a unittest.TestCase cannot be swept; the reason and the way out stand there."""
    result = run(
        HEAD
        + textwrap.dedent("""
        class TestIt(unittest.TestCase):
            @mark.hsm_sweep
            def test_it(self): pass

        @mark.hsm_sweep
        class TestAll(unittest.TestCase):
            def test_it(self): pass
    """),
        *workers,
    )
    text = result.stdout.str()
    assert "a method of a unittest.TestCase cannot be swept, for TestCase finds its method by the name" in text
    assert "make it a function, or a class that is no TestCase" in text
    assert "TestIt::test_it" in text and "TestAll" in text
    assert result.ret != pytest.ExitCode.OK and "passed" not in result.parseoutcomes()


@pytest.mark.parametrize(
    "marker, said",
    [
        ("hsm_sweep('crahs')", "unknown effect 'crahs' (did you mean 'crash'?)"),
        ("hsm_sweep(point='hsm.*')", "unknown argument 'point' (did you mean 'points'?)"),
        ("hsm_sweep(shards=0)", "shards= is a whole number, 1 to 1000; got 0"),
    ],
)
@pytest.mark.parametrize("beside", ["", HOLDS], ids=["alone", "beside-another"])
def test_wrong_marker_that_a_hook_adds_fails_the_test(run, marker, said, beside):
    """It comes too late for collection; the test fails with the same words, and pytest goes on."""
    conftest = f"""
    import pytest

    def pytest_collection_modifyitems(items):
        for item in items:
            if item.name == "test_late":
                item.add_marker(pytest.mark.{marker})
    """
    late = """
    import unittest

    def test_late(hsm_client): pass

    class TestLate(unittest.TestCase):
        def test_late(self): pass

    def test_after(): pass
    """
    result = run(beside + late, "-v", conftest=conftest)
    found = verdicts(result)
    assert [one for one in found if "late" in one[0]] == [("test_late", "FAILED"), ("TestLate::test_late", "FAILED")]
    assert ("test_after", "PASSED") in found
    text = result.stdout.str()
    assert text.count(said) == 2
    assert text.count("a method of a unittest.TestCase cannot be swept") == 1
    assert "Error" not in text


def test_marker_that_a_hook_adds_is_swept(run):
    """A suite can sweep tests that know nothing of it."""
    conftest = """
    import pytest

    def pytest_collection_modifyitems(items):
        for item in items:
            item.add_marker(pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key"))
    """
    source = "def test_it(hsm_client): hsm_client.generate_key('AES', 256, label='kek')"
    result = run(source, "-v", conftest=conftest)
    assert len(names(result)) == 1 + 4


@pytest.mark.parametrize(
    "value, said",
    [("0", "a number of cases, 1 or more, is wanted; got 0"), ("many", "hsm_sweep_limit")],
)
def test_wrong_limit_is_a_usage_error(run, value, said):
    """An ini value that is no number of cases ends pytest before collection."""
    result = run(ROTATION, ini=f"hsm_sweep_limit = {value}\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


# -- tests ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, arguments, asked",
    [
        ("pass", "", "(the defaults)"),
        ("hsm_client.find_keys()", "op='sign'", "(op='sign')"),
        ("hsm_client.find_keys()", "points='client.cleanup'", "(points='client.cleanup')"),
    ],
    ids=["no-call", "another-call", "another-point"],
)
def test_test_with_nothing_to_break_fails(run, body, arguments, asked):
    """A sweep that tries nothing shall not look like one that holds."""
    effect = "'delay 1s', " if "cleanup" in arguments else ""
    result = run(f"""
    import pytest

    @pytest.mark.hsm_sweep({effect}{arguments})
    def test_it(hsm_client):
        {body}
    """)
    result.assert_outcomes(passed=1, failed=1)
    said = f"nothing to break: the clean run passes no point that is asked for ({asked[1:-1]}"
    assert f"sweep: {said}" in result.stdout.str()
    assert f"test_it.py::test_it: {said}" in result.stdout.str()


def test_test_without_a_cluster_fails(run):
    """One that could have made a cluster but did not passes no point."""
    result = run("""
    import pytest

    @pytest.mark.hsm_sweep
    def test_it(hsm_cluster_factory):
        pass
    """)
    result.assert_outcomes(passed=1, failed=1)
    assert "sweep: the test made no cluster, so it passes no point" in result.stdout.str()


def test_test_that_another_plugin_runs_elsewhere_fails(run):
    """Where the clusters of a test cannot be seen it is not swept, and that is said."""
    conftest = """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for when in ("setup", "call", "teardown"):
            report = pytest.TestReport.from_item_and_call(item, pytest.CallInfo.from_call(lambda: None, when))
            item.ihook.pytest_runtest_logreport(report=report)
        return True
    """
    result = run(HOLDS, conftest=conftest)
    result.assert_outcomes(passed=1, failed=1)
    assert "sweep: another plugin has run the test where its clusters cannot be seen" in result.stdout.str()


# -- tests that do not repeat themselves ------------------------------------------------

UNSTEADY = """
    import pytest
    {before}

    @pytest.mark.hsm_cluster(hsms=1, sdk=3)
    @pytest.mark.hsm_sweep("delay 1s", points="hsm.*")
    def test_it(hsm_client, hsm_clock{fixtures}):
        key = hsm_client.generate_key("AES", 256, label="kek")
        {body}
"""


def unsteady(run, body: str, before: str = "", fixtures: str = "") -> str:
    """Return what is said about a test that does not repeat itself."""
    before = textwrap.indent(textwrap.dedent(before), "    ").lstrip()
    body = textwrap.indent(textwrap.dedent(body), "        ").lstrip()
    result = run(UNSTEADY.format(body=body, before=before, fixtures=fixtures), "-v")
    assert verdicts(result) == [("test_it", "PASSED"), ("test_it", "FAILED")]
    text = result.stdout.str()
    assert "test_it.py::test_it: the test does not repeat itself" in text
    return text


def test_counter_that_outlives_the_test_is_found(run):
    """A module's list grows: the second run goes on where the first had ended."""
    text = unsteady(run, "calls.append(1)\nfor _ in calls: hsm_client.encrypt(key, b'data')", "calls = []")
    assert "the test does not repeat itself, so no fault would strike where it is said to: event " in text
    assert "  first : nothing more happens\n" in text
    assert "invoke op=4 client=app user=crypto_user name=encrypt key=key-1" in text
    assert "likely causes: state that outlives the test" in text


def test_wall_clock_is_found(run):
    """A fixture that looks at the clock on the wall: the first event that is late is named, and that cause first."""
    before = """
        import itertools
        ticks = itertools.count(1_700_000_000)

        @pytest.fixture
        def now():
            return next(ticks)  # time.time(), for a test that takes seconds
    """
    text = unsteady(run, "hsm_clock.advance(now % 60)\nhsm_client.find_keys()", before, ", now")
    assert "name=find_keys" in text
    assert "likely causes: the wall clock, `time.time()` or `datetime.now()`, where simulated time belongs" in text


def test_order_of_a_set_is_found(run):
    """Objects that hash by their address come in another order: another call comes first, and that cause is named."""
    before = """
        import itertools
        hashes = itertools.cycle([1, 2, 2, 1])

        class Task:
            def __init__(self, name): self.name, self.hash = name, next(hashes)
            def __hash__(self): return self.hash
    """
    body = """
        for task in {Task("encrypt"), Task("wrap")}:
            hsm_client.encrypt(key, b"data") if task.name == "encrypt" else hsm_client.wrap_key(key, with_key=key)
    """
    text = unsteady(run, body, before)
    assert "  first : 0.004000s invoke op=3 client=app user=crypto_user name=encrypt" in text
    assert "  second: 0.004000s invoke op=3 client=app user=crypto_user name=wrap_key" in text
    assert "likely causes: the order of a `set`, or `hash()` of a str" in text


def test_second_run_that_fails_is_found(run):
    """A test that passes once only does not repeat itself; its failure is quoted."""
    text = unsteady(run, "calls.append(1)\nassert len(calls) == 1, 'left over'", "calls = []")
    assert "a first run passed, a second one failed: AssertionError: left over" in text


def test_second_run_that_skips_is_found(run):
    """So does one that skips the second time."""
    text = unsteady(run, "calls.append(1)\nif len(calls) > 1: pytest.skip('enough')", "calls = []")
    assert "a first run passed, a second one skipped" in text


def test_another_number_of_clusters_is_found(run):
    """Clusters are counted, and each is compared."""
    before, fixtures = "calls = []", ", hsm_cluster_factory"
    more = unsteady(run, "calls.append(1)\nfor _ in calls: hsm_cluster_factory()", before, fixtures)
    assert "a first run made 2 clusters, a second one 3" in more
    body = "calls.append(1)\nother = hsm_cluster_factory(sdk=3).client()\nfor _ in calls: other.random(8)"
    assert "first : nothing more happens" in unsteady(run, body, before, fixtures)


def test_names_may_differ(run):
    """Labels from a counter or from uuid4 are names only: the test repeats itself."""
    source = UNSTEADY.format(
        body="hsm_client.generate_key('AES', 256, label=uuid.uuid4().hex)", before="import uuid", fixtures=""
    )
    result = run(source)
    assert "does not repeat itself" not in result.stdout.str()
    assert result.ret == pytest.ExitCode.OK


def test_case_that_reads_a_fault_that_never_fires_says_so(run):
    """A case asked for by its node id that the test never comes to fails for that."""
    label = "delay 1s @ hsm.reply command=sign nth=1"
    result = run(HOLDS, f"test_it.py::{case('test_holds', label)}", "-v")
    assert verdicts(result) == [(case("test_holds", label), "FAILED")]
    assert f"fault that never fired: {label}" in result.stdout.str()


def test_shards_of_a_parameter_set_are_refused(run):
    """pytest has dealt out parameters before it looks at the marks of one set: there would be no shards."""
    source = """
        import pytest

        @pytest.mark.parametrize("", [pytest.param(marks=pytest.mark.hsm_sweep(shards=2), id="one")])
        def test_it(hsm_client):
            hsm_client.generate_key("AES", 256, label="kek")
    """
    result = run(textwrap.dedent(source))
    result.stdout.fnmatch_lines(["*sweep: shards= cannot stand in a pytest.param*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
