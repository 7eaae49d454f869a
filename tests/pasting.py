"""How is pytest run, in a process of its own, on what was written down?"""

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def pasted(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """`pasted(*texts, options=())` runs each text as a test file of its own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*texts: str, options: tuple[str, ...] = ()) -> pytest.RunResult:
        for index, text in enumerate(texts):
            pytester.path.joinpath(f"test_pasted_{index}.py").write_text(text)
        pytester.makeini("[pytest]\nfilterwarnings = error\n")
        return pytester.runpytest_subprocess("-p", "pytest_hsmcluster.plugin", "-p", "no:cacheprovider", *options)

    return run
