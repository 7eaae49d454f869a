"""Is docs/fidelity.md true of the package, and complete?

Whether a source says what the page claims no test can tell. This one tells that sources are named and tests exist.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_hsmcluster.service.profile import Profile

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
SOURCES = ROOT / "pytest_hsmcluster"

TEST_ID = re.compile(r"tests/[\w/]+\.py(?:::\w+)*(?:\[[^\]`]*\])?")
TAG = re.compile(r"\[([A-Z][\w#:.-]*)\](?![(:])")
OWN_CHOICE = "own choice"
UNITS_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}

Row = dict[str, str]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(text: str) -> Iterator[tuple[str, list[Row]]]:
    """Yield the tables of a page: the heading above, and the rows by column name."""
    heading, names, rows = "", [""], list[Row]()
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            if rows:
                yield heading, rows
            names, rows = [""], []
        elif names == [""]:
            names = cells(line)
        elif not set(line) <= set("|- "):
            found = cells(line)
            assert len(found) == len(names), f"{heading}: {len(found)} cells, {len(names)} columns: {line}"
            rows.append(dict(zip(names, found, strict=True)))


TABLES = list(tables(TEXT))
EMULATED = [(heading, row) for heading, rows in TABLES for row in rows if "behaviour" in row]
LEGEND = [row for heading, rows in TABLES for row in rows if heading == "Sources"]
GUESSES = [row for heading, rows in TABLES for row in rows if heading == "Guesses"]
PROBLEMS = [row for heading, rows in TABLES for row in rows if heading == "Problems that teams report"]
MISSING = [row for heading, rows in TABLES for row in rows if heading == "What is not emulated"]
MARKS = [row["mark"] for row in TABLES[0][1]]


@cache
def defined_in(path: str) -> frozenset[str]:
    """Return the tests that a file defines: `test_name`, `TestClass::test_name`."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    found: list[str] = []

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                found.append(prefix + node.name)

    walk(ast.parse(file.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


def exists(test_id: str) -> bool:
    path, _, name = re.sub(r"\[.*\]$", "", test_id).partition("::")
    return name in defined_in(path)


def explained() -> set[str]:
    """Return the tags of the legend."""
    return {tag.strip() for row in LEGEND for tag in row["tag"].split(",")}


def test_every_test_that_is_named_exists() -> None:
    """Whoever pastes an id gets a test."""
    named = list(dict.fromkeys(TEST_ID.findall(TEXT.replace("`<br>`", "` `"))))

    assert len(named) > 200
    assert [test_id for test_id in named if not exists(test_id)] == []


def test_an_id_of_no_test_is_noticed() -> None:
    """The function above knows files, functions, methods and parameters."""
    here = "tests/test_fidelity.py::test_an_id_of_no_test_is_noticed"
    assert exists(here)
    assert exists(f"{here}[case]")
    assert not exists(f"{here}_")
    assert not exists("tests/test_fidelity.py::TestNothing::test_an_id_of_no_test_is_noticed")
    assert not exists("tests/test_nowhere.py::test_nothing")
    assert not exists("tests/test_fidelity.py")


def test_every_emulated_behaviour_has_source_mark_and_test() -> None:
    """No row without all three; a guess, and nothing else, has no source but ourselves."""
    assert len(EMULATED) > 150
    for heading, row in EMULATED:
        where = f"{heading}: {row['behaviour']}"
        assert row["mark"] in MARKS, where
        assert TEST_ID.search(row["test"]), where
        if row["source"] == OWN_CHOICE:
            assert row["mark"] == "guess", where
        else:
            assert TAG.search(row["source"]), where
            assert row["mark"] != "guess", where


def test_each_topic_has_its_table() -> None:
    """What one looks for is found by its heading, once."""
    headings = [heading for heading, _ in TABLES]

    assert len(set(headings)) == len(headings)
    for topic in ("Keys", "SDK 3", "SDK 5", "Losing", "Joins", "Cloned", "Routing", "Errors", "Users", "Ownership"):
        assert any(topic in heading for heading in headings), topic
    for topic in ("Limits", "mechanisms", "Attributes", "Check values", "Audit", "metrics", "profile", "Guesses"):
        assert any(topic in heading for heading in headings), topic


def test_every_source_is_explained_and_has_an_address() -> None:
    """Each tag is in the legend, and a link; nothing is explained that is not used."""
    used = set(TAG.findall(re.sub(r"^\[[^\]]+\]: .*$", "", TEXT, flags=re.MULTILINE)))
    linked = set(re.findall(r"^\[([^\]]+)\]: \S+$", TEXT, flags=re.MULTILINE))
    legend = explained()

    assert sorted(tag for tag in used if tag not in legend and not tag.startswith("UG")) == []
    assert sorted(used - linked) == []
    assert sorted(linked - used) == []
    assert sorted(legend - used - {"UG:…"}) == []


def test_every_field_of_the_profile_has_its_default_and_its_source() -> None:
    """The numbers on the page are those in force."""
    rows = {row["field"].strip("`"): row for heading, row in EMULATED if "field" in row}
    fields = dataclasses.fields(Profile)

    assert list(rows) == [field.name for field in fields]
    for field in fields:
        assert shown(rows[field.name]["default"], field.name) == field.default, field.name


def shown(default: str, name: str) -> object:
    if name.endswith("_ns"):
        number, unit = default.split()
        return round(float(number) * UNITS_NS[unit])
    return ast.literal_eval(default)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Profile)])
