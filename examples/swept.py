"""What breaks in a sweep, as a table that can be compared with yesterday's?

An application that is known to be broken cannot be tested by "nothing breaks".  But what breaks, at which step and
how, is always the same, so it stands in a text file beside the test.  A check that has gone blind, or a client that
behaves in another way, changes the table, and that fails the test.  Where the change is wanted, write the tables anew:

    REWRITE_TABLES=1 python -m pytest examples -k naive_sweep

Read what `git diff` says before you commit it.
"""

import difflib
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

import pytest_hsmcluster
from pytest_hsmcluster import Chaos, ClusterError, HsmCheck, HsmCluster

ROOT = Path(pytest_hsmcluster.__file__).parents[1]
REWRITE = "REWRITE_TABLES"
HEAD = f"""\
What breaks, and when.  Made by `{REWRITE}=1 python -m pytest examples -k naive_sweep`.

For each swept test: how the application's call ended, how many keys each HSM had and what was broken at once and ten
minutes later, one HSM having joined, and which faults do that.  Cases in which nothing is broken in the end are only
counted.
"""

_CALM_S = 600.0
_FIRST_WORDS = re.compile(r"([A-Za-z ]+?) '.*?\)( on .*?)? since ")
_CASE = re.compile(r"(.*?)[\[-](\w+(?: \w+)? @ .+)\]")


class Verdict:
    """Says how something that an application did in a storm has ended, and what is broken ten minutes later.

    By then all HSMs are on again, and one has joined: in place of one that was lost, or as a fourth.

    Args:
        cluster: where it was done.
        chaos: of that cluster.
        check: of that cluster.
        tell: takes a name and a text for the report of the test.
    """

    def __init__(self, cluster: HsmCluster, chaos: Chaos, check: HsmCheck, tell: Callable[[str, object], None]) -> None:
        self._cluster = cluster
        self._chaos = chaos
        self._check = check
        self._tell = tell

    def of(self, work: Callable[[], str | None], checks: Sequence[str], *others: Callable[[], str | None]) -> None:
        """Do something, end the storm, and fail with every promise that is broken.

        Args:
            work: what is done in the storm; returns what it answered, if it is more than ok.
            checks: names of checks.
            others: further checks; each returns what is wrong, if anything is.
        """
        __tracebackhide__ = True
        answer = self._answer(work)
        self._tell("at once", self._summed(answer, self._findings(checks)))
        self._calm()
        findings = [*self._findings(checks), *(wrong for other in others if (wrong := other()))]
        self._tell("later", self._summed("", findings))
        if findings:
            pytest.fail("\n".join(findings), pytrace=False)

    def _answer(self, work: Callable[[], str | None]) -> str:
        began = self._cluster.clock.now
        try:
            answer = work() or "ok"
        except ClusterError as error:
            answer = f"{type(error).__name__} ({error.outcome})"
        return f"{answer} after {self._cluster.clock.now - began:.1f} s, "

    def _summed(self, answer: str, findings: Iterable[str]) -> str:
        keys = "+".join(str(len(hsm.keys)) for hsm in self._cluster.hsms)
        text = "; ".join(dict.fromkeys([f"{answer}keys {keys}", *map(first_words, findings)]))
        return text.replace(", ".join(hsm.id for hsm in self._cluster.hsms), "all")

    def _calm(self) -> None:
        self._chaos.undo_all()
        for hsm in self._cluster.hsms:
            if hsm.state == "down":
                self._chaos.restart(hsm.id)
        self._cluster.add_hsm("a")
        self._cluster.clock.advance(_CALM_S)

    def _findings(self, checks: Sequence[str]) -> Iterator[str]:
        for name in checks:
            try:
                getattr(self._check, name)()
            except AssertionError as error:
                yield from str(error).splitlines()


def first_words(finding: str) -> str:
    """Return what a finding is about and where: `lost key on hsm-1`."""
    found = _FIRST_WORDS.match(finding)
    return found[1] + (found[2] or "") if found else finding


@pytest.fixture
def verdict(
    hsm_cluster: HsmCluster,
    hsm_chaos: Chaos,
    hsm_check: HsmCheck,
    record_property: Callable[[str, object], None],
) -> Verdict:
    """What is to be said of one case."""
    return Verdict(hsm_cluster, hsm_chaos, hsm_check, record_property)


def compare(swept: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a file of swept tests and compare what broke with the table of the same name.

    Raises:
        AssertionError: something else broke, or in another way.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("HSM_SEED", raising=False)
    report = pytester.path / "report.xml"
    known = entry_points(group="pytest11", name="hsmcluster")
    pytester.runpytest_subprocess(
        *(() if known else ("-p", "pytest_hsmcluster.plugin")),
        *("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"),
        *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)),
        *("--hsm-seed=0", "--hsm-timeline=never", "--tb=no", "-q", "-o", "junit_family=xunit1"),
        f"--junit-xml={report}",
        str(swept),
    )
    table = "\n".join([HEAD, *_lines(ElementTree.parse(report).iter("testcase"))])
    golden = swept.with_suffix(".txt")
    if os.environ.get(REWRITE):
        golden.write_text(table, encoding="utf-8")
    known_table = golden.read_text(encoding="utf-8")
    difference = difflib.unified_diff(known_table.splitlines(), table.splitlines(), str(golden), "today", lineterm="")
    assert table == known_table, "\n".join(itertools.islice(difference, 60))


class _Case(NamedTuple):
    """A line of the report: a fault, whether something is broken in the end, and what was said of it."""

    fault: str
    broke: bool
    at_once: str
    later: str


def _lines(report: Iterable[ElementTree.Element]) -> Iterator[str]:
    tests: dict[str, list[_Case]] = {}
    for element in report:
        if found := _CASE.fullmatch(element.get("name", "")):  # others are the tests themselves
            said = {one.get("name", ""): one.get("value", "") for one in element.iter("property")}
            case = _Case(
                found[2], element.find("failure") is not None, said.get("at once", "?"), said.get("later", "?")
            )
            tests.setdefault(found[1] + ("]" if "[" in found[1] else ""), []).append(case)
    for test, cases in tests.items():
        broken = [case for case in cases if case.broke]
        yield f"{test}: {len(cases)} cases, {len(broken)} broke a promise\n"
        for what, number in Counter(f"{case.at_once} | {case.later}" for case in cases if not case.broke).items():
            yield f"{number:8} held: {what}"
        for at_once, later in dict.fromkeys((case.at_once, case.later) for case in broken):
            yield f"\n    at once: {at_once}\n    later: {later}"
            yield from (f"        {case.fault}" for case in broken if (case.at_once, case.later) == (at_once, later))
        yield ""
