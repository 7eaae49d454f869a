"""How does pytest play thousands of stories, stop in the middle, and go on where it stopped?

A plugin for campaigns, loaded by `-p pytest_hsmcluster.campaign`.  Its fixture `hsm_campaign` has Hypothesis play a
machine or a function in blocks, each with a seed of its own: its number.  A block is one test, so xdist deals them out
to workers, here or elsewhere, and Ctrl-C, `-x` and `--maxfail` mean what they always mean.
"""

from collections.abc import Callable
from typing import Any

import pytest

from .campaign_state import Campaign, Find, whole_number
from .errors import UsageError

CAMPAIGN = pytest.StashKey[Campaign]()
REHEARSED = pytest.StashKey[dict[str, str | None]]()
"""With the configuration: which tests of this process have played their clean story twice, and what came of it."""

BLOCK, FILE = 50, ".hsm-campaign.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hsmcluster-campaign", "HSM campaigns")
    group.addoption(
        "--campaign",
        metavar="N",
        help="Play N stories in all with each test that uses the fixture hsm_campaign; those that have been played "
        "before count. Without this option only the first block is played, and nothing is kept.",
    )
    group.addoption(
        "--campaign-file",
        metavar="FILE",
        default=FILE,
        help=f"Where it is kept what has been played and found. Default: {FILE} in the rootdir.",
    )
    group.addoption(
        "--campaign-block", metavar="STORIES", default=str(BLOCK), help=f"Stories of one block. Default: {BLOCK}."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REHEARSED] = {}
    told = getattr(config, "workerinput", {}).get("hsm_campaign")
    if told is not None:
        config.stash[CAMPAIGN] = Campaign.of_controller(told)
        return
    wanted, size = config.getoption("campaign"), config.getoption("campaign_block")
    try:
        block = whole_number("--campaign-block", size, "stories make a block")
        stories = block if wanted is None else whole_number("--campaign", wanted, "stories are played")
        file = None if wanted is None else config.rootpath / config.getoption("campaign_file")
        campaign = config.stash[CAMPAIGN] = Campaign(stories, block, file)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    config.add_cleanup(campaign.close)
    if file is not None:
        config.pluginmanager.register(Keeper(campaign), "hsmcluster-campaign-keeper")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker what had been played when the run began: all of them have to collect the same blocks."""
    node.workerinput["hsm_campaign"] = node.config.stash[CAMPAIGN].for_workers()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "hsm_campaign" not in metafunc.fixturenames:
        return
    campaign, test = metafunc.config.stash[CAMPAIGN], metafunc.definition.nodeid
    blocks = [pytest.param((test, number), id=campaign.name_of(number)) for number in campaign.left(test)]
    if not blocks:
        reason = f"its {campaign.stories} stories have been played: ask for more, or begin anew without {campaign.file}"
        blocks = [pytest.param(None, id="played", marks=pytest.mark.skip(reason=reason))]
    metafunc.parametrize("hsm_campaign", blocks, indirect=True)


@pytest.fixture
def hsm_campaign(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Play one block of a campaign: `hsm_campaign(Machine)`, or `hsm_campaign(function, strategy)`.

    The function is given what the strategy draws.  The clean story, without faults, is played twice first: if it does
    not leave the same journal, nothing that is found could be replayed.
    """
    test, number = request.param
    config, properties = request.config, request.node.user_properties
    properties.append(("hsm_campaign", {"test": test, "block": number}))

    def play(what: Any, strategy: Any = None) -> None:
        from .strategies.block import play_block, rehearse

        rehearsed = config.stash[REHEARSED]
        if test not in rehearsed:
            rehearsed[test] = None
            try:
                rehearse(what, strategy)
            except AssertionError as error:
                rehearsed[test] = str(error)
        if (wrong := rehearsed[test]) is not None:
            pytest.fail(wrong, pytrace=False)
        try:
            play_block(what, strategy, number, config.stash[CAMPAIGN].size)
        except UsageError as error:
            pytest.fail(str(error), pytrace=False)
        except Exception as error:
            properties.append(("hsm_find", Find.of(error, number)._asdict()))
            raise

    return play


class Keeper:
    """Keeps what was played and found, shows how far it is, and sums it up; only where the run was started."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._bar: Any = None
        self._failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said: dict[str, Any] = dict(report.user_properties)
        if report.when != "call" or "hsm_campaign" not in said:
            return
        block = said["hsm_campaign"]
        find = Find(**said["hsm_find"]) if "hsm_find" in said else None
        if report.passed or find is not None:
            self._campaign.played(block["test"], block["block"], find)
        if self._bar is not None:
            self._failed += report.failed
            self._bar.set_postfix(finds=self._failed, refresh=False)
            self._bar.update(self._campaign.size)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._begin_bar(session.config, [item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._begin_bar(node.config, ids)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Leave the line to the bar."""
        if self._bar is None or report.when != "call" or "hsm_campaign" not in dict(report.user_properties):
            return None
        return report.outcome, "", ""

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Any:
        result = yield
        if self._bar is not None:
            self._bar.close()
        if session.exitstatus == pytest.ExitCode.OK and any(self._campaign.finds.values()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        campaign = self._campaign
        terminalreporter.section("campaign")
        for test, done in campaign.done.items():
            finds = campaign.finds.get(test, [])
            played = len(done) * campaign.size
            terminalreporter.write_line(f"{test}: {played:,} stories played, {len(finds)} found something")
            for find in finds:
                terminalreporter.write_line(f"  stories {campaign.name_of(find.block)}: {find.what}")
        left = sum(len(campaign.left(test)) for test in campaign.done) * campaign.size
        if left:
            terminalreporter.write_line(f"{left:,} stories are left: the same command goes on with them")
        terminalreporter.write_line(f"kept in {campaign.file}")

    def _begin_bar(self, config: pytest.Config, tests: list[str]) -> None:
        terminal = config.get_terminal_writer()._file  # not `sys.stderr`: that is captured
        blocks = sum("[" in test and not test.endswith("[played]") for test in tests)
        if self._bar is not None or not blocks or not terminal.isatty():
            return  # pytest's own percentages are better in a log
        try:
            from tqdm import tqdm
        except ImportError:
            return
        total = blocks * self._campaign.size
        self._bar = tqdm(total=total, unit=" stories", file=terminal, dynamic_ncols=True, smoothing=0.05)
