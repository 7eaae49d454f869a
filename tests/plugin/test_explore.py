"""Does a test that explores run in several hand-over orders, each of them a test of its own?"""

import re
import shlex
import textwrap
import xml.etree.ElementTree as ET

import pytest

from tests.plugin.swept import AFTER, NOTED, names, noted, verdicts

HEAD = "import unittest\nimport pytest\n\nmark = pytest.mark\n\n\n"

RACE = """
    import pytest

    def ensure(client):
        if not client.find_keys(label="kek"):
            client.generate_key("AES", 256, label="kek")

    @pytest.mark.hsm_cluster(hsms=2, explore=12)
    def test_race(hsm_cluster, hsm_check):
        one, two = hsm_cluster.client("one"), hsm_cluster.client("two")
        hsm_cluster.run(lambda: ensure(one), lambda: [two.find_keys(), ensure(two)])
        hsm_check.no_duplicate_labels(strict=True)
"""
"""Looks for a key and makes it if there is none: right if one does so after the other, and wrong side by side."""

SIDE = """
    import pytest

    @pytest.mark.hsm_cluster(hsms=1, explore=6)
    def test_side(hsm_cluster, hsm_client{fixtures}, request):
        hsm_cluster.run(hsm_client.find_keys, hsm_client.find_keys)
        assert request.node.name not in {broken}
"""
"""Explores six orders, and breaks in those that it is told."""


def side(*orders: int, fixtures: str = "") -> str:
    return SIDE.format(broken=[order_of("test_side", order) for order in orders], fixtures=fixtures)


def order_of(test: str, order: int) -> str:
    """Return the name of a test in an order; in order 0 it is the test itself."""
    if not order:
        return test
    return f"{test[:-1]}-order {order}]" if test.endswith("]") else f"{test}[order {order}]"


def orders_in(result: pytest.RunResult, word: str, test: str = "test_race") -> list[int]:
    """Return the orders whose first report is this."""
    first = dict(reversed(verdicts(result)))
    return [order for order in range(100) if first.get(order_of(test, order)) == word]


def finding(result: pytest.RunResult) -> str:
    return next(line for line in result.outlines if "AssertionError: duplicate key 'kek'" in line)


# -- what exploring is ------------------------------------------------------------------


def test_each_order_is_a_test_of_its_own(run):
    """A node id says the order; in the end the test itself says how many broke, why, and how to replay them."""
    result = run(side(2, 4), "-v")
    assert verdicts(result) == [
        ("test_side", "PASSED"),
        *((order_of("test_side", one), "FAILED" if one in (2, 4) else "PASSED") for one in range(1, 6)),
        ("test_side", "FAILED"),
    ]
    result.assert_outcomes(passed=4, failed=3)
    text = result.stdout.str()
    assert "explore: 2 of 6 orders broke a promise" in text
    assert "\norder 2\n    AssertionError: assert 'test_side[order 2]' not in " in text
    assert "\n    pytest test_it.py::test_side --hsm-seed=0 --hsm-order=2" in text
    said = r"^test_it.py::test_side: 6 orders, .* histories, 2 broke a promise, \d\.\d\d s\n    order 2\n    order 4$"
    assert re.search(said, text, re.M)
    assert "=== hsmcluster orders ===" in text
    assert "6 tests used 6 clusters (SDK 5, virtual clock)" in text


def test_exploring_that_holds_says_so_and_reports_the_test_once(run):
    """Nothing broke: each order passed, the summary has one line, and the quiet one none."""
    result = run(side(), "-v")
    assert verdicts(result) == [(order_of("test_side", one), "PASSED") for one in range(6)]
    assert re.search(r"test_side: 6 orders, \d different histories, none broke a promise, ", result.stdout.str())
    assert "hsmcluster" not in run(side(), "-q").stdout.str()


