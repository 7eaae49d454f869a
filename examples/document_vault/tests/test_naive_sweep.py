"""Does the naive vault break at the same steps as ever?"""

from pathlib import Path

import pytest

from examples import swept


def test_what_breaks(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table beside this file says what each fault at each step leads to; so it is today."""
    swept.compare(Path(__file__).with_name("naive_sweep.py"), pytester, monkeypatch)
