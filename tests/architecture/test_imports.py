"""Do imports only point down, and do waiting, chance and the outer world come in at few doors only?"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "pytest_hsmcluster"
MODULES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}

THREADS = tuple(
    f"drivers/{name}.py"
    for name in (
        "actors",
        "awaiting",
        "blocking",
        "company",
        "locks",
        "reach",
        "trio_awaiting",
        "turns",
        "turnstile",
        "watching",
    )
)
THREADS += tuple(f"apptime/{name}.py" for name in ("apptime", "callers", "patching", "threads"))
THREADS += ("pkcs11/server.py", "drivers/reactor.py", "processes/spawner.py")
THREADS += ("toxiproxy/server.py",)  # a lock: connections are opened on whatever thread
THREADS += ("toxiproxy/starting.py",)  # the system kills the server with the thread that has started it

SOCKETS = tuple(f"processes/{name}.py" for name in ("line", "network", "pipe", "server", "spawner"))

DOORS = {
    "time": ("drivers/pace.py", "apptime/clocks.py", "apptime/dates.py", "apptime/neighbours.py"),
    "asyncio": ("drivers/awaiting.py",),
    "trio": ("drivers/trio_awaiting.py", "drivers/trio_family.py"),
    "random": (),
    "secrets": ("toxiproxy/names.py",),  # names on a server that others use, too
    "uuid": (),
    "datetime": ("apptime/dates.py", "drivers/pace.py", "processes/certificates.py"),
    "threading": THREADS,
    "_thread": (),
    "concurrent": ("apptime/threads.py",),
    "multiprocessing": (),
    "subprocess": ("processes/spawner.py", "toxiproxy/starting.py"),
    "signal": ("processes/guard.py", "processes/link.py", "processes/spawner.py", "toxiproxy/starting.py"),
    "select": ("drivers/reactor.py", "processes/pipe.py", "processes/link.py"),
    "selectors": ("apptime/loops.py", "pkcs11/server.py"),
    "socket": ("pkcs11/server.py", "toxiproxy/server.py", *SOCKETS),
    "ssl": ("processes/certificates.py", "processes/line.py", "processes/rack.py"),
    "queue": ("apptime/threads.py",),
    "sched": (),
}
"""Modules that wait, roll dice or talk to the world → the only files that may import them."""

WALKERS = ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "dict.fromkeys")
"""Calls that go through their arguments in order."""

URANDOM = ("keys/source.py",)
"""Files that may ask the system for randomness."""


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0], node.lineno


def through_closed_doors(name: str, tree: ast.Module) -> Iterator[str]:
    for module, line in imported(tree):
        if module in DOORS and name not in DOORS[module]:
            yield f"{name}:{line} imports {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("urandom", "getrandom") and name not in URANDOM:
            yield f"{name}:{node.lineno} uses os.{node.attr}"


def changing_with_the_process(name: str, tree: ast.Module) -> Iterator[str]:
    """`hash()` of a str and `id()` differ from run to run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hash", "id"):
            inside = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == "__hash__"]
            if not any(node in ast.walk(function) for function in inside):
                yield f"{name}:{node.lineno} calls {node.func.id}()"


def set_iterations(name: str, tree: ast.Module) -> Iterator[str]:
    """Whatever goes through a set in the order of its hashes; `sorted`, `len`, `in`, `min` and `max` do not."""
    known = _names_of_sets(tree)

    def is_set(node: ast.expr) -> bool:
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Call):
            return isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr | ast.Sub | ast.BitXor):
            return is_set(node.left) or is_set(node.right)
        return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in known

    for node in ast.walk(tree):
        through: list[ast.expr] = []
        if isinstance(node, ast.For | ast.comprehension):
            through = [node.iter]
        elif isinstance(node, ast.Starred):
            through = [node.value]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in WALKERS or called.endswith((".join", ".extend")):
                through = node.args
        for each in through:
            if is_set(each):
                yield f"{name}:{each.lineno} iterates over the set {ast.unparse(each)}"


def _names_of_sets(tree: ast.Module) -> set[str]:
    """Names and attributes that are given or promised a set somewhere in the module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _makes_set(node.value):
            found.update(ast.unparse(target) for target in node.targets)
        elif isinstance(node, ast.AnnAssign) and (_promises_set(node.annotation) or _makes_set(node.value)):
            found.add(ast.unparse(node.target))
        elif isinstance(node, ast.arg) and node.annotation is not None and _promises_set(node.annotation):
            found.add(node.arg)
    return found


def _makes_set(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset")
    return isinstance(node, ast.Set | ast.SetComp)


def _promises_set(annotation: ast.expr) -> bool:
    return ast.unparse(annotation).startswith(("set[", "frozenset[", "Set[", "AbstractSet["))


RULES = (through_closed_doors, changing_with_the_process, set_iterations)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_package_keeps_the_rule(rule):
    """No wall clock, no dice, no thread, no socket, and no order that a process makes up."""
    assert [found for name, tree in MODULES.items() for found in rule(name, tree)] == []


@pytest.mark.parametrize(
    "code, found",
    [
        ("import random", 1),
        ("from time import monotonic", 1),
        ("import os.path", 0),
        ("import os\nos.urandom(3)", 1),
        ("def f():\n    import threading", 1),
        ("x = hash('a')", 1),
        ("class A:\n    def __hash__(self):\n        return hash('a')", 0),
        ("for x in {1, 2}: pass", 1),
        ("[x for x in set(y)]", 1),
        ("list(frozenset(y))", 1),
        ("seen = set()\nfor x in seen | {3}: pass", 1),
        ("class A:\n    def f(self):\n        self.seen: set[int] = g()\n        return tuple(self.seen)", 1),
        ("def f(names: set[str]) -> str:\n    return ', '.join(names)", 1),
        ("seen = {1}\nprint(sorted(seen), len(seen), 1 in seen, max(seen))", 0),
        ("for x in {1: 2}: pass", 0),
    ],
)
def test_rules_find_what_they_forbid(code, found):
    """A rule that finds nothing anywhere proves nothing."""
    tree = ast.parse(code)
    assert len([one for rule in RULES for one in rule("somewhere.py", tree)]) == found


def test_doors_are_used():
    """A door that nobody goes through any more should be walled up."""
    uses = {(module, name) for name, tree in MODULES.items() for module, _ in imported(tree)}
    assert [door for module, names in DOORS.items() for door in names if (module, door) not in uses] == []
    assert all("urandom" in ast.unparse(MODULES[name]) for name in URANDOM)


def test_imports_only_point_down():
    """The contracts of `pyproject.toml`, read by import-linter."""
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_plugin_module_loads_pytest_and_the_standard_library_only():
    """An installed plugin is loaded by every pytest run of its machine."""
    code = (
        "import sys, pytest, _pytest.config; before = list(sys.modules); import pytest_hsmcluster.plugin;"
        "print(*(name for name in sys.modules if name not in before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    heavy = [
        name for name in loaded.split() if name.partition(".")[0] in ("cryptography", "faker", "hypothesis", "asyncio")
    ]
    assert heavy == []
    ours = [name for name in loaded.split() if name.startswith("pytest_hsmcluster.")]
    assert not any(
        part in ours for part in ("pytest_hsmcluster.cluster", "pytest_hsmcluster.client", "pytest_hsmcluster.keys")
    )
