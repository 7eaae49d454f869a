"""The library is part of a wheel that serves every Python, and the package works where it cannot be built."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.pkcs11 import active
from tests.pkcs11.compiling import ROOT

pytestmark = [pytest.mark.build, pytest.mark.timeout(120)]

LIBRARY = "pytest_hsmcluster/pkcs11/libhsmcluster_pkcs11.so"
OTHERS = sorted(
    {path.parents[1].name: path for path in Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python3")}.values()
)
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="apt-get install gcc libc6-dev")


def built(folder: Path, command: str, compiler: str | None = None) -> tuple[Path, str]:
    """Build from a copy of the tree; return what was made and what was said."""
    tree = folder / "tree"
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "pytest_hsmcluster", tree / "pytest_hsmcluster", ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    script = f"from setuptools.build_meta import {command}; {command}(r'{folder}')"
    env = {**os.environ, **({"CC": compiler} if compiler else {})}
    done = subprocess.run([sys.executable, "-c", script], cwd=tree, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    return made, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"), "build_wheel")[0]


@needs_compiler
def test_one_wheel_serves_every_python_of_a_platform(wheel: Path) -> None:
    """Its tag says so, and it has the library without its sources."""
    names = zipfile.ZipFile(wheel).namelist()

    assert "-py3-none-linux_" in wheel.name
    assert LIBRARY in names
    assert [name for name in names if name.endswith((".c", ".h", ".inc", ".o")) or "native" in name] == []


@needs_compiler
@pytest.mark.parametrize("python", OTHERS, ids=lambda path: path.parents[1].name)
def test_the_library_of_a_wheel_is_loaded_by_another_python(wheel: Path, tmp_path: Path, python: Path) -> None:
    """It uses nothing of the Python with which it was built."""
    zipfile.ZipFile(wheel).extract(LIBRARY, tmp_path)
    script = "import ctypes, sys; library = ctypes.CDLL(sys.argv[1]); print(library.C_Initialize(None))"
    env = {name: value for name, value in os.environ.items() if name != "HSMCLUSTER_PKCS11_SOCKET"}
    done = subprocess.run([python, "-c", script, tmp_path / LIBRARY], env=env, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "5\n")


def test_a_source_distribution_has_the_sources_of_the_library(tmp_path: Path) -> None:
    """All that the build reads."""
    made, _ = built(tmp_path, "build_sdist")
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    native = "pytest_hsmcluster/pkcs11/native"
    for name in ("carrier.c", "carrier.h", "frame.c", "frame.h", "library.c", "oasis/pkcs11.h"):
        assert f"{native}/{name}" in names
    assert {"setup.py", "pytest_hsmcluster/wire/c_source.py", "pytest_hsmcluster/wire/functions.py"} <= names


def test_without_a_compiler_all_but_the_library_is_built(tmp_path: Path) -> None:
    """And the build says what is missing."""
    made, said = built(tmp_path, "build_wheel", compiler="/nonexistent")
    names = zipfile.ZipFile(made).namelist()

    assert LIBRARY not in names and "pytest_hsmcluster/pkcs11/door.py" in names
    assert "no C compiler (/nonexistent): built without the PKCS#11 library, hsm_pkcs11 will say so" in said


def test_without_the_library_the_fixture_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A compiler, and how to install again."""
    monkeypatch.setattr(active, "MODULE", tmp_path / "libhsmcluster_pkcs11.so")

    with pytest.raises(UsageError, match="installed without a C compiler.*apt-get install gcc.*pip install"):
        active.module()
