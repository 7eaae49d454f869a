"""Which documented failures did the application's calls meet in this run, and is that enough?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import pytest

from .coverage.matrix import Matrix
from .coverage.table import Table, shown, total
from .identities import identity
from .options import SETTINGS
from .parts import part

if TYPE_CHECKING:
    from .trial import Trial

NAME = "hsmcluster-coverage"
"""The name of our plugin that counts."""


def cover(config: pytest.Config) -> None:
    """Count in this run.

    Raises:
        pytest.UsageError: the file for the numbers is to be where no folder is.
    """
    path = config.stash[SETTINGS].coverage_json
    if path is not None and not Path(path).parent.is_dir():
        raise pytest.UsageError(f"--hsm-coverage-json: there is no folder {str(Path(path).parent)!r}")
    config.pluginmanager.register(covering_of(config), NAME)


def covering_of(config: pytest.Config) -> "Covering":
    """Return what this process counts."""
    return cast(Covering, part(config, "coverage"))


class Covering:
    """Fault coverage of one process; the controller adds up those of its workers.

    Attributes:
        partial: why this run says nothing about what was never reached, in the order in which it turned out.
    """

    def __init__(self) -> None:
        self.matrix = Matrix()
        self.partial: dict[str, None] = {}
        self._reports: WeakKeyDictionary[Trial, list[pytest.TestReport]] = WeakKeyDictionary()

    # -- what tests do -------------------------------------------------------------------------

    def count(self, trial: "Trial", report: pytest.TestReport) -> None:
        """Take a finished phase of a test into account; with the last one count its clusters.

        A run that skips says nothing.  One that was expected to fail, and does, has failed.
        """
        reports = self._reports.setdefault(trial, [])
        reports.append(report)
        if report.when != "teardown":
            return
        failed = any(one.failed or (one.skipped and hasattr(one, "wasxfail")) for one in reports)
        if failed or not any(one.skipped for one in reports):
            self.matrix.runs += 1
            for cluster in trial.clusters:
                places = cluster.sites.places()
                self.matrix.count(cluster.history, places, passed=not failed, test=identity(trial.item))

    # -- how complete the run is -----------------------------------------------------------------

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        if items:
            self.partial["tests were deselected"] = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.partial["not all tests could be collected"] = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error:
            self.partial["a worker crashed"] = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.partial.update(dict.fromkeys(_cut_short(session)))
        path = session.config.stash[SETTINGS].coverage_json
        if path is not None and not hasattr(session.config, "workerinput"):
            told = {**self.matrix.report(), "partial": list(self.partial)}
            Path(path).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    # -- as a part of the run ----------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        return {"matrix": self.matrix.export(), "partial": list(self.partial)}

    def add(self, other: dict[str, Any]) -> None:
        """Add what a worker counted."""
        self.matrix.add(other["matrix"])
        self.partial.update(dict.fromkeys(other["partial"]))

    def keep(self, cache: pytest.Cache, config: pytest.Config) -> None:
        """Leave nothing."""

    def fails(self, config: pytest.Config) -> bool:
        """Whether less was exercised and survived than is wanted; a partial run is not judged."""
        wanted = config.stash[SETTINGS].coverage_fail_under
        return wanted is not None and not self.partial and self.matrix.percent < wanted

    def report(self, terminal: Any, config: pytest.Config) -> None:
        """Write the table; in a quiet run its last lines only."""
        settings = config.stash[SETTINGS]
        if config.getoption("collectonly"):
            return
        if config.get_verbosity() >= 0:
            terminal.section("hsmcluster fault coverage")
            if self.matrix.columns():
                for line in Table(self.matrix, width=settings.width, ascii=settings.ascii).lines():
                    for text, style in line:
                        terminal.write(text, **({style: True} if style else {}))
                    terminal.line("")
                terminal.line("")
        terminal.write_line(total(self.matrix) if self.matrix.columns() else "fault coverage: no test called a cluster")
        if settings.coverage_json is not None:
            terminal.write_line(f"fault coverage written to {settings.coverage_json}")
        if self.partial:
            judged = "" if settings.coverage_fail_under is None else ", and --hsm-coverage-fail-under is not applied"
            why = "; ".join(self.partial)
            terminal.write_line(f"partial run ({why}): what was never reached says nothing{judged}", yellow=True)
        elif self.fails(config):
            wanted = f"{settings.coverage_fail_under:g}"
            got = shown(self.matrix.percent)
            terminal.write_line(f"FAIL fault coverage is {got} %, and at least {wanted} % are wanted", red=True)


def _cut_short(session: pytest.Session) -> Iterator[str]:
    """Yield why not all tests of the project were run to their end."""
    config = session.config
    if any("::" in argument or Path(argument).is_file() for argument in config.args):
        yield "single files or tests were asked for"
    if config.getoption("lf", False):
        yield "--lf"
    if session.shouldfail or session.shouldstop:
        yield "it was stopped early"
    if session.exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
        yield "it was interrupted"
