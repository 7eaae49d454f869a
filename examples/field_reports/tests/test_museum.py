"""Is the museum what its index says it is?"""

import ast
import re
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[1]
EXHIBITS = sorted(path for path in ROOM.glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda path: path.stem)
def test_an_exhibit_is_an_application_with_its_source(exhibit: Path) -> None:
    """It names its report and knows no emulator; its classes are the reported one and the repaired one."""
    tree = ast.parse(exhibit.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}

    assert re.search(r"https://github\.com/[\w-]+/[\w-]+/(issues|pull)/\d+", ast.get_docstring(tree) or "")
    assert not any(name.startswith(("pytest", ".")) for name in imported)
    assert {"AsReported", "Repaired"} <= classes


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda path: path.stem)
def test_an_exhibit_is_in_the_index(exhibit: Path) -> None:
    """With its report and its tests."""
    index = (ROOM / "README.md").read_text(encoding="utf-8")
    assert f"[{exhibit.stem}]({exhibit.name})" in index
    assert f"tests/test_{exhibit.name}" in index