def test_what_the_profile_calls_a_guess_the_page_calls_so_too(field: str) -> None:
    """A source that was found, or lost, changes both."""
    doc = profile_docs().get(field, "")
    row = next(row for _, row in EMULATED if row.get("field") == f"`{field}`")
    listed = any(f"`Profile.{field}`" in guess["place"] for guess in GUESSES)

    assert listed == (row["mark"] == "guess")
    if "guess" in doc:
        assert listed


@cache
def profile_docs() -> dict[str, str]:
    """Return the text below each field of `Profile`."""
    tree = ast.parse((SOURCES / "service" / "profile.py").read_text(encoding="utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Profile").body
    docs = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            docs[field.target.id] = ast.unparse(text)
    return docs


WORDS = ("profile.py", "mode.py")
"""One has rows of its own, the other says what the mark means."""


def test_every_guess_in_the_code_is_on_the_page() -> None:
    """Each file that calls something a guess is a place in the table, and each place is a file."""
    guessing = {
        file.relative_to(SOURCES).as_posix()
        for file in SOURCES.rglob("*.py")
        if re.search(r"\bguess(es)?\b", file.read_text(encoding="utf-8")) and file.name not in WORDS
    }
    places = {place for row in GUESSES for place in re.findall(r"`([\w/]+\.py)`", row["place"])}

    assert sorted(guessing - places) == []
    assert [place for place in sorted(places) if not (SOURCES / place).is_file()] == []
    assert all(TEST_ID.search(row["test"]) for row in GUESSES)


def test_every_reported_problem_is_answered() -> None:
    """24 of them, each emulated, with a test, or open, with the reason."""
    assert [row["#"] for row in PROBLEMS] == [str(number) for number in range(1, 25)]
    for row in PROBLEMS:
        answer, _, reason = row["answer"].partition(": ")
        if answer == "open":
            assert reason, row
            assert row["test"] == "–", row
        else:
            assert answer.startswith("emulated"), row
            assert TEST_ID.search(row["test"]), row


def test_what_is_missing_says_why() -> None:
    """Each with its source and a reason."""
    assert len(MISSING) > 25
    for row in MISSING:
        assert TAG.search(row["source"]), row
        assert row["why, and when"], row
    for word in ("control plane", "Quorum", "key_mgmt_util", "PKCS #11 library", "JCE", "limited-write", "ML-DSA"):
        assert any(word in row["not emulated"] for row in MISSING), word
    for word in ("Ed25519", "mTLS", "Certificate storage", "daemon"):
        assert any(word in row["not emulated"] for row in MISSING), word
