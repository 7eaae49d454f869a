"""Do the seeded mistakes fit the source as it is, and does trying them touch nothing else?"""

import ast
import re

import pytest

from seeded import MISTAKES
from seeded.__main__ import table
from seeded.catching import Catcher, Look
from seeded.mistake import PACKAGE, Mistake
from seeded.trying import ROOT, Trial, copied_tree, made, try_one

NEVER = Catcher("blind", ("-c", ""), "(never)")


def source(mistake):
    return (ROOT / PACKAGE / mistake.file).read_text(encoding="utf-8")


def test_there_are_at_least_forty():
    """In the client, the service and the checks, and in what these rest on; each has a name of its own."""
    assert len(MISTAKES) >= 40
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES)
    rooms = {mistake.room for mistake in MISTAKES}
    assert rooms >= {"client", "service", "network", "checkers", "history", "faults", "sim", "chaos"}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_stands_in_the_source_once_and_changes_what_it_says(mistake):
    """Whoever edits the line meets this test, and moves the mistake along."""
    right, wrong = source(mistake), mistake.made_in(source(mistake))
    assert ast.dump(ast.parse(right)) != ast.dump(ast.parse(wrong))
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", mistake.name)
    assert mistake.line(ROOT) >= 1


def test_a_mistake_that_does_not_fit_is_named():
    """With how often its text stands there."""
    with pytest.raises(ValueError, match=r"^gone: 'no such line' stands 0 times in client/retry.py, not once$"):
        Mistake("gone", "client/retry.py", "no such line", "", "").made_in(source(MISTAKES[0]))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return copied_tree(tmp_path_factory.mktemp("tree"))


def test_a_mistake_is_made_in_the_copy_that_is_imported(tree):
    """For a while: afterwards the copy is right again, and the working tree has never been wrong."""
    mistake = Mistake("off-by-one", "client/retry.py", "(attempt - 1)", "(attempt - 0)", "")
    code = (
        "import sys, pytest_hsmcluster.client.retry as retry; from pytest_hsmcluster.service.profile import STANDARD; "
    )
    code += "print('paused', retry.backoff_ns(1, STANDARD)); sys.exit(retry.backoff_ns(1, STANDARD) != 100_000_000)"
    sharp = Catcher("sharp", ("-c", code), r"^(paused \d+)$")
    before = source(mistake)
    trial = try_one(mistake, tree, {NEVER: 60.0, sharp: 60.0})
    assert [(look.catcher, look.found, look.culprit) for look in trial.looks[1:]] == [
        ("sharp", True, "paused 200000000")
    ]
    assert trial.caught is trial.looks[1]
    assert not sharp.look(tree).found
    assert source(mistake) == before == (tree / PACKAGE / mistake.file).read_text(encoding="utf-8")
    with pytest.raises(ZeroDivisionError), made(mistake, tree):
        raise ZeroDivisionError
    assert before == (tree / PACKAGE / mistake.file).read_text(encoding="utf-8")


def test_the_table_names_what_survives():
    """A line of where, of what is wrong, and of who caught it how fast."""
    one, other = MISTAKES[:2]
    caught = Trial(one, (Look("the campaign", False, "", 1.0), Look("the sweep", True, "test_rotation", 2.5)))
    lines = table([caught, Trial(other, (Look("the campaign", False, "", 1.0),))])
    assert lines[3].startswith(f"{one.name}  {one.file}:")
    assert lines[4:6] == [f"    {one.why}", "    caught by the sweep in 2.5 s (test_rotation)"]
    assert lines[-1] == "    SURVIVED 1.0 s of looking"
