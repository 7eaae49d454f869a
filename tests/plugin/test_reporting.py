"""Is a failure told so that it can be understood and repeated?"""

import json
import shlex

import pytest

FAILING = """
    import pytest

    @pytest.mark.hsm_cluster(sdk=3)
    @pytest.mark.hsm_chaos("kill-mid-create")
    @pytest.mark.parametrize("label", ["it's a \\"label\\""])
    def test_lost(hsm_client, label):
        hsm_client.generate_key("AES", 256, label=label)

    def test_kept(hsm_client):
        hsm_client.generate_key("AES", 256, label="kept")
"""


def section(result: pytest.RunResult, title: str) -> list[str]:
    """Return the lines of one section of the only failure."""
    lines = result.outlines
    start = next(index for index, line in enumerate(lines) if f" {title} " in line and line.startswith("---"))
    end = next(index for index in range(start + 1, len(lines)) if lines[index].startswith(("---", "===")))
    return lines[start + 1 : end]


def test_failure_shows_faults_timeline_and_replay(run):
    """Below the finding stand what struck, a picture of what happened, and the seed with one command."""
    result = run(FAILING)
    result.assert_outcomes(failed=1, passed=1)
    assert section(result, "HSM faults") == ["struck 1 time: destroy source @ client.clone nth=1 per=op"]
    timeline = "\n".join(section(result, "HSM timeline"))
    assert "here a finding begins: key-1" in timeline
    assert "LOST" in timeline
    seed, command = section(result, "HSM replay")
    assert seed == "seed 0 (default)"
    assert command.startswith("pytest ")


def test_replay_command_repeats_the_failure(run, pytester, monkeypatch):
    """The command, pasted into a shell, fails again in the same way; seed, faults and options are in it."""
    source = """
        def test_lost(hsm_cluster):
            client = hsm_cluster.client()
            for number in range(20):
                client.generate_key("AES", 256, label=f"key {number}")
            print("STATE", hsm_cluster.seed, hsm_cluster.history.digest())
            raise KeyError
    """
    arguments = (
        "--hsm-seed=3",
        "--hsm-chaos=drop @ client.clone hsm=hsm-2 chance=0.5",
        "-o",
        "hsm_sdk=3",
        "-W",
        "error",
    )
    first = run(source, *arguments)
    command = shlex.split(section(first, "HSM replay")[1])
    assert command == [
        "pytest",
        "test_it.py::test_lost",
        "--hsm-seed=3",
        "--hsm-chaos=drop @ client.clone hsm=hsm-2 chance=0.5",
        "-p",
        "hsmcluster",
        "-o",
        "hsm_sdk=3",
        "-W",
        "error",
    ]
    monkeypatch.setenv("HSM_SEED", "8")
    again = pytester.runpytest_inprocess(*command[1:])
    assert section(again, "Captured stdout call") == section(first, "Captured stdout call")
    assert section(again, "HSM timeline") == section(first, "HSM timeline")


def test_node_id_is_quoted_for_a_shell(run):
    """A parameter with quotes and blanks survives the shell."""
    command = section(run(FAILING), "HSM replay")[1]
    assert shlex.split(command)[1] == 'test_it.py::test_lost[it\'s a "label"]'


def test_replay_keeps_the_seed_of_pytest_randomly(run):
    """An application that draws from `random` gets the same draws again."""
    text = run(FAILING, "-p", "randomly", "--randomly-seed=11")
    assert "--randomly-seed=11" in section(text, "HSM replay")[1]


@pytest.mark.parametrize(
    "mode, failed, passed",
    [("on-failure", 1, 0), ("always", 1, 1), ("never", 0, 0)],
    ids=["failure", "always", "never"],
)
def test_timeline_option(run, mode, failed, passed):
    """Timelines are for failures, for all, or for none; findings and replay are always there."""
    for arguments, ini in (([f"--hsm-timeline={mode}"], ""), ([], f"hsm_timeline = {mode}\n")):
        text = run(FAILING, *arguments, ini=ini).stdout.str()
        assert text.count("LOST") == failed
        assert text.count("generate_key 'kept'") == passed
        assert text.count("HSM replay") == 1


def test_timeline_of_passed_tests_is_shown_once_with_rp(run):
    """`-rP` shows the sections of passed tests anyway."""
    assert run(FAILING, "--hsm-timeline=always", "-rP").stdout.str().count("generate_key 'kept'") == 1


def test_timeline_is_ascii_where_the_terminal_is(run, monkeypatch):
    """A terminal that cannot show more gets ASCII."""
    import io
    import sys

    monkeypatch.setattr(sys, "__stdout__", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert "\n".join(section(run(FAILING), "HSM timeline")).isascii()


def test_summary_says_what_was_used(run):
    """One line below the run: tests, clusters, SDKs, faults, seed."""
    result = run(FAILING, "--hsm-seed=4")
    assert "2 tests used 2 clusters (SDK 3 and 5, virtual clock); 1 fault struck; seed 4" in result.outlines


def test_summary_is_quiet(run):
    """Nothing of ours below a run without a cluster, or with -q."""
    assert "used" not in run("def test_it(): pass").stdout.str()
    assert "clusters (" not in run(FAILING, "-q").stdout.str()


@pytest.mark.parametrize("shown", ["no", "stdout"])
def test_replay_is_shown_where_sections_are_not(run, shown):
    """`--show-capture` hides sections, but not the command that repeats a failure."""
    text = run(FAILING, f"--show-capture={shown}").stdout.str()
    assert text.count("pytest 'test_it.py::test_lost[") == 1
    assert "LOST" not in text


def test_seed_and_command_are_machine_readable(run, pytester):
    """JUnit's properties carry seed and replay command."""
    run(FAILING, "--junitxml=out.xml", "--hsm-seed=4")
    text = (pytester.path / "out.xml").read_text()
    assert text.count('<property name="hsm_seed" value="4" />') == 2
    assert text.count('<property name="hsm_replay"') == 1


def test_several_clusters_have_a_timeline_each(run):
    """The sections name the cluster when a test has more than one."""
    result = run("""
        def test_it(hsm_cluster_factory):
            for label in ("one", "two"):
                hsm_cluster_factory().client().generate_key("AES", 256, label=label)
            raise KeyError
    """)
    titles = [line for line in result.outlines if "HSM timeline of cluster-" in line]
    assert len(titles) == len(set(titles)) == 2


def test_traceback_ends_at_the_call_of_the_test(run):
    """Our own frames are not shown; the message of the error is."""
    result = run("""
        def test_it(hsm_client):
            hsm_client.generate_key("AES", 100, label="payroll")
    """)
    text = result.stdout.str()
    assert "E       pytest_hsmcluster.errors.TemplateInvalid: " in text
    assert "\ntest_it.py:2: TemplateInvalid\n" in text
    assert "operations.py" not in text


def test_sections_survive_a_json_report(run, pytester):
    """What we add to a report can be serialised, as xdist and report logs do."""
    result = run(
        FAILING,
        conftest="""
        import json
        import pathlib

        def pytest_runtest_logreport(report):
            if report.failed:
                pathlib.Path("report.json").write_text(json.dumps([report.sections, report.user_properties]))
    """,
    )
    result.assert_outcomes(failed=1, passed=1)
    sections, properties = json.loads((pytester.path / "report.json").read_text())
    assert [title for title, _ in sections] == ["HSM faults", "HSM timeline", "HSM replay"]
    assert dict(properties)["hsm_seed"] == 0
