"""Are runs of tests counted as they should be?"""

import json

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.coverage.matrix import Matrix, Site
from pytest_hsmcluster.history.places import OURS, Place
from tests.coverage.stories import signs

MAKE = Place("vault.py", 5, "make", False)
USE = Place("vault.py", 11, "Vault.use", False)
TEST = Place("tests/test_vault.py", 3, "test_it", True)


def run(matrix: Matrix, *faults: str, passed: bool = True, test: str = "test_it", place: Place | None = USE) -> Site:
    """Count a run in which a key was made and used, and return the site of the use."""
    cluster, _ = signs(HsmCluster(3), *faults)
    cluster.close()
    names = {event.op: event.name for event in cluster.history.of("invoke")}
    sites = {op: {"login": OURS, "generate_key": MAKE}.get(name, place) for op, name in names.items()}
    matrix.count(cluster.history, sites, passed=passed, test=test)
    return Site("vault.py", 11, "encrypt", "Vault.use", False)


def test_a_cell_survives_when_every_run_that_met_it_passed():
    """Met and passed twice: survived."""
    matrix = Matrix()
    site = run(matrix, "crashed-hsm hsm-3")
    run(matrix, "crashed-hsm hsm-3")
    column = matrix.columns()[site]
    assert column.states()["hsm-off"] == "survived"
    assert (column.cells["hsm-off"].passed, column.calls) == (2, 2)


def test_one_failed_run_is_enough():
    """A rerun that passes does not take it back."""
    matrix = Matrix()
    site = run(matrix, "crashed-hsm hsm-3", passed=False)
    run(matrix, "crashed-hsm hsm-3")
    assert matrix.columns()[site].states()["hsm-off"] == "failed"


def test_what_no_run_met_is_never_reached():
    """The site was called, so the cell counts; a failure that it cannot meet does not."""
    matrix = Matrix()
    site = run(matrix)
    states = matrix.columns()[site].states()
    assert states["missed-sdk5"] == "never"
    assert "missed-sdk3" not in states
    assert "maker-dies-alone" not in states


def test_a_cell_counts_once_a_run():
    """However many calls of one run met it."""
    matrix = Matrix()
    cluster = HsmCluster(3)
    app = cluster.client("app")
    key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.crash("hsm-3"):
        for _ in range(5):
            app.encrypt(key, b"data")
    matrix.count(cluster.history, dict.fromkeys(range(2, 9), USE), passed=True, test="test_it")
    column = matrix.columns()[Site("vault.py", 11, "encrypt", "Vault.use", False)]
    assert (column.calls, column.cells["hsm-off"].passed) == (5, 1)


def test_percentage_is_of_all_cells():
    """Survived cells of all that apply; failed ones and those that were never reached are the rest."""
    matrix = Matrix()
    assert matrix.percent == 0
    run(matrix, "crashed-hsm hsm-3")
    run(matrix, "gray-failure hsm-2", passed=False)
    counts = matrix.counts()
    assert counts["survived"] >= 1 <= counts["failed"]
    assert matrix.percent == pytest.approx(100 * counts["survived"] / sum(counts.values()))


def test_tests_own_calls_do_not_count_beside_an_applications():
    """They are shown only where nothing else is."""
    matrix = Matrix()
    cluster, _ = signs(HsmCluster(3))
    matrix.count(cluster.history, {2: TEST, 3: TEST}, passed=True, test="test_it")
    assert {site.path for site in matrix.columns()} == {"tests/test_vault.py"}
    run(matrix)
    assert {site.path for site in matrix.columns()} == {"vault.py"}


def test_calls_from_nowhere_are_counted_apart():
    """Nobody's calls make no site; those of our own fixtures are no calls of an application."""
    matrix = Matrix()
    run(matrix, place=None)
    assert matrix.unplaced == 1
    assert [site.operation for site in matrix.columns()] == ["generate_key"]


def test_failing_tests_are_named():
    """The first three in the order of the alphabet, whatever the order in which they ran."""
    matrix = Matrix()
    for test in "edcba":
        site = run(matrix, "crashed-hsm hsm-3", passed=False, test=test)
    assert matrix.columns()[site].cells["hsm-off"].tests == ["a", "b", "c"]


def test_sums_of_workers_are_what_one_process_would_have_counted():
    """Whoever ran which test, and in which order they are added."""
    alone, first, second = Matrix(), Matrix(), Matrix()
    for matrix in (alone, first):
        run(matrix, "crashed-hsm hsm-3")
    for matrix in (alone, second):
        run(matrix, "gray-failure hsm-2", passed=False, test="test_other")
        run(matrix, place=None)
    for order in ((first, second), (second, first)):
        merged = Matrix()
        for part in order:
            merged.add(json.loads(json.dumps(part.export())))
        assert merged.report() == alone.report()


def test_the_file_says_everything():
    """Counts, the catalogue with its sources, and each site with the state of each cell."""
    matrix = Matrix()
    run(matrix, "crashed-hsm hsm-3", passed=False, test="test_vault.py::test_it")
    told = json.loads(json.dumps(matrix.report()))
    assert (told["format"], told["version"]) == ("hsmcluster-fault-coverage", 1)
    assert told["survived"] + told["failed"] + told["never"] == sum(len(site["modes"]) for site in told["sites"])
    assert {"name", "group", "meaning", "mark", "sources", "how"} == set(told["modes"][0])
    use = next(site for site in told["sites"] if site["operation"] == "encrypt")
    assert use["modes"]["hsm-off"] == "failed"
    assert use["failing_tests"]["hsm-off"] == ["test_vault.py::test_it"]