def test_race_is_found_and_replayed(run, pytester):
    """Some orders show the race and some do not; the command of each that does runs exactly this order alone."""
    first = run(RACE, "--hsm-seed=5", "-v", conftest=NOTED)
    journals = dict(noted(pytester))
    broken = orders_in(first, "FAILED")
    assert broken and sorted([*broken, *orders_in(first, "PASSED")]) == list(range(12))
    assert len(broken) < 12
    found = re.search(r"test_race: 12 orders, (\d+) different histories, (\d+) broke a promise", first.stdout.str())
    assert found and (int(found[1]), int(found[2])) == (len(set(journals.values())), len(broken))
    assert len(set(journals.values())) > 1
    commands = [line for line in first.outlines if line.startswith("pytest test_it.py::test_race --hsm-seed=5")]
    assert len(commands) == len(broken)
    for command, order in list(zip(commands, broken, strict=True))[:3]:
        assert f"--hsm-order={order}" in command.split()
        again = run(RACE, *shlex.split(command)[1:], conftest=NOTED)
        again.assert_outcomes(failed=1)
        assert noted(pytester) == [("test_race", journals[order_of("test_race", order)])]
        assert finding(again) in first.outlines
        assert "hsmcluster orders" not in again.stdout.str()


def test_orders_are_the_same_on_workers(run, pytester):
    """Under xdist the same orders break, with the same journals, and the controller counts them once."""
    run(RACE, conftest=NOTED)
    alone = sorted(noted(pytester))
    result = run(
        RACE + textwrap.indent(textwrap.dedent(side(3)), "    "), "-v", "-p", "xdist", "-n", "2", conftest=NOTED
    )
    assert sorted(one for one in noted(pytester) if one[0].startswith("test_race")) == alone
    text = result.stdout.str()
    broken = orders_in(result, "FAILED")
    assert f"explore: {len(broken)} of 12 orders broke a promise" in text
    assert re.search(rf"test_race: 12 orders, \d+ different histories, {len(broken)} broke a promise", text)
    assert re.search(r"test_side: 6 orders, \d different histories, 1 broke a promise", text)
    assert text.count("=== hsmcluster orders ===") == 1


def test_order_0_is_that_of_a_test_that_does_not_explore(run, pytester):
    """Exploring changes nothing in the first run: keys are seeded, apart from that it is what it would be without."""
    run(RACE, conftest=NOTED)
    first = noted(pytester)[0]
    run(RACE.replace(", explore=12", ""), conftest=NOTED)
    assert noted(pytester) == [first]


def test_orders_that_make_no_difference_are_one_history(run):
    """Where it makes no difference who is first, the summary says so."""
    result = run(side().replace("hsm_client.find_keys, hsm_client.find_keys", "int, int"))
    assert "test_side: 6 orders, one history, none broke a promise" in result.stdout.str()


def test_everything_is_set_up_anew_for_each_order(run):
    """Fixtures of the function are made and torn down for each order, seeds are equal, and clusters are let go."""
    run("""
        import gc
        import weakref
        import pytest

        notes, seeds, refs = [], [], []

        @pytest.fixture
        def note(request):
            notes.append("up " + request.node.name)
            yield
            notes.append("down " + request.node.name)

        @pytest.mark.hsm_cluster(hsms=1, explore=3)
        @pytest.mark.parametrize("n", [7])
        def test_it(note, n, hsm_cluster, hsm_client):
            gc.collect()
            assert [ref for ref in refs if ref() is not None] == []
            refs.append(weakref.ref(hsm_cluster))
            seeds.append((hsm_cluster.seed, hsm_client.random(8)))
            hsm_cluster.run(hsm_client.find_keys, hsm_client.find_keys)

        def test_after():
            names = ["test_it[7]", "test_it[7-order 1]", "test_it[7-order 2]"]
            assert notes == [f"{way} {name}" for name in names for way in ("up", "down")]
            assert len(set(seeds)) == 1
    """).assert_outcomes(passed=4)


def test_clusters_of_the_factory_have_the_order_too(run):
    """Unless the test itself says which one: then that is so in each."""
    run("""
        import pytest

        digests, fixed = set(), set()

        def digest(cluster):
            one, two = cluster.client("one"), cluster.client("two")
            cluster.run(
                lambda: one.generate_key("AES", 256, label="a"),
                lambda: [two.find_keys(), two.find_keys(label="a")],
            )
            return cluster.history.digest()

        @pytest.mark.hsm_cluster(hsms=2, explore=8)
        def test_it(hsm_cluster_factory):
            digests.add(digest(hsm_cluster_factory()))
            fixed.add(digest(hsm_cluster_factory(order=3)))

        def test_after():
            assert len(digests) > 1 == len(fixed)
    """).assert_outcomes(passed=9)


