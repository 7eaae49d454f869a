"""Instances of the library for tests that drive it by ctypes."""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from pytest_hsmcluster.pkcs11 import active
from tests.pkcs11.native.calling import Library


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Library]:
    """Makes instances that share nothing with that of the door, nor with each other."""
    folder, numbers = tmp_path_factory.mktemp("libraries"), count()

    def made() -> Library:
        path = Path(folder, f"library-{next(numbers)}.so")
        shutil.copy(active.MODULE, path)
        return Library(path)

    return made


@pytest.fixture
def library(another: Callable[[], Library]) -> Library:
    return another()
