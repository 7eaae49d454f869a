"""Which test can be pasted, so that what background chaos found once stays found?"""

import ast
import inspect
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .markers import cluster_arguments, levels


class Pasted(NamedTuple):
    """A regression test.

    Attributes:
        where: the file, or the class in it, into which it belongs.
        text: complete Python, indented as it belongs there.
    """

    where: str
    text: str


def regression_test(item: pytest.Function, specs: Sequence[str], seed: int) -> Pasted | None:
    """Return a test that does what `item` does, with these faults; None where its source cannot be had.

    It has the source of the test's own function, its decorators, fixtures and parameters (of several parameter sets
    only that of the item), another name, and our markers with the faults and the seed.

    Args:
        item: the test that fails.
        specs: faults with which it does.
        seed: of the test, because the new name would have another.
    """
    function = inspect.unwrap(item.function)
    if inspect.getfile(function).startswith("<"):  # made by `exec`: Python 3.13 returns its module's source
        return None
    try:
        source = inspect.getsource(function)
        edits = _edits(item, source)
    except (OSError, SyntaxError, LookupError):
        return None
    for start, end, text in sorted(edits, reverse=True):
        source = source[:start] + text + source[end:]
    margin = _margin(source)
    known = _name_of_pytest(function)
    lines = _markers(known or "pytest", specs, None if "seed" in cluster_arguments(levels(item)) else seed)
    text = "\n".join([*(margin + line for line in lines), source.rstrip()])
    where = Path(inspect.getsourcefile(function) or "").name
    if item.cls is not None:
        where = f"class {item.cls.__qualname__} of {where}"
    if known is None:
        text = f"import pytest\n\n\n{text}" if not margin else f"{margin}# needs `import pytest`\n{text}"
    return Pasted(where, text) if _is_python(text, margin) else None


def _markers(name: str, specs: Sequence[str], seed: int | None) -> Iterator[str]:
    if seed is not None:
        yield f"@{name}.mark.hsm_cluster(seed={seed})"
    if len(specs) == 1 and len(specs[0]) < 80:
        yield f"@{name}.mark.hsm_chaos({_quoted(specs[0])})"
    else:
        yield f"@{name}.mark.hsm_chaos("
        yield from (f"    {_quoted(spec)}," for spec in specs)
        yield ")"


def _quoted(spec: str) -> str:
    return f'"{spec}"' if not re.search(r'["\\]', spec) and spec.isprintable() else repr(spec)


Edit = tuple[int, int, str]
"""Characters from, to, and what comes instead."""


def _edits(item: pytest.Function, source: str) -> list[Edit]:
    """Return what has to change in the source of a test function."""
    before = "class _:\n" if source[:1].isspace() else ""
    places = _Places(before, source)
    tree: Any = ast.parse(before + source)
    node = (tree.body[0] if before else tree).body[0]
    name = re.compile(rf"\bdef\s+({re.escape(node.name)})\b").search(source, places.of(node.lineno, node.col_offset))
    if name is None:
        raise LookupError(node.name)
    edits = [(*name.span(1), _free_name(item, node.name))]
    params = dict(getattr(getattr(item, "callspec", None), "params", {}))
    whole = False
    for decorator in node.decorator_list:
        if _parametrizes(decorator):
            narrowed = list(_narrowed(item, params, decorator, places))
            edits += narrowed
            whole = whole or not narrowed
    if whole or params:  # of its fixtures, its class or a hook
        edits.append((0, 0, f"{_margin(source)}# Several cases; the one that failed is {item.name}\n"))
    return edits


class _Places:
    """Where the nodes of a syntax tree are in the source; a tree's columns count bytes.

    Args:
        before: what was put before the source to make it whole.
        source: the source.
    """

    def __init__(self, before: str, source: str) -> None:
        self._before = before
        self._text = before + source
        self._lines = self._text.splitlines(keepends=True)

    def of(self, line: int, column: int) -> int:
        upto = sum(map(len, self._lines[: line - 1])) + len(self._lines[line - 1].encode()[:column].decode())
        return upto - len(self._before)

    def span(self, node: Any) -> tuple[int, int]:
        return self.of(node.lineno, node.col_offset), self.of(node.end_lineno, node.end_col_offset)

    def text(self, node: Any) -> str:
        start, end = self.span(node)
        return self._text[start + len(self._before) : end + len(self._before)]


def _parametrizes(decorator: Any) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("mark.parametrize")


def _narrowed(item: pytest.Function, params: dict[str, Any], decorator: Any, places: _Places) -> Iterator[Edit]:
    """Yield what leaves only one set of a `parametrize`, and take its parameters out of `params`."""
    given: dict[str | None, Any] = {keyword.arg: keyword.value for keyword in decorator.keywords}
    given.update(zip(("argnames", "argvalues", "indirect", "ids"), decorator.args, strict=False))
    names = re.findall(r"\w+", ast.unparse(given["argnames"]))
    index = _index(item, params, names)
    if index is None:
        return
    values = given["argvalues"]
    plain = isinstance(values, ast.List | ast.Tuple) and not any(isinstance(one, ast.Starred) for one in values.elts)
    one = places.text(values.elts[index]) if plain else f"list({places.text(values)})[{index}]"
    yield (*places.span(values), f"[{one}]")
    if "ids" in given:
        yield (*places.span(given["ids"]), "None")
    for name in names:
        del params[name]


def _index(item: pytest.Function, params: dict[str, Any], names: list[str]) -> int | None:
    """Return which set of a `parametrize` an item has: the values say it, pytest keeps no number."""
    for mark in item.iter_markers("parametrize"):
        said = {**dict(zip(("argnames", "argvalues"), mark.args, strict=False)), **mark.kwargs}
        text = said["argnames"]
        known = [name.strip() for name in text.split(",")] if isinstance(text, str) else list(text)
        if known != names or not all(name in params for name in names) or not isinstance(said["argvalues"], Collection):
            continue
        for index, one in enumerate(said["argvalues"]):
            plain = (one,) if len(names) == 1 else one
            values = one.values if hasattr(one, "marks") else plain  # of a pytest.param, or as they are
            if all(value is params[name] for name, value in zip(names, values, strict=False)):
                return index
    return None


def _free_name(item: pytest.Function, name: str) -> str:
    """Return a name that the module or class has not yet."""
    names = (f"{name}_regression{number}" for number in ("", *range(2, 1000)))
    return next(one for one in names if not hasattr(item.cls or item.module, one))


def _name_of_pytest(function: Any) -> str | None:
    """Return what the module of a function calls pytest, if it has imported it."""
    return next((name for name, value in function.__globals__.items() if value is pytest), None)


def _margin(source: str) -> str:
    return source[: len(source) - len(source.lstrip(" \t"))]


def _is_python(text: str, margin: str) -> bool:
    try:
        ast.parse(f"class _:\n{text}" if margin else text)
    except SyntaxError:
        return False
    return True
