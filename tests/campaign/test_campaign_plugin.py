"""Can a campaign be stopped, gone on with, dealt out to workers, and read?"""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from pytest_hsmcluster.campaign_state import Campaign, Find
from pytest_hsmcluster.errors import UsageError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "campaigns.md"

GOOD = """
from tests.strategies.wrong import PatientMachine

class Short(PatientMachine):
    steps = 4

def test_vault(hsm_campaign):
    hsm_campaign(Short)
"""

WRONG = """
from hypothesis import strategies as st

from pytest_hsmcluster.stories.story import Shape
from pytest_hsmcluster.strategies import ClusterMachine

class OneHsm(ClusterMachine):
    shapes = st.just(Shape(1, 3))
    steps = 8

def test_one_hsm(hsm_campaign):
    hsm_campaign(OneHsm)
"""

DRAWN = """
from pytest_hsmcluster.stories.playing import play
from pytest_hsmcluster.strategies import stories

def test_stories(hsm_campaign):
    hsm_campaign(play, stories(most=4))
"""

UNSTABLE = """
from tests.strategies.wrong import UnstableMachine

def test_unstable(hsm_campaign):
    hsm_campaign(UnstableMachine)
"""

STOPPED = """
import itertools
import signal
from hypothesis import strategies as st

count = itertools.count(1)

def story(number):
    if next(count) == 23:
        signal.raise_signal(signal.SIGINT)

def test_stopped(hsm_campaign):
    hsm_campaign(story, st.integers())
"""


@pytest.fixture
def campaign(pytester, monkeypatch):
    """`campaign(text, *options)` runs a campaign in a process of its own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini(
        "[pytest]\naddopts = -p pytest_hsmcluster.campaign -p no:cacheprovider -p xdist --campaign-block=5"
    )

    def run(text, *options):
        pytester.makepyfile(test_it=text)
        return pytester.runpytest_subprocess(*options)

    return run


def state(pytester):
    return json.loads((pytester.path / ".hsm-campaign.json").read_text())


def test_campaign_plays_what_it_is_asked_for_and_goes_on_from_there(campaign, pytester):
    """Blocks that were played are not played again; when all are, it says so."""
    campaign(DRAWN, "--campaign=10").assert_outcomes(passed=2)
    assert state(pytester)["tests"]["test_it.py::test_stories"]["done"] == [[0, 1]]
    result = campaign(DRAWN, "--campaign=23", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*test_stories[[]10-14] PASSED*", "*test_stories: 25 stories played, 0 found something"]
    )
    result = campaign(DRAWN, "--campaign=20", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*its 20 stories have been played: ask for more*"])
    assert result.ret == 0


def test_without_a_number_one_block_is_played_and_nothing_kept(campaign, pytester):
    """An ordinary test: it may stand in a suite."""
    campaign(GOOD).assert_outcomes(passed=1)
    assert not (pytester.path / ".hsm-campaign.json").exists()


@pytest.mark.parametrize("gateways", [("-n2",), ("-d", f"--tx=2*popen//python={sys.executable}")], ids=["n", "tx"])
def test_workers_play_blocks(campaign, pytester, gateways):
    """xdist deals blocks out; `--tx` gateways are how it does that on other machines, too."""
    result = campaign(DRAWN, "--campaign=30", *gateways)
    result.assert_outcomes(passed=6)
    assert state(pytester)["tests"]["test_it.py::test_stories"] == {"done": [[0, 5]], "finds": []}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "workers"])
def test_terminal_has_a_progress_bar(campaign, pytester, workers):
    """In place of pytest's dots: how many stories were played, how fast, and what was found."""
    pytester.makepyfile(test_it=DRAWN)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "pytest", "--campaign=20", *workers]
    with subprocess.Popen(command, cwd=pytester.path, stdin=theirs, stdout=theirs, stderr=theirs) as run:
        os.close(theirs)
        shown = b"".join(iter(lambda: read(ours), b"")).decode()
    os.close(ours)
    assert run.returncode == 0, shown
    assert re.search(r"100%.* 20/20 .* stories/s, finds=0", shown)
    assert not re.search(r"^\.+", shown, re.MULTILINE)


def read(terminal):
    """Return what has come to a terminal; nothing when the other side has closed it, which Linux calls an error."""
    with contextlib.suppress(OSError):
        return os.read(terminal, 4096)
    return b""


def test_finds_are_kept_with_a_test_to_paste(campaign, pytester):
    """And told again by every later run, which fails as long as they are there."""
    result = campaign(WRONG, "--campaign=20", "--maxfail=1", "--tb=short")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*a test to paste*", "*def test_story(hsm_cluster*", "*kept in *.hsm-campaign.json*"])
    kept = state(pytester)["tests"]["test_it.py::test_one_hsm"]
    find = kept["finds"][0]
    assert find["what"].startswith("lost key")
    assert any("def test_story(" in note for note in find["notes"])
    block = find["block"] * 5
    result = campaign(DRAWN, "--campaign=5")
    result.assert_outcomes(passed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"*stories {block}-{block + 4}: lost key*"])


