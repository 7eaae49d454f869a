"""Which tests do the tests of sweeps have pytest run, and what became of each of them?"""

import re
import textwrap

import pytest

ROTATION = """
    from contextlib import suppress
    import pytest
    from pytest_hsmcluster import ClusterError

    @pytest.mark.hsm_cluster(sdk=3)
    @pytest.mark.hsm_sweep("destroy source", points="client.clone hsm.commit", op="generate_key")
    def test_rotation(hsm_client):
        with suppress(ClusterError):
            hsm_client.generate_key("AES", 256, label="kek")
"""
"""Passes six points; where the only copy is destroyed before there is a second one, the key is lost."""

COMMIT = "destroy source @ hsm.commit op=generate_key command={} hsm=hsm-{} nth=1"
CLONE = "destroy source @ client.clone op=generate_key hsm=hsm-{} nth=1"
CASES = [
    COMMIT.format("generate_key", 1),
    CLONE.format(2),
    COMMIT.format("extract_masked", 1),
    COMMIT.format("insert_masked", 2),
    CLONE.format(3),
    COMMIT.format("insert_masked", 3),
]
BROKEN = [CASES[1], CASES[2]]

HOLDS = """
    import pytest

    @pytest.mark.hsm_cluster(hsms=1, sdk=3)
    @pytest.mark.hsm_sweep("delay 1s", points="hsm.*", op="generate_key")
    def test_holds(hsm_client):
        hsm_client.generate_key("AES", 256, label="kek")
"""
"""Passes five points of an HSM, three of which may be late, and waits."""
LATE = ["hsm.receive", "hsm.execute", "hsm.reply"]


def case(test: str, label: str) -> str:
    return f"{test[:-1]}-{label}]" if test.endswith("]") else f"{test}[{label}]"


NOTED = """
    import pathlib
    import pytest

    @pytest.fixture(autouse=True)
    def note(request, hsm_cluster):
        yield
        with pathlib.Path("digests").open("a") as digests:
            digests.write(f"{request.node.name}: {hsm_cluster.history.digest()}\\n")
"""
"""A conftest that writes down the journal of each run."""


def noted(pytester: pytest.Pytester) -> list[tuple[str, str]]:
    """Return (name, digest) of the runs since this was last asked."""
    path = pytester.path / "digests"
    lines = [line.rpartition(": ")[::2] for line in path.read_text().splitlines()]
    path.unlink()
    return lines


FAILED = [case("test_rotation", label) for label in BROKEN]
AFTER = """
    def test_after():
        pass
"""

ONE = """
    import pytest

    @pytest.mark.hsm_cluster(hsms=1, sdk=3)
    @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
    def test_one(hsm_client{fixtures}):
        hsm_client.generate_key("AES", 256, label="kek")
        {body}
"""
"""Passes one point, so that there is one case."""
ONE_CASE = case("test_one", "delay 1s @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=1")


def one(body: str = "", fixtures: str = "", before: str = "") -> str:
    """Return `ONE` with more in its body, further fixtures, and what stands above it."""
    body = textwrap.indent(textwrap.dedent(body), "        ").lstrip()
    return textwrap.indent(textwrap.dedent(before), "    ") + ONE.format(body=body, fixtures=fixtures)


WORDS = ("PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL", "XPASS", "RERUN")

_SERIAL = re.compile(r"test_it\.py::(?P<name>.+?) (?P<word>[A-Z]+)(?: \(.*\))?(?: +\[ *\d+%\])?")
_WORKER = re.compile(r"\[gw\d+\] \[ *\d+%\] (?P<word>[A-Z]+) test_it\.py::(?P<name>.+)")


def verdicts(result: pytest.RunResult) -> list[tuple[str, str]]:
    """Return (what stands behind `test_it.py::`, verdict) of a run with `-v`, in order."""
    found = []
    for line in result.outlines:
        if line.startswith("===") and "test session starts" not in line:
            break  # failures and the summary name tests again
        parts = _WORKER.fullmatch(line.strip()) or _SERIAL.fullmatch(line.strip())
        if parts and parts["word"] in WORDS:
            found.append((parts["name"], parts["word"]))
    return found


def names(result: pytest.RunResult) -> list[str]:
    """Return what was run with `-v`, in order."""
    return [name for name, _ in verdicts(result)]
