"""Can another package add to everything that it is promised?"""

import pytest

from pytest_hsmcluster import hookspecs

PLUGIN = '''
    import pathlib
    import pytest

    def pytest_hsm_faults(item):
        return ["pass @ hsm.receive"] if item.name == "test_faults" else []

    def two_hsms_off(chaos, first: str = "hsm-1", wait_s: float = 0.0, times: int = 1):
        """Two HSMs lose power, one after the other."""
        chaos.crash(first)
        chaos.crash("hsm-3")
        pathlib.Path("called").write_text(f"{first} {wait_s!r} {times!r}")

    def pytest_hsm_scenarios():
        return {"two-hsms-off": two_hsms_off}

    def at_most_one_key(history):
        """No more than one key is made."""
        births = [event for event in history.of("held") if str(event.cause) == "create"]
        assert len(births) <= 1, f"too many keys: {len(births)}"

    def pytest_hsm_checks():
        return {"at_most_one_key": at_most_one_key}

    def pytest_hsm_profile(config):
        return {"sdk": 3, "hsms": 4, "sweep_period_s": 7}

    def pytest_hsm_report(item, cluster):
        return [("coverage of " + item.name, cluster.coverage("crypto_user"))]
'''

TESTS = """
    import pathlib
    import pytest

    def test_faults(hsm_chaos, hsm_client):
        hsm_client.generate_key("AES", 256, label="kek")
        assert [str(one) for one in hsm_chaos.injections] == ["pass @ hsm.receive"]

    @pytest.mark.hsm_chaos("two-hsms-off hsm-2 wait_s=1.5s times=3")
    def test_scenario(hsm_cluster):
        assert [hsm.state for hsm in hsm_cluster.hsms] == ["up", "down", "down", "up"]
        assert pathlib.Path("called").read_text() == "hsm-2 1.5 3"

    def test_installed_by_hand(hsm_chaos, hsm_cluster):
        hsm_chaos.install("two-hsms-off")
        assert [hsm.state for hsm in hsm_cluster.hsms] == ["down", "up", "down", "up"]

    @pytest.mark.hsm_cluster(checks=("at_most_one_key",))
    def test_check(hsm_client):
        hsm_client.generate_key("AES", 256, label="one")
        hsm_client.generate_key("AES", 256, label="two")

    @pytest.mark.hsm_cluster(hsms=2)
    def test_profile(hsm_cluster):
        assert (hsm_cluster.profile.sdk, len(hsm_cluster.hsms)) == (3, 2)
        assert hsm_cluster.profile.sweep_period_ns == 7 * 10**9

    def test_report(hsm_cluster):
        raise KeyError
"""


@pytest.fixture
def with_plugin(run, pytester):
    """Run with the second plugin."""
    pytester.makepyfile(second_plugin=PLUGIN)
    pytester.syspathinsert()

    def with_plugin(source: str, *arguments: str, **more: str) -> pytest.RunResult:
        return run(source, "-p", "second_plugin", *arguments, **more)

    return with_plugin


def test_second_plugin_uses_every_hook(with_plugin):
    """Faults, scenarios, checks, profiles and report sections of another package have their effect."""
    result = with_plugin(TESTS)
    result.assert_outcomes(passed=4, failed=2)
    text = result.stdout.str()
    assert "too many keys: 2" in text
    assert " coverage of test_report " in text
    assert "\nfull\n" in text


def test_scenario_of_another_package_works_on_the_command_line(with_plugin):
    """`--hsm-chaos` takes it, and its argument without a key."""
    result = with_plugin(
        "import pathlib\ndef test_it(hsm_cluster): print(pathlib.Path('called').read_text())",
        "-s",
        "--hsm-chaos=two-hsms-off hsm-2",
    )
    result.assert_outcomes(passed=1)
    assert "hsm-2 0.0 1" in result.stdout.str()


def test_catalogues_list_other_packages(with_plugin):
    """`--hsm-list` shows their names with the first line of their docstrings."""
    scenarios = with_plugin("", "--hsm-list=scenarios").outlines[-1]
    assert scenarios.startswith("two-hsms-off")
    assert "Two HSMs lose power, one after the other" in scenarios
    assert scenarios.endswith("first=hsm-1 wait_s=0.0 times=1")
    assert with_plugin("", "--hsm-list=checks").outlines[-1].split(None, 1) == [
        "at_most_one_key",
        "No more than one key is made",
    ]


def test_checks_of_another_package_are_known_everywhere(with_plugin):
    """The ini takes it too, and a wrong name is compared with it."""
    result = with_plugin(TESTS, "-k", "test_check", ini="hsm_checks = at_most_one_key\n")
    result.assert_outcomes(failed=1, deselected=5)
    wrong = with_plugin("import pytest\n@pytest.mark.hsm_chaos(checks=('at_most_on_key',))\ndef test_it(): pass\n")
    assert "did you mean 'at_most_one_key'?" in wrong.stdout.str()


def test_wrong_arguments_of_a_foreign_scenario_are_collection_errors(with_plugin):
    """Its arguments are judged as those of ours."""
    result = with_plugin("import pytest\n@pytest.mark.hsm_chaos('two-hsms-off time=3')\ndef test_it(): pass\n")
    result.assert_outcomes(errors=1)
    assert "has no argument 'time' (did you mean 'times'?)" in result.stdout.str()


@pytest.mark.parametrize(
    "hook, said",
    [
        (
            "pytest_hsm_scenarios(): return {'stall-sync': print}",
            "'stall-sync' is the name of one of pytest-hsmcluster",
        ),
        (
            "pytest_hsm_scenarios(): return {'two-hsms-off': print}",
            "'two-hsms-off' is the name of one of another plugin",
        ),
        ("pytest_hsm_checks(): return {'durable': print}", "'durable' is the name of one of pytest-hsmcluster"),
        ("pytest_hsm_checks(): return {'mine': 3}", "what 'mine' names cannot be called: 3"),
    ],
)
def test_names_that_are_taken_are_refused(with_plugin, hook, said):
    """Two packages cannot give one name two meanings."""
    result = with_plugin(TESTS, "--hsm-chaos=stall-sync", conftest=f"def {hook}\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


def test_hooks_of_a_conftest_hold_below_it(run, pytester):
    """A `conftest.py` in a folder is asked for the tests of that folder only."""
    below = pytester.mkpydir("below")
    (below / "conftest.py").write_text("def pytest_hsm_profile(config): return {'hsms': 5}\n")
    (below / "test_below.py").write_text("def test_it(hsm_cluster): assert len(hsm_cluster.hsms) == 5\n")
    run("def test_it(hsm_cluster): assert len(hsm_cluster.hsms) == 3").assert_outcomes(passed=2)


def test_later_plugin_wins_over_earlier_ones(with_plugin):
    """Of two profiles the one of the plugin that came later holds: the conftest's."""
    with_plugin(
        "def test_it(hsm_cluster): assert (len(hsm_cluster.hsms), hsm_cluster.profile.sdk) == (6, 3)",
        conftest="def pytest_hsm_profile(config): return {'hsms': 6}\n",
    ).assert_outcomes(passed=1)


def test_every_hook_is_documented():
    """Each hook says what it returns; all names begin with `pytest_hsm_`."""
    hooks = {name: one for name, one in vars(hookspecs).items() if name.startswith("pytest_")}
    assert list(hooks) == [
        "pytest_hsm_faults",
        "pytest_hsm_scenarios",
        "pytest_hsm_checks",
        "pytest_hsm_profile",
        "pytest_hsm_report",
    ]
    assert all("Returns:" in hook.__doc__ for hook in hooks.values())
