"""How is a mistake tried out without touching the working tree?"""

import compileall
import py_compile
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from .catching import Catcher, Look
from .mistake import PACKAGE, Mistake

ROOT = Path(__file__).parent.parent
COPIED = (PACKAGE, "campaign", "examples", "conftest.py", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Trial:
    """A mistake and everybody who looked for it; only the last one may have found it."""

    mistake: Mistake
    looks: tuple[Look, ...]

    @property
    def caught(self) -> Look | None:
        return next((look for look in self.looks if look.found), None)


def copied_tree(folder: Path) -> Path:
    """Return a copy of what catchers need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    # Bytecode that is checked by content: an edit within the same second, of the same length, is seen.
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(folder, quiet=2, invalidation_mode=checked)
    return folder


@contextmanager
def made(mistake: Mistake, tree: Path) -> Iterator[None]:
    """Have a mistake in a tree, for a while."""
    path = tree / PACKAGE / mistake.file
    right = path.read_text(encoding="utf-8")
    path.write_text(mistake.made_in(right), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(right, encoding="utf-8")


def try_one(mistake: Mistake, tree: Path, catchers: Sequence[Catcher]) -> Trial:
    """Make a mistake and ask one catcher after the other until one finds it."""
    looks: list[Look] = []
    with made(mistake, tree):
        for catcher in catchers:
            looks.append(catcher.look(tree))
            if looks[-1].found:
                break
    return Trial(mistake, tuple(looks))


def try_all(mistakes: Sequence[Mistake], catchers: Sequence[Catcher], jobs: int) -> Iterator[Look | Trial]:
    """Yield what each catcher says of a tree without mistakes, then every trial as it ends.

    Nothing is tried when something is found where no mistake is.
    """
    with tempfile.TemporaryDirectory(prefix="seeded-") as scratch, ThreadPoolExecutor(jobs) as pool:
        trees: Queue[Path] = Queue()
        for number in range(jobs):
            trees.put(copied_tree(Path(scratch) / str(number)))

        def in_a_tree(work: Sequence[Catcher], mistake: Mistake | None) -> Look | Trial:
            tree = trees.get()
            try:
                return work[0].look(tree) if mistake is None else try_one(mistake, tree, work)
            finally:
                trees.put(tree)

        first = [pool.submit(in_a_tree, (catcher,), None) for catcher in catchers]
        clean = [done.result() for done in first]
        yield from clean
        if any(isinstance(look, Look) and look.found for look in clean):
            return
        for done in as_completed([pool.submit(in_a_tree, catchers, mistake) for mistake in mistakes]):
            yield done.result()