# -- equals -----------------------------------------------------------------------------


def test_order_0_that_breaks_is_one_of_them(run):
    """The others are run all the same; only where they broke, too, the test is told once more."""
    alone = run(side(0), "-v")
    assert verdicts(alone) == [
        ("test_side", "FAILED"),
        *((order_of("test_side", one), "PASSED") for one in range(1, 6)),
    ]
    assert re.search(
        r"test_side: 6 orders, \d different histories, 1 broke a promise, .*\n    order 0\n", alone.stdout.str()
    )
    assert "pytest test_it.py::test_side --hsm-seed=0 --hsm-order=0" in alone.stdout.str()
    both = run(side(0, 5), "-v")
    assert verdicts(both)[-2:] == [("test_side[order 5]", "FAILED"), ("test_side", "FAILED")]
    assert "explore: 2 of 6 orders broke a promise\n\norder 0\n" in both.stdout.str()


def test_xfail_holds_for_each_order(run):
    """An order that is expected to break and does so is no failure."""
    source = side(2).replace(
        "@pytest.mark.hsm_cluster", "@pytest.mark.xfail(strict=False)\n    @pytest.mark.hsm_cluster"
    )
    result = run(source)
    result.assert_outcomes(xpassed=5, xfailed=1)
    assert "none broke a promise" in result.stdout.str()


# -- when to stop, what to show ---------------------------------------------------------


def test_exitfirst_stops_after_the_first_order_that_breaks(run):
    """-x: no further order, no further test; --lf runs this one and the test's own next time."""
    result = run(side(2, 4) + AFTER, "-x", "-v")
    assert verdicts(result) == [
        ("test_side", "PASSED"),
        ("test_side[order 1]", "PASSED"),
        ("test_side[order 2]", "FAILED"),
        ("test_side", "FAILED"),
    ]
    assert re.search(r"test_side: 3 of 6 orders, \d different histories, 1 broke", result.stdout.str())
    assert names(run(side(2, 4) + AFTER, "--lf", "-v")) == ["test_side", "test_side[order 2]", "test_side"]
    assert names(run(side(0, 2) + AFTER, "-x", "-v")) == ["test_side"]


def test_maxfail_counts_orders(run):
    """--maxfail=2 stops after the second of them."""
    assert names(run(side(1, 3, 5) + AFTER, "--maxfail=2", "-v"))[3:] == ["test_side[order 3]", "test_side"]


def test_last_failed_runs_the_orders_that_failed(run):
    """--lf: order 0 and these; those that were not run are remembered; when they hold, nothing is left."""
    run(side(2, 4) + AFTER)
    again = run(side(2, 4) + AFTER, "--lf", "-v")
    assert names(again) == ["test_side", "test_side[order 2]", "test_side[order 4]", "test_side"]
    assert "test_side: 3 of 6 orders, " in again.stdout.str()
    assert names(run(side(4) + AFTER, "--lf", "-x", "-v"))[1:3] == ["test_side[order 2]", "test_side[order 4]"]
    assert names(run(side() + AFTER, "--lf", "-v")) == ["test_side", "test_side[order 4]"]
    assert names(run(side() + AFTER, "--lf", "-v"))[-1] == "test_after"


def test_last_failed_order_0_is_run_alone(run):
    """What only the test itself showed needs no other order."""
    run(side(0) + AFTER)
    assert names(run(side(0) + AFTER, "--lf", "-v")) == ["test_side"]


def test_failed_first_runs_the_orders_that_failed_before_the_others(run):
    """--ff: the test first, and of its orders those first."""
    run(AFTER + side(3, 5))
    assert names(run(AFTER + side(), "--ff", "-v")) == [
        *(order_of("test_side", one) for one in (0, 3, 5, 1, 2, 4)),
        "test_after",
    ]


