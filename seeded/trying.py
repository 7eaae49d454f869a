"""How is a mistake tried out without touching the working tree?"""

import compileall
import py_compile
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Queue
from typing import TypeVar

from .catching import Catcher, Look
from .mistake import PACKAGE, Mistake

T = TypeVar("T")

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


def try_one(mistake: Mistake, tree: Path, catchers: Mapping[Catcher, float]) -> Trial:
    """Make a mistake and ask one catcher after the other until one finds it; none may take longer than is given."""
    looks: list[Look] = []
    with made(mistake, tree):
        for catcher, longest_s in catchers.items():
            looks.append(catcher.look(tree, longest_s))
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

        def in_a_tree(work: Callable[[Path], T]) -> T:
            tree = trees.get()
            try:
                return work(tree)
            finally:
                trees.put(tree)

        clean = list(pool.map(in_a_tree, [catcher.look for catcher in catchers]))
        yield from clean
        if any(look.found for look in clean):
            return
        patient = {catcher: 10 + 5 * look.seconds for catcher, look in zip(catchers, clean, strict=True)}
        trials = [pool.submit(in_a_tree, partial(try_one, mistake, catchers=patient)) for mistake in mistakes]
        for done in as_completed(trials):
            yield done.result()
