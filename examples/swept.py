"""What breaks in a sweep, as a table that can be compared with yesterday's?

An application that is known to be broken cannot be tested by "nothing breaks".  But what breaks, at which step and
how, is always the same, so it stands in a text file beside the test.  A check that has gone blind, or a client that
behaves in another way, changes the table, and that fails the test.  Where the change is wanted, write the tables anew:

    REWRITE_TABLES=1 python -m pytest examples -k naive_sweep

Read what `git diff` says before you commit it.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest

import pytest_hsmcluster
from pytest_hsmcluster import Chaos, ClusterError, HsmCheck, HsmCluster

ROOT = Path(pytest_hsmcluster.__file__).parents[1]
REWRITE = "REWRITE_TABLES"
HEAD = f"""\
What breaks, and when: made by `{REWRITE}=1 python -m pytest examples -k naive_sweep`.

Of each swept test: how the application's call ended, how many keys there were on each HSM at once and ten minutes
later; what is broken by then; and the faults that do it.  Cases in which nothing breaks are only counted.
"""

_CALM_S = 600.0
_FIRST_WORDS = re.compile(r"([A-Za-z ]+?) '.*?\)( on .*?)? since ")


class Verdict:
    """Says how something that an application did in a storm has ended, and what is broken ten minutes later.

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
        at_once = list(self._findings(checks))
        self._calm()
        findings = [*self._findings(checks), *(wrong for other in others if (wrong := other()))]
        self._tell("answer", answer)
        self._tell("at once", _summed(at_once))
        self._tell("later", _summed(findings))
        if findings:
            pytest.fail("\n".join(findings), pytrace=False)

    def _answer(self, work: Callable[[], str | None]) -> str:
        began = self._cluster.clock.now
        try:
            answer = work() or "ok"
        except ClusterError as error:
            answer = f"{type(error).__name__} ({error.outcome})"
        return f"{answer} after {self._cluster.clock.now - began:.1f} s, keys {self._keys()}"

    def _keys(self) -> str:
        return "+".join(str(len(hsm.keys)) for hsm in self._cluster.hsms)

    def _calm(self) -> None:
        self._chaos.undo_all()
        for hsm in self._cluster.hsms:
            if hsm.state == "down":
                self._chaos.restart(hsm.id)
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
    assert table.splitlines() == golden.read_text(encoding="utf-8").splitlines()


def _lines(cases: Iterable[ElementTree.Element]) -> Iterator[str]:
    tests: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for case in cases:
        said = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
        test, fault = _parted(case.get("name", ""))
        tests[test].append((fault, said.get("answer", "?"), said.get("broken", "?")))
    for test, rows in tests.items():
        rows = [row for row in rows if row[0]]
        broken = [row for row in rows if row[2]]
        yield f"{test}: {len(rows)} cases, {len(broken)} broke a promise"
        held = Counter(answer for _, answer, broke in rows if not broke)
        yield from (f"{number:6}  {answer}" for answer, number in held.items())
        for what in dict.fromkeys(row[1:] for row in broken):
            yield "\n".join(["", f"    {what[0]}", f"    {what[1]}"])
            yield from (f"        {fault}" for fault, *told in broken if tuple(told) == what)
        yield ""


def _parted(name: str) -> tuple[str, str]:
    """Return the test and the fault of a case's name, such as `test_it[SDK 3-drop @ wire.request nth=1]`."""
    found = re.fullmatch(r"(.*?)[\[-](\w+(?: \w+)? @ .+)\]", name)
    if found is None:
        return name, ""
    return found[1] + ("]" if "[" in found[1] else ""), found[2]
