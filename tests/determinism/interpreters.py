"""Which Pythons are on this machine, and how does each get what a run needs?

They are looked for on PATH and among pyenv's versions; each gets a virtual environment of its own.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / ".venv-determinism"
MINORS = tuple(f"3.{minor}" for minor in range(11, 16))
NEEDED = ("--editable", str(ROOT), "pytest-xdist", "pytest-randomly")

PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:3], sep='.')"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that works.

    Attributes:
        minor: "3.12".
        version: "3.12.1".
        path: of its executable.
    """

    minor: str
    version: str
    path: Path

    @property
    def folder(self) -> Path:
        return FOLDER / self.minor

    @property
    def python(self) -> Path:
        """The executable in its virtual environment."""
        return self.folder / "bin" / "python"

    @property
    def ready(self) -> bool:
        """Whether its virtual environment is there and has what the project asks for today."""
        stamp = self.folder / "installed"
        return stamp.exists() and stamp.read_text() == self._stamp()

    def prepare(self) -> None:
        """Make its virtual environment anew, unless it is ready.

        Raises:
            subprocess.CalledProcessError: something cannot be installed; `stderr` says what.
        """
        if self.ready:
            return
        pip = (self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(self.path, "-m", "venv", "--clear", self.folder)
        _run(*pip, "--upgrade", "pip")
        _run(*pip, *NEEDED)
        (self.folder / "installed").write_text(self._stamp())

    def _stamp(self) -> str:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        return repr((str(self.path), self.version, NEEDED, project["dependencies"]))


def interpreters(minors: Sequence[str] = MINORS) -> dict[str, Interpreter | None]:
    """Return for each minor version the newest Python that works, or None."""
    return {minor: next(_working(minor), None) for minor in minors}


def _working(minor: str) -> Iterator[Interpreter]:
    for path in _candidates(minor):
        try:
            probe = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            continue  # pyenv puts a shim on PATH for versions that are not chosen; Debian's Python may lack venv
        version = probe.stdout.strip()
        if version.startswith(f"{minor}."):
            yield Interpreter(minor, version, path)


def _candidates(minor: str) -> Iterator[Path]:
    """Yield where a Python of this version may be: the running one, pyenv's from the newest on, those on PATH."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == minor:
        yield Path(sys._base_executable)  # type: ignore[attr-defined]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    ours = [folder for folder in versions.glob(f"{minor}.*") if folder.name.rpartition(".")[2].isdigit()]
    for folder in sorted(ours, key=lambda folder: int(folder.name.rpartition(".")[2]), reverse=True):
        yield folder / "bin" / f"python{minor}"
    for entry in filter(None, os.environ.get("PATH", "").split(os.pathsep)):
        yield Path(entry) / f"python{minor}"


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
