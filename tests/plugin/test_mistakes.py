"""Is a wrong marker told when tests are collected, with the place and the way out?"""

import pytest

HEAD = "import unittest\nimport pytest\n\nmark = pytest.mark\n\n\n"


def collected(run, *decorated: str, **more):
    """Return what pytest says about functions with these decorators."""
    tests = [f"{one}\ndef test_{number}(hsm_cluster):\n    pass\n" for number, one in enumerate(decorated)]
    result = run(HEAD + "\n\n".join(tests), **more)
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    return result.stdout.str()


@pytest.mark.parametrize(
    "marker, said",
    [
        ("hsm_cluster(3)", "hsm_cluster(3): takes no positional argument; name it, such as hsms=3"),
        ("hsm_cluster(hsmz=3)", "unknown argument 'hsmz' (did you mean 'hsms'?); it takes hsms, zones, sdk, "),
        ("hsm_cluster(sweep_perod_s=3)", "unknown argument 'sweep_perod_s' (did you mean 'sweep_period_s'?)"),
        ("hsm_cluster(hsms=0)", "hsms is a number from 1 to 28 (AWS CloudHSM quota: HSMs per cluster); got 0"),
        ("hsm_cluster(hsms=29)", "hsms is a number from 1 to 28 (AWS CloudHSM quota: HSMs per cluster); got 29"),
        ("hsm_cluster(hsms='3')", "hsms is a number from 1 to 28 (AWS CloudHSM quota: HSMs per cluster); got '3'"),
        ("hsm_cluster(zones='ab')", 'zones is a sequence of zone names, such as ("a", "b"); got \'ab\''),
        ("hsm_cluster(zones=())", "zones is a sequence of zone names"),
        ("hsm_cluster(sdk=4)", "sdk is one of 3, 5; got 4"),
        ("hsm_cluster(seed='x')", "seed is a whole number; got 'x'"),
        ("hsm_cluster(keys='real')", "keys is 'random' or 'seeded'; got 'real'"),
        ("hsm_cluster(clock='fast')", "clock is 'virtual' or 'real'; got 'fast'"),
        ("hsm_cluster(network='tcp')", "network is 'simulated' or 'processes'; got 'tcp'"),
        ("hsm_cluster(sweep_period_s=-1)", "sweep_period_s is a number of seconds, 0 or more; got -1"),
        ("hsm_cluster(fips=1)", "fips is True or False; got 1"),
        ("hsm_cluster(create_object_minimum_nodes=2)", "create_object_minimum_nodes is a setting of SDK 3"),
        ("hsm_cluster(sdk=3, create_object_minimum_nodes=0)", "create_object_minimum_nodes is 0; allowed: "),
        ("hsm_cluster(sdk=3, hsms=2, create_object_minimum_nodes=3)", "create_object_minimum_nodes is 3; allowed: "),
        ("hsm_cluster(config='no/such.cfg')", "no/such.cfg"),
        ("hsm_cluster(checks='durable')", "checks is a tuple of names, such as checks=(\"durable\",); got 'durable'"),
        ("hsm_cluster(checks=('durabel',))", "unknown check 'durabel' (did you mean 'durable'?); checks are durable, "),
        ("hsm_chaos()", "says nothing; it takes faults or scenarios"),
        ("hsm_chaos", "says nothing; it takes faults or scenarios"),
        ("hsm_chaos(3)", "no scenario is called '3'"),
        ("hsm_chaos('stall-sync', check=('durable',))", "unknown argument 'check' (did you mean 'checks'?)"),
        ("hsm_chaos('stall-sync', after_copies=2)", "unknown argument 'after_copies'"),
        ("hsm_chaos(checks=('durabel',))", "unknown check 'durabel' (did you mean 'durable'?)"),
        ("hsm_chaos('kill-mid-creat')", "no scenario is called 'kill-mid-creat' (did you mean 'kill-mid-create'?)"),
        ("hsm_chaos('kill-mid-create after=2')", "has no argument 'after'"),
        ("hsm_chaos('kill-mid-create after_copies=two')", "after_copies= is a whole number; got 'two'"),
        ("hsm_chaos('lost-ack')", "lost-ack needs op="),
        ("hsm_chaos('crash @ hsm.comit')", "unknown point 'hsm.comit' (did you mean 'hsm.commit'?)"),
        ("hsm_chaos('crahs @ hsm.commit')", "unknown effect 'crahs' (did you mean 'crash'?)"),
        ("hsm_chaos('drop @ hsm.commit')", "hsm.commit cannot take drop"),
        ("hsm_chaos('')", "an empty spec"),
    ],
)
def test_each_mistake_is_told(run, marker, said):
    """What is wrong, what is allowed and the nearest right spelling stand in the collection error, with the test."""
    text = collected(run, f"@mark.{marker}")
    assert said in text
    assert "1 mistake in markers of pytest-hsmcluster" in text
    assert "test_it.py::test_0\n" in text


