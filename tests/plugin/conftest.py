"""How is a pytest run inside a test made?

`run` is quick because it stays in this process and loads no plugin but ours and those that it is told.  What it imports
is forgotten afterwards, and `cryptography` cannot be imported twice, so whatever a cluster needs is imported here.
"""

from collections.abc import Callable
from importlib import import_module

import faker
import pytest

faker.Faker()  # loads its providers
for _module in (
    "catalogue",
    "cluster",
    "directing",
    "drivers.pace",
    "faker_provider",
    "mistakes",
    "mutation",
    "sdkfiles",
    "sweeping",
    "timeline.text",
):
    import_module(f"pytest_hsmcluster.{_module}")

Run = Callable[..., pytest.RunResult]

INI = "[pytest]\nfilterwarnings = error\n"


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HSM_SEED", "CI", "BUILD_NUMBER"):  # in CI pytest does not shorten its summary
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run pytest on one test file and return the result.

    Args: the file's text, pytest's arguments; `ini=` are more lines of pytest.ini, `conftest=` is a conftest.py;
    `apart=True` is a process of its own.
    """

    def run(source: str, *arguments: str, ini: str = "", conftest: str = "", apart: bool = False) -> pytest.RunResult:
        pytester.makeini(INI + ini)
        if conftest:
            pytester.makeconftest(conftest)
        pytester.makepyfile(test_it=source)
        runpytest = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return runpytest("-p", "hsmcluster", *arguments)

    return run
