"""Can a person read the table?"""

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.coverage.matrix import Matrix
from pytest_hsmcluster.coverage.table import Table, shown, total
from pytest_hsmcluster.history.places import Place
from pytest_hsmcluster.timeline.columns import width_of
from tests.coverage.stories import signs


def matrix(*faults: str, sites: int = 1, passed: bool = True, path: str = "src/vault.py") -> Matrix:
    """A matrix of a key that was made at one line and used at others."""
    found = Matrix()
    for number in range(sites):
        cluster, _ = signs(HsmCluster(3), *faults)
        places = {2: Place(path, 5, "make", False), 3: Place(path, 11 + number, "Vault.use", False)}
        found.count(cluster.history, places, passed=passed, test="tests/test_vault.py::test_it")
    return found


def lines(found: Matrix, width: int = 80, **arguments: bool) -> list[str]:
    table = Table(found, width=width, **arguments)
    return ["".join(text for text, _ in line) for line in table.lines()]


def test_sites_are_columns_and_failures_rows():
    """A site has a number, a place and a score; a failure a sign in the column of each site that can meet it."""
    text = lines(matrix("crashed-hsm hsm-3"))
    assert text[0].startswith("1  src/vault.py:5 make, generate_key ")
    assert text[1].startswith("2  src/vault.py:11 Vault.use, encrypt ")
    assert text[0].endswith("  0 of 20")
    assert text[1].endswith("  1 of 19")
    assert "  hsm-off              · +" in text
    assert "fewer HSMs" in text


def test_a_failed_cell_names_its_tests_in_full():
    """An id to paste is never broken into lines."""
    text = lines(matrix("crashed-hsm hsm-3", passed=False), width=60)
    at = text.index("  tests/test_vault.py::test_it")
    assert text[at + 1].startswith("    hsm-off at 2")


def test_what_was_met_nowhere_says_how_to_meet_it():
    """The failures without any sign are listed with a spec."""
    text = lines(matrix("crashed-hsm hsm-3"), width=160)
    assert any(
        line.startswith("  single-error ") and "fail CKR_GENERAL_ERROR @ hsm.execute nth=1" in line for line in text
    )
    assert not any(line.startswith("  hsm-off ") and "crashed-hsm" in line for line in text)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("sites", [1, 9, 40])
def test_no_line_is_wider_than_the_terminal(width, sites):
    """Ids of tests excepted; many sites take several panels, long paths lose their beginning."""
    found = matrix("crashed-hsm hsm-3", sites=sites, path="services/payments/src/vault/hardened/keys/rotation.py")
    text = lines(found, width)
    assert max(map(width_of, text)) <= width
    rows = [line for line in text if line.startswith("  hsm-off ")]
    assert sum(row.count("+") for row in rows) == sites
    assert not any(line.endswith(" ") for line in text)


def test_ascii_terminals_get_ascii():
    """No sign beyond it, in no part of the table."""
    text = lines(matrix("crashed-hsm hsm-3", passed=False), ascii=True)
    assert "".join(text).isascii()
    assert any("x" in line for line in text if line.startswith("  hsm-off"))


def test_tests_own_calls_are_said_to_be_that():
    """Somebody who tests the client directly learns why there is no application in the table."""
    found = Matrix()
    cluster, _ = signs(HsmCluster(3))
    found.count(cluster.history, {3: Place("tests/test_it.py", 3, "test_it", True)}, passed=True, test="test_it")
    assert lines(found)[0] == "no application called a cluster; these are the tests' own calls"


def test_one_line_says_it_all():
    """Percentage, sites, and what became of the cells."""
    text = total(matrix("crashed-hsm hsm-3"))
    assert text == "fault coverage 2.6 % of 39 failure modes at 2 call sites: 1 survived, 0 failed, 38 never met"


@pytest.mark.parametrize(("percent", "text"), [(0, "0"), (0.01, "0.1"), (41.26, "41.3"), (99.99, "99.9"), (100, "100")])
def test_only_all_is_100_percent(percent, text):
    """Rounding hides neither the last gap nor the first success."""
    assert shown(percent) == text
