"""Do stories stay the same in other processes, other Pythons and another order: and would we see it if not?

A slice of `make determinism`, and the stories that it has to catch.
"""

import os
import sys
from pathlib import Path

import pytest

from pytest_hsmcluster.history.difference import CAUSES
from tests.determinism.digests import differing, own_file, read_run, write_down
from tests.determinism.interpreters import interpreters
from tests.determinism.load import Load
from tests.determinism.proof import Run, RunFailed, compare, runs_of
from tests.determinism.tellers import DOORS
from tests.fates import SHAPES

HERE = Path(sys.executable)
FIRST = Run(HERE, "first", workers=0, hash_seed=1, order=1)
OTHER = Run(HERE, "other", workers=0, hash_seed=2, order=2)

STORIES = len(SHAPES) * len(DOORS)
"""Each shape of cluster through each door."""

OTHERS = [one for one in interpreters().values() if one is not None and one.minor != f"3.{sys.version_info.minor}"]
"""The other Pythons of this machine; a venv is made for each by `make determinism`, never by a test."""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A folder in which the stories have been told once."""
    folder = tmp_path_factory.mktemp("runs")
    FIRST.tell(folder, STORIES)
    return folder


def test_stories_are_the_same_elsewhere(told):
    """Strings hash differently there, two workers divide the stories, and each in another order."""
    run = Run(HERE, "elsewhere", workers=2, hash_seed=2, order=2)
    run.tell(told, STORIES, like="first")
    assert compare(told, FIRST, run, STORIES) == {}
    assert len(read_run(told / "elsewhere")) == STORIES
    assert len(list((told / "elsewhere").glob("*.tsv"))) == 2, "both workers told some"
    assert not list((told / "elsewhere").glob("*.jsonl")), "a journal that is as expected is not kept"


@pytest.mark.parametrize("python", OTHERS, ids=lambda python: python.version)
def test_stories_are_the_same_on_other_pythons(told, python):
    """Whichever of them `make determinism` has prepared."""
    if not python.ready:
        pytest.skip(f"`make determinism` has not prepared Python {python.version}")
    run = Run(python.python, python.version, workers=0, hash_seed=3, order=3)
    run.tell(told, STORIES, like="first")
    assert compare(told, FIRST, run, STORIES) == {}


def test_stories_that_do_not_repeat_themselves_are_named(tmp_path):
    """The order of a set, the wall clock, and threads that race: each with its likeliest cause first."""
    teller = "tests.determinism.unfaithful:unfaithful"
    FIRST.tell(tmp_path, 6, teller=teller)
    OTHER.tell(tmp_path, 6, like="first", teller=teller)
    differ = compare(tmp_path, FIRST, OTHER, 6)
    assert list(differ) == [f"story {number}" for number in range(6)]
    likeliest = {"story 0": CAUSES[2], "story 1": CAUSES[1], "story 2": CAUSES[0]}
    for name, cause in likeliest.items():
        assert differ[name].startswith(f"{name} differs\n  first : first PYTHONHASHSEED=1")
        assert "is the first that differs" in differ[name]
        assert f"likely causes: {cause}" in differ[name]


def test_a_story_that_goes_wrong_ends_the_run(tmp_path):
    """What pytest said is in the error."""
    with pytest.raises(RunFailed, match=r"^first PYTHONHASHSEED=1(.|\n)*story \d has no end"):
        FIRST.tell(tmp_path, 3, teller="tests.determinism.unfaithful:broken")


def test_a_story_that_nobody_told_is_no_proof(tmp_path):
    """Neither when one run lacks it, nor when both do."""
    for run, numbers in ((FIRST, (0, 1)), (OTHER, (0,))):
        for number in numbers:
            write_down(own_file(tmp_path / run.name), f"story {number}", "abc")
    differ = compare(tmp_path, FIRST, OTHER, 3)
    assert list(differ) == ["story 1", "story 2"]
    assert differ["story 1"] == "story 1 was not told by other PYTHONHASHSEED=2 --randomly-seed=2"
    assert " by first PYTHONHASHSEED=1 --randomly-seed=1 and other " in differ["story 2"]


def test_runs_that_differ_are_compared_by_name():
    same = {"a": frozenset("1"), "b": frozenset("23")}
    assert differing(same, dict(same)) == []
    assert differing(same, {"b": frozenset("32")}) == ["a"]
    assert differing(same, {"a": frozenset("1"), "b": frozenset("2"), "c": frozenset()}) == ["b", "c"]


def test_runs_are_every_python_on_every_number_of_workers():
    """Each has a hash seed of its own."""
    here = [one for one in interpreters().values() if one is not None]
    runs = runs_of(here)
    assert [(run.python, run.workers) for run in runs] == [(one.python, n) for one in here for n in (0, 1, 2, 4)]
    assert len({run.hash_seed for run in runs}) == len({run.name for run in runs}) == len(runs)


# -- which Pythons --------------------------------------------------------------------------


def test_the_running_python_is_found():
    minor = f"3.{sys.version_info.minor}"
    found = interpreters([minor])[minor]
    assert found is not None
    assert found.minor == minor
    assert found.version.startswith(f"{minor}.")


@pytest.mark.parametrize(
    "script, version",
    [
        ("exit 127", None),
        ("echo 3.77.4", "3.77.4"),
        ("echo 3.7.4", None),
    ],
)
def test_a_python_counts_if_it_works(tmp_path, monkeypatch, script, version):
    """pyenv leaves commands on PATH that only say that they are not there."""
    python = tmp_path / "python3.77"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    found = interpreters(["3.77", "3.78"])
    assert found["3.78"] is None
    assert (found["3.77"] and found["3.77"].version) == version


def test_the_newest_of_pyenvs_versions_is_taken(tmp_path, monkeypatch):
    """Numbers are compared, not texts."""
    for version in ("3.77.9", "3.77.10", "3.77-dev"):
        folder = tmp_path / "versions" / version / "bin"
        folder.mkdir(parents=True)
        python = folder / "python3.77"
        python.write_text(f"#!/bin/sh\necho {version}\n")
        python.chmod(0o755)
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found = interpreters(["3.77"])["3.77"]
    assert found is not None
    assert found.version == "3.77.10"


# -- the load -------------------------------------------------------------------------------


def test_load_ends_with_its_block():
    with Load(2) as load:
        assert [process.poll() for process in load.processes] == [None, None]
    assert all(process.returncode is not None for process in load.processes)