def test_durations_and_junit_know_orders(run, pytester):
    """Each order is listed by its node id, in JUnit with its replay command."""
    result = run(side(4), "--durations=0", "-vv", "--junit-xml=junit.xml", "-o", "junit_family=xunit1")
    lines = [line for line in result.outlines if " call     test_it.py::test_side" in line]
    assert len(lines) == 6 + 1
    cases = ET.parse(pytester.path / "junit.xml").getroot().findall("testsuite/testcase")
    assert [one.get("name") for one in cases] == [*(order_of("test_side", one) for one in range(6)), "test_side"]
    replay = cases[4].find("properties/property[@name='hsm_replay']")
    assert replay is not None and "--hsm-order=4" in str(replay.get("value"))


# -- selecting --------------------------------------------------------------------------

MANY = """
    import pytest

    class TestClass:
        @pytest.mark.hsm_cluster(hsms=1, explore=14)
        @pytest.mark.parametrize("n", ["a", "b"])
        def test_method(self, hsm_cluster, hsm_client, n):
            hsm_cluster.run(hsm_client.find_keys, hsm_client.find_keys)

    @pytest.mark.hsm_cluster(explore=None)
    def test_plain(hsm_cluster):
        pass
"""


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["serial", "xdist"])
def test_order_runs_alone_by_its_node_id(run, pytester, workers):
    """A node id of an order as an argument runs this order and nothing else, also one above those that are tried."""
    run(RACE, conftest=NOTED)
    journals = dict(noted(pytester))
    asked = [order_of("test_race", order) for order in (7, 3)]
    result = run(RACE, *(f"test_it.py::{name}" for name in asked), "-v", *workers)
    assert sorted(names(result)) == sorted(asked)
    assert sorted(noted(pytester)) == sorted((name, journals[name]) for name in asked)
    asked = [order_of("TestClass::test_method[b]", 2), order_of("TestClass::test_method[a]", 99)]
    result = run(MANY, *(f"test_it.py::{name}" for name in asked), "-v", *workers)
    assert sorted(names(result)) == sorted(asked)
    assert "hsmcluster orders" not in result.stdout.str()


