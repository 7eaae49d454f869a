"""Has tests use another build of the PKCS#11 library: `-p tests.pkcs11.sanitized --pkcs11-library=PATH`."""

from pathlib import Path

import pytest

from pytest_hsmcluster.pkcs11 import active


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pkcs11-library", type=Path, required=True, help="path of the library")


def pytest_configure(config: pytest.Config) -> None:
    path: Path = config.getoption("--pkcs11-library")
    assert path.exists(), path
    active.MODULE = path.resolve()  # type: ignore[misc]