def test_wrong_part_of_a_spec_is_underlined(run):
    """The carets stand below the word that is wrong."""
    lines = collected(run, "@mark.hsm_chaos('crash @ hsm.commit', 'crash @ hsm.comit nth=1')").splitlines()
    shown = next(index for index, line in enumerate(lines) if line.endswith("crash @ hsm.comit nth=1"))
    assert lines[shown + 1].index("^") == lines[shown].index("hsm.comit")


def test_all_mistakes_of_a_module_come_at_once(run):
    """Functions, classes, methods, TestCases, parameter sets and several values of one marker share one error."""
    result = run(
        HEAD
        + """
pytestmark = mark.hsm_cluster(zonez=1)


@mark.hsm_cluster(hsms=0, keys="x", clock="y")
def test_function(): pass


@mark.parametrize("n", [1, pytest.param(2, marks=mark.hsm_chaos("stal-sync"))])
def test_case(n): pass


@mark.hsm_cluster(sdk=9)
class TestClass:
    @mark.hsm_cluster(seed="s")
    def test_method(self): pass

    @mark.parametrize("n", [pytest.param(2, marks=mark.hsm_chaos("crash @ nowhere"))])
    def test_method_case(self, n): pass


class TestOld(unittest.TestCase):
    @mark.hsm_chaos("lost-akc")
    def test_old(self): pass
"""
    )
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert "9 mistakes in markers of pytest-hsmcluster" in text
    for said in (
        "unknown argument 'zonez'",
        "got 0",
        "keys is 'random' or 'seeded'; got 'x'",
        "clock is 'virtual' or 'real'; got 'y'",
        "did you mean 'stall-sync'",
        "sdk is one of 3, 5; got 9",
        "seed is a whole number",
        "unknown point 'nowhere'",
        "did you mean 'lost-ack'",
    ):
        assert said in text
    for name in ("test_function", "test_case[2]", "TestClass::test_method_case", "TestOld::test_old"):
        assert f"test_it.py::{name}" in text


def test_a_mistake_of_many_tests_is_told_once(run):
    """Tests that share a wrong marker are named together, three of them."""
    result = run(HEAD + "@mark.parametrize('n', range(5))\n@mark.hsm_cluster(hsmz=1)\ndef test_it(n): pass\n")
    text = result.stdout.str()
    assert text.count("unknown argument 'hsmz'") == 1
    assert "test_it.py::test_it[0], test_it.py::test_it[1], test_it.py::test_it[2] and 2 more" in text


def test_right_modules_are_collected_all_the_same(run, pytester):
    """With --continue-on-collection-errors the other modules run."""
    pytester.makepyfile(test_right="def test_right(hsm_cluster): pass")
    result = run(HEAD + "@mark.hsm_cluster(hsmz=1)\ndef test_wrong(): pass\n", "--continue-on-collection-errors")
    result.assert_outcomes(passed=1, errors=1)


def test_mistakes_are_told_under_xdist(run):
    """Workers report the same collection error."""
    result = run(HEAD + "@mark.hsm_chaos('stal-sync')\ndef test_wrong(): pass\n", "-p", "xdist", "-n", "2")
    result.assert_outcomes(errors=1)
    assert "did you mean 'stall-sync'" in result.stdout.str()


def test_minimum_that_the_ini_makes_right_is_right(run):
    """The marker is judged together with what it is merged with."""
    source = HEAD + "@mark.hsm_cluster(create_object_minimum_nodes=2)\ndef test_it(hsm_cluster): pass\n"
    run(source, ini="hsm_sdk = 3\n").assert_outcomes(passed=1)
    run(source).assert_outcomes(errors=1)


def test_fault_that_does_not_fit_the_cluster_is_an_error_of_the_test(run):
    """An HSM that is not there, or a scenario that needs a minimum, ends the test's setup with one sentence."""
    result = run(
        HEAD
        + "@mark.hsm_chaos('crash hsm-7 @ hsm.commit')\ndef test_one(): pass\n\n"
        + "@mark.hsm_chaos('fail-cleanup')\ndef test_two(): pass\n\n"
        + "def test_three(hsm_cluster): pass\n"
    )
    result.assert_outcomes(errors=2, passed=1)
    text = result.stdout.str()
    assert "there is no 'hsm-7'" in text
    assert "fail-cleanup needs create_object_minimum_nodes of 2 or more" in text
    assert "Traceback" not in text


def test_minimum_of_all_hsms_is_a_warning_of_the_test_and_not_of_the_collection(run):
    """A warning about the marker belongs to the test that has it, once."""
    source = HEAD + "@mark.hsm_cluster(sdk=3, create_object_minimum_nodes=3)\ndef test_it(hsm_cluster): pass\n"
    result = run(source, "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