@pytest.mark.parametrize("asked", ["test_plain[order 1]", "TestClass::test_method[a-order 02]", "test_non[order 1]"])
def test_order_that_cannot_be_is_not_found(run, asked):
    """pytest itself says that there is no such test."""
    result = run(MANY, f"test_it.py::{asked}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "not found: " in result.stderr.str()


@pytest.mark.parametrize(
    "arguments, orders",
    [
        (["-k", "test_side"], range(6)),
        (["-k", "order and 3"], [0, 3]),
        (["-k", "test_side and not 4"], [0, 1, 2, 3, 5]),
        (["--deselect=test_it.py::test_side[order 2]"], [0, 1, 3, 4, 5]),
        (["--deselect=test_it.py::test_side[order"], [0]),
    ],
)
def test_orders_are_selected_as_other_tests(run, arguments, orders):
    """`-k` selects by words, `--deselect` by node ids; the test itself, in order 0, is always run."""
    result = run(side(), "-v", *arguments)
    assert names(result) == [order_of("test_side", one) for one in orders]
    assert names(run(side(), "-v", "-k", "order and 6")) == []


def test_order_of_the_command_line_is_the_only_one(run, pytester):
    """--hsm-order=N: nothing explores, and run() takes this order, whatever markers say; the header tells it."""
    run(RACE, conftest=NOTED)
    journals = dict(noted(pytester))
    for source in (RACE, RACE.replace("explore=12", "order=2")):
        result = run(source, "--hsm-order=7", "-v", conftest=NOTED)
        assert names(result) == ["test_race"]
        assert noted(pytester) == [("test_race", journals["test_race[order 7]"])]
        assert "hsmcluster: seed 0 (default), virtual clock, SDK 5, order 7" in result.outlines
    run(RACE, "--hsm-order=7", "-p", "xdist", "-n", "1", conftest=NOTED)
    assert noted(pytester) == [("test_race", journals["test_race[order 7]"])]


# -- what is not explored ---------------------------------------------------------------


@pytest.mark.parametrize(
    "fixtures, body, why",
    [
        ("hsm_client", "hsm_client.find_keys()", "it never has two functions act in cluster.run()"),
        ("hsm_cluster", "hsm_cluster.run(hsm_cluster.client().find_keys)", "it never has two functions act"),
        ("hsm_cluster_factory", "pass", "it used no cluster"),
    ],
    ids=["no-run", "one-function", "no-cluster"],
)
def test_nothing_to_explore_is_a_failure(run, fixtures, body, why):
    """Where nobody is ever chosen there is one order only, which the test is told; it is not run again."""
    result = run(
        f"""
        import pytest

        @pytest.mark.hsm_cluster(explore=20)
        def test_it({fixtures}):
            {body}
    """,
        "-v",
    )
    assert verdicts(result) == [("test_it", "PASSED"), ("test_it", "FAILED")]
    text = result.stdout.str()
    assert f"explore: nothing to explore, for {why}" in text
    assert "as in hsm_cluster.run(rotate, serve)" in text
    assert f"test_it.py::test_it: nothing to explore, for {why}" in text


@pytest.mark.parametrize(
    "mark, body, arguments, why",
    [
        ("", "raise KeyError", (), "it failed before there was anything to choose"),
        ("", "pytest.skip('not now')", (), "it skipped before there was anything to choose"),
        ("@pytest.mark.skip", "", (), "it skipped before"),
        ("@pytest.mark.xfail", "raise KeyError", (), "it xfailed before"),
        ("", "pass", ("--setup-only",), "nothing but its set-up was asked for"),
    ],
    ids=["fails", "skips", "skipped", "xfails", "setup-only"],
)
def test_what_ends_before_there_is_a_choice_is_run_once(run, mark, body, arguments, why):
    """No other order could differ, and the summary says why there was none."""
    result = run(
        f"""
        import pytest

        {mark}
        @pytest.mark.hsm_cluster(hsms=1, explore=20)
        def test_it(hsm_cluster, hsm_client):
            {body or "pass"}
            hsm_cluster.run(hsm_client.find_keys, hsm_client.find_keys)
    """,
        *arguments,
    )
    assert f"test_it.py::test_it: not explored, for {why}" in result.stdout.str()
    assert "order 1" not in result.stdout.str()


def test_one_order_is_no_exploring(run):
    """explore=1 and explore=None are the plain test; the closest level wins."""
    result = run(
        """
        import pytest

        pytestmark = pytest.mark.hsm_cluster(hsms=1, explore=3)

        @pytest.mark.hsm_cluster(explore=1)
        def test_one(hsm_cluster): pass

        @pytest.mark.hsm_cluster(explore=None)
        def test_none(hsm_cluster): pass

        @pytest.mark.hsm_cluster(sdk=3)
        def test_three(hsm_cluster, hsm_client):
            hsm_cluster.run(hsm_client.find_keys, hsm_client.find_keys)
    """,
        "-v",
    )
    assert names(result) == ["test_one", "test_none", *(order_of("test_three", one) for one in range(3))]


# -- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marker, said",
    [
        ("hsm_cluster(explore=0)", "explore is how many hand-over orders of run() to try, 1 or more; got 0"),
        ("hsm_cluster(explore=-2)", "1 or more; got -2"),
        ("hsm_cluster(explore=True)", "1 or more; got True"),
        ("hsm_cluster(explore='20')", "1 or more; got '20'"),
        ("hsm_cluster(explore=2.0)", "1 or more; got 2.0"),
        ("hsm_cluster(explor=20)", "unknown argument 'explor' (did you mean 'explore'?); it takes hsms, "),
        ("hsm_cluster(explore=20, clock='real')", "explore= needs a virtual clock, for by a real one nobody has turns"),
        ("hsm_cluster(explore=20, order=3)", "order=3 is one hand-over order, and explore= tries several, from 0 on"),
        ("hsm_cluster(explore=20)\n@mark.hsm_sweep", "explore= and hsm_sweep do not go together, for a sweep's faults"),
        ("hsm_chaos('stall-sync', explore=20)", "unknown argument 'explore'"),
    ],
)
def test_each_mistake_is_told_when_tests_are_collected(run, marker, said):
    """What is wrong, why, and the way out, with the test."""
    result = run(f"{HEAD}@mark.{marker}\ndef test_it(hsm_cluster):\n    pass\n")
    result.assert_outcomes(errors=1)
    assert said in result.stdout.str()
    assert "test_it.py::test_it" in result.stdout.str()


