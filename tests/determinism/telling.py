"""How does a run of pytest tell many stories and write down what came of each?

A pytest plugin:

    pytest -p tests.determinism.telling --told=RUN [--like=FIRST] [--stories=N] [--teller=MODULE:NAME] \\
        tests/determinism/many_stories.py

RUN gets one line for each story (see `digests`), and the journal of each whose digest is not the one in FIRST: without
FIRST, of all.
"""

from importlib import import_module
from pathlib import Path

import pytest

from pytest_hsmcluster.history.history import History
from tests.determinism.digests import own_file, read_run, write_down
from tests.determinism.tellers import Teller
from tests.stories import Telling

BLOCK = 10
"""How many stories are one test."""

TELLER = "tests.determinism.tellers:every_kind"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--told", metavar="RUN", type=Path, help="folder to write digests to")
    parser.addoption("--like", metavar="FIRST", type=Path, help="folder of the run that this one should be like")
    parser.addoption("--stories", metavar="N", type=int, default=1000, help="how many stories to tell")
    parser.addoption("--teller", metavar="MODULE:NAME", default=TELLER, help="who tells a story with a number")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    stories = metafunc.config.getoption("--stories")
    blocks = [range(first, min(first + BLOCK, stories)) for first in range(0, stories, BLOCK)]
    metafunc.parametrize("numbers", blocks, ids=[f"{block[0]}-{block[-1]}" for block in blocks])


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Teller:
    module, _, name = pytestconfig.getoption("--teller").partition(":")
    teller: Teller = getattr(import_module(module), name)
    return teller


@pytest.fixture(scope="session")
def notebook(pytestconfig: pytest.Config) -> "Notebook":
    return Notebook(pytestconfig.getoption("--told"), pytestconfig.getoption("--like"))


class Notebook:
    """Where one process of a run writes down what it told."""

    def __init__(self, run: Path, like: Path | None) -> None:
        self._file = own_file(run)
        self._expected = read_run(like) if like else {}

    def note(self, number: int, telling: Telling) -> None:
        name = name_of(number)
        if self._expected.get(name) != frozenset((telling.digest,)):
            History(telling.records).save(self._file.with_name(f"{name}.jsonl"))
        write_down(self._file, name, telling.digest)


def name_of(number: int) -> str:
    return f"story {number}"


def journal_of(run: Path, name: str) -> History:
    """Return the journal of a story that the run wrote down."""
    return History.load(run / f"{name}.jsonl")