def test_the_page_is_true(campaign, pytester):
    """The vault and the machine of docs/campaigns.md: the campaign finds what the page says."""
    vault, machine = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    pytester.makepyfile(vault=vault)
    result = campaign(machine, "--campaign=1000", "--maxfail=1", "--tb=short")
    result.stdout.fnmatch_lines(["*DataInvalid: AES-GCM refuses*", "*def test_story(hsm_cluster, hsm_chaos):"])


def test_clean_story_that_does_not_repeat_itself_is_told(campaign):
    """Before anything else: nothing that is found could be replayed."""
    result = campaign(UNSTABLE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*the clean story, without any fault, was played twice*", "event * is the first that differs"]
    )


def test_interrupted_campaign_goes_on_where_it_stopped(campaign, pytester):
    """Ctrl-C leaves a whole file with the blocks that were played."""
    result = campaign(STOPPED, "--campaign=100")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    ((first, last),) = state(pytester)["tests"]["test_it.py::test_stopped"]["done"]
    assert first == 0
    assert 0 <= last < 5
    result.stdout.fnmatch_lines(["*stories are left: the same command goes on with them*"])
    result = campaign(STOPPED, "--campaign=100", "--collect-only", "-q")
    result.stdout.fnmatch_lines([f"{20 - (last + 1)} tests collected*"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--campaign=0",), "*--campaign is how many stories are played: a whole number, 1 or more; got '0'"),
        (("--campaign=many",), "*--campaign is how many stories are played: *got 'many'"),
        (("--campaign=-3",), "*--campaign is how many stories are played: *got '-3'"),
        (("--campaign=5", "--campaign-block=0"), "*--campaign-block is how many stories make a block: *got '0'"),
        (("--campaign=5", "--campaign-file=/proc/no/state"), "*a campaign cannot be kept in /proc/no/state: *"),
    ],
)
def test_wrong_option_is_a_usage_error(campaign, options, message):
    result = campaign(DRAWN, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert "Traceback" not in result.stderr.str()


HEAD = '{"format": "hsmcluster-campaign", "version": 1, '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "what a campaign has played cannot be read from"),
        ("[]", "does not say what a campaign has played"),
        ('{"format": "hsmcluster-campaign", "version": 9}', "not in this version's way"),
        (HEAD + '"block": 7, "tests": {}}', "in blocks of 7 stories"),
        (HEAD + '"block": 5, "tests": {"a": {}}}', "is damaged"),
        (HEAD + '"block": 5, "tests": []}', "is damaged"),
        (HEAD + '"block": 5, "tests": {"a": {"done": [[3, 1]], "finds": []}}}', "is damaged"),
    ],
)
def test_corrupt_file_is_refused_and_left_alone(tmp_path, text, message):
    """Nothing is overwritten; the way out is named."""
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        Campaign(10, 5, file)
    assert f"move {file} away" in str(caught.value)
    assert file.read_text() == text


def test_corrupt_file_ends_the_run_before_anything_is_played(campaign, pytester):
    (pytester.path / ".hsm-campaign.json").write_text("{")
    result = campaign(DRAWN, "--campaign=5")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*what a campaign has played cannot be read from*"])
    assert "Traceback" not in result.stderr.str()
    assert (pytester.path / ".hsm-campaign.json").read_text() == "{"


def test_two_campaigns_do_not_share_a_file(tmp_path):
    """One would forget what the other has played."""
    file = tmp_path / "state.json"
    first = Campaign(10, 5, file)
    with pytest.raises(UsageError, match="another campaign is being kept in"):
        Campaign(10, 5, file)
    first.close()
    Campaign(10, 5, file).close()


def test_what_is_kept_is_read_back(tmp_path):
    """Blocks as ranges, finds with their notes."""
    file = tmp_path / "state.json"
    first = Campaign(50, 5, file)
    for block in (3, 0, 1, 7):
        first.played("a", block, Find(block, "what", ("a note",)) if block == 7 else None)
    first.close()
    assert json.loads(file.read_text())["tests"]["a"]["done"] == [[0, 1], [3, 3], [7, 7]]
    again = Campaign(50, 5, file)
    assert again.left("a") == [2, 4, 5, 6, 8, 9]
    assert again.finds == {"a": [Find(7, "what", ("a note",))]}
    assert Campaign.of_controller(again.for_workers()).left("a") == again.left("a")
    again.close()