def test_testcase_is_refused_at_collection(run):
    """Methods of a unittest.TestCase cannot explore; the reason and the way out stand there."""
    text = run(
        f"{HEAD}class TestIt(unittest.TestCase):\n    @mark.hsm_cluster(explore=2)\n    def test_it(self): pass\n"
    ).stdout.str()
    assert "a method of a unittest.TestCase cannot explore, for TestCase finds its method by the name" in text
    assert "make it a function, or a class that is no TestCase" in text


def test_real_clock_is_refused_wherever_it_comes_from(run):
    """By option too."""
    assert "explore= needs a virtual clock" in run(side(), "--hsm-clock=real").stdout.str()


@pytest.mark.parametrize("given", ["-1", "x", "1.5", "", "9" * 5000])
def test_bad_order_is_a_usage_error(run, given):
    """A wrong number ends the run before anything is collected."""
    result = run("raise SystemError('collected')", f"--hsm-order={given}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--hsm-order: the number of a hand-over order, 0 or more, is wanted; got" in result.stderr.str()


@pytest.mark.parametrize("explore, outcome", [(3, {"passed": 3}), (0, {"errors": 1})])
def test_marker_that_a_hook_adds_counts(run, explore, outcome):
    """A right one explores, a wrong one fails the set-up of its test."""
    conftest = f"""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.hsm_cluster(explore={explore}))
    """
    run(side().replace("explore=6", "sdk=3"), conftest=conftest).assert_outcomes(**outcome)


# -- neighbours -------------------------------------------------------------------------


def test_exploring_goes_with_faults_and_before_background_chaos(run):
    """Faults of markers and of the command line strike in each order; background chaos leaves the test alone."""
    source = side(fixtures=", hsm_chaos").replace(
        "assert ", "assert [one.hits for one in hsm_chaos.injections] == [1, 1]\n        assert "
    )
    source = source.replace(
        "@pytest", "@pytest.mark.hsm_chaos('pass @ hsm.execute command=find_keys nth=1')\n    @pytest"
    )
    result = run(source, "--hsm-chaos=pass @ hsm.reply command=find_keys nth=1", "--hsm-background=light")
    result.assert_outcomes(passed=6)


def test_hidden_free_threads_make_histories_incomparable(run):
    """Where threads call a cluster freely, beside run(), the summary does not pretend to count histories."""
    result = run("""
        import threading
        import pytest

        @pytest.mark.hsm_cluster(hsms=1, explore=3)
        def test_it(hsm_cluster, hsm_client):
            thread = threading.Thread(target=hsm_client.find_keys)
            thread.start()
            thread.join()
            hsm_cluster.run(hsm_client.find_keys, hsm_client.find_keys)
    """)
    result.assert_outcomes(passed=3)
    assert "test_it: 3 orders, histories that cannot be compared (" in result.stdout.str()


def test_run_that_explores_nothing_imports_nothing_for_it(pytester):
    """Tests with marked clusters never load what runs tests again."""
    pytester.makeconftest("""
        import atexit
        import pathlib
        import sys

        atexit.register(lambda: pathlib.Path("modules").write_text("\\n".join(sys.modules)))
    """)
    pytester.makepyfile("import pytest\n@pytest.mark.hsm_cluster(explore=1)\ndef test_it(hsm_client): pass")
    pytester.runpytest_subprocess("-p", "hsmcluster").assert_outcomes(passed=1)
    loaded = (pytester.path / "modules").read_text().splitlines()
    ours = {name.removeprefix("pytest_hsmcluster.") for name in loaded}
    assert "trial" in ours
    assert not ours & {"directing", "exploring", "selecting", "stage", "theatre"}
